package lua

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"mtad/plugins/lua/engine"
)

// checkEvery is how often a script's file is looked at: the message after a
// change meets it.
const checkEvery = 10 * time.Millisecond

// source is a script file and the program made of it.
type source struct {
	path string
	log  *slog.Logger
	prog atomic.Pointer[engine.Program]

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
func (s *source) current(now time.Time) *engine.Program {
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
	s.log.Info("lua: script changed", "script", s.path, "stages", p.Stages.String())
	s.prog.Store(p)
	return p
}

func readProgram(path string) (*engine.Program, error) {
	text, err := readFile(path, engine.MaxScript)
	if err != nil {
		return nil, err
	}
	return engine.Compile(filepath.Base(path), text)
}

// readFile reads a file that has no more octets than that.
func readFile(path string, limit int64) ([]byte, error) {
	fi, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if fi.Size() > limit {
		return nil, fmt.Errorf("%s has %d octets; at most %d are read", path, fi.Size(), limit)
	}
	return os.ReadFile(path)
}
