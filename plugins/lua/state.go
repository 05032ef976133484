package lua

import (
	"context"
	"log/slog"
	"sync"
	"time"

	lua "github.com/yuin/gopher-lua"

	"mtad/pipeline"
)

// state is one Lua state with the script loaded. One call at a time uses it.
type state struct {
	L    *lua.LState
	env  *lua.LTable // the script's globals
	msg  *lua.LUserData
	call call
}

// call is what the functions of the API work on.
type call struct {
	ctx     context.Context
	stage   pipeline.Stage
	view    *pipeline.View
	verdict pipeline.Verdict
	log     *slog.Logger
}

// loadTime bounds the top level of a script.
const loadTime = time.Second

// maxArray is how large an index of a table may be before it goes into a hash:
// gopher-lua fills an array up to any lower one, so that t[67108863] = 1 took a
// GiB.
const maxArray = 1 << 20

var boundArrays = sync.OnceFunc(func() { lua.MaxArrayIndex = maxArray })

func newState(p *program) (*state, error) {
	boundArrays()
	L := lua.NewState(lua.Options{
		SkipOpenLibs: true, CallStackSize: maxStack, RegistrySize: 1024, RegistryMaxSize: maxValues, RegistryGrowStep: 1024,
		MinimizeStackMemory: true,
	})
	st := &state{L: L}
	base := sandbox(L, st)
	st.msg = L.NewUserData()
	st.msg.Value = st
	st.msg.Metatable = messageType(L, st)
	st.env = L.NewTable()
	meta := L.NewTable()
	meta.RawSetString("__index", base)
	st.env.Metatable = meta
	ctx, cancel := context.WithTimeout(context.Background(), loadTime)
	defer cancel()
	st.call = call{ctx: ctx, log: slog.New(slog.DiscardHandler)}
	fn := L.NewFunctionFromProto(p.proto)
	fn.Env = st.env
	L.SetContext(ctx)
	L.Push(fn)
	if err := L.PCall(0, 0, nil); err != nil {
		L.Close()
		return nil, err
	}
	L.RemoveContext()
	st.seal(meta, base)
	return st, nil
}

// seal moves the script's globals behind the environment, so that every further
// assignment meets __newindex and fails.
func (st *state) seal(meta, base *lua.LTable) {
	globals := st.L.NewTable()
	var keys []lua.LValue
	st.env.ForEach(func(k, v lua.LValue) {
		globals.RawSet(k, v)
		keys = append(keys, k)
	})
	for _, k := range keys {
		st.env.RawSet(k, lua.LNil)
	}
	behind := st.L.NewTable()
	behind.RawSetString("__index", base)
	globals.Metatable = behind
	meta.RawSetString("__index", globals)
	meta.RawSetString("__newindex", st.L.NewFunction(func(L *lua.LState) int {
		L.RaiseError("%s is global; globals can't be set after the script is loaded: write `local %s`", L.ToStringMeta(L.Get(2)), L.ToStringMeta(L.Get(2)))
		return 0
	}))
	st.env = globals
}

// run calls a stage's function.
func (st *state) run(ctx context.Context, s pipeline.Stage, v *pipeline.View, log *slog.Logger) (pipeline.Verdict, error) {
	st.call = call{ctx: ctx, stage: s, view: v, log: log}
	defer func() { st.call = call{} }()
	st.L.SetContext(ctx)
	defer st.L.RemoveContext()
	err := st.L.CallByParam(lua.P{Fn: st.env.RawGetString(s.String()), NRet: 0, Protect: true}, st.msg)
	return st.call.verdict, err
}
