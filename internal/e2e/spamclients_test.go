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

// clientRules are the rules of a listener for spamd's clients.
const clientRules = `required_score 5
report_safe 0
clear_headers
add_header all Status "_YESNO_, score=_SCORE_ required=_REQD_ tests=_TESTS_"
clear_report_template
report _SCORE_ of _REQD_ by _TESTS_
body VIAGRA_ /viagra/i
score VIAGRA_ 7.5
header HELLO_ Subject =~ /hello/i
score HELLO_ 1.25
`

// spamdHouse is a server with a listener for spamd's clients.
type spamdHouse struct {
	*server
	socket string
	port   int // of one that nobody is allowed to ask
	dir    string
}

func startSpamd(t *testing.T, edits ...func(*server, string) string) *spamdHouse {
	t.Helper()
	h := &spamdHouse{dir: mtatest.OpenDir(t), port: freePort(t)}
	h.socket = filepath.Join(h.dir, "spamd.sock")
	rules := filepath.Join(h.dir, "10.cf")
	write(t, rules, clientRules)
	check(t, os.Chmod(rules, 0o644))
	h.server = start(t, append(edits, func(_ *server, text string) string {
		return text + fmt.Sprintf(`
pipeline "judged" {
  filter "spamscore" { rules = [%q] }
}
listener "spamd" {
  protocol    = "spamd"
  addr        = ["unix:%s"]
  socket_mode = "0666"
  pipeline    = "judged"
}
listener "elsewhere" {
  protocol   = "spamd"
  addr       = ["127.0.0.1:%d"]
  pipeline   = "judged"
  allow      = ["192.0.2.0/24"]
  allow_tell = true
}
`, rules, h.socket, h.port)
	})...)
	return h
}

const spammed = "Yes, score=8.8 required=5.0 tests=HELLO_,VIAGRA_"

// spamass-milter asks by spamc, for this server and its own pipeline.
func TestSpamassMilterAsksHere(t *testing.T) {
	t.Parallel()
	program(t, "spamass-milter")
	dir := mtatest.OpenDir(t)
	socket := filepath.Join(dir, "spamd.sock")
	milter := mtatest.SpamassMilter(t, socket, "-r", "15")
	s := startSpamd(t, withMilter("inbound", milter))
	check(t, os.Symlink(s.socket, socket))
	const to = "alice@example.test"
	for i, c := range [][2]string{{"Buy viagra", spammed}, {"How are you?", "No, score=1.2 required=5.0 tests=HELLO_"}} {
		check(t, submit(t, local(s.SMTP), "ann@good.test", []string{to}, letter("ann@good.test", to, "hello", c[0])))
		if got := field(s.login("alice").await("INBOX", i+1)[i], "X-Spam-Status"); got != c[1] {
			t.Errorf("%q, want %q", got, c[1])
		}
	}
}

const eximSpamConf = `exim_path = BIN
exim_user = nobody
exim_group = nogroup
spool_directory = DIR/spool
log_file_path = DIR/spool/%slog
primary_hostname = exim.test
dns_ipv4_lookup = *
keep_environment =
spamd_address = ASKED
acl_smtp_rcpt = accept
acl_smtp_data = judge
begin acl
judge:
  accept spam = nobody:true
    condition = ${if <{$spam_score_int}{50}}
    add_header = X-Exim: $spam_score/$spam_score_int/$spam_bar/$spam_action
  deny message = $spam_score of ${length_20:$spam_report}
begin routers
here:
  driver = accept
  transport = here
begin transports
here:
  driver = appendfile
  file = DIR/spool/mbox
  user = nobody
  group = nogroup
`

// Exim's condition "spam" is decided here as by spamd itself.
func TestEximSpam(t *testing.T) {
	t.Parallel()
	exim, libraries := mtatest.Unpacked(t, root, "exim", "usr/sbin/exim4")
	mtatest.NeedRoot(t, "Exim delivers as another user")
	s := startSpamd(t)
	stock := mtatest.OpenDir(t)
	for name, text := range map[string]string{"rules/10.cf": clientRules, "site/init.pre": "loadplugin Mail::SpamAssassin::Plugin::Check\n", "site/local.cf": ""} {
		check(t, os.MkdirAll(filepath.Join(stock, filepath.Dir(name)), 0o755))
		write(t, filepath.Join(stock, name), text)
		check(t, os.Chmod(filepath.Join(stock, name), 0o644))
	}
	theirs := mtatest.Spamd(t, "-C", stock+"/rules", "--siteconfigpath="+stock+"/site", "--socketmode=0666")
	said := map[string]string{}
	for name, asked := range map[string]string{"here": s.socket, "spamd": theirs} {
		dir := mtatest.OpenDir(t)
		check(t, os.Mkdir(filepath.Join(dir, "spool"), 0o755))
		must(t, "chown", "nobody:nogroup", filepath.Join(dir, "spool"))
		conf := filepath.Join(dir, "exim.conf")
		write(t, conf, strings.NewReplacer("DIR", dir, "BIN", exim, "ASKED", asked).Replace(eximSpamConf))
		check(t, os.Chmod(conf, 0o644))
		dialogue := "EHLO client.test\r\n"
		for _, body := range []string{"How are you?", "Buy viagra"} {
			dialogue += "MAIL FROM:<ann@good.test>\r\nRCPT TO:<alice@exim.test>\r\nDATA\r\nFrom: ann@good.test\r\nSubject: hello\r\n\r\n" + body + "\r\n.\r\n"
		}
		out, code := run(t, dialogue+"QUIT\r\n", dir, "/usr/bin/env", libraries, exim, "-C", conf, "-odi", "-bs")
		if code != 0 {
			t.Fatalf("Exim: exit %d\n%s", code, out)
		}
		mustSay(t, out, "250 OK id=", "550 8.8 of 8.8 of 5.0 by HELLO_")
		said[name] = field(strings.ReplaceAll(read(t, filepath.Join(dir, "spool", "mbox")), "\n", "\r\n"), "X-Exim")
	}
	if said["here"] != said["spamd"] || said["here"] == "" {
		t.Errorf("here %q, by spamd %q", said["here"], said["spamd"])
	}
}

