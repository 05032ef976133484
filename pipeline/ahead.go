package pipeline

import (
	"context"

	"mtad/dns"
	"mtad/internal/invariants"
)

// Side by side: a step may be asked while an earlier one still is, where the
// outcome can not be another than that of asking them one after the other.
//
// A call that is begun ahead of its turn sees every fact that it reads
// as it will be at its turn, and has no effect but its verdict, which is retired
// at its turn or, where an earlier step ends the stage, not at all.
//
// Hence step j may begin while i < j is not retired only if
//
//   - no step from i on that comes before j writes what j or its condition reads;
//   - j writes no Effects;
//   - j keeps no session, or the stage is Message, or j is a Retractor: a refusal
//     of i ends the transaction for j's session at Message, while elsewhere it has
//     been told of a recipient, say, that it should not know of, and must forget;
//   - j's breaker is closed, so that whether it is asked at all does not depend on
//     when.
//
// What j reports, to its breaker, its counters and the trace, it reports at its turn.

// maxAhead bounds the calls of one flow that wait to be retired.
const maxAhead = 16

// ahead are the calls begun before their turn.
type ahead struct {
	n     int
	steps [maxAhead]int
	calls [maxAhead]*pending // nil: the step's condition does not hold
}

// take returns the call of a step whose turn has come; asked is false if it has
// not been begun.
func (a *ahead) take(i int) (c *pending, asked bool) {
	for n, step := range a.steps[:a.n] {
		if step == i {
			return a.calls[n], true
		}
	}
	return nil, false
}

// Access is what a step reads, its condition included, and writes at a stage. A
// filter that does not say reads and writes everything.
func (st *Step) Access(s Stage) (reads, writes Facts) { return st.access(st.Filter, s) }

func (st *Step) access(asked any, s Stage) (reads, writes Facts) {
	a, ok := asked.(Access)
	if !ok {
		return AllFacts, AllFacts
	}
	reads, writes = a.Access(s)
	reads |= Facts(st.When.Reads())
	// Whoever sees the header sees the message.
	if reads&(Header|Body) != 0 {
		reads |= Header | Body
	}
	return reads, writes
}

// early lists, for each stage, the steps that may ever begin ahead of their turn.
func early(steps []*Step) (out [stageCount][]int) {
	for s := range stageCount {
		for j, st := range steps {
			if j > 0 && st.Stages().Has(s) && st.mayBeEarly(s) {
				out[s] = append(out[s], j)
			}
		}
	}
	return out
}

func (st *Step) mayBeEarly(s Stage) bool {
	if _, opens := st.Filter.(Opener); opens && !st.retracts() {
		return s == Message // its session will say
	}
	_, declares := st.Filter.(Access)
	_, writes := st.Access(s)
	return declares && writes&Effects == 0
}

func (st *Step) retracts() bool {
	_, ok := st.Filter.(Retractor)
	return ok
}

// lookAhead begins the calls that need not wait for step i, whose call is now.
func (f *Flow) lookAhead(ctx context.Context, s Stage, i int, now *pending, begun *ahead) {
	candidates := f.p.early[s]
	if f.p.serial || len(candidates) == 0 || candidates[len(candidates)-1] <= i {
		return
	}
	written := now.writes
	for j := i + 1; j <= candidates[len(candidates)-1] && begun.n < maxAhead; j++ {
		if c, asked := begun.take(j); asked { // its session is not to be asked now
			if c != nil {
				written |= c.writes
			}
			continue
		}
		if !f.listens(j, f.p.steps[j], s) {
			continue
		}
		reads, writes := f.access(j, s)
		if written&reads == 0 && writes&Effects == 0 && f.canBegin(j, s) {
			f.beginAhead(ctx, j, s, begun)
		}
		written |= writes
	}
}

