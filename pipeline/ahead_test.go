package pipeline

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"mtad/config"
	"mtad/message"
	"mtad/smtp"
)

// effects are what filters did outside, in the order in which it happened; how
// many of them were at work at once, and what was taken back.
type effects struct {
	mu         sync.Mutex
	log        []string
	busy, most int
	commands   int // calls of sessions before Message while another filter was at work
	retracted  int
}

func (e *effects) enter(s Stage, session bool) (leave func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.busy > 0 && session && s < Message {
		e.commands++
	}
	e.busy++
	e.most = max(e.most, e.busy)
	return func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.busy--
	}
}

func (e *effects) add(s string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.log = append(e.log, s)
}

// oracle is a filter whose verdict depends on everything that it can see, and on
// its seed: asked with another View, it says something else.
type oracle struct {
	seed          uint64
	stages        Stages
	reads, writes [stageCount]Facts
	mild          int // of 100 answers, how many neither refuse nor fail
	slow          time.Duration
	outside       *effects
}

func newOracle(r *rand.Rand, out *effects) *oracle {
	o := &oracle{seed: r.Uint64(), outside: out, mild: 80 + r.IntN(20), slow: time.Duration(r.IntN(3)) * time.Millisecond}
	o.stages = Stages(r.Uint32()) & (ListenerStages | DeliveryStages)
	for s := range stageCount {
		o.reads[s], o.writes[s] = facts(r), facts(r)
		if r.IntN(3) > 0 {
			o.writes[s] &^= Effects
		}
	}
	return o
}

// facts is a set of few facts.
func facts(r *rand.Rand) (f Facts) {
	for range r.IntN(4) {
		f |= 1 << r.IntN(7)
	}
	return f
}

func (o *oracle) Stages() Stages { return o.stages }

func (o *oracle) Access(s Stage) (reads, writes Facts) { return o.reads[s], o.writes[s] }

// look is all that a View shows.
func look(v *View) string {
	var b strings.Builder
	fmt.Fprint(&b, v.Sender(), v.SenderParams().Raw, v.Rcpts(), v.Rcpt(), v.Mailbox(), v.AuthResults(), v.Scores(), v.Tags(), v.Discarded(), v.Plan(), v.Folder(), v.Command())
	hold, quarantine := v.Held()
	fmt.Fprint(&b, hold, quarantine)
	if m := v.Message(); m != nil {
		text, err := message.ReadAll(m.Bytes())
		fmt.Fprint(&b, string(text), err)
		for _, f := range m.Header().Fields() {
			fmt.Fprint(&b, f.ID)
		}
	}
	return b.String()
}

func (o *oracle) Filter(ctx context.Context, s Stage, v *View) (Verdict, error) {
	return o.say(ctx, s, v, nil)
}

func (o *oracle) say(ctx context.Context, s Stage, v *View, memory []string) (Verdict, error) {
	defer o.outside.enter(s, memory != nil)()
	h := fnv.New64a()
	io.WriteString(h, s.String()+look(v)+strings.Join(memory, "|"))
	r := rand.New(rand.NewPCG(o.seed, h.Sum64()))
	if o.slow > 0 {
		select {
		case <-time.After(time.Duration(r.Int64N(int64(o.slow)))):
		case <-ctx.Done():
			return Verdict{}, ctx.Err()
		}
	}
	writes := o.writes[s]
	if writes&Effects != 0 {
		o.outside.add(fmt.Sprint(o.seed, s, h.Sum64()))
	}
	if r.IntN(100) >= o.mild {
		return o.rare(r, s)
	}
	return Verdict{Mods: o.mods(r, s, writes), Rcpts: o.rcpts(r, s, v, writes), Note: fmt.Sprint(r.Uint32())}, nil
}

var errOracle = errors.New("the oracle is silent")

func (o *oracle) rare(r *rand.Rand, s Stage) (Verdict, error) {
	switch r.IntN(6) {
	case 0:
		return Verdict{}, errOracle
	case 1:
		panic("the oracle is angry")
	case 2:
		return Verdict{Action: Done}, nil
	case 3:
		if s >= Mail {
			return Verdict{Action: Discard}, nil
		}
	case 4:
		return Verdict{Mods: []Modification{SetSender{}, Tag{Name: "undeclared"}, AddScore{Name: "undeclared"}, AddHeader{Name: "Undeclared"}}}, nil
	}
	return Verdict{Action: [...]Action{TempFail, Reject}[r.IntN(2)], Mods: []Modification{}}, nil
}

