package edit

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"syscall"
	"time"
)

// patience is how long another command is waited for.
const patience = 10 * time.Second

// lock lets one command at a time write below a folder.
func lock(dir string) (unlock func(), err error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		err := syscall.Flock(int(d.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		switch {
		case err == nil:
			return func() { d.Close() }, nil
		case !errors.Is(err, syscall.EWOULDBLOCK) || time.Now().After(end):
			return nil, errors.Join(fmt.Errorf("lock %s: %w", dir, err), d.Close())
		}
	}
}

// chownLike gives a file the owner of another, where that may be done.
func chownLike(f *os.File, st os.FileInfo) error {
	s, ok := st.Sys().(*syscall.Stat_t)
	if !ok || os.Getuid() != 0 {
		return nil
	}
	return f.Chown(int(s.Uid), int(s.Gid))
}

// who changes the configuration: whoever became root by sudo, else the user.
func who() string {
	if name := os.Getenv("SUDO_USER"); name != "" {
		return name
	}
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return "unknown"
}
