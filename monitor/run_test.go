package monitor

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"mtad/internal/mtatest"
)

// child is what TestRun's monitor starts.
func child(mode string) int {
	c, sockets, err := Connect()
	if err != nil || c == nil {
		fmt.Println("connect:", err)
		return 1
	}
	if mode == "rogue" {
		c.send([]byte{version, 'x'}, nil)
		<-make(chan int)
	}
	got := make(chan os.Signal, 1)
	signal.Notify(got, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	if err := c.Tell(Ready); err != nil {
		fmt.Println("tell:", err)
		return 1
	}
	nnp, _ := unix.PrctlRetInt(unix.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0)
	fmt.Printf("uid %d, no_new_privs %d, env %q, notify %q\n", os.Getuid(), nnp, os.Getenv("KEPT"), os.Getenv("NOTIFY_SOCKET"))
	for _, s := range sockets {
		l, err := net.FileListener(s.File)
		if err != nil {
			fmt.Println("listener:", err)
			return 1
		}
		go func() {
			conn, err := l.Accept()
			if err == nil {
				fmt.Fprint(conn, s.Name)
				conn.Close()
			}
		}()
	}
	for {
		select {
		case <-c.Done():
			fmt.Println("the monitor is gone")
			return 3
		case s := <-got:
			fmt.Println("got", s)
			if s == syscall.SIGTERM && mode == "killed" {
				syscall.Kill(os.Getpid(), syscall.SIGKILL)
			}
			if s == syscall.SIGTERM {
				return 7
			}
		}
	}
}

// run starts a monitor in this process.
func run(t *testing.T, mode string) (addr string, out *mtatest.Buffer, stop chan struct{}, status chan int) {
	t.Helper()
	mtatest.NeedRoot(t, "the monitor starts a child as nobody")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	mtatest.Check(t, err)
	defer l.Close()
	f, err := l.(*net.TCPListener).File()
	mtatest.Check(t, err)
	out, stop, status = &mtatest.Buffer{}, make(chan struct{}), make(chan int, 1)
	states := make(chan State, 10)
	old := unix.Umask(0)
	t.Cleanup(func() { unix.Umask(old) })
	go func() {
		n, err := Run(Config{
			User: "nobody", Args: []string{"child", mode}, Env: []string{"KEPT=yes", "NOTIFY_SOCKET=/run/x"},
			Sockets: []Socket{{"127.0.0.1:smtp", f}}, Stdout: out, Stderr: out, Stop: stop,
			State: func(s State) { states <- s }, Log: slog.New(slog.NewTextHandler(out, nil)),
		})
		if err != nil {
			t.Error(err)
		}
		status <- n
	}()
	if mode != "rogue" {
		select {
		case s := <-states:
			if s != Ready {
				t.Errorf("state %q", s)
			}
		case n := <-status:
			t.Fatalf("exit %d: %s", n, out)
		}
	}
	return l.Addr().String(), out, stop, status
}

// The child is another user, has the sockets, hears the signals, and its status
// is the monitor's.
func TestRun(t *testing.T) {
	addr, out, stop, status := run(t, "serve")
	conn, err := net.Dial("tcp", addr)
	mtatest.Check(t, err)
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(limit))
	b, err := io.ReadAll(conn)
	if string(b) != "127.0.0.1:smtp" {
		t.Errorf("socket: %q %v", b, err)
	}
	said := func(text string) {
		t.Helper()
		mtatest.Eventually(t, text, limit, func() bool { return strings.Contains(out.String(), text) })
	}
	said(`uid 65534, no_new_privs 1, env "yes", notify ""`)
	mtatest.Check(t, syscall.Kill(os.Getpid(), syscall.SIGHUP))
	said("got hangup")
	mtatest.Check(t, syscall.Kill(os.Getpid(), syscall.SIGINT))
	said("got interrupt")
	close(stop)
	if n := <-status; n != 7 {
		t.Errorf("exit %d: %s", n, out)
	}
	said("got terminated")
}

func TestRunKilled(t *testing.T) {
	_, out, stop, status := run(t, "killed")
	close(stop)
	if n := <-status; n != 128+9 {
		t.Errorf("exit %d: %s", n, out)
	}
}

// A child that breaks the protocol is killed.
func TestRunRogue(t *testing.T) {
	_, out, _, status := run(t, "rogue")
	if n := <-status; n != 128+9 || !strings.Contains(out.String(), "of kind") {
		t.Errorf("exit %d: %s", n, out)
	}
}

func TestRunAsNobodyElse(t *testing.T) {
	for name, want := range map[string]string{"root": "is root", "no-such-user": "unknown user"} {
		if _, err := Run(Config{User: name}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Without a monitor there is no client; a wrong heritage is an error.
func TestConnect(t *testing.T) {
	if c, s, err := Connect(); c != nil || s != nil || err != nil {
		t.Errorf("%v %v %v", c, s, err)
	}
	for _, text := range []string{"", "{}", `{"version":1}x`, `{"version":2}`} {
		cmd := exec.Command(self(), "child", "serve")
		cmd.Env = []string{variable + "=" + text}
		if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "set by the monitor alone") {
			t.Errorf("%q: %s", text, out)
		}
	}
}