// mods are edits that are declared.
func (o *oracle) mods(r *rand.Rand, s Stage, writes Facts) (out []Modification) {
	word := func() string { return fmt.Sprint("w", r.IntN(50)) }
	all := []Modification{
		SetSender{Addr: smtp.Address{Local: word(), Domain: "example.org"}},
		AddRecipient{Addr: smtp.Address{Local: word(), Domain: "example.org"}},
		RemoveRecipient{Rcpt: RcptID(1 + r.IntN(4))},
		AddHeader{Name: "X-" + word(), Value: word()},
		InsertHeader{At: r.IntN(5), Name: "X-" + word(), Value: word()},
		SetHeader{Field: message.FieldID(r.IntN(6)), Name: "Subject", Nth: r.IntN(3), Value: word()},
		RemoveHeader{Name: "X-" + word()},
		ReplaceBody{Body: message.FromBytes([]byte(word() + "\r\n"))},
		Hold{Reason: word()}, Quarantine{Reason: word()},
		AddScore{Name: word(), Points: float64(r.IntN(5))}, AddAuthResult{AuthResult{Method: "spf", Result: word()}},
		Tag{Name: word(), Value: word()}, SetFolder{Folder: word()}, FileInto{Folder: word()}, CancelKeep{},
	}
	for range r.IntN(4) {
		m := all[r.IntN(len(all))]
		if m.writes()&^writes == 0 && (s == Deliver || m.writes() != Effects) {
			out = append(out, m)
		}
	}
	return out
}

func (o *oracle) rcpts(r *rand.Rand, s Stage, v *View, writes Facts) (out []RcptVerdict) {
	if s != Message || r.IntN(4) > 0 || len(v.Rcpts()) == 0 {
		return nil
	}
	rv := RcptVerdict{Rcpt: v.Rcpts()[r.IntN(len(v.Rcpts()))].ID}
	switch r.IntN(3) {
	case 0:
		rv.Action = Discard
	case 1:
		rv.Action = Reject
	default:
		rv.Mods = []Modification{AddHeader{Name: "X-One", Value: "x"}}
	}
	if rv.writes()&^writes != 0 {
		return nil
	}
	return []RcptVerdict{rv}
}

// rememberer is an oracle that keeps in its session what it saw, of the session
// and of the transaction.
type rememberer struct{ oracle }

func (o *rememberer) Open(ctx context.Context, v *View) (Session, error) {
	if strings.HasPrefix(v.Client().Helo, "w") && o.seed%4 == 0 {
		return nil, errOracle // the client's name is in the way
	}
	return &memory{o: o, kept: []string{""}}, nil
}

// retractor is one whose session can forget a call. The session declares less
// than the filter does.
type retractor struct{ rememberer }

func (o *retractor) Access(s Stage) (reads, writes Facts) {
	return o.reads[s] | Scores, o.writes[s] | Tags
}

func (o *retractor) Retract(_ context.Context, session Session, s Stage) error {
	o.outside.mu.Lock()
	o.outside.retracted++
	o.outside.mu.Unlock()
	m := session.(*memory)
	if s.session() {
		m.kept = m.kept[:len(m.kept)-1]
	} else {
		m.seen = m.seen[:len(m.seen)-1]
	}
	return nil
}

type memory struct {
	o          *rememberer
	kept, seen []string
}

func (m *memory) Stages() Stages                       { return m.o.stages }
func (m *memory) Access(s Stage) (reads, writes Facts) { return m.o.Access(s) }
func (m *memory) End(context.Context, Outcome) error   { m.seen = nil; return nil }
func (m *memory) Close() error                         { return nil }
func (m *memory) Filter(ctx context.Context, s Stage, v *View) (Verdict, error) {
	before := slices.Concat(m.kept, m.seen)
	if s.session() {
		m.kept = append(m.kept, look(v))
	} else {
		m.seen = append(m.seen, look(v))
	}
	return m.o.say(ctx, s, v, before)
}

// conditions are those that steps of the test have.
var conditions = []string{"score > 3", `sender == "w1@example.org"`, `contains(tags, "w3")`, "size > 100", `subject != "w4"`, "rcpts > 1", `spf == "w2"`}

func randomSteps(seed uint64, out *effects) (steps []*Step) {
	r := rand.New(rand.NewPCG(seed, 1))
	for i := range 2 + r.IntN(9) {
		o := newOracle(r, out)
		st := &Step{Name: fmt.Sprint("step", i), Kind: "oracle", Filter: o, OnError: [...]Action{TempFail, Continue, Continue, Reject}[r.IntN(4)]}
		switch r.IntN(4) {
		case 0:
			st.Filter = &rememberer{*o}
		case 1:
			st.Filter = &retractor{rememberer{*o}}
		}
		if r.IntN(3) == 0 {
			when, diags := config.ParseWhen(conditions[r.IntN(len(conditions))])
			if diags != nil {
				panic(diags)
			}
			if st.When, diags = config.CompileWhen(when, Variables()); diags != nil {
				panic(diags)
			}
		}
		if r.IntN(8) == 0 {
			st.Mode = Shadow
		}
		if r.IntN(8) == 0 {
			st.MaxConcurrent = 1
		}
		steps = append(steps, st)
	}
	return steps
}

