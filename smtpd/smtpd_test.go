package smtpd

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"mtad/message"
	"mtad/pipeline"
	"mtad/smtp"
)

// world is a server with everything around it in the test's hands.
type world struct {
	t        testing.TB
	srv      *Server
	network  string
	addr     string
	mu       sync.Mutex
	accepted []string // octets of accepted messages
}

// start serves a listener on loopback until the test ends.
func start(t testing.TB, change func(*Config)) *world {
	t.Helper()
	return startOn(t, "tcp", "127.0.0.1:0", change)
}

// startOn serves a listener of any kind.
func startOn(t testing.TB, network, addr string, change func(*Config)) *world {
	t.Helper()
	w := &world{t: t}
	p, err := pipeline.New("test", []*pipeline.Step{{Name: "scripted", Kind: "scripted", Filter: scripted{}, OnError: pipeline.TempFail}}, pipeline.Env{Now: clock})
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{
		Name: "test", Hostname: "mx.test", SMTPUTF8: true, DSN: true,
		Pipeline:     func() (*pipeline.Pipeline, func()) { return p, func() {} },
		Authenticate: login,
		Route:        route,
		Accept:       w.accept,
		Now:          clock,
	}
	if change != nil {
		change(&cfg)
	}
	if w.srv, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	w.network, w.addr = network, l.Addr().String()
	done := make(chan error, 1)
	go func() { done <- w.srv.Serve(context.Background(), l) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		defer cancel()
		w.srv.Shutdown(ctx)
		if err := <-done; !errors.Is(err, ErrClosed) {
			t.Errorf("Serve: %v", err)
		}
	})
	return w
}

func clock() time.Time { return time.Unix(1700000000, 0).UTC() }

func login(_ context.Context, login, password string, _ netip.Addr) (string, error) {
	switch {
	case login == "broken":
		return "", errors.New("no database")
	case login == password:
		return login + "@x.test", nil
	}
	return "", ErrCredentials
}

func route(_ context.Context, v *pipeline.View, a smtp.Address) Route {
	switch {
	case a.Local == "nobody":
		return Route{Class: pipeline.NoSuch, Reply: smtp.NewReply(550, 1, 1, "No such user here")}
	case a.Domain == "far.test" && v.Client().Auth == nil:
		return Route{Class: pipeline.RelayDeny, Reply: smtp.NewReply(550, 7, 1, "Relay access denied")}
	}
	return Route{Class: pipeline.Local, Exempt: strings.EqualFold(a.Local, "postmaster")}
}

