package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	lua "github.com/yuin/gopher-lua"
	"github.com/yuin/gopher-lua/parse"

	"mtad/pipeline"
)

// Bounds of a script and its states, whatever the configuration says.
const (
	MaxScript = 1 << 20 // octets of a script
	maxStack  = 200     // nested calls
	maxValues = 256 << 10
	loadTime  = time.Second // of the top level of a script
	loadSize  = 64 << 20
)

// Limits bounds one call.
type Limits struct {
	CPU       time.Duration // of the script itself: waiting for a Host does not count
	Memory    int64         // octets that it makes, those it drops again too
	Redirects int           // addresses that one message is sent on to
}

// DefaultLimits is for those who have none configured.
var DefaultLimits = Limits{CPU: time.Second, Memory: 64 << 20, Redirects: 5}

// Program is a compiled script. It is used by many goroutines. Its states are
// pooled: making one costs more than a call.
type Program struct {
	Name   string
	Stages pipeline.Stages // it has functions for
	Reads  pipeline.Facts  // of a View
	Writes pipeline.Facts

	proto *lua.FunctionProto
	names map[string]bool // what the script can name
	pool  sync.Pool
}

// Compile parses a script, runs its top level once, and sees which stages it has
// functions for. A script without any is an error.
func Compile(name string, text []byte) (*Program, error) {
	p, err := compile(name, text)
	if err != nil {
		return nil, err
	}
	st, err := newState(p)
	if err != nil {
		return nil, scriptError(err)
	}
	for s := pipeline.Connect; s <= pipeline.Queued; s++ {
		if st.env.RawGetString(s.String()).Type() == lua.LTFunction {
			p.Stages |= pipeline.At(s)
		}
	}
	if p.Stages == 0 {
		return nil, fmt.Errorf("%s defines no function named after a stage: %s", name, pipeline.ListenerStages|pipeline.DeliveryStages)
	}
	p.put(st)
	return p, nil
}

// compile parses a script and makes it pay for what it takes. What the library
// panics with over a strange script is an error like any other.
func compile(name string, text []byte) (p *Program, err error) {
	defer func() {
		if r := recover(); r != nil {
			p, err = nil, fmt.Errorf("%s: it can not be compiled: %v", name, r)
		}
	}()
	if len(text) > MaxScript {
		return nil, fmt.Errorf("%s has %d octets; a script has at most %d", name, len(text), MaxScript)
	}
	chunk, err := parse.Parse(bytes.NewReader(text), name)
	if err != nil {
		return nil, syntaxError(name, text, err)
	}
	chunk, names, err := rewrite(chunk)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	proto, err := lua.Compile(chunk, name)
	if err != nil {
		return nil, syntaxError(name, text, err)
	}
	p = &Program{Name: name, proto: proto, names: names}
	p.Reads, p.Writes = factsOf(names)
	return p, nil
}

// syntaxError is one line, which begins as run-time errors do: name:line:.
func syntaxError(name string, text []byte, err error) error {
	var pe *parse.Error
	if errors.As(err, &pe) {
		if pe.Pos.Line < 0 {
			return fmt.Errorf("%s:%d: %s at the end of the script", name, bytes.Count(text, []byte("\n"))+1, pe.Message)
		}
		return fmt.Errorf("%s:%d: %s near %q", name, pe.Pos.Line, pe.Message, pe.Token)
	}
	var ce *lua.CompileError
	if errors.As(err, &ce) {
		return fmt.Errorf("%s:%d: %s", name, ce.Line, ce.Message)
	}
	return fmt.Errorf("%s: %s", name, strings.Join(strings.Fields(err.Error()), " "))
}

// scriptError drops the stack trace of an error: file, line and message are
// what its author needs.
func scriptError(err error) error {
	var ae *lua.ApiError
	if errors.As(err, &ae) {
		if ae.Object != nil && ae.Object != lua.LNil {
			return fmt.Errorf("%.1000s", ae.Object.String())
		}
		if ae.Cause != nil {
			return ae.Cause
		}
	}
	return err
}

// Call is what a stage's function is called with.
type Call struct {
	Stage  pipeline.Stage
	View   *pipeline.View
	Host   *Host
	Limits Limits
}

// Run calls the stage's function. A stage for which the script has none is no
// error. An error is the script's fault and names its line.
func (p *Program) Run(ctx context.Context, c Call) (pipeline.Verdict, error) {
	if !p.Stages.Has(c.Stage) {
		return pipeline.Verdict{}, nil
	}
	st, err := p.take()
	if err != nil {
		return pipeline.Verdict{}, scriptError(err)
	}
	v, err := st.run(ctx, c)
	if err != nil {
		st.L.Close() // its stack is in no known state
		return pipeline.Verdict{}, err
	}
	p.put(st)
	return v, nil
}

func (p *Program) take() (*state, error) {
	if st, ok := p.pool.Get().(*state); ok {
		return st, nil
	}
	return newState(p)
}

// put keeps a state for the next call, unless its calls together have made so
// much that its local variables might keep too much of it.
func (p *Program) put(st *state) {
	if st.meter.kept > loadSize {
		st.L.Close()
		return
	}
	st.L.SetTop(0)
	p.pool.Put(st)
}
