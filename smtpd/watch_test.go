package smtpd

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"mtad/pipeline"
)

// Who watches connections is told how each began and ended, and of what came.
func TestWatch(t *testing.T) {
	events := make(chan pipeline.Event, 10)
	w := start(t, func(c *Config) {
		c.Watch = func(e pipeline.Event) { events <- e }
		c.XClient = func(netip.Addr) bool { return true }
		c.Names = func(context.Context, netip.Addr) (string, string, bool) { return "mail.a.test", "mail.a.test", false }
		c.Auth = Optional
	})
	for _, tc := range []struct {
		lines, how, commands string
	}{
		{"EHLO a.test\nMAIL FROM:<a@a.test>\nRCPT TO:<nobody@x.test>\nRCPT TO:<b@x.test>\nWHAT\nQUIT", "quit", "ehlo=1 mail=1 rcpt=1/2 quit=1 unknown=0/1 commands=4/6"},
		{"EHLO a.test\nAUTH PLAIN AGEAYg==", "lost connection after AUTH", "ehlo=1 auth=0/1 commands=1/2"},
		{"", "lost connection after CONNECT", "commands=0/0"},
		{"GET / HTTP/1.0", "too many errors after UNKNOWN", "unknown=1 commands=1"},
	} {
		c := w.dial()
		c.reply()
		if tc.lines != "" {
			for line := range strings.SplitSeq(tc.lines, "\n") {
				c.cmd(line)
			}
		}
		c.Close()
		began, ended := <-events, <-events
		if began.Action != "" || !strings.HasSuffix(began.Note, pipeline.VerifiedName+"mail.a.test") {
			t.Errorf("began as %+v", began)
		}
		if got := strings.Join(ended.Mods, " "); ended.Host != began.Host || ended.Action != tc.how || got != tc.commands {
			t.Errorf("%q ended %q with %q, want %q with %q", tc.lines, ended.Action, got, tc.how, tc.commands)
		}
	}
	c := w.dial()
	c.reply()
	c.cmd("XCLIENT ADDR=192.0.2.9")
	c.cmd("QUIT")
	var seen []string
	for range 4 {
		e := <-events
		addr, _, _ := strings.Cut(e.Host, ":")
		seen = append(seen, fmt.Sprintf("%s %s", addr, e.Action))
	}
	if got := strings.Join(seen, ", "); got != "127.0.0.1 , 127.0.0.1 quit, 192.0.2.9 , 192.0.2.9 quit" {
		t.Errorf("with XCLIENT: %s", got)
	}
}

// A refusal before MAIL stands in the trace of its session once.
func TestSessionRefusalOnce(t *testing.T) {
	traces := make(chan pipeline.Trace, 10)
	w := start(t, func(c *Config) { c.Trace = func(t pipeline.Trace) { traces <- t } })
	c := w.dial()
	c.reply()
	c.cmd("EHLO helo-reject.test")
	c.cmd("EHLO a.test")
	n := 0
	for _, e := range (<-traces).Events {
		if e.Kind == pipeline.EventReply {
			n++
		}
	}
	if n != 1 {
		t.Errorf("%d replies", n)
	}
}
