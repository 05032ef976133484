package lua

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	lua "github.com/yuin/gopher-lua"
	"github.com/yuin/gopher-lua/parse"

	"mtad/pipeline"
)

// Bounds of a script and its states.
const (
	maxScript  = 1 << 20 // octets
	maxStack   = 200     // nested calls
	maxValues  = 256 << 10
	checkEvery = 10 * time.Millisecond // looks at the file: the message after a change meets it
)

// source is a script file and the program made of it.
type source struct {
	path string
	log  *slog.Logger
	prog atomic.Pointer[program]

	mu      sync.Mutex
	checked time.Time
	stamp   stamp
}

// stamp tells one version of a file from another.
type stamp struct {
	size int64
	mod  time.Time
}

func stampOf(path string) (stamp, error) {
	fi, err := os.Stat(path)
	if err != nil {
		return stamp{}, err
	}
	return stamp{fi.Size(), fi.ModTime()}, nil
}

func openSource(path string, log *slog.Logger) (*source, error) {
	s := &source{path: path, log: log, checked: time.Now()}
	var err error
	if s.stamp, err = stampOf(path); err != nil {
		return nil, err
	}
	p, err := readProgram(path)
	if err != nil {
		return nil, err
	}
	s.prog.Store(p)
	return s, nil
}

// current is the program of the file as it is, or was when last it had no error
// in it.
func (s *source) current(now time.Time) *program {
	if !s.mu.TryLock() {
		return s.prog.Load() // somebody is looking already
	}
	defer s.mu.Unlock()
	if now.Sub(s.checked) < checkEvery {
		return s.prog.Load()
	}
	s.checked = now
	st, err := stampOf(s.path)
	if err != nil || st == s.stamp {
		return s.prog.Load()
	}
	s.stamp = st
	p, err := readProgram(s.path)
	if err != nil {
		s.log.Error("lua: the changed script has an error; the one before stays in force", "script", s.path, "err", err)
		return s.prog.Load()
	}
	s.log.Info("lua: script changed", "script", s.path, "stages", p.stages.String())
	s.prog.Store(p)
	return p
}

// program is a compiled script. Its states are pooled: making one costs more
// than a call.
type program struct {
	name   string
	proto  *lua.FunctionProto
	stages pipeline.Stages
	pool   sync.Pool
}

func readProgram(path string) (*program, error) {
	fi, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if fi.Size() > maxScript {
		return nil, fmt.Errorf("%s has %d octets; a script has at most %d", path, fi.Size(), maxScript)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return compile(filepath.Base(path), text)
}

// compile parses a script, runs its top level once, and sees which stages it has
// functions for.
func compile(name string, text []byte) (*program, error) {
	chunk, err := parse.Parse(bytes.NewReader(text), name)
	if err != nil {
		return nil, err
	}
	proto, err := lua.Compile(chunk, name)
	if err != nil {
		return nil, err
	}
	p := &program{name: name, proto: proto}
	st, err := newState(p)
	if err != nil {
		return nil, scriptError(err)
	}
	for s := pipeline.Connect; s <= pipeline.Queued; s++ {
		if st.env.RawGetString(s.String()).Type() == lua.LTFunction {
			p.stages |= pipeline.At(s)
		}
	}
	if p.stages == 0 {
		return nil, fmt.Errorf("%s defines no function named after a stage: %s", name, pipeline.ListenerStages|pipeline.DeliveryStages)
	}
	p.put(st)
	return p, nil
}

func (p *program) take() (*state, error) {
	if st, ok := p.pool.Get().(*state); ok {
		return st, nil
	}
	return newState(p)
}

func (p *program) put(st *state) {
	st.L.SetTop(0)
	p.pool.Put(st)
}
