package pipeline

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"mtad/message"
	"mtad/smtp"
)

// opener is a filter with sessions; what they are told goes into a log.
type opener struct {
	mu      sync.Mutex
	told    []string
	opened  int
	fail    error                                  // of Open
	answer  func(context.Context) (Verdict, error) // of the sessions
	endFail error
	started int
}

func (o *opener) tell(s string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.told = append(o.told, s)
}

func (o *opener) take() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	s := strings.Join(o.told, "; ")
	o.told = nil
	return s
}

func (*opener) Stages() Stages { return At(Connect, Mail, Rcpt, Message) }

func (*opener) Filter(context.Context, Stage, *View) (Verdict, error) {
	return Verdict{}, errors.New("asked the filter, not its session")
}

func (o *opener) Open(context.Context, *View) (Session, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.fail != nil {
		return nil, o.fail
	}
	o.opened++
	return &openSession{o, o.opened}, nil
}

func (o *opener) Start(context.Context) error { o.started++; o.tell("start"); return o.fail }
func (o *opener) Close() error                { o.tell("stop"); return nil }

type openSession struct {
	o *opener
	n int
}

func (*openSession) Stages() Stages { return At(Connect, Mail, Message) } // negotiated: no Rcpt

func (s *openSession) Filter(ctx context.Context, st Stage, _ *View) (Verdict, error) {
	s.o.tell(fmt.Sprintf("%d %s", s.n, st))
	if s.o.answer != nil {
		return s.o.answer(ctx)
	}
	return Verdict{}, nil
}

func (s *openSession) End(_ context.Context, out Outcome) error {
	s.o.tell(fmt.Sprintf("%d end %s", s.n, out))
	return s.o.endFail
}

func (s *openSession) Close() error {
	s.o.tell(fmt.Sprintf("%d close", s.n))
	return nil
}

func with(t testing.TB, now func() time.Time, filters ...Filter) *Pipeline {
	t.Helper()
	var steps []*Step
	for i, f := range filters {
		steps = append(steps, &Step{Name: fmt.Sprint("s", i), Filter: f, OnError: TempFail})
	}
	p, err := New("test", steps, Env{Now: now})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func transaction(t testing.TB, f *Flow, o Outcome) Fate {
	t.Helper()
	f.Begin(1, smtp.Address{Local: "a", Domain: "b.test"}, smtp.MailParams{})
	fate := f.Run(t.Context(), Mail)
	f.AddRcpt(Recipient{Addr: smtp.Address{Local: "x", Domain: "y.test"}})
	f.Run(t.Context(), Rcpt)
	f.End(t.Context(), o)
	return fate
}

func want(t *testing.T, what string, got, want any) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s:\ngot  %v\nwant %v", what, got, want)
	}
}

func TestSessions(t *testing.T) {
	o := &opener{}
	f := with(t, nil, o).Open(Client{})
	f.Run(t.Context(), Connect)
	for _, out := range []Outcome{Accepted, Refused, Aborted} {
		transaction(t, f, out)
	}
	f.Begin(2, smtp.Address{}, smtp.MailParams{})
	f.Close()
	f.Close()
	want(t, "a session's life", o.take(), "1 connect; 1 mail; 1 end accepted; 1 mail; 1 end refused; 1 mail; 1 end aborted; 1 end aborted; 1 close")
}

// A session that fails to open, or at the end of a transaction, is opened anew.
func TestSessionFaults(t *testing.T) {
	o := &opener{fail: errors.New("no")}
	f := with(t, nil, o).Open(Client{})
	defer f.Close()
	want(t, "open fails", f.Run(t.Context(), Connect).Reply.Code, 451)
	f.refused = Fate{}
	o.fail = nil
	o.endFail = errors.New("no")
	transaction(t, f, Accepted)
	want(t, "end fails", o.take(), "1 mail; 1 end accepted; 1 close")
	o.endFail = nil
	transaction(t, f, Accepted)
	want(t, "opened anew", o.take(), "2 mail; 2 end accepted")
}

