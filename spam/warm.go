package spam

import (
	"runtime"
	"sync"

	"mtad/spam/regex"
)

// Warm makes, on all processors, what the first message would have to wait for: some 250
// ms with SpamAssassin's rules. Messages may be judged meanwhile.
func (e *Engine) Warm() {
	e.warm.Do(func() {
		var wg sync.WaitGroup
		next := make(chan func())
		for range runtime.GOMAXPROCS(0) {
			wg.Go(func() {
				for do := range next {
					do()
				}
			})
		}
		for _, f := range e.filters() {
			for _, do := range f.Ready() {
				next <- do
			}
		}
		close(next)
		wg.Wait()
	})
}

// filters are those of all groups, and of the other half.
func (e *Engine) filters() (out []*regex.Filter) {
	if e.taught != nil {
		out = e.taught.filters()
	}
	for _, stage := range e.stages {
		out = append(out, stage.filters()...)
	}
	for _, groups := range [][]*group{e.body, e.uris, e.raw, e.full} {
		for _, g := range groups {
			out = append(out, g.filter)
		}
	}
	for _, h := range e.headers {
		out = append(out, h.filter)
	}
	for _, g := range e.parts {
		out = append(out, g.filter)
	}
	return out
}
