package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const prefsRules = `
required_score 5
report_safe 0
rewrite_header Subject [_SCORE_]
body MONEY /money/
score MONEY 7
header FRIEND eval:check_from_in_welcomelist()
score FRIEND -100
body SMALL /small/
score SMALL 2
clear_headers
add_header all Status _YESNO_, score=_SCORE_ required=_REQD_ tests=_TESTS_
`

// Users' preferences change what their own copies come to: the points, the fields and the
// folder, and nobody else's.
func TestSpamPreferences(t *testing.T) {
	rules := filepath.Join(t.TempDir(), "10.cf")
	check(t, os.WriteFile(rules, []byte(prefsRules), 0o644))
	r := startHouse(t, func(text string) string {
		text = strings.Replace(text, `filter "thresholds" {`, fmt.Sprintf("filter \"spamscore\" \"rules\" { rules = [%q] }\n  filter \"thresholds\" {", rules), 1)
		return strings.Replace(text, "pipeline \"delivery\" {\n", fmt.Sprintf("pipeline \"delivery\" {\n  filter \"spamscore\" \"theirs\" {\n    rules = [%q]\n    preferences = store()\n  }\n  filter \"thresholds\" \"limits\" {}\n", rules), 1)
	})
	for user, text := range map[string]string{"alice": "welcomelist_from *@friend.example\nscore SMALL 1\n", "bob": "required_score 1.5\n"} {
		if out, errs, code := r.mtad(text, "spam", "prefs", "put", user); code != 0 || !strings.Contains(out, "stored the preferences of "+user) {
			t.Fatal(out, errs)
		}
	}
	r.want(t, "required_score 1.5", "spam", "prefs", "get", "bob")
	send := func(to, body string) {
		t.Helper()
		text := "From: x@friend.example\r\nTo: " + to + "@example.test\r\nX-Spam-Status: No, forged\r\nX-Spam-Odd: x\r\nX-Spam-Prev-Subject: forged\r\nSubject: hello\r\n\r\n" + body + "\r\n"
		if _, errs, code := r.mtad(text, "smtp", "send", "--from", "x@friend.example", "--to", to+"@example.test", "--file", "-"); code != 0 {
			t.Fatal(errs)
		}
	}
	for _, x := range []struct{ to, body, folder, score, subject, status string }{
		{"alice", "money", "INBOX", "-93.0", "hello", "X-Spam-Status: No, score=-93.0 required=5.0 tests=FRIEND,MONEY"},
		{"alice", "small money of another", "INBOX", "-92.0", "hello", "X-Spam-Status: No, score=-92.0 required=5.0 tests=FRIEND,MONEY,SMALL"},
		{"bob", "small thing", "Junk", "2.0", "[2.0] hello", "X-Spam-Status: Yes, score=2.0 required=1.5 tests=SMALL"},
		{"carol", "small thing", "INBOX", "2.0", "hello", "X-Spam-Status: No, score=2.0 required=5.0 tests=SMALL"},
		{"carol", "money", "Junk", "7.0", "[7.0] hello", "X-Spam-Status: Yes, score=7.0 required=5.0 tests=MONEY"},
	} {
		send(x.to, x.body)
		r.await(t, "stored in "+x.folder)
		head := r.newest(t, x.to, x.folder)
		if strings.Count(head, "X-Spam-Status:") != 1 || !strings.Contains(head, x.status) || !strings.Contains(head, "X-Spam-Score: "+x.score+"\r\n") || strings.Count(head, "X-Spam-Score:") != 1 || strings.Contains(head, "X-Spam-Odd") {
			t.Errorf("%s %q in %s:\n%s", x.to, x.body, x.folder, head)
		}
		// What marks spam for some is none in the copies of others.
		if kept := strings.Contains(head, "\r\nX-Spam-Prev-Subject: hello\r\n"); !strings.Contains(head, "\r\nSubject: "+x.subject+"\r\n") || strings.Count(head, "Subject:") > 2 || kept != (x.subject != "hello") {
			t.Errorf("%s %q in %s, want Subject %q:\n%s", x.to, x.body, x.folder, x.subject, head)
		}
	}
	if _, errs, code := r.mtad("", "spam", "prefs", "delete", "bob"); code != 0 {
		t.Fatal(errs)
	}
	for _, verb := range []string{"get", "delete"} {
		if _, errs, code := r.mtad("", "spam", "prefs", verb, "bob"); code != exitNoInput || !strings.Contains(errs, "bob has no preferences") {
			t.Errorf("%s without preferences: exit %d: %s", verb, code, errs)
		}
	}
	send("bob", "small thing")
	r.await(t, "stored in INBOX")
	_, errs, code := r.mtad("trusted_networks 192.0.2.0/24\nscore\nbody X /x/\n", "spam", "prefs", "put", "bob")
	if code != exitData || !strings.Contains(errs, "line 2:") || !strings.Contains(errs, "line 3:") {
		t.Errorf("exit %d: %s", code, errs)
	}
}

// newest is the header of the newest message in a folder.
func (r *running) newest(t *testing.T, user, folder string) string {
	t.Helper()
	c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", r.dev.Ports.IMAP))
	check(t, err)
	defer c.Close()
	check(t, c.SetDeadline(time.Now().Add(20*time.Second)))
	_, err = fmt.Fprintf(c, "a LOGIN %s %s\r\nb SELECT %s\r\nc FETCH * BODY.PEEK[HEADER]\r\nd LOGOUT\r\n", user, user, folder)
	check(t, err)
	out, err := io.ReadAll(c)
	check(t, err)
	return string(out)
}
