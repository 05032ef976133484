package smtpd

import (
	"context"
	"errors"
	"strings"
	"testing"

	"mtad/message"
	"mtad/smtp"
)

// owned is whose addresses are whose in these tests.
func owned(_ context.Context, user string, a smtp.Address) (Standing, error) {
	switch a.Local {
	case "broken":
		return Foreign, errors.New("no database")
	case "boss":
		return OnBehalf, nil
	}
	if a.String() == user || a.Local == "team" {
		return Own, nil
	}
	return Foreign, nil
}

// TestSender: what users may say they are, in MAIL and in the message.
func TestSender(t *testing.T) {
	w := start(t, func(c *Config) {
		c.Auth, c.Submission, c.Sender = Optional, true, owned
		c.Hide = func(f message.Field) bool { return f.Is("Bcc") }
	})
	c := w.dial()
	c.reply()
	each(c, "EHLO c.test\nAUTH PLAIN AGFubgBhbm4=") // ann@x.test
	for from, want := range map[string]string{
		"<ann@x.test>": "250", "<>": "250", "<team@x.test>": "250", "<boss@x.test>": "250", "<eve@x.test>": "553 5.7.1", "<ann@other.test>": "553 5.7.1", "<broken@x.test>": "451 4.3.0",
	} {
		if got := c.cmd("MAIL FROM:" + from); !strings.HasPrefix(got, want) {
			t.Errorf("MAIL FROM:%s: %s, want %s", from, got, want)
		}
		c.cmd("RSET")
	}
	for _, m := range []struct{ header, want, added string }{
		{"From: Ann <ann@x.test>\nBcc: secret@x.test", "250", ""}, {"From: team@x.test", "250", ""}, {"Subject: no From", "250", ""},
		{"From: boss@x.test", "250", "Sender: ann@x.test"}, {"From: boss@x.test\nSender: ann@x.test", "250", ""}, {"From: boss@x.test\nSender: boss@x.test", "550 5.7.1 <boss@x.test> in Sender", ""},
		{"From: eve@x.test", "550 5.7.1 <eve@x.test> in From", ""}, {"From: ann@x.test, eve@x.test", "550 5.7.1", ""}, {"From: ann@x.test\nFrom: eve@x.test", "550 5.7.1", ""},
		{"From: ann@x.test\nSender: eve@x.test", "550 5.7.1 <eve@x.test> in Sender", ""}, {"From: eve@far.test\nResent-From: eve@x.test", "550 5.7.1", ""}, {"From: broken@x.test", "451 4.3.0", ""},
		{"From: group: ann@x.test;", "250", ""}, {"From: \"ann@x.test\" <eve@x.test>", "550 5.7.1", ""},
	} {
		each(c, "MAIL FROM:<ann@x.test>\nRCPT TO:<bob@x.test>\nDATA")
		got := c.cmd(strings.ReplaceAll(m.header, "\n", "\r\n") + "\r\n\r\nbody\r\n.")
		if !strings.HasPrefix(got, m.want) {
			t.Errorf("%q: %s, want %s", m.header, got, m.want)
		}
		text := w.taken()
		if m.want == "250" && (strings.Contains(text, "|Sender: ann@x.test\n") != strings.Contains(m.header+m.added, "Sender: ann") || strings.Contains(text, "secret@")) {
			t.Errorf("%q became\n%s", m.header, text)
		}
	}
}

// Whoever has not logged in is judged by filters alone.
func TestSenderOfStrangers(t *testing.T) {
	w := start(t, func(c *Config) { c.Auth, c.Sender = Optional, owned })
	c := w.dial()
	c.reply()
	each(c, "EHLO c.test\nMAIL FROM:<eve@x.test>\nRCPT TO:<bob@x.test>\nDATA")
	if got := c.cmd("From: eve@x.test\r\n\r\nx\r\n."); !strings.Contains(got, "250 2.0.0") {
		t.Error(got)
	}
}
