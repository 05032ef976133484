package monitor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	lockPause = 100 * time.Millisecond
	// staleLock is when a lock file's maker is taken for dead (postconf(5),
	// stale_lock_time).
	staleLock = 500 * time.Second
)

// lockMailbox locks a mailbox by fcntl(2) and then by a file beside it (Debian
// policy, 11.6); a folder in which the user makes no files has no such file. Who
// locks the other way round is not waited for with a lock held.
func lockMailbox(ctx context.Context, f *os.File, path string) (unlock func(), err error) {
	fcntl := func(typ int16) error {
		return unix.FcntlFlock(f.Fd(), unix.F_SETLK, &unix.Flock_t{Type: typ})
	}
	for {
		err := fcntl(unix.F_WRLCK)
		if err == nil {
			var beside bool
			if beside, err = lockBeside(path + ".lock"); err == nil {
				return func() {
					if beside {
						_ = os.Remove(path + ".lock") // else it becomes stale
					}
				}, nil
			}
			if unlockErr := fcntl(unix.F_UNLCK); unlockErr != nil {
				return nil, errors.Join(err, unlockErr)
			}
		}
		if !errors.Is(err, fs.ErrExist) && !errors.Is(err, unix.EAGAIN) {
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		select { // the monitor's deadline bounds the wait
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(lockPause):
		}
	}
}

// lockBeside makes a lock file; made is false where the folder does not let the
// user make files.
func lockBeside(lock string) (made bool, err error) {
	f, err := os.OpenFile(lock, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o444)
	switch {
	case errors.Is(err, fs.ErrPermission), errors.Is(err, unix.EROFS):
		return false, nil
	case errors.Is(err, fs.ErrExist):
		if st, serr := os.Lstat(lock); serr == nil && time.Since(st.ModTime()) > staleLock {
			_ = os.Remove(lock) // the next try tells
		}
		return false, err
	case err != nil:
		return false, err
	}
	_, err = fmt.Fprintf(f, "%d\n", os.Getpid())
	if err = errors.Join(err, f.Close()); err != nil {
		return false, errors.Join(err, os.Remove(lock))
	}
	return true, nil
}

// addToMaildir adds a file to a Maildir, which it makes if it is not there: whole
// and synced, or not at all (maildir(5)).
func addToMaildir(dir string, body io.Reader, size int64) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	for _, sub := range []string{"tmp", "new", "cur"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
			return err
		}
	}
	host, err := os.Hostname()
	if err != nil {
		return err
	}
	host = strings.NewReplacer("/", `\057`, ":", `\072`).Replace(host)
	now := time.Now()
	tmp := filepath.Join(dir, "tmp", fmt.Sprintf("%d.P%d.%s", now.Unix(), os.Getpid(), host))
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	var st unix.Stat_t
	err = errors.Join(copyBody(f, untilDone{ctx, body}, size), unix.Fstat(int(f.Fd()), &st), f.Close())
	if err == nil { // no other file has this device, number and time
		name := fmt.Sprintf("%d.V%xI%xM%d.%s", now.Unix(), st.Dev, st.Ino, now.Nanosecond()/1000, host)
		err = os.Rename(tmp, filepath.Join(dir, "new", name))
	}
	if err != nil {
		return errors.Join(err, os.Remove(tmp))
	}
	d, err := os.Open(filepath.Join(dir, "new"))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
