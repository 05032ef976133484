package deliver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	gosmtp "github.com/emersion/go-smtp"

	"mtad/deliver/relay"
	"mtad/deliver/route"
	"mtad/directory"
	"mtad/internal/mtatest"
	"mtad/lookup"
	"mtad/mailbox"
	"mtad/message"
	"mtad/pipeline"
	"mtad/queue"
	"mtad/selector"
	"mtad/smtp"
	"mtad/store"
)

// remote is another host: go-smtp's server, which refuses recipients by name.
type remote struct {
	mu    sync.Mutex
	mails []string // "from > to, to\noctets"
	asked []string // what MAIL and RCPT said of reports
	down  bool     // every recipient is put off
}

type remoteSession struct {
	r    *remote
	from string
	to   []string
}

func (r *remote) NewSession(*gosmtp.Conn) (gosmtp.Session, error) { return &remoteSession{r: r}, nil }

func (s *remoteSession) Reset()        { s.from, s.to = "", nil }
func (s *remoteSession) Logout() error { return nil }

func (s *remoteSession) Mail(from string, o *gosmtp.MailOptions) error {
	s.from = from
	s.r.mu.Lock()
	defer s.r.mu.Unlock()
	s.r.asked = append(s.r.asked, fmt.Sprintf("%s RET=%s ENVID=%s", from, o.Return, o.EnvelopeID))
	return nil
}

func (s *remoteSession) Rcpt(to string, o *gosmtp.RcptOptions) error {
	s.r.mu.Lock()
	defer s.r.mu.Unlock()
	s.r.asked = append(s.r.asked, fmt.Sprintf("%s NOTIFY=%v ORCPT=%s;%s", to, o.Notify, o.OriginalRecipientType, o.OriginalRecipient))
	switch {
	case s.r.down:
		return &gosmtp.SMTPError{Code: 450, EnhancedCode: gosmtp.EnhancedCode{4, 2, 1}, Message: "later"}
	case strings.HasPrefix(to, "refuse"):
		return &gosmtp.SMTPError{Code: 550, EnhancedCode: gosmtp.EnhancedCode{5, 1, 1}, Message: "no such user"}
	}
	s.to = append(s.to, to)
	return nil
}

func (s *remoteSession) Data(r io.Reader) error {
	b, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	s.r.mu.Lock()
	defer s.r.mu.Unlock()
	s.r.mails = append(s.r.mails, fmt.Sprintf("%s > %s\n%s", s.from, strings.Join(s.to, ", "), b))
	return nil
}

func (r *remote) got() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.mails)
}

func (r *remote) setDown(on bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.down = on
}

// rules is a filter whose verdicts are a function of the test.
type rules struct {
	mu sync.Mutex
	f  func(*pipeline.View) pipeline.Verdict
}

func (*rules) Stages() pipeline.Stages { return pipeline.At(pipeline.Deliver, pipeline.Message) }

func (r *rules) Filter(_ context.Context, _ pipeline.Stage, v *pipeline.View) (pipeline.Verdict, error) {
	r.mu.Lock()
	f := r.f
	r.mu.Unlock()
	if f == nil {
		return pipeline.Verdict{}, nil
	}
	return f(v), nil
}

func (r *rules) set(f func(*pipeline.View) pipeline.Verdict) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.f = f
}

