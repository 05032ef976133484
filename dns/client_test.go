package dns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	mdns "github.com/miekg/dns"

	"mtad/internal/mtatest"
)

// server is a name server on loopback that answers from a table.
type server struct {
	addr   string
	asked  atomic.Int32
	tcp    atomic.Int32
	mu     sync.Mutex
	answer func(m *mdns.Msg, q mdns.Question, tcp bool) bool // false: say nothing
}

func startServer(t testing.TB, answer func(*mdns.Msg, mdns.Question, bool) bool) *server {
	t.Helper()
	s := &server{answer: answer}
	pc, l := samePort(t)
	s.addr = pc.LocalAddr().String()
	for _, srv := range []*mdns.Server{{PacketConn: pc}, {Listener: l}} {
		ready := make(chan struct{})
		srv.NotifyStartedFunc = func() { close(ready) }
		tcp := srv.Listener != nil
		srv.Handler = mdns.HandlerFunc(func(w mdns.ResponseWriter, r *mdns.Msg) { s.serve(w, r, tcp) })
		go srv.ActivateAndServe()
		<-ready
		t.Cleanup(func() { srv.Shutdown() })
	}
	return s
}

// samePort listens on UDP and TCP at a port that is free for both.
func samePort(t testing.TB) (net.PacketConn, net.Listener) {
	t.Helper()
	for {
		pc, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		l, err := net.Listen("tcp", pc.LocalAddr().String())
		if err == nil {
			return pc, l
		}
		pc.Close()
		if !errors.Is(err, syscall.EADDRINUSE) {
			t.Fatal(err)
		}
	}
}

func (s *server) serve(w mdns.ResponseWriter, r *mdns.Msg, tcp bool) {
	s.asked.Add(1)
	if tcp {
		s.tcp.Add(1)
	}
	m := new(mdns.Msg)
	m.SetReply(r)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.answer(m, r.Question[0], tcp) {
		w.WriteMsg(m)
	}
}

func rr(s string) mdns.RR {
	r, err := mdns.NewRR(s)
	if err != nil {
		panic(err)
	}
	return r
}

// table answers with records of the name asked for, as lines of a master file.
func table(records ...string) func(*mdns.Msg, mdns.Question, bool) bool {
	return func(m *mdns.Msg, q mdns.Question, _ bool) bool {
		known := false
		for _, line := range records {
			r := rr(line)
			if !strings.EqualFold(r.Header().Name, q.Name) {
				continue
			}
			known = true
			if r.Header().Rrtype == q.Qtype || r.Header().Rrtype == mdns.TypeCNAME {
				m.Answer = append(m.Answer, r)
			}
		}
		if !known {
			m.Rcode = mdns.RcodeNameError
		}
		return true
	}
}

type clock struct{ now atomic.Int64 }

func (c *clock) Now() time.Time      { return time.Unix(0, c.now.Load()) }
func (c *clock) add(d time.Duration) { c.now.Add(int64(d)) }

