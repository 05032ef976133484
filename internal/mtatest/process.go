package mtatest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Long reports whether harnesses run whole (make test-long), or in the short form
// that every test run has.
func Long() bool { return os.Getenv("MTAD_LONG") != "" }

// Check ends the test for an error.
func Check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Eventually asks until the answer is yes.
func Eventually(t testing.TB, what string, limit time.Duration, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(limit); !ok(); {
		if time.Now().After(end) {
			t.Fatalf("after %s: %s did not happen", limit, what)
		}
		time.Sleep(20 * time.Millisecond) // nobody tells us
	}
}

// Write makes a file, and the folders that it is in.
func Write(t testing.TB, path, text string) {
	t.Helper()
	Check(t, os.MkdirAll(filepath.Dir(path), 0o700))
	Check(t, os.WriteFile(path, []byte(text), 0o600))
}

// OpenDir is a directory that other users may enter, with a path that is short
// enough for a socket.
func OpenDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "peer")
	Check(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	Check(t, os.Chmod(dir, 0o755))
	return dir
}

// Program finds a program or skips the test.
func Program(t testing.TB, name string) string {
	t.Helper()
	if testing.Short() {
		t.Skip(name + " is not asked with -short")
	}
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	path := filepath.Join("/usr/sbin", name) // not in everybody's PATH
	if _, err := os.Stat(path); err != nil {
		t.Skip(name + " not installed")
	}
	return path
}

// Run runs a program for at most a minute and returns what it printed and its
// exit code.
func Run(t testing.TB, stdin, dir string, argv ...string) (out string, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Stdin, cmd.Dir, cmd.WaitDelay = strings.NewReader(stdin), dir, 2*time.Second
	b, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) || ctx.Err() != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(argv, " "), err, b)
	}
	return string(b), cmd.ProcessState.ExitCode()
}

// Must runs a program that must succeed.
func Must(t testing.TB, argv ...string) string {
	t.Helper()
	out, code := Run(t, "", "", argv...)
	if code != 0 {
		t.Fatalf("%s: exit %d\n%s", strings.Join(argv, " "), code, out)
	}
	return out
}

// NeedRoot skips the test for others than root.
func NeedRoot(t testing.TB, why string) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("root needed: " + why)
	}
}

// Nobody is the user nobody, whom a test of root can be.
func Nobody(t testing.TB) *syscall.Credential {
	t.Helper()
	u, err := user.Lookup("nobody")
	Check(t, err)
	uid, err := strconv.Atoi(u.Uid)
	Check(t, err)
	gid, err := strconv.Atoi(u.Gid)
	Check(t, err)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
}

// Buffer is a bytes.Buffer for several goroutines.
type Buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *Buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *Buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// Process is a program that runs until it is stopped.
type Process struct {
	Cmd    *exec.Cmd
	Out    *Buffer       // what it says, on both channels
	Exited chan struct{} // closed when it has ended
}

// Spawn starts a program. The end of the test asks it to stop, and kills its
// process group when it has not after patience.
func Spawn(t testing.TB, dir string, patience time.Duration, argv ...string) *Process {
	t.Helper()
	p := &Process{Cmd: exec.Command(argv[0], argv[1:]...), Out: &Buffer{}, Exited: make(chan struct{})}
	p.Cmd.Dir = dir
	p.Start(t, patience)
	return p
}

// Start starts Cmd, as Spawn does: for commands that need more than arguments.
func (p *Process) Start(t testing.TB, patience time.Duration) {
	t.Helper()
	Check(t, p.start())
	t.Cleanup(func() {
		p.Stop(patience)
		if t.Failed() {
			said := p.Out.String()
			t.Logf("%s said:\n%s", strings.Join(p.Cmd.Args, " "), said[max(0, len(said)-8000):])
		}
	})
}

// Start starts a command, which its caller ends by Kill.
func Start(cmd *exec.Cmd) (*Process, error) {
	p := &Process{Cmd: cmd, Out: &Buffer{}, Exited: make(chan struct{})}
	return p, p.start()
}

func (p *Process) start() error {
	p.Cmd.Stdout, p.Cmd.Stderr = p.Out, p.Out
	p.Cmd.WaitDelay = 2 * time.Second
	if p.Cmd.SysProcAttr == nil {
		p.Cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	p.Cmd.SysProcAttr.Setpgid = true
	err := p.Cmd.Start()
	if err == nil {
		go func() { p.Cmd.Wait(); close(p.Exited) }()
	}
	return err
}

// Stop asks the process to stop and kills it, and its children, when it has not
// after patience: that it did by itself is what Stop reports.
func (p *Process) Stop(patience time.Duration) (asked bool) {
	p.Signal(syscall.SIGTERM)
	select {
	case <-p.Exited:
		asked = true
	case <-time.After(patience):
	}
	p.Kill()
	return asked
}

// Signal sends the process a signal.
func (p *Process) Signal(s syscall.Signal) { p.Cmd.Process.Signal(s) }

// Kill ends the process and its children at once.
func (p *Process) Kill() {
	syscall.Kill(-p.Cmd.Process.Pid, syscall.SIGKILL)
	<-p.Exited
}

// Await waits for the process to say something.
func (p *Process) Await(t testing.TB, text string) {
	t.Helper()
	p.until(t, fmt.Sprintf("%q by %s", text, p.Cmd.Path), func() bool { return strings.Contains(p.Out.String(), text) })
}

// AwaitSocket waits until something listens at an address.
func (p *Process) AwaitSocket(t testing.TB, network, addr string) {
	t.Helper()
	p.until(t, "listening at "+addr, func() bool {
		c, err := net.DialTimeout(network, addr, time.Second)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
}

// until waits for what the process does while it lives.
func (p *Process) until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	Eventually(t, what, 60*time.Second, func() bool {
		select {
		case <-p.Exited:
			if !ok() {
				t.Fatalf("%s ended before %s:\n%s", p.Cmd.Path, what, p.Out)
			}
			return true
		default:
			return ok()
		}
	})
}
