//go:build e2e

package e2e

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"mtad/internal/mtatest"
)

// service is an mtad with a small configuration, as an init system runs it.
type service struct {
	t     testing.TB
	dir   string
	smtp  int
	http  int
	proc  *mtatest.Process
	lines string // of the configuration, above the listener
}

// newService makes a directory that user nobody may read.
func newService(t testing.TB) *service {
	t.Helper()
	mtatest.NeedRoot(t, "the server is started by root, and by nobody")
	s := &service{t: t, dir: mtatest.OpenDir(t), smtp: freePort(t), http: freePort(t)}
	s.lines = "user = \"nobody\"\n"
	write(t, filepath.Join(s.dir, "zone.txt"), "")
	check(t, os.Chmod(filepath.Join(s.dir, "zone.txt"), 0o644))
	s.configure()
	return s
}

func (s *service) config() string { return filepath.Join(s.dir, "mtad.hcl") }

func (s *service) data() string { return filepath.Join(s.dir, "data") }

func (s *service) configure() {
	s.t.Helper()
	write(s.t, s.config(), fmt.Sprintf(`hostname = "mx.example.test"
data_dir = "data"
dns_zone = "zone.txt"
http     = "%s"
%s
listener "mx" {
  addr     = ["%s"]
  pipeline = "inbound"
}
pipeline "inbound" {}
`, local(s.http), s.lines, local(s.smtp)))
	check(s.t, os.Chmod(s.config(), 0o644))
}

// start starts the server. change may change the command.
func (s *service) start(change func(*exec.Cmd)) {
	s.t.Helper()
	s.launch(change)
	s.proc.Await(s.t, "msg=serving")
}

func (s *service) launch(change func(*exec.Cmd)) {
	s.t.Helper()
	s.proc = &mtatest.Process{Cmd: exec.Command(mtadPath, "serve", "-c", s.config()), Out: &mtatest.Buffer{}, Exited: make(chan struct{})}
	if change != nil {
		change(s.proc.Cmd)
	}
	s.proc.Start(s.t, stopLimit)
}

// ended waits for the end and returns the exit status.
func (s *service) ended() int {
	s.t.Helper()
	select {
	case <-s.proc.Exited:
	case <-time.After(stopLimit):
		s.t.Fatalf("it does not end:\n%s", s.proc.Out)
	}
	return s.proc.Cmd.ProcessState.ExitCode()
}

// takes checks that mail is taken and kept.
func (s *service) takes() {
	s.t.Helper()
	for _, args := range [][]string{{"domain", "add", "example.test"}, {"user", "add", "alice@example.test", "--password-stdin"}} {
		run(s.t, "secret\n", "", append([]string{mtadPath, "-c", s.config()}, args...)...)
	}
	check(s.t, submit(s.t, local(s.smtp), "ann@good.test", []string{"alice@example.test"}, letter("ann@good.test", "alice@example.test", "hello", "x")))
}

// child is the process that the monitor has started.
func (s *service) child() int {
	s.t.Helper()
	pid := s.proc.Cmd.Process.Pid
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	check(s.t, err)
	all := string(b)
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	check(s.t, err)
	for _, task := range tasks { // the thread that started it has it
		if b, err := os.ReadFile(task); err == nil && len(b) > 0 {
			all = string(b)
		}
	}
	n, err := strconv.Atoi(strings.TrimSpace(all))
	if err != nil {
		s.t.Fatalf("children of the monitor: %q", all)
	}
	return n
}

// status is a line of a process's status.
func status(t testing.TB, pid int, key string) string {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	check(t, err)
	for line := range strings.Lines(string(b)) {
		if value, ok := strings.CutPrefix(line, key+":"); ok {
			return strings.Join(strings.Fields(value), " ")
		}
	}
	return ""
}