func newClient(t testing.TB, cfg ClientConfig, servers ...*server) *Client {
	t.Helper()
	for _, s := range servers {
		cfg.Servers = append(cfg.Servers, s.addr)
	}
	c, err := NewClient(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func show(a Answer, err error) string {
	switch {
	case errors.Is(err, ErrNoName):
		return "no name"
	case errors.Is(err, ErrNoData):
		return "no data"
	case errors.Is(err, ErrTemporary):
		return "temporary"
	case err != nil:
		return err.Error()
	}
	var out []string
	for _, r := range a.Records {
		out = append(out, strings.TrimSpace(fmt.Sprintf("%s %s %d", r.Type, r.Text, r.Pref)))
	}
	return strings.Join(out, ", ")
}

func TestLookup(t *testing.T) {
	s := startServer(t, table(
		"a.test. 60 A 192.0.2.1", "a.test. 60 MX 10 mx.test.", `a.test. 60 TXT "v=spf1 " "-all"`, `q.test. 60 TXT "a\"b\\c\195\164"`,
		"6.test. 60 AAAA 2001:db8::1", "p.test. 60 PTR x.test.", "n.test. 60 NS ns.test.", "c.test. 60 CNAME a.test.", "c.test. 60 A 192.0.2.1",
		"t.test. 60 TLSA 3 1 1 "+strings.Repeat("ab", 32), "null.test. 60 MX 0 .", "s.test. 60 SOA ns.test. h.test. 1 2 3 4 5",
	))
	c := newClient(t, ClientConfig{}, s)
	for _, k := range []struct {
		name string
		t    Type
		want string
	}{
		{"a.test", A, "A 192.0.2.1 0"}, {"A.Test.", A, "A 192.0.2.1 0"}, {"a.test", MX, "MX mx.test 10"}, {"a.test", TXT, "TXT v=spf1 -all 0"},
		{"q.test", TXT, `TXT a"b\cä 0`}, {"6.test", AAAA, "AAAA 2001:db8::1 0"}, {"p.test", PTR, "PTR x.test 0"}, {"n.test", NS, "NS ns.test 0"},
		{"c.test", A, "A 192.0.2.1 0"}, {"t.test", TLSA, "TLSA 3 1 1 " + strings.Repeat("ab", 32) + " 0"}, {"null.test", MX, "MX  0"},
		{"s.test", SOA, "SOA ns.test 0"}, {"a.test", AAAA, "no data"}, {"gone.test", A, "no name"},
		{"", A, `dns: not a name to ask for: ""`}, {"a..b", A, `dns: not a name to ask for: "a..b"`},
		{strings.Repeat("a.", 130), A, fmt.Sprintf("dns: not a name to ask for: %q", strings.Repeat("a.", 130))},
	} {
		if got := show(c.Lookup(t.Context(), k.name, k.t)); got != k.want {
			t.Errorf("%s %s: got %s, want %s", k.name, k.t, got, k.want)
		}
	}
}

// Answers, and definite noes, are kept for their time to live; faults are not.
func TestCache(t *testing.T) {
	fail := false
	s := startServer(t, func(m *mdns.Msg, q mdns.Question, _ bool) bool {
		switch q.Name {
		case "a.test.":
			m.Answer = []mdns.RR{rr("a.test. 30 A 192.0.2.1")}
		case "no.test.":
			m.Rcode = mdns.RcodeNameError
			m.Ns = []mdns.RR{rr("test. 300 SOA ns.test. h.test. 1 2 3 4 20")}
		case "bare.test.": // neither answer nor SOA
		case "fail.test.":
			if fail = !fail; fail {
				m.Rcode = mdns.RcodeServerFailure
				break
			}
			m.Answer = []mdns.RR{rr("fail.test. 30 A 192.0.2.2")}
		}
		return true
	})
	var now clock
	c := newClient(t, ClientConfig{Now: now.Now, Tries: 1}, s)
	asks := func(name string) int32 {
		before := s.asked.Load()
		c.Lookup(t.Context(), name, A)
		return s.asked.Load() - before
	}
	for _, k := range []struct {
		name string
		ttl  time.Duration
	}{{"a.test", 30 * time.Second}, {"no.test", 20 * time.Second}, {"bare.test", negativeTTL}} {
		if asks(k.name) != 1 || asks(k.name) != 0 {
			t.Errorf("%s is not kept", k.name)
		}
		now.add(k.ttl - 1)
		if asks(k.name) != 0 {
			t.Errorf("%s is not kept for its time", k.name)
		}
		now.add(1)
		if asks(k.name) != 1 {
			t.Errorf("%s is kept too long", k.name)
		}
	}
	if first, second, third := asks("fail.test"), asks("fail.test"), asks("fail.test"); first != 1 || second != 1 || third != 0 {
		t.Error("a fault is kept")
	}
}

func TestCacheIsBounded(t *testing.T) {
	c := cache{entries: map[Question]entry{}, limit: 100, octets: 1 << 20}
	base := time.Unix(0, 0)
	for i := range 1000 {
		c.put(Question{fmt.Sprint(i), A}, entry{expires: base.Add(time.Duration(i) * time.Second)}, base.Add(time.Duration(i/2)*time.Second))
		if len(c.entries) > 100 {
			t.Fatalf("%d entries", len(c.entries))
		}
	}
}

// TestCacheHoldsItsOctets: large answers push others out, and one that is too large is not kept.
func TestCacheHoldsItsOctets(t *testing.T) {
	c := cache{entries: map[Question]entry{}, limit: 1000, octets: 100_000}
	of := func(octets int) entry {
		return entry{answer: Answer{Records: []Record{{Type: TXT, Text: strings.Repeat("x", octets/2), Strings: []string{strings.Repeat("x", octets/2)}}}}, expires: time.Unix(1, 0)}
	}
	for i := range 500 {
		c.put(Question{fmt.Sprint(i % 200), TXT}, of(1000), time.Unix(0, 0))
		sum := 0
		for _, e := range c.entries {
			sum += e.size
		}
		if sum != c.size || sum > 100_000 {
			t.Fatalf("%d octets, counted %d", sum, c.size)
		}
	}
	if len(c.entries) < 50 {
		t.Errorf("%d entries", len(c.entries))
	}
	c.put(Question{"large", TXT}, of(50_000), time.Unix(0, 0))
	if _, kept := c.get(Question{"large", TXT}, time.Unix(0, 0)); kept {
		t.Error("an answer of half the cache is kept")
	}
}

// TestOtherAnswers: what answers another question, or nobody's, is no answer.
func TestOtherAnswers(t *testing.T) {
	for name, change := range map[string]func(m *mdns.Msg){
		"another name": func(m *mdns.Msg) { m.Question[0].Name = "b.test." },
		"another type": func(m *mdns.Msg) { m.Question[0].Qtype = mdns.TypeTXT },
		"no question":  func(m *mdns.Msg) { m.Question = nil },
		"another id":   func(m *mdns.Msg) { m.Id++ },
		"no such name, of another": func(m *mdns.Msg) {
			m.Question[0].Name, m.Answer, m.Rcode = "b.test.", nil, mdns.RcodeNameError
		},
	} {
		s := startServer(t, func(m *mdns.Msg, _ mdns.Question, _ bool) bool {
			m.Answer = []mdns.RR{rr("a.test. 60 A 192.0.2.1")}
			change(m)
			return true
		})
		c := newClient(t, ClientConfig{Timeout: 100 * time.Millisecond}, s)
		if got := show(c.Lookup(t.Context(), "a.test", A)); got != "temporary" {
			t.Errorf("%s: %s", name, got)
		}
	}
}

func TestTruncation(t *testing.T) {
	s := startServer(t, func(m *mdns.Msg, _ mdns.Question, tcp bool) bool {
		m.Truncated = !tcp
		if tcp {
			m.Answer = []mdns.RR{rr(`big.test. 60 TXT "whole"`)}
		}
		return true
	})
	c := newClient(t, ClientConfig{}, s)
	if got := show(c.Lookup(t.Context(), "big.test", TXT)); got != "TXT whole 0" || s.tcp.Load() != 1 {
		t.Errorf("%s, %d over TCP", got, s.tcp.Load())
	}
}

// A server that fails, refuses or says nothing is made up for by another.
func TestFailOver(t *testing.T) {
	good := startServer(t, table("a.test. 60 A 192.0.2.1"))
	for name, answer := range map[string]func(*mdns.Msg, mdns.Question, bool) bool{
		"servfail": func(m *mdns.Msg, _ mdns.Question, _ bool) bool { m.Rcode = mdns.RcodeServerFailure; return true },
		"refused":  func(m *mdns.Msg, _ mdns.Question, _ bool) bool { m.Rcode = mdns.RcodeRefused; return true },
		"silent":   func(*mdns.Msg, mdns.Question, bool) bool { return false },
	} {
		bad := startServer(t, answer)
		for range 4 { // the first server is chosen at random
			c := newClient(t, ClientConfig{Timeout: 300 * time.Millisecond}, bad, good)
			if got := show(c.Lookup(t.Context(), "a.test", A)); got != "A 192.0.2.1 0" {
				t.Errorf("%s: %s", name, got)
			}
		}
		c := newClient(t, ClientConfig{Timeout: 20 * time.Millisecond, Tries: 3}, bad)
		before := bad.asked.Load()
		if got := show(c.Lookup(t.Context(), "a.test", A)); got != "temporary" {
			t.Errorf("%s alone: %s", name, got)
		}
		// It may hear of the last one when nobody waits for it any more.
		mtatest.Eventually(t, name+" alone: three tries", 10*time.Second, func() bool { return bad.asked.Load()-before >= 3 })
		if n := bad.asked.Load() - before; n != 3 {
			t.Errorf("%s alone: %d tries", name, n)
		}
	}
}

// The same question asked by many at once goes out once; one who gives up does
// not spoil it for the others.
func TestFlights(t *testing.T) {
	hold := make(chan struct{})
	arrived := make(chan struct{}, 10)
	s := startServer(t, func(m *mdns.Msg, _ mdns.Question, _ bool) bool {
		arrived <- struct{}{}
		<-hold
		m.Answer = []mdns.RR{rr("a.test. 60 A 192.0.2.1")}
		return true
	})
	c := newClient(t, ClientConfig{Timeout: 5 * time.Second}, s)
	first, giveUp := context.WithCancel(t.Context())
	defer giveUp()
	var wg sync.WaitGroup
	wg.Go(func() { c.Lookup(first, "a.test", A) })
	<-arrived
	var got [5]string
	for i := range got {
		wg.Go(func() { got[i] = show(c.Lookup(t.Context(), "a.test", A)) })
	}
	close(hold)
	wg.Wait()
	if n := s.asked.Load(); n != 1 {
		t.Errorf("asked %d times", n)
	}
	for _, g := range got {
		if g != "A 192.0.2.1 0" {
			t.Error(g)
		}
	}
}

func TestFlightOfOneWhoGivesUp(t *testing.T) {
	fl := flights{calls: map[Question]*flight{}}
	q := Question{"a.test", A}
	begun, finish := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		fl.do(t.Context(), q, func() (Answer, error) {
			close(begun)
			<-finish
			return Answer{}, fmt.Errorf("%w: %w", ErrTemporary, context.Canceled)
		})
	})
	<-begun
	wg.Go(func() {
		if _, err := fl.do(t.Context(), q, func() (Answer, error) { return Answer{}, nil }); err != nil {
			t.Errorf("another's end became ours: %v", err)
		}
	})
	close(finish)
	wg.Wait()
	func() {
		defer func() { recover() }()
		fl.do(t.Context(), q, func() (Answer, error) { panic("x") })
	}()
	if len(fl.calls) != 0 {
		t.Error("a call that panicked is still under way")
	}
}

