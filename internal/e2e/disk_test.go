//go:build e2e

package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	gosmtp "github.com/emersion/go-smtp"

	"mtad/internal/mtatest"
)

// onDisk gives the server a data_dir on a file system of its own.
func onDisk(t *testing.T, options string) (*server, string) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("mounting a file system needs root")
	}
	dir := t.TempDir()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", options, "mtad-test", dir).CombinedOutput(); err != nil {
		t.Skipf("no file system can be mounted here: %s", out)
	}
	t.Cleanup(func() { exec.Command("umount", "-l", dir).Run() })
	s := start(t, replace(`data_dir   = "data"`, fmt.Sprintf(`data_dir   = %q`, filepath.Join(dir, "data"))))
	t.Cleanup(func() { s.proc.Kill() }) // before the umount
	return s, dir
}

// mail sends a message of about a size to bob; refused is its reply if it is.
func offer(t testing.TB, s *server, id string, size int) (refused *gosmtp.SMTPError) {
	t.Helper()
	err := submit(t, local(s.SMTP), "ann@good.test", []string{"bob@example.test"}, letter("ann@good.test", "bob", id, "")+lines(size))
	if err != nil && !errors.As(err, &refused) {
		t.Fatalf("%s: %v", id, err)
	}
	return refused
}

// promised checks that what was answered 250 is in bob's mailbox, once, and
// nothing else.
func promised(t testing.TB, s *server, ids map[string]bool) {
	t.Helper()
	got := map[string]int{}
	for _, m := range s.mail("bob", len(ids)) {
		got[field(m, "Subject")]++
	}
	for id := range ids {
		if got[id] != 1 {
			t.Errorf("%q is there %d times", id, got[id])
		}
	}
	mustSay(t, s.do("db", "check"), "all is well")
}

// A full disk puts mail off, loses none, and heals by itself.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	s, dir := onDisk(t, "size=96m")
	taken := map[string]bool{}
	full := false
	for i := 0; i < 100 && !full; i++ {
		id := fmt.Sprintf("filling %d", i)
		if refused := offer(t, s, id, 2<<20); refused == nil {
			taken[id] = true
		} else if full = true; refused.Code != 452 && refused.Code != 451 {
			t.Errorf("refused with %v", refused)
		}
	}
	if !full {
		t.Fatal("100 messages of 2 MB fit into 96 MB")
	}
	// To the last octet: the database is full too.
	ballast := filepath.Join(dir, "ballast")
	f, err := os.Create(ballast)
	check(t, err)
	for err = nil; err == nil; {
		_, err = f.Write(make([]byte, 1<<16))
	}
	f.Close()
	for i := range 5 {
		id := fmt.Sprintf("nothing left %d", i)
		if refused := offer(t, s, id, 10_000); refused == nil {
			taken[id] = true // there was room in the segment
		} else if refused.Code/100 != 4 {
			t.Errorf("refused with %v", refused)
		}
	}
	if out, code := s.mtad("check"); code != 1 || !strings.Contains(out, "bad") || !strings.Contains(out, "make room") {
		t.Errorf("check: exit %d\n%s", code, out)
	}
	check(t, os.Remove(ballast))
	s.do("status")
	eventually(t, "the server takes mail again", timeLimit, func() bool {
		refused := offer(t, s, "healed", 10_000)
		return refused == nil
	})
	taken["healed"] = true
	promised(t, s, taken)
}

// A file system that becomes read-only puts mail off; what was taken is there
// when it is writable again.
func TestReadOnlyDisk(t *testing.T) {
	t.Parallel()
	s := start(t)
	taken := map[string]bool{"before": true}
	if refused := offer(t, s, "before", 1000); refused != nil {
		t.Fatal(refused)
	}
	s.mail("bob", 1)
	// Only what fails turns a mounted disk with open files read-only: "errors=
	// remount-ro". strace says of each call what the kernel says then.
	stop := inject(t, s, "openat,pwrite64,fallocate,ftruncate,unlink,unlinkat:error=EROFS")
	if refused := offer(t, s, "read-only", 400_000); refused == nil {
		t.Error("mail was taken")
	} else if refused.Code/100 != 4 {
		t.Error(refused)
	}
	stop()
	eventually(t, "the server takes mail again", timeLimit, func() bool { return offer(t, s, "after", 1000) == nil })
	taken["after"] = true
	promised(t, s, taken)
}

