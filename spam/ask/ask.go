package ask

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Resolver asks the DNS.
type Resolver interface {
	// Lookup gives the answer to a question. An error means that there is none: no
	// server, no time, a server that refuses, with its Code. It may be called by
	// several goroutines.
	Lookup(ctx context.Context, q Question) (Answer, error)
}

// Question is a name and a type of records ("A", "TXT"). Names are in lower case and
// in ASCII, without a dot at the end.
type Question struct{ Name, Type string }

// Answer is what the DNS says.
type Answer struct {
	Code    int // RFC 1035, 4.1.1: 0 no error, 3 no such name
	Records []Record
}

// Record is one record of an answer.
type Record struct {
	Type string
	Text string // its data; of TXT the strings, joined
	// Strings are those of TXT (RFC 1035, 3.3.14).
	Strings []string
}

// State is what has become of a question.
type State int

const (
	Pending State = iota
	Answered
	Lost    // it will have no answer: Reply.Why says why
	Refused // it is not asked: the administrator does not want it
)

// Reply is what is known of a question.
type Reply struct {
	Question
	Answer
	State State
	Why   string
}

// ErrPending is what a function returns whose questions are not decided yet.
var ErrPending = errors.New("the DNS has not answered yet")

// Timeout is how long a question may take: Initial while nothing else is answered, and
// with more and more answers there less, to Min (rbl_timeout).
type Timeout struct{ Initial, Min time.Duration }

// Limits bound an inquiry. A zero field stands for its default.
type Limits struct {
	Timeout   Timeout
	Zones     map[string]Timeout // of names below these zones
	Questions int                // of one message; more have no answer. 500
	Parallel  int                // under way at once. 64
	// Refuse says that a name is not asked for; why is "" if the administrator has
	// ruled so, else the reason for which the answer stays unknown. It may be nil.
	Refuse func(name string) (refused bool, why string)
}

// asked is a question that was asked.
type asked struct {
	reply   *Reply
	began   time.Time
	timeout Timeout
}

// Inquiry asks the questions of one message. It belongs to one goroutine.
type Inquiry struct {
	ctx      context.Context
	cancel   context.CancelFunc
	resolver Resolver
	limits   Limits
	replies  map[Question]*Reply
	pending  map[Question]*asked
	done     chan result
	slots    chan struct{}
	wanted   []Question
	started  int
	over     string // why nothing more is asked
}

type result struct {
	q      Question
	answer Answer
	err    error
}

// New begins an inquiry. It must be closed.
func New(ctx context.Context, r Resolver, l Limits) *Inquiry {
	if l.Questions == 0 {
		l.Questions = 500
	}
	if l.Parallel == 0 {
		l.Parallel = 64
	}
	if l.Timeout.Initial == 0 {
		l.Timeout = Timeout{15 * time.Second, 3 * time.Second}
	}
	i := &Inquiry{resolver: r, limits: l, replies: map[Question]*Reply{}, pending: map[Question]*asked{}, done: make(chan result, l.Questions), slots: make(chan struct{}, l.Parallel)}
	i.ctx, i.cancel = context.WithCancel(ctx)
	return i
}

// Close gives up what is under way.
func (i *Inquiry) Close() { i.cancel() }

// Open begins a function's call: Wanted are then the questions that it has to wait for.
func (i *Inquiry) Open() { i.wanted = nil }

// Wanted are the pending questions that were asked for since Open.
func (i *Inquiry) Wanted() []Question { return i.wanted }

// Pending reports whether one of several questions is under way.
func (i *Inquiry) Pending(list []Question) bool {
	for _, q := range list {
		if i.pending[q] != nil {
			return true
		}
	}
	return false
}

// Ask gives what is known of a question, and asks it if that was not done yet.
func (i *Inquiry) Ask(name, typ string) Reply {
	q := Question{strings.ToLower(strings.TrimRight(name, ".")), strings.ToUpper(typ)}
	r := i.replies[q]
	if r == nil {
		r = &Reply{Question: q}
		i.replies[q] = r
		if !i.refused(r) {
			i.begin(r, i.timeout(r.Name), func(ctx context.Context) (Answer, error) { return i.resolver.Lookup(ctx, q) })
		}
	}
	return i.reply(r)
}

