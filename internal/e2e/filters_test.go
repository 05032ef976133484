//go:build e2e

package e2e

import (
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	gomilter "github.com/emersion/go-milter"

	"mtad/internal/mtatest"
)

// marker is a milter, of emersion/go-milter, that adds a field.
type marker struct{ gomilter.NoOpMilter }

func (marker) Body(m *gomilter.Modifier) (gomilter.Response, error) {
	return gomilter.RespAccept, m.AddHeader("X-Marker", "by a milter")
}

func startMarker(t *testing.T) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	serveMarker(t, l)
	return l.Addr().String()
}

func serveMarker(t *testing.T, l net.Listener) {
	t.Helper()
	srv := &gomilter.Server{NewMilter: func() gomilter.Milter { return marker{} }, Actions: gomilter.OptAddHeader, Protocol: gomilter.OptNoBody}
	go srv.Serve(l)
	t.Cleanup(func() { srv.Close() })
}

const houseRule = `function message(msg)
  msg:add_score(0.5, "house")
  msg:add_header("X-House", "seen from " .. msg.client.addr)
end
`

const aliceScript = `require ["fileinto", "imap4flags"];
if header :contains "subject" "report" {
	addflag "\\Flagged";
	fileinto "Reports";
}
`

// everyKind puts a filter of each kind into the pipelines.
func everyKind(t *testing.T) func(*server, string) string {
	milter := startMarker(t)
	return func(s *server, text string) string {
		t.Helper()
		plugin := filepath.Join(s.dir, "urlrep")
		check(t, mtatest.Build(root, plugin, "./examples/urlrep"))
		write(t, filepath.Join(s.dir, "urls.json"), `{"bad.example": 2}`)
		write(t, filepath.Join(s.dir, "house.lua"), houseRule)
		write(t, filepath.Join(s.dir, "house.sieve"), "require \"imap4flags\";\nif header :contains \"subject\" \"forbidden\" { discard; }\n")
		text = replace(`filter "thresholds" {`, `filter "lua" "house" { script = "house.lua" }
  filter "external" "urlrep" {
    path   = "urlrep"
    config = { map = "`+filepath.Join(s.dir, "urls.json")+`" }
  }
  filter "milter" "marker" { connect = "inet:`+milter+`" }
  filter "sieve" "global" { script = "house.sieve" }
  filter "thresholds" {`)(s, text)
		return replace(`filter "spf" { reject = true }`, `filter "spf" { on_fail = score(3) }`)(s, text)
	}
}

func TestEveryKindOfFilter(t *testing.T) {
	t.Parallel()
	s := start(t, everyKind(t))
	script := filepath.Join(s.dir, "alice.sieve")
	write(t, script, aliceScript)
	s.do("sieve", "put", "alice", "main", script)
	s.do("sieve", "activate", "alice", "main")
	mail := filepath.Join(s.dir, "report.eml")
	write(t, mail, letter("eve@forged.test", "alice@example.test", "report 7", "See http://www.bad.example/x"))

	// A listed client that forges a sender, with a bad link: 3 + 4 + 2 and the rest.
	s.do("smtp", "send", "--client", "192.0.2.66", "--from", "eve@forged.test", "--to", "alice@example.test", "--file", mail)
	msg := s.login("alice").await("Reports", 1)[0]
	mustSay(t, msg, "X-Marker: by a milter", "X-House: seen from 192.0.2.66", "X-Spam-Flag: YES")
	mustSay(t, field(msg, "Authentication-Results"), "spf=fail")
	mustSay(t, field(msg, "X-Spam-Status"), "spf_fail=3", "house=0.5", "urlrep=2", "required=6.0")

	out := s.lastSays("stored in Reports")
	for _, step := range []string{"spf", "rbl", "dkim", "local", "house", "urlrep", "marker", "global", "thresholds", "sort", "user", "own"} {
		if !strings.Contains(out, "  "+step+" ") {
			t.Errorf("no step %q in\n%s", step, out)
		}
	}
	mustSay(t, out, "spf=fail", "score 9.5", "X-Marker", "stored in Reports")
	mustSay(t, s.do("filter", "list"), "spf", "milter", "external", "lua", "sieve", "thresholds", "rbl", "dkim")

	// Signed mail from where it may come from passes both checks.
	s.do("smtp", "send", "--client", "192.0.2.10", "--file", filepath.Join(s.dir, "mail/good.eml"))
	mustSay(t, field(s.one("alice"), "Authentication-Results"), "spf=pass", "dkim=pass")
	if out, code := s.mtad("smtp", "send", "--client", "192.0.2.66", "--from", "a@forged.test", "--to", "alice@example.test", "--subject", "http://bad.example", "--body", "http://bad.example"); code != 0 {
		t.Errorf("exit %d\n%s", code, out)
	}
	mustSay(t, s.login("alice").await("Junk", 1)[0], "X-Spam-Flag: YES")
}

