package relay

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	gosmtp "github.com/emersion/go-smtp"

	"mtad/dns"
	"mtad/message"
	"mtad/smtp"
)

// remote is a host that plays a script: what it says to a verb, the greeting
// under "". A script may hang up after a reply ("!"), or say nothing ("hang").
type remote struct {
	t      testing.TB
	l      net.Listener
	script map[string][]string // the answers of a verb in turn; the last goes on

	mu    sync.Mutex
	lines []string
	mails []string
	conns atomic.Int32
}

func startRemote(t testing.TB, script map[string][]string) *remote {
	t.Helper()
	return startRemoteOn(t, "tcp", "127.0.0.1:0", script)
}

func startRemoteOn(t testing.TB, network, addr string, script map[string][]string) *remote {
	t.Helper()
	l, err := net.Listen(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	full := map[string][]string{
		"": {"220 remote"}, "EHLO": {"250-remote\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 DSN"}, "HELO": {"250 remote"},
		"MAIL": {"250 2.1.0 Ok"}, "RCPT": {"250 2.1.5 Ok"}, "DATA": {"354 go"}, ".": {"250 2.0.0 stored"},
		"RSET": {"250 Ok"}, "QUIT": {"221 bye!"}, "AUTH": {"235 2.7.0 in"}, "STARTTLS": {"454 no"},
	}
	for k, v := range script {
		full[k] = v
	}
	r := &remote{t: t, l: l, script: full}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			r.conns.Add(1)
			wg.Go(func() { r.serve(c) })
		}
	})
	t.Cleanup(func() { l.Close(); wg.Wait() })
	return r
}

func (r *remote) addr() string { return r.l.Addr().String() }

// answer says the next line for a verb and reports whether to go on.
func (r *remote) answer(c net.Conn, verb string) bool {
	r.mu.Lock()
	list := r.script[verb]
	if len(list) == 0 {
		list = []string{"502 what?"}
	}
	text := list[0]
	if len(list) > 1 {
		r.script[verb] = list[1:]
	}
	r.mu.Unlock()
	if text == "hang" {
		io.Copy(io.Discard, c)
		return false
	}
	line, end := strings.CutSuffix(text, "!")
	if line == "endless" {
		for {
			if _, err := io.WriteString(c, "250-more\r\n"); err != nil {
				return false
			}
		}
	}
	if line != "" {
		io.WriteString(c, line+"\r\n")
	}
	return !end
}

func (r *remote) serve(c net.Conn) {
	defer c.Close()
	c.SetDeadline(time.Now().Add(10 * time.Second))
	in := bufio.NewReader(c)
	if !r.answer(c, "") {
		return
	}
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimRight(line, "\r\n")
		r.mu.Lock()
		r.lines = append(r.lines, line)
		data := strings.HasPrefix(r.script["DATA"][0], "354")
		r.mu.Unlock()
		verb, _, _ := strings.Cut(line, " ")
		if !r.answer(c, verb) {
			return
		}
		if verb == "DATA" && data {
			b, err := readData(in)
			if err != nil {
				return
			}
			r.mu.Lock()
			r.mails = append(r.mails, b)
			r.mu.Unlock()
			if !r.answer(c, ".") {
				return
			}
		}
	}
}

// readData reads to the lone dot and takes the stuffing away, as RFC 5321, 4.5.2
// has it: only CR LF ends a line.
func readData(in *bufio.Reader) (string, error) {
	var b strings.Builder
	for {
		line, err := in.ReadString('\n')
		for err == nil && !strings.HasSuffix(line, "\r\n") {
			var more string
			more, err = in.ReadString('\n')
			line += more
		}
		if err != nil || line == ".\r\n" {
			return b.String(), err
		}
		b.WriteString(strings.TrimPrefix(line, "."))
	}
}

func (r *remote) got() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(r.lines, "\n")
}

const text = "Subject: x\r\n\r\n.dot\r\n..two\r\nend\r\n"

func addr(s string) smtp.Address {
	a, err := smtp.ParseAddress(s)
	if err != nil {
		panic(err)
	}
	return a
}

func newJob(body string, rcpts ...string) *Job {
	j := &Job{ID: 1, Sender: addr("a@here.test"), Message: message.FromBytes([]byte(body))}
	for _, r := range rcpts {
		j.Rcpts = append(j.Rcpts, Rcpt{Addr: addr(r)})
	}
	return j
}