// Run is Ask for what is no question to the DNS: f asks it, with a time of its own. Its
// name and type are those of no other.
func (i *Inquiry) Run(q Question, t time.Duration, f func(context.Context) (Answer, error)) Reply {
	r := i.replies[q]
	if r == nil {
		r = &Reply{Question: q}
		i.replies[q] = r
		i.begin(r, Timeout{t, t}, f)
	}
	return i.reply(r)
}

func (i *Inquiry) reply(r *Reply) Reply {
	if r.State == Pending {
		i.wanted = append(i.wanted, r.Question)
	}
	return *r
}

func (i *Inquiry) refused(r *Reply) bool {
	if i.limits.Refuse == nil {
		return false
	}
	refused, why := i.limits.Refuse(r.Name)
	if refused {
		r.State, r.Why = Refused, why
		if why != "" {
			r.State = Lost
		}
	}
	return refused
}

func (i *Inquiry) begin(r *Reply, t Timeout, f func(context.Context) (Answer, error)) {
	switch {
	case i.over != "":
		r.State, r.Why = Lost, i.over
		return
	case i.started >= i.limits.Questions:
		r.State, r.Why = Lost, fmt.Sprintf("the message has more than %d questions to the DNS", i.limits.Questions)
		return
	}
	i.started++
	i.pending[r.Question] = &asked{r, time.Now(), t}
	go i.lookup(r.Question, f)
}

func (i *Inquiry) lookup(q Question, f func(context.Context) (Answer, error)) {
	select {
	case i.slots <- struct{}{}:
		a, err := f(i.ctx)
		<-i.slots
		if i.ctx.Err() == nil {
			i.done <- result{q, a, err}
		}
	case <-i.ctx.Done():
	}
}

// timeout is that of the closest zone.
func (i *Inquiry) timeout(name string) Timeout {
	for len(i.limits.Zones) > 0 {
		if t, ok := i.limits.Zones[name]; ok {
			return t
		}
		_, rest, ok := strings.Cut(name, ".")
		if !ok {
			break
		}
		name = rest
	}
	return i.limits.Timeout
}

// Wait waits until something is decided: an answer, or that there will be none. It
// reports false if nothing is under way.
func (i *Inquiry) Wait() bool {
	if len(i.pending) == 0 {
		return false
	}
	wait := time.Until(i.deadline())
	if wait <= 0 {
		if !i.gather() {
			i.end("")
		}
		return true
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case r := <-i.done:
		i.take(r)
		i.gather()
	case <-timer.C:
		if !i.gather() {
			i.end("")
		}
	case <-i.ctx.Done():
		i.end("the time for the message was over")
	}
	return true
}

// gather takes what has come in, and reports whether there was anything.
func (i *Inquiry) gather() bool {
	for found := false; ; found = true {
		select {
		case r := <-i.done:
			i.take(r)
		default:
			return found
		}
	}
}

func (i *Inquiry) take(r result) {
	a := i.pending[r.q]
	if a == nil {
		return
	}
	delete(i.pending, r.q)
	a.reply.State, a.reply.Answer = Answered, r.answer
	if r.err != nil {
		a.reply.State, a.reply.Why = Lost, r.err.Error()
		if !strings.Contains(a.reply.Why, r.q.Name) {
			a.reply.Why = fmt.Sprintf("%s %s: %v", r.q.Name, r.q.Type, r.err)
		}
	}
}

// deadline is when the last of the questions has had its time.
func (i *Inquiry) deadline() (last time.Time) {
	share := float64(i.started-len(i.pending)) / float64(i.started)
	for _, a := range i.pending {
		t := a.timeout
		t.Initial = max(t.Initial, t.Min)
		if end := a.began.Add(t.Initial - time.Duration(float64(t.Initial-t.Min)*share*share)); end.After(last) {
			last = end
		}
	}
	if end, ok := i.ctx.Deadline(); ok {
		// What is gathered must still be told.
		if end = end.Add(-min(time.Second, time.Until(end)/4)); end.Before(last) {
			return end
		}
	}
	return last
}

// end gives up all that is under way.
func (i *Inquiry) end(why string) {
	for q, a := range i.pending {
		a.reply.State, a.reply.Why = Lost, why
		if why == "" {
			a.reply.Why = fmt.Sprintf("%s %s: no answer in %v", q.Name, q.Type, time.Since(a.began).Round(time.Millisecond))
		}
	}
	clear(i.pending)
	if i.over = why; why == "" {
		i.over = "the time for the DNS was over"
	}
	i.cancel()
}
