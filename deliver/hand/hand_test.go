package hand

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os/user"
	"strings"
	"testing"
	"time"

	"mtad/deliver"
	"mtad/deliver/route"
	"mtad/internal/mtatest"
	"mtad/message"
	"mtad/monitor"
	"mtad/smtp"
)

// fake is a monitor that keeps what it was given, and answers as it is told.
type fake struct {
	req    monitor.Request
	mail   string
	limit  time.Duration
	res    monitor.Result
	err    error
	unread bool // it takes no mail
	text   string
	asked  int
}

func (f *fake) take(r monitor.Request, mail io.Reader, limit time.Duration) error {
	f.req, f.limit = r, limit
	if f.unread {
		return f.err
	}
	b, err := io.ReadAll(io.LimitReader(mail, r.Size+1))
	if f.mail = string(b); int64(len(b)) != r.Size {
		return errors.New("the size is wrong")
	}
	return errors.Join(err, f.err)
}

func (f *fake) Run(_ context.Context, r monitor.Request, mail io.Reader, limit time.Duration) (monitor.Result, error) {
	return f.res, f.take(r, mail, limit)
}

func (f *fake) Deliver(_ context.Context, r monitor.Request, mail io.Reader, limit time.Duration) error {
	return f.take(r, mail, limit)
}

func (f *fake) Forward(context.Context, string, string, time.Duration) ([]byte, bool, error) {
	f.asked++
	return []byte(f.text), f.text != "", f.err
}

func address(t *testing.T, s string) smtp.Address {
	t.Helper()
	a, err := smtp.ParseAddress(s)
	mtatest.Check(t, err)
	return a
}

func handing(t *testing.T, text string) deliver.Handing {
	t.Helper()
	return deliver.Handing{
		ID: 1, Sender: address(t, "Ann@s.test"), Message: message.FromBytes([]byte(text)), User: "alice",
		Rcpts:  []deliver.HandedTo{{Addr: address(t, "Al+e@d.test"), Original: address(t, "x@d.test"), User: "Al", Detail: "e"}},
		Client: deliver.Brought{Addr: "192.0.2.1", Port: "1", Helo: "h", Name: "unknown", Protocol: "ESMTP"},
	}
}

func newHands(f *fake) *Hands {
	return New(Config{
		Monitor: f, TimeLimit: func() time.Duration { return 7 * time.Second }, Log: slog.New(slog.DiscardHandler),
		Now: func() time.Time { return time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC) },
	})
}

const (
	fromLine = "From Ann@s.test  Fri Jan  2 03:04:05 2026\n"
	fields   = "Return-Path: <Ann@s.test>\nX-Original-To: x@d.test\nDelivered-To: Al+e@d.test\n"
)

// What is handed over, as local(8) and pipe(8) do.
func TestMessage(t *testing.T) {
	long := strings.Repeat("x", 64<<10-1)
	for _, tc := range []struct {
		name, text, want string
		change           func(*deliver.Handing)
	}{
		{"command", "A: b\r\n\r\nFrom me\r\nend", fromLine + fields + "A: b\n\nFrom me\nend\n", func(m *deliver.Handing) { m.Command = "x" }},
		{"file", "A: b\r\n\r\nFrom me\r\n>From\r\n", fromLine + fields + "A: b\n\n>From me\n>From\n\n", func(m *deliver.Handing) { m.Path = "/x" }},
		{"Maildir", "A: b\r\n\r\nFrom \r\r\n\n", fields + "A: b\n\nFrom \r\n\n", func(m *deliver.Handing) { m.Path = "/x/" }},
		{"pipe", "A: b\r\n", "A: b\n", func(m *deliver.Handing) { m.Via, m.Route = route.ViaPipe, &route.Local{Name: "r"} }},
		{"flags", "A: b\r\n\r\nFrom x\r\n", fromLine + fields + "A: b\n\n>From x\n\n", func(m *deliver.Handing) {
			m.Via, m.Route = route.ViaPipe, &route.Local{Name: "r", Flags: "FRODB>"}
		}},
		{"route file", "", fromLine + fields + "\n", func(m *deliver.Handing) { m.Via, m.Route = route.ViaMbox, &route.Local{Name: "r"} }},
		{"route Maildir", "", fields, func(m *deliver.Handing) { m.Via, m.Route = route.ViaMaildir, &route.Local{Name: "r"} }},
		{"null sender", "", strings.Replace(fromLine, "Ann@s.test", "MAILER-DAEMON", 1) + strings.Replace(fields, "Ann@s.test", "", 1), func(m *deliver.Handing) {
			m.Command, m.Sender = "x", smtp.Address{}
		}},
		{"long lines", long + "\r\n" + long + "From x\r\n" + long + "\r", fields + long + "\n" + long + "From x\n" + long + "\r\n", func(m *deliver.Handing) { m.Path = "/x/" }},
	} {
		f := &fake{}
		m := handing(t, tc.text)
		tc.change(&m)
		if r := newHands(f).Hand(t.Context(), m); !r.OK() || f.mail != tc.want {
			t.Errorf("%s: %v\n%.3000q, want\n%.3000q", tc.name, r, f.mail, tc.want)
		}
	}
}

