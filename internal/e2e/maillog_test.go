//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	gosmtp "github.com/emersion/go-smtp"

	"mtad/internal/mtatest"
	"mtad/trace/report"
)

// fates are rules that hold and discard mail by its subject.
const fates = `
function message(msg)
  local subject = msg:header("Subject") or ""
  if subject:find("hold me") then msg:hold("somebody looks at it") end
  if subject:find("drop me") then msg:discard() end
end
`

// everyFate has a server whose mail goes to a hop, and all that can happen to mail
// happen to some.
func everyFate(t *testing.T, hop *mtatest.Hop) *server {
	return start(t, func(s *server, text string) string {
		write(t, filepath.Join(s.dir, "fates.lua"), fates)
		text = replace(`to       = ["`+local(s.Sink)+`"]`, `to = ["`+hop.Addr+`"]`)(s, text)
		text = replace("  filter \"thresholds\" {", "  filter \"lua\" \"fates\" { script = \"fates.lua\" }\n  filter \"thresholds\" {")(s, text)
		return "log_format = \"postfix\"\nretry_schedule = [\"1s\"]\n" + text
	})
}

// fickleHop takes mail for most, puts off some first, and refuses them later.
func fickleHop(t *testing.T) *mtatest.Hop {
	var later, never atomic.Int32
	no := func(code, class int, text string) *gosmtp.SMTPError {
		return &gosmtp.SMTPError{Code: code, EnhancedCode: gosmtp.EnhancedCode{class, 2, 0}, Message: text}
	}
	return mtatest.StartHop(t, "127.0.0.1:0", func(rcpt string) *gosmtp.SMTPError {
		switch {
		case strings.HasPrefix(rcpt, "later") && later.Add(1) == 1, strings.HasPrefix(rcpt, "never") && never.Add(1) == 1:
			return no(450, 4, "Come again (soon)")
		case strings.HasPrefix(rcpt, "never"), strings.HasPrefix(rcpt, "gone"):
			return no(550, 5, "Gone fishing")
		}
		return nil
	})
}

// mixedHour sends it.
func mixedHour(t *testing.T, s *server) {
	s.activate("carol", `redirect "carol@home.example";`)
	from := func(who string, args ...string) {
		swaks(t, s.SMTP, append([]string{"--helo", "client.example", "--from", who}, args...)...)
	}
	user := func(args ...string) {
		sent(t, s.Submissions, append([]string{"--tls-on-connect", "--auth", "PLAIN", "--auth-user", "alice@example.test", "--auth-password", "alice", "--from", "alice@example.test"}, args...)...)
	}
	from("carol@else.example", "--to", "bob@example.test")
	from("carol@else.example", "--to", "alice@example.test,bob@example.test")
	from("Dan@Else.Example", "--to", "carol@example.test") // is redirected
	from("<>", "--to", "bob@example.test")
	from("carol@else.example", "--to", "nobody@example.test")
	from("carol@else.example", "--to", "bob@example.test,nobody@example.test")
	from("carol@else.example", "--xclient", "ADDR=192.0.2.77", "--to", "x@elsewhere.example")
	from("eve@forged.test", "--xclient", "ADDR=192.0.2.66", "--to", "bob@example.test")
	from("carol@else.example", "--to", "bob@example.test", "--header", "Subject: hold me")
	from("carol@else.example", "--to", "bob@example.test", "--header", "Subject: drop me")
	user("--to", "dave@far.example")
	if out, code := run(t, letter("ann@here.example", "bob@example.test", "by hand", "x"), "", mtadPath, "-c", s.config(), "sendmail", "-f", "ann@here.example", "bob@example.test"); code != 0 {
		t.Fatalf("sendmail: exit %d %s", code, out)
	}
	user("--to", "later@far.example,erin@other.example")
	user("--to", "never@far.example")
	user("--to", "gone@far.example")
	s.do("smtp", "send", "--client", "192.0.2.10", "--file", filepath.Join(s.dir, "mail", "good.eml"))
	swaks(t, s.Submissions, "--tls-on-connect", "--auth", "LOGIN", "--auth-user", "alice@example.test", "--auth-password", "wrong", "--to", "bob@example.test")
	for _, password := range []string{"wrong", "alice"} {
		run(t, "", s.dir, "curl", "-sk", "--login-options", "AUTH=PLAIN", "-u", "alice@example.test:"+password, fmt.Sprintf("imaps://127.0.0.1:%d/", s.IMAPS))
	}
}

