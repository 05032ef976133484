package pipeline

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"time"

	"mtad/dns"
	"mtad/internal/invariants"
	"mtad/smtp"
)

// Fate is what a stage came to.
type Fate struct {
	Action Action     // Continue, Discard, or a refusal
	Reply  smtp.Reply // of a refusal; never zero then
	Step   string     // whose word it was; "" for Continue
}

// Refused reports whether the client is to be told no.
func (f Fate) Refused() bool { return f.Action.Refuses() }

// Run asks every step that lists the stage, in order, until one decides. The
// edits of those that did not refuse are in the flow's View afterwards. The
// context bounds the whole stage; each step has its own time-out inside it.
func (f *Flow) Run(ctx context.Context, s Stage) Fate {
	if s == Helo { // a new HELO is a new question
		f.dropHelo()
		if f.refusedAt == Helo {
			f.refused = Fate{}
		}
	}
	if f.refused.Refused() && s < Message {
		return f.refused
	}
	// What a filter dropped at MAIL or RCPT is nobody else's to judge.
	if step := f.state.env.Discard; step != "" && s > Mail && s < Deliver {
		return Fate{Action: Discard, Step: step}
	}
	var begun ahead
	first := true
	for i, st := range f.p.steps {
		c, asked := begun.take(i)
		if !asked {
			c = f.begin(ctx, i, st, s)
		} else if c != nil {
			f.sawAsNow(i, s, c)
		}
		if c == nil {
			continue
		}
		f.lookAhead(ctx, s, i, c, &begun)
		if first {
			f.prefetch(s, i, &begun)
			first = false
		}
		if fate, stop := f.finish(i, st, s, c, begun.relied(i)); stop {
			f.waste(i, s, &begun)
			if fate.Refused() && s.session() {
				f.refused, f.refusedAt = fate, s
			}
			return fate
		}
	}
	if first {
		f.prefetch(s, len(f.p.steps), &begun)
	}
	return f.rcptFate()
}

// pending is a call whose answer has not been retired.
type pending struct {
	view   *View
	begin  time.Time
	asked  *dns.Recorder
	ctx    context.Context
	cancel context.CancelFunc
	hand   *hand // nil: the filter could not be asked, which err says
	err    error
	reads  Facts     // as declared when it began,
	writes Facts     // which is what others rely on
	ended  time.Time // zero: it has not come back
}

// took is how long the filter took, or has been taking.
func (c *pending) took(now time.Time) time.Duration {
	if c.ended.IsZero() {
		c.ended = now
	}
	return c.ended.Sub(c.begin)
}

// begin calls a step's filter; nil if the step has nothing to say here.
func (f *Flow) begin(ctx context.Context, i int, st *Step, s Stage) *pending {
	if !f.listens(i, st, s) {
		return nil
	}
	v := &View{state: f.state, reads: AllFacts}
	if !st.When.Eval(v) {
		return nil
	}
	c := &pending{view: v, begin: f.p.now(), asked: &dns.Recorder{}}
	c.reads, c.writes = f.access(i, s)
	if !st.breaker.allow(c.begin) {
		st.stats.skipped.Add(1)
		c.err = ErrBreakerOpen
		return c
	}
	c.ctx, c.cancel = context.WithTimeout(dns.WithRecorder(ctx, c.asked), st.TimeoutAt(s))
	if c.err = st.acquire(c.ctx); c.err == nil {
		f.call(i, st, s, c)
	}
	return c
}

// call asks on another goroutine, so that a filter that ignores its deadline is
// left behind instead of holding the client. The step's place must be taken.
func (f *Flow) call(i int, st *Step, s Stage, c *pending) {
	c.hand = f.p.crew.take()
	c.hand.calls <- call{c.ctx, st, s, c.view, f.sessions[i], f.p.now}
}

