//go:build e2e

package e2e

import (
	"strings"
	"testing"
)

// What users may say they are, with swaks as their mail program: the login's own
// address, its details and personal aliases, and what is granted.
func TestSwaksSender(t *testing.T) {
	t.Parallel()
	program(t, "swaks")
	s := start(t)
	s.do("alias", "add", "ally@example.test", "alice@example.test")
	s.do("alias", "add", "all@example.test", "alice@example.test", "bob@example.test")
	submit := func(from, header string) (out string, code int) {
		return swaks(t, s.Submission, "--tls", "--auth", "PLAIN", "--auth-user", "alice", "--auth-password", "alice",
			"--from", from, "--to", "carol@example.test", "--header", "From: "+header, "--header", "Bcc: secret@example.test", "--header", "Subject: as "+header)
	}
	refused := func(want string, from, header string) {
		t.Helper()
		if out, code := submit(from, header); code == 0 || !strings.Contains(out, want) {
			t.Errorf("from %s, %s: exit %d, want %s\n%s", from, header, code, want, out)
		}
	}
	taken := 0
	accepted := func(from, header string) string {
		t.Helper()
		if out, code := submit(from, header); code != 0 {
			t.Fatalf("from %s, %s: exit %d\n%s", from, header, code, out)
		}
		taken++
		got := s.mail("carol", taken)[taken-1]
		if strings.Contains(got, "secret@") {
			t.Errorf("a blind copy is told:\n%s", got)
		}
		return got
	}
	const own = "alice@example.test"
	accepted(own, own)
	accepted("alice+lists@example.test", "Alice <ally@example.test>")
	refused("553 5.7.1 <bob@example.test>: Sender address rejected: not owned by user alice@example.test", "bob@example.test", own)
	refused("553 5.7.1", "all@example.test", own)
	refused("553 5.7.1", "alice@far.test", own)
	refused("550 5.7.1 <bob@example.test> in From is not owned by user alice@example.test", own, "bob@example.test")

	s.do("user", "grant", "alice", "all@example.test")
	accepted("all@example.test", "all@example.test")
	s.do("user", "grant", "alice", "bob@example.test", "--on-behalf")
	mustSay(t, accepted(own, "Bob <bob@example.test>"), "Sender: alice@example.test\r\n", "From: Bob <bob@example.test>")
	s.do("user", "revoke", "alice", "all@example.test")
	refused("553 5.7.1", "all@example.test", own)
	s.do("user", "grant", "alice", "*")
	accepted("anybody@far.test", "Anybody <x@nowhere.test>")
}

// A site's tables, with swaks from outside: virtual aliases, patterns, relocated
// addresses, canonical names and copies.
func TestSwaksTables(t *testing.T) {
	t.Parallel()
	program(t, "swaks")
	s := start(t, func(s *server, text string) string {
		for name, rows := range map[string]string{
			"virtual": "sales@shop.test alice@example.test, bob@example.test\n@old.test @example.test\n", "patterns": "/^(.+)-owner@lists\\.test$/ $1@example.test\n",
			"relocated": "gone@example.test new@far.test\n", "canonical": "www@web.example.test webmaster@example.test\n", "transport": "bad.test error:5.7.1 not from here\n",
		} {
			write(t, s.dir+"/"+name, rows)
		}
		text = replace("mydestination =", `virtual_alias_maps    = ["file:virtual", "regexp:patterns"]
virtual_alias_domains = ["shop.test", "old.test", "lists.test"]
relocated_maps        = "file:relocated"
transport_maps        = "file:transport"
mydestination =`)(s, text)
		return replace(`filter "thresholds"`, `filter "rewrite" { canonical_maps = "file:canonical" }
  filter "bcc" { recipient_bcc_maps = { "bob@example.test" = "carol@example.test", "sales@shop.test" = "carol@example.test" } }
  filter "thresholds"`)(s, text)
	})
	send := func(to, from string) (string, int) {
		return swaks(t, s.SMTP, "--to", to, "--from", from, "--header", "From: "+from, "--header", "To: "+to)
	}
	for _, to := range []string{"sales@shop.test", "alice+x@old.test", "bob-owner@lists.test"} {
		if out, code := send(to, "www@web.example.test"); code != 0 {
			t.Errorf("%s: exit %d\n%s", to, code, out)
		}
	}
	for to, want := range map[string]string{
		"nobody@shop.test": "550 5.1.1", "x-nothing@lists.test": "550 5.1.1", "gone@example.test": "550 5.1.6 User has moved to new@far.test", "x@bad.test": "550 5.7.1 not from here",
	} {
		if out, code := send(to, "ann@good.test"); code == 0 || !strings.Contains(out, want) {
			t.Errorf("%s: exit %d, want %s\n%s", to, code, want, out)
		}
	}
	mustSay(t, strings.Join(s.mail("alice", 2), "\n"), "Return-Path: <webmaster@example.test>", "From: webmaster@example.test")
	s.mail("bob", 2)
	s.mail("carol", 1)

	// A file that changes counts at once, without a reload; what is broken leaves
	// what was there.
	write(t, s.dir+"/virtual", "sales@shop.test carol@example.test\n")
	s.lastUntil("sales@shop.test", "carol@example.test")
	write(t, s.dir+"/patterns", "/(/ broken\n")
	eventually(t, "the broken file is told of", timeLimit, func() bool {
		mustSay(t, s.do("alias", "expand", "bob-owner@lists.test"), "bob@example.test") // as before
		return strings.Contains(s.proc.Out.String(), "lookup table changed, and can not be used") && strings.Contains(s.proc.Out.String(), "patterns:1:")
	})
	if out, code := s.mtad("reload"); code != 78 || !strings.Contains(out, "patterns:1:") {
		t.Errorf("reload: exit %d %s", code, out)
	}
	s.do("status")
}

// lastUntil waits until an address leads to another.
func (s *server) lastUntil(address, to string) {
	s.t.Helper()
	eventually(s.t, address+" leads to "+to, timeLimit, func() bool { return strings.TrimSpace(s.do("alias", "expand", address)) == to })
}
