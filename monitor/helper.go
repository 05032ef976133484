package monitor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// HelperArg is the first argument with which the monitor runs its own binary as
// a user: main gives what follows to Helper.
const HelperArg = "monitor-helper"

// Exit codes of the helper.
const (
	helperNoFile = 66
	helperFault  = 75
)

// Helper does, with the rights of a user, what needs no program of the system's,
// and returns the exit code.
func Helper(args []string, stdin io.Reader, stdout io.Writer) int {
	var err error
	switch {
	case len(args) == 3 && args[0] == string(OpDeliver):
		var size int64
		if size, err = strconv.ParseInt(args[2], 10, 64); err == nil {
			err = appendMail(args[1], stdin, size)
		}
	case len(args) == 2 && args[0] == string(OpForward):
		err = readForward(args[1], stdout)
	default:
		err = errors.New("this is for the monitor alone")
	}
	switch {
	case err == nil:
		return 0
	case errors.Is(err, fs.ErrNotExist) && args[0] == string(OpForward):
		return helperNoFile
	}
	fmt.Fprintln(stdout, err)
	return helperFault
}

// openOwn opens a file that must be a plain one, not a link, and the user's: a
// folder that others write to may have something else of that name.
func openOwn(path string, flag int) (*os.File, *unix.Stat_t, error) {
	f, err := os.OpenFile(path, flag|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o600)
	if err != nil {
		return nil, nil, err
	}
	var st unix.Stat_t
	err = unix.Fstat(int(f.Fd()), &st)
	switch {
	case err != nil:
	case st.Mode&unix.S_IFMT != unix.S_IFREG:
		err = fmt.Errorf("%s is no plain file", path)
	case st.Uid != uint32(os.Getuid()):
		err = fmt.Errorf("%s is not the user's", path)
	}
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	return f, &st, nil
}

// appendMail adds size octets to a file, all of them or none: a short body, an
// error or SIGTERM takes back what was written.
func appendMail(path string, body io.Reader, size int64) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	f, st, err := openOwn(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND)
	if err != nil {
		return err
	}
	if st.Nlink != 1 {
		return errors.Join(fmt.Errorf("%s has other names", path), f.Close())
	}
	// The monitor's deadline bounds the wait.
	if err := unix.FcntlFlock(f.Fd(), unix.F_SETLKW, &unix.Flock_t{Type: unix.F_WRLCK}); err != nil {
		return errors.Join(fmt.Errorf("lock %s: %w", path, err), f.Close())
	}
	before, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return errors.Join(err, f.Close())
	}
	n, err := io.Copy(f, io.LimitReader(untilDone{ctx, body}, size))
	if err == nil && n != size {
		err = fmt.Errorf("%d octets of %d came", n, size)
	}
	if err == nil {
		err = f.Sync()
	}
	if err != nil {
		err = errors.Join(err, f.Truncate(before))
	}
	return errors.Join(err, f.Close())
}

// untilDone ends a body when ctx does.
type untilDone struct {
	ctx context.Context
	r   io.Reader
}

func (u untilDone) Read(p []byte) (int, error) {
	if err := u.ctx.Err(); err != nil {
		return 0, err
	}
	return u.r.Read(p)
}

// readForward prints a .forward file that nobody else can have written.
func readForward(path string, w io.Writer) error {
	f, st, err := openOwn(path, os.O_RDONLY)
	if err != nil {
		return err
	}
	defer f.Close()
	switch {
	case st.Mode&0o022 != 0:
		return fmt.Errorf("%s may be written by others", path)
	case st.Size > maxOutput:
		return fmt.Errorf("%s is larger than %d octets", path, maxOutput)
	}
	_, err = io.Copy(w, io.LimitReader(f, maxOutput))
	return err
}
