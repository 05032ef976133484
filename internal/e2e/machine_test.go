//go:build e2e

package e2e

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"mtad/internal/mtatest"
)

// machine is a systemd as PID 1 of namespaces of its own: processes, files,
// control groups and a loopback.
type machine struct {
	t   testing.TB
	pid int // of its PID 1, here
}

// boot starts a machine without any service but systemd's own.
func boot(t testing.TB) *machine {
	t.Helper()
	mtatest.NeedRoot(t, "a systemd is booted, in namespaces of its own")
	for _, name := range []string{"systemd-analyze", "unshare", "nsenter", "setpriv", "pivot_root", "dpkg", "deb-systemd-invoke"} {
		program(t, name)
	}
	dir := mtatest.OpenDir(t)
	if out, code := run(t, "", "", "unshare", "--fork", "--pid", "--mount", "--uts", "--ipc", "--cgroup", "--net", "--",
		"mount", "-t", "cgroup2", "none", dir); code != 0 {
		t.Skipf("no namespaces for a systemd can be made here: %s", out)
	}
	plant(t, filepath.Join(dir, "seed"))
	script := filepath.Join(root, "internal/e2e/testdata/systemd/boot.sh")
	t.Cleanup(func() {
		eventually(t, "the end of the control group", stopLimit, func() bool { // its processes take a moment
			return exec.Command(script, "down", dir).Run() == nil
		})
	})
	p := mtatest.Spawn(t, "", 0, script, "up", dir)
	m := &machine{t: t}
	self, state := p.Cmd.Process.Pid, ""
	eventually(t, "systemd as PID 1", timeLimit, func() bool {
		b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", self, self))
		m.pid, _ = strconv.Atoi(strings.TrimSpace(string(b)))
		comm, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", m.pid))
		if string(comm) == "systemd\n" {
			state, _ = m.try("systemctl", "is-system-running", "--wait")
		}
		return state == "running\n"
	})
	m.do("ip", "link", "set", "lo", "up")
	return m
}

// plant makes what a machine has beside /usr.
func plant(t testing.TB, dir string) {
	t.Helper()
	for name, text := range map[string]string{
		"etc/passwd": "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
		"etc/group":  "root:x:0:\nnogroup:x:65534:\n", "etc/shadow": "", "etc/gshadow": "",
		"etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
		"etc/hosts":         "127.0.0.1 localhost\n127.0.1.1 mx.example.test\n", "etc/resolv.conf": "nameserver 127.0.0.1\n",
		"etc/hostname": "mx.example.test\n", "etc/machine-id": strings.Repeat("0123456789abcdef", 2) + "\n",
		"etc/ld.so.cache": read(t, "/etc/ld.so.cache"), "etc/os-release": read(t, "/etc/os-release"),
		"var/lib/dpkg/status": "", "var/lib/dpkg/info/format": "1\n", "var/lib/dpkg/updates/.d": "",
	} {
		write(t, filepath.Join(dir, name), text)
		check(t, os.Chmod(filepath.Join(dir, name), 0o644))
	}
	check(t, exec.Command("chmod", "-R", "go+rX", dir).Run())
	check(t, exec.Command("cp", "-R", "/etc/alternatives", filepath.Join(dir, "etc")).Run()) // awk is there
	units := filepath.Join(dir, "etc/systemd/system")
	check(t, os.MkdirAll(units, 0o755))
	check(t, os.Symlink("/lib/systemd/system/multi-user.target", filepath.Join(units, "default.target")))
	// What would be of no use here, or not work.
	for _, name := range []string{"getty.target", "systemd-udevd.service", "systemd-logind.service", "systemd-sysusers.service", "systemd-tmpfiles-setup.service", "dbus.socket", "dbus.service"} {
		check(t, os.Symlink("/dev/null", filepath.Join(units, name)))
	}
}

// path is where this side finds a file of the machine.
func (m *machine) path(p string) string { return filepath.Join(fmt.Sprintf("/proc/%d/root", m.pid), p) }

// feed runs a command within the machine.
func (m *machine) feed(stdin string, argv ...string) (string, int) {
	m.t.Helper()
	enter := []string{"nsenter", "--all", "--target", strconv.Itoa(m.pid), "env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root"}
	return run(m.t, stdin, "", append(enter, argv...)...)
}

func (m *machine) try(argv ...string) (string, int) {
	m.t.Helper()
	return m.feed("", argv...)
}

// do runs a command within the machine that must succeed.
func (m *machine) do(argv ...string) string {
	m.t.Helper()
	out, code := m.try(argv...)
	if code != 0 {
		m.t.Fatalf("%v: exit %d\n%s", argv, code, out)
	}
	return out
}

// show is a property of mtad.service.
func (m *machine) show(property string) string {
	m.t.Helper()
	return strings.TrimSpace(m.do("systemctl", "show", "--value", "--property", property, "mtad.service"))
}

// monitor is the ID, within the machine, of the unit's main process, server that
// of its child.
func (m *machine) monitor() string { m.t.Helper(); return m.show("MainPID") }

func (m *machine) server() string {
	m.t.Helper()
	return strings.TrimSpace(m.do("pgrep", "-P", m.monitor()))
}

// status is a line of the status of a process of the machine.
func (m *machine) status(pid, key string) string {
	m.t.Helper()
	for line := range strings.Lines(m.do("cat", "/proc/"+pid+"/status")) {
		if value, ok := strings.CutPrefix(line, key+":"); ok {
			return strings.Join(strings.Fields(value), " ")
		}
	}
	return ""
}

// dial connects from within the machine, with no second attempt.
func (m *machine) dial(addr string) (net.Conn, error) {
	type result struct {
		conn net.Conn
		err  error
	}
	done := make(chan result)
	go func() {
		runtime.LockOSThread() // for good: the thread ends with its strange network
		ns, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", m.pid))
		if err == nil {
			defer ns.Close()
			err = unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET)
		}
		if err != nil {
			done <- result{nil, err}
			return
		}
		conn, err := net.DialTimeout("tcp", addr, 10*time.Second)
		done <- result{conn, err}
	}()
	r := <-done
	return r.conn, r.err
}

// connect is dial for a connection that must come about at once.
func (m *machine) connect(addr string) net.Conn {
	m.t.Helper()
	conn, err := m.dial(addr)
	check(m.t, err)
	m.t.Cleanup(func() { conn.Close() })
	return conn
}
