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
)

// terminal is a window of a private tmux.
type terminal struct {
	t      *testing.T
	tmux   string
	socket string
}

// openTerminal runs a command on a terminal of 100 columns and 30 lines.
func openTerminal(t *testing.T, dir, command string) *terminal {
	t.Helper()
	w := &terminal{t: t, tmux: program(t, "tmux"), socket: filepath.Join(dir, "tmux")}
	cmd := exec.Command(w.tmux, "-S", w.socket, "-f", "/dev/null", "new-session", "-d", "-x", "100", "-y", "30", command)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "TERM=screen", "LC_ALL=C.UTF-8", "HOME="+dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("tmux: %v\n%s", err, out)
	}
	t.Cleanup(func() { exec.Command(w.tmux, "-S", w.socket, "kill-server").Run() })
	return w
}

func (w *terminal) screen() string {
	out, _ := exec.Command(w.tmux, "-S", w.socket, "capture-pane", "-p").CombinedOutput()
	return string(out)
}

// keys presses keys, by tmux's names.
func (w *terminal) keys(keys ...string) {
	w.t.Helper()
	must(w.t, append([]string{w.tmux, "-S", w.socket, "send-keys"}, keys...)...)
}

// sees waits for a text on the screen.
func (w *terminal) sees(text string) {
	w.t.Helper()
	for end := time.Now().Add(timeLimit); ; {
		screen := w.screen()
		if strings.Contains(screen, text) {
			return
		}
		if time.Now().After(end) {
			w.t.Fatalf("no %q on the screen:\n%s", text, screen)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// mutt, with the muttrc that dev mode writes: reads, files, deletes and writes.
func TestMutt(t *testing.T) {
	t.Parallel()
	mutt := program(t, "mutt")
	program(t, "tmux")
	s := start(t)
	alice := s.login("alice")
	for i := 1; i <= 3; i++ {
		data := letter("Ann <ann@good.test>", "alice@example.test", fmt.Sprintf("letter %d", i), fmt.Sprintf("This is the text of letter %d.", i))
		check(t, submit(t, local(s.SMTP), "ann@good.test", []string{"alice@example.test"}, data))
		alice.await("INBOX", i) // in this order
	}
	editor := filepath.Join(s.dir, "editor")
	write(t, editor, "#!/bin/sh\necho 'Written in mutt.' >>\"$1\"\n")
	check(t, os.Chmod(editor, 0o700))
	rc := filepath.Join(s.dir, "test.muttrc")
	write(t, rc, "source "+filepath.Join(s.dir, "muttrc")+"\nset confirmcreate=no confirmappend=no delete=yes sort=date abort_nosubject=no sleep_time=0 editor="+editor+"\n")
	w := openTerminal(t, s.dir, mutt+" -n -F "+rc)
	w.sees("letter 3")
	w.sees("letter 1")
	w.keys("1", "Enter") // go to the first
	w.keys("Enter")
	w.sees("This is the text of letter 1.")
	w.keys("i")
	w.keys("1", "Enter", "s", "C-u", "=Saved", "Enter") // save to a folder: copy and mark as deleted
	eventually(t, "the folder", timeLimit, func() bool { return alice.count("Saved") == 1 })
	w.keys("2", "Enter", "d", "$")
	eventually(t, "the removal", timeLimit, func() bool { return alice.count("INBOX") == 1 })
	mustSay(t, alice.await("Saved", 1)[0], "This is the text of letter 1.")
	mustSay(t, alice.await("INBOX", 1)[0], "This is the text of letter 3.")

	// A new letter, by submission.
	w.keys("m", "bob@example.test", "Enter", "by mutt", "Enter")
	w.sees("y:Send")
	w.keys("y")
	msg := s.one("bob")
	if field(msg, "Subject") != "by mutt" || !strings.Contains(field(msg, "From"), "alice@example.test") || !strings.Contains(body(msg), "Written in mutt.") {
		t.Errorf("bob got\n%s", msg)
	}
	// Mail that comes while it runs.
	check(t, submit(t, local(s.SMTP), "ann@good.test", []string{"alice@example.test"}, letter("Ann <ann@good.test>", "alice@example.test", "late letter", "x")))
	alice.await("INBOX", 2)
	w.keys("c", "C-u", "=INBOX", "Enter")
	w.sees("late letter")
	w.keys("q")
}
