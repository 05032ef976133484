package boot

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strings"
	"syscall"
)

// UnixPath is the path in an address "unix:/path".
func UnixPath(addr string) (path string, ok bool) { return strings.CutPrefix(addr, "unix:") }

// ListenUnix makes a socket with that mode, in place of one that nobody listens
// on any more. It is removed when the listener is closed.
func ListenUnix(path string, mode fs.FileMode) (net.Listener, error) {
	l, err := net.Listen("unix", path)
	if errors.Is(err, syscall.EADDRINUSE) && abandoned(path) {
		if err = os.Remove(path); err == nil {
			l, err = net.Listen("unix", path)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("boot: %w", err)
	}
	if err := os.Chmod(path, mode); err != nil {
		return nil, errors.Join(fmt.Errorf("boot: %w", err), l.Close())
	}
	return l, nil
}

// abandoned reports whether there is a socket that a crash has left.
func abandoned(path string) bool {
	info, err := os.Lstat(path)
	if err != nil || info.Mode().Type() != fs.ModeSocket {
		return false
	}
	c, err := net.Dial("unix", path)
	if err == nil {
		c.Close()
	}
	return errors.Is(err, syscall.ECONNREFUSED)
}