// A session whose call ignores its deadline is given up; when the call comes
// back the session is closed and not before.
func TestAbandonedSession(t *testing.T) {
	release := make(chan struct{})
	o := &opener{answer: func(context.Context) (Verdict, error) { <-release; return Verdict{}, nil }}
	p := with(t, nil, o)
	p.steps[0].Timeout = 30 * time.Millisecond
	f := p.Open(Client{})
	f.Begin(1, smtp.Address{}, smtp.MailParams{})
	if fate := f.Run(t.Context(), Mail); fate.Reply.Code != 451 {
		t.Error(fate)
	}
	f.Close()
	want(t, "while it hangs", o.take(), "1 mail")
	close(release)
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
		if got := o.take(); got == "1 close" {
			return
		} else if got != "" || time.Now().After(deadline) {
			t.Fatalf("afterwards: %q", got)
		}
	}
}

// The one call that tries whether a filter is well again may find that it is
// not: then it is left alone for as long once more.
func TestBreakerTrialFails(t *testing.T) {
	now := time.Unix(0, 0)
	o := &opener{answer: func(context.Context) (Verdict, error) { return Verdict{}, errors.New("no") }}
	p := with(t, func() time.Time { return now }, o)
	f := p.Open(Client{})
	defer f.Close()
	asked := func() int {
		transaction(t, f, Aborted)
		return strings.Count(o.take(), "mail")
	}
	for range breakerFaults {
		asked()
	}
	want(t, "open", asked(), 0)
	for range 3 {
		now = now.Add(breakerPause)
		want(t, "trial", asked(), 1)
		want(t, "open again", asked(), 0)
		now = now.Add(breakerPause - 1)
		want(t, "still open", asked(), 0)
		now = now.Add(1 - breakerPause)
	}
	if s := p.Stats()[0]; !s.BreakerOpen || s.Faults < breakerFaults || s.Skipped == 0 {
		t.Errorf("%+v", s)
	}
	now = now.Add(breakerPause)
	o.answer = nil
	want(t, "well", asked(), 1)
	want(t, "closed", asked(), 1)
}

// A reload takes new sessions to the new pipelines, lets the old ones finish, and
// starts and stops a step once though two generations hold it.
func TestSet(t *testing.T) {
	kept, old, fresh := &opener{}, &opener{}, &opener{}
	first := with(t, nil, kept, old)
	if err := first.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	set := NewSet(map[string]*Pipeline{"in": first})
	p, leave := set.Acquire("in")
	none, leaveNone := set.Acquire("none")
	if p != first || none != nil {
		t.Fatal("the wrong pipeline")
	}
	leaveNone()
	second, err := New("test", []*Step{first.Steps()[0], {Name: "new", Filter: fresh, OnError: TempFail}}, Env{})
	if err != nil {
		t.Fatal(err)
	}
	if err := second.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	closed := make(chan error, 2)
	set.Swap(map[string]*Pipeline{"in": second}, func(err error) { closed <- err })
	if q, bye := set.Acquire("in"); q != second || set.Pipelines()["in"] != second {
		t.Error("the old pipeline is still in force")
	} else {
		bye()
		bye() // twice is once
	}
	want(t, "in use", len(closed), 0)
	leave()
	leave()
	want(t, "left", <-closed, nil)
	want(t, "old", old.take(), "start; stop")
	want(t, "kept", kept.take(), "start")
	if err := set.Close(); err != nil {
		t.Error(err)
	}
	set.Close()
	want(t, "kept, at the end", kept.take(), "stop")
	want(t, "new", fresh.take(), "start; stop")
}

// Of steps one of which does not start none is left running.
func TestStartFails(t *testing.T) {
	good, bad := &opener{}, &opener{fail: errors.New("no")}
	if err := with(t, nil, good, bad).Start(t.Context()); err == nil || !strings.Contains(err.Error(), "start s1: no") {
		t.Error(err)
	}
	want(t, "good", good.take(), "start; stop")
	want(t, "bad", bad.take(), "start")
}

