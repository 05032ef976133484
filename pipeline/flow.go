package pipeline

import (
	"context"
	"fmt"
	"slices"

	"mtad/message"
	"mtad/smtp"
)

// Flow is one connection's way through a pipeline. Its methods are called one
// after the other, by the goroutine that serves the connection.
type Flow struct {
	p         *Pipeline
	state     *state
	sessions  []Session
	silent    []bool // Done for this transaction
	forever   []bool // Done for the session
	refused   Fate   // of the session; sticks
	refusedAt Stage
	before    *state // to go back to if the recipient is refused
	connect   base   // facts found at Connect: the first
	helo      span   // those found at the last Helo
	session   log
	log       log
	open      bool // a transaction is under way

	prefetched int // questions asked ahead
	asking     context.Context
	stopAsking context.CancelFunc
}

// Open begins a flow for a client. Close must be called at its end.
func (p *Pipeline) Open(c Client) *Flow {
	return p.flow(&state{client: &c, env: &Mailing{}})
}

// OpenView begins a flow in the middle: at a message that is there already, for
// a delivery pipeline or for mail made here.
func (p *Pipeline) OpenView(v *View) *Flow {
	f := p.flow(v.state.edit())
	f.open = true
	return f
}

func (p *Pipeline) flow(s *state) *Flow {
	flags := make([]bool, 2*len(p.steps))
	return &Flow{
		p: p, state: s,
		sessions: make([]Session, len(p.steps)),
		silent:   flags[:len(p.steps):len(p.steps)],
		forever:  flags[len(p.steps):],
		session:  log{limit: maxSessionEvents},
		log:      log{limit: maxEvents},
	}
}

// Pipeline is the pipeline the flow goes through.
func (f *Flow) Pipeline() *Pipeline { return f.p }

// View is the present revision, with every fact.
func (f *Flow) View() *View { return &View{state: f.state, reads: AllFacts} }

// Client is the session as it stands.
func (f *Flow) Client() *Client { return f.state.client }

// SetClient changes what is known of the session: a HELO name, TLS, a login.
func (f *Flow) SetClient(change func(*Client)) {
	c := *f.state.client
	change(&c)
	next := f.state.edit()
	next.client = &c
	f.state = next
}

// Forget drops what the client said of itself and what filters made of it: after
// STARTTLS (RFC 3207, 4.2). What was found at Connect stays: it is about the
// address, and a client must not get rid of it by a command.
func (f *Flow) Forget() {
	next := f.state.reset()
	next.base = f.connect
	f.state = next.reset()
	f.helo = span{}
	f.refused = Fate{}
	clear(f.forever)
	clear(f.silent)
}

// Settle makes the facts found so far those of the session, that every
// transaction begins with. The server calls it after each run of Connect, Helo
// and Auth, and says which that was.
func (f *Flow) Settle(s Stage) {
	next := f.state.edit()
	from := next.base
	next.base = base{len(next.auth), len(next.scores), len(next.tags)}
	switch s {
	case Connect:
		f.connect = next.base
	case Helo:
		f.helo = span{from, next.base}
	}
	f.state = next
}

// dropHelo takes back what was found at the last Helo: a new one takes its place.
func (f *Flow) dropHelo() {
	from, to := f.helo.from, f.helo.to
	if f.helo = (span{}); from == to {
		return
	}
	next := f.state.edit()
	next.auth = slices.Delete(slices.Clone(next.auth), from.auth, to.auth)
	next.scores = slices.Delete(slices.Clone(next.scores), from.scores, to.scores)
	next.tags = slices.Delete(slices.Clone(next.tags), from.tags, to.tags)
	next.base.auth -= to.auth - from.auth
	next.base.scores -= to.scores - from.scores
	next.base.tags -= to.tags - from.tags
	f.state = next
}

// Begin begins a transaction: MAIL. Run the stage Mail next.
func (f *Flow) Begin(id message.ID, sender smtp.Address, params smtp.MailParams) {
	next := f.state.reset()
	next.env = &Mailing{ID: id, Time: f.p.now(), Sender: sender, Params: params}
	f.state = next
	copy(f.silent, f.forever)
	f.log.reserve()
	f.open = true
}

// AddRcpt adds the recipient of a RCPT. Run the stage Rcpt next, then KeepRcpt or
// DropRcpt.
func (f *Flow) AddRcpt(r Recipient) RcptID {
	f.before = f.state
	next := f.state.edit()
	env := next.envelope()
	next.nextRcpt++
	r.ID = next.nextRcpt
	env.Rcpts = append(env.Rcpts, r)
	next.rcpt = r.ID
	f.state = next
	return r.ID
}

