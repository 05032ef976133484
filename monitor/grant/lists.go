package grant

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/user"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"mtad/aliases"
)

const (
	maxIncludes = 1000
	maxNesting  = 20
)

// lists are the commands and files of the aliases.
type lists struct {
	mu     sync.Mutex
	read   bool
	stamps map[string]stamp // of the files that were read, or were not there
	found  map[listed]bool
	err    error
}

// listed is a command or file, and as whom.
type listed struct {
	aliases.Target
	user string
}

// stamp tells a file from what it was.
type stamp struct {
	dev, ino uint64
	size     int64
	changed  time.Time
}

// has reports whether a command or file stands in the aliases, for a user. The
// error is what of them could not be read.
func (l *lists) has(paths []string, want aliases.Target, user string) (bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.read || l.changed() {
		l.reread(paths)
	}
	return l.found[listed{want, user}], l.err
}

func (l *lists) changed() bool {
	for path, was := range l.stamps {
		if st, err := os.Stat(path); stampOf(st, err) != was {
			return true
		}
	}
	return false
}

func stampOf(st fs.FileInfo, err error) stamp {
	if err != nil {
		return stamp{}
	}
	s, ok := st.Sys().(*syscall.Stat_t)
	if !ok {
		return stamp{}
	}
	return stamp{s.Dev, s.Ino, s.Size, time.Unix(s.Ctim.Unix())}
}

func (l *lists) reread(paths []string) {
	l.read, l.err = true, nil
	l.stamps, l.found = map[string]stamp{}, map[listed]bool{}
	for _, path := range paths {
		if err := l.file(path); err != nil {
			l.err = errors.Join(l.err, err)
		}
	}
}

// file reads a file that the configuration names.
func (l *lists) file(path string) error {
	l.stamps[path] = stamp{}
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	text, owner, err := l.content(f, path, aliases.MaxFile, 0o002)
	if err != nil {
		return err
	}
	entries, _ := aliases.Parse(path, text) // the server's log tells the errors
	for _, e := range entries {
		l.targets(e.Targets, owner, 0)
	}
	return nil
}

// targets takes commands and files, and reads what is included.
func (l *lists) targets(targets []aliases.Target, user string, depth int) {
	for _, t := range targets {
		switch t.Kind {
		case aliases.Command, aliases.File:
			l.found[listed{t, user}] = true
		case aliases.Include:
			if err := l.include(t.Text, user, depth+1); err != nil {
				l.err = errors.Join(l.err, err)
			}
		}
	}
}

// include reads a file that a list names. Nothing may be a link on the way
// there: who can make one there would have others' files read as lists.
func (l *lists) include(path, user string, depth int) error {
	if _, known := l.stamps[path]; known && l.found[listed{aliases.Target{Kind: aliases.Include, Text: path}, user}] {
		return nil
	}
	if depth > maxNesting || len(l.stamps) > maxIncludes {
		return fmt.Errorf("%s: too many files are included", path)
	}
	l.stamps[path] = stamp{}
	l.found[listed{aliases.Target{Kind: aliases.Include, Text: path}, user}] = true
	fd, err := unix.Openat2(unix.AT_FDCWD, path, &unix.OpenHow{Flags: unix.O_RDONLY | unix.O_NONBLOCK | unix.O_CLOEXEC, Resolve: unix.RESOLVE_NO_SYMLINKS})
	if err != nil {
		return &fs.PathError{Op: "open, which may be no link,", Path: path, Err: err}
	}
	text, owner, err := l.content(os.NewFile(uintptr(fd), path), path, aliases.MaxList, 0o022)
	if err != nil {
		return err
	}
	if owner != "" {
		user = owner
	}
	targets, _ := aliases.ParseList(path, text)
	l.targets(targets, user, depth)
	return nil
}

// content reads a file and finds its owner: "" for root. Others may not write to
// it.
func (l *lists) content(f *os.File, path string, limit int64, others uint32) (text, owner string, err error) {
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return "", "", err
	}
	l.stamps[path] = stampOf(st, nil)
	s, ok := st.Sys().(*syscall.Stat_t)
	switch {
	case !ok || !st.Mode().IsRegular():
		return "", "", fmt.Errorf("%s is no plain file", path)
	case s.Mode&others != 0:
		return "", "", fmt.Errorf("%s may be written by others: commands and files in it are not granted", path)
	case st.Size() > limit:
		return "", "", fmt.Errorf("%s has %d octets; at most %d are read", path, st.Size(), limit)
	}
	if s.Uid != 0 {
		u, err := user.LookupId(strconv.FormatUint(uint64(s.Uid), 10))
		if err != nil {
			return "", "", fmt.Errorf("owner of %s: %w", path, err)
		}
		owner = u.Username
	}
	b, err := io.ReadAll(io.LimitReader(f, limit))
	return string(b), owner, err
}
