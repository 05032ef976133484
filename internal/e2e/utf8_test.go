//go:build e2e

package e2e

import (
	"strings"
	"testing"

	"github.com/emersion/go-imap/v2"
	gosmtp "github.com/emersion/go-smtp"

	"mtad/internal/mtatest"
)

// submitUTF8 sends a message with SMTPUTF8.
func submitUTF8(t testing.TB, addr, from string, to []string, data string) {
	t.Helper()
	c, err := gosmtp.Dial(addr)
	check(t, err)
	defer c.Close()
	check(t, c.Hello("client.test"))
	check(t, c.Mail(from, &gosmtp.MailOptions{UTF8: true, Body: gosmtp.Body8BitMIME}))
	for _, r := range to {
		check(t, c.Rcpt(r, nil))
	}
	w, err := c.Data()
	check(t, err)
	_, err = w.Write([]byte(data))
	check(t, err)
	check(t, w.Close())
	check(t, c.Quit())
}

// International mail goes by way of a Postfix that has SMTPUTF8 to a mailbox with
// such a name, and IMAP shows it as it was sent.
func TestUTF8ThroughPostfix(t *testing.T) {
	t.Parallel()
	program(t, "postfix")
	far := start(t)
	far.do("domain", "add", "bücher.test")
	if out, code := run(t, "geheim\n", "", mtadPath, "-c", far.config(), "user", "add", "grün@bücher.test"); code != 0 {
		t.Fatalf("user add: exit %d\n%s", code, out)
	}
	far.do("alias", "add", "überall@bücher.test", "alice@example.test")
	_, addrs := mtatest.PostfixWith(t, "smtputf8_enable = yes\nsmtputf8_autodetect_classes = all\n", local(far.SMTP), "")
	near := start(t, func(s *server, text string) string { return replace(local(s.Sink), addrs[0])(s, text) })
	to := []string{"grün@bücher.test", "überall@xn--bcher-kva.test"}
	data := letter("älice@example.test", to[0], "Grüße", "Schöne Grüße.")
	submitUTF8(t, local(near.SMTP), "älice@example.test", to, data)
	msg := far.one("alice")
	if !strings.HasSuffix(msg, data) {
		t.Errorf("arrived as\n%s", msg)
	}
	mustSay(t, msg, "Return-Path: <älice@example.test>", "with UTF8SMTP id", "Subject: Grüße")
	c := far.login("alice")
	_, err := c.Select("INBOX", nil).Wait()
	check(t, err)
	seen, err := c.Fetch(imap.SeqSetNum(1), &imap.FetchOptions{Envelope: true}).Collect()
	check(t, err)
	if e := seen[0].Envelope; e.Subject != "Grüße" || e.From[0].Addr() != "älice@example.test" || e.To[0].Addr() != to[0] {
		t.Errorf("envelope %+v", e)
	}
	storyOf(t, far.config(), "last", "both mailboxes", func(story string) bool {
		return strings.Contains(story, "grün@") && strings.Count(story, "stored in INBOX") == 2
	})
}

// A host without SMTPUTF8 gets what has an equal in US-ASCII; of the rest the sender
// is told, in a report that may have such addresses (RFC 6533).
func TestUTF8ToPlainHost(t *testing.T) {
	t.Parallel()
	port := freePort(t)
	hop := mtatest.StartHop(t, local(port), nil)
	s := start(t, toHop(port))
	submitUTF8(t, local(s.SMTP), "alice@example.test", []string{"x@bücher.test", "ü@far.test"}, letter("alice@example.test", "x@b.test", "plain", "Schöne Grüße."))
	if d := hop.Await(t, 1)[0]; d.To[0] != "x@xn--bcher-kva.test" {
		t.Errorf("delivered to %v", d.To)
	}
	p := parts(t, s.one("alice"))
	if p[1].kind != "message/global-delivery-status" || p[2].kind != "message/rfc822" {
		t.Errorf("%+v", p)
	}
	mustSay(t, p[1].text, "Final-Recipient: utf-8; ü@far.test", "Status: 5.6.7")
	submitUTF8(t, local(s.SMTP), "bob@example.test", []string{"x@far.test"}, letter("bob@example.test", "x@far.test", "Grüße", "Hello."))
	p = parts(t, s.one("bob"))
	if p[1].kind != "message/delivery-status" || p[2].kind != "message/global" {
		t.Errorf("%+v", p)
	}
	mustSay(t, p[1].text, "Final-Recipient: rfc822; x@far.test", "Status: 5.6.7")
	if n := len(hop.Deliveries()); n != 1 {
		t.Errorf("%d messages arrived", n)
	}
}

// Without SMTPUTF8 such addresses are refused.
func TestUTF8NotAskedFor(t *testing.T) {
	t.Parallel()
	program(t, "swaks")
	s := start(t)
	for _, c := range [][2]string{{"ü@good.test", "alice@example.test"}, {"ann@good.test", "ü@example.test"}} {
		if out, code := swaks(t, s.SMTP, "--from", c[0], "--to", c[1]); code == 0 || !strings.Contains(out, "553 5.6.7 Address needs SMTPUTF8") {
			t.Errorf("%v: exit %d\n%s", c, code, out)
		}
	}
}
