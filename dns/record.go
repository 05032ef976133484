package dns

import (
	"context"
	"sync"
)

// Asked is one question and what came back.
type Asked struct {
	Name   string
	Type   Type
	Answer Answer
	Err    string // "" if there was an answer
}

// maxAsked bounds what a Recorder keeps.
const maxAsked = 1000

// Recorder is a Resolver that asks another and remembers, so that a session can
// be explained and replayed. It keeps the first 1,000 questions.
type Recorder struct {
	Resolver Resolver

	mu    sync.Mutex
	asked []Asked
}

// Lookup asks and remembers.
func (r *Recorder) Lookup(ctx context.Context, name string, t Type) (Answer, error) {
	ans, err := r.Resolver.Lookup(ctx, name, t)
	a := Asked{Name: canonical(name), Type: t, Answer: ans}
	if err != nil {
		a.Err = err.Error()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.asked) < maxAsked {
		r.asked = append(r.asked, a)
	}
	return ans, err
}

// Asked returns what was asked so far, in order.
func (r *Recorder) Asked() []Asked {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]Asked(nil), r.asked...)
}