// inject has system calls of a running server fail or last, until it is stopped
// (strace(1), tampering).
func inject(t *testing.T, s *server, what string) (stop func()) {
	t.Helper()
	strace := program(t, "strace")
	call, _, _ := strings.Cut(what, ":")
	cmd := exec.Command(strace, "-f", "-qq", "-o", "/dev/null", "-e", "trace="+call, "-e", "inject="+what, "-p", fmt.Sprint(s.proc.Cmd.Process.Pid))
	out := &mtatest.Buffer{}
	cmd.Stderr = out
	check(t, cmd.Start())
	stop = func() {
		cmd.Process.Signal(syscall.SIGINT)
		cmd.Wait()
	}
	t.Cleanup(stop)
	for end := time.Now().Add(timeLimit); !s.traced(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) || strings.Contains(out.String(), "not permitted") {
			t.Skipf("strace can't look into a process here: %s", out)
		}
	}
	return stop
}

// traced reports whether strace has hold of all the server's threads: it takes one
// after the other.
func (s *server) traced() bool {
	s.t.Helper()
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", s.proc.Cmd.Process.Pid))
	check(s.t, err)
	return !slices.ContainsFunc(threads, func(path string) bool {
		b, err := os.ReadFile(path) // a thread may have ended
		return err == nil && strings.Contains(string(b), "TracerPid:\t0\n")
	})
}

// A disk that takes seconds to sync slows mail down and loses none; others than
// the waiting are served.
func TestSlowDisk(t *testing.T) {
	t.Parallel()
	s := start(t)
	if refused := offer(t, s, "warm", 1000); refused != nil {
		t.Fatal(refused)
	}
	s.mail("bob", 1)
	stop := inject(t, s, "fdatasync,fsync:delay_exit=1500000")
	begin := time.Now()
	if refused := offer(t, s, "slow", 1000); refused != nil {
		t.Error(refused)
	}
	if took := time.Since(begin); took < time.Second {
		t.Errorf("the 250 came after %v: it did not wait for the disk", took)
	}
	c, err := gosmtp.Dial(local(s.SMTP))
	check(t, err)
	check(t, c.Noop())
	c.Close()
	stop()
	promised(t, s, map[string]bool{"warm": true, "slow": true})
}

// Syncs that fail with an I/O error refuse what waited for them, and only that.
func TestFailingDisk(t *testing.T) {
	t.Parallel()
	for _, call := range []string{"fdatasync,fsync", "pwrite64"} {
		t.Run(call, func(t *testing.T) {
			t.Parallel()
			s := start(t)
			taken := map[string]bool{"before": true}
			if refused := offer(t, s, "before", 1000); refused != nil {
				t.Fatal(refused)
			}
			s.mail("bob", 1)
			stop := inject(t, s, call+":error=EIO")
			for i := range 3 {
				switch refused := offer(t, s, fmt.Sprint("failing ", i), 1000); {
				case refused == nil:
					t.Error("mail was taken whose sync failed")
				case refused.Code/100 != 4:
					t.Error(refused)
				}
			}
			stop()
			eventually(t, "the server takes mail again", timeLimit, func() bool { return offer(t, s, "after", 1000) == nil })
			taken["after"] = true
			promised(t, s, taken)
			s.stop()
			s.start() // the refused ones do not come back
			promised(t, s, taken)
		})
	}
}

// lockDatabase has another program lock a server's database, until release.
func lockDatabase(t *testing.T, s *server) (release func()) {
	t.Helper()
	lock := exec.Command(program(t, "python3"), "-c", `import sqlite3,sys
db = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=20)
db.execute("BEGIN IMMEDIATE")
print("locked", flush=True)
sys.stdin.read()`, filepath.Join(s.dir, "data/store/mtad.db"))
	hold, err := lock.StdinPipe()
	check(t, err)
	out := &mtatest.Buffer{}
	lock.Stdout, lock.Stderr = out, out
	check(t, lock.Start())
	t.Cleanup(func() { hold.Close(); lock.Wait() })
	eventually(t, "the lock", timeLimit, func() bool { return strings.Contains(out.String(), "locked") })
	return func() { hold.Close() }
}

