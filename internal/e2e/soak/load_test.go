//go:build e2e

package soak

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/emersion/go-sasl"
	gosmtp "github.com/emersion/go-smtp"

	"mtad/internal/mtatest"
)

// A client does something once, with connections of its own that it has closed
// when it returns. n counts its turns.
type client struct {
	name  string
	many  int           // at the same time
	pause time.Duration // between two turns
	turn  func(w *world, n int) error
}

// Some 100 messages a second in all on a machine that keeps up.
func clients() []client {
	return []client{
		{"pipelining", 4, 50 * time.Millisecond, (*world).pipelining},
		{"submission", 3, 50 * time.Millisecond, (*world).submission},
		{"chunks", 2, 100 * time.Millisecond, (*world).chunks},
		{"big", 1, 2 * time.Second, (*world).big},
		{"nonsense", 1, 300 * time.Millisecond, (*world).nonsense},
		{"abort", 2, 200 * time.Millisecond, (*world).abort},
		{"reader of alice", 1, 300 * time.Millisecond, reader("alice", "INBOX", "Junk")},
		{"reader of bob", 1, 300 * time.Millisecond, reader("bob", "INBOX", "Reports", "Lists/soak")},
		{"reader of carol", 1, 300 * time.Millisecond, reader("carol", "INBOX")},
		{"mail program", 3, 200 * time.Millisecond, (*world).mailProgram},
		{"idler", 2, 100 * time.Millisecond, (*world).idler},
		{"other host", 1, 200 * time.Millisecond, (*world).otherHost},
		{"administrator", 1, time.Second, (*world).administrator},
	}
}

// load runs the clients until done is closed. What a client reports is a fault.
func (w *world) load() *sync.WaitGroup {
	var work sync.WaitGroup
	for _, c := range clients() {
		for i := range c.many {
			work.Go(func() {
				for n := i; w.pause(c.pause); n += c.many {
					w.gate.RLock()
					if err := c.turn(w, n); err != nil {
						w.mail.fault("%s: %v", c.name, err)
					}
					w.gate.RUnlock()
					w.mail.count(c.name)
				}
			})
		}
	}
	return &work
}

// pause waits, and reports whether the load goes on.
func (w *world) pause(d time.Duration) bool {
	select {
	case <-w.done:
		return false
	case <-time.After(d):
		return true
	}
}

// wire is an SMTP connection by hand.
type wire struct {
	net.Conn
	r *bufio.Reader
}

// patience is how long a client waits for everything in one turn.
const patience = 90 * time.Second

// dial connects and says EHLO.
func (w *world) dial() (*wire, error) {
	c, err := net.DialTimeout("tcp", mtatest.Local(w.SMTP), patience)
	if err != nil {
		return nil, err
	}
	c.SetDeadline(time.Now().Add(patience))
	s := &wire{c, bufio.NewReader(c)}
	if err = s.expect("", "220"); err == nil {
		err = s.expect("EHLO client.test\r\n", "250")
	}
	if err != nil {
		c.Close()
	}
	return s, err
}

// expect writes text and reads as many replies as there are codes.
func (s *wire) expect(text string, codes ...string) error {
	if _, err := io.WriteString(s, text); err != nil {
		return err
	}
	for _, want := range codes {
		line, err := s.reply()
		if err != nil {
			return fmt.Errorf("a reply %s to %.40q: %w", want, text, err)
		}
		if !strings.HasPrefix(line, want) {
			return fmt.Errorf("%.40q was answered %q, want %s", text, line, want)
		}
	}
	return nil
}

// reply reads one reply and returns its last line.
func (s *wire) reply() (string, error) {
	for {
		line, err := s.r.ReadString('\n')
		if err != nil || len(line) < 4 || line[3] != '-' {
			return strings.TrimSpace(line), err
		}
	}
}

func dotted(text string) string { return strings.ReplaceAll(text, "\r\n.", "\r\n..") + ".\r\n" }

