package milterd

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"mtad/internal/mtatest"
	"mtad/milterd/wire"
	"mtad/pipeline"
)

// pkt is a packet; parts of data are joined.
func pkt(code byte, data ...string) string {
	return string(wire.Append(nil, code, []byte(strings.Join(data, ""))...))
}

var (
	hello   = func() string { t := wire.Offer(6); return pkt('O', string(t.Append(nil))) }()
	connect = pkt('C', "client.example.net\x004\x12\x67192.0.2.7\x00")
	begun   = hello + connect + pkt('H', "h\x00") + pkt('M', "<a@example.net>\x00") + pkt('R', "<b@example.org>\x00")
	mailed  = begun + pkt('T') + pkt('L', "Subject\x00 x\x00") + pkt('N') + pkt('B', "body\r\n") + pkt('E')
)

// converse plays a mail server that sends octets and leaves, and returns what it
// was answered.
func converse(t testing.TB, addr, octets string) (codes string, rest []byte) {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	mtatest.Check(t, err)
	return talk(t, c, octets)
}

func talk(t testing.TB, c net.Conn, octets string) (codes string, rest []byte) {
	t.Helper()
	defer c.Close()
	c.SetDeadline(time.Now().Add(20 * time.Second))
	go func() {
		io.WriteString(c, octets)
		c.(interface{ CloseWrite() error }).CloseWrite()
	}()
	all, err := io.ReadAll(c)
	if err != nil && !strings.Contains(err.Error(), "reset") {
		t.Fatalf("after %q: %v", cut(octets), err)
	}
	for len(all) >= 5 {
		n := int(binary.BigEndian.Uint32(all))
		if n < 1 || len(all) < 4+n {
			t.Fatalf("half a packet: %q", all)
		}
		codes += string(all[4])
		all = all[4+n:]
	}
	return codes, all
}

// TestBrokenProtocol sends what no mail server may: the session ends, the log
// says why, and others are served.
func TestBrokenProtocol(t *testing.T) {
	var log mtatest.Buffer
	p := newPipeline(t, edit())
	addr := start(t, Config{
		Name: "m", Log: slog.New(slog.NewTextHandler(&log, nil)), SpoolDir: t.TempDir(),
		Pipeline: func() (*pipeline.Pipeline, func()) { return p, func() {} },
	})
	for _, c := range []struct{ name, octets, codes, log string }{
		{"a whole message", mailed + pkt('Q'), "Occcccc", ""},
		{"HTTP", "GET / HTTP/1.1\r\n\r\n", "", "a packet of 1195725856 octets"},
		{"no negotiation", connect, "", "before the negotiation"},
		{"too old", pkt('O', "\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00"), "", "version 1, which is too old"},
		{"half a negotiation", pkt('O', "\x00\x00\x00\x06"), "", "a negotiation of 4 octets"},
		{"an unknown command", hello + pkt('Z'), "O", "command"},
		{"HELO first", hello + pkt('H', "h\x00"), "O", "HELO before CONNECT"},
		{"MAIL first", hello + pkt('M', "<>\x00"), "O", "MAIL before CONNECT"},
		{"UNKNOWN first", hello + pkt('U', "X\x00"), "O", "UNKNOWN before CONNECT"},
		{"CONNECT twice", hello + connect + connect, "Oc", "CONNECT in a session"},
		{"CONNECT without data", hello + pkt('C'), "O", "CONNECT without a family"},
		{"CONNECT without a port", hello + pkt('C', "x\x004\x01"), "O", "CONNECT without a port"},
		{"CONNECT from nonsense", hello + pkt('C', "x\x004\x00\x19one.two\x00"), "O", "CONNECT from"},
		{"macros of nothing", hello + pkt('D'), "O", "macros of no event"},
		{"a field without a value", begun + pkt('L', "Subject\x00"), "Occcc", "a field of 1 strings"},
		{"too long a packet", hello + "\x00\x10\x00\x01C", "O", "a packet of 1048577 octets"},
		{"nothing", "", "", ""},
		{"half a packet", hello + "\x00\x00\x01\x00C", "O", ""},
	} {
		before := len(log.String())
		codes, _ := converse(t, addr, c.octets)
		if codes != c.codes {
			t.Errorf("%s: answered %q, want %q", c.name, codes, c.codes)
		}
		if c.log == "" {
			continue
		}
		mtatest.Eventually(t, "the log of "+c.name, 10*time.Second, func() bool { return strings.Contains(log.String()[before:], c.log) })
	}
}

// TestOutOfPlace sends events where there is no transaction: they are passed
// over, as libmilter does.
func TestOutOfPlace(t *testing.T) {
	p := newPipeline(t, edit())
	addr := start(t, Config{Name: "m", SpoolDir: t.TempDir(), Pipeline: func() (*pipeline.Pipeline, func()) { return p, func() {} }})
	codes, _ := converse(t, addr, hello+connect+pkt('R', "<b@example.org>\x00")+pkt('T')+pkt('B', "x")+pkt('E')+pkt('A')+pkt('A')+
		strings.TrimPrefix(mailed, hello+connect)+pkt('K')+strings.TrimPrefix(mailed, hello)+pkt('Q'))
	if want := "Occcc" + "ccccc" + "cccccc"; codes != want {
		t.Errorf("answered %q, want %q", codes, want)
	}
}