// A database that another program has locked holds up delivery, not acceptance.
func TestLockedDatabase(t *testing.T) {
	t.Parallel()
	program(t, "python3")
	s := start(t)
	if refused := offer(t, s, "before", 1000); refused != nil {
		t.Fatal(refused)
	}
	s.mail("bob", 1)
	release := lockDatabase(t, s)
	for i := range 3 {
		if refused := offer(t, s, fmt.Sprint("locked ", i), 1000); refused != nil {
			t.Error(refused)
		}
	}
	if out, code := s.mtad("check"); code != 1 || !strings.Contains(out, "database") {
		t.Errorf("check: exit %d\n%s", code, out)
	}
	release()
	promised(t, s, map[string]bool{"before": true, "locked 0": true, "locked 1": true, "locked 2": true})
}

// A damaged database is refused, with what to do, and not made worse.
func TestDamagedDatabase(t *testing.T) {
	t.Parallel()
	s := start(t)
	for i := range 50 {
		if refused := offer(t, s, fmt.Sprint("mail ", i), 100); refused != nil {
			t.Fatal(refused)
		}
	}
	s.mail("bob", 50)
	s.stop()
	path := filepath.Join(s.dir, "data/store/mtad.db")
	b, err := os.ReadFile(path)
	check(t, err)
	for i := range 200 { // the header and the root of its tables
		b[i] = 0xa5
	}
	check(t, os.WriteFile(path, b, 0o600))
	out, code := run(t, "", "", mtadPath, "serve", "--dev", "--dir", s.dir, "--base-port", fmt.Sprint(s.Base))
	if code == 0 || !strings.Contains(out, "the database is damaged") || !strings.Contains(out, "restore the newest backup") {
		t.Errorf("serve: exit %d\n%s", code, out)
	}
	out, code = s.mtad("db", "check")
	if code == 0 || !strings.Contains(out, "damaged") {
		t.Errorf("db check: exit %d\n%s", code, out)
	}
	if after := read(t, path); after != string(b) {
		t.Error("the damaged file was changed")
	}
}

// What must be on the disk when is what the kernel was asked for: the record is
// synced before the 250 is sent, and the database's log before IMAP shows the
// message, as strace sees it.
func TestSyncOrder(t *testing.T) {
	t.Parallel()
	strace := program(t, "strace")
	s := start(t)
	if refused := offer(t, s, "warm", 1000); refused != nil {
		t.Fatal(refused)
	}
	s.mail("bob", 1)
	log := filepath.Join(s.dir, "strace")
	cmd := exec.Command(strace, "-f", "-qq", "-y", "-s", "40", "-o", log, "-e", "trace=fdatasync,fsync,pwrite64,write", "-p", fmt.Sprint(s.proc.Cmd.Process.Pid))
	check(t, cmd.Start())
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	eventually(t, "strace to look on", timeLimit, s.traced)
	if refused := offer(t, s, "watched", 1000); refused != nil {
		t.Fatal(refused)
	}
	s.mail("bob", 2)
	cmd.Process.Signal(syscall.SIGINT)
	cmd.Wait()
	calls := strings.Split(read(t, log), "\n")
	// after finds a call behind an index. A call that another thread's
	// interrupts stands as "<unfinished ...>" where it begins.
	after := func(from int, call, file, text string) int {
		for i := from + 1; i < len(calls); i++ {
			if strings.Contains(calls[i], call) && strings.Contains(calls[i], file) && strings.Contains(calls[i], text) {
				return i
			}
		}
		t.Fatalf("no %s of %s %q behind line %d:\n%s", call, file, text, from, tail(strings.Join(calls, "\n")))
		return 0
	}
	record := after(-1, "pwrite64(", "/journal/", "")
	synced := after(record, "fdatasync(", "/journal/", "")
	reply := after(-1, "write(", "socket:", "250 2.0.0 Ok: queued")
	if synced > reply {
		t.Errorf("the 250 is line %d, the sync of the record line %d", reply, synced)
	}
	rows := after(synced, "pwrite64(", "mtad.db-wal", "")
	committed := after(rows, "sync(", "mtad.db-wal", "")
	if committed < rows {
		t.Errorf("the rows are written at %d and synced at %d", rows, committed)
	}
	if shown := after(-1, "write(", "socket:", "MESSAGES 2)"); shown < committed {
		t.Errorf("the message is shown at %d, synced at %d", shown, committed)
	}
}

func tail(s string) string { return s[max(0, len(s)-6000):] }
