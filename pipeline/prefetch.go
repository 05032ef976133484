package pipeline

import (
	"context"

	"mtad/dns"
)

// Bounds of what is asked before a filter wants to know it: for one flow, and by
// one pipeline at once. What is beyond them is not asked ahead.
const (
	maxPrefetch     = 32
	maxPrefetchBusy = 64
)

// prefetch asks what steps will want to know whose turn has not come: now is the
// step that is being asked, and begun are the others. It waits for nothing. A step
// with a condition that is not about the session alone may never be asked, and is
// left out.
func (f *Flow) prefetch(s Stage, now int, begun *ahead) {
	if s > Rcpt || f.p.dns == nil {
		return
	}
	for _, j := range f.p.prefetch {
		st := f.p.steps[j]
		if st.Mode == Off || f.silent[j] {
			continue
		}
		if _, asked := begun.take(j); asked || j <= now && st.Stages().Has(s) {
			continue
		}
		v := f.View()
		if Facts(st.When.Reads()) != NoFacts || !st.When.Eval(v) {
			continue
		}
		reads, _ := st.Access(s)
		err := guarded(func() error {
			for _, q := range st.Filter.(Prefetcher).Prefetch(s, v.masked(reads)) {
				f.ask(q)
			}
			return nil
		})
		if err != nil {
			f.p.log.Warn("filter prefetch", "pipeline", f.p.Name, "step", st.Name, "stage", s.String(), "err", err)
		}
	}
}

// ask asks in the background, until the flow is closed.
func (f *Flow) ask(q dns.Question) {
	if f.prefetched >= maxPrefetch {
		return
	}
	select {
	case f.p.asking <- struct{}{}:
	default:
		return
	}
	f.prefetched++
	if f.asking == nil {
		f.asking, f.stopAsking = context.WithCancel(context.Background())
	}
	ctx, p := f.asking, f.p
	go func() {
		defer func() { <-p.asking }()
		ctx, cancel := context.WithTimeout(ctx, CommandTimeout)
		defer cancel()
		p.dns.Lookup(ctx, q.Name, q.Type) // the resolver keeps the answer
	}()
}

// prefetchers are the steps that may say what they will ask.
func prefetchers(steps []*Step) (out []int) {
	for j, st := range steps {
		if _, ok := st.Filter.(Prefetcher); ok {
			out = append(out, j)
		}
	}
	return out
}