func TestContextEnds(t *testing.T) {
	s := startServer(t, func(*mdns.Msg, mdns.Question, bool) bool { return false })
	c := newClient(t, ClientConfig{Timeout: time.Minute}, s)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	if _, err := c.Lookup(ctx, "a.test", A); !errors.Is(err, ErrTemporary) || !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}

const reverse = `
1.2.0.192.in-addr.arpa PTR good.test
good.test A 192.0.2.1
2.2.0.192.in-addr.arpa PTR liar.test
liar.test A 192.0.2.77
3.2.0.192.in-addr.arpa PTR slow.test
slow.test FAIL
4.2.0.192.in-addr.arpa FAIL
5.2.0.192.in-addr.arpa PTR liar.test
5.2.0.192.in-addr.arpa PTR five.test
five.test A 192.0.2.5
1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa PTR six.test
six.test AAAA 2001:db8::1
`

func TestHostName(t *testing.T) {
	z := parse(t, reverse)
	for addr, want := range map[string]string{
		"192.0.2.1": "good.test good.test false", "::ffff:192.0.2.1": "good.test good.test false",
		"192.0.2.2": " liar.test false", "192.0.2.3": " slow.test true", "192.0.2.4": "  true",
		"192.0.2.5": "five.test liar.test false", "192.0.2.6": "  false", "2001:db8::1": "six.test six.test false",
		"2001:db8::1%eth0": "six.test six.test false",
	} {
		v, c, temp := HostName(t.Context(), z, netip.MustParseAddr(addr))
		if got := fmt.Sprint(v, " ", c, " ", temp); got != want {
			t.Errorf("%s: got %q, want %q", addr, got, want)
		}
	}
	if v, _, temp := HostName(t.Context(), z, netip.Addr{}); v != "" || temp {
		t.Error("no address has a name")
	}
}