// TestLimits checks what a message or an envelope that is too large is told.
func TestLimits(t *testing.T) {
	p := newPipeline(t, edit())
	lim := Limits{MessageSize: 1000, Recipients: 2}
	lim.Header = DefaultLimits.Header
	lim.Header.Fields = 5
	addr := start(t, Config{Name: "m", Limits: lim, SpoolDir: t.TempDir(), Pipeline: func() (*pipeline.Pipeline, func()) { return p, func() {} }})
	front := through(t, addr)
	for want, l := range map[string]letter{
		"message reject 552 5.3.4 Message is too large": {to: []string{"b@example.org"}, text: "Subject: x\r\n\r\n" + strings.Repeat("long line\r\n", 200)},
		"message reject 552 5.3.4 Header is too large":  {to: []string{"b@example.org"}, text: strings.Repeat("X: y\r\n", 7) + "\r\n"},
		"rcpt tempfail 452 4.5.3 Too many recipients":   {to: []string{"b@example.org", "c@example.org", "d@example.org"}, text: "Subject: x\r\n\r\n"},
	} {
		l.client, l.helo, l.from = testClient, "h", "a@example.net"
		if r := send(t, front, l); !strings.Contains(strings.Join(r.replies, "\n"), want) {
			t.Errorf("no %q in %s", want, r)
		}
	}
}

// TestUnansweredRcpt checks that a recipient whom filters can not be shown is told
// of with the message, where no filter asks that RCPT be answered.
func TestUnansweredRcpt(t *testing.T) {
	f := slow{make(chan struct{}, 10), make(chan struct{})}
	close(f.leave)
	p := newPipeline(t, f)
	addr := start(t, Config{Name: "m", SpoolDir: t.TempDir(), Limits: Limits{Recipients: 2}, Pipeline: func() (*pipeline.Pipeline, func()) { return p, func() {} }})
	rcpt := func(a string) string { return pkt('R', a, "\x00") }
	refused := pkt('D', "R{rcpt_mailer}\x00error\x00")
	for more, want := range map[string]string{
		"":                            "Oc",
		rcpt("<c@..>"):                "Oy",
		refused + rcpt("<c@..>"):      "Oc",
		rcpt("<c@x>") + rcpt("<d@x>"): "Oy",
	} {
		octets := strings.Replace(mailed, pkt('T'), more, 1)
		if codes, _ := converse(t, addr, octets+pkt('Q')); codes != want {
			t.Errorf("%q: answered %q, want %q", more, codes, want)
		}
	}
}

// TestMacrosKept checks that a mail server can not have us keep macros without
// end: those of events that have none are passed over.
func TestMacrosKept(t *testing.T) {
	srv, err := New(Config{Name: "m", Pipeline: func() (*pipeline.Pipeline, func()) { return nil, nil }})
	mtatest.Check(t, err)
	s := newSession(srv, nil)
	for code := range 256 {
		s.data = []byte(string([]byte{byte(code)}) + "j\x00x\x00")
		mtatest.Check(t, s.define(t.Context()))
	}
	if len(s.macros) != len(macroOrder) {
		t.Errorf("macros of %d events", len(s.macros))
	}
}

// TestImpossibleEdits checks that what the mail server can not be told puts the
// message off, instead of being forgotten.
func TestImpossibleEdits(t *testing.T) {
	forRcpt := func(v pipeline.RcptVerdict) filterFunc {
		return func(s pipeline.Stage, view *pipeline.View) (out pipeline.Verdict) {
			if s == pipeline.Message {
				v.Rcpt = view.Rcpts()[1].ID
				out.Rcpts = []pipeline.RcptVerdict{v}
			}
			return out
		}
	}
	l := letter{client: testClient, helo: "h", from: "a@example.net", to: []string{"b@example.org", "c@example.org"}, text: testText}
	for want, v := range map[string]pipeline.RcptVerdict{
		"message tempfail 451 4.3.5 Local configuration error":   {Mods: []pipeline.Modification{pipeline.AddHeader{Name: "X", Value: "y"}}},
		"message reject 550 5.7.1 <c@example.org>: Refused by":   {Action: pipeline.Reject},
		"message tempfail 451 4.7.1 <c@example.org>: Try again ": {Action: pipeline.TempFail},
	} {
		p := newPipeline(t, forRcpt(v))
		addr := start(t, Config{Name: "m", SpoolDir: t.TempDir(), Pipeline: func() (*pipeline.Pipeline, func()) { return p, func() {} }})
		if r := send(t, through(t, addr), l); !strings.Contains(strings.Join(r.replies, "\n"), want) {
			t.Errorf("no %q in %s", want, r)
		}
	}
}

