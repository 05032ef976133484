package upstream

import (
	"io"
	"log"
	"strings"
	"testing"
	"time"

	gosmtp "github.com/emersion/go-smtp"
)

const goSMTP = "emersion/go-smtp"

// backend is a go-smtp backend that keeps what it is told.
type backend struct {
	opened  chan struct{} // a token for each session
	bodies  chan string   // what Data read
	mailErr error
	dataErr error // answered by Data, unread
}

func (b *backend) NewSession(*gosmtp.Conn) (gosmtp.Session, error) {
	b.opened <- struct{}{}
	return b, nil
}
func (*backend) Reset()                                   {}
func (*backend) Logout() error                            { return nil }
func (b *backend) Mail(string, *gosmtp.MailOptions) error { return b.mailErr }
func (*backend) Rcpt(string, *gosmtp.RcptOptions) error   { return nil }
func (b *backend) Data(r io.Reader) error {
	if b.dataErr != nil {
		return b.dataErr
	}
	body, err := io.ReadAll(r)
	b.bodies <- string(body)
	return err
}

// serveSMTP starts go-smtp's server and connects to it, banner read.
func serveSMTP(t *testing.T, b *backend, timeout time.Duration) *wire {
	t.Helper()
	b.opened, b.bodies = make(chan struct{}, 8), make(chan string, 8)
	s := gosmtp.NewServer(b)
	s.Domain, s.ReadTimeout, s.ErrorLog = "mx.test", timeout, log.New(io.Discard, "", 0)
	l := listen(t)
	go s.Serve(l)
	t.Cleanup(func() { s.Close() })
	w := dial(t, l)
	w.line()
	return w
}

// say sends a command and returns the last line of the reply.
func (w *wire) say(cmd string) string {
	w.t.Helper()
	w.send(cmd + "\r\n")
	for {
		if s := w.line(); len(s) < 4 || s[3] == ' ' {
			return s
		}
	}
}

// envelope goes as far as one recipient.
func (w *wire) envelope() {
	w.t.Helper()
	for _, cmd := range []string{"EHLO c.test", "MAIL FROM:<a@c.test>", "RCPT TO:<b@mx.test>"} {
		if s := w.say(cmd); !strings.HasPrefix(s, "250") {
			w.t.Fatalf("%s: %s", cmd, s)
		}
	}
}

func (w *wire) data() {
	w.t.Helper()
	w.envelope()
	if s := w.say("DATA"); !strings.HasPrefix(s, "354") {
		w.t.Fatal(s)
	}
}

// The banner goes out before the backend hears of the client, so that nothing can
// delay or refuse it.
func TestServerNoHookBeforeBanner(t *testing.T) {
	b := &backend{}
	w := serveSMTP(t, b, 0)
	select {
	case <-b.opened:
		reconsider(t, goSMTP, "the server asks before the banner")
		return
	default:
	}
	w.say("EHLO c.test")
	<-b.opened
}

// 354 goes out before the session is asked: a refusal costs the whole message.
func TestServerNoHookAtData(t *testing.T) {
	w := serveSMTP(t, &backend{dataErr: &gosmtp.SMTPError{Code: 550, Message: "no"}}, 0)
	w.envelope()
	if s := w.say("DATA"); !strings.HasPrefix(s, "354") {
		reconsider(t, goSMTP, "the server can refuse at DATA: "+s)
	}
}

// emersion/go-smtp issue 196: when the time for the whole of DATA is over, what
// the client sends on of the body is taken for commands.
func TestServerTimeoutMakesBodyCommands(t *testing.T) {
	w := serveSMTP(t, &backend{}, 200*time.Millisecond)
	w.data()
	w.send("Subject: slow\r\n\r\nfirst half\r\n")
	if s := w.line(); !strings.HasPrefix(s, "554") {
		t.Fatal(s)
	}
	if _, err := w.Write([]byte("NOOP\r\n")); err != nil || w.closed() {
		reconsider(t, goSMTP, "the server closes when DATA takes too long")
		return
	}
	if s := w.line(); !strings.HasPrefix(s, "250") {
		reconsider(t, goSMTP, "the rest of a body is no command any more: "+s)
	}
}

// RFC 5321, 4.1.1.4: CR LF "." CR LF ends the message, whatever is before it.
func TestServerHangsAfterCRCRLF(t *testing.T) {
	w := serveSMTP(t, &backend{}, 0)
	w.data()
	w.send("Subject: x\r\n\r\nline\r\r\n.\r\n")
	if !w.silent() {
		reconsider(t, goSMTP, "CR CR LF . CR LF ends a message: "+w.line())
	}
}

// What smuggling is made of goes to the backend as it is, and no option refuses it.
func TestServerPassesBareOctets(t *testing.T) {
	for name, body := range map[string]string{"CR": "a\rb\r\n", "LF": "a\nb\r\n", "LF . LF": "a\n.\nb\r\n", "NUL": "a\x00b\r\n"} {
		b := &backend{}
		w := serveSMTP(t, b, 0)
		w.data()
		if s := w.say(body + "."); !strings.HasPrefix(s, "250") {
			reconsider(t, goSMTP, "bare "+name+" is refused: "+s)
		} else if got := <-b.bodies; strings.TrimSuffix(got, "\r\n") != strings.TrimSuffix(body, "\r\n") && name != "LF . LF" {
			t.Errorf("bare %s: %q became %q", name, body, got)
		}
	}
	if n := has(names(&gosmtp.Server{}), "Bare", "Strict", "NUL"); n != "" {
		reconsider(t, goSMTP, "the server has an option "+n)
	}
}

// A chunk without line ends that comes in one segment with its command is counted
// as one long line.
func TestServerRefusesBDATInOneSegment(t *testing.T) {
	w := serveSMTP(t, &backend{}, 0)
	w.envelope()
	w.send("BDAT 3000 LAST\r\n" + strings.Repeat("x", 3000))
	if s := w.line(); strings.HasPrefix(s, "250") {
		reconsider(t, goSMTP, "BDAT in one segment with its chunk is taken")
	}
}

// RFC 5321, 3.8: after 421 the server closes. This one goes on.
func TestServer421DoesNotClose(t *testing.T) {
	w := serveSMTP(t, &backend{mailErr: &gosmtp.SMTPError{Code: 421, Message: "go away"}}, 0)
	w.say("EHLO c.test")
	if s := w.say("MAIL FROM:<a@c.test>"); !strings.HasPrefix(s, "421") {
		t.Fatal(s)
	}
	if !w.silent() {
		reconsider(t, goSMTP, "421 closes the connection")
	}
}

// The fourth error ends the session, and nothing can be said about it.
func TestServerErrorLimit(t *testing.T) {
	w := serveSMTP(t, &backend{}, 0)
	for range 4 {
		w.say("WHAT")
	}
	if w.silent() {
		reconsider(t, goSMTP, "four errors do not end the session")
	} else if s := w.line(); !strings.HasPrefix(s, "500") || !w.closed() {
		reconsider(t, goSMTP, "the limit of errors has changed: "+s)
	}
	if n := has(names(&gosmtp.Server{}), "MaxErr", "ErrorLimit", "ErrorThreshold"); n != "" {
		reconsider(t, goSMTP, "the server has an option "+n)
	}
}

// The texts of replies to commands that succeed are fixed: no ID of ours in them.
func TestServerFixedTexts(t *testing.T) {
	w := serveSMTP(t, &backend{dataErr: nil}, 0)
	w.data()
	if s := w.say("\r\nx\r\n."); s != "250 2.0.0 OK: queued" {
		reconsider(t, goSMTP, "the text after a message: "+s)
	}
}
