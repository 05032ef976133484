//go:build e2e

package e2e

import (
	"bufio"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/mail"
	"net/textproto"
	"strings"
	"testing"

	gosmtp "github.com/emersion/go-smtp"

	"mtad/internal/mtatest"
)

// part is a part of a notice: RFC 3464, 2, RFC 6522, 3.
type part struct {
	kind string
	text string
}

// parts takes a notice apart with the standard library.
func parts(t *testing.T, msg string) (out []part) {
	t.Helper()
	m, err := mail.ReadMessage(strings.NewReader(msg))
	check(t, err)
	kind, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	check(t, err)
	if kind != "multipart/report" || params["report-type"] != "delivery-status" {
		t.Fatalf("Content-Type: %s\n%s", m.Header.Get("Content-Type"), msg)
	}
	r := multipart.NewReader(m.Body, params["boundary"])
	for {
		p, err := r.NextPart()
		if errors.Is(err, io.EOF) {
			return out
		}
		check(t, err)
		kind, _, err := mime.ParseMediaType(p.Header.Get("Content-Type"))
		check(t, err)
		b, err := io.ReadAll(p)
		check(t, err)
		out = append(out, part{kind, string(b)})
	}
}

// groups reads the groups of fields of a delivery status.
func groups(t *testing.T, text string) (out []textproto.MIMEHeader) {
	t.Helper()
	r := textproto.NewReader(bufio.NewReader(strings.NewReader(text)))
	for {
		h, err := r.ReadMIMEHeader()
		if len(h) > 0 {
			out = append(out, h)
		}
		if err != nil {
			return out
		}
	}
}

// A recipient whom the next host refuses is reported to the sender; the others
// get the message.
func TestBounce(t *testing.T) {
	t.Parallel()
	port := freePort(t)
	hop := mtatest.StartHop(t, local(port), func(rcpt string) *gosmtp.SMTPError {
		if strings.HasPrefix(rcpt, "gone") {
			return &gosmtp.SMTPError{Code: 550, EnhancedCode: gosmtp.EnhancedCode{5, 1, 1}, Message: "Gone fishing"}
		}
		return nil
	})
	s := start(t, toHop(port))
	data := letter("alice@example.test", "gone@far.test", "bounce me", "Hello.")
	check(t, submit(t, local(s.SMTP), "alice@example.test", []string{"gone@far.test", "there@far.test"}, data))
	if d := hop.Await(t, 1)[0]; len(d.To) != 1 || d.To[0] != "there@far.test" {
		t.Errorf("delivered to %v", d.To)
	}
	msg := s.one("alice")
	if field(msg, "Return-Path") != "<>" || field(msg, "To") == "" || field(msg, "Auto-Submitted") != "auto-replied" {
		t.Errorf("header of the notice:\n%s", msg)
	}
	p := parts(t, msg)
	if len(p) != 3 || p[0].kind != "text/plain" || p[1].kind != "message/delivery-status" || p[2].kind != "message/rfc822" {
		t.Fatalf("parts: %+v", p)
	}
	mustSay(t, p[0].text, "gone@far.test", "Gone fishing")
	g := groups(t, p[1].text)
	if len(g) != 2 {
		t.Fatalf("groups: %+v", g)
	}
	if got := g[0].Get("Reporting-MTA"); got != "dns; mx.example.test" {
		t.Errorf("Reporting-MTA: %s", got)
	}
	for name, want := range map[string]string{
		"Final-Recipient": "rfc822; gone@far.test", "Action": "failed", "Status": "5.1.1",
		"Diagnostic-Code": "smtp; 550 5.1.1 Gone fishing",
	} {
		if got := g[1].Get(name); strings.ReplaceAll(got, ";", "; ") != want && got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if !strings.HasSuffix(strings.TrimRight(p[2].text, "\r\n")+"\r\n", data) {
		t.Errorf("the message in the notice:\n%s", p[2].text)
	}
	s.awaitEmptyQueue()
}

// A notice about a notice is never sent.
func TestNoBounceOfABounce(t *testing.T) {
	t.Parallel()
	port := freePort(t)
	refused := make(chan string, 10)
	mtatest.StartHop(t, local(port), func(rcpt string) *gosmtp.SMTPError {
		refused <- rcpt
		return &gosmtp.SMTPError{Code: 550, EnhancedCode: gosmtp.EnhancedCode{5, 1, 1}, Message: "No"}
	})
	s := start(t, toHop(port))
	check(t, submit(t, local(s.SMTP), "", []string{"x@far.test"}, letter("<>", "x@far.test", "a notice", "x")))
	if got := <-refused; got != "x@far.test" {
		t.Errorf("refused %s", got)
	}
	s.awaitEmptyQueue()
	for _, u := range []string{"alice", "bob", "carol"} {
		if n := s.login(u).count("INBOX"); n != 0 {
			t.Errorf("%s has %d messages", u, n)
		}
	}
}