func TestViewRoundTrip(t *testing.T) {
	m, err := message.Parse(message.FromBytes([]byte("A: b\r\n\r\nc\r\n")))
	if err != nil {
		t.Fatal(err)
	}
	s := &state{
		client: &Client{
			Session: "s", Listener: "l", Protocol: "smtp", Hostname: "h", Addr: netip.MustParseAddrPort("[2001:db8::1]:25"), Name: "n", Reverse: "r",
			NameTemp: true, Helo: "e", ESMTP: true, TLS: &TLS{Version: "TLSv1.3", Bits: 128}, Auth: &Login{"PLAIN", "u"}, Trusted: true, Early: true,
		},
		env: &Mailing{
			ID: 7, Time: time.Unix(5, 0).UTC(), Sender: smtp.Address{Local: "ä b", Domain: "x.test"}, Hold: "h", Quarantine: "q", Discard: "d",
			Rcpts: []Recipient{{ID: 3, Addr: smtp.Address{Local: "y"}, Class: Alias, Added: true, Exempt: true, Drop: true, Refusal: smtp.NewReply(550, 7, 1, "no\nway")}},
		},
		original: m, msg: m, auth: []AuthResult{{Method: "spf", Result: "pass", Reason: "r", Props: []AuthProp{{"smtp", "mailfrom", "a"}}, Step: "s"}},
		scores: []Score{{"s", "n", 0.1, "d"}}, tags: []Tagged{{"t", "v"}}, folder: "Junk", nextRcpt: 9,
	}
	b, err := json.Marshal((&View{state: s, reads: AllFacts}).Stored())
	if err != nil {
		t.Fatal(err)
	}
	v, err := readView(b, m)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(v.state, s) {
		t.Errorf("got  %+v\nwant %+v", v.state, s)
	}
	for _, bad := range []string{"", "null", "{}", `{"v":1}`, strings.Replace(string(b), `"v":1`, `"v":99`, 1)} {
		if _, err := readView([]byte(bad), m); err == nil {
			t.Errorf("%.40q is read", bad)
		}
	}
}

func readView(b []byte, m *message.Message) (*View, error) {
	var in *Stored
	if err := json.Unmarshal(b, &in); err != nil {
		return nil, err
	}
	return in.View(m)
}

func FuzzStored(f *testing.F) {
	b, err := json.Marshal(NewView(Client{}, Mailing{ID: 1, Rcpts: []Recipient{{ID: 1}}}, nil).Stored())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(b))
	f.Fuzz(func(t *testing.T, in string) {
		v, err := readView([]byte(in), nil)
		if err != nil {
			return
		}
		if _, err := json.Marshal(v.Stored()); err != nil {
			t.Error(err)
		}
	})
}

// nothing is a filter that costs nothing: what is left is the loop.
type nothing struct{}

func (nothing) Stages() Stages                                        { return At(Mail) }
func (nothing) Filter(context.Context, Stage, *View) (Verdict, error) { return Verdict{}, nil }

// BenchmarkRun is a stage of five filters.
func BenchmarkRun(b *testing.B) {
	f := with(b, nil, nothing{}, nothing{}, nothing{}, nothing{}, nothing{}).Open(Client{})
	defer f.Close()
	f.Begin(1, smtp.Address{}, smtp.MailParams{})
	b.ReportAllocs()
	for b.Loop() {
		f.Run(b.Context(), Mail)
		f.log = log{limit: maxEvents}
	}
}

// Pipelines that a reload replaced are held no longer than sessions are in them.
func TestSetLetsGo(t *testing.T) {
	pipe := func() map[string]*Pipeline {
		p, err := New("test", nil, Env{})
		if err != nil {
			t.Fatal(err)
		}
		return map[string]*Pipeline{"in": p}
	}
	set := NewSet(pipe())
	freed := make(chan string, 2)
	for _, name := range []string{"unused", "left"} {
		p, leave := set.Acquire("in")
		runtime.AddCleanup(p, func(name string) { freed <- name }, name)
		if name == "unused" {
			leave()
		}
		set.Swap(pipe(), func(error) {})
		leave()
	}
	for len(freed) < 2 { // until the test's time is over
		runtime.GC()
	}
}