func TestAsk(t *testing.T) {
	z := parse(t, reverse+"both.test A 192.0.2.1\nboth.test AAAA 2001:db8::1\nt.test TXT a\nt.test TXT \"b\" \"c\"\n")
	addrs, err := Addrs(t.Context(), z, "both.test")
	if err != nil || len(addrs) != 2 {
		t.Error(addrs, err)
	}
	if _, err := Addrs(t.Context(), z, "t.test"); !errors.Is(err, ErrNoData) {
		t.Error(err)
	}
	if _, err := Addrs(t.Context(), z, "slow.test"); !errors.Is(err, ErrTemporary) {
		t.Error(err)
	}
	texts, err := Texts(t.Context(), z, "t.test")
	if err != nil || !slices.Equal(texts, []string{"a", "bc"}) {
		t.Error(texts, err)
	}
	if _, err := Texts(t.Context(), z, "none.test"); !NotFound(err) {
		t.Error(err)
	}
	for addr, want := range map[string]string{"192.0.2.1": "1.2.0.192.bl.test", "2001:db8::1": "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.bl.test"} {
		if got := ReverseName(netip.MustParseAddr(addr), "bl.test"); got != want {
			t.Error(got)
		}
	}
}

func BenchmarkCached(b *testing.B) {
	c := newClient(b, ClientConfig{Servers: []string{"127.0.0.1:1"}})
	c.cache.put(Question{"a.test", A}, entry{expires: time.Now().Add(time.Hour)}, time.Now())
	b.ReportAllocs()
	for b.Loop() {
		c.Lookup(b.Context(), "a.test", A)
	}
}

// A record without data (RDLENGTH 0) is none: an MX of that kind is no null MX,
// an A no address.
func TestRecordWithoutData(t *testing.T) {
	for _, typ := range []Type{A, AAAA, MX, TXT, PTR, NS, CNAME, SOA, TLSA} {
		// The header of an answer with one record: "a.", the type, IN, TTL 60, no data.
		b := append([]byte{0, 1, 0x80, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 'a', 0, 0, byte(typ), 0, 1, 0, 0, 0, 60}, 0, 0)
		in := new(mdns.Msg)
		if err := in.Unpack(b); err != nil || len(in.Answer) != 1 {
			t.Fatalf("%s: %v, %v", typ, in, err)
		}
		if ans, _, err := read(in, Question{"a", typ}); !errors.Is(err, ErrNoData) {
			t.Errorf("%s: %+v, %v", typ, ans, err)
		}
	}
}