// client is a Client with short time-outs whose connections all go to one host.
func client(t testing.TB, change func(*Config)) *Client {
	t.Helper()
	d := 5 * time.Second
	cfg := Config{Hostname: "here.test", Timeouts: Timeouts{d, d, d, d, d, d, d}}
	if change != nil {
		change(&cfg)
	}
	c := New(cfg)
	t.Cleanup(func() { c.Close() })
	return c
}

func deliver(t testing.TB, c *Client, j *Job) string {
	t.Helper()
	out := make([]string, 0, len(j.Rcpts))
	for _, r := range c.Deliver(t.Context(), j) {
		out = append(out, r.Reply.String())
	}
	return strings.Join(out, " | ")
}

// Each case is a host with some answer of its own, and what the recipients come
// to.
func TestAnswers(t *testing.T) {
	const plainEHLO = "250 remote"
	for _, c := range []struct {
		name   string
		script map[string][]string
		want   string
	}{
		{"all well", nil, "250 2.0.0 stored | 250 2.0.0 stored"},
		{"no pipelining", map[string][]string{"EHLO": {plainEHLO}}, "250 2.0.0 stored | 250 2.0.0 stored"},
		{"no EHLO", map[string][]string{"EHLO": {"502 5.5.2 what"}}, "250 2.0.0 stored | 250 2.0.0 stored"},
		{"one refused", map[string][]string{"RCPT": {"550 5.1.1 who", "250 ok"}}, "550 5.1.1 who | 250 2.0.0 stored"},
		{"one refused, no pipelining", map[string][]string{"EHLO": {plainEHLO}, "RCPT": {"250 ok", "450 later"}}, "250 2.0.0 stored | 450 later"},
		{"all refused, data refused", map[string][]string{"RCPT": {"550 5.1.1 who"}, "DATA": {"554 none"}}, "550 5.1.1 who | 550 5.1.1 who"},
		{"all refused, data taken", map[string][]string{"RCPT": {"550 5.1.1 who"}, ".": {"554 none"}}, "550 5.1.1 who | 550 5.1.1 who"},
		{"all refused, no pipelining", map[string][]string{"EHLO": {plainEHLO}, "RCPT": {"550 5.1.1 who"}}, "550 5.1.1 who | 550 5.1.1 who"},
		{"too many as 552", map[string][]string{"RCPT": {"250 ok", "552 too many"}}, "250 2.0.0 stored | 452 4.5.3 too many"},
		{"full box is no too many", map[string][]string{"RCPT": {"250 ok", "552 5.2.2 full"}}, "250 2.0.0 stored | 552 5.2.2 full"},
		{"sender refused", map[string][]string{"MAIL": {"550 5.7.1 you"}, "RCPT": {"503 first mail"}, "DATA": {"503 first mail"}}, "550 5.7.1 you | 550 5.7.1 you"},
		{"sender refused, no pipelining", map[string][]string{"EHLO": {plainEHLO}, "MAIL": {"450 4.7.1 wait"}}, "450 4.7.1 wait | 450 4.7.1 wait"},
		{"data refused", map[string][]string{"DATA": {"451 4.3.0 disk"}}, "451 4.3.0 disk | 451 4.3.0 disk"},
		{"250 to DATA", map[string][]string{"DATA": {"250 fine"}}, "450 4.5.0 Host does not speak SMTP | 450 4.5.0 Host does not speak SMTP"},
		{"354 to MAIL", map[string][]string{"MAIL": {"354 eh"}}, "450 4.4.2 Host does not speak SMTP | 450 4.4.2 Host does not speak SMTP"},
		{"354 to RCPT", map[string][]string{"RCPT": {"354 eh"}}, "450 4.4.2 Host does not speak SMTP | 450 4.4.2 Host does not speak SMTP"},
		{"354 to the message", map[string][]string{".": {"354 more"}}, "450 4.5.0 Host does not speak SMTP | 450 4.5.0 Host does not speak SMTP"},
		{"content refused", map[string][]string{".": {"554 5.7.1 spam"}}, "554 5.7.1 spam | 554 5.7.1 spam"},
		{"lines", map[string][]string{".": {"250-2.0.0 a\r\n250 2.0.0 b"}}, "250 2.0.0 a / b | 250 2.0.0 a / b"},
		{"controls", map[string][]string{".": {"550 5.7.1 \x1b[31mno\x00\xff\ttab"}}, "550 5.7.1 ?[31mno?? tab | 550 5.7.1 ?[31mno?? tab"},
		{"code of another class", map[string][]string{".": {"550 4.7.1 no"}}, "550 4.7.1 no | 550 4.7.1 no"},
		{"hangs up at once", map[string][]string{"": {"!"}}, "450 4.4.2 Connection failed | 450 4.4.2 Connection failed"},
		{"sends away", map[string][]string{"": {"554 5.7.1 go away!"}}, "450 4.4.0 greeting refused: 554 5.7.1 go away | 450 4.4.0 greeting refused: 554 5.7.1 go away"},
		{"hangs up at MAIL", map[string][]string{"MAIL": {"!"}}, "450 4.4.2 Connection failed | 450 4.4.2 Connection failed"},
		{"takes leave at MAIL", map[string][]string{"MAIL": {"421 4.3.2 closing!"}}, "421 4.3.2 closing | 421 4.3.2 closing"},
		{"hangs up at the dot", map[string][]string{".": {"!"}}, "450 4.4.2 Connection failed | 450 4.4.2 Connection failed"},
		{"nonsense", map[string][]string{"": {"SSH-2.0-OpenSSH"}}, "450 4.4.2 Host does not speak SMTP | 450 4.4.2 Host does not speak SMTP"},
		{"mixed codes", map[string][]string{"MAIL": {"250-a\r\n550 b"}}, "450 4.4.2 Host does not speak SMTP | 450 4.4.2 Host does not speak SMTP"},
		{"endless", map[string][]string{"EHLO": {"endless"}}, "450 4.4.2 Host does not speak SMTP | 450 4.4.2 Host does not speak SMTP"},
		{"long line", map[string][]string{"": {"220 " + strings.Repeat("x", 9000)}}, "450 4.4.2 Host does not speak SMTP | 450 4.4.2 Host does not speak SMTP"},
		{"too large", map[string][]string{"EHLO": {"250-remote\r\n250 SIZE 10"}}, "552 5.3.4 Message is larger than the host takes | 552 5.3.4 Message is larger than the host takes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := startRemote(t, c.script)
			cl := client(t, nil)
			j := newJob(text, "x@there.test", "y@there.test")
			j.Route.Hosts = []string{r.addr()}
			if got := deliver(t, cl, j); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
			r.mu.Lock()
			defer r.mu.Unlock()
			for _, m := range r.mails {
				if m != "" && m != text {
					t.Errorf("message arrived as %q", m)
				}
			}
		})
	}
}

