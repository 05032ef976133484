package maildrop

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"mtad/message"
)

// DefaultDir is where files are put.
const DefaultDir = "/var/spool/mtad"

// Mode of the directory: everybody may add files, only its owner may list them, only
// owners of files and of the directory remove them, and files get its group.
const dirMode = 0o3733

// fileMode of what is put there: the directory's group reads it.
const fileMode = 0o640

// suffix of files that are whole.
const suffix = ".mail"

// badDir is where files are moved that are not believed.
const badDir = "bad"

// Check looks whether the directory is there and is as Make would make it; if not, the
// error says how root makes it so.
func Check(dir string, uid, gid int) error {
	return advise(check(dir, uid, gid), dir, uid, gid)
}

// check opens nothing: root without capabilities may not.
func check(dir string, uid, gid int) error {
	var st unix.Stat_t
	err := unix.Lstat(dir, &st)
	switch {
	case err != nil:
		return &fs.PathError{Op: "look at", Path: dir, Err: err}
	case st.Mode&unix.S_IFMT != unix.S_IFDIR:
		return fmt.Errorf("%s is no directory", dir)
	case !right(st, uid, gid):
		return fmt.Errorf("%s belongs to %d:%d, mode %04o", dir, st.Uid, st.Gid, st.Mode&0o7777)
	}
	return nil
}

// Make makes the directory for the server's user, or mends owner and mode of one that
// is there; one that is as it should be is left alone. Only root may give it to another
// user, and a systemd unit with RestrictSUIDSGID nobody: the error says what to do then.
func Make(dir string, uid, gid int) error { return advise(mend(dir, uid, gid), dir, uid, gid) }

func advise(err error, dir string, uid, gid int) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("maildrop_directory: %w; to mend it run as root: install -d -o %d -g %d -m %o %s", err, uid, gid, dirMode, dir)
}

func right(st unix.Stat_t, uid, gid int) bool {
	return int(st.Uid) == uid && int(st.Gid) == gid && st.Mode&0o7777 == dirMode
}

func mend(dir string, uid, gid int) error {
	if check(dir, uid, gid) == nil {
		return nil
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	d, err := os.OpenFile(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.Chown(uid, gid); err != nil {
		return err
	}
	if err := unix.Fchmod(int(d.Fd()), dirMode); err != nil {
		return fmt.Errorf("chmod %s: %w", dir, err)
	}
	return nil
}

// Put puts a message into the directory. When it returns nil the message is on disk.
func Put(dir string, e Envelope, body message.Bytes) (err error) {
	name := NewKey()
	temp := filepath.Join(dir, "."+name)
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("maildrop: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(temp))
		}
	}()
	defer f.Close()
	if err := errors.Join(Write(f, e, body), f.Chmod(fileMode), f.Sync()); err != nil {
		return fmt.Errorf("maildrop: %w", err)
	}
	if err := os.Rename(temp, filepath.Join(dir, name+suffix)); err != nil {
		return fmt.Errorf("maildrop: %w", err)
	}
	// The directory can not be opened, so its new entry is synced by the file.
	if err := f.Sync(); err != nil {
		temp = filepath.Join(dir, name+suffix)
		return fmt.Errorf("maildrop: %w", err)
	}
	return nil
}

// whole reports whether a name is that of a whole file.
func whole(name string) bool { return strings.HasSuffix(name, suffix) && name[0] != '.' }