// access is that of the step's session, where it has one.
func (f *Flow) access(i int, s Stage) (reads, writes Facts) {
	st := f.p.steps[i]
	if sess := f.sessions[i]; sess != nil {
		return st.access(sess, s)
	}
	if _, opens := st.Filter.(Opener); opens && !st.retracts() {
		return AllFacts, AllFacts
	}
	return st.Access(s)
}

func (f *Flow) canBegin(j int, s Stage) bool {
	st := f.p.steps[j]
	if _, opens := st.Filter.(Opener); opens && !st.retracts() && (f.sessions[j] == nil || s != Message) {
		return false
	}
	return st.breaker.closed()
}

// beginAhead is begin, but waits for nothing.
func (f *Flow) beginAhead(ctx context.Context, j int, s Stage, begun *ahead) {
	st := f.p.steps[j]
	v := &View{state: f.state, reads: AllFacts}
	if !st.When.Eval(v) {
		begun.add(j, nil)
		return
	}
	if !st.tryAcquire() {
		return
	}
	c := &pending{view: v, begin: f.p.now(), asked: &dns.Recorder{}}
	c.reads, c.writes = f.access(j, s)
	c.ctx, c.cancel = context.WithTimeout(dns.WithRecorder(ctx, c.asked), st.TimeoutAt(s))
	f.call(j, st, s, c)
	begun.add(j, c)
}

func (a *ahead) add(j int, c *pending) {
	a.steps[a.n], a.calls[a.n] = j, c
	a.n++
}

// relied reports whether a call after step i has been begun on what it declared.
func (a *ahead) relied(i int) bool {
	for _, j := range a.steps[:a.n] {
		if j > i {
			return true
		}
	}
	return false
}

// sawAsNow checks that a call which was begun ahead has seen what it would see at
// its turn, which has come.
func (f *Flow) sawAsNow(i int, s Stage, c *pending) {
	// Invariant: what a call begun ahead saw is what it would see at its turn.
	if !invariants.Enabled {
		return
	}
	reads := c.reads
	if _, opens := f.p.steps[i].Filter.(Opener); !opens { // a session may be at work, and is not to be asked
		reads, _ = f.access(i, s)
	}
	if then, now := c.view.masked(reads).print(), f.View().masked(reads).print(); then != now {
		invariants.Broken("pipeline: step %s was asked too early: it saw\n%s\nand would see\n%s", f.p.steps[i].Name, then, now)
	}
}

// waste ends the calls after step i, which has ended the stage. The sessions in
// them are the flow's again when it returns, and know nothing of the calls.
func (f *Flow) waste(i int, s Stage, begun *ahead) {
	for n, j := range begun.steps[:begun.n] {
		if c := begun.calls[n]; c != nil && j > i {
			c.cancel()
		}
	}
	for n, j := range begun.steps[:begun.n] {
		c := begun.calls[n]
		if c == nil || j <= i {
			continue
		}
		opened := f.sessions[j] == nil
		// Canceled, it comes back or is left behind; what it says is nothing.
		_, _ = f.answer(j, f.p.steps[j], s, c)
		if opened {
			f.closeSession(j)
		} else {
			f.retract(j, s)
		}
	}
}

// retract makes a session forget a call, if it can; at Message, the end of the
// transaction does for those that can not.
func (f *Flow) retract(j int, s Stage) {
	r, ok := f.p.steps[j].Filter.(Retractor)
	if !ok || f.sessions[j] == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), CommandTimeout)
	defer cancel()
	if err := guarded(func() error { return r.Retract(ctx, f.sessions[j], s) }); err != nil {
		f.p.log.Debug("filter retract", "pipeline", f.p.Name, "step", f.p.steps[j].Name, "stage", s.String(), "err", err)
		f.closeSession(j)
	}
}

// closeSession closes a step's session, if it has one.
func (f *Flow) closeSession(i int) {
	s := f.sessions[i]
	if s == nil {
		return
	}
	f.sessions[i] = nil
	if err := s.Close(); err != nil {
		f.p.log.Debug("filter close", "step", f.p.steps[i].Name, "err", err)
	}
}
