//go:build e2e

package e2e

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
)

// What an administrator sees: stories as they happen, metrics, and the queue.
func TestSeeing(t *testing.T) {
	t.Parallel()
	s := start(t, toHop(freePort(t))) // nobody listens there
	live := spawn(t, "", mtadPath, "-c", s.config(), "trace", "live")
	eventually(t, "a story as it happens", timeLimit, func() bool {
		s.sendSubject("look at me")
		return strings.Contains(live.Out.String(), "stored in INBOX")
	})
	resp, err := http.Get("http://" + local(s.HTTP) + "/metrics")
	check(t, err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	check(t, err)
	mustSay(t, string(b), `step="spf"`, "go_goroutines", "queue")

	check(t, submit(t, local(s.SMTP), "alice@example.test", []string{"a@far.test", "b@other.test"}, letter("alice@example.test", "a@far.test", "stuck", "x")))
	var items []map[string]any
	eventually(t, "two deferred items", timeLimit, func() bool {
		out := s.do("queue", "list", "--status", "deferred", "-o", "json")
		check(t, json.Unmarshal([]byte(out), &items))
		return len(items) == 2
	})
	mustSay(t, s.do("queue", "delete", "--to", "@other.test", "--dry-run"), "1 recipient")
	mustSay(t, s.do("queue", "delete", "--to", "@other.test"), "1 recipient of 1 message deleted")
	if out := s.do("queue", "list"); strings.Contains(out, "b@other.test") || !strings.Contains(out, "a@far.test") {
		t.Errorf("queue list:\n%s", out)
	}
	mustSay(t, s.do("status"), "queue 1 recipient", "mx", "imaps")
}

// A new account works at once, and one that is disabled no more.
func TestAccounts(t *testing.T) {
	t.Parallel()
	s := start(t)
	out, code := run(t, "secret word\n", "", mtadPath, "-c", s.config(), "user", "add", "dora@example.test", "--password-stdin")
	if code != 0 {
		t.Fatalf("user add: exit %d\n%s", code, out)
	}
	mustSay(t, s.do("user", "list"), "dora@example.test", "alice@example.test")
	login := []string{"smtp", "send", "--server", local(s.Submission), "--tls", "--from", "dora@example.test", "--to", "dora@example.test", "--auth"}
	if out, code := s.mtad(append(login, "dora@example.test:secret word")...); code != 0 {
		t.Errorf("dora can not send: exit %d\n%s", code, out)
	}
	if out, code := s.mtad(append(login, "dora@example.test:wrong")...); code != 1 || !strings.Contains(out, "535 5.7.8") {
		t.Errorf("a wrong password: exit %d\n%s", code, out)
	}
	s.do("user", "disable", "dora@example.test")
	if out, code := s.mtad(append(login, "dora@example.test:secret word")...); code != 1 || !strings.Contains(out, "535") {
		t.Errorf("a disabled account: exit %d\n%s", code, out)
	}
}
