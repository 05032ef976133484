//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"mtad/pipeline"
)

// What pflogsumm, mailgraph and fail2ban read from our log is what our traces say.
func TestPostfixLog(t *testing.T) {
	for _, p := range []string{"swaks", "pflogsumm", "mailgraph", "fail2ban-regex", "curl"} {
		program(t, p)
	}
	s := start(t, func(_ *server, text string) string { return "log_format = \"postfix\"\n" + text })
	stranger := []string{"--helo", "client.example", "--from", "carol@else.example"}
	for _, to := range []string{"bob@example.test", "alice@example.test,bob@example.test", "nobody@example.test"} {
		swaks(t, s.SMTP, append(stranger, "--to", to)...)
	}
	swaks(t, s.SMTP, append(stranger, "--xclient", "ADDR=192.0.2.77", "--to", "x@elsewhere.example")...)
	sent(t, s.Submissions, "--tls-on-connect", "--auth", "PLAIN", "--auth-user", "alice@example.test", "--auth-password", "alice",
		"--from", "alice@example.test", "--to", "dave@far.example")
	swaks(t, s.Submissions, "--tls-on-connect", "--auth", "LOGIN", "--auth-user", "alice@example.test", "--auth-password", "wrong", "--to", "bob@example.test")
	run(t, "", s.dir, "curl", "-sk", "--login-options", "AUTH=PLAIN", "-u", "alice@example.test:wrong", fmt.Sprintf("imaps://127.0.0.1:%d/", s.IMAPS))
	log := func() string { return s.proc.Out.String() }
	eventually(t, "all deliveries are logged", timeLimit, func() bool {
		return strings.Count(log(), "status=sent") == 4 && strings.Contains(log(), "imap-login: Aborted")
	})
	path := filepath.Join(s.dir, "mail.log")
	write(t, path, log())

	want := count(t, s.do("trace", "last", "-n", "100", "-o", "json"))
	report := must(t, "pflogsumm", path)
	for what, n := range want {
		if !regexp.MustCompile(fmt.Sprintf(`(?m)^ +%d +%s`, n, what)).MatchString(report) {
			t.Errorf("not %d %s in\n%s", n, what, report)
		}
	}
	out := must(t, "mailgraph", "--cat", "--verbose", "--logfile", path, "--daemon-rrd", s.dir, "--rrd-name", filepath.Join(s.dir, "mailgraph"))
	rrd, err := filepath.Glob(filepath.Join(s.dir, "mailgraph*.rrd"))
	if err != nil || len(rrd) == 0 {
		t.Errorf("mailgraph wrote no database: %v\n%s", err, out)
	}
	for filter, wanted := range map[string]int{"postfix[mode=auth]": 1, "postfix[mode=normal]": 2, "postfix[mode=aggressive]": 3, "dovecot": 1} {
		out, _ := run(t, "", s.dir, "fail2ban-regex", path, filter)
		if !regexp.MustCompile(fmt.Sprintf(`, %d matched,`, wanted)).MatchString(out) {
			t.Errorf("%s: not %d matched in\n%s", filter, wanted, out)
		}
	}
	if t.Failed() {
		t.Log(log())
	}
}

// count counts in trace records what pflogsumm counts in a log.
func count(t *testing.T, text string) map[string]int {
	t.Helper()
	var traces []struct{ Events []pipeline.Event }
	check(t, json.Unmarshal([]byte(text), &traces))
	n := map[string]int{}
	for _, tr := range traces {
		size := 0
		for _, e := range tr.Events {
			switch {
			case e.Kind == pipeline.EventTaken:
				n["received"]++
				size = int(e.Size)
				n["bytes received"] += size
			case e.Kind == pipeline.EventMail && e.Rcpt != "" && e.Reply != "250":
				n["rejected"]++
			case e.Kind == pipeline.EventDeliver, e.Kind == pipeline.EventRelay && e.Action == "delivered":
				n["delivered"]++
				n["bytes delivered"] += size
			}
		}
	}
	return n
}