// totals reads pflogsumm's grand totals.
func totals(t *testing.T, text string) map[string]int64 {
	t.Helper()
	out := map[string]int64{}
	for line := range strings.Lines(text) {
		m := regexp.MustCompile(`^ +(\d+)([km]?) +([a-z/ ]+?)(?: +\((\d+) +deferrals\)| +\(\d+%\))?$`).FindStringSubmatch(strings.TrimRight(line, "\n"))
		if m == nil {
			continue
		}
		n, err := strconv.ParseInt(m[1], 10, 64)
		check(t, err)
		if m[4] != "" {
			more, err := strconv.ParseInt(m[4], 10, 64)
			check(t, err)
			out["deferrals"] = more
		}
		if _, ok := out[m[3]]; !ok {
			out[m[3]] = n
		}
	}
	return out
}

// What pflogsumm, mailgraph and fail2ban read from our log is what our traces say.
func TestPostfixLog(t *testing.T) {
	t.Parallel()
	for _, p := range []string{"swaks", "pflogsumm", "mailgraph", "fail2ban-regex", "curl"} {
		program(t, p)
	}
	s := everyFate(t, fickleHop(t))
	mixedHour(t, s)
	log := func() string { return s.proc.Out.String() }
	eventually(t, "everything has come to its end", timeLimit, func() bool {
		text := log()
		return strings.Count(text, "status=bounced") == 2 && strings.Count(text, "non-delivery notification") == 2 &&
			strings.Count(text, "imap-login: ") == 2 && strings.Count(text, ": removed\n") == 14 &&
			strings.Count(text, "]: connect from ") == strings.Count(text, "]: disconnect from ")
	})
	path := filepath.Join(s.dir, "mail.log")
	write(t, path, log())
	var r report.Report
	check(t, json.Unmarshal([]byte(s.do("report", "1h", "-o", "json")), &r))
	if !slices.ContainsFunc(r.Attention, func(a report.Attention) bool { return a.Command == "mtad queue list --status held" }) {
		t.Errorf("nothing of what is held in %+v", r.Attention)
	}
	agreesWithPflogsumm(t, must(t, "pflogsumm", path), &r)
	mailgraphCounts(t, s, path, &r)
	for filter, wanted := range map[string]int{"postfix[mode=auth]": 1, "postfix[mode=normal]": 3, "dovecot": 1} {
		out, _ := run(t, "", s.dir, "fail2ban-regex", path, filter)
		if !regexp.MustCompile(fmt.Sprintf(`, %d matched,`, wanted)).MatchString(out) {
			t.Errorf("%s: not %d matched in\n%s", filter, wanted, out)
		}
	}
	mustSay(t, log(), "connect from mail.good.test[192.0.2.10]", "ehlo=1 mail=1 rcpt=0/1 quit=1 commands=3/4", "auth=0/1",
		"postfix/pickup[", "from=<ann@here.example>", "postfix/cleanup[", "hold: END-OF-MESSAGE from localhost[127.0.0.1]: somebody looks at it; from=<carol@else.example>",
		"imap-login: Login: user=<alice@example.test>, method=PLAIN, rip=127.0.0.1, lip=127.0.0.1, TLS", "(auth failed, 1 attempts in ")
	logCommands(t, s)
	if t.Failed() {
		t.Log(log())
	}
}

// agreesWithPflogsumm compares the grand totals.
func agreesWithPflogsumm(t *testing.T, text string, r *report.Report) {
	t.Helper()
	got := totals(t, text)
	n := r.Totals
	for what, want := range map[string]int64{
		"received": n.Received, "delivered": n.Delivered, "forwarded": n.Forwarded, "deferred": n.Deferred, "deferrals": n.Deferrals,
		"bounced": n.Bounced, "rejected": n.Rejected, "held": n.Held, "discarded": n.Discarded,
		"bytes received": n.BytesReceived, "bytes delivered": n.BytesDelivered,
		"senders": n.Senders, "sending hosts/domains": n.SendingDomains, "recipients": n.Recipients, "recipient hosts/domains": n.RecipientDomains,
	} {
		if got[what] != want || want == 0 {
			t.Errorf("%s: pflogsumm counts %d, mtad report %d", what, got[what], want)
		}
	}
	// And each name's.
	for head, list := range map[string][]report.Entry{
		"Senders by message count": r.SendersByCount, "Recipients by message count": r.RecipientsByCount,
		"Senders by message size": r.SendersBySize, "Recipients by message size": r.RecipientsBySize,
	} {
		_, rest, _ := strings.Cut(text, head+"\n")
		_, rest, _ = strings.Cut(rest, "\n")
		section, _, _ := strings.Cut(rest, "\n\n")
		if lines := strings.Count(section+"\n", "\n"); lines != len(list) {
			t.Errorf("%s: %d names, not %d:\n%s", head, len(list), lines, section)
		}
		for _, e := range list {
			count := e.Count
			if strings.HasSuffix(head, "size") {
				count = e.Bytes
			}
			name := strings.Replace(e.Name, "<>", "from=<>", 1)
			if !regexp.MustCompile(fmt.Sprintf(`(?m)^ *%d +%s$`, count, regexp.QuoteMeta(name))).MatchString(section) {
				t.Errorf("%s: no %d %s in\n%s", head, count, name, section)
			}
		}
	}
	if t.Failed() {
		t.Logf("pflogsumm says\n%s", text)
	}
}

