package monitor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"mtad/aliases"
)

// HelperArg is the first argument with which the monitor runs its own binary as
// a user: main gives what follows to Helper.
const HelperArg = "monitor-helper"

// Exit codes of the helper.
const (
	helperNoFile  = 66
	helperFull    = 73
	helperFault   = 75
	helperRefused = 77
)

// notListed begins what is said of a command or file that a user has not named.
const notListed = "no .forward of the user has "

// errRefused is what is not done for how a user's files are, until they change.
var errRefused = errors.New("not done")

// task is what the helper is to do; it is its argument.
type task struct {
	Op      Op     `json:"op"`
	Home    string `json:"home"`
	Path    string `json:"path,omitempty"`
	Command string `json:"command,omitempty"`
	Size    int64  `json:"size,omitempty"`
	Listed  bool   `json:"listed,omitempty"` // only if the user's .forward files name it
	Shared  bool   `json:"shared,omitempty"` // the file is its group's too
}

// Helper does, with the rights of a user, what needs no program of the system's,
// and returns the exit code.
func Helper(args []string, stdin io.Reader, stdout io.Writer) int {
	var t task
	if len(args) != 1 || strictly([]byte(args[0]), &t) != nil {
		fmt.Fprintln(stdout, "this is for the monitor alone")
		return helperFault
	}
	err := t.do(stdin, stdout)
	if err == nil {
		return 0
	}
	fmt.Fprintln(stdout, err)
	switch {
	case errors.Is(err, fs.ErrNotExist) && t.Op == OpForward:
		return helperNoFile
	case errors.Is(err, errRefused):
		return helperRefused
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT), errors.Is(err, unix.EFBIG):
		return helperFull
	}
	return helperFault
}

func (t *task) do(stdin io.Reader, stdout io.Writer) error {
	if t.Listed {
		if err := t.listed(); err != nil {
			return err
		}
	}
	switch {
	case t.Op == OpForward:
		text, err := readForward(t.Home, t.Path)
		if err == nil {
			_, err = stdout.Write(text)
		}
		return err
	case t.Op == OpRun && t.Command != "":
		argv := commandLine(t.Command)
		return fmt.Errorf("%s: %w", argv[0], syscall.Exec(argv[0], argv, os.Environ()))
	case t.Op == OpDeliver && strings.HasSuffix(t.Path, "/"):
		return addToMaildir(t.Path, stdin, t.Size)
	case t.Op == OpDeliver:
		return appendMail(t.Path, stdin, t.Size, t.Shared)
	}
	return errors.New("this is for the monitor alone")
}

// listed looks for the command or file in the user's .forward files.
func (t *task) listed() error {
	entries, err := os.ReadDir(t.Home)
	if err != nil {
		return err
	}
	want := aliases.Target{Kind: aliases.File, Text: t.Path}
	if t.Op == OpRun {
		want = aliases.Target{Kind: aliases.Command, Text: t.Command}
	}
	var errs []error
	for _, e := range entries {
		if !isForward(e.Name()) {
			continue
		}
		text, err := readForward(t.Home, t.Home+"/"+e.Name())
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if targets, _ := aliases.ParseList(e.Name(), string(text)); slices.Contains(targets, want) {
			return nil
		}
	}
	return errors.Join(append([]error{fmt.Errorf("%s%s (%w)", notListed, want, errRefused)}, errs...)...)
}

// openOwn opens a file that must be a plain one, not a link, and the user's: a
// folder that others write to may have something else of that name.
func openOwn(path string, flag int, mode os.FileMode) (*os.File, *unix.Stat_t, error) {
	f, err := os.OpenFile(path, flag|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_NOCTTY, mode)
	if errors.Is(err, unix.ELOOP) || errors.Is(err, unix.ENXIO) {
		return nil, nil, fmt.Errorf("%s is no plain file (%w)", path, errRefused)
	}
	if err != nil {
		return nil, nil, err
	}
	var st unix.Stat_t
	err = unix.Fstat(int(f.Fd()), &st)
	switch {
	case err != nil:
	case st.Mode&unix.S_IFMT != unix.S_IFREG:
		err = fmt.Errorf("%s is no plain file (%w)", path, errRefused)
	case st.Uid != uint32(os.Getuid()):
		err = fmt.Errorf("%s is not the user's (%w)", path, errRefused)
	}
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	return f, &st, nil
}

// appendMail adds size octets to a file, all of them or none: a short body, an
// error or SIGTERM takes back what was written. A shared file is its group's too
// (Debian policy, 11.6).
func appendMail(path string, body io.Reader, size int64, shared bool) (err error) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	mode := os.FileMode(0o600)
	if shared {
		mode = 0o660
		unix.Umask(0o007)
	}
	f, st, err := openOwn(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, mode)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if st.Nlink != 1 {
		return fmt.Errorf("%s has other names (%w)", path, errRefused)
	}
	unlock, err := lockMailbox(ctx, f, path)
	if err != nil {
		return err
	}
	defer unlock()
	before, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	if err = copyBody(f, untilDone{ctx, body}, size); err != nil {
		return errors.Join(err, f.Truncate(before))
	}
	return nil
}

// copyBody writes a body, whole and synced.
func copyBody(f *os.File, body io.Reader, size int64) error {
	n, err := io.Copy(f, io.LimitReader(body, size))
	if err == nil && n != size {
		err = fmt.Errorf("%d octets of %d came", n, size)
	}
	if err == nil {
		err = f.Sync()
	}
	return err
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

// readForward reads a .forward file that nobody else can have written, nor put
// there (sendmail(8): safe files in safe folders).
func readForward(home, path string) ([]byte, error) {
	f, st, err := openOwn(path, os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var dir unix.Stat_t
	if err := unix.Stat(home, &dir); err != nil {
		return nil, err
	}
	switch {
	case st.Mode&0o022 != 0:
		return nil, fmt.Errorf("%s may be written by others: chmod go-w it (%w)", path, errRefused)
	case st.Nlink != 1:
		return nil, fmt.Errorf("%s has other names (%w)", path, errRefused)
	case st.Size > maxOutput:
		return nil, fmt.Errorf("%s is larger than %d octets (%w)", path, maxOutput, errRefused)
	case dir.Mode&0o022 != 0:
		return nil, fmt.Errorf("%s may be written by others, so %s may be anybody's: chmod go-w it (%w)", home, path, errRefused)
	case dir.Uid != 0 && dir.Uid != uint32(os.Getuid()):
		return nil, fmt.Errorf("%s is another user's (%w)", home, errRefused)
	}
	return io.ReadAll(io.LimitReader(f, maxOutput))
}
