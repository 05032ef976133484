//go:build e2e

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"mtad/internal/mtatest"
)

// Nothing that a server writes may be read by its group or by others, whatever
// umask it was started with.
func TestModes(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	check(t, os.Chmod(s.dir, 0o755)) // modes must not hang on the top folder's
	s.startWith("/bin/sh", "-c", `umask 0; exec "$@"`, "sh", mtadPath)
	check(t, submit(t, local(s.SMTP), "ann@good.test", []string{"alice@example.test"}, letter("ann@good.test", "alice@example.test", "to a mailbox", "x")))
	check(t, submit(t, local(s.SMTP), "alice@example.test", []string{"x@far.test"}, letter("alice@example.test", "x@far.test", "to the sink", strings.Repeat("long\n", 200000))))
	s.one("alice")
	s.do("trace", "last") // which writes it
	s.do("smtp", "send", "--to", "bob@example.test")
	eventually(t, "mail in the sink", timeLimit, func() bool {
		files, err := os.ReadDir(filepath.Join(s.dir, "sink"))
		return err == nil && len(files) > 0
	})
	seen := map[string]int{}
	check(t, filepath.WalkDir(s.dir, func(path string, e os.DirEntry, err error) error {
		check(t, err)
		if path == s.dir {
			return nil
		}
		st, err := os.Lstat(path)
		if os.IsNotExist(err) {
			return nil // of the spool
		}
		check(t, err)
		seen[st.Mode().Type().String()]++
		if path == filepath.Join(s.dir, "maildrop") { // which all may add to, and nobody list
			if want := os.ModeDir | os.ModeSticky | os.ModeSetgid | 0o733; st.Mode() != want {
				t.Errorf("%s: %v, want %v", path, st.Mode(), want)
			}
			return nil
		}
		if st.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s: %v", path, st.Mode())
		}
		return nil
	}))
	if seen["----------"] < 10 || seen["d---------"] < 5 || seen["S---------"] != 1 {
		t.Errorf("seen only %v", seen)
	}
	for _, name := range []string{"data/store", "data/traces.db", "data/control.sock", "data/spool", "good.test.key", "key.pem", "sink", "maildrop"} {
		if _, err := os.Stat(filepath.Join(s.dir, name)); err != nil {
			t.Error(err)
		}
	}
}

// The control socket is for root and for the server's user: whoever else gets
// there, because an administrator has opened modes, is refused by the kernel's
// word.
func TestControlPeer(t *testing.T) {
	t.Parallel()
	mtatest.NeedRoot(t, "a command is run as nobody")
	s := newServer(t)
	s.start()
	socket := filepath.Join(s.dir, "data/control.sock")
	asNobody := func() (string, int) {
		cmd := exec.Command(mtadPath, "-c", s.config(), "status")
		cmd.SysProcAttr, cmd.Dir = &syscall.SysProcAttr{Credential: mtatest.Nobody(t)}, "/"
		b, err := cmd.CombinedOutput()
		if cmd.ProcessState == nil {
			t.Fatal(err)
		}
		return string(b), cmd.ProcessState.ExitCode()
	}
	if out, code := asNobody(); code == 0 {
		t.Errorf("nobody may enter the directory:\n%s", out)
	}
	for path, mode := range map[string]os.FileMode{s.dir: 0o755, s.config(): 0o644, filepath.Dir(socket): 0o755, socket: 0o666} {
		check(t, os.Chmod(path, mode))
	}
	out, code := asNobody()
	if code != 77 || !strings.Contains(out, "only root and the user that runs mtad may do that") {
		t.Errorf("nobody: exit %d\n%s", code, out)
	}
	s.do("status")
}