// world is a server without its servers: everything from Accept on is real.
type world struct {
	handings     int
	t            testing.TB
	root         string
	db           *store.DB
	mail         *mailbox.Store
	dir          *directory.Directory
	agent        *Agent
	queue        *queue.Queue
	remote       *remote
	smtpAddr     string
	remoteServer *gosmtp.Server
	listener     *pipeline.Pipeline
	onMessage    rules // of the listener's pipeline
	onDeliver    rules
	onMade       rules
	stop         func()
	clock        *mtatest.Clock

	mu     sync.Mutex
	ids    message.ID
	each   map[pipeline.RcptID]smtp.Reply // of the last message
	events []pipeline.Event
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{t: t, root: t.TempDir(), remote: &remote{}, clock: mtatest.NewClock(time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC))}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := gosmtp.NewServer(w.remote)
	srv.Domain, srv.EnableDSN = "far.test", false
	w.remoteServer = srv
	go srv.Serve(l)
	t.Cleanup(func() { srv.Close() })
	w.smtpAddr = l.Addr().String()
	w.start()
	t.Cleanup(func() { w.stop() })
	for _, d := range []string{"x.test"} {
		w.must(w.dir.AddDomain(t.Context(), d, directory.Local))
	}
	for _, u := range []string{"ann", "bob", "cid"} {
		_, err := w.dir.AddUser(t.Context(), u+"@x.test", "secret")
		w.must(err)
	}
	return w
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// start opens everything over the directory, as a start of the program does.
func (w *world) start() {
	w.t.Helper()
	var err error
	w.db, err = store.Open(w.root, store.Options{}, mailbox.Schema(), directory.Schema(), queue.Schema())
	w.must(err)
	w.mail, err = mailbox.Open(w.t.Context(), w.db, mailbox.Options{Now: w.clock.Now})
	w.must(err)
	w.dir, err = directory.New(w.db, directory.Options{Now: w.clock.Now, Settings: directory.Settings{DefaultDomain: "x.test", Postmaster: "ann@x.test"}})
	w.must(err)
	mtatest.Write(w.t, filepath.Join(w.root, "aliases"), "list: good@far.test, refuse1@far.test\nowner-list: bob@x.test\n")
	lists, err := route.OpenAliases("file:"+filepath.Join(w.root, "aliases"), lookup.Options{})
	w.must(err)
	client := relay.New(relay.Config{Hostname: "here.test", IdleTime: time.Minute})
	router := route.New(w.dir, &route.Config{
		Hostname: "here.test", Origin: "x.test", Separator: "+", Aliases: []route.AliasSource{nil, lists}, Relayhost: "far", Relay: client,
		Routes: []route.Named{{Name: "far", Way: route.Way{Via: route.ViaSMTP, Route: relay.Route{Name: "far", Hosts: []string{w.smtpAddr}}}}},
	})
	deliver := w.pipeline("deliver", &w.onDeliver)
	made := w.pipeline("generated", &w.onMade)
	w.listener = w.pipeline("listener", &w.onMessage)
	handed, err := w.dir.State("handed in")
	w.must(err)
	w.agent = New(Config{
		Handed:   handed,
		Hostname: "here.test", DB: w.db, Mailboxes: w.mail, Router: router, Now: w.clock.Now,
		Delivery:  func() (*pipeline.Pipeline, func()) { return deliver, func() {} },
		Generated: func() (*pipeline.Pipeline, func()) { return made, func() {} },
		Trace:     w.trace, Log: slog.New(slog.NewTextHandler(w.t.Output(), nil)),
		State: func(a smtp.Address) (pipeline.KV, error) { return w.dir.State("rules." + a.Local) },
	})
	w.queue = queue.New(queue.Config{
		DB: w.db, Attempt: w.agent.Attempt, Again: w.agent.Again, Dest: w.agent.Dest, Report: w.agent.Report, WarnAfter: w.agent.WarnAfter, Now: w.clock.Now,
		Log: slog.New(slog.NewTextHandler(w.t.Output(), nil)),
	})
	w.agent.SetQueue(w.queue)
	w.agent.Replay(w.t.Context())
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { w.queue.Run(ctx); close(done) }()
	w.stop = sync.OnceFunc(func() {
		w.agent.Wait()
		cancel()
		<-done
		client.Close()
		w.db.Close()
	})
}

func (w *world) pipeline(name string, r *rules) *pipeline.Pipeline {
	p, err := pipeline.New(name, []*pipeline.Step{{Name: "rules", Kind: "test", Filter: r, OnError: pipeline.TempFail}}, pipeline.Env{Now: w.clock.Now})
	w.must(err)
	return p
}

func (w *world) trace(t pipeline.Trace) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events = append(w.events, t.Events...)
}

func (w *world) notes() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out strings.Builder
	for _, e := range w.events {
		fmt.Fprintln(&out, e.Kind, e.Rcpt, e.Action, e.Reply, e.Note, e.Err)
	}
	return out.String()
}

