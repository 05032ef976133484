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

	"mtad/internal/mtatest"
)

// A listener with protocol = "spamd" asks the rules of its pipeline's filter, after a
// reload the new ones.
func TestSpamdListener(t *testing.T) {
	socket := filepath.Join(mtatest.OpenDir(t), "spamd.sock")
	rules := filepath.Join(t.TempDir(), "10.cf")
	write := func(score string) {
		check(t, os.WriteFile(rules, []byte("body MONEY /money/\nscore MONEY "+score+"\n"), 0o644))
	}
	write("6")
	filter := fmt.Sprintf("pipeline \"judged\" {\n  filter \"spamscore\" \"rules\" { rules = [%q] }\n}\n", rules)
	r := startHouse(t, func(text string) string {
		return text + filter + fmt.Sprintf("listener \"spamd\" {\n  protocol = \"spamd\"\n  addr = [\"unix:%s\"]\n  pipeline = \"judged\"\n  allow_tell = true\n}\n", socket) +
			fmt.Sprintf("listener \"asked\" {\n  protocol = \"spamd\"\n  addr = [\"unix:%s\"]\n  pipeline = \"judged\"\n}\n", socket+"2")
	})
	ask := func() string {
		t.Helper()
		c, err := net.DialTimeout("unix", socket, 10*time.Second)
		check(t, err)
		defer c.Close()
		check(t, c.SetDeadline(time.Now().Add(20*time.Second)))
		_, err = io.WriteString(c, "CHECK SPAMC/1.5\r\nContent-length: 7\r\n\r\n\nmoney\n")
		check(t, err)
		out, err := io.ReadAll(c)
		check(t, err)
		return string(out)
	}
	if out := ask(); !strings.Contains(out, "Spam: True ; 6.0 / 5.0") {
		t.Errorf("%q", out)
	}
	// What spamc -L says is learned, by the site.
	program := mtatest.Program(t, "spamc")
	if out, code := mtatest.Run(t, "Subject: x\n\nmoney\n", "", program, "-U", socket+"2", "-L", "spam"); code == 0 {
		t.Errorf("taught without allow_tell: exit %d, %s", code, out)
	}
	for _, args := range []string{"-L spam", "-L ham", "-L ham", "-L forget", "-L spam"} {
		mtatest.Run(t, "Subject: x\n\nmoney\n", "", append([]string{program, "-U", socket}, strings.Fields(args)...)...)
	}
	if out, errs, code := r.mtad("", "spam", "stats"); code != 0 || !strings.Contains(out, "0          1          0  non-token data: nspam") || !strings.Contains(out, "0          0          0  non-token data: nham") {
		t.Errorf("taught: %s%s", out, errs)
	}
	write("2.5") // another size
	if _, errs, code := r.mtad("", "reload"); code != 0 {
		t.Fatal(errs)
	}
	if out := ask(); !strings.Contains(out, "Spam: False ; 2.5 / 5.0") {
		t.Errorf("after a reload: %q", out)
	}
	// Without rules such a listener makes no sense.
	r.edit(t, func(text string) string {
		return strings.Replace(text, "filter \"spamscore\"", "filter \"hygiene\"", 1)
	})
	r.edit(t, func(text string) string {
		return strings.Replace(text, fmt.Sprintf("{ rules = [%q] }", rules), "{}", 1)
	})
	if _, errs, code := r.mtad("", "reload"); code == 0 || !strings.Contains(errs, "has no filter \"spamscore\"") {
		t.Errorf("exit %d: %s", code, errs)
	}
	if out := ask(); !strings.Contains(out, "2.5 / 5.0") {
		t.Errorf("after a reload that failed: %q", out)
	}
}

// Options that put a filter into local delivery are an error where nothing is delivered: it
// would never be asked.
func TestSpamscoreOfUsersInAListenersPipeline(t *testing.T) {
	r := startHouse(t, nil)
	for _, option := range []string{`bayes = "user"`, `preferences = store()`} {
		r.edit(t, func(text string) string {
			return strings.Replace(text, "pipeline \"inbound\" {\n", "pipeline \"inbound\" {\n  filter \"spamscore\" { "+option+" }\n", 1)
		})
		_, errs, code := r.mtad("", "reload")
		if code != exitConfig || !strings.Contains(errs, `filter "spamscore" is asked at deliver; pipeline "inbound" runs`) {
			t.Errorf("%s: exit %d: %s", option, code, errs)
		}
		r.edit(t, func(text string) string {
			return strings.Replace(text, "  filter \"spamscore\" { "+option+" }\n", "", 1)
		})
	}
}
