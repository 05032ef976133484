//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mtad/internal/mtatest"
)

// withRoutes adds routes for the domains of other people's mail stores.
func withRoutes(routes map[string]string) func(*server, string) string {
	return func(_ *server, text string) string {
		table := ""
		for domain, to := range routes {
			name := strings.TrimSuffix(domain, ".test")
			text += fmt.Sprintf("\nroute %q {\n  protocol = \"lmtp\"\n  to = [%q]\n}\n", name, to)
			table += fmt.Sprintf("  %q = %q\n", domain, name)
		}
		return strings.Replace(text, "relayhost =", "transport_maps = {\n"+table+"}\nrelayhost =", 1)
	}
}

// Mail goes to the LMTP servers of others, by TCP and by a socket; each recipient
// has a fate of its own.
func TestLMTPToStores(t *testing.T) {
	t.Parallel()
	for name, store := range map[string]func() *mtatest.LMTPStore{
		"Dovecot": func() *mtatest.LMTPStore { return mtatest.Dovecot(t) },
		"Cyrus":   func() *mtatest.LMTPStore { return mtatest.Cyrus(t, root) },
	} {
		t.Run(name, func(t *testing.T) {
			st := store()
			s := start(t, withRoutes(map[string]string{"tcp.test": st.Addr, "unix.test": "unix:" + st.Socket}))
			route, _ := s.mtad("route", "test", "alice@unix.test")
			mustSay(t, route, "alice@unix.test  lmtp to unix:"+st.Socket)
			for _, domain := range []string{"tcp.test", "unix.test"} {
				mark := "for " + domain
				to := []string{"alice@" + domain, "bob@" + domain}
				check(t, submit(t, local(s.SMTP), "carol@example.test", to, letter("carol@example.test", to[0], mark, "Hello.")))
				for _, where := range []string{"alice", "bob"} {
					if name == "Cyrus" {
						where = "" // it names folders by numbers
					}
					eventually(t, mark, timeLimit, func() bool { return st.Has(t, where, "Subject: "+mark) })
				}
				s.lastSays("alice@"+domain, "bob@"+domain, "delivered")
			}
			if name == "Cyrus" {
				return
			}
			to := []string{"alice@unix.test", "full@unix.test", "nobody@unix.test"}
			check(t, submit(t, local(s.SMTP), "carol@example.test", to, letter("carol@example.test", to[0], "three fates", "Hello.")))
			eventually(t, "alice's mail", timeLimit, func() bool { return st.Has(t, "alice", "Subject: three fates") })
			report := strings.Join(s.mail("carol", 1), "")
			mustSay(t, report, "<full@unix.test>", "<nobody@unix.test>", "Status: 5.2.2", "Status: 5.1.1", "Remote-MTA: dns; unix")
			if strings.Contains(report, "<alice@unix.test>\r\n    host") {
				t.Errorf("alice has her mail, and the report says\n%s", report)
			}
		})
	}
}

// lmtpListener has dev mode's LMTP listener on a socket too.
func lmtpListener(s *server, text string) string {
	addr := `"` + local(s.LMTP) + `"`
	text = replace(addr, addr+`, "unix:`+filepath.Join(s.dir, "lmtp.sock")+`"`)(s, text)
	return replace("  protocol = \"lmtp\"\n", "  protocol = \"lmtp\"\n  socket_mode = \"0666\"\n")(s, text)
}

// startLMTP is a server whose bob refuses spam.
func startLMTP(t *testing.T) *server {
	s := start(t, lmtpListener)
	check(t, os.Chmod(s.dir, 0o755))
	s.activate("bob", `require "reject"; if header :contains "subject" "spam" { reject "I do not want that"; }`)
	return s
}

// swaks sees two recipients of opposite fates, and nobody hears of it otherwise.
func TestSwaksLMTP(t *testing.T) {
	t.Parallel()
	program(t, "swaks")
	s := startLMTP(t)
	args := []string{"--protocol", "LMTP", "--from", "carol@example.test", "--to", "alice@example.test,bob@example.test,nobody@example.test,x@far.test", "--header", "Subject: spam"}
	for n, at := range [][]string{{"--server", "127.0.0.1", "--port", fmt.Sprint(s.LMTP)}, {"--socket", filepath.Join(s.dir, "lmtp.sock")}} {
		out, _ := run(t, "", "", append(append([]string{program(t, "swaks"), "--timeout", "20"}, at...), args...)...)
		mustSay(t, out, "220 mx.example.test LMTP mtad", "250 2.0.0 <alice@example.test> Ok", "550 5.7.1 <bob@example.test> I do not want that",
			"550 5.1.1 No such user here", "550 5.7.1 Relay access denied")
		msgs := s.mail("alice", n+1)
		mustSay(t, msgs[n], "with LMTP id", []string{"[127.0.0.1]", "(local socket)"}[n])
	}
	if n := s.login("bob").count("INBOX") + s.login("carol").count("INBOX"); n != 0 {
		t.Errorf("%d messages too many", n)
	}
	if out := strings.TrimSpace(s.do("queue", "list", "-o", "ndjson")); out != "" {
		t.Errorf("the queue is not empty:\n%s", out)
	}
}

