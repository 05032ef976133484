package journal

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
)

const (
	nameSuffix = ".journal"
	idleFiles  = 64 // open descriptors kept of segments nobody reads
)

func segmentName(seq uint64) string { return fmt.Sprintf("%016x%s", seq, nameSuffix) }

func segmentSeq(name string) (uint64, bool) {
	hex, ok := strings.CutSuffix(name, nameSuffix)
	if !ok || len(hex) != 16 {
		return 0, false
	}
	seq, err := strconv.ParseUint(hex, 16, 64)
	return seq, err == nil && seq > 0
}

// segment is a file as readers see it. The shelf's lock guards all but seq.
type segment struct {
	segmentHeader
	size   int64 // octets of the file
	end    int64 // good octets
	lost   bool  // its header is unreadable
	told   bool  // the next one says where it ends
	pins   int
	doomed bool // to be removed once nobody reads it
	file   Reader
}

// shelf holds the segments, opens them on demand and removes them when told
// and nobody reads them.
type shelf struct {
	fs  FS
	log *slog.Logger

	mu     sync.Mutex
	books  []*segment // by sequence
	idle   int        // open files without a pin
	held   int        // backups: nothing is removed
	closed bool
}

func newShelf(fs FS, log *slog.Logger) *shelf { return &shelf{fs: fs, log: log} }

// load reads the header of every segment file. One that a crash left without
// header, the last one, holds nothing and is removed.
func (s *shelf) load() error {
	names, err := s.fs.Dir().Names()
	if err != nil {
		return err
	}
	slices.Sort(names)
	for _, name := range names {
		seq, ok := segmentSeq(name)
		if !ok {
			continue
		}
		b, err := s.open(name, seq)
		if err != nil {
			return err
		}
		s.books = append(s.books, b)
	}
	if err := s.dropEmpty(); err != nil {
		return err
	}
	s.linkEnds()
	return nil
}

func (s *shelf) open(name string, seq uint64) (*segment, error) {
	f, err := s.fs.Open(name)
	if err != nil {
		return nil, err
	}
	b := make([]byte, headerSize)
	n, _ := f.ReadAt(b, 0)
	h, ok := decodeSegment(b[:n], seq)
	h.seq = seq
	seg := &segment{segmentHeader: h, size: f.Size(), end: f.Size(), lost: !ok}
	return seg, f.Close()
}

// dropEmpty removes a last segment whose header never reached the disk whole:
// no record was written into it.
func (s *shelf) dropEmpty() error {
	last := s.last()
	if last == nil || !last.lost {
		return nil
	}
	begun, err := s.begun(last)
	if err != nil || begun {
		return err
	}
	s.books = s.books[:len(s.books)-1]
	return s.fs.Dir().Remove(segmentName(last.seq))
}

// begun says whether anything stands where the first record belongs.
func (s *shelf) begun(b *segment) (bool, error) {
	blank, err := s.blank(b, headerSize)
	return !blank, err
}

// blank says whether the octets at off, as many as a header has, are zero.
func (s *shelf) blank(b *segment, off int64) (bool, error) {
	f, err := s.fs.Open(segmentName(b.seq))
	if err != nil {
		return false, err
	}
	some := make([]byte, headerSize)
	n, _ := f.ReadAt(some, off)
	return !slices.ContainsFunc(some[:n], func(c byte) bool { return c != 0 }), f.Close()
}

// linkEnds believes each segment about the end of the one before it.
func (s *shelf) linkEnds() {
	for i, b := range s.books[:max(len(s.books)-1, 0)] {
		if next := s.books[i+1]; !next.lost && next.prev == b.seq {
			b.end, b.told = min(next.prevEnd, b.size), true
		}
	}
	for _, b := range s.books {
		if b.lost {
			b.end = min(b.end, headerSize)
			s.log.Error("journal: segment without a valid header", "segment", segmentName(b.seq))
		}
	}
}