// mailgraphCounts reads what mailgraph puts into its database, minute by minute.
func mailgraphCounts(t *testing.T, s *server, path string, r *report.Report) {
	t.Helper()
	// It writes a minute when a later one begins.
	end := time.Now().Add(5*time.Minute).Format(time.Stamp) + " mx postfix/smtpd[1]: F00: client=end[192.0.2.1]\n"
	whole := filepath.Join(s.dir, "ended.log")
	write(t, whole, read(t, path)+end)
	out := must(t, "mailgraph", "--cat", "--verbose", "--logfile", whole, "--daemon-rrd", s.dir, "--rrd-name", filepath.Join(s.dir, "mailgraph"))
	var sum [4]int64 // sent, received, bounced, rejected
	for _, m := range regexp.MustCompile(`(?m)^update \d+:(\d+):(\d+):(\d+):(\d+):`).FindAllStringSubmatch(out, -1) {
		for i := range sum {
			n, err := strconv.ParseInt(m[i+1], 10, 64)
			check(t, err)
			sum[i] += n
		}
	}
	var smtp int64 // mailgraph counts as sent what went to other hosts
	for _, d := range r.Domains {
		if d.Name != "example.test" {
			smtp += d.Delivered
		}
	}
	const handedIn = 1 // as with Postfix it counts nothing that pickup takes
	want := [4]int64{smtp, r.Totals.Received - handedIn, r.Totals.Bounced, r.Totals.Rejected + r.Totals.Discarded}
	if sum != want {
		t.Errorf("mailgraph counts %v, mtad report %v\n%s", sum, want, out)
	}
	if rrd, err := filepath.Glob(filepath.Join(s.dir, "mailgraph*.rrd")); err != nil || len(rrd) == 0 {
		t.Errorf("mailgraph wrote no database: %v\n%s", err, out)
	}
}

// logCommands asks the server for its log.
func logCommands(t *testing.T, s *server) {
	t.Helper()
	id := regexp.MustCompile(`([0-9A-F]{16}): message-id=`).FindStringSubmatch(s.proc.Out.String())
	if id == nil {
		t.Fatal("no message in the log")
	}
	found := s.do("log", "search", "--id", id[1])
	mustSay(t, found, ": client=", "status=sent", ": removed")
	if n := strings.Count(found, "\n"); n != strings.Count(found, id[1]) {
		t.Errorf("lines of others:\n%s", found)
	}
	if one := s.do("log", "search", "--address", "192.0.2.77", "reject"); strings.Count(one, "\n") != 1 {
		t.Errorf("not the one refusal:\n%s", one)
	}
	out, code := s.mtad("log", "search", "--level", "error")
	if code != 1 || !strings.Contains(out, "journalctl -u mtad") {
		t.Errorf("exit %d: %s", code, out)
	}
	follower := spawn(t, "", mtadPath, "-c", s.config(), "log", "tail", "-f", "-n", "1000", "--address", "frank@else.example")
	sent(t, s.SMTP, "--from", "frank@else.example", "--to", "bob@example.test")
	follower.Await(t, ": from=<frank@else.example>, size=")
	if tail := s.do("log", "tail", "-n", "3", "-o", "ndjson"); strings.Count(tail, "\n") != 3 {
		t.Errorf("not three lines:\n%s", tail)
	}
}

