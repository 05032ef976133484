package milter

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	gomilter "github.com/emersion/go-milter"
	gosmtp "github.com/emersion/go-smtp"

	"mtad/pipeline"
)

// delivery is what Postfix handed on.
type delivery struct {
	from string
	to   []string
	data string
}

// sink is an SMTP server that passes on what it is given.
type sink struct{ got chan delivery }

func (s *sink) NewSession(*gosmtp.Conn) (gosmtp.Session, error) { return &sinkSession{sink: s}, nil }

type sinkSession struct {
	sink *sink
	d    delivery
}

func (s *sinkSession) Reset()        { s.d = delivery{} }
func (s *sinkSession) Logout() error { return nil }

func (s *sinkSession) Mail(from string, _ *gosmtp.MailOptions) error {
	s.d.from = from
	return nil
}

func (s *sinkSession) Rcpt(to string, _ *gosmtp.RcptOptions) error {
	s.d.to = append(s.d.to, to)
	return nil
}

func (s *sinkSession) Data(r io.Reader) error {
	b, err := io.ReadAll(r)
	s.d.data = string(b)
	s.sink.got <- s.d
	return err
}

// listen starts a server for the sink.
func listenSink(t *testing.T) (*sink, string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &sink{got: make(chan delivery, 10)}
	server := gosmtp.NewServer(s)
	server.EnableSMTPUTF8 = true
	go server.Serve(ln)
	t.Cleanup(func() { server.Close() })
	return s, ln.Addr().String()
}

const postfixMain = `compatibility_level = 3.6
queue_directory = DIR/spool
data_directory = DIR/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
mail_owner = postfix
setgid_group = postdrop
myhostname = mx.example.org
mydestination =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
smtpd_relay_restrictions = permit_mynetworks, reject
smtpd_tls_security_level = none
smtp_tls_security_level = none
alias_maps =
alias_database =
maillog_file = DIR/maillog
maillog_file_prefixes = DIR
disable_dns_lookups = yes
smtp_host_lookup = native
import_environment = MAIL_CONFIG TZ LANG=C
default_transport = smtp:[127.0.0.1]:SINK
smtpd_milters = MILTER
milter_default_action = tempfail
local_header_rewrite_clients =
smtputf8_enable = no
`

const postfixMaster = `127.0.0.1:PORT inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
`

