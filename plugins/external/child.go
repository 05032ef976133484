package external

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// child is the program as a process: go-plugin's runner.Runner.
//
// It is started by a thread of its own, for two things hang on threads:
// no_new_privs, which is inherited, and the signal that ends the program when
// the thread does, and so when mtad does, however that ends. The thread waits
// for the program and goes with it.
type child struct {
	cmd            *exec.Cmd
	limits         limits
	dir            string // where its socket must be
	stdout, stderr io.ReadCloser
	ended          chan struct{} // closed when the program has ended
	drained        chan struct{} // closed when its output has been read
	reaped         chan struct{} // closed when err is set

	mu   sync.Mutex
	gone bool  // the process ID may be another's
	why  error // why it was killed
	err  error
}

func newChild(cmd *exec.Cmd, l limits, dir string) (*child, error) {
	cmd.Stdin = nil // not mtad's
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	c := &child{cmd: cmd, limits: l, dir: dir, ended: make(chan struct{}), drained: make(chan struct{}), reaped: make(chan struct{})}
	var err error
	if c.stdout, err = cmd.StdoutPipe(); err != nil {
		return nil, err
	}
	pipe, err := cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	c.stderr = newThrottle(pipe, c.ended)
	return c, nil
}

// Start starts the program within its limits.
func (c *child) Start(context.Context) error {
	started := make(chan error, 1)
	go c.onThread(started)
	return <-started
}

// onThread does not unlock its thread, so that it ends with the goroutine.
func (c *child) onThread(started chan<- error) {
	runtime.LockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		started <- fmt.Errorf("no_new_privs: %w", err)
		return
	}
	if err := c.cmd.Start(); err != nil {
		started <- err
		return
	}
	pid := c.cmd.Process.Pid
	err := c.limits.set(pid)
	if err != nil {
		c.kill(err)
	}
	started <- err
	if err == nil && !c.limits.none() {
		go c.watch()
	}
	for unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil) == unix.EINTR {
	}
	// What it started would hold its output open.
	c.kill(nil)
	close(c.ended)
	if err == nil {
		c.drain()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.gone, c.err = true, c.cmd.Wait()
	close(c.reaped)
}

// drainPause is how long output may come after the program's end.
const drainPause = 500 * time.Millisecond

// drain waits until the output has been read. A process that the program has
// started, and that has left its group, may hold it open: then for a while.
func (c *child) drain() {
	t := time.NewTimer(drainPause)
	defer t.Stop()
	select {
	case <-c.drained:
		return
	case <-t.C:
	}
	// Their readers then end, and say so.
	_ = errors.Join(c.stdout.Close(), c.stderr.Close())
	<-c.drained
}

// kill ends the program and what it has started.
func (c *child) kill(why error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gone || c.cmd.Process == nil {
		return
	}
	if c.why == nil {
		c.why = why
	}
	// It may have ended by itself.
	_ = unix.Kill(-c.cmd.Process.Pid, unix.SIGKILL)
}

// cause is why it was killed, nil if it was not.
func (c *child) cause() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.why
}

// errStopped is the cause of those that mtad ends.
var errStopped = errors.New("stopped")

// Kill is go-plugin's last resort.
func (c *child) Kill(context.Context) error {
	c.kill(errStopped)
	return nil
}

// Wait is called once, when the program's output has been read.
func (c *child) Wait(context.Context) error {
	close(c.drained)
	<-c.reaped
	return c.err
}

// Stdout is read by go-plugin, for the handshake.
func (c *child) Stdout() io.ReadCloser { return c.stdout }

// Stderr goes to the log.
func (c *child) Stderr() io.ReadCloser { return c.stderr }

// Name is the program.
func (c *child) Name() string { return c.cmd.Path }

// ID is the process's, "" if it was not started.
func (c *child) ID() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cmd.Process == nil {
		return ""
	}
	return strconv.Itoa(c.cmd.Process.Pid)
}

// Diagnose has nothing to add to an error.
func (*child) Diagnose(context.Context) string { return "" }

// PluginToHost refuses to speak to anything but a socket in the folder that was made
// for it: what the program names would be sent mail.
func (c *child) PluginToHost(network, addr string) (string, string, error) {
	rel, err := filepath.Rel(c.dir, addr)
	if network != "unix" || err != nil || !filepath.IsLocal(rel) {
		return "", "", fmt.Errorf("it listens at %.200q, not at a Unix socket in PLUGIN_UNIX_SOCKET_DIR", network+":"+addr)
	}
	return network, addr, nil
}

// HostToPlugin leaves addresses as they are.
func (*child) HostToPlugin(network, addr string) (string, string, error) { return network, addr, nil }