// send brings a message as a client would, and waits until it is acted on.
// Options are words: "proven" has the sender logged in.
func (w *world) send(from, rcpts, body string, options ...func(*pipeline.Client, *smtp.MailParams, *smtp.RcptParams)) smtp.Reply {
	w.t.Helper()
	c := pipeline.Client{Protocol: "smtp", Hostname: "here.test", Session: "s"}
	var mp smtp.MailParams
	var rp smtp.RcptParams
	for _, o := range options {
		o(&c, &mp, &rp)
	}
	var to []pipeline.Recipient
	for r := range strings.FieldsSeq(rcpts) {
		to = append(to, pipeline.Recipient{Addr: w.addr(r), Params: rp})
	}
	return w.transact(c, from, mp, to, body)
}

// transact brings a message from the client c.
func (w *world) transact(c pipeline.Client, from string, mp smtp.MailParams, to []pipeline.Recipient, body string) smtp.Reply {
	w.t.Helper()
	m, err := message.Parse(message.FromBytes([]byte(strings.ReplaceAll(body, "\n", "\r\n"))))
	w.must(err)
	f := w.listener.Open(c)
	defer f.Close()
	w.ids++
	var sender smtp.Address
	if from != "" {
		sender = w.addr(from)
	}
	f.Begin(message.NewID(time.Now()), sender, mp)
	for _, r := range to {
		f.AddRcpt(r)
	}
	f.SetMessage(m, nil, nil)
	if fate := f.Run(w.t.Context(), pipeline.Message); fate.Refused() {
		return fate.Reply
	}
	reply, each := w.agent.Accept(w.t.Context(), f, func() error { return nil })
	w.each = each
	f.End(w.t.Context(), pipeline.Accepted)
	w.agent.acting.Wait()
	return reply
}

func proved(c *pipeline.Client, _ *smtp.MailParams, _ *smtp.RcptParams) {
	c.Auth = &pipeline.Login{User: "ann@x.test"}
}

func (w *world) addr(s string) smtp.Address {
	w.t.Helper()
	a, err := smtp.ParseAddress(s)
	w.must(err)
	return a
}

func (w *world) account(user string) mailbox.AccountID {
	w.t.Helper()
	u, err := w.dir.User(w.t.Context(), user+"@x.test")
	w.must(err)
	return mailbox.AccountID(u.ID)
}

// box shows the messages in a user's folders: "INBOX (\Seen work)" and octets.
func (w *world) box(user string) []string {
	w.t.Helper()
	folders, err := w.mail.Folders(w.t.Context(), w.account(user))
	w.must(err)
	var out []string
	for _, f := range folders {
		items, _, err := w.mail.Snapshot(w.t.Context(), f.ID)
		w.must(err)
		var uids []mailbox.UID
		for _, it := range items {
			uids = append(uids, it.UID)
		}
		entries, err := w.mail.Entries(w.t.Context(), f.ID, uids)
		w.must(err)
		for _, e := range entries {
			c, err := w.mail.Open(w.t.Context(), e)
			w.must(err)
			b, err := message.ReadAll(c)
			w.must(err)
			c.Close()
			if int64(len(b)) != e.Size {
				w.t.Errorf("%s: %d octets, noted as %d", f.Name, len(b), e.Size)
			}
			out = append(out, fmt.Sprintf("%s %d%v\n%s", f.Name, e.Flags.System, e.Flags.Keywords, strings.ReplaceAll(string(b), "\r\n", "\n")))
		}
	}
	return out
}

// until waits for what the queue's goroutines bring about.
func (w *world) until(what string, ok func() bool) {
	w.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); {
		if time.Now().After(deadline) {
			w.t.Fatalf("waited in vain for %s; trace:\n%s", what, w.notes())
		}
		time.Sleep(time.Millisecond)
	}
}

// quiet waits until the queue holds so many items, all of them put off or held.
func (w *world) quiet(n int) []*queue.Item {
	w.t.Helper()
	var list []*queue.Item
	w.until(fmt.Sprintf("%d items", n), func() bool {
		var err error
		list, err = w.queue.List(w.t.Context(), selector.Selector{}, 0)
		w.must(err)
		return len(list) == n && !slices.ContainsFunc(list, func(it *queue.Item) bool { return it.State() == "ready" })
	})
	return list
}

// retry has what is put off tried now.
func (w *world) retry(state string) {
	w.t.Helper()
	what := w.queue.Retry()
	if state == "held" {
		what = w.queue.Release()
	}
	_, err := w.queue.Change(w.t.Context(), selector.Selector{Status: state}, what)
	if !errors.Is(err, queue.ErrNone) {
		w.must(err)
	}
}
