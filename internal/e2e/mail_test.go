//go:build e2e

package e2e

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
	gosmtp "github.com/emersion/go-smtp"
)

// tlsConfig trusts the server's own authority.
func (s *server) tlsConfig() *tls.Config {
	s.t.Helper()
	b, err := os.ReadFile(filepath.Join(s.dir, "ca.pem"))
	check(s.t, err)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(b)
	return &tls.Config{RootCAs: pool, ServerName: "localhost", MinVersion: tls.VersionTLS12}
}

// mailbox is a user's mailbox, read with go-imap's client.
type mailbox struct {
	*imapclient.Client
	t testing.TB
}

// login opens a user's mailbox; the password is the name.
func (s *server) login(user string) *mailbox {
	s.t.Helper()
	c, err := imapclient.DialInsecure(local(s.IMAP), nil)
	check(s.t, err)
	s.t.Cleanup(func() { c.Close() })
	m := &mailbox{c, s.t}
	m.wait(c.Login(user+"@example.test", user))
	return m
}

// waiter is a command of go-imap's client.
type waiter interface{ Wait() error }

func (m *mailbox) wait(w waiter) {
	m.t.Helper()
	done := make(chan error, 1)
	go func() { done <- w.Wait() }()
	select {
	case err := <-done:
		check(m.t, err)
	case <-time.After(time.Minute):
		m.t.Fatal("the IMAP server does not answer")
	}
}

// count is the number of messages in a folder, 0 if there is no folder.
func (m *mailbox) count(folder string) int {
	m.t.Helper()
	data, err := m.Status(folder, &imap.StatusOptions{NumMessages: true}).Wait()
	if err != nil {
		return 0
	}
	return int(*data.NumMessages)
}

// fetch returns the messages of a folder, octet for octet.
func (m *mailbox) fetch(folder string) (out []string) {
	m.t.Helper()
	data, err := m.Select(folder, nil).Wait()
	check(m.t, err)
	if data.NumMessages == 0 {
		return nil
	}
	all := imap.SeqSet{}
	all.AddRange(1, 0)
	section := &imap.FetchItemBodySection{Peek: true}
	msgs, err := m.Fetch(all, &imap.FetchOptions{BodySection: []*imap.FetchItemBodySection{section}}).Collect()
	check(m.t, err)
	for _, msg := range msgs {
		out = append(out, string(msg.FindBodySection(section)))
	}
	return out
}

// await waits until a folder has n messages and returns them.
func (m *mailbox) await(folder string, n int) []string {
	m.t.Helper()
	eventually(m.t, "mail in "+folder, timeLimit, func() bool { return m.count(folder) >= n })
	msgs := m.fetch(folder)
	if len(msgs) != n {
		m.t.Fatalf("%s has %d messages, want %d", folder, len(msgs), n)
	}
	return msgs
}

// mail waits for a user's n messages in INBOX.
func (s *server) mail(user string, n int) []string {
	s.t.Helper()
	return s.login(user).await("INBOX", n)
}

// one waits for a user's only message in INBOX.
func (s *server) one(user string) string {
	s.t.Helper()
	return s.mail(user, 1)[0]
}

// toHop gives all mail for other hosts to a port, without TLS.
func toHop(port int) func(*server, string) string {
	return func(s *server, text string) string {
		return replace(`to       = ["`+local(s.Sink)+`"]`, `to = ["`+local(port)+`"]`)(s, text)
	}
}

// letter makes a small message.
func letter(from, to, subject, body string) string {
	return crlf("From: " + from + "\nTo: " + to + "\nSubject: " + subject +
		"\nDate: Sun, 1 Mar 2026 12:00:00 +0000\nMessage-ID: <" + strings.ReplaceAll(subject, " ", ".") + "@e2e.test>\n\n" + body + "\n")
}

// timeLimit is how long mail may take to arrive.
const timeLimit = 2 * time.Minute

func crlf(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") }

// submit sends a message with go-smtp's client.
func submit(t testing.TB, addr, from string, to []string, data string) error {
	t.Helper()
	c, err := gosmtp.Dial(addr)
	check(t, err)
	defer c.Close()
	if err := c.Hello("client.test"); err != nil {
		return err
	}
	if err := c.SendMail(from, to, strings.NewReader(data)); err != nil {
		return err
	}
	return c.Quit()
}

// body is what follows the header.
func body(msg string) string {
	_, b, _ := strings.Cut(msg, "\r\n\r\n")
	return b
}

// field is a header field's unfolded value, "" if there is none.
func field(msg, name string) string {
	head, _, _ := strings.Cut(msg, "\r\n\r\n")
	re := regexp.MustCompile(`(?im)^` + regexp.QuoteMeta(name) + `:[ \t]*([^\r\n]*(?:\r\n[ \t][^\r\n]*)*)`)
	m := re.FindStringSubmatch(head + "\r\n")
	if m == nil {
		return ""
	}
	return strings.TrimSpace(regexp.MustCompile(`\r\n[ \t]+`).ReplaceAllString(m[1], " "))
}

var traceID = regexp.MustCompile(`\[([0-9a-z]{10,})\]`)

// idIn finds the trace ID that a reply ends with.
func idIn(t testing.TB, text string) string {
	t.Helper()
	m := traceID.FindStringSubmatch(text)
	if m == nil {
		t.Fatalf("no trace ID in %q", text)
	}
	return m[1]
}

// without removes header fields that the server adds at final delivery.
func without(msg string, names ...string) string {
	head, rest, _ := bytes.Cut([]byte(msg), []byte("\r\n\r\n"))
	text := string(head) + "\r\n"
	for _, n := range names {
		text = regexp.MustCompile(`(?im)^`+regexp.QuoteMeta(n)+`:[^\r\n]*\r\n(?:[ \t][^\r\n]*\r\n)*`).ReplaceAllString(text, "")
	}
	return text + "\r\n" + string(rest)
}
