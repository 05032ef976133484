//go:build e2e

package e2e

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"regexp"
	"strings"
	"testing"
	"time"

	"mtad/internal/mtatest"
)

// relayAttempts are what testers of open relays, and those they protect from, ask a
// server to take. far.test is nobody's here; example.test and mx.example.test are
// local, backup.test and all below .sub.test are relay_domains.
var relayAttempts = []string{
	// Plain, and as people type.
	"<victim@far.test>", "victim@far.test", "< victim@far.test >", "<victim@FAR.TEST>", "<victim@far.test.>", "<victim@far.test..>",
	"<VICTIM@Far.Test>", "<victim@[far.test]>", "<victim @far.test>", "<victim@ far.test>", "<<victim@far.test>>", "<victim@far.test",
	"Victim <victim@far.test>", "<victim@far.test> <alice@example.test>", "<alice@example.test,victim@far.test>", "<victim@far.test>,<alice@example.test>",
	// The percent hack and bang paths, by way of us, of what is ours, and of those we relay for.
	"<victim%far.test@example.test>", "<victim%far.test@mx.example.test>", "<victim%far.test>", "<victim%far.test@localhost>", "<victim%far.test@[127.0.0.1]>",
	"<victim%far.test%example.test@example.test>", "<victim%far.test@backup.test>", "<victim%far.test@x.sub.test>", "<victim%far.test@far.test>",
	"<far.test!victim>", "<far.test!victim@example.test>", "<example.test!far.test!victim>", "<far.test!victim@backup.test>", "<backup.test!far.test!victim@far.test>",
	"<far.test!victim%example.test@backup.test>", "<victim.far.test!x@x.sub.test>",
	// Two at signs, and quoted local-parts.
	"<victim@far.test@example.test>", "<victim@example.test@far.test>", "<alice@example.test@far.test>", `<"victim@far.test"@example.test>`, `<"victim@far.test">`,
	`<"victim@far.test"@mx.example.test>`, `<"victim@far.test"@backup.test>`, `<"victim%far.test"@example.test>`, `<"victim%far.test"@backup.test>`,
	`<"victim"@far.test>`, `<"vic\tim"@far.test>`, `<victim\@far.test@example.test>`, `<"far.test!victim"@backup.test>`, `<"@far.test:victim"@example.test>`,
	`<"alice@example.test"@far.test>`, `<"">`, `<""@far.test>`,
	// Source routes (RFC 5321, C: to be ignored).
	"<@example.test:victim@far.test>", "<@example.test,@far.test:victim@far.test>", "<@mx.example.test:victim@far.test>", "<@[127.0.0.1]:victim@far.test>",
	"<@far.test:victim@far.test>", "<@backup.test:victim@far.test>", "<@example.test:victim%far.test@example.test>", "<@far.test:@example.test:victim@far.test>",
	"@example.test:victim@far.test", "<@example.test:\"victim@far.test\"@backup.test>", "<@example.test victim@far.test>",
	// Address literals: others', ours, and odd ones.
	"<victim@[192.0.2.1]>", "<victim@[IPv6:2001:db8::1]>", "<victim@[2001:db8::1]>", "<victim@192.0.2.1>", "<victim%far.test@[192.0.2.1]>", "<victim@[127.0.0.1]>",
	"<victim@[IPv6:::1]>", "<victim@[IPv6:::ffff:127.0.0.1]>", "<victim@[127.0.0.1>", "<victim@127.0.0.1]>", "<victim@[127.1]>", "<victim@2130706433>", "<victim@[0x7f000001]>",
	"<victim@[tag:far.test]>",
	// Domains that look like ours.
	"<victim@example.test.far.test>", "<alice@example.test.far.test>", "<victim@notexample.test>", "<victim@xbackup.test>", "<victim@backup.test.far.test>", "<victim@x.backup.test>",
	"<victim@sub.test>", "<victim@xsub.test>", "<victim@.sub.test>", "<victim@x.sub.test.far.test>", "<victim@x-sub.test>", "<victim@example.tes>", "<victim@test>", "<victim@com>",
	"<victim@sub.example.test>", "<alice@mail.example.test>", "<victim@localhost.far.test>",
	// Internationalized: UTF-8, A-labels, lookalikes, and what case folding or normalizing might make ours.
	"<victim@bücher.test> SMTPUTF8", "<victim@bücher.test>", "<victim@xn--bcher-kva.test>", "<víctim@far.test>", "<victim@exаmple.test>", "<victim@ｅｘａｍｐｌｅ.test>",
	"<victim@example。test>", "<victim@bac\u212aup.test>", "<victim@x.\u017fub.test>", "<victim@far.test\u200b>",
	// Missing, null, and broken.
	"<>", "<@>", "<victim@>", "<@far.test>", "<@far.test:>", "<victim@@far.test>", "<.@far.test>", "<..@far.test>", "<victim@-far.test>", "<victim@far_.test>",
	"<victim@far.test>\x00", "<victim@far.test\x00@example.test>", "<victim@far.test\r@example.test>", "<victim@far.test\n", "<victim@far.test;@example.test>",
	"<victim#far.test@far.test>", "<victim@far.test#@example.test>", "<|/bin/cat@far.test>", "</tmp/file@far.test>", "<victim+x@far.test>", "<postmaster@far.test>", "<abuse@far.test>",
}