// listens reports whether a step is asked at a stage, if its condition holds.
func (f *Flow) listens(i int, st *Step, s Stage) bool {
	if st.Mode == Off || f.silent[i] {
		return false
	}
	if sess := f.sessions[i]; sess != nil {
		return sess.Stages().Has(s)
	}
	return st.Filter.Stages().Has(s)
}

// finish waits for a call and retires its verdict. Others may have relied on what
// it declared. stop ends the stage.
func (f *Flow) finish(i int, st *Step, s Stage, c *pending, relied bool) (fate Fate, stop bool) {
	verdict, err := f.wait(i, st, s, c)
	took := c.took(f.p.now())
	ev := Event{Time: c.begin, Kind: EventStep, Stage: s.String(), Step: st.Name, Filter: st.Kind, Took: took, Shadow: st.Mode == Shadow, DNS: c.asked.Asked()}
	if s == Deliver || s == Rcpt {
		ev.Rcpt = f.rcptName()
	}
	st.stats.observe(took)
	if err == nil {
		err = f.check(i, st, s, verdict)
	}
	if err == nil && relied {
		err = undeclared(st, verdict, c.writes) // a session may have come to write more
	}
	if err != nil {
		verdict = f.fault(st, s, err, &ev)
	}
	st.stats.actions[verdict.Action].Add(1)
	return f.retire(i, st, s, verdict, ev)
}

// wait returns what a call came to, and tells the step's breaker.
func (f *Flow) wait(i int, st *Step, s Stage, c *pending) (Verdict, error) {
	if errors.Is(c.err, ErrBreakerOpen) {
		return Verdict{}, c.err
	}
	defer c.cancel()
	verdict, err := f.answer(i, st, s, c)
	// A session that ended in the middle says nothing about the filter.
	fine := err == nil || errors.Is(err, ErrOwn) || errors.Is(context.Cause(c.ctx), context.Canceled)
	st.breaker.report(f.p.now(), fine)
	return verdict, err
}

func (f *Flow) answer(i int, st *Step, s Stage, c *pending) (Verdict, error) {
	if c.hand == nil {
		return Verdict{}, c.err
	}
	select {
	case a := <-c.hand.got:
		return f.settle(i, c, a)
	case <-c.ctx.Done():
	}
	// The deadline has passed: an answer on the heels of it still counts.
	grace := time.NewTimer(graceTime)
	defer grace.Stop()
	select {
	case a := <-c.hand.got:
		return f.settle(i, c, a)
	case <-grace.C:
		f.abandon(i, c.hand)
		return Verdict{}, fmt.Errorf("%w: ignored its deadline of %v", ErrTimeout, st.TimeoutAt(s))
	}
}

// graceTime is how long a call may outlive its deadline before it is abandoned.
const graceTime = 200 * time.Millisecond

func (f *Flow) settle(i int, c *pending, a answer) (Verdict, error) {
	f.p.crew.giveBack(c.hand)
	f.sessions[i] = a.session
	c.ended = a.ended
	if errors.Is(a.err, context.DeadlineExceeded) && !errors.Is(a.err, ErrTimeout) {
		a.err = fmt.Errorf("%w: %w", ErrTimeout, a.err)
	}
	return a.verdict, a.err
}

// abandon gives up a session whose call has not come back; whoever returns last
// closes it.
func (f *Flow) abandon(i int, h *hand) {
	f.p.log.Debug("filter left behind", "pipeline", f.p.Name, "step", f.p.steps[i].Name, "id", f.state.env.ID)
	f.sessions[i] = nil
	go func() {
		if a := <-h.got; a.session != nil {
			a.session.Close()
		}
		f.p.crew.giveBack(h)
	}()
}

