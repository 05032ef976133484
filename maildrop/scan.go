package maildrop

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"mtad/message"
)

// Bounds of one round.
const (
	maxNames = 20000
	maxMails = 500
	maxBad   = 200 // files that are kept for people to look at; more are removed
)

// Scanner takes what is in the directory, round after round.
type Scanner struct {
	Dir      string
	SpoolDir string
	MaxSize  func() int64  // of a message
	Every    time.Duration // between rounds; a second
	// Take takes a message of a user for good. An error that Again says passes leaves
	// the file; else it is moved aside.
	Take  func(ctx context.Context, uid uint32, e Envelope, body message.Bytes) error
	Again func(error) bool
	Log   *slog.Logger

	dir   *os.File // read on in the next round
	tried map[string]time.Time
}

// again is how long a message that could not be taken waits.
const again = time.Minute

// found is a file that may be a message.
type found struct {
	name string
	uid  uint32
}

// Run takes what comes until ctx ends.
func (s *Scanner) Run(ctx context.Context) {
	if s.Every == 0 {
		s.Every = time.Second
	}
	t := time.NewTicker(s.Every)
	defer t.Stop()
	defer func() {
		if s.dir != nil {
			s.dir.Close()
		}
	}()
	complained := false
	for ctx.Err() == nil {
		more, err := s.Round(ctx)
		if err != nil && !complained && ctx.Err() == nil {
			s.Log.Error("maildrop", "err", err)
		}
		complained = err != nil
		if more && err == nil {
			continue
		}
		select {
		case <-ctx.Done():
		case <-t.C:
		}
	}
}

// Round looks at some names and takes what is there, the users in turn: whoever fills
// the directory does not keep others waiting. more says that something was left.
func (s *Scanner) Round(ctx context.Context) (more bool, err error) {
	if s.tried == nil {
		s.tried = map[string]time.Time{}
	}
	if s.dir == nil {
		if s.dir, err = os.OpenFile(s.Dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0); err != nil {
			return false, err
		}
	}
	names, err := s.dir.Readdirnames(maxNames)
	end := len(names) < maxNames || errors.Is(err, io.EOF)
	if err != nil && !errors.Is(err, io.EOF) {
		end, names = true, nil
	}
	byUser := s.sort(names)
	taken, left := 0, false
	for len(byUser) > 0 && ctx.Err() == nil {
		for _, uid := range sortedKeys(byUser) {
			if taken >= maxMails || ctx.Err() != nil {
				left = true
				break
			}
			f := byUser[uid][0]
			if byUser[uid] = byUser[uid][1:]; len(byUser[uid]) == 0 {
				delete(byUser, uid)
			}
			taken++
			s.one(ctx, f)
		}
		if left {
			break
		}
	}
	if end { // the next round begins again: names that were left are there
		closed := s.dir.Close()
		s.dir, err = nil, errors.Join(ignoreEOF(err), closed)
	}
	return left || !end, ignoreEOF(err)
}

func ignoreEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