// told is everything that a session comes to, and how its filters were at work.
func told(seed uint64, serial bool) (all string, out *effects) {
	out = &effects{}
	p, err := New("p", randomSteps(seed, out), Env{Now: func() time.Time { return time.Unix(1e9, 0) }})
	if err != nil {
		panic(err)
	}
	defer p.Close()
	p.serial = serial
	var b strings.Builder
	f := p.Open(Client{Session: "s", Hostname: "h", Addr: netip.MustParseAddrPort("192.0.2.1:25")})
	defer f.Close()
	ctx := context.Background()
	run := func(s Stage) bool {
		fate := f.Run(ctx, s)
		fmt.Fprintf(&b, "%s: %s\n", s, Verdict{Action: fate.Action, Reply: fate.Reply}.String()+" "+fate.Step)
		if s.session() {
			f.Settle(s)
		}
		return fate.Action == Continue
	}
	run(Connect)
	for n := range 2 { // another HELO is another question
		f.SetClient(func(c *Client) { c.Helo = fmt.Sprint("w", (seed+uint64(n))%3) })
		run(Helo)
	}
	run(Unknown)
	for n := range 3 {
		f.Begin(message.ID(n+1), smtp.Address{Local: fmt.Sprint("w", n), Domain: "example.org"}, smtp.MailParams{})
		outcome := Refused
		if transact(f, run) {
			outcome = Accepted
		}
		state, err := json.Marshal(f.View().Stored())
		fmt.Fprintf(&b, "%s %v %s\n", state, err, look(f.View()))
		for _, e := range f.End(ctx, outcome).Events {
			e.Err, _, _ = strings.Cut(e.Err, "\n") // a stack
			fmt.Fprintf(&b, "  %s %s %s %s %v %s %s\n", e.Stage, e.Step, e.Action, e.Reply, e.Mods, e.Note, e.Err)
		}
	}
	for _, s := range p.Stats() {
		fmt.Fprintln(&b, s.Step, s.Actions, s.Faults, s.Skipped)
	}
	return b.String() + strings.Join(out.log, "\n"), out
}

// transact takes a transaction to its end; it reports whether it was accepted.
func transact(f *Flow, run func(Stage) bool) bool {
	if !run(Mail) {
		return false
	}
	for i := range 3 {
		f.AddRcpt(Recipient{Addr: smtp.Address{Local: fmt.Sprint("r", i), Domain: "example.org"}, Class: Local, Exempt: i == 2})
		if !run(Rcpt) {
			f.DropRcpt()
		}
	}
	if !run(Data) {
		return false
	}
	m, err := message.Parse(message.FromBytes([]byte("Subject: s\r\nX-w1: a\r\nX-w2: b\r\n\r\nbody\r\n")))
	if err != nil {
		return false
	}
	f.SetMessage(m, [][]byte{[]byte("Received: x\r\n")}, nil)
	if !run(Message) {
		return false
	}
	for _, r := range f.View().Rcpts() {
		f.ForRcpt(r.ID, r.Addr)
		run(Deliver)
	}
	run(Queued)
	run(Unknown)
	return true
}

// TestSideBySide compares sessions through random pipelines, whose filters see,
// edit, refuse, fail and take their time at random, with the same sessions one
// step after the other: replies, message, envelope, facts, trace and effects are
// equal. It also checks that anything ran side by side at all.
func TestSideBySide(t *testing.T) {
	seeds := uint64(200)
	if testing.Short() {
		seeds = 50
	}
	var together, commands, retracted atomic.Int64
	var wg sync.WaitGroup
	next := make(chan uint64)
	for range 8 { // most of the time is waited
		wg.Go(func() {
			for seed := range next {
				side, beside := told(seed, false)
				serial, one := told(seed, true)
				if one.most > 1 || one.retracted > 0 {
					t.Errorf("seed %d: %d filters at once, one after the other", seed, one.most)
				}
				if beside.most > 1 {
					together.Add(1)
				}
				commands.Add(int64(beside.commands))
				retracted.Add(int64(beside.retracted))
				if side != serial {
					t.Errorf("seed %d: side by side\n%s\none after the other\n%s", seed, firstDifference(side, serial), firstDifference(serial, side))
				}
			}
		})
	}
	for seed := range seeds {
		next <- seed
	}
	close(next)
	wg.Wait()
	if n := together.Load(); n < int64(seeds)/4 {
		t.Errorf("filters ran side by side in %d sessions of %d", n, seeds)
	}
	if c, r := commands.Load(), retracted.Load(); c < int64(seeds)/4 || r < int64(seeds)/50 {
		t.Errorf("sessions were told %d commands side by side, and forgot %d", c, r)
	}
}

// firstDifference is a's first line that differs, with what is before it.
func firstDifference(a, b string) string {
	la, lb := strings.Split(a, "\n"), strings.Split(b, "\n")
	for i := range la {
		if i >= len(lb) || la[i] != lb[i] {
			return strings.Join(la[max(0, i-4):min(len(la), i+2)], "\n")
		}
	}
	return "(the other goes on)"
}