func TestRequest(t *testing.T) {
	f := &fake{}
	m := handing(t, "")
	m.Command = "c"
	newHands(f).Hand(t.Context(), m)
	if e := f.req.Mail; f.req.User != "alice" || f.req.Command != "c" || f.req.Route != "" || f.limit != 7*time.Second || e.Sender != "Ann@s.test" ||
		e.Recipients[0] != (monitor.Recipient{Address: "Al+e@d.test", Local: "Al+e", User: "Al", Extension: "e", Domain: "d.test", Original: "x@d.test"}) {
		t.Errorf("%+v %+v", f.req, f.req.Mail)
	}
	m = handing(t, "")
	m.User, m.Via, m.Route, m.Timeout = "", route.ViaPipe, &route.Local{Name: "r", Flags: "hu", Nexthop: "n"}, time.Second
	newHands(f).Hand(t.Context(), m)
	if f.req.Route != "r" || f.limit != time.Second || f.req.Mail.Nexthop != "n" || f.req.Mail.Recipients[0].Address != "al+e@d.test" || f.req.Mail.Recipients[0].User != "al" {
		t.Errorf("%+v %+v", f.req, f.req.Mail)
	}
	m.Rcpts[0].Addr.Local, m.Route.Flags = "a b", ""
	newHands(f).Hand(t.Context(), m)
	plain := f.req.Mail.Recipients[0].Address
	m.Route.Flags = "q"
	newHands(f).Hand(t.Context(), m)
	if quoted := f.req.Mail.Recipients[0].Address; plain != "a b@d.test" || quoted != `"a b"@d.test` {
		t.Errorf("%s, %s", plain, quoted)
	}
	f.req = monitor.Request{}
	m = handing(t, "")
	m.Path = "/dev/null"
	if r := newHands(f).Hand(t.Context(), m); !r.OK() || f.req.Mail != nil {
		t.Errorf("/dev/null: %v %+v", r, f.req)
	}
}

// The words are Postfix's, as it logs them.
func TestReplies(t *testing.T) {
	big := strings.Repeat("y\n", 1<<15)
	for _, tc := range []struct {
		exit         int
		output, want string
	}{
		{0, "5.1.1 no", "250 2.0.0 Delivered to command"},
		{1, "", "550 5.3.0 Command died with status 1"},
		{1, "4.2.2 over quota\n", "450 4.2.2 over quota"},
		{1, "5.2.2 over quota\n", "550 5.2.2 over quota"},
		{1, "2.0.0 fine\n", "550 5.3.0 Command died with status 1. Command output: 2.0.0 fine"},
		{67, "", "550 5.1.1 user unknown"},
		{71, "", "450 4.3.0 system resource problem"},
		{73, "a\r\nb\tc\x00\x1b[0m\xff", "550 5.2.0 can't create user output file. Command output: a b c??[0m?"},
		{75, "text\n", "450 4.3.0 temporary failure. Command output: text"},
		{75, big, "450 4.3.0 temporary failure. Command output: " + strings.TrimSuffix(strings.Repeat("y ", maxText/2), " ") + " "},
		{77, "", "550 5.7.0 permission denied"},
		{99, "", "550 5.3.0 Command died with status 99"},
		{137, "5.1.1 not believed", "450 4.3.0 Command died with signal 9. Command output: 5.1.1 not believed"},
	} {
		f := &fake{res: monitor.Result{Exit: tc.exit, Output: []byte(tc.output)}}
		m := handing(t, "")
		m.Command = "x"
		if r := newHands(f).Hand(t.Context(), m); r.String() != tc.want {
			t.Errorf("exit %d, %.40q: %q, want %q", tc.exit, tc.output, r, tc.want)
		}
	}
}

func TestFaults(t *testing.T) {
	for fault, want := range map[monitor.Fault]string{
		monitor.Refused: "451 4.3.5", monitor.NoUser: "451 4.3.5", monitor.Unfit: "553 5.1.3", monitor.Full: "452 4.2.2",
		monitor.Timeout: "451 4.3.0 Command time limit", monitor.Failed: "451 4.3.0 Can", monitor.Busy: "451 4.3.0 Can", "": "451 4.3.0 Can",
	} {
		f := &fake{unread: true, err: &monitor.Error{Fault: fault, Text: "secret"}}
		if fault == "" {
			f.err = errors.New("the monitor is gone")
		}
		m := handing(t, strings.Repeat("x", 1<<20))
		m.Command = "x"
		if r := newHands(f).Hand(t.Context(), m); !strings.HasPrefix(r.String(), want) || strings.Contains(r.Text, "secret") {
			t.Errorf("%s: %s", fault, r)
		}
	}
}

func TestSystem(t *testing.T) {
	f := &fake{text: "bob"}
	now := time.Now()
	s := NewSystem(f, slog.New(slog.DiscardHandler))
	s.now = func() time.Time { return now }
	s.users = func(name string) (*user.User, error) {
		id, ok := map[string]string{"alice": "1000", "daemon": "1", "nobody": "65534", "ldap": "70000"}[name]
		if !ok {
			return nil, user.UnknownUserError(name)
		}
		return &user.User{Username: name, Uid: id, HomeDir: "/home/" + name}, nil
	}
	for name, want := range map[string]bool{"alice": true, "daemon": false, "nobody": false, "ldap": true, "zoe": false} {
		if home, ok, err := s.User(name); err != nil || ok != want || ok && home != "/home/"+name {
			t.Errorf("%s: %s %v %v", name, home, ok, err)
		}
	}
	for range 3 {
		if text, ok, reason, err := s.Forward(t.Context(), "alice", ".forward"); string(text) != "bob" || !ok || reason != "" || err != nil {
			t.Errorf("%s %v %s %v", text, ok, reason, err)
		}
	}
	if f.asked != 1 {
		t.Errorf("read %d times", f.asked)
	}
	now = now.Add(forwardAge)
	f.text, f.err = "", &monitor.Error{Fault: monitor.Unsafe, Text: "why"}
	if _, ok, reason, err := s.Forward(t.Context(), "alice", ".forward"); ok || reason != "why" || err != nil {
		t.Errorf("unsafe: %v %s %v", ok, reason, err)
	}
	f.err = errors.New("x")
	if _, _, _, err := s.Forward(t.Context(), "bob", ".forward"); err == nil {
		t.Error("an error is none")
	}
}