// A forged mail is refused with a reason that people can read, and the reply's
// ID leads to the whole story.
func TestForgedMail(t *testing.T) {
	t.Parallel()
	s := start(t)
	out, code := s.mtad("smtp", "send", "--client", "203.0.113.5", "--file", filepath.Join(s.dir, "mail/forged.eml"))
	if code != 1 {
		t.Errorf("exit %d, want 1", code)
	}
	mustSay(t, out, "550 5.7.23 SPF: boss@forged.test may not be sent from 203.0.113.5 [")
	s.says(idIn(t, out), "spf", "reject", "spf=fail smtp.mailfrom=boss@forged.test", "203.0.113.5")
	if n := s.login("alice").count("INBOX"); n != 0 {
		t.Errorf("alice has %d messages", n)
	}
}

func (s *server) sendSubject(subject string) (string, int) {
	return s.mtad("smtp", "send", "--server", local(s.SMTP), "--from", "ann@good.test", "--to", "alice@example.test", "--subject", subject)
}

// A rule acts on the message after its change, without a reload.
func TestRuleAtOnce(t *testing.T) {
	t.Parallel()
	s := start(t)
	alice := s.login("alice")
	s.sendSubject("invoice 1")
	alice.await("INBOX", 1)
	s.change("rules/sort.lua", `-- if msg.subject:lower():find("invoice"`, `if msg.subject:lower():find("invoice"`)
	s.change("rules/sort.lua", `-- if msg.subject:lower():find("lottery"`, `if msg.subject:lower():find("lottery"`)
	s.sendSubject("invoice 2")
	mustSay(t, alice.await("Invoices", 1)[0], "Subject: invoice 2")
	out, code := s.sendSubject("the lottery")
	if code != 1 || !strings.Contains(out, "No lotteries, please") {
		t.Errorf("exit %d\n%s", code, out)
	}
	s.change("rules/sort.lua", "function deliver", "function function deliver") // broken: what was goes on
	s.sendSubject("invoice 3")
	alice.await("Invoices", 2)
}

func TestReload(t *testing.T) {
	t.Parallel()
	s := start(t)
	alice := s.login("alice")
	before := read(t, s.config())

	s.change("mtad.hcl", `filter "thresholds"`, `filter "treshholds"`)
	out, code := s.mtad("reload")
	if code != 78 {
		t.Errorf("exit %d, want 78", code)
	}
	mustSay(t, out, "mtad.hcl:", `"treshholds"`, `did you mean "thresholds"`)
	if !strings.Contains(out, fmt.Sprintf("mtad.hcl:%d:", lineOf(before, `filter "thresholds"`))) {
		t.Errorf("the position is not there:\n%s", out)
	}
	s.sendSubject("while broken")
	mustSay(t, alice.await("INBOX", 1)[0], "Subject: while broken")

	house := replace(`filter "thresholds"`, `filter "lua" "house" { script = "house.lua" }
  filter "thresholds"`)
	write(t, filepath.Join(s.dir, "house.lua"), houseRule)
	write(t, s.config(), house(s, before))
	mustSay(t, s.do("reload"), "reloaded")
	s.sendSubject("reloaded")
	mustSay(t, alice.await("INBOX", 2)[1], "X-House: seen from 127.0.0.1")

	write(t, s.config(), before)
	s.proc.Signal(syscall.SIGHUP)
	eventually(t, "a reload by SIGHUP", timeLimit, func() bool {
		s.sendSubject("hung up")
		last := latest(alice)
		return field(last, "Subject") == "hung up" && field(last, "X-House") == ""
	})

	// SIGHUP with a broken file changes nothing.
	write(t, s.config(), before+"nonsense {\n")
	s.proc.Signal(syscall.SIGHUP)
	s.proc.Await(t, "the old configuration stays in force")
	if out, code := s.sendSubject("still there"); code != 0 {
		t.Errorf("exit %d\n%s", code, out)
	}
	if out, code := s.mtad("config", "check"); code != 78 {
		t.Errorf("config check: exit %d\n%s", code, out)
	}
}

func latest(m *mailbox) string {
	msgs := m.fetch("INBOX")
	return msgs[len(msgs)-1]
}

// lineOf is the number of the first line that has text.
func lineOf(s, text string) int {
	i := strings.Index(s, text)
	return strings.Count(s[:i], "\n") + 1
}

// A filter whose process dies is a fault, and the next message finds another.
func TestExternalFilterDies(t *testing.T) {
	t.Parallel()
	s := start(t, everyKind(t))
	send := func() (string, int) { return s.sendSubject("to a dead filter") }
	if out, code := send(); code != 0 {
		t.Fatalf("exit %d\n%s", code, out)
	}
	killChild(t, s)
	eventually(t, "a new process of the filter", timeLimit, func() bool { _, code := send(); return code == 0 })
	mustSay(t, latest(s.login("alice")), "to a dead filter")
}

// killChild kills the program that the server started.
func killChild(t *testing.T, s *server) {
	t.Helper()
	pid := s.proc.Cmd.Process.Pid
	var children []string
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, f := range tasks {
		children = append(children, strings.Fields(read(t, f))...)
	}
	if err != nil || len(children) == 0 {
		t.Fatalf("no child of %d: %v", pid, err)
	}
	var child int
	_, err = fmt.Sscan(children[0], &child)
	check(t, err)
	check(t, syscall.Kill(child, syscall.SIGKILL))
}