// postfix runs a private Postfix with that milter in front of the sink, and
// returns where it listens.
func postfix(t *testing.T, milter, sinkAddr string) string {
	t.Helper()
	bin := program(t, "postfix")
	if os.Getuid() != 0 {
		t.Skip("starting Postfix needs root")
	}
	dir := shortDir(t)
	for _, d := range []string{"etc", "spool", "data"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	os.Chmod(dir, 0o755)
	if out, err := exec.Command("chown", "postfix", filepath.Join(dir, "data")).CombinedOutput(); err != nil {
		t.Skipf("no user postfix: %s", out)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	ln.Close()
	_, port, _ := net.SplitHostPort(addr)
	_, sinkPort, _ := net.SplitHostPort(sinkAddr)
	fill := strings.NewReplacer("DIR", dir, "SINK", sinkPort, "MILTER", milter, "PORT", port)
	etc := filepath.Join(dir, "etc")
	writeFile(t, filepath.Join(etc, "main.cf"), fill.Replace(postfixMain))
	writeFile(t, filepath.Join(etc, "master.cf"), fill.Replace(postfixMaster))
	os.Chmod(filepath.Join(etc, "main.cf"), 0o644)
	os.Chmod(filepath.Join(etc, "master.cf"), 0o644)
	if out, err := exec.Command(bin, "-c", etc, "start").CombinedOutput(); err != nil {
		t.Skipf("postfix does not start: %s", out)
	}
	t.Cleanup(func() {
		exec.Command(bin, "-c", etc, "stop").Run()
		if t.Failed() {
			log, _ := os.ReadFile(filepath.Join(dir, "maillog"))
			t.Logf("maillog:\n%s", log)
		}
	})
	for deadline := time.Now().Add(20 * time.Second); ; {
		c, err := net.DialTimeout("tcp", addr, time.Second)
		if err == nil {
			c.Close()
			return addr
		}
		if time.Now().After(deadline) {
			t.Fatal("postfix does not listen")
		}
		time.Sleep(20 * time.Millisecond) // nothing tells us that it listens
	}
}

// send gives Postfix the mail and waits for what comes out.
func send(t *testing.T, addr string, s *sink, m mail) (d delivery, refusal string) {
	t.Helper()
	c, err := gosmtp.Dial(addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Hello("client.example.net"); err != nil {
		t.Fatal(err)
	}
	if err := c.Mail(m.from, &gosmtp.MailOptions{Body: gosmtp.Body8BitMIME}); err != nil {
		return d, reply1(err)
	}
	for _, to := range m.to {
		if err := c.Rcpt(to, nil); err != nil {
			refusal = reply1(err)
		}
	}
	w, err := c.Data()
	if err != nil {
		return d, refusal
	}
	io.WriteString(w, m.data)
	if err := w.Close(); err != nil {
		return d, reply1(err)
	}
	c.Quit()
	select {
	case d = <-s.got:
	case <-time.After(20 * time.Second):
		t.Fatal("nothing came out of Postfix")
	}
	return d, refusal
}

func reply1(err error) string {
	var e *gosmtp.SMTPError
	if errors.As(err, &e) {
		return fmt.Sprintf("%d %d.%d.%d %s", e.Code, e.EnhancedCode[0], e.EnhancedCode[1], e.EnhancedCode[2], e.Message)
	}
	return err.Error()
}

// alike makes two messages comparable: what names a host or a time is masked.
func alike(s string) string {
	s = regexp.MustCompile(`(?m)^Received: from client\.example\.net[^\n]*\n([ \t][^\n]*\n)*`).ReplaceAllString(s, "Received: OURS\r\n")
	s = regexp.MustCompile(`\bt=\d+`).ReplaceAllString(s, "t=T")
	s = regexp.MustCompile(`\bb=[A-Za-z0-9+/=\s]+`).ReplaceAllString(s, "b=B\r\n")
	s = regexp.MustCompile(`(?m)^X-Spam-Checker-Version:[^\n]*\n([ \t][^\n]*\n)*`).ReplaceAllString(s, "X-Spam-Checker-Version: V\r\n")
	s = regexp.MustCompile(`----------=_[0-9A-F.]+`).ReplaceAllString(s, "BOUNDARY")
	return s
}

// localClient is the client that Postfix sees.
func localClient() pipeline.Client {
	c := testClient
	c.Addr, c.Local = netip.MustParseAddrPort("127.0.0.1:4711"), netip.MustParseAddrPort("127.0.0.1:25")
	c.Name, c.Reverse = "localhost", "localhost"
	return c
}

// differ shows the first lines that are not the same.
func differ(t *testing.T, what, ours, theirs string) {
	t.Helper()
	if ours == theirs {
		return
	}
	a, b := strings.Split(ours, "\n"), strings.Split(theirs, "\n")
	i := 0
	for i < min(len(a), len(b)) && a[i] == b[i] {
		i++
	}
	t.Errorf("%s differ at line %d\nours:\n%s\nPostfix:\n%s", what, i+1,
		strings.Join(a[i:min(i+5, len(a))], "\n"), strings.Join(b[i:min(i+5, len(b))], "\n"))
}

const oddMail = "Received: from elsewhere\r\n\tby client.example.net; Mon, 1 Jan 2024 00:00:00 +0000\r\n" +
	"From: Alice <alice@example.org>\r\nTo:bob@example.net\r\nSubject:   two  spaces\r\n\tand a fold\r\n" +
	"X-A: 1\r\nX-A:\t2\r\nx-a: 3\r\nX-Empty:\r\nDate: Mon, 1 Jan 2024 00:00:00 +0000\r\nMessage-ID: <1@example.org>\r\n\r\n" +
	"Hello,\r\n\r\n..world.  \r\n.\r\n\xe4\xf6\r\n\r\n"

// comparisons are what a milter does, one script each.
var comparisons = []struct{ name, script string }{
	{"nothing", ""},
	{"headers", `E h"X-Add|added|" ; h"X-Fold|a\n\tb|" ; i"\x00\x00\x00\x00X-Top|0|" ; i"\x00\x00\x00\x03X-Three|3|" ; i"\x00\x00\x00\x63X-End|end|" ; c`},
	{"insert at one", `E i"\x00\x00\x00\x01X-One|1|" ; i"\x00\x00\x00\x01X-One|again|" ; m"\x00\x00\x00\x01Received|changed|" ; c`},
	{"change", `E m"\x00\x00\x00\x02X-A||" ; m"\x00\x00\x00\x02X-A|three|" ; h"X-A|four|" ; m"\x00\x00\x00\x03X-A|changed|" ; m"\x00\x00\x00\x09X-A|six|" ; m"\x00\x00\x00\x09X-A||" ; m"\x00\x00\x00\x00Subject|new|" ; c`},
	{"values", `E h"X-Long|` + strings.Repeat("word ", 40) + `end|" ; h"X-Space|  two|" ; h"X-Tab|\ttab|" ; h"X-Fold|a\n b|" ; c`},
	{"body", `E b"one\ntwo\r" ; b"\nthree\r\n.dot\r\n" ; b"four" ; c`},
	{"empty body", `E b"" ; c`},
	{"envelope", `E +"<c@example.org>|" ; 2"<d@example.org>|NOTIFY=NEVER|" ; -"<bob@example.net>|" ; e"<new@example.net>|" ; c`},
	{"rejects", `E y"554-5.7.1 Two\r\n554 5.7.1 lines|"`},
	{"rejects plainly", `E r`},
	{"fails", `E t`},
	{"rejects a recipient", "R r\nR c"},
	{"rejects the sender", `M y"451 4.3.0 100%% full|"`},
	{"accepts early", `L a`},
	{"skips", "L c\nB s"},
}

// TestAgainstPostfix sends the same mail through Postfix and through the
// pipeline, with the same milter, and compares what the milter saw, what came
// out, and what the client was told.
func TestAgainstPostfix(t *testing.T) {
	for _, steps := range []gomilter.OptProtocol{0, gomilter.OptHeaderLeadingSpace | gomilter.OptSkip, gomilter.OptNoHeaderReply | gomilter.OptNoBodyReply} {
		fake := newFake(t, terms{version: 6, actions: offer(6).actions, steps: steps})
		s, sinkAddr := listenSink(t)
		addr := postfix(t, "inet:"+fake.ln.Addr().String(), sinkAddr)
		for _, c := range comparisons {
			t.Run(fmt.Sprintf("%s %#x", c.name, uint32(steps)), func(t *testing.T) {
				comparePostfix(t, fake, c.script, addr, s)
			})
		}
	}
}

func comparePostfix(t *testing.T, fake *fake, script, addr string, s *sink) {
	m := mail{client: localClient(), from: "alice@example.org", params: "BODY=8BITMIME", to: []string{"bob@example.net", "carol@example.net"}, data: oddMail}
	fake.follow(script)
	d, refusal := send(t, addr, s, m)
	seen := events(fake.take())

	fake.follow(script)
	r := drive(t, newTestPipeline(t, step(newTestFilter(t, fake.config()))), m)
	ours := events(fake.take())
	for range 2 {
		if ours == seen {
			break
		}
		// Postfix takes leave of the milter some time after its client has
		// left; what comes in the midst of ours cuts it short.
		fake.follow(script)
		r = drive(t, newTestPipeline(t, step(newTestFilter(t, fake.config()))), m)
		ours = events(fake.take())
	}
	differ(t, "events", ours, seen)
	if d.data == "" || refusal != "" {
		differ(t, "replies", strings.ReplaceAll(said(r), " / ", "\n"), refusal)
	}
	if d.data == "" {
		return
	}
	differ(t, "messages", alike(r.message), alike(d.data))
	differ(t, "senders", r.view.Sender().String(), d.from)
	var to []string
	for _, rcpt := range r.view.Rcpts() {
		to = append(to, rcpt.Addr.String())
	}
	slices.Sort(to)
	slices.Sort(d.to)
	differ(t, "recipients", strings.Join(to, "\n"), strings.Join(d.to, "\n"))
}

// said is the refusal in a trace, "" if there is none.
func said(r result) string {
	for _, e := range r.trace.Events {
		if e.Reply != "" {
			return e.Reply
		}
	}
	return ""
}

// events are the packets from MAIL to the end of the message.
func events(log []string) string {
	var b bytes.Buffer
	for _, l := range log {
		if strings.HasPrefix(l, "> M") || b.Len() > 0 {
			if strings.HasPrefix(l, "> A") || strings.HasPrefix(l, "> Q") || strings.HasPrefix(l, "> K") {
				break
			}
			b.WriteString(l + "\n")
		}
	}
	return b.String()
}

func TestAgainstPostfixWithOpenDKIM(t *testing.T) {
	socket, _ := opendkim(t, "s", "UMask 000", "Canonicalization relaxed/simple")
	openDir(t, socket)
	compareMilter(t, socket, plainMail)
}

func TestAgainstPostfixWithSpamassMilter(t *testing.T) {
	socket := spamassMilter(t)
	openDir(t, socket)
	os.Chmod(socket, 0o777)
	for _, data := range []string{plainMail, strings.Replace(plainMail, "Hello", gtube, 1)} {
		compareMilter(t, socket, data)
	}
}

// openDir lets Postfix's user in.
func openDir(t *testing.T, socket string) {
	t.Helper()
	if err := os.Chmod(filepath.Dir(socket), 0o755); err != nil {
		t.Fatal(err)
	}
}

func compareMilter(t *testing.T, socket, data string) {
	t.Helper()
	m := mail{client: localClient(), from: "alice@example.org", to: []string{"bob@example.net"}, data: data}
	s, sinkAddr := listenSink(t)
	addr := postfix(t, "unix:"+socket, sinkAddr)
	d, refusal := send(t, addr, s, m)
	if refusal != "" {
		t.Fatal(refusal)
	}
	// SpamAssassin compares Date with the macro b.
	r := drive(t, newPipelineAt(t, time.Now, patient(newTestFilter(t, `connect = "unix:`+socket+`"`))), m)
	differ(t, "messages", alike(r.message), alike(d.data))
}