// procmail puts mail through spamc, and files it by what that adds.
func TestProcmailSpamc(t *testing.T) {
	t.Parallel()
	procmail, spamc := program(t, "procmail"), program(t, "spamc")
	s := startSpamd(t)
	dir := t.TempDir()
	rc := filepath.Join(dir, "rc")
	write(t, rc, fmt.Sprintf("MAILDIR=%s\nDEFAULT=%s/inbox\n:0fw\n| %s -U %s\n:0:\n* ^X-Spam-Status: Yes\njunk\n", dir, dir, spamc, s.socket))
	for _, body := range []string{"How are you?", "Buy viagra"} {
		if out, code := run(t, "From: ann@good.test\nSubject: hello\n\n"+body+"\n", dir, procmail, "-m", rc); code != 0 {
			t.Fatalf("procmail: exit %d\n%s", code, out)
		}
	}
	mustSay(t, read(t, filepath.Join(dir, "inbox")), "X-Spam-Status: No, score=1.2 required=5.0 tests=HELLO_\n", "How are you?")
	mustSay(t, read(t, filepath.Join(dir, "junk")), "X-Spam-Status: "+spammed+"\n", "Buy viagra")
}

// Who may not ask may not teach, with allow_tell or without.
func TestTellFromElsewhere(t *testing.T) {
	t.Parallel()
	spamc := program(t, "spamc")
	s := startSpamd(t)
	for _, args := range [][]string{{"-d", "127.0.0.1", "-p", fmt.Sprint(s.port)}, {"-U", s.socket}} {
		if out, code := run(t, "Subject: x\n\nviagra\n", "", append([]string{spamc, "-L", "spam"}, args...)...); code == 0 {
			t.Errorf("spamc %q: %s", args, out)
		}
	}
	mustSay(t, s.do("spam", "stats"), "0          0          0  non-token data: nspam")
	s.proc.Await(t, "spamd: client not allowed")
	s.proc.Await(t, "allow_tell")
}

// What a recipient's own rules have said before the reply is kept through kill -9, whatever
// they want meanwhile. Mail that is held is judged by them when it goes.
func TestPreferencesSurvive(t *testing.T) {
	t.Parallel()
	program(t, "python3")
	dir := mtatest.OpenDir(t)
	rules := filepath.Join(dir, "10.cf")
	write(t, rules, clientRules)
	check(t, os.Chmod(rules, 0o644))
	s := start(t, func(s *server, text string) string {
		write(t, filepath.Join(s.dir, "fates.lua"), fates)
		text = replace("  filter \"thresholds\" {", fmt.Sprintf("  filter \"spamscore\" { rules = [%q] }\n  filter \"lua\" \"fates\" { script = \"fates.lua\" }\n  filter \"thresholds\" {", rules))(s, text)
		return replace("pipeline \"delivery\" {\n", fmt.Sprintf("pipeline \"delivery\" {\n  filter \"spamscore\" \"theirs\" {\n    rules = [%q]\n    preferences = store()\n  }\n  filter \"thresholds\" \"limits\" {}\n", rules))(s, text)
	})
	prefs := filepath.Join(dir, "prefs")
	put := func(text string) {
		write(t, prefs, text)
		s.do("spam", "prefs", "put", "alice@example.test", prefs)
	}
	send := func(subject string) {
		all := []string{"alice@example.test", "bob@example.test"}
		check(t, submit(t, local(s.SMTP), "ann@good.test", all, letter("ann@good.test", all[0], subject, "How are you?")))
	}
	put("required_score 1\n")
	send("hello, hold me")
	list := func() string { return s.do("queue", "list") }
	eventually(t, "it is held", timeLimit, func() bool { return strings.Contains(list(), "held") })
	release := lockDatabase(t, s)
	send("hello")
	s.proc.Kill()
	release()
	write(t, rules, clientRules+"score HELLO_ 9\n") // who is judged now, has this
	check(t, os.Chmod(rules, 0o644))
	s.start()
	put("score HELLO_ 0.5\n")
	mustSay(t, list(), "held", "<alice@example.test>", "<bob@example.test>")
	s.do("queue", "release", "ALL")
	status := func(msg string) string { return field(msg, "X-Spam-Status") }
	if got := status(s.login("alice").await("Junk", 1)[0]); got != "Yes, score=1.2 required=1.0 tests=HELLO_" {
		t.Errorf("alice, before the reply: %q", got)
	}
	if got := status(s.login("alice").await("INBOX", 1)[0]); got != "No, score=0.5 required=5.0 tests=HELLO_" {
		t.Errorf("alice, released: %q", got)
	}
	for _, msg := range s.login("bob").await("INBOX", 2) {
		if got := status(msg); got != "No, score=1.2 required=5.0 tests=HELLO_" {
			t.Errorf("bob: %q", got)
		}
	}
}