// Lines go to a real rsyslogd, which puts those of facility mail where it would,
// and still do when it has been restarted.
func TestSyslog(t *testing.T) {
	t.Parallel()
	for _, p := range []string{"rsyslogd", "swaks", "pflogsumm"} {
		program(t, p)
	}
	dir, err := os.MkdirTemp("", "syslog") // short enough for a socket
	check(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket, file := filepath.Join(dir, "log"), filepath.Join(dir, "mail.log")
	write(t, filepath.Join(dir, "conf"), `
module(load="imuxsock" SysSock.Use="off")
input(type="imuxsock" Socket="`+socket+`" RateLimit.Interval="0")
mail.* action(type="omfile" file="`+file+`" template="RSYSLOG_TraditionalFileFormat")
`)
	daemon := func() *mtatest.Process {
		p := spawn(t, dir, program(t, "rsyslogd"), "-n", "-f", filepath.Join(dir, "conf"), "-i", filepath.Join(dir, "pid"))
		p.AwaitSocket(t, "unixgram", socket)
		return p
	}
	first := daemon()
	s := newServer(t, func(_ *server, text string) string {
		return "log_format = \"postfix\"\nlog_to = \"syslog:" + socket + "\"\n" + text
	})
	s.startWaiting(func() bool {
		b, err := os.ReadFile(file)
		return err == nil && strings.Contains(string(b), "postfix/mtad[") && strings.Contains(string(b), ": serving config=")
	}, mtadPath)
	mail := []string{"--helo", "client.example", "--from", "carol@else.example", "--to", "bob@example.test"}
	logged := func(n int) {
		t.Helper()
		eventually(t, fmt.Sprintf("%d messages are logged", n), timeLimit, func() bool {
			b, err := os.ReadFile(file)
			return err == nil && strings.Count(string(b), ": removed\n") == n
		})
	}
	sent(t, s.SMTP, mail...)
	logged(1)
	first.Stop(time.Second)
	sent(t, s.SMTP, mail...) // is not kept waiting
	daemon()
	sent(t, s.SMTP, mail...)
	logged(3)
	if got := totals(t, must(t, "pflogsumm", file)); got["received"] != 3 || got["delivered"] != 3 {
		t.Errorf("pflogsumm counts %v in\n%s", got, read(t, file))
	}
	if out, code := s.mtad("log", "search", "no such line"); code != 1 || !strings.Contains(out, "syslog daemon") {
		t.Errorf("exit %d: %s", code, out)
	}
}

// volatileLog is what the lines of two servers differ in, whatever they are.
var volatileLog = []struct {
	pattern *regexp.Regexp
	to      string
}{
	{regexp.MustCompile(`(?m)^[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d \S+ `), ""},
	{regexp.MustCompile(`\[\d+\]: `), ": "},
	{regexp.MustCompile(`\b[0-9A-F]{11,16}: `), "ID: "},
	{regexp.MustCompile(`message-id=<[^>]*>`), "message-id=<M>"},
	{regexp.MustCompile(`size=\d+`), "size=N"}, // trace fields of different length
	{regexp.MustCompile(`relay=\S+, delay=.*status=deferred.*`), "status=deferred"},
}

// The same mail through Postfix leaves the same lines.
func TestLogBesidePostfix(t *testing.T) {
	t.Parallel()
	for _, p := range []string{"postfix", "swaks"} {
		program(t, p)
	}
	port := freePort(t) // where nobody listens
	etc, addrs := mtatest.PostfixWith(t, "", local(port), "")
	s := start(t, func(s *server, text string) string { return "log_format = \"postfix\"\n" + toHop(port)(s, text) })
	lines := func(text string) string {
		for _, v := range volatileLog {
			text = v.pattern.ReplaceAllString(text, v.to)
		}
		var out []string
		for line := range strings.Lines(text) {
			if strings.HasPrefix(line, "postfix/") && !strings.Contains(line, "connect to ") && !strings.HasPrefix(line, "postfix/master") && !strings.HasPrefix(line, "postfix/mtad") {
				out = append(out, line)
			}
		}
		slices.Sort(out) // programs do not wait for one another
		return strings.Join(out, "")
	}
	logs := map[string]func() string{
		addrs[0]:      func() string { return read(t, filepath.Join(etc, "..", "maillog")) },
		local(s.SMTP): func() string { return s.proc.Out.String() },
	}
	got := map[string]string{}
	for addr, log := range logs {
		before := len(log())
		swaks := []string{program(t, "swaks"), "--server", addr, "--helo", "client.example", "--from", "alice@example.test", "--to", "ann@far.example"}
		run(t, "", "", swaks...)
		run(t, "", "", append(swaks, "--quit-after", "MAIL")...)
		eventually(t, "the end of it", timeLimit, func() bool {
			return strings.Count(log()[before:], ": disconnect from ") == 2 && strings.Contains(log()[before:], "status=deferred")
		})
		got[addr] = lines(log()[before:])
	}
	if theirs, ours := got[addrs[0]], got[local(s.SMTP)]; theirs != ours {
		t.Errorf("Postfix logs\n%s\nwe log\n%s", theirs, ours)
	}
}