// findEnds finds the ends that nobody tells: of the last segment, and of those
// that a crash has left with room behind and whose next has been reclaimed.
func (s *shelf) findEnds() error {
	for i, b := range s.books {
		open := i == len(s.books)-1
		if !open && !b.told {
			var err error
			if open, err = s.hasRoom(b); err != nil {
				return err
			}
		}
		if open {
			if err := s.findEnd(b); err != nil {
				return err
			}
		}
	}
	return nil
}

// hasRoom says whether a file ends in octets that were never written.
func (s *shelf) hasRoom(b *segment) (bool, error) {
	return s.blank(b, max(b.size-headerSize, 0))
}

func (s *shelf) last() *segment {
	if len(s.books) == 0 {
		return nil
	}
	return s.books[len(s.books)-1]
}

// add puts a new segment on the shelf.
func (s *shelf) add(h segmentHeader, room int64) *segment {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := &segment{segmentHeader: h, size: room, end: headerSize}
	s.books = append(s.books, b)
	return b
}

func (s *shelf) grow(b *segment, end int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b.end = end
}

func (s *shelf) seal(b *segment, end int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b.end, b.size = end, end
}

// view is a segment as it was when it was pinned.
type view struct {
	*segment
	end  int64
	file Reader
	s    *shelf
}

// pin keeps a segment readable until release.
func (s *shelf) pin(seq uint64) (*view, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i, ok := slices.BinarySearchFunc(s.books, seq, bySeq)
	if !ok || s.books[i].doomed {
		return nil, ErrGone
	}
	b := s.books[i]
	if b.file == nil {
		f, err := s.fs.Open(segmentName(seq))
		if err != nil {
			return nil, err
		}
		b.file = f
	} else if b.pins == 0 {
		s.idle--
	}
	b.pins++
	return &view{segment: b, end: b.end, file: b.file, s: s}, nil
}

func bySeq(b *segment, seq uint64) int {
	switch {
	case b.seq < seq:
		return -1
	case b.seq > seq:
		return 1
	}
	return 0
}

func (v *view) release() error {
	s := v.s
	s.mu.Lock()
	defer s.mu.Unlock()
	b := v.segment
	b.pins--
	if b.pins > 0 {
		return nil
	}
	s.idle++
	if b.doomed || s.closed || s.idle > idleFiles {
		s.idle--
		f := b.file
		b.file = nil
		return errors.Join(f.Close(), s.sweep())
	}
	return nil
}

// remove takes a segment away, now or when its last reader leaves.
func (s *shelf) remove(seq uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	i, ok := slices.BinarySearchFunc(s.books, seq, bySeq)
	if !ok {
		return ErrGone
	}
	s.books[i].doomed = true
	return s.sweep()
}

// sweep unlinks what is doomed and unread. The caller holds the lock.
func (s *shelf) sweep() error {
	if s.held > 0 {
		return nil
	}
	var errs []error
	s.books = slices.DeleteFunc(s.books, func(b *segment) bool {
		if !b.doomed || b.pins > 0 {
			return false
		}
		if b.file != nil {
			errs = append(errs, b.file.Close())
			b.file = nil
			s.idle--
		}
		err := s.fs.Dir().Remove(segmentName(b.seq))
		errs = append(errs, err)
		return err == nil
	})
	return errors.Join(errs...)
}

// hold keeps every file from being removed until the returned function is
// called once.
func (s *shelf) hold() (release func() error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held++
	return func() error {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.held--
		return s.sweep()
	}
}

// sequences lists the segments from seq on.
func (s *shelf) sequences(from uint64) []uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []uint64
	for _, b := range s.books {
		if b.seq >= from && !b.doomed {
			out = append(out, b.seq)
		}
	}
	return out
}

// close closes every file nobody reads.
func (s *shelf) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	var errs []error
	for _, b := range s.books {
		if b.pins == 0 && b.file != nil {
			errs = append(errs, b.file.Close())
			b.file = nil
			s.idle--
		}
	}
	return errors.Join(errs...)
}