// Whatever a host answers before MAIL, only what ends in a message that it has
// taken is a delivery.
func TestSuccessThatIsNone(t *testing.T) {
	const want = "450 4.5.0 Host does not speak SMTP"
	for name, c := range map[string]struct {
		script map[string][]string
		route  Route
	}{
		"greeting": {map[string][]string{"": {"250 hello"}}, Route{}},
		"HELO":     {map[string][]string{"EHLO": {"502 what"}, "HELO": {"354 go on"}}, Route{}},
		"EHLO":     {map[string][]string{"EHLO": {"334 go on"}, "HELO": {"334 go on"}}, Route{}},
		"STARTTLS": {map[string][]string{"EHLO": {"250-remote\r\n250 STARTTLS"}, "STARTTLS": {"250 fine"}}, Route{Security: Encrypt}},
		"AUTH":     {map[string][]string{"EHLO": {"250-remote\r\n250 AUTH PLAIN"}, "AUTH": {"250 fine"}}, Route{Username: "u", Password: "p"}},
		"AUTH 334": {map[string][]string{"EHLO": {"250-remote\r\n250 AUTH PLAIN"}, "AUTH": {"334 "}}, Route{Username: "u", Password: "p"}},
	} {
		t.Run(name, func(t *testing.T) {
			r := startRemote(t, c.script)
			j := newJob(text, "x@there.test")
			j.Route = c.route
			j.Route.Hosts = []string{r.addr()}
			if got := deliver(t, client(t, nil), j); got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		})
	}
}