// relaySenders are reverse-paths that a server might be fooled by.
var relaySenders = []string{
	"<spam@evil.test>", "<>", "<alice@example.test>", "<postmaster@mx.example.test>", "<x@localhost>", "<x@[127.0.0.1]>", "<victim@far.test>", "<x@backup.test>",
	"<spam@evil.test> AUTH=alice@example.test", "<alice@example.test> AUTH=<>",
}

// denied is an answer that takes nothing: relay is denied, or nobody has the
// address, or it is none.
var denied = regexp.MustCompile(`^(550 5\.7\.1 Relay access denied|550 5\.1\.1 |501 5\.1\.[37] |501 5\.5\.|500 5\.5\.2 |553 5\.6\.7 |555 5\.5\.4 )`)

// A client is nobody that may relay: from each listener, by each way to be a
// stranger.
func TestRelayControl(t *testing.T) {
	t.Parallel()
	hop := mtatest.StartHop(t, local(freePort(t)), nil)
	s := start(t, func(s *server, text string) string {
		text = replace("mydestination =", `mynetworks = ["127.0.0.9"]
soft_error_limit = 100000
hard_error_limit = 100000
relay_domains = ["backup.test", ".sub.test"]
mydestination =`)(s, text)
		return replace(local(s.Sink), hop.Addr)(s, text)
	})
	t.Run("clients", func(t *testing.T) {
		for name, hello := range map[string][]string{
			"a loopback address outside mynetworks": {"EHLO evil.test"},
			"HELO":                                  {"HELO example.test"},
			"a stranger":                            {"EHLO evil.test", "XCLIENT ADDR=192.0.2.66 NAME=[UNAVAILABLE]", "EHLO mx.example.test"},
			"a stranger with our name":              {"EHLO evil.test", "XCLIENT ADDR=192.0.2.66 NAME=localhost", "EHLO localhost"},
			"a stranger by IPv6":                    {"EHLO evil.test", "XCLIENT ADDR=IPV6:2001:db8::66", "EHLO [127.0.0.1]"},
			"after a login that failed":             {"EHLO evil.test", "AUTH PLAIN AGFsaWNlAHdyb25n"},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				c, err := dialFrom(net.IPv4(127, 0, 0, 8), s.SMTP)
				check(t, err)
				defer c.Close()
				tryRelay(t, c, hello)
			})
		}
		t.Run("submission", func(t *testing.T) {
			t.Parallel()
			c, err := dialFrom(net.IPv4(127, 0, 0, 8), s.Submission)
			check(t, err)
			defer c.Close()
			tryLoggedOut(t, c)
		})
		t.Run("submissions", func(t *testing.T) {
			t.Parallel()
			c, err := dialFrom(net.IPv4(127, 0, 0, 8), s.Submissions)
			check(t, err)
			defer c.Close()
			tryLoggedOut(t, tls.Client(c, s.tlsConfig()))
		})
	})
	if out := s.do("queue", "list", "-o", "ndjson"); strings.TrimSpace(out) != "" {
		t.Errorf("the queue is not empty:\n%s", out)
	}
	if d := hop.Deliveries(); len(d) > 0 {
		t.Errorf("relayed: %+v", d)
	}
	for _, user := range []string{"alice", "bob", "carol"} {
		if n := s.login(user).count("INBOX"); n > 0 {
			t.Errorf("%s has %d messages", user, n)
		}
	}
}

// tryRelay tries every sender and every recipient, and DATA after them.
func tryRelay(t *testing.T, c net.Conn, hello []string) {
	r, err := talk(c, append(hello, "NOOP")...)
	check(t, err)
	say := func(line string) string {
		_, err := io.WriteString(c, line+"\r\n")
		check(t, err)
		text, err := answer(r)
		check(t, err)
		return text
	}
	_, err = answer(r)
	check(t, err)
	tried := 0
	for _, from := range relaySenders {
		if got := say("MAIL FROM:" + from); !strings.HasPrefix(got, "250") {
			continue // refused already: so much the better
		}
		for _, to := range relayAttempts {
			answers := 1 + strings.Count(to, "\n") // which ends a command too
			got := say("RCPT TO:" + to)
			for range answers - 1 {
				_, err = answer(r)
				check(t, err)
			}
			if tried++; !denied.MatchString(got) {
				t.Errorf("MAIL FROM:%s, RCPT TO:%s is answered %q", from, to, got)
			}
		}
		if got := say("DATA"); !strings.HasPrefix(got, "554 5.5.1") {
			t.Fatalf("DATA without recipients is answered %q", got)
		}
		say("RSET")
	}
	t.Logf("%d recipients refused", tried)
}

// tryLoggedOut tries to relay where a login is demanded.
func tryLoggedOut(t *testing.T, c net.Conn) {
	check(t, c.SetDeadline(time.Now().Add(timeLimit)))
	r, err := talk(c, "EHLO evil.test")
	check(t, err)
	_, err = answer(r)
	check(t, err)
	for _, from := range relaySenders {
		for _, line := range []string{"MAIL FROM:" + from, "RCPT TO:<victim@far.test>", "DATA", "BDAT 0 LAST"} {
			_, err := fmt.Fprintf(c, "%s\r\n", line)
			check(t, err)
			got, err := answer(r)
			check(t, err)
			if want := map[string]string{"M": "530 5.7.0", "R": "503 5.5.1", "D": "503 5.5.1", "B": "503 5.5.1"}[line[:1]]; !strings.HasPrefix(got, want) {
				t.Errorf("%s is answered %q, want %s", line, got, want)
			}
		}
	}
}