// strangers' mail, in turn: plain, for a folder by Sieve, for another by Lua, sent
// on, copied, for all.
var kinds = []struct {
	name string
	to   []string
}{
	{"plain", []string{"alice@example.test"}},
	{"report", []string{"bob@example.test"}},
	{"listed", []string{"bob@example.test"}},
	{"forward", []string{"bob@example.test"}},
	{"copy", []string{"alice@example.test"}},
	{"all", []string{"alice@example.test", "bob@example.test", "carol@example.test"}},
}

// pipelining sends five messages over a connection, each with its commands in one
// write.
func (w *world) pipelining(n int) error {
	s, err := w.dial()
	if err != nil {
		return err
	}
	defer s.Close()
	for i := range 5 {
		kind := kinds[(n+i)%len(kinds)]
		subject, text := w.mail.compose("ann@good.test", kind.name, 200<<(n%8))
		if kind.name == "listed" {
			text = "List-Id: <soak.lists.test>\r\n" + text
		}
		commands, codes := "MAIL FROM:<ann@good.test>\r\n", []string{"250"}
		for _, rcpt := range kind.to {
			commands, codes = commands+"RCPT TO:<"+rcpt+">\r\n", append(codes, "250")
		}
		if err = s.expect(commands+"DATA\r\n", append(codes, "354")...); err != nil {
			return err
		}
		if err = s.expect(dotted(text), "250"); err != nil {
			return err
		}
		w.mail.note(subject, len(text), kind.to...)
	}
	return s.expect("QUIT\r\n", "221")
}

// submission sends a user's mail, over implicit TLS or STARTTLS, to other hosts.
func (w *world) submission(n int) error {
	var c *gosmtp.Client
	var err error
	if n%2 == 0 {
		c, err = gosmtp.DialStartTLS(mtatest.Local(w.Submission), w.tls)
	} else {
		c, err = gosmtp.DialTLS(mtatest.Local(w.Submissions), w.tls)
	}
	if err != nil {
		return err
	}
	defer c.Close()
	c.CommandTimeout, c.SubmissionTimeout = patience, patience
	if err := c.Auth(sasl.NewPlainClient("", "alice@example.test", "alice")); err != nil {
		return err
	}
	for i := range 3 {
		to := []string{fmt.Sprintf("x%d@far.test", n%7), "carol@example.test"}
		if (n+i)%40 == 0 {
			to = []string{"nobody@far.test"}
		}
		subject, text := w.mail.compose("alice@example.test", "submitted", 100<<(n%6))
		if err := c.SendMail("alice@example.test", to, strings.NewReader(text)); err != nil {
			return err
		}
		w.mail.note(subject, len(text), to...)
	}
	return c.Quit()
}

// chunks sends mail by BDAT, commands and all in one write.
func (w *world) chunks(n int) error {
	return w.bdat(n, "chunked", 1000<<(n%7), "carol@example.test")
}

// big sends a message of megabytes.
func (w *world) big(n int) error {
	return w.bdat(n, "big", (1+n%4)<<20, "carol@example.test", "alice@example.test")
}

func (w *world) bdat(n int, kind string, size int, to ...string) error {
	s, err := w.dial()
	if err != nil {
		return err
	}
	defer s.Close()
	subject, text := w.mail.compose("ann@good.test", kind, size)
	all, codes := "MAIL FROM:<ann@good.test> BODY=8BITMIME\r\n", []string{"250"}
	for _, rcpt := range to {
		all, codes = all+"RCPT TO:<"+rcpt+">\r\n", append(codes, "250")
	}
	for rest, step := text, max(1, len(text)/(1+n%5)); rest != ""; {
		piece := rest[:min(step, len(rest))]
		rest = rest[len(piece):]
		last := ""
		if rest == "" {
			last = " LAST"
		}
		all, codes = all+fmt.Sprintf("BDAT %d%s\r\n%s", len(piece), last, piece), append(codes, "250")
	}
	if err := s.expect(all, codes...); err != nil {
		return err
	}
	w.mail.note(subject, len(text), to...)
	return s.expect("QUIT\r\n", "221")
}