// What cannot go to a host is refused before it is sent.
func TestUnfit(t *testing.T) {
	r := startRemote(t, map[string][]string{"EHLO": {"250 remote"}})
	for _, c := range []struct {
		body, rcpt, want string
	}{
		{"Subject: x\r\n\r\n\xc3\xa4\r\n", "x@there.test", "554 5.6.3 Host does not take 8-bit content"},
		{text, "ä@there.test", "553 5.6.7 Host does not take internationalized mail"},
	} {
		j := newJob(c.body, c.rcpt)
		j.Route.Hosts = []string{r.addr()}
		if got := deliver(t, client(t, nil), j); got != c.want {
			t.Errorf("got %s, want %s", got, c.want)
		}
	}
}

func TestParameters(t *testing.T) {
	r := startRemote(t, map[string][]string{"EHLO": {"250-remote\r\n250-8bitmime\r\n250-SIZE 1000000\r\n250-SMTPUTF8\r\n250 DSN"}})
	j := newJob("Subject: x\r\n\r\n\xc3\xa4\r\n", "ä@there.test")
	j.Params.Return, j.Params.EnvelopeID, j.Params.Body = gosmtp.DSNReturnHeaders, "a b+c", gosmtp.Body7Bit
	j.Rcpts[0].Params.Notify = []gosmtp.DSNNotify{gosmtp.DSNNotifySuccess, gosmtp.DSNNotifyFailure}
	j.Rcpts[0].Params.OriginalRecipientType, j.Rcpts[0].Params.OriginalRecipient = "RFC822", "x=y@there.test"
	j.Route.Hosts = []string{r.addr()}
	c := client(t, nil)
	if res := c.Deliver(t.Context(), j)[0]; res.Reply.Code != 250 || !res.DSN || !strings.Contains(res.Host, "127.0.0.1") {
		t.Errorf("%+v", res)
	}
	want := "MAIL FROM:<a@here.test> SIZE=18 BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=a+20b+2Bc\n" +
		"RCPT TO:<ä@there.test> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;x+3Dy@there.test\nDATA"
	if got := r.got(); !strings.Contains(got, want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestPooling(t *testing.T) {
	r := startRemote(t, nil)
	c := client(t, func(cfg *Config) { cfg.IdleTime, cfg.MaxUse = time.Minute, 3 })
	for i := range 5 {
		j := newJob(text, "x@there.test")
		j.Route.Hosts = []string{r.addr()}
		if got := deliver(t, c, j); got != "250 2.0.0 stored" {
			t.Fatalf("%d: %s", i, got)
		}
	}
	if n := r.conns.Load(); n != 2 {
		t.Errorf("%d connections, want 2", n)
	}
	c.Close()
	if len(c.idle) != 0 {
		t.Error("connections are kept after Close")
	}
}

// What a host says at length is not kept at length: it is written to the queue,
// the trace and the report, for every recipient.
func TestLongReply(t *testing.T) {
	line := strings.Repeat("x", 4000) + "\r\n"
	r := startRemote(t, map[string][]string{"RCPT": {strings.Repeat("550-5.1.1 "+line, 100) + "550 5.1.1 end"}})
	j := newJob(text, "x@there.test")
	j.Route.Hosts = []string{r.addr()}
	if got := deliver(t, client(t, nil), j); !strings.HasPrefix(got, "550 5.1.1 xxx") || len(got) > 17<<10 {
		t.Errorf("%d octets: %.40s", len(got), got)
	}
}

// A connection is not used again for a route that demands more of it by now.
func TestPoolingAfterAChange(t *testing.T) {
	r := startRemote(t, nil)
	c := client(t, func(cfg *Config) { cfg.IdleTime = time.Minute })
	for security, want := range map[Security]string{Plain: "250 2.0.0 stored", Encrypt: "450 4.7.4 Host offers no TLS, and the route demands it"} {
		j := newJob(text, "x@there.test")
		j.Route = Route{Name: "far", Hosts: []string{r.addr()}, Security: Plain}
		deliver(t, c, j)
		j.Route.Security = security
		if got := deliver(t, c, j); got != want {
			t.Errorf("%s: %s", security, got)
		}
	}
}

// A pooled connection that went stale is replaced, whether the host only hung up
// or said 421 first.
func TestStaleConnection(t *testing.T) {
	for _, leave := range []string{"!", "421 4.4.2 idle too long!"} {
		r := startRemote(t, map[string][]string{"MAIL": {"250 ok", leave, "250 ok"}})
		c := client(t, func(cfg *Config) { cfg.IdleTime = time.Minute })
		for range 2 {
			j := newJob(text, "x@there.test")
			j.Route.Hosts = []string{r.addr()}
			if got := deliver(t, c, j); got != "250 2.0.0 stored" {
				t.Errorf("%q: %s", leave, got)
			}
		}
	}
}

func TestIdleConnectionsExpire(t *testing.T) {
	r := startRemote(t, nil)
	c := client(t, func(cfg *Config) { cfg.IdleTime = time.Millisecond })
	j := newJob(text, "x@there.test")
	j.Route.Hosts = []string{r.addr()}
	deliver(t, c, j)
	for deadline := time.Now().Add(5 * time.Second); ; {
		c.mu.Lock()
		n := len(c.idle)
		c.mu.Unlock()
		if n == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("an idle connection stays")
		}
		time.Sleep(time.Millisecond)
	}
}

func TestAuth(t *testing.T) {
	ehlo := map[string][]string{"EHLO": {"250-remote\r\n250 AUTH LOGIN PLAIN"}}
	for _, c := range []struct {
		script map[string][]string
		want   string
	}{
		{ehlo, "250 2.0.0 stored"},
		{map[string][]string{"EHLO": ehlo["EHLO"], "AUTH": {"535 5.7.8 bad"}}, "450 4.4.0 AUTH refused: 535 5.7.8 bad"},
		{nil, "450 4.7.0 Host offers no login over TLS, and the route has one"},
	} {
		r := startRemote(t, c.script)
		j := newJob(text, "x@there.test")
		j.Route = Route{Name: "smart", Hosts: []string{r.addr()}, Username: "u", Password: "p"}
		if got := deliver(t, client(t, nil), j); got != c.want {
			t.Errorf("got %s, want %s", got, c.want)
		}
		if c.script != nil && !strings.Contains(r.got(), "AUTH PLAIN AHUAcA==") {
			t.Errorf("got\n%s", r.got())
		}
	}
}

func TestTLSIsDemanded(t *testing.T) {
	for _, s := range []Security{Encrypt, Verify} {
		r := startRemote(t, nil)
		j := newJob(text, "x@there.test")
		j.Route = Route{Name: "r", Hosts: []string{r.addr()}, Security: s}
		if got := deliver(t, client(t, nil), j); got != "450 4.7.4 Host offers no TLS, and the route demands it" {
			t.Errorf("%s: %s", s, got)
		}
	}
	// A connection without TLS is not used again for mail that must have it.
	r := startRemote(t, nil)
	c := client(t, func(cfg *Config) { cfg.IdleTime = time.Minute })
	j := newJob(text, "x@there.test")
	j.Route.Hosts = []string{r.addr()}
	deliver(t, c, j)
	j.Params.RequireTLS = true
	if got := deliver(t, c, j); !strings.HasPrefix(got, "450 4.7.4") {
		t.Error(got)
	}
}

// A handshake that fails is tried again without TLS, unless TLS is demanded.
func TestOpportunisticTLS(t *testing.T) {
	script := map[string][]string{"EHLO": {"250-remote\r\n250 STARTTLS"}, "STARTTLS": {"220 go!"}}
	for s, want := range map[Security]string{Opportunistic: "250 2.0.0 stored", Encrypt: "450 4.7.5 TLS handshake failed", Plain: "250 2.0.0 stored"} {
		r := startRemote(t, script)
		j := newJob(text, "x@there.test")
		j.Route = Route{Name: "r", Hosts: []string{r.addr()}, Security: s}
		if got := deliver(t, client(t, nil), j); got != want {
			t.Errorf("%q: got %s, want %s", s, got, want)
		}
	}
}

// A context that ends wins over every time-out, wherever the conversation is.
func TestCancel(t *testing.T) {
	for _, verb := range []string{"", "EHLO", "MAIL", "RCPT", "DATA", "."} {
		r := startRemote(t, map[string][]string{verb: {"hang"}})
		c := client(t, func(cfg *Config) { cfg.Timeouts, cfg.Parting = DefaultTimeouts, 50*time.Millisecond })
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		j := newJob(text, "x@there.test")
		j.Route.Hosts = []string{r.addr()}
		done := make(chan []Result, 1)
		go func() { done <- c.Deliver(ctx, j) }()
		select {
		case res := <-done:
			if !res[0].Reply.Temporary() {
				t.Errorf("%q: %s", verb, res[0].Reply)
			}
		case <-time.After(8 * time.Second):
			t.Fatalf("%q: waits for a host that says nothing", verb)
		}
		cancel()
	}
}

// A message that was sent whole is not given up for a server that stops: the
// host may have taken it, and would get it again.
func TestCancelBeforeTheLastAnswer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		in := bufio.NewReader(c)
		for _, say := range []string{"220 remote", "250 remote", "250 Ok", "250 Ok", "354 go"} {
			io.WriteString(c, say+"\r\n")
			in.ReadString('\n')
		}
		for line := ""; line != ".\r\n"; line, _ = in.ReadString('\n') {
		}
		cancel()
		time.Sleep(20 * time.Millisecond) // a host that takes its time
		io.WriteString(c, "250 2.0.0 stored\r\n")
		in.ReadString('\n')
	}()
	j := newJob(text, "x@there.test")
	j.Route.Hosts = []string{l.Addr().String()}
	if res := client(t, nil).Deliver(ctx, j); !res[0].Reply.OK() {
		t.Errorf("%s", res[0].Reply)
	}
}

