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
	maxBad   = 200  // files that are kept for people to look at; more are removed
	maxLeft  = 5000 // a user's files that may be left there: until then no more are looked at
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
	// Refused tells a user that a file of theirs was moved aside, and why; it may be nil.
	Refused func(ctx context.Context, uid uint32, why error) error
	Log     *slog.Logger

	dir  *os.File // read on in the next round
	pass int      // how often it was read to its end
	seen map[string]*left
	held map[uint32]int // how many are left there of a user's
}

// How long what is left there waits.
const (
	again      = time.Minute    // what could not be taken
	removeTime = time.Hour      // what was taken, and could not be removed
	unfinished = 24 * time.Hour // until what nobody has finished goes
)

// left is a name that stays in the directory.
type left struct {
	why   reason
	until time.Time // when it is looked at again
	inode uint64    // of what was taken
	uid   uint32
	pass  int // the last in which it was there
}

type reason uint8

const (
	waits reason = iota // it is tried again
	taken               // it is never taken again
	stuck               // it can not be moved aside
)

// found is a file that may be a message.
type found struct {
	name  string
	uid   uint32
	inode uint64
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
// the directory does not keep others waiting. more says that the next round has
// something to do at once.
func (s *Scanner) Round(ctx context.Context) (more bool, err error) {
	if s.seen == nil {
		s.seen, s.held = map[string]*left{}, map[uint32]int{}
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
	byUser, err := s.sort(names), ignoreEOF(err)
	count, rest := s.inTurn(ctx, byUser)
	if end { // the next round begins again: names that were left are there
		if err == nil {
			s.forget()
		}
		closed := s.dir.Close()
		s.dir, err = nil, errors.Join(err, closed)
	}
	return rest || count > 0 && !end, err
}

// inTurn takes files, each user's in turn; rest says that there are more.
func (s *Scanner) inTurn(ctx context.Context, byUser map[uint32][]found) (count int, rest bool) {
	for len(byUser) > 0 {
		for _, uid := range sortedKeys(byUser) {
			if count >= maxMails || ctx.Err() != nil {
				return count, true
			}
			f := byUser[uid][0]
			if byUser[uid] = byUser[uid][1:]; len(byUser[uid]) == 0 {
				delete(byUser, uid)
			}
			if s.full(f) {
				continue
			}
			count++
			s.one(ctx, f)
		}
	}
	return count, false
}

// full reports whether a user has so much left there that nothing new is looked at.
func (s *Scanner) full(f found) bool { return s.seen[f.name] == nil && s.held[f.uid] >= maxLeft }

// leave notes that a name stays in the directory.
func (s *Scanner) leave(f found, why reason, d time.Duration) {
	s.gone(f.name) // it may have been another user's
	s.held[f.uid]++
	s.seen[f.name] = &left{why: why, until: time.Now().Add(d), inode: f.inode, uid: f.uid, pass: s.pass}
}

// gone notes that a name does not stay.
func (s *Scanner) gone(name string) {
	l := s.seen[name]
	if l == nil {
		return
	}
	delete(s.seen, name)
	if s.held[l.uid]--; s.held[l.uid] <= 0 {
		delete(s.held, l.uid)
	}
}

// forget forgets names that were not there when the directory was read to its end.
func (s *Scanner) forget() {
	for name, l := range s.seen {
		if l.pass != s.pass {
			s.gone(name)
		}
	}
	s.pass++
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
	out := map[uint32][]found{}
	for _, name := range names {
		if l := s.seen[name]; l != nil {
			l.pass = s.pass
			if now.Before(l.until) {
				continue
			}
		}
		var st unix.Stat_t
		if name == badDir || unix.Fstatat(int(s.dir.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW) != nil {
			continue
		}
		f := found{name, st.Uid, st.Ino}
		if s.full(f) {
			continue
		}
		switch err := s.plain(&st); {
		case name[0] == '.' && st.Mode&unix.S_IFMT == unix.S_IFREG: // being written
			if now.Sub(time.Unix(st.Mtim.Unix())) > unfinished {
				s.remove(f)
			}
		case !whole(name):
			s.aside(f, errors.New("not a name of a message"))
		case err != nil:
			s.aside(f, err)
		default:
			out[st.Uid] = append(out[st.Uid], f)
		}
	}
	return out
}

// plain says why a file is not believed. Files get the directory's group where they
// are made: one that was moved here, by whom its directory belongs to, has another.
func (s *Scanner) plain(st *unix.Stat_t) error {
	var dir unix.Stat_t
	if err := unix.Fstat(int(s.dir.Fd()), &dir); err != nil {
		return err
	}
	switch mode := st.Mode & 0o7777; {
	case st.Mode&unix.S_IFMT != unix.S_IFREG:
		return errors.New("not a regular file")
	case st.Nlink != 1:
		return fmt.Errorf("it has %d links", st.Nlink)
	case mode&^fileMode != 0:
		return fmt.Errorf("mode %04o: others may read or write it", mode)
	case st.Gid != dir.Gid:
		return errors.New("it was not made here: its group is not the directory's")
	}
	return nil
}

// one takes one file, or moves it aside.
func (s *Scanner) one(ctx context.Context, f found) {
	if l := s.seen[f.name]; l != nil && l.why == taken && l.inode == f.inode {
		s.remove(f)
		return
	}
	err := s.take(ctx, f)
	switch {
	case err == nil:
		s.remove(f)
	case errors.Is(err, fs.ErrNotExist), ctx.Err() != nil:
	case !errors.Is(err, ErrRecord) && !errors.Is(err, errFile) && s.Again(err):
		if s.seen[f.name] == nil {
			s.Log.Warn("maildrop: a message waits", "file", f.name, "uid", f.uid, "err", err)
		}
		s.leave(f, waits, again)
	case s.aside(f, err) && s.Refused != nil:
		if err := s.Refused(ctx, f.uid, err); err != nil {
			s.Log.Error("maildrop: tell a user of a file that is not believed", "uid", f.uid, "err", err)
		}
	}
}

// remove removes a file that was taken. If that can not be, it is never taken again.
func (s *Scanner) remove(f found) {
	err := unix.Unlinkat(int(s.dir.Fd()), f.name, 0)
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		s.gone(f.name)
		return
	}
	if l := s.seen[f.name]; l == nil || l.why != taken {
		s.Log.Error("maildrop: remove a file that is done with", "file", f.name, "uid", f.uid, "err", err)
	}
	s.leave(f, taken, removeTime)
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
	if err := s.plain(&st); err != nil {
		return fmt.Errorf("%w: it changed: %w", errFile, err)
	}
	if st.Uid != f.uid || st.Ino != f.inode {
		return fmt.Errorf("%w: another is in its place", errFile)
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
// What can not be moved, as directories of others, is told of once. It reports whether
// the file is gone.
func (s *Scanner) aside(f found, why error) bool {
	bad := filepath.Join(s.Dir, badDir)
	err := os.Mkdir(bad, 0o700)
	if errors.Is(err, fs.ErrExist) {
		err = ours(bad)
	}
	var names []string
	if err == nil {
		names, err = listed(bad)
	}
	from := filepath.Join(s.Dir, f.name)
	switch {
	case err == nil && len(names) < maxBad:
		err = os.Rename(from, filepath.Join(bad, fmt.Sprintf("%d.%s", time.Now().UnixNano(), f.name)))
	case err == nil:
		err = os.Remove(from)
	}
	told := s.seen[f.name] != nil && s.seen[f.name].why == stuck
	switch {
	case err == nil:
		s.gone(f.name)
	case errors.Is(err, fs.ErrNotExist):
		return false
	default:
		s.leave(f, stuck, removeTime)
	}
	if !told {
		s.Log.Warn("maildrop: a file is not believed", "file", f.name, "uid", f.uid, "why", why, "err", err)
	}
	return err == nil
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
