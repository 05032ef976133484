//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mtad/internal/mtatest"
)

// The configuration is changed and reloaded every 100 ms, a filter's process started
// anew each time, while mail comes in: no connection is refused, every message is
// there once, and no old process is left.
func TestReloadUnderLoad(t *testing.T) {
	t.Parallel()
	source := program(t, "smtp-source")
	maps := [2]string{"even.json", "odd.json"}
	s := start(t, func(s *server, text string) string {
		check(t, mtatest.Build(root, filepath.Join(s.dir, "urlrep"), "./examples/urlrep"))
		for _, name := range maps {
			write(t, filepath.Join(s.dir, name), `{"bad.example": 2}`)
		}
		return replace(`filter "thresholds" {`, `filter "external" "urlrep" {
    path   = "urlrep"
    config = { map = "`+filepath.Join(s.dir, maps[0])+`" }
  }
  filter "thresholds" {`)(s, text)
	})
	messages := scaled(50_000, 500)
	load := exec.Command(source, "-s", "10", "-m", fmt.Sprint(messages), "-l", "2000", "-f", "ann@good.test", "-t", "bob@example.test", local(s.SMTP))
	done := make(chan error, 1)
	out := &strings.Builder{}
	load.Stdout, load.Stderr = out, out
	begin := time.Now()
	check(t, load.Start())
	go func() { done <- load.Wait() }()
	reloads := 0
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for under := true; under; {
		select {
		case err := <-done:
			if under = false; err != nil {
				t.Errorf("smtp-source: %v\n%s", err, out)
			}
		case <-tick.C:
			s.change("mtad.hcl", maps[reloads%2], maps[(reloads+1)%2])
			mustSay(t, s.do("reload"), "reloaded")
			reloads++
		}
	}
	took := time.Since(begin)
	bob := s.login("bob")
	eventually(t, "delivery of all", time.Minute, func() bool { return bob.count("INBOX") >= messages })
	ids := map[string]int{}
	for _, msg := range bob.fetch("INBOX") {
		ids[field(msg, "Message-ID")]++
	}
	if n := bob.count("INBOX"); len(ids) != messages || n != messages {
		t.Errorf("%d messages, %d different ones, want %d", n, len(ids), messages)
	}
	eventually(t, "the end of old filters", timeLimit, func() bool { return len(s.children(t)) == 1 })
	if reloads < 2 {
		t.Errorf("only %d reloads", reloads)
	}
	t.Logf("%d messages, %d reloads in %.1f s; 1 filter process left", messages, reloads, took.Seconds())
}

// children are the processes that the server has started and that run.
func (s *server) children(t *testing.T) (pids []string) {
	t.Helper()
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", s.proc.Cmd.Process.Pid))
	check(t, err)
	for _, f := range tasks {
		if b, err := os.ReadFile(f); err == nil { // a thread may have ended
			pids = append(pids, strings.Fields(string(b))...)
		}
	}
	return pids
}

// A database of a newer program is refused, with what to do, and not touched.
func TestNewerDatabase(t *testing.T) {
	t.Parallel()
	sqlite := program(t, "sqlite3")
	s := start(t)
	check(t, submit(t, local(s.SMTP), "ann@good.test", []string{"alice@example.test"}, letter("ann@good.test", "alice", "kept", "x")))
	s.one("alice")
	s.stop()
	db := filepath.Join(s.dir, "data/store/mtad.db")
	must(t, sqlite, db, "UPDATE schema_version SET version = version + 1 WHERE name = 'mailbox'")
	for range 2 {
		out, code := run(t, "", "", mtadPath, "serve", "--dev", "--dir", s.dir, "--base-port", fmt.Sprint(s.Base))
		if code != 78 {
			t.Errorf("exit %d", code)
		}
		mustSay(t, out, "newer version of this program", `tables "mailbox" are at version`, "run the newer program, or restore a backup")
	}
	must(t, sqlite, db, "UPDATE schema_version SET version = version - 1 WHERE name = 'mailbox'")
	s.start()
	mustSay(t, s.one("alice"), "Subject: kept")
}
