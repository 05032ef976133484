package engine

import (
	"context"
	"errors"
	"fmt"
	"strings"

	lua "github.com/yuin/gopher-lua"
	"github.com/yuin/gopher-lua/parse"

	"mtad/pipeline"
)

// ErrIncomplete says that a line is the beginning of something.
var ErrIncomplete = errors.New("the statement goes on")

// Repl runs lines of Lua one after the other, with one message.
type Repl struct {
	st   *state
	env  *lua.LTable
	call Call
	said int // edits that have been shown
}

// NewRepl makes one. All of the API can be named.
func NewRepl(c Call) (*Repl, error) {
	p, err := compile("line", nil)
	if err != nil {
		return nil, err
	}
	for _, b := range bindings() {
		p.names[b.name], p.names[b.lib] = true, true
	}
	st, err := newState(p)
	if err != nil {
		return nil, err
	}
	if c.Host == nil {
		c.Host = &Host{}
	}
	r := &Repl{st: st, env: st.L.NewTable(), call: c}
	behind := st.L.NewTable()
	behind.RawSetString("__index", st.L.G.Global)
	r.env.Metatable = behind
	r.env.RawSetString("msg", st.msg)
	st.meter.bind(st.L, r.env)
	st.call = call{Call: c, state: st}
	return r, nil
}

// Close ends it.
func (r *Repl) Close() { r.st.L.Close() }

// Eval runs an expression or a statement, and returns what it yields and what
// was asked of msg, a line each. ErrIncomplete: more lines are needed.
func (r *Repl) Eval(ctx context.Context, text string) (string, error) {
	if strings.TrimSpace(text) == "" {
		return "", nil
	}
	proto, err := r.compile("return " + text)
	if err != nil {
		if proto, err = r.compile(text); err != nil {
			return "", err
		}
	}
	L := r.st.L
	r.st.call.clock = newClock(ctx, r.call.Limits.CPU)
	defer r.st.call.clock.stop()
	r.st.call.redirects, r.st.call.answers, r.st.call.asked = 0, 0, [reaches]int{}
	r.st.meter.reset(r.call.Limits.Memory)
	L.SetContext(r.st.call.clock.ctx)
	defer L.RemoveContext()
	L.SetTop(0)
	fn := L.NewFunctionFromProto(proto)
	fn.Env = r.env
	L.Push(fn)
	if err := L.PCall(0, lua.MultRet, nil); err != nil {
		return "", scriptError(err)
	}
	var out []string
	for i := 1; i <= L.GetTop(); i++ {
		out = append(out, show(L.Get(i), 3))
	}
	return strings.Join(append(out, r.asked()...), "\n"), nil
}

// compile compiles one line.
func (r *Repl) compile(text string) (*lua.FunctionProto, error) {
	p, err := compile("line", []byte(text))
	if err == nil {
		return p.proto, nil
	}
	if _, perr := parse.Parse(strings.NewReader(text), "line"); perr != nil {
		var pe *parse.Error
		if errors.As(perr, &pe) && pe.Pos.Line < 0 {
			return nil, ErrIncomplete
		}
	}
	return nil, err
}

// asked is what was asked of msg since the last line.
func (r *Repl) asked() (out []string) {
	v := &r.st.call.verdict
	for _, m := range v.Mods[r.said:] {
		out = append(out, "-> "+m.String())
	}
	r.said = len(v.Mods)
	if v.Action != pipeline.Continue || v.Note != "" {
		out = append(out, strings.TrimSpace("-> "+v.Action.String()+" "+v.Reply.String()+" "+v.Note))
	}
	v.Action, v.Note = pipeline.Continue, ""
	return out
}

// show writes a value for people, tables with what is in them.
func show(v lua.LValue, depth int) string {
	switch v := v.(type) {
	case lua.LString:
		return fmt.Sprintf("%q", string(v))
	case *lua.LTable:
		if depth == 0 {
			return "{...}"
		}
		var out []string
		v.ForEach(func(k, e lua.LValue) {
			if len(out) > 100 {
				return
			}
			name := k.String()
			if k.Type() == lua.LTNumber {
				name = "[" + name + "]"
			}
			out = append(out, name+" = "+show(e, depth-1))
		})
		return "{ " + strings.Join(out, ", ") + " }"
	}
	return v.String()
}