func TestTimeouts(t *testing.T) {
	r := startRemote(t, map[string][]string{"MAIL": {"hang"}})
	c := client(t, func(cfg *Config) { cfg.Timeouts.Mail = 20 * time.Millisecond })
	j := newJob(text, "x@there.test")
	j.Route.Hosts = []string{r.addr()}
	if got := deliver(t, c, j); got != "450 4.4.2 Host did not answer in time" {
		t.Error(got)
	}
}

func zone(t testing.TB, s string) *dns.Zone {
	t.Helper()
	z, err := dns.ParseZone(strings.NewReader(s))
	if err != nil {
		t.Fatal(err)
	}
	return z
}

const testZone = `
plain.test.   A    192.0.2.1
null.test.    MX   0 .
none.test.    TXT  "x"
order.test.   MX   20 two.test.
order.test.   MX   10 one.test.
one.test.     A    192.0.2.11
one.test.     AAAA 2001:db8::11
two.test.     A    192.0.2.12
self.test.    MX   10 me.test.
self.test.    MX   20 two.test.
me.test.      A    192.0.2.99
backup.test.  MX   10 one.test.
backup.test.  MX   20 me.test.
backup.test.  MX   30 two.test.
same.test.    MX   10 me.test.
same.test.    MX   10 one.test.
fail.test.    FAIL
lost.test.    MX   10 gone.test.
half.test.    MX   10 fail.test.
many.test.    MX   10 m1.test.
many.test.    MX   20 m2.test.
m1.test.      A    192.0.2.21
m1.test.      A    192.0.2.22
m1.test.      A    192.0.2.23
m2.test.      A    192.0.2.24
xn--bcher-kva.test. MX 10 one.test.
`

