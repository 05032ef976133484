//go:build e2e

package e2e

import (
	"fmt"
	"strings"
	"testing"
)

// swaks runs it against a server; it may be refused.
func swaks(t *testing.T, port int, args ...string) (out string, code int) {
	t.Helper()
	all := append([]string{program(t, "swaks"), "--server", "127.0.0.1", "--port", fmt.Sprint(port), "--timeout", "20"}, args...)
	return run(t, "", "", all...)
}

// sent checks that swaks could send.
func sent(t *testing.T, port int, args ...string) string {
	t.Helper()
	out, code := swaks(t, port, args...)
	if code != 0 {
		t.Fatalf("swaks: exit %d\n%s", code, out)
	}
	return out
}

func TestSwaks(t *testing.T) {
	t.Parallel()
	program(t, "swaks")
	s := start(t)
	alice := s.login("alice")
	n := 0
	arrives := func(t *testing.T, want ...string) {
		t.Helper()
		n++
		msgs := alice.await("INBOX", n)
		mustSay(t, msgs[n-1], want...)
	}
	from := []string{"--from", "ann@good.test", "--to", "alice@example.test"}
	login := []string{"--from", "alice@example.test", "--to", "alice@example.test", "--auth-user", "alice@example.test", "--auth-password", "alice"}
	t.Run("plain", func(t *testing.T) {
		sent(t, s.SMTP, append(from, "--body", "by plain SMTP")...)
		arrives(t, "by plain SMTP", "with ESMTP id")
	})
	t.Run("STARTTLS", func(t *testing.T) {
		out := sent(t, s.SMTP, append(from, "--tls", "--tls-ca-path", s.dir+"/ca.pem", "--tls-verify", "--tls-sni", "localhost")...)
		mustSay(t, out, "TLS started with cipher TLSv1.3")
		arrives(t, "with ESMTPS id")
	})
	for _, mech := range []string{"PLAIN", "LOGIN"} {
		t.Run("submission "+mech, func(t *testing.T) {
			out := sent(t, s.Submission, append(login, "--tls", "--auth", mech)...)
			mustSay(t, out, "AUTH "+mech)
			arrives(t, "with ESMTPSA id")
		})
	}
	t.Run("submissions", func(t *testing.T) {
		sent(t, s.Submissions, append(login, "--tls-on-connect", "--auth", "PLAIN")...)
		arrives(t, "with ESMTPSA id")
	})
	t.Run("wrong password", func(t *testing.T) {
		out, code := swaks(t, s.Submissions, "--tls-on-connect", "--auth", "PLAIN", "--auth-user", "alice@example.test", "--auth-password", "wrong", "--to", "bob@example.test")
		if code != 28 {
			t.Errorf("exit %d", code)
		}
		mustSay(t, out, "535 5.7.8")
	})
	t.Run("no login", func(t *testing.T) {
		out, _ := swaks(t, s.Submission, "--to", "bob@example.test", "--from", "alice@example.test")
		mustSay(t, out, "530 5.7.0")
	})
}

// What the addresses of a domain mean, and who may send where.
func TestSwaksAddresses(t *testing.T) {
	t.Parallel()
	program(t, "swaks")
	s := start(t)
	s.do("alias", "add", "sales@example.test", "bob@example.test", "carol@example.test")
	s.do("domain", "add", "all.test")
	s.do("alias", "add", "@all.test", "carol@example.test")
	stranger := []string{"--xclient", "ADDR=192.0.2.10", "--from", "ann@good.test"}
	for _, c := range []struct{ to, want string }{
		{"nobody@example.test", "550 5.1.1"},
		{"someone@elsewhere.test", "550 5.7.1"},
		{"nobody+detail@example.test", "550 5.1.1"},
	} {
		out, code := swaks(t, s.SMTP, append(stranger, "--to", c.to)...)
		if code != 24 || !strings.Contains(out, "<** "+c.want) {
			t.Errorf("%s: exit %d, want a refusal %s\n%s", c.to, code, c.want, out)
		}
		idIn(t, out)
	}
	for _, c := range []struct {
		to    string
		users []string
	}{
		{"alice+news@example.test", []string{"alice"}},
		{"ALICE@Example.Test", []string{"alice"}},
		{"postmaster@example.test", []string{"alice"}},
		{"abuse@example.test", []string{"alice"}},
		{"postmaster", []string{"alice"}},
		{"sales@example.test", []string{"bob", "carol"}},
		{"anyone.at.all@all.test", []string{"carol"}},
	} {
		mark := "for " + c.to
		sent(t, s.SMTP, append(stranger, "--to", c.to, "--header", "Subject: "+mark)...)
		for _, u := range c.users {
			mustHave(t, s.login(u), mark)
		}
	}
	for user, n := range map[string]int{"alice": 5, "bob": 1, "carol": 2} {
		if got := s.login(user).count("INBOX"); got != n {
			t.Errorf("%s has %d messages, want %d", user, got, n)
		}
	}
}

// mustHave waits for a message with that text.
func mustHave(t *testing.T, m *mailbox, mark string) {
	t.Helper()
	eventually(t, mark, timeLimit, func() bool {
		return strings.Contains(strings.Join(m.fetch("INBOX"), ""), mark)
	})
}