// A dialogue by telnet: LHLO alone, and an answer for each.
func TestTelnetLMTP(t *testing.T) {
	t.Parallel()
	expect := program(t, "expect")
	program(t, "telnet")
	s := startLMTP(t)
	script := strings.NewReplacer("PORT", fmt.Sprint(s.LMTP), `say "helo localhost" 250`, "say \"helo localhost\" 500\nsay \"lhlo localhost\" 250",
		`say "rcpt to:root@localhost" 250`, `say "rcpt to:alice@example.test" 250`+"\n"+`say "rcpt to:bob@example.test" 250`,
		`say "." 250`, `say "." 250`+"\n"+`expect -re "550 5.7.1 <bob\[^\n\]*\n"`,
		"Hello from telnet.", `Subject: spam\r\rHello.`).Replace(seed)
	path := filepath.Join(s.dir, "lmtp.exp")
	write(t, path, script)
	out := must(t, expect, path)
	mustSay(t, out, "550 5.7.1 <bob@example.test> I do not want that", "250 2.0.0 <alice@example.test>")
	mustSay(t, s.one("alice"), "Subject: spam")
}

// Postfix's lmtp(8) delivers by TCP and to the socket, and tells the sender who
// refused.
func TestPostfixLMTP(t *testing.T) {
	t.Parallel()
	program(t, "postfix")
	s := startLMTP(t)
	hosts := map[string]string{"tcp": "inet:" + local(s.LMTP), "unix": "unix:" + filepath.Join(s.dir, "lmtp.sock")}
	for name, to := range hosts {
		_, addrs := mtatest.PostfixWith(t, "default_transport = lmtp:"+to+"\n", local(s.LMTP), "")
		mark := "spam by " + name
		all := []string{"alice@example.test", "bob@example.test"}
		check(t, submit(t, addrs[0], "carol@example.test", all, letter("carol@example.test", all[0], mark, "Hello.")))
		mustHave(t, s.login("alice"), mark)
		mustHave(t, s.login("carol"), mark)
		mustSay(t, strings.Join(s.login("carol").fetch("INBOX"), ""), "Final-Recipient: rfc822; bob@example.test", "550 5.7.1 <bob@example.test>")
	}
	if n := s.login("bob").count("INBOX"); n != 0 {
		t.Errorf("bob has %d messages", n)
	}
}

const eximConf = `exim_path = BIN
exim_user = nobody
exim_group = nogroup
deliver_drop_privilege = true
spool_directory = DIR/spool
log_file_path = DIR/spool/%slog
primary_hostname = exim.test
never_users =
dns_ipv4_lookup = *
keep_environment =
begin routers
out:
  driver = manualroute
  route_list = * 127.0.0.1
  self = send
  transport = out
begin transports
out:
  driver = smtp
  protocol = lmtp
  port = PORT
`

// Exim's LMTP delivers, and bounces for who refused.
func TestEximLMTP(t *testing.T) {
	t.Parallel()
	exim, libraries := mtatest.Unpacked(t, root, "exim", "usr/sbin/exim4")
	mtatest.NeedRoot(t, "Exim delivers as another user")
	s := startLMTP(t)
	dir := mtatest.OpenDir(t)
	check(t, os.Mkdir(filepath.Join(dir, "spool"), 0o755))
	must(t, "chown", "nobody:nogroup", filepath.Join(dir, "spool"))
	conf := filepath.Join(dir, "exim.conf")
	write(t, conf, strings.NewReplacer("DIR", dir, "BIN", exim, "PORT", fmt.Sprint(s.LMTP)).Replace(eximConf))
	check(t, os.Chmod(conf, 0o644))
	letter := "From: carol@example.test\nSubject: spam by Exim\n\nHello.\n"
	out, code := run(t, letter, dir, "/usr/bin/env", libraries, exim, "-C", conf, "-odf", "-i", "-f", "carol@example.test", "alice@example.test", "bob@example.test")
	if code != 0 {
		t.Fatalf("Exim: exit %d\n%s", code, out)
	}
	log := read(t, filepath.Join(dir, "spool", "mainlog"))
	mustSay(t, log, "=> alice@example.test", "** bob@example.test", "550 5.7.1 <bob@example.test> I do not want that")
	mustSay(t, s.one("alice"), "spam by Exim", "with LMTP id")
	mustSay(t, s.one("carol"), "I do not want that")
}
