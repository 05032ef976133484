package maildrop

import (
	"crypto/rand"
	"encoding/hex"
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

// Make makes the directory for the server's user, or mends owner and mode of one that
// is there. Only root may give it to another user.
func Make(dir string, uid, gid int) error {
	err := os.Mkdir(dir, 0o700)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("maildrop_directory: %w", err)
	}
	d, err := os.OpenFile(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return fmt.Errorf("maildrop_directory: %w", err)
	}
	defer d.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(d.Fd()), &st); err != nil {
		return fmt.Errorf("maildrop_directory: %w", err)
	}
	if int(st.Uid) != uid || int(st.Gid) != gid {
		if err := d.Chown(uid, gid); err != nil {
			return fmt.Errorf("maildrop_directory: %w", err)
		}
	}
	if st.Mode&0o7777 != dirMode || int(st.Uid) != uid || int(st.Gid) != gid {
		if err := unix.Fchmod(int(d.Fd()), dirMode); err != nil {
			return fmt.Errorf("maildrop_directory: chmod %s: %w", dir, err)
		}
	}
	return nil
}

// Put puts a message into the directory. When it returns nil the message is on disk.
func Put(dir string, e Envelope, body message.Bytes) (err error) {
	var id [12]byte
	if _, err := rand.Read(id[:]); err != nil {
		return err
	}
	name := hex.EncodeToString(id[:])
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
