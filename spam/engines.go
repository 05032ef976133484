package spam

import (
	"strings"
	"sync"
	"weak"
)

// Engines opens engines, and gives the same one to all who ask for the same rules and
// options as long as somebody has it and its files have not changed. The resolver has
// no part in that: all who ask have the same, or none. The zero Engines is ready, and
// may be used by several goroutines. A nil one shares nothing.
type Engines struct {
	mu   sync.Mutex
	open map[engineKey]weak.Pointer[Engine]
}

type engineKey struct {
	paths           string
	net, bayes, dns bool
}

// Open is the function Open. opened says that the rules were read now.
func (s *Engines) Open(paths []string, o Options) (e *Engine, opened bool, err error) {
	if s == nil || o.Functions != nil {
		e, err = Open(paths, o)
		return e, true, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	key := engineKey{strings.Join(paths, "\x00"), o.Net, o.Bayes, o.Resolver != nil}
	if e := s.open[key].Value(); e != nil && !e.Changed(paths) {
		return e, false, nil
	}
	if e, err = Open(paths, o); err != nil {
		return nil, true, err
	}
	if s.open == nil {
		s.open = map[engineKey]weak.Pointer[Engine]{}
	}
	s.open[key] = weak.Make(e)
	return e, true, nil
}
