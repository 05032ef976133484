package smtpd

import (
	"path/filepath"
	"strings"
	"testing"
)

// A client on a socket with a path needs no login, and its mail says where it is
// from; nobody counts its connections by address.
func TestLMTPOnASocket(t *testing.T) {
	w := startOn(t, "unix", filepath.Join(t.TempDir(), "s"), func(c *Config) {
		c.LMTP, c.Auth, c.Limits.PerAddress = true, Required, 1
	})
	first, c := w.dial(), w.dial()
	for _, c := range []*client{first, c} {
		if got := c.reply(); got != "220 mx.test LMTP mtad\n" {
			t.Fatal(got)
		}
	}
	for _, cmd := range []string{"LHLO c.test", "MAIL FROM:<a@b.test>", "RCPT TO:<c@d.test>", "DATA"} {
		if got := c.cmd(cmd); got[0] != '2' && got[0] != '3' {
			t.Fatalf("%s: %s", cmd, got)
		}
	}
	if got := c.cmd("Subject: x\r\n\r\nx\r\n."); got != "250 2.0.0 <c@d.test> Ok: queued [ID]\n" {
		t.Error(got)
	}
	if got := w.taken(); !strings.Contains(got, "from c.test (local socket)") || !strings.Contains(got, "with LMTP id") {
		t.Error(got)
	}
}