// Root keeps the monitor; all else is another user's, which may gain no
// privileges. What it writes is its own.
func TestMonitor(t *testing.T) {
	t.Parallel()
	s := newService(t)
	s.start(nil)
	child := s.child()
	nobody := mtatest.Nobody(t)
	uid, gid := fmt.Sprint(nobody.Uid), fmt.Sprint(nobody.Gid)
	for key, want := range map[string]string{
		"Uid": strings.Join([]string{uid, uid, uid, uid}, " "), "Gid": strings.Join([]string{gid, gid, gid, gid}, " "),
		"Groups": gid, "CapEff": "0000000000000000", "CapPrm": "0000000000000000", "NoNewPrivs": "1",
	} {
		if got := status(t, child, key); got != want {
			t.Errorf("%s of the server: %q, want %q", key, got, want)
		}
	}
	if got := status(t, s.proc.Cmd.Process.Pid, "Uid"); got != "0 0 0 0" {
		t.Errorf("the monitor is %s", got)
	}
	for _, l := range []string{local(s.smtp), local(s.http)} {
		conn, err := net.DialTimeout("tcp", l, time.Second)
		check(t, err)
		conn.Close()
	}
	s.takes()
	check(t, filepath.WalkDir(s.data(), func(path string, _ os.DirEntry, err error) error {
		check(t, err)
		st, err := os.Lstat(path)
		check(t, err)
		if st.Sys().(*syscall.Stat_t).Uid != nobody.Uid {
			t.Errorf("%s is not the server's", path)
		}
		return nil
	}))
	t.Logf("memory: monitor %s, server %s", status(t, s.proc.Cmd.Process.Pid, "VmRSS"), status(t, child, "VmRSS"))
	s.proc.Signal(syscall.SIGHUP)
	s.proc.Await(t, "configuration reloaded")
	s.proc.Signal(syscall.SIGTERM)
	if code := s.ended(); code != 0 {
		t.Errorf("exit %d", code)
	}
	// Where no server runs, root opens the files without making them root's.
	must(t, mtadPath, "-c", s.config(), "db", "check")
	s.start(nil)
	s.proc.Signal(syscall.SIGINT)
	if code := s.ended(); code != 0 {
		t.Errorf("exit %d after SIGINT", code)
	}
}

// The monitor ends as the server does, and the server with the monitor.
func TestMonitorEnds(t *testing.T) {
	t.Parallel()
	s := newService(t)
	s.start(nil)
	check(t, syscall.Kill(s.child(), syscall.SIGKILL))
	if code := s.ended(); code != 128+9 {
		t.Errorf("exit %d after kill -9 of the server", code)
	}
	s.start(nil)
	child := s.child()
	check(t, s.proc.Cmd.Process.Kill()) // the monitor alone
	mtatest.Eventually(t, "the end of the server", stopLimit, func() bool { return syscall.Kill(child, 0) == syscall.ESRCH })
	s.start(nil) // nothing is in its way
	must(t, mtadPath, "-c", s.config(), "stop")
	if code := s.ended(); code != 0 {
		t.Errorf("exit %d after mtad stop", code)
	}
	s.lines += "nameservers = [\"x\"]\n"
	s.configure()
	s.launch(nil)
	if code := s.ended(); code != 78 {
		t.Errorf("exit %d of a bad configuration", code)
	}
}

// Whom the server can not run as, and what it could not open, is said.
func TestMonitorRefuses(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		user   string
		owner  int
		expect string
	}{
		"no user":    {"no-such-user", -1, `no user "no-such-user"`},
		"root":       {"root", -1, "is root"},
		"root's dir": {"nobody", 0, "chown -R nobody"},
	} {
		s := newService(t)
		s.lines = "user = \"" + tc.user + "\"\n"
		s.configure()
		if tc.owner >= 0 {
			check(t, os.Mkdir(s.data(), 0o700))
		}
		s.launch(nil)
		if code := s.ended(); code != 78 || !strings.Contains(s.proc.Out.String(), tc.expect) {
			t.Errorf("%s: exit %d\n%s", name, code, s.proc.Out)
		}
	}
	s := newService(t)
	l, err := net.Listen("tcp", local(s.smtp))
	check(t, err)
	defer l.Close()
	s.launch(nil)
	if code := s.ended(); code != 75 || !strings.Contains(s.proc.Out.String(), "in use") {
		t.Errorf("busy port: exit %d\n%s", code, s.proc.Out)
	}
}

// asNobody starts a server without a monitor.
func asNobody(t testing.TB, s *service) func(*exec.Cmd) {
	t.Helper()
	nobody := mtatest.Nobody(t)
	check(t, os.MkdirAll(s.data(), 0o700))
	check(t, os.Chown(s.data(), int(nobody.Uid), int(nobody.Gid)))
	return func(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Credential: nobody} }
}

