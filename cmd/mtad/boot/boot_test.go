package boot

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"mtad/internal/mtatest"
)

// bound is a socket as systemd passes it.
func bound(t *testing.T, name string) (passed, string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	mtatest.Check(t, err)
	defer l.Close()
	f, err := l.(*net.TCPListener).File()
	mtatest.Check(t, err)
	return passed{name, l.Addr().String(), f}, l.Addr().String()
}

func TestListen(t *testing.T) {
	a, addrA := bound(t, "mx")
	b, addrB := bound(t, "mx")
	c, addrC := bound(t, "mtad.socket")
	d, _ := bound(t, "mtad.socket")
	s := &Start{passed: []passed{a, c, b, d}}
	addrs := func(ls []net.Listener, err error) (out string) {
		t.Helper()
		mtatest.Check(t, err)
		for _, l := range ls {
			out += l.Addr().String() + " "
			l.Close()
		}
		return out
	}
	if got := addrs(s.Listen("mx", "127.0.0.1:1")); got != addrA+" "+addrB+" " {
		t.Errorf("by name: %s", got)
	}
	if got := addrs(s.Listen("other", addrC, "127.0.0.1:0")); !strings.HasPrefix(got, addrC+" 127.0.0.1:") {
		t.Errorf("by address: %s", got)
	}
	if err := s.Unused(); err == nil || !strings.Contains(err.Error(), d.addr) {
		t.Errorf("unused: %v", err)
	}
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	mtatest.Check(t, err)
	defer busy.Close()
	var at *AddrError
	_, err = (&Start{}).Listen("x", "127.0.0.1:0", busy.Addr().String())
	if !errors.As(err, &at) || at.Addr != busy.Addr().String() || !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("busy: %v", err)
	}
	f, err := os.Open(t.TempDir())
	mtatest.Check(t, err)
	if _, err := (&Start{passed: []passed{{"x", "", f}}}).Listen("x"); err == nil {
		t.Error("a directory listens")
	}
}

// All of IPv4 and all of IPv6 at one port are two sockets.
func TestListenBothFamilies(t *testing.T) {
	six, err := net.Listen("tcp6", "[::1]:0")
	if err != nil {
		t.Skip("no IPv6 here")
	}
	six.Close()
	port := mtatest.FreePort(t)
	ls, err := (&Start{}).Listen("mx", fmt.Sprintf("0.0.0.0:%d", port), fmt.Sprintf("[::]:%d", port))
	mtatest.Check(t, err)
	// Passed as the two, they are what a listener of the port alone means.
	s := &Start{}
	for _, l := range ls {
		f, err := l.(*net.TCPListener).File()
		mtatest.Check(t, err)
		s.passed = append(s.passed, passed{"mtad.socket", l.Addr().String(), f})
		l.Close()
	}
	both, err := s.Listen("mx", fmt.Sprintf(":%d", port))
	if err != nil || len(both) != 2 || s.Unused() != nil {
		t.Errorf("%d sockets, %v, %v", len(both), err, s.Unused())
	}
	for _, l := range both {
		l.Close()
	}
}

func TestSameAddr(t *testing.T) {
	for _, tc := range []struct {
		bound, addr string
		same        bool
	}{
		{"127.0.0.1:25", "127.0.0.1:25", true},
		{"[::]:25", ":25", true},
		{"0.0.0.0:25", ":25", true},
		{"0.0.0.0:26", ":25", false},
		{"127.0.0.1:25", ":25", false},
		{"[::]:25", "0.0.0.0:25", false},
		{"127.0.0.1:25", "127.0.0.1:26", false},
		{"127.0.0.1:25", "localhost:25", false},
	} {
		if sameAddr(tc.bound, tc.addr) != tc.same {
			t.Errorf("%s and %s", tc.bound, tc.addr)
		}
	}
}

func TestOwnDir(t *testing.T) {
	mtatest.NeedRoot(t, "directories are given away")
	nobody, err := user.Lookup("nobody")
	mtatest.Check(t, err)
	dir := filepath.Join(t.TempDir(), "data")
	mtatest.Check(t, ownDir(dir, nobody))
	st, err := os.Stat(dir)
	mtatest.Check(t, err)
	if st.Mode().Perm() != 0o700 || owner(st) != int(mtatest.Nobody(t).Uid) {
		t.Errorf("mode %v, owner %d", st.Mode(), owner(st))
	}
	mtatest.Check(t, ownDir(dir, nobody))
	var nobodyErr *UserError
	if err := ownDir(t.TempDir(), nobody); !errors.As(err, &nobodyErr) {
		t.Errorf("root's: %v", err)
	}
	if err := ownDir(filepath.Join(dir, "x", "y"), nobody); err == nil {
		t.Error("made a folder within what is not there")
	}
}

// TestListenUnix checks that a socket which a crash left is replaced, and one in
// use, or another file, is not.
func TestListenUnix(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "s")
	l, err := ListenUnix(path, 0o600)
	mtatest.Check(t, err)
	if _, err := ListenUnix(path, 0o600); err == nil {
		t.Error("a socket in use was taken over")
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	l.Close()
	l, err = ListenUnix(path, 0o600)
	mtatest.Check(t, err)
	l.Close()
	mtatest.Write(t, path, "a file")
	if _, err := ListenUnix(path, 0o600); err == nil || errors.Is(err, net.ErrClosed) {
		t.Errorf("a file was replaced: %v", err)
	}
}
