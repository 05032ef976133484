package milterd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"mtad/config"
	"mtad/internal/mtatest"
	"mtad/message"
	"mtad/pipeline"
	"mtad/plugins/milter"
	"mtad/smtp"
)

// filterFunc is a filter at all stages that a mail server asks a milter at.
type filterFunc func(s pipeline.Stage, v *pipeline.View) pipeline.Verdict

func (f filterFunc) Stages() pipeline.Stages { return pipeline.ListenerStages }

func (f filterFunc) Filter(_ context.Context, s pipeline.Stage, v *pipeline.View) (pipeline.Verdict, error) {
	return f(s, v), nil
}

func newPipeline(t testing.TB, filters ...pipeline.Filter) *pipeline.Pipeline {
	t.Helper()
	var steps []*pipeline.Step
	for i, f := range filters {
		steps = append(steps, &pipeline.Step{Name: fmt.Sprint("step", i), Kind: "test", Filter: f, OnError: pipeline.TempFail})
	}
	p, err := pipeline.New("test", steps, pipeline.Env{})
	mtatest.Check(t, err)
	return p
}

// start serves a pipeline and returns its address.
func start(t testing.TB, cfg Config) (addr string) {
	t.Helper()
	srv, err := New(cfg)
	mtatest.Check(t, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	mtatest.Check(t, err)
	var served sync.WaitGroup
	served.Go(func() {
		if err := srv.Serve(context.Background(), l); !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := srv.Shutdown(ctx); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		served.Wait()
	})
	return l.Addr().String()
}

// through is a pipeline whose only filter is a milter: the one at addr.
func through(t testing.TB, addr string, options ...string) *pipeline.Pipeline {
	t.Helper()
	kind := milter.Kind()
	b, diags := config.ParseBlock("connect = \"inet:"+addr+"\"\n"+strings.Join(options, "\n"), config.BlockType{Name: "filter", Options: kind.Options})
	mtatest.Check(t, diags.Err())
	f, err := kind.New(b, pipeline.Env{})
	mtatest.Check(t, err)
	t.Cleanup(func() { f.(pipeline.Runner).Close() })
	return newPipeline(t, f)
}

// result is what a session came to: replies by command, and what is left.
type result struct {
	replies []string
	sender  string
	rcpts   []string
	held    string
	message string
}

func (r result) String() string {
	return strings.Join(r.replies, "\n") + "\nfrom " + r.sender + " to " + strings.Join(r.rcpts, ",") + " held " + r.held + "\n" + r.message
}

// letter is a session with one message.
type letter struct {
	client pipeline.Client
	helo   string
	login  *pipeline.Login
	from   string
	params string
	to     []string // "class:address", local if there is none
	text   string
}

var testClient = pipeline.Client{
	Session: "s1", Protocol: "smtp", Hostname: "mx.example.org",
	Addr: netip.MustParseAddrPort("192.0.2.7:4711"), Local: netip.MustParseAddrPort("192.0.2.1:25"),
	Name: "client.example.net", Reverse: "client.example.net",
}

func address(t testing.TB, s string) smtp.Address {
	t.Helper()
	if s == "" {
		return smtp.Address{}
	}
	a, err := smtp.ParseAddress(s)
	mtatest.Check(t, err)
	return a
}

// traced is what a refusal ends in: the name of its trace.
var traced = regexp.MustCompile(` \[[0-9a-z]{13}\]$`)

// send sends a letter through a pipeline as smtpd does, whose Received field it
// drops from the result: what it says is not the same on both ways.
func send(t testing.TB, p *pipeline.Pipeline, l letter) (r result) {
	t.Helper()
	ctx := context.Background()
	flow := p.Open(l.client)
	defer flow.Close()
	run := func(s pipeline.Stage) bool {
		fate := flow.Run(ctx, s)
		reply := traced.ReplaceAllString(fate.Reply.String(), "")
		r.replies = append(r.replies, s.String()+" "+fate.Action.String()+" "+reply)
		flow.Settle(s)
		return fate.Action == pipeline.Continue
	}
	if !run(pipeline.Connect) {
		return r
	}
	flow.SetClient(func(c *pipeline.Client) { c.Helo, c.ESMTP = l.helo, true })
	if !run(pipeline.Helo) {
		return r
	}
	if l.login != nil {
		flow.SetClient(func(c *pipeline.Client) { c.Auth = l.login })
	}
	params, err := smtp.ParseMailParams(l.params, anyParam)
	mtatest.Check(t, err)
	flow.Begin(message.NewID(time.Now()), address(t, l.from), params)
	if !run(pipeline.Mail) {
		return r
	}
	for _, to := range l.to {
		class, addr, ok := strings.Cut(to, ":")
		if !ok {
			class, addr = string(pipeline.Local), to
		}
		a := address(t, addr)
		flow.AddRcpt(pipeline.Recipient{Addr: a, Class: pipeline.Class(class), Exempt: exempt(a, pipeline.Class(class))})
		if !run(pipeline.Rcpt) || pipeline.Class(class) == pipeline.NoSuch {
			flow.DropRcpt()
		}
	}
	if len(flow.View().Rcpts()) == 0 || !run(pipeline.Data) {
		return r
	}
	m, err := message.Parse(message.FromBytes([]byte(l.text)))
	mtatest.Check(t, err)
	flow.SetMessage(m, [][]byte{[]byte("Received: of the mail server\r\n")}, nil)
	if run(pipeline.Message) {
		r.read(t, flow.View())
	}
	return r
}

func (r *result) read(t testing.TB, v *pipeline.View) {
	r.sender = v.Sender().String()
	for _, rc := range v.Rcpts() {
		if !rc.Drop {
			r.rcpts = append(r.rcpts, rc.Addr.String()+" "+strings.Join(rc.Params.Raw, " "))
		}
	}
	hold, quarantine := v.Held()
	r.held = hold + quarantine
	b, err := message.ReadAll(v.Message().Bytes())
	mtatest.Check(t, err)
	r.message = string(bytes.Clone(b))
}

const testText = "Received: from a\r\n\tby b\r\nFrom: A <a@example.net>\r\nSubject: one\r\nX-Two: first\r\nX-two:second\r\n" +
	"To: b@example.org\r\nX-Two:  third\r\n\tfolded\r\n\r\nHello\r\n..dots\r\n"

// at is a filter that speaks at one stage.
func at(stage pipeline.Stage, v pipeline.Verdict) filterFunc {
	return func(s pipeline.Stage, _ *pipeline.View) pipeline.Verdict {
		if s == stage {
			return v
		}
		return pipeline.Verdict{}
	}
}

func edit(mods ...pipeline.Modification) filterFunc {
	return at(pipeline.Message, pipeline.Verdict{Mods: mods})
}

// nth is the ID of a field of the message, by its place below Received.
func nth(make func(id message.FieldID) pipeline.Modification, places ...int) filterFunc {
	return func(s pipeline.Stage, v *pipeline.View) pipeline.Verdict {
		if s != pipeline.Message {
			return pipeline.Verdict{}
		}
		var out pipeline.Verdict
		for _, i := range places {
			out.Mods = append(out.Mods, make(v.Message().Header().Fields()[i].ID))
		}
		return out
	}
}

func remove(id message.FieldID) pipeline.Modification { return pipeline.RemoveHeader{Field: id} }
func change(id message.FieldID) pipeline.Modification {
	return pipeline.SetHeader{Field: id, Value: "changed"}
}

// equalCases are judged the same by a pipeline, and by the same pipeline behind
// the milter protocol.
var equalCases = []struct {
	name    string
	filters []pipeline.Filter
}{
	{"nothing", nil},
	{"connect refused", []pipeline.Filter{at(pipeline.Connect, pipeline.Refuse(smtp.NewReply(554, 7, 1, "Not you")))}},
	{"helo put off", []pipeline.Filter{at(pipeline.Helo, pipeline.Refuse(smtp.NewReply(450, 7, 1, "100% later")))}},
	{"mail refused in two lines", []pipeline.Filter{at(pipeline.Mail, pipeline.Refuse(smtp.NewReply(550, 7, 1, "One\nTwo")))}},
	{"data refused", []pipeline.Filter{at(pipeline.Data, pipeline.Refuse(smtp.NewReply(550, 7, 1, "No")))}},
	{"message refused", []pipeline.Filter{edit(pipeline.AddHeader{Name: "X", Value: "y"}), at(pipeline.Message, pipeline.Refuse(smtp.NewReply(550, 7, 1, "Spam")))}},
	{"message discarded", []pipeline.Filter{at(pipeline.Message, pipeline.Verdict{Action: pipeline.Discard})}},
	{"one recipient refused", []pipeline.Filter{filterFunc(func(s pipeline.Stage, v *pipeline.View) pipeline.Verdict {
		if s == pipeline.Rcpt && v.Rcpt().Addr.Local == "c" {
			return pipeline.Refuse(smtp.NewReply(550, 1, 1, "Not c"))
		}
		return pipeline.Verdict{}
	})}},
	{"fields added", []pipeline.Filter{edit(
		pipeline.InsertHeader{At: 0, Name: "X-Top", Value: "1"}, pipeline.InsertHeader{At: 0, Name: "X-Higher", Value: "0"},
		pipeline.InsertHeader{At: 3, Name: "X-Below", Value: "2"}, pipeline.AddHeader{Name: "X-End", Value: "one\r\n\ttwo"},
		pipeline.InsertHeader{At: 5, Name: "X-Two", Value: "in the middle"}, pipeline.AddHeader{Name: "Subject", Value: "again"})}},
	{"fields removed", []pipeline.Filter{nth(remove, 1, 4, 7)}},
	{"every field removed", []pipeline.Filter{nth(remove, 1, 2, 3, 4, 5, 6, 7)}},
	{"fields changed", []pipeline.Filter{nth(change, 3, 5, 7)}},
	{"changed, removed and inserted", []pipeline.Filter{
		nth(change, 4), nth(remove, 5, 2), edit(pipeline.InsertHeader{At: 2, Name: "X-Two", Value: "new"}, pipeline.InsertHeader{At: 5, Name: "X", Value: "n"}),
		edit(pipeline.AddHeader{Name: "X-Two", Value: "last"}),
	}},
	{"an inserted field changed and removed again", []pipeline.Filter{
		edit(pipeline.InsertHeader{At: 1, Name: "X-New", Value: "a"}, pipeline.InsertHeader{At: 2, Name: "X-Gone", Value: "b"}), nth(change, 1), nth(remove, 2),
	}},
	{"body replaced", []pipeline.Filter{edit(pipeline.ReplaceBody{Body: message.FromBytes([]byte("New\r\n"))})}},
	{"body emptied", []pipeline.Filter{edit(pipeline.ReplaceBody{Body: message.FromBytes(nil)})}},
	{"large body", []pipeline.Filter{edit(pipeline.ReplaceBody{Body: message.FromBytes([]byte(strings.Repeat("0123456789abcde\r\n", 40000)))})}},
	{"recipients changed", []pipeline.Filter{edit(
		pipeline.AddRecipient{Addr: smtp.Address{Local: "new", Domain: "example.org"}},
		pipeline.AddRecipient{Addr: smtp.Address{Local: "dsn", Domain: "example.org"}, Params: []string{"NOTIFY=NEVER"}},
		pipeline.RemoveRecipient{Addr: smtp.Address{Local: "b", Domain: "example.org"}})}},
	{"a copy dropped", []pipeline.Filter{filterFunc(func(s pipeline.Stage, v *pipeline.View) (out pipeline.Verdict) {
		if s == pipeline.Message {
			out.Rcpts = []pipeline.RcptVerdict{{Rcpt: v.Rcpts()[0].ID, Action: pipeline.Discard}}
		}
		return out
	})}},
	{"sender changed", []pipeline.Filter{edit(pipeline.SetSender{Addr: smtp.Address{Local: "x", Domain: "example.com"}})}},
	{"sender emptied", []pipeline.Filter{edit(pipeline.SetSender{})}},
	{"quarantine", []pipeline.Filter{edit(pipeline.Quarantine{Reason: "virus"})}},
}

// TestEqual sends the same letter through a pipeline and through the milter that
// serves it: replies, message and envelope are the same, in every version that
// can say them.
func TestEqual(t *testing.T) {
	l := letter{client: testClient, helo: "client.example.net", from: "a@example.net", params: "SIZE=100 BODY=8BITMIME", to: []string{"b@example.org", "c@example.org", "relay:d@example.com", "unknown:e@example.org"}, text: testText}
	for _, c := range equalCases {
		t.Run(c.name, func(t *testing.T) {
			p := newPipeline(t, c.filters...)
			want := send(t, p, l)
			addr := start(t, Config{Name: "m", Pipeline: func() (*pipeline.Pipeline, func()) { return p, func() {} }})
			for _, options := range []string{"", "protocol = 4"} {
				got := send(t, through(t, addr, options), l)
				if options != "" && (strings.Contains(c.name, "sender") || strings.Contains(c.name, "recipients changed")) {
					// Version 4 has no such edit: the message is put off.
					if last := got.replies[len(got.replies)-1]; !strings.Contains(last, "451") {
						t.Errorf("version 4: %s, want 451", last)
					}
					continue
				}
				if got.String() != want.String() {
					t.Errorf("%s\nthrough the milter:\n%s\ndirectly:\n%s", options, got, want)
				}
			}
		})
	}
}

// TestView checks that filters see of the client, the session and the envelope
// what the mail server knows.
func TestView(t *testing.T) {
	var seen pipeline.Client
	var stages []string
	var rcpts []pipeline.Recipient
	var params smtp.MailParams
	p := newPipeline(t, filterFunc(func(s pipeline.Stage, v *pipeline.View) pipeline.Verdict {
		stages = append(stages, s.String())
		if s == pipeline.Message {
			seen, rcpts, params = *v.Client(), slices.Clone(v.Rcpts()), v.SenderParams()
		}
		return pipeline.Verdict{}
	}))
	addr := start(t, Config{
		Name: "m", Trusted: func(a netip.Addr) bool { return a == testClient.Addr.Addr() },
		Pipeline: func() (*pipeline.Pipeline, func()) { return p, func() {} },
	})
	c := testClient
	c.TLS = &pipeline.TLS{Version: "TLSv1.3", Cipher: "TLS_AES_128_GCM_SHA256", Bits: 128, PeerSubject: "CN=x", PeerIssuer: "CN=y", Verified: true}
	r := send(t, through(t, addr), letter{
		client: c, helo: "client.example.net", login: &pipeline.Login{Mechanism: "PLAIN", User: "alice@example.org"}, from: "a@example.net",
		params: "SIZE=100 BODY=8BITMIME", to: []string{"b@example.org", "relay:d@example.com", "postmaster@example.org"}, text: testText,
	})
	c.Helo, c.ESMTP, c.Listener, c.Trusted, c.Session = "client.example.net", true, "m", true, seen.Session
	login, tls := seen.Auth, seen.TLS
	if login == nil || *login != (pipeline.Login{Mechanism: "PLAIN", User: "alice@example.org"}) || tls == nil || *tls != *c.TLS {
		t.Errorf("login %+v, TLS %+v", login, tls)
	}
	seen.Auth, seen.TLS, c.TLS = nil, nil, nil
	if seen != c {
		t.Errorf("client\n%+v, want\n%+v", seen, c)
	}
	if got := strings.Join(stages, " "); got != "connect helo auth mail rcpt rcpt rcpt data message" {
		t.Errorf("stages %s", got)
	}
	if len(rcpts) != 3 || rcpts[0].Class != pipeline.Local || rcpts[1].Class != pipeline.Relayed || rcpts[0].Exempt || !rcpts[2].Exempt {
		t.Errorf("recipients %+v", rcpts)
	}
	if params.Size != 100 || len(r.replies) == 0 {
		t.Errorf("parameters %+v", params)
	}
}

// TestReuse checks that a connection serves several sessions, one after the other.
func TestReuse(t *testing.T) {
	p := newPipeline(t, edit(pipeline.AddHeader{Name: "X", Value: "y"}))
	var log mtatest.Buffer
	addr := start(t, Config{
		Name: "m", Log: slog.New(slog.NewTextHandler(&log, nil)),
		Pipeline: func() (*pipeline.Pipeline, func()) { return p, func() {} },
	})
	front := through(t, addr)
	for i := range 20 {
		r := send(t, front, letter{client: testClient, helo: "h", from: "a@example.net", to: []string{"b@example.org"}, text: testText})
		if !strings.Contains(r.message, "X: y\r\n") {
			t.Fatalf("session %d: %s\n%s", i, r, log.String())
		}
	}
	if n := strings.Count(log.String(), "msg=judged"); n != 20 {
		t.Errorf("%d messages in the log:\n%s", n, log.String())
	}
}
