package pipeline

import (
	"context"
	"errors"
	"sync"
	"time"
)

// MaxDrain is how long sessions may stay in pipelines that a reload replaced.
const MaxDrain = 30 * time.Minute

// Set is the pipelines in force. A reload swaps all of them at once; sessions in
// progress finish on the ones they began with.
type Set struct {
	mu      sync.Mutex
	current *generation
}

// generation is one configuration's pipelines.
type generation struct {
	pipelines map[string]*Pipeline
	users     int
	retired   bool
	closed    bool
	onClose   func(error)
	limit     *time.Timer // of a retired one: it holds its filters until then
}

// NewSet makes a set of started pipelines.
func NewSet(pipelines map[string]*Pipeline) *Set {
	return &Set{current: &generation{pipelines: pipelines}}
}

// Acquire returns a pipeline, nil if there is none of that name, and a function
// that must be called when the session has left it.
func (s *Set) Acquire(name string) (*Pipeline, func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.current
	g.users++
	return g.pipelines[name], sync.OnceFunc(func() { s.leave(g) })
}

func (s *Set) leave(g *generation) {
	s.mu.Lock()
	g.users--
	last := g.retired && g.users == 0 && !g.closed
	g.closed = g.closed || last
	if last && g.limit != nil {
		g.limit.Stop()
	}
	s.mu.Unlock()
	if last {
		g.onClose(g.close())
	}
}

func (g *generation) close() error {
	var errs []error
	for _, p := range g.pipelines {
		errs = append(errs, p.Close())
	}
	return errors.Join(errs...)
}

// Swap puts other pipelines, already started, in force. The old ones are closed
// when their last session leaves, after MaxDrain at the latest; closed is told.
func (s *Set) Swap(pipelines map[string]*Pipeline, closed func(error)) {
	s.mu.Lock()
	old := s.current
	old.retired, old.onClose = true, closed
	s.current = &generation{pipelines: pipelines}
	old.users++
	old.limit = time.AfterFunc(MaxDrain, func() {
		s.mu.Lock()
		late := !old.closed
		old.closed = true
		s.mu.Unlock()
		if late {
			closed(old.close())
		}
	})
	s.mu.Unlock()
	s.leave(old)
}

// Pipelines are the pipelines in force, by name. The map is to be read only.
func (s *Set) Pipelines() map[string]*Pipeline {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.current.pipelines
}

// Close closes the pipelines in force. No session may be in them.
func (s *Set) Close() error {
	s.mu.Lock()
	g := s.current
	done := g.closed
	g.closed = true
	s.mu.Unlock()
	if done {
		return nil
	}
	return g.close()
}

// life counts the pipelines that hold a step, so that one which a reload carries
// over is started once and closed by the last.
type life struct {
	mu      sync.Mutex
	holders int
}

func (st *Step) start(ctx context.Context) error {
	st.life.mu.Lock()
	defer st.life.mu.Unlock()
	r, ok := st.Filter.(Runner)
	if ok && st.life.holders == 0 {
		if err := r.Start(ctx); err != nil {
			return err
		}
	}
	st.life.holders++
	return nil
}

func (st *Step) stop() error {
	st.life.mu.Lock()
	defer st.life.mu.Unlock()
	st.life.holders--
	if r, ok := st.Filter.(Runner); ok && st.life.holders == 0 {
		return r.Close()
	}
	return nil
}
