package pipeline

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"mtad/dns"
)

// Pipeline is an ordered list of steps, as written in the configuration. It is
// immutable once started and may serve any number of flows at once.
type Pipeline struct {
	Name  string
	steps []*Step
	now   func() time.Time
	log   *slog.Logger
	crew  crew

	early  [stageCount][]int // steps that may begin ahead of their turn
	serial bool              // none does: for comparison

	prefetch []int         // steps that can say what they will ask
	dns      dns.Resolver  // for that
	asking   chan struct{} // a place for each question under way
}

// New checks the steps and makes a pipeline of them. The steps belong to it.
func New(name string, steps []*Step, env Env) (*Pipeline, error) {
	seen := map[string]bool{}
	for _, st := range steps {
		if st.Name == "" || seen[st.Name] {
			return nil, fmt.Errorf("pipeline %s: step name %q is empty or used twice", name, st.Name)
		}
		seen[st.Name] = true
		if st.OnError != TempFail && st.OnError != Continue && st.OnError != Reject {
			return nil, fmt.Errorf("pipeline %s: step %s: on_error can't be %s", name, st.Name, st.OnError)
		}
		if st.MaxConcurrent > 0 && st.sem == nil {
			st.sem = make(chan struct{}, st.MaxConcurrent)
		}
	}
	p := &Pipeline{Name: name, steps: steps, now: env.Now, log: env.Log, early: early(steps)}
	if p.prefetch = prefetchers(steps); p.prefetch != nil && env.DNS != nil {
		p.dns, p.asking = env.DNS, make(chan struct{}, maxPrefetchBusy)
	}
	if p.now == nil {
		p.now = time.Now
	}
	if p.log == nil {
		p.log = slog.New(slog.DiscardHandler)
	}
	return p, nil
}

// Steps are the steps in order. The slice is to be read only.
func (p *Pipeline) Steps() []*Step { return p.steps }

// Start starts every filter that is a Runner, in order, unless another pipeline
// holds its step and has started it. If one fails, those before it are let go.
func (p *Pipeline) Start(ctx context.Context) error {
	for i, st := range p.steps {
		if err := st.start(ctx); err != nil {
			err = fmt.Errorf("pipeline %s: start %s: %w", p.Name, st.Name, err)
			return errors.Join(err, stopSteps(p.steps[:i]))
		}
	}
	return nil
}

// Close closes every filter that no other pipeline holds.
func (p *Pipeline) Close() error {
	p.crew.close()
	return stopSteps(p.steps)
}

func stopSteps(steps []*Step) error {
	var errs []error
	for _, st := range steps {
		errs = append(errs, st.stop())
	}
	return errors.Join(errs...)
}

// Stats returns the counters of every step, in order.
func (p *Pipeline) Stats() []Stats {
	out := make([]Stats, 0, len(p.steps))
	now := p.now()
	for _, st := range p.steps {
		out = append(out, st.snapshot(p.Name, now))
	}
	return out
}