func TestHosts(t *testing.T) {
	c := client(t, func(cfg *Config) {
		cfg.DNS, cfg.MaxHosts = zone(t, testZone), 3
		cfg.Self = func(a netip.AddrPort) bool { return a.Addr().String() == "192.0.2.99" }
	})
	for domain, want := range map[string]string{
		"plain.test":              "plain.test [192.0.2.1]:25",
		"null.test":               "556 5.1.10 Domain takes no mail (null MX)",
		"nowhere.test":            "550 5.1.2 Domain does not exist",
		"none.test":               "550 5.4.4 No host of the domain has an address",
		"order.test":              "one.test [2001:db8::11]:25, one.test [192.0.2.11]:25, two.test [192.0.2.12]:25",
		"self.test":               "554 5.4.6 Mail for the domain loops back to this server",
		"backup.test":             "one.test [2001:db8::11]:25, one.test [192.0.2.11]:25",
		"same.test":               "554 5.4.6 Mail for the domain loops back to this server",
		"fail.test":               "451 4.4.3 Name server did not answer for the domain",
		"half.test":               "451 4.4.3 Name server did not answer for the domain",
		"lost.test":               "550 5.4.4 No host of the domain has an address",
		"many.test":               "m1.test [192.0.2.21]:25, m1.test [192.0.2.22]:25, m1.test [192.0.2.23]:25",
		"bücher.test":             "one.test [2001:db8::11]:25, one.test [192.0.2.11]:25",
		"[192.0.2.7]":             "192.0.2.7 [192.0.2.7]:25",
		"[192.0.2.99]":            "554 5.4.6 Mail for the domain loops back to this server",
		strings.Repeat("a.", 200): "550 5.1.2 Domain does not exist",
	} {
		for range 5 { // equal preferences are shuffled
			hosts, reply := c.hosts(t.Context(), &Route{Domain: domain})
			var names []string
			for _, h := range hosts {
				names = append(names, h.String())
			}
			got := strings.Join(names, ", ")
			if !reply.IsZero() {
				got = reply.String()
			}
			if got != want {
				t.Errorf("%s: got %s, want %s", domain, got, want)
			}
		}
	}
}

