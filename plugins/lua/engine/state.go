package engine

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	lua "github.com/yuin/gopher-lua"

	"mtad/pipeline"
)

// state is one Lua state with the script loaded. One call at a time uses it.
type state struct {
	L        *lua.LState
	prog     *Program
	env      *lua.LTable // the script's globals
	msg      *lua.LUserData
	meter    meter
	compiled map[string]expression // of re
	call     call
}

// call is what the functions of the API work on.
type call struct {
	Call
	*state
	clock     clock
	verdict   pipeline.Verdict
	redirects int
	answers   int
	asked     [reaches]int
}

// maxArray is how large an index of a table may be before it goes into a hash:
// gopher-lua fills an array up to any lower one, so that t[67108863] = 1 took a
// GiB.
const maxArray = 1 << 20

var boundArrays = sync.OnceFunc(func() { lua.MaxArrayIndex = maxArray })

// errCPU says that a script computed for too long.
var errCPU = errors.New("ran too long")

// clock stops a script that computes for too long. It stands while the script
// waits for a Host.
type clock struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
	timer  *time.Timer
	left   time.Duration
	since  time.Time
}

func newClock(ctx context.Context, limit time.Duration) clock {
	c := clock{left: limit, since: time.Now()}
	c.ctx, c.cancel = context.WithCancelCause(ctx)
	cancel := c.cancel
	c.timer = time.AfterFunc(limit, func() { cancel(errCPU) })
	return c
}

// outside calls f while the clock stands.
func (c *clock) outside(f func()) {
	if c.timer == nil || !c.timer.Stop() {
		f()
		return
	}
	c.left -= time.Since(c.since)
	f()
	c.since = time.Now()
	c.timer.Reset(max(c.left, 0))
}

// reach is a way outside.
type reach int

// The ways outside. How often a call may take each is bounded, because no time
// is counted meanwhile.
const (
	reachDNS reach = iota
	reachHTTP
	reachMap
	reachRead  // of state
	reachWrite // of state
	reachPipe
	reaches
)

// reachLimits are how often, and what to call it.
var reachLimits = [reaches]struct {
	most int
	what string
}{{100, "dns: more than %d questions"}, {10, "http: more than %d requests"}, {1000, "map: more than %d look-ups"}, {1000, "kv: more than %d reads"}, {100, "kv: more than %d writes"}, {10, "msg:pipe: more than %d commands"}}

// outside takes a way outside: f is called while the clock stands.
func (c *call) outside(L *lua.LState, r reach, f func(ctx context.Context)) {
	if c.asked[r]++; c.asked[r] > reachLimits[r].most {
		L.RaiseError(reachLimits[r].what+" in one call", reachLimits[r].most)
	}
	c.clock.outside(func() { f(c.clock.ctx) })
}

func (c *clock) stop() {
	c.timer.Stop()
	c.cancel(nil)
}

func newState(p *Program) (*state, error) {
	boundArrays()
	L := lua.NewState(lua.Options{
		SkipOpenLibs: true, CallStackSize: maxStack, RegistrySize: 1024, RegistryMaxSize: maxValues, RegistryGrowStep: 16 << 10,
		MinimizeStackMemory: true,
	})
	st := &state{L: L, prog: p}
	base := sandbox(L, st)
	st.msg = L.NewUserData()
	st.msg.Value = st
	st.msg.Metatable = messageType(L, st)
	st.env = L.NewTable()
	meta := L.NewTable()
	meta.RawSetString("__index", base)
	st.env.Metatable = meta
	st.meter.bind(L, st.env)
	st.meter.reset(loadSize)
	fn := L.NewFunctionFromProto(p.proto)
	fn.Env = st.env
	st.call.clock = newClock(context.Background(), loadTime)
	defer func() {
		st.call.clock.stop()
		st.call = call{}
	}()
	L.SetContext(st.call.clock.ctx)
	L.Push(fn)
	if err := L.PCall(0, 0, nil); err != nil {
		L.Close()
		if errors.Is(context.Cause(st.call.clock.ctx), errCPU) {
			return nil, fmt.Errorf("%s: its top level ran longer than %v", p.Name, loadTime)
		}
		return nil, err
	}
	L.RemoveContext()
	st.seal(meta, base)
	st.meter.kept = 0 // each state of the program keeps what the top level made
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
	st.meter.bind(st.L, st.env)
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
func (st *state) run(ctx context.Context, c Call) (pipeline.Verdict, error) {
	if c.Host == nil {
		c.Host = &Host{}
	}
	st.call = call{Call: c, state: st, clock: newClock(ctx, c.Limits.CPU)}
	defer func() {
		st.call.clock.stop()
		st.call = call{}
	}()
	st.meter.reset(c.Limits.Memory)
	st.L.SetContext(st.call.clock.ctx)
	defer st.L.RemoveContext()
	err := st.L.CallByParam(lua.P{Fn: st.env.RawGetString(c.Stage.String()), NRet: 0, Protect: true}, st.msg)
	switch {
	case err == nil:
		return st.call.verdict, nil
	case ctx.Err() != nil:
		return pipeline.Verdict{}, fmt.Errorf("%s: %s: %w", st.prog.Name, c.Stage, ctx.Err())
	case errors.Is(context.Cause(st.call.clock.ctx), errCPU):
		return pipeline.Verdict{}, fmt.Errorf("%s: %s %w: more than %v%s", st.prog.Name, c.Stage, errCPU, c.Limits.CPU, whereOf(err))
	}
	return pipeline.Verdict{}, scriptError(err)
}

// whereOf is the place of an error that the library describes in words of its own.
func whereOf(err error) string {
	var ae *lua.ApiError
	if errors.As(err, &ae) && ae.Object != nil {
		if m := linePrefix.FindString(ae.Object.String()); m != "" {
			return " (at " + m + ")"
		}
	}
	return ""
}
