package admin

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// maxSocketPath is what fits into a socket address (unix(7)).
const maxSocketPath = 107

// shortly calls fn with a path that fits into a socket address.
func shortly(path string, fn func(string) error) error {
	if len(path) <= maxSocketPath {
		return fn(path)
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer dir.Close()
	return fn(fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), filepath.Base(path)))
}

// Listen makes the control socket, in place of one that a crash left. The caller
// holds the lock of the store: nobody else serves this directory.
func Listen(path string) (net.Listener, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("admin: control socket: %w", err)
	}
	var l net.Listener
	err := shortly(path, func(short string) error {
		ul, err := net.ListenUnix("unix", &net.UnixAddr{Name: short, Net: "unix"})
		if err != nil {
			return err
		}
		ul.SetUnlinkOnClose(false)
		l = &socket{ul, path}
		return os.Chmod(path, 0o600)
	})
	if err != nil {
		if l != nil {
			l.Close()
		}
		return nil, fmt.Errorf("admin: control socket: %w", err)
	}
	return l, nil
}

// socket is the listener. It removes its file when it is closed.
type socket struct {
	net.Listener
	path string
}

// Accept returns connections whose remote address is a peer.
func (s *socket) Accept() (net.Conn, error) {
	c, err := s.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &peerConn{c, peerOf(c)}, nil
}

func (s *socket) Close() error {
	err := s.Listener.Close()
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	if rm := os.Remove(s.path); rm != nil && !errors.Is(rm, fs.ErrNotExist) {
		err = errors.Join(err, rm)
	}
	return err
}

// peer is the process at the other end, as the kernel knows it (unix(7),
// SO_PEERCRED).
type peer struct {
	uid   uint32
	pid   int32
	known bool
}

func (peer) Network() string { return "unix" }

func (p peer) String() string {
	if !p.known {
		return "unknown"
	}
	return fmt.Sprintf("uid=%d pid=%d", p.uid, p.pid)
}

// may reports whether the peer is root or the user of this process.
func (p peer) may() bool { return p.known && (p.uid == 0 || p.uid == myUID()) }

// myUID is the user that the server runs as.
func myUID() uint32 { return uint32(os.Geteuid()) }

type peerConn struct {
	net.Conn
	peer peer
}

func (c *peerConn) RemoteAddr() net.Addr { return c.peer }

// peerOf asks the kernel who is at the other end.
func peerOf(c net.Conn) peer {
	u, ok := c.(*net.UnixConn)
	if !ok {
		return peer{}
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return peer{}
	}
	var p peer
	err = raw.Control(func(fd uintptr) {
		cred, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
		if err == nil {
			p = peer{cred.Uid, cred.Pid, true}
		}
	})
	if err != nil {
		return peer{}
	}
	return p
}

type peerKey struct{}

// withPeer notes who connected.
func withPeer(ctx context.Context, c net.Conn) context.Context {
	p, _ := c.RemoteAddr().(peer)
	return context.WithValue(ctx, peerKey{}, p)
}

// admitPeers answers only those who may call.
func admitPeers(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if p, _ := r.Context().Value(peerKey{}).(peer); !p.may() {
			refuse(w, &Error{Permission, "only root and the user that runs mtad may do that"})
			return
		}
		h.ServeHTTP(w, r)
	})
}
