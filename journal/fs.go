package journal

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// FS is the folder of the segments. DirFS is the real one; a test's loses at a
// power cut whatever was not synced.
type FS interface {
	// Create makes a new file with size octets of room, all zero.
	Create(name string, size int64) (Writer, error)
	Open(name string) (Reader, error)
	Dir() Directory
}

// Directory is the folder itself.
type Directory interface {
	Names() ([]string, error)
	Remove(name string) error
	// Sync makes a file's octets durable, or with an empty name the entries of
	// the directory.
	Sync(name string) error
}

// Writer is a segment being written.
type Writer interface {
	io.WriterAt
	// Sync makes everything written so far durable. It is never called again
	// after an error.
	Sync() error
	// Finish cuts the file to size octets and closes it.
	Finish(size int64) error
}

// Reader is a segment being read.
type Reader interface {
	io.ReaderAt
	Size() int64
	io.Closer
}

// DirFS is a folder of the operating system, which must exist.
func DirFS(dir string) FS { return dirFS(dir) }

type dirFS string

func (d dirFS) Create(name string, size int64) (Writer, error) {
	path := filepath.Join(string(d), name)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	err = allocate(f, size)
	if err == nil {
		err = leaveRoom(f)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("allocate %d octets for %s: %w", size, path, err), f.Close(), os.Remove(path))
	}
	return osWriter{f}, nil
}

// allocate reserves the room, so that a full disk shows here and not in the
// middle of a record. File systems without the call get a sparse file.
func allocate(f *os.File, size int64) error {
	err := unix.Fallocate(int(f.Fd()), 0, 0, size)
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS) {
		return f.Truncate(size)
	}
	return err
}

// reserve is what a new segment leaves free: the database beside it must take up
// what the journal has accepted, and let users delete mail, on a full disk too.
const reserve = 16 << 20

// leaveRoom refuses a segment that would take the reserve.
func leaveRoom(f *os.File) error {
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &st); err != nil {
		return err
	}
	if int64(st.Bavail)*st.Bsize < reserve {
		return fmt.Errorf("less than %d MB would be left: %w", reserve>>20, unix.ENOSPC)
	}
	return nil
}

func (d dirFS) Open(name string) (Reader, error) {
	f, err := os.Open(filepath.Join(string(d), name))
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return osReader{f, info}, nil
}

func (d dirFS) Dir() Directory { return osDir(d) }

type osWriter struct{ *os.File }

func (w osWriter) Sync() error {
	for {
		err := unix.Fdatasync(int(w.Fd()))
		if err != unix.EINTR {
			return err
		}
	}
}

func (w osWriter) Finish(size int64) error {
	return errors.Join(w.Truncate(size), w.Close())
}

type osReader struct {
	*os.File
	info fs.FileInfo
}

func (r osReader) Size() int64 { return r.info.Size() }

type osDir string

func (d osDir) Names() ([]string, error) {
	entries, err := os.ReadDir(string(d))
	if err != nil {
		return nil, err
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	return names, nil
}

func (d osDir) Remove(name string) error { return os.Remove(filepath.Join(string(d), name)) }

func (d osDir) Sync(name string) error {
	f, err := os.Open(filepath.Join(string(d), name))
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
