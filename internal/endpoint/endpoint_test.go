package endpoint

import (
	"context"
	"encoding/base64"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"
)

func TestLimitKey(t *testing.T) {
	for addr, want := range map[string]string{
		"192.0.2.1": "192.0.2.1/32", "2001:db8::1": "2001:db8::/64", "2001:db8::ffff:1": "2001:db8::/64", "fe80::1%eth0": "fe80::/64",
	} {
		if got := limitKey(netip.MustParseAddr(addr)).String(); got != want {
			t.Errorf("%s: key %s, want %s", addr, got, want)
		}
	}
}

func TestPlain(t *testing.T) {
	for _, c := range []struct {
		message, name, password string
		ok                      bool
	}{
		{"\x00alice\x00secret", "alice", "secret", true},
		{"alice\x00alice\x00secret", "alice", "secret", true},
		{"bob\x00alice\x00secret", "", "", false}, // acting for somebody else
		{"\x00\x00secret", "", "", false},
		{"\x00alice", "", "", false},
		{"\x00a\x00b\x00c", "", "", false},
	} {
		name, password, ok := Plain(base64.StdEncoding.EncodeToString([]byte(c.message)))
		if name != c.name || password != c.password || ok != c.ok {
			t.Errorf("%q: %q, %q, %v", c.message, name, password, ok)
		}
	}
	if _, _, ok := Plain("?"); ok {
		t.Error("that is not base64")
	}
}

// serving is a Server whose sessions are f, and a connection to it.
func serving(t *testing.T, c Config, f func(context.Context, *Conn)) (*Server, net.Conn) {
	t.Helper()
	c.Name, c.Logger, c.MaxConnections, c.MaxPerAddress = "test", slog.New(slog.DiscardHandler), 10, 10
	c.Session = func(ctx context.Context, conn *Conn, _ bool) { f(ctx, conn) }
	c.Refuse = func(reason string) string { return reason + "\n" }
	Default(&c.StallTimeout, time.Minute)
	Default(&c.IdleTimeout, time.Minute)
	Default(&c.LoginTimeout, time.Minute)
	s := New(c)
	here, there := net.Pipe()
	t.Cleanup(func() { here.Close() })
	s.Take(there, false)
	return s, here
}

// Each wait ends in its own time.
func TestTimeouts(t *testing.T) {
	for name, c := range map[string]Config{
		"idle": {IdleTimeout: time.Millisecond}, "login": {LoginTimeout: time.Millisecond}, "stall": {StallTimeout: time.Millisecond},
	} {
		got := make(chan error, 1)
		s, _ := serving(t, c, func(_ context.Context, conn *Conn) {
			conn.Wait(name != "stall")
			_, err := conn.Read(make([]byte, 1))
			got <- err
		})
		if err := <-got; !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: %v", name, err)
		}
		if err := s.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

// Shutdown wakes who waits for a command, and lets others finish theirs.
func TestShutdownInterrupts(t *testing.T) {
	waiting := make(chan struct{})
	s, client := serving(t, Config{}, func(_ context.Context, conn *Conn) {
		conn.LoggedIn()
		conn.LoggedOut()
		conn.Wait(true)
		close(waiting)
		_, err := conn.Read(make([]byte, 1))
		if !conn.Interrupted() || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("read ended with %v", err)
		}
		conn.Wait(false)
		if _, err := io.WriteString(conn, "bye\n"); err != nil {
			t.Error(err)
		}
	})
	<-waiting
	said := make(chan string, 1)
	go func() {
		b, _ := io.ReadAll(client) // the pipe's end is no error that matters
		said <- string(b)
	}()
	if err := s.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if got := <-said; got != "bye\n" {
		t.Errorf("the client read %q", got)
	}
	if n := s.Connections(); n != 0 {
		t.Errorf("%d connections are left", n)
	}
}

// A panic ends one session, and is in the log.
func TestPanic(t *testing.T) {
	var log strings.Builder
	s := New(Config{
		Name: "test", Logger: slog.New(slog.NewTextHandler(&log, nil)), MaxConnections: 1, MaxPerAddress: 1,
		Session: func(context.Context, *Conn, bool) { panic("odd") },
	})
	here, there := net.Pipe()
	s.Take(there, false)
	if _, err := here.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("the connection: %v", err)
	}
	if err := s.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if !strings.Contains(log.String(), "panic=odd") {
		t.Errorf("log: %s", log.String())
	}
}

// Each failed login costs more than the one before, and the last is the last.
func TestLoginFailed(t *testing.T) {
	s := New(Config{FailureDelay: time.Millisecond, MaxFailures: 2})
	here, there := net.Pipe()
	defer here.Close()
	c := s.NewConn(there)
	for want := 1; want <= 2; want++ {
		began := time.Now()
		n, more, err := c.LoginFailed(t.Context())
		if n != want || more != (want < 2) || err != nil || time.Since(began) < time.Duration(want)*time.Millisecond {
			t.Errorf("failure %d: %d, %v, %v after %v", want, n, more, err, time.Since(began))
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := c.LoginFailed(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("cut short: %v", err)
	}
}