// nonsense says what is refused; in some turns until it is thrown out.
func (w *world) nonsense(n int) error {
	s, err := w.dial()
	if err != nil {
		return err
	}
	defer s.Close()
	if n%60 == 59 {
		if err := w.wrongPassword(); err != nil {
			return err
		}
	}
	if n%30 == 29 && longForm() { // the tenth and later replies are slow
		_, err := io.WriteString(s, strings.Repeat("NONSENSE\r\n", 20))
		for err == nil {
			_, err = s.reply()
		}
		if !errors.Is(err, io.EOF) {
			return fmt.Errorf("after 20 errors: %w", err)
		}
		return nil
	}
	return s.expect("NONSENSE\r\nMAIL FROM:<@>\r\nRCPT TO:<bob@example.test>\r\nDATA\r\nMAIL FROM:<ann@good.test>\r\nRCPT TO:<x@>\r\n"+
		"RCPT TO:<nobody@example.test>\r\nVRFY bob\r\nRSET\r\nQUIT\r\n",
		"500", "501", "503", "503", "250", "501", "550", "252", "250", "221")
}

func (w *world) wrongPassword() error {
	c, err := gosmtp.DialTLS(mtatest.Local(w.Submissions), w.tls)
	if err != nil {
		return err
	}
	defer c.Close()
	if c.Auth(sasl.NewPlainClient("", "mallory@example.test", "guess")) == nil {
		return errors.New("a wrong password was taken")
	}
	return nil
}

// abort leaves in the middle of something, in half of the turns by a reset.
func (w *world) abort(n int) error {
	if n%7 == 6 {
		return w.abortTLS(n)
	}
	s, err := w.dial()
	if err != nil {
		return err
	}
	defer s.Close()
	if n%2 == 0 {
		s.Conn.(*net.TCPConn).SetLinger(0)
	}
	_, text := w.mail.compose("ann@good.test", "aborted", 100_000)
	begin := "MAIL FROM:<ann@good.test>\r\nRCPT TO:<alice@example.test>\r\n"
	_, err = io.WriteString(s, []string{
		begin,
		begin + "DATA\r\n" + text[:len(text)/2],
		begin + "DATA\r\n" + text + ".", // all but the last CR LF
		begin + "BDAT 100000\r\n" + text[:1000],
		begin + "BDAT 1000\r\n" + text[:1000] + "RSET\r\n",
		"STARTTLS\r\nthis is no handshake\r\n",
		begin + "DATA\r\n" + dotted(text), // it may be taken
	}[n/7%7])
	return err
}

// abortTLS leaves in the middle of a handshake, or right after it.
func (w *world) abortTLS(n int) error {
	c, err := net.DialTimeout("tcp", mtatest.Local(w.Submissions), patience)
	if err != nil {
		return err
	}
	defer c.Close()
	if n%2 == 0 {
		_, err := c.Write([]byte{22, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3})
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return tls.Client(c, w.tls).HandshakeContext(ctx)
}

// otherHost writes down what came to the other host.
func (w *world) otherHost(int) error {
	for _, d := range w.hop.Take() {
		_, rest, _ := strings.Cut(d.Data, "\r\nSubject: ")
		subject, _, _ := strings.Cut(rest, "\r\n")
		for _, rcpt := range d.To {
			w.mail.see(rcpt, subject)
		}
		if !whole(d.Data) {
			return fmt.Errorf("%q came to the other host with another body", subject)
		}
	}
	return nil
}

// administrator asks for everything, and has the queue tried again.
func (w *world) administrator(n int) error {
	commands := [][]string{
		{"status"}, {"queue", "list", "-o", "ndjson"}, {"filter", "list"}, {"trace", "last"}, {"user", "list"}, {"sieve", "list", "bob"},
		{"config", "check"}, {"mailbox", "verify", "carol@example.test"},
	}
	if n%5 == 4 {
		w.try("queue", "retry") // exits with 1 for an empty one
		return nil
	}
	c := commands[n%len(commands)]
	if out, code := w.try(c...); code > 1 {
		return fmt.Errorf("mtad %s: exit %d: %s", strings.Join(c, " "), code, out)
	}
	return nil
}