func TestRouteHosts(t *testing.T) {
	c := client(t, func(cfg *Config) { cfg.DNS = zone(t, testZone) })
	hosts, reply := c.hosts(t.Context(), &Route{Hosts: []string{"two.test:587", "[2001:db8::5]:26", "192.0.2.9", "one.test"}})
	var got []string
	for _, h := range hosts {
		got = append(got, h.addr.String())
	}
	want := []string{"192.0.2.12:587", "[2001:db8::5]:26", "192.0.2.9:25", "[2001:db8::11]:25", "192.0.2.11:25"}
	if !slices.Equal(got, want) || !reply.IsZero() {
		t.Errorf("%v %s", got, reply)
	}
	if _, reply := c.hosts(t.Context(), &Route{Hosts: []string{"gone.test:25"}}); reply.Code != 550 {
		t.Error(reply)
	}
}

// The next host is tried when one can't be reached or sends us away, and not
// when it has judged a recipient.
func TestFallback(t *testing.T) {
	good := startRemote(t, nil)
	for name, c := range map[string]struct {
		first map[string][]string
		want  string
	}{
		"sent away": {map[string][]string{"": {"421 busy!"}}, "250 2.0.0 stored"},
		"421":       {map[string][]string{"MAIL": {"421 busy!"}}, "250 2.0.0 stored"},
		"judged":    {map[string][]string{"RCPT": {"550 5.1.1 who"}}, "550 5.1.1 who"},
	} {
		bad := startRemote(t, c.first)
		j := newJob(text, "x@there.test")
		j.Route.Hosts = []string{bad.addr(), good.addr()}
		if got := deliver(t, client(t, nil), j); got != c.want {
			t.Errorf("%s: %s", name, got)
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	j := newJob(text, "x@there.test")
	j.Route.Hosts = []string{l.Addr().String()}
	res := client(t, nil).Deliver(t.Context(), j)[0]
	if !res.Dead || !res.Reply.Temporary() {
		t.Errorf("nobody there: %+v", res)
	}
}

// A reply is read or refused; never more than its own lines are taken.
func FuzzReply(f *testing.F) {
	for _, s := range []string{"250 ok\r\n", "250-a\r\n250 b\r\n", "250\n", "55", "999 x\r\n", "250-a\r\n550 b\r\n", "550 5.1.1 x\r\n", "+50 x\r\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		a, b := net.Pipe()
		defer a.Close()
		go func() {
			io.WriteString(b, in)
			b.Close()
		}()
		cn := &conn{cfg: &Config{}, ctx: t.Context(), net: a}
		cn.buffer()
		r, err := cn.read(time.Second)
		if err != nil {
			return
		}
		if r.Code < 200 || r.Code > 599 || strings.ContainsAny(r.Text, "\r\x00\x1b") || strings.Count(r.Text, "\n") >= maxReplyLines {
			t.Errorf("%q: %+v", in, r)
		}
	})
}

func BenchmarkDeliver(b *testing.B) {
	r := startRemote(b, nil)
	c := client(b, func(cfg *Config) { cfg.IdleTime, cfg.MaxUse = time.Minute, 1<<30 })
	j := newJob(strings.Repeat("x\r\n", 3000), "x@there.test")
	j.Route.Hosts = []string{r.addr()}
	b.ReportAllocs()
	for b.Loop() {
		if got := deliver(b, c, j); got != "250 2.0.0 stored" {
			b.Fatal(got)
		}
	}
}