// passing gives a command sockets as systemd does: the process that runs mtad
// knows its own number only after it has begun.
func passing(t testing.TB, names string, addrs ...string) func(*exec.Cmd) {
	t.Helper()
	var files []*os.File
	for _, a := range addrs {
		l, err := net.Listen("tcp", a)
		check(t, err)
		f, err := l.(*net.TCPListener).File()
		check(t, err)
		check(t, l.Close())
		files = append(files, f)
		t.Cleanup(func() { f.Close() })
	}
	return func(cmd *exec.Cmd) {
		cmd.Path, cmd.Args = "/bin/sh", append([]string{"sh", "-c", `LISTEN_PID=$$ exec "$@"`, "sh"}, cmd.Args...)
		cmd.Env = append(os.Environ(), fmt.Sprintf("LISTEN_FDS=%d", len(addrs)), "LISTEN_FDNAMES="+names)
		cmd.ExtraFiles = files
	}
}

// Sockets of systemd serve, by name at another address than the configured one
// or by address, with a monitor and without.
func TestSocketActivation(t *testing.T) {
	t.Parallel()
	for _, who := range []string{"nobody", "root"} {
		for _, by := range []string{"name", "address"} {
			s := newService(t)
			user := func(*exec.Cmd) {}
			if who == "nobody" {
				user = asNobody(t, s)
			}
			configured := s.smtp
			names := "mtad.socket:mtad.socket"
			if by == "name" {
				s.smtp = freePort(t)
				names = "mx:http"
			}
			pass := passing(t, names, local(s.smtp), local(s.http))
			s.start(func(cmd *exec.Cmd) { pass(cmd); user(cmd) })
			s.takes()
			conn, err := net.DialTimeout("tcp", local(s.http), time.Second)
			check(t, err)
			conn.Close()
			if by == "name" {
				if conn, err := net.DialTimeout("tcp", local(configured), time.Second); err == nil {
					conn.Close()
					t.Error("the configured address is bound too")
				}
			}
			s.proc.Signal(syscall.SIGTERM)
			if code := s.ended(); code != 0 {
				t.Errorf("%s, by %s: exit %d", who, by, code)
			}
		}
		s := newService(t)
		pass := passing(t, "other", local(freePort(t)))
		user := func(*exec.Cmd) {}
		if who == "nobody" {
			user = asNobody(t, s)
		}
		s.launch(func(cmd *exec.Cmd) { pass(cmd); user(cmd) })
		if code := s.ended(); code == 0 || !strings.Contains(s.proc.Out.String(), `"other"`) {
			t.Errorf("a socket of nobody's: exit %d\n%s", code, s.proc.Out)
		}
	}
}

// The service manager is told of the start, of reloads, also of one that fails,
// and of the end, by the process that it started.
func TestReadiness(t *testing.T) {
	t.Parallel()
	for _, who := range []string{"nobody", "root"} {
		s := newService(t)
		path := filepath.Join(s.dir, "notify")
		l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
		check(t, err)
		defer l.Close()
		check(t, os.Chmod(path, 0o666))
		user := func(*exec.Cmd) {}
		if who == "nobody" {
			user = asNobody(t, s)
		}
		next := func(want string) {
			t.Helper()
			b := make([]byte, 4096)
			l.SetReadDeadline(time.Now().Add(timeLimit))
			n, err := l.Read(b)
			if err != nil || !strings.HasPrefix(string(b[:n]), want) {
				t.Fatalf("%s: %q (%v), want %s\n%s", who, b[:n], err, want, s.proc.Out)
			}
		}
		s.launch(func(cmd *exec.Cmd) {
			user(cmd)
			cmd.Env = append(os.Environ(), "NOTIFY_SOCKET="+path)
		})
		next("READY=1")
		mustSay(t, must(t, mtadPath, "-c", s.config(), "status"), "mx") // it serves
		s.proc.Signal(syscall.SIGHUP)
		next("RELOADING=1\nMONOTONIC_USEC=")
		next("READY=1")
		s.lines += "nonsense = 1\n"
		s.configure()
		if out, code := run(t, "", "", mtadPath, "-c", s.config(), "reload"); code != 78 {
			t.Errorf("reload: exit %d\n%s", code, out)
		}
		next("RELOADING=1\nMONOTONIC_USEC=")
		next("READY=1")
		s.proc.Signal(syscall.SIGTERM)
		next("STOPPING=1")
		if code := s.ended(); code != 0 {
			t.Errorf("%s: exit %d", who, code)
		}
	}
}
