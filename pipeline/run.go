package pipeline

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"runtime/debug"
	"time"

	"mtad/dns"
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
	for i, st := range f.p.steps {
		fate, stop := f.step(ctx, i, st, s)
		if stop {
			if fate.Refused() && s.session() {
				f.refused, f.refusedAt = fate, s
			}
			return fate
		}
	}
	return f.rcptFate()
}

// step asks one step and retires its verdict. stop ends the stage.
func (f *Flow) step(ctx context.Context, i int, st *Step, s Stage) (fate Fate, stop bool) {
	if st.Mode == Off || f.silent[i] || !f.wants(i, st, s) {
		return Fate{}, false
	}
	v := &View{state: f.state, reads: AllFacts}
	if !st.When.Eval(v) {
		return Fate{}, false
	}
	begin := f.p.now()
	asked := &dns.Recorder{}
	verdict, err := f.ask(dns.WithRecorder(ctx, asked), i, st, s, v)
	took := f.p.now().Sub(begin)
	ev := Event{Time: begin, Kind: EventStep, Stage: s.String(), Step: st.Name, Filter: st.Kind, Took: took, Shadow: st.Mode == Shadow, DNS: asked.Asked()}
	if s == Deliver || s == Rcpt {
		ev.Rcpt = f.rcptName()
	}
	st.stats.observe(took)
	if err == nil {
		err = f.check(i, st, s, verdict)
	}
	if err != nil {
		verdict = f.fault(st, s, err, &ev)
	}
	st.stats.actions[verdict.Action].Add(1)
	return f.retire(i, st, s, verdict, ev)
}

// wants reports whether the step's filter, or its session, lists the stage.
func (f *Flow) wants(i int, st *Step, s Stage) bool {
	if sess := f.sessions[i]; sess != nil {
		return sess.Stages().Has(s)
	}
	return st.Filter.Stages().Has(s)
}

// ask calls the filter under the step's guards.
func (f *Flow) ask(ctx context.Context, i int, st *Step, s Stage, v *View) (Verdict, error) {
	if !st.breaker.allow(f.p.now()) {
		st.stats.skipped.Add(1)
		return Verdict{}, ErrBreakerOpen
	}
	ctx, cancel := context.WithTimeout(ctx, st.timeout(s))
	defer cancel()
	verdict, err := f.guarded(ctx, i, st, s, v)
	// A session that ended in the middle says nothing about the filter.
	fine := err == nil || errors.Is(err, ErrOwn) || errors.Is(context.Cause(ctx), context.Canceled)
	st.breaker.report(f.p.now(), fine)
	return verdict, err
}

// answer is what came of a call.
type answer struct {
	verdict Verdict
	session Session // as opened by the call, if it was
	err     error
}

// guarded calls the filter on a goroutine of its own, so that one that ignores
// its deadline is left behind instead of holding the client.
func (f *Flow) guarded(ctx context.Context, i int, st *Step, s Stage, v *View) (Verdict, error) {
	if err := st.acquire(ctx); err != nil {
		return Verdict{}, err
	}
	session := f.sessions[i]
	got := make(chan answer, 1)
	go func() {
		defer st.release()
		got <- call(ctx, st, s, v, session)
	}()
	select {
	case a := <-got:
		return f.settle(i, a)
	case <-ctx.Done():
	}
	// The deadline has passed: an answer on the heels of it still counts.
	grace := time.NewTimer(graceTime)
	defer grace.Stop()
	select {
	case a := <-got:
		return f.settle(i, a)
	case <-grace.C:
		f.abandon(i, got)
		return Verdict{}, fmt.Errorf("%w: ignored its deadline of %v", ErrTimeout, st.timeout(s))
	}
}

// graceTime is how long a call may outlive its deadline before it is abandoned.
const graceTime = 200 * time.Millisecond

func (f *Flow) settle(i int, a answer) (Verdict, error) {
	f.sessions[i] = a.session
	if errors.Is(a.err, context.DeadlineExceeded) && !errors.Is(a.err, ErrTimeout) {
		a.err = fmt.Errorf("%w: %w", ErrTimeout, a.err)
	}
	return a.verdict, a.err
}

// abandon gives up a session whose call has not come back; whoever returns last
// closes it.
func (f *Flow) abandon(i int, got <-chan answer) {
	f.sessions[i] = nil
	go func() {
		if a := <-got; a.session != nil {
			a.session.Close()
		}
	}()
}

// call opens the filter's session if it has none yet, and asks.
func call(ctx context.Context, st *Step, s Stage, v *View, session Session) (a answer) {
	a.session = session
	defer func() {
		if r := recover(); r != nil {
			a.err = fmt.Errorf("%w: %v\n%s", ErrPanic, r, debug.Stack())
		}
	}()
	filter := st.Filter
	if opener, ok := filter.(Opener); ok && session == nil {
		if a.session, a.err = opener.Open(ctx, v); a.err != nil {
			a.session = nil
			return a
		}
	}
	if a.session != nil {
		filter = a.session
	}
	if !filter.Stages().Has(s) {
		return a
	}
	if access, ok := filter.(Access); ok {
		reads, _ := access.Access(s)
		v = v.masked(reads)
	}
	a.verdict, a.err = filter.Filter(ctx, s, v)
	return a
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
	for _, m := range v.Mods {
		if m.writes()&^writes != 0 {
			return fmt.Errorf("pipeline: %s: undeclared edit %q", st.Name, m)
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