// DropRcpt takes the last recipient back, and what filters edited on its account.
func (f *Flow) DropRcpt() {
	if f.before != nil {
		id := f.state.nextRcpt
		f.state = f.before.edit()
		f.state.nextRcpt = id
		f.before = nil
	}
}

// SetRcptClass notes what the router says of recipients that filters added.
func (f *Flow) SetRcptClass(id RcptID, c Class, exempt bool) {
	if i := f.state.env.find(id); i >= 0 {
		next := f.state.edit()
		r := &next.envelope().Rcpts[i]
		r.Class, r.Exempt = c, exempt
		f.state = next
	}
}

// SetCommand names the line that the stage Unknown is about.
func (f *Flow) SetCommand(line string) {
	next := f.state.edit()
	next.command = line
	f.state = next
}

// SetMessage gives the transaction its message. trace are fields of ours, such
// as Received, that go on top; filters see them, and Original has them not. hide
// says which fields of the message are removed; Original keeps them. It may be
// nil.
func (f *Flow) SetMessage(m *message.Message, trace [][]byte, hide func(message.Field) bool) {
	next := f.state.edit()
	next.original = m
	h := m.Header()
	if hide != nil {
		h = h.Without(hide)
	}
	for i := len(trace) - 1; i >= 0; i-- {
		h, _ = h.Insert(0, trace[i])
	}
	next.msg = m.WithHeader(h)
	next.rcpt = 0
	f.state = next
}

// ForRcpt turns to one recipient and the account it leads to, with that
// recipient's revision of the message and an empty plan. Run the stage Deliver
// next.
func (f *Flow) ForRcpt(id RcptID, mailbox smtp.Address) {
	f.state = f.View().AtRcpt(id, mailbox).state
}

// End ends the transaction: sessions are told, within CommandTimeout, and facts
// of the transaction dropped. It returns the transaction's trace.
func (f *Flow) End(ctx context.Context, o Outcome) Trace {
	if !f.open {
		return Trace{}
	}
	f.open = false
	if slices.ContainsFunc(f.sessions, func(s Session) bool { return s != nil }) {
		f.tellAll(ctx, o)
	}
	t := f.Trace()
	f.state = f.state.reset()
	f.log.clear()
	copy(f.silent, f.forever)
	f.before = nil
	return t
}

// tellAll tells every session of the end. One that can't be told is closed.
func (f *Flow) tellAll(ctx context.Context, o Outcome) {
	ctx, cancel := context.WithTimeout(ctx, CommandTimeout)
	defer cancel()
	for i, s := range f.sessions {
		if s == nil {
			continue
		}
		if err := guarded(func() error { return s.End(ctx, o) }); err != nil {
			f.p.log.Warn("filter end", "pipeline", f.p.Name, "step", f.p.steps[i].Name, "outcome", o.String(), "err", err)
			s.Close()
			f.sessions[i] = nil
		}
	}
}

// guarded calls f; a panic is an error, as in any call of a filter.
func guarded(f func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: %v", ErrPanic, r)
		}
	}()
	return f()
}

// Trace is what happened so far: the session's events, then the transaction's.
func (f *Flow) Trace() Trace {
	t := Trace{ID: f.state.env.ID, Events: make([]Event, 0, len(f.session.events)+len(f.log.events)+1)}
	t.Events = append(t.Events, f.session.events...)
	t.Events = append(t.Events, f.log.events...)
	if n := f.session.dropped + f.log.dropped; n > 0 {
		t.Events = append(t.Events, Event{Time: f.p.now(), Kind: EventSession, Note: fmt.Sprintf("%d more events were not kept", n)})
	}
	return t
}

// TraceID is what the trace will be kept under: the transaction's ID, or before
// one the session's. Refusals name it.
func (f *Flow) TraceID() string {
	if id := f.state.env.ID; id != 0 {
		return id.String()
	}
	return f.state.client.Session
}

// Record adds an event of the server's own to the trace: who connected, what
// was answered.
func (f *Flow) Record(e Event) {
	if e.Time.IsZero() {
		e.Time = f.p.now()
	}
	if f.open {
		f.log.add(e)
		return
	}
	f.session.add(e)
}

func (f *Flow) record(s Stage, e Event) {
	if s.session() {
		f.session.add(e)
		return
	}
	f.log.add(e)
}

func (f *Flow) rcptName() string {
	if i := f.state.env.find(f.state.rcpt); i >= 0 {
		return f.state.env.Rcpts[i].Addr.String()
	}
	return ""
}

// Close ends the flow and closes the filters' sessions.
func (f *Flow) Close() {
	f.End(context.Background(), Aborted)
	if f.stopAsking != nil {
		f.stopAsking()
	}
	for i := range f.sessions {
		f.closeSession(i)
	}
}