// check finds verdicts that no filter may give.
func (f *Flow) check(i int, st *Step, s Stage, v Verdict) error {
	switch {
	case v.Action >= actionCount:
		return fmt.Errorf("pipeline: %s: action %d does not exist", st.Name, v.Action)
	case v.Action == Discard && (s < Mail):
		return fmt.Errorf("pipeline: %s: discard at %s", st.Name, s)
	case v.Action.Refuses() && s == Queued:
		return fmt.Errorf("pipeline: %s: %s after the message was accepted", st.Name, v.Action)
	case len(v.Rcpts) > 0 && s != Message && s != Queued:
		return fmt.Errorf("pipeline: %s: verdict for single recipients at %s", st.Name, s)
	case !v.Reply.IsZero() && v.Action.Refuses() && !validReply(v.Action, v.Reply):
		return fmt.Errorf("pipeline: %s: %s with the reply %s", st.Name, v.Action, v.Reply)
	}
	for _, m := range v.Mods {
		if sc, ok := m.(AddScore); ok && (math.IsNaN(sc.Points) || math.IsInf(sc.Points, 0)) {
			return fmt.Errorf("pipeline: %s: %s points are no number to add", st.Name, sc.Name)
		}
	}
	var asked any = st.Filter
	if f.sessions[i] != nil {
		asked = f.sessions[i]
	}
	access, ok := asked.(Access)
	if !ok {
		return nil
	}
	_, writes := access.Access(s)
	return undeclared(st, v, writes)
}

// undeclared finds edits that a step has not declared.
func undeclared(st *Step, v Verdict, writes Facts) error {
	for _, m := range v.Mods {
		if m.writes()&^writes != 0 {
			return fmt.Errorf("pipeline: %s: undeclared edit %q", st.Name, m)
		}
	}
	for _, r := range v.Rcpts {
		if r.writes()&^writes != 0 {
			return fmt.Errorf("pipeline: %s: undeclared edit %q", st.Name, r)
		}
	}
	return nil
}

// validReply reports whether the reply's class fits the action.
func validReply(a Action, r smtp.Reply) bool {
	switch a {
	case TempFail:
		return r.Temporary()
	case Reject:
		return r.Permanent() && r.Code < 600
	}
	return r.Temporary() || r.Permanent()
}

// fault turns an error into the verdict of the step's on_error.
func (f *Flow) fault(st *Step, s Stage, err error, ev *Event) Verdict {
	st.stats.faults.Add(1)
	ev.Err = err.Error()
	level := slog.LevelWarn
	if errors.Is(err, ErrBreakerOpen) {
		level = slog.LevelDebug
	}
	f.p.log.Log(context.Background(), level, "filter fault", "pipeline", f.p.Name, "step", st.Name,
		"stage", s.String(), "on_error", st.OnError.String(), "id", f.state.env.ID, "err", err)
	// After the reply there is nobody left to refuse (architecture: Queued).
	if s == Queued {
		return Verdict{Action: Continue}
	}
	return Verdict{Action: st.OnError, Reply: faultReply[st.OnError]}
}

var faultReply = map[Action]smtp.Reply{
	TempFail: smtp.NewReply(451, 7, 1, "Service unavailable, try again later"),
	Reject:   smtp.NewReply(550, 7, 1, "Message can not be checked here"),
}

// DefaultReply is what a refusal without words of its own says.
func DefaultReply(a Action) smtp.Reply {
	switch a {
	case TempFail:
		return smtp.NewReply(451, 7, 1, "Try again later")
	case Reject:
		return smtp.NewReply(550, 7, 1, "Refused by policy")
	case Disconnect:
		return smtp.NewReply(421, 7, 0, "Closing the connection")
	}
	return smtp.Reply{}
}

// retire applies a verdict, or only records it.
func (f *Flow) retire(i int, st *Step, s Stage, v Verdict, ev Event) (Fate, bool) {
	ev.Action, ev.Note = v.Action.String(), v.Note
	if v.Action.Refuses() {
		if v.Reply.IsZero() {
			v.Reply = DefaultReply(v.Action)
		}
		ev.Reply = v.Reply.String()
		ev.Masked = f.masks(st, s)
	}
	obeyed := st.Mode == Enforce && !ev.Masked
	f.edit(st, v, &ev, obeyed && !v.Action.Refuses())
	f.record(s, ev)
	if !obeyed {
		return Fate{}, false
	}
	switch v.Action {
	case Continue:
		return Fate{}, false
	case Done:
		f.silent[i] = true
		f.forever[i] = f.forever[i] || s.session()
		return Fate{}, false
	case Discard:
		f.discard(st, s)
	}
	return Fate{v.Action, v.Reply, st.Name}, true
}