func sortedKeys(m map[uint32][]found) []uint32 {
	var out []uint32
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

// sort sorts files by their owners, and moves aside what is none of a message's.
func (s *Scanner) sort(names []string) map[uint32][]found {
	now := time.Now()
	for name, at := range s.tried {
		if now.Sub(at) > again {
			delete(s.tried, name)
		}
	}
	out := map[uint32][]found{}
	for _, name := range names {
		var st unix.Stat_t
		if name == badDir || unix.Fstatat(int(s.dir.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW) != nil {
			continue
		}
		if _, wait := s.tried[name]; wait {
			continue
		}
		if !whole(name) {
			if now.Sub(time.Unix(st.Mtim.Unix())) > 24*time.Hour || name[0] != '.' {
				s.aside(name, st.Uid, errors.New("not a name of a message"))
			}
			continue
		}
		if err := plain(&st); err != nil {
			s.aside(name, st.Uid, err)
			continue
		}
		out[st.Uid] = append(out[st.Uid], found{name, st.Uid})
	}
	return out
}

// plain says why a file is not believed.
func plain(st *unix.Stat_t) error {
	switch mode := st.Mode & 0o7777; {
	case st.Mode&unix.S_IFMT != unix.S_IFREG:
		return errors.New("not a regular file")
	case st.Nlink != 1:
		return fmt.Errorf("it has %d links", st.Nlink)
	case mode&^fileMode != 0:
		return fmt.Errorf("mode %04o: others may read or write it", mode)
	}
	return nil
}

// one takes one file, or moves it aside.
func (s *Scanner) one(ctx context.Context, f found) {
	err := s.take(ctx, f)
	switch {
	case err == nil:
		if err := os.Remove(filepath.Join(s.Dir, f.name)); err != nil {
			s.tried[f.name] = time.Now().Add(time.Hour) // it was taken
			s.Log.Error("maildrop: remove a message that was taken", "file", f.name, "err", err)
		}
	case errors.Is(err, fs.ErrNotExist), ctx.Err() != nil:
	case !errors.Is(err, ErrRecord) && !errors.Is(err, errFile) && s.Again(err):
		s.tried[f.name] = time.Now()
		s.Log.Warn("maildrop: a message waits", "file", f.name, "uid", f.uid, "err", err)
	default:
		s.aside(f.name, f.uid, err)
	}
}

// errFile is for a file that is not what it was.
var errFile = errors.New("maildrop: the file is not believed")

// take reads a file and has it taken.
func (s *Scanner) take(ctx context.Context, f found) error {
	fd, err := unix.Openat(int(s.dir.Fd()), f.name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	switch {
	case errors.Is(err, unix.EACCES):
		return fmt.Errorf("%w: it can not be read: mode 0640 and the directory's group are wanted", errFile)
	case err != nil:
		return err
	}
	file := os.NewFile(uintptr(fd), f.name)
	defer file.Close()
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	if err := plain(&st); err != nil || st.Uid != f.uid {
		return fmt.Errorf("%w: it changed: %v", errFile, err)
	}
	limit := s.MaxSize()
	if st.Size > limit+Overhead {
		return fmt.Errorf("%w: %d octets, message_size_limit is %d", errFile, st.Size, limit)
	}
	spool := &message.Spool{Dir: s.SpoolDir, Limit: limit}
	defer spool.Close()
	e, err := Read(io.LimitReader(file, limit+Overhead+1), spool)
	if errors.Is(err, message.ErrTooLarge) {
		return fmt.Errorf("%w: %w", errFile, err)
	}
	if err != nil {
		return err
	}
	return s.Take(ctx, f.uid, e, spool.Bytes())
}

// aside moves a file to where people look at it, as long as there are not too many.
func (s *Scanner) aside(name string, uid uint32, why error) {
	bad := filepath.Join(s.Dir, badDir)
	from := filepath.Join(s.Dir, name)
	err := os.Mkdir(bad, 0o700)
	if errors.Is(err, fs.ErrExist) {
		err = ours(bad)
	}
	var names []string
	if err == nil {
		names, err = listed(bad)
	}
	switch {
	case err == nil && len(names) < maxBad:
		err = os.Rename(from, filepath.Join(bad, fmt.Sprintf("%d.%s", time.Now().UnixNano(), name)))
	case err == nil:
		err = os.Remove(from)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err != nil {
		s.tried[name] = time.Now().Add(time.Hour) // not to be told every second
	}
	s.Log.Warn("maildrop: a file is not believed", "file", name, "uid", uid, "why", why, "err", err)
}

// ours says whether a directory is this user's: anybody could have made it first.
func ours(dir string) error {
	var st unix.Stat_t
	if err := unix.Lstat(dir, &st); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR || int(st.Uid) != os.Geteuid() {
		return fmt.Errorf("maildrop: %s is somebody else's", dir)
	}
	return nil
}

func listed(dir string) ([]string, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	names, err := d.Readdirnames(maxBad)
	return names, ignoreEOF(err)
}
