package monitor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// grace is what a process has between SIGTERM and SIGKILL.
const grace = time.Second

// process is something to be run as a user.
type process struct {
	argv  []string
	env   []string
	dir   string
	who   *account
	cred  *syscall.Credential
	stdin io.Reader
}

// run runs it until it ends or ctx does; then nothing of its process group is
// left.
func (p *process) run(ctx context.Context) (a Answer) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		a = p.onThread(ctx)
	}()
	<-done
	a.Version = version
	return a
}

// onThread has a system thread for itself, which may gain no privileges, and
// whose end would kill the process. The goroutine ends without unlocking it, so
// that the thread ends too.
func (p *process) onThread(ctx context.Context) Answer {
	runtime.LockOSThread()
	if err := noNewPrivileges(); err != nil {
		return Answer{Fault: Failed, Text: err.Error()}
	}
	out := &bounded{}
	cmd := &exec.Cmd{
		Path: p.argv[0], Args: p.argv, Env: p.env, Dir: p.dir,
		Stdin: p.stdin, Stdout: out, Stderr: out, WaitDelay: grace,
		SysProcAttr: &syscall.SysProcAttr{Credential: p.cred, Setsid: true, Pdeathsig: syscall.SIGKILL},
	}
	if err := cmd.Start(); err != nil {
		return Answer{Fault: Failed, Text: fmt.Sprintf("%s as %s in %s: %v", p.argv[0], p.who.name, p.dir, err)}
	}
	late := reapGroup(ctx, cmd.Process.Pid)
	err := cmd.Wait()
	if late {
		return Answer{Fault: Timeout, Text: fmt.Sprintf("%s was killed: %v", p.argv[0], context.Cause(ctx))}
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) && !errors.Is(err, exec.ErrWaitDelay) {
		return Answer{Fault: Failed, Text: err.Error()}
	}
	return Answer{Exit: exitStatus(cmd.ProcessState.Sys().(syscall.WaitStatus)), Output: out.b, Cut: out.cut}
}

// noNewPrivileges is inherited by what this thread starts (prctl(2)).
func noNewPrivileges() error {
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("no_new_privs: %w", err)
	}
	return nil
}

// reapGroup waits until the leader of a process group has ended, by itself or
// because ctx did, and kills the rest. It leaves the leader to be waited for, so
// that its ID is nobody else's as long as something is sent there.
func reapGroup(ctx context.Context, pid int) (late bool) {
	ended, stopped := make(chan struct{}), make(chan bool)
	go func() {
		select {
		case <-ended:
			stopped <- false
			return
		case <-ctx.Done():
		}
		unix.Kill(-pid, unix.SIGTERM)
		select {
		case <-ended:
		case <-time.After(grace):
			unix.Kill(-pid, unix.SIGKILL)
		}
		stopped <- true
	}()
	for unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil) == unix.EINTR {
	}
	close(ended)
	late = <-stopped
	unix.Kill(-pid, unix.SIGKILL)
	return late
}

// exitStatus is as a shell has it.
func exitStatus(ws syscall.WaitStatus) int {
	if ws.Signaled() {
		return 128 + int(ws.Signal())
	}
	return ws.ExitStatus()
}

// bounded keeps the beginning of what is written to it.
type bounded struct {
	b   []byte
	cut bool
}

func (o *bounded) Write(p []byte) (int, error) {
	n := min(len(p), maxOutput-len(o.b))
	o.b = append(o.b, p[:n]...)
	o.cut = o.cut || n < len(p)
	return len(p), nil
}