// masks reports whether a refusal is not obeyed because the mail is for
// postmaster or abuse alone.
func (f *Flow) masks(st *Step, s Stage) bool {
	if st.Always || s != Rcpt && s != Data && s != Message && s != Deliver {
		return false
	}
	env := f.state.env
	if s == Rcpt || s == Deliver {
		i := env.find(f.state.rcpt)
		return i >= 0 && env.Rcpts[i].Exempt
	}
	for _, r := range env.Rcpts {
		if !r.Exempt {
			return false
		}
	}
	return len(env.Rcpts) > 0
}

// edit applies the modifications, if apply is set, and notes them.
func (f *Flow) edit(st *Step, v Verdict, ev *Event, apply bool) {
	if len(v.Mods) == 0 && len(v.Rcpts) == 0 {
		return
	}
	before := ""
	if invariants.Enabled {
		before = f.state.print()
	}
	next := f.state.edit()
	next.step = st.Name
	for _, m := range v.Mods {
		note := m.String()
		if apply {
			note += problem(m.apply(next))
		}
		ev.Mods = append(ev.Mods, note)
	}
	for _, r := range v.Rcpts {
		note := r.String()
		if apply {
			note += problem(next.judge(r))
		}
		ev.Mods = append(ev.Mods, note)
	}
	if apply {
		// Invariant: a revision that was shown never changes.
		if invariants.Enabled {
			f.state.same(before)
		}
		f.state = next
	}
}

// problem is what a trace says of an edit that did nothing.
func problem(err error) string {
	switch {
	case err == nil:
		return ""
	case errors.Is(err, errGone):
		return " (no such target)"
	}
	return " (" + err.Error() + ")"
}

// judge applies a verdict for one recipient.
func (s *state) judge(r RcptVerdict) error {
	i := s.env.find(r.Rcpt)
	if i < 0 {
		return errGone
	}
	switch {
	case r.Action == Discard:
		s.envelope().Rcpts[i].Drop = true
	case r.Action.Refuses():
		reply := r.Reply
		if reply.IsZero() {
			reply = DefaultReply(r.Action)
		}
		s.envelope().Rcpts[i].Refusal = reply
	}
	for _, m := range r.Mods {
		if m.writes()&^(Header|Body) != 0 {
			return fmt.Errorf("pipeline: %q is no edit for a single recipient", m)
		}
		if err := s.editFork(r.Rcpt, m); err != nil && !errors.Is(err, errGone) {
			return err
		}
	}
	return nil
}

// discard notes in the envelope, or in the plan, that the message is dropped.
func (f *Flow) discard(st *Step, s Stage) {
	next := f.state.edit()
	if s == Deliver {
		next.plan = Plan{Cancelled: true}
	} else {
		next.envelope().Discard = st.Name
	}
	f.state = next
}

// rcptFate is the fate after all steps: if every recipient was refused singly,
// that is a refusal of the transaction; if every one was dropped, a discard.
func (f *Flow) rcptFate() Fate {
	env := f.state.env
	refused, dropped := 0, 0
	for _, r := range env.Rcpts {
		if !r.Refusal.IsZero() {
			refused++
		} else if r.Drop {
			dropped++
		}
	}
	switch {
	case refused > 0 && refused == len(env.Rcpts):
		r := env.Rcpts[0].Refusal
		return Fate{Refuse(r).Action, r, "recipients"}
	case dropped > 0 && refused+dropped == len(env.Rcpts) && refused == 0:
		return Fate{Action: Discard, Step: "recipients"}
	}
	return Fate{}
}