func (w *world) accept(_ context.Context, f *pipeline.Flow, gone func() error) (smtp.Reply, map[pipeline.RcptID]smtp.Reply) {
	if err := gone(); err != nil {
		return smtp.NewReply(421, 4, 2, "gone"), nil
	}
	b, err := message.ReadAll(f.View().Message().Bytes())
	if err != nil {
		return smtp.NewReply(451, 3, 0, "read"), nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	// Recipients each-no and each-later have rules that refuse.
	refused, left := map[pipeline.RcptID]smtp.Reply{}, 0
	for _, r := range f.View().Rcpts() {
		switch r.Addr.Local {
		case "each-no":
			refused[r.ID] = smtp.NewReply(550, 7, 1, "Not for me")
		case "each-later":
			refused[r.ID] = smtp.NewReply(451, 3, 0, "Not now")
		default:
			left++
		}
	}
	if left == 0 {
		return smtp.NewReply(550, 7, 1, "Not for me"), refused
	}
	w.accepted = append(w.accepted, string(b))
	if !f.View().SenderParams().PRDR && f.View().Client().Protocol != "lmtp" {
		refused = nil
	}
	return smtp.NewReply(250, 0, 0, "Ok: queued"), refused
}

// scripted does what addresses and header fields tell it.
type scripted struct{}

func (scripted) Stages() pipeline.Stages { return pipeline.ListenerStages }

func (scripted) Filter(_ context.Context, s pipeline.Stage, v *pipeline.View) (pipeline.Verdict, error) {
	word := map[pipeline.Stage]string{
		pipeline.Helo: v.Client().Helo, pipeline.Mail: v.Sender().Local, pipeline.Rcpt: v.Rcpt().Addr.Local,
		pipeline.Data: v.Sender().Local, pipeline.Unknown: v.Command(),
	}[s]
	if m := v.Message(); s == pipeline.Message && m != nil {
		word, _ = m.Header().Get("X-Do")
	}
	stage, what, ok := strings.Cut(word, "-")
	if !ok || stage != s.String() {
		return pipeline.Verdict{}, nil
	}
	switch what {
	case "reject", "reject.test":
		return pipeline.Refuse(smtp.NewReply(550, 7, 1, "Refused at "+s.String())), nil
	case "tempfail":
		return pipeline.Verdict{Action: pipeline.TempFail}, nil
	case "discard":
		return pipeline.Verdict{Action: pipeline.Discard}, nil
	case "disconnect":
		return pipeline.Verdict{Action: pipeline.Disconnect}, nil
	case "error":
		return pipeline.Verdict{}, errors.New("on purpose")
	}
	return pipeline.Verdict{}, nil
}

// client is the other end of a dialogue.
type client struct {
	t testing.TB
	net.Conn
	r *bufio.Reader
}

func (w *world) dial() *client { return w.dialFor(w.t) }

func (w *world) dialFor(t testing.TB) *client {
	t.Helper()
	nc, err := net.Dial(w.network, w.addr)
	if err != nil {
		t.Fatal(err)
	}
	nc.SetDeadline(time.Now().Add(20 * time.Second))
	t.Cleanup(func() { nc.Close() })
	return &client{t, nc, bufio.NewReader(nc)}
}

var traceID = regexp.MustCompile(`\[[0-9a-hjkmnp-tv-z]{13}\]`)

// reply reads one reply; IDs are made equal.
func (c *client) reply() string {
	var b strings.Builder
	for {
		line, err := c.r.ReadString('\n')
		if err != nil {
			return b.String() + "closed\n"
		}
		b.WriteString(traceID.ReplaceAllString(strings.TrimRight(line, "\r\n"), "[ID]") + "\n")
		if len(line) < 4 || line[3] != '-' {
			return b.String()
		}
	}
}

func (c *client) send(s string) {
	c.t.Helper()
	if _, err := c.Write([]byte(s)); err != nil {
		c.t.Fatal(err)
	}
}

// cmd sends one line and reads its reply.
func (c *client) cmd(line string) string {
	c.t.Helper()
	c.send(line + "\r\n")
	return c.reply()
}

// TestDialogues runs testdata/*.txt. session [strict] [submission] [size=N] ...
// connects; send sends the lines one by one; pipeline all at once; raw sends
// Go-quoted octets and reads replies=N; data sends a message and the final dot;
// accepted prints what was taken since.
func TestDialogues(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		var w *world
		var c *client
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			switch d.Cmd {
			case "session":
				w = start(t, func(cfg *Config) { configure(cfg, d) })
				c = w.dial()
				return c.reply()
			case "send":
				return each(c, d.Input)
			case "pipeline":
				c.send(strings.ReplaceAll(d.Input, "\n", "\r\n") + "\r\n")
				return replies(c, strings.Count(d.Input, "\n")+1)
			case "raw":
				n := 1
				d.MaybeScanArgs(t, "replies", &n)
				var s string
				if _, err := fmt.Sscanf(strings.ReplaceAll(d.Input, "\n", " "), "%q", &s); err != nil {
					t.Fatal(err)
				}
				c.send(s)
				return replies(c, n)
			case "data":
				out := c.cmd("DATA")
				c.send(strings.ReplaceAll(d.Input, "\n", "\r\n") + "\r\n.\r\n")
				return out + c.reply()
			case "accepted":
				return w.taken()
			}
			t.Fatalf("unknown command %s", d.Cmd)
			return ""
		})
	})
}

func configure(cfg *Config, d *datadriven.TestData) {
	cfg.Strict = d.HasArg("strict")
	cfg.Submission = d.HasArg("submission")
	if cfg.Auth = Optional; cfg.Submission {
		cfg.Auth = Required
	}
	cfg.Limits.MessageSize = 2000
	cfg.Limits.Recipients = 3
	cfg.Limits.SlowErrors = 100
	cfg.Limits.MaxErrors = 101
	cfg.PRDR = d.HasArg("prdr")
	cfg.LMTP = d.HasArg("lmtp")
	if d.HasArg("impatient") {
		cfg.Limits.MaxErrors = 3
	}
	if d.HasArg("xclient") {
		cfg.XClient = func(netip.Addr) bool { return true }
	}
}

func each(c *client, lines string) string {
	var b strings.Builder
	for l := range strings.SplitSeq(lines, "\n") {
		b.WriteString(c.cmd(l))
	}
	return b.String()
}

func replies(c *client, n int) string {
	var b strings.Builder
	for range n {
		b.WriteString(c.reply())
	}
	return b.String()
}

var received = regexp.MustCompile(`(id |<)[0-9a-hjkmnp-tv-z]{13}`)

// taken prints the accepted messages, CR made visible by its absence only.
func (w *world) taken() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var b strings.Builder
	for _, m := range w.accepted {
		m = received.ReplaceAllString(strings.ReplaceAll(m, "\r\n", "\n"), "${1}ID")
		for l := range strings.SplitSeq(strings.TrimSuffix(m, "\n"), "\n") {
			b.WriteString("|" + l + "\n")
		}
		b.WriteString("=\n")
	}
	w.accepted = nil
	return b.String()
}