// slow waits at Message until it is let go, or its context ends.
type slow struct{ entered, leave chan struct{} }

func (slow) Stages() pipeline.Stages { return pipeline.At(pipeline.Message) }

func (s slow) Filter(ctx context.Context, _ pipeline.Stage, _ *pipeline.View) (pipeline.Verdict, error) {
	s.entered <- struct{}{}
	select {
	case <-s.leave:
		return pipeline.Verdict{}, nil
	case <-ctx.Done():
		return pipeline.Verdict{}, ctx.Err()
	}
}

// TestLeaving checks that a mail server which leaves while its message is judged
// ends that at once.
func TestLeaving(t *testing.T) {
	f := slow{make(chan struct{}, 1), make(chan struct{})}
	p := newPipeline(t, f)
	traces := make(chan pipeline.Trace, 1)
	addr := start(t, Config{
		Name: "m", SpoolDir: t.TempDir(), Trace: func(tr pipeline.Trace) { traces <- tr },
		Pipeline: func() (*pipeline.Pipeline, func()) { return p, func() {} },
	})
	c, err := net.Dial("tcp", addr)
	mtatest.Check(t, err)
	_, err = io.WriteString(c, mailed)
	mtatest.Check(t, err)
	<-f.entered
	c.Close()
	select {
	case tr := <-traces:
		if last := tr.Events[len(tr.Events)-1]; !strings.Contains(last.Err, "canceled") && last.Kind != pipeline.EventReply {
			t.Errorf("trace ends with %+v", last)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("the message is still judged")
	}
}

// TestShutdown checks that a transaction under way is finished, and that sessions
// without one are closed at once.
func TestShutdown(t *testing.T) {
	f := slow{make(chan struct{}, 1), make(chan struct{})}
	p := newPipeline(t, f)
	srv, err := New(Config{Name: "m", SpoolDir: t.TempDir(), Pipeline: func() (*pipeline.Pipeline, func()) { return p, func() {} }})
	mtatest.Check(t, err)
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	mtatest.Check(t, err)
	go srv.Serve(context.Background(), l)
	dial := func(octets string) net.Conn {
		c, err := net.Dial("unix", l.Addr().String())
		mtatest.Check(t, err)
		c.SetDeadline(time.Now().Add(20 * time.Second))
		_, err = io.WriteString(c, octets)
		mtatest.Check(t, err)
		return c
	}
	busy, idle := dial(mailed), dial(hello+connect)
	defer busy.Close()
	defer idle.Close()
	<-f.entered
	in := bufio.NewReader(idle)
	_, _, err = wire.Read(in, nil, 1<<10) // the hello is answered: it has read what was said
	mtatest.Check(t, err)
	done := make(chan error, 1)
	go func() { done <- srv.Shutdown(context.Background()) }()
	if _, err := io.ReadAll(in); err != nil {
		t.Errorf("an idle session: %v", err)
	}
	close(f.leave)
	answers, err := io.ReadAll(busy)
	if err != nil || !bytes.HasSuffix(answers, []byte("\x00\x00\x00\x01c")) {
		t.Errorf("a busy session: %q, %v", answers, err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// FuzzSession plays mail servers that say anything: no panic, no hang, and only
// whole packets in answer.
func FuzzSession(f *testing.F) {
	p := newPipeline(f, edit(pipeline.AddHeader{Name: "X", Value: "y"}), nth(change, 0))
	srv, err := New(Config{Name: "m", SpoolDir: f.TempDir(), Pipeline: func() (*pipeline.Pipeline, func()) { return p, func() {} }})
	mtatest.Check(f, err)
	f.Add([]byte(mailed))
	f.Add([]byte(begun + pkt('D', "Mi\x00ABC\x00{auth_type}\x00PLAIN\x00{auth_authen}\x00u\x00") + mailed[len(hello+connect):]))
	f.Add([]byte(hello + pkt('D', "C{client_ptr}\x00x\x00{daemon_addr}\x00::1\x00") + pkt('C', "x\x006\x00\x19IPv6:::1\x00") + pkt('U', "VRFY x\x00") + pkt('K') + connect + pkt('A') + pkt('Q')))
	f.Fuzz(func(t *testing.T, in []byte) {
		ours, theirs := socketPair(t)
		done := make(chan struct{})
		go func() {
			defer close(done)
			newSession(srv, ours).serve(t.Context())
		}()
		if _, rest := talk(t, theirs, string(in)); len(rest) > 4 {
			t.Errorf("half a packet: %q", rest)
		}
		<-done
	})
}

// socketPair is a connection's two ends.
func socketPair(t testing.TB) (a, b net.Conn) {
	t.Helper()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	mtatest.Check(t, err)
	var ends [2]net.Conn
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "pair")
		ends[i], err = net.FileConn(f)
		mtatest.Check(t, errors.Join(err, f.Close()))
	}
	return ends[0], ends[1]
}
