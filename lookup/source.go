package lookup

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

// maxFile bounds a table's file, in octets; every is how often it is looked at.
const (
	maxFile = 64 << 20
	every   = time.Second
)

// LineError is an error in a file.
type LineError struct {
	Path string
	Line int
	Err  error
}

func (e *LineError) Error() string { return fmt.Sprintf("%s:%d: %v", e.Path, e.Line, e.Err) }
func (e *LineError) Unwrap() error { return e.Err }

// stamp tells one version of a file from another.
type stamp struct {
	size int64
	mod  time.Time
}

// Watched is a file whose content is read again when it changes; it is looked at
// once a second at most.
type Watched[T any] struct {
	path  string
	parse func(text string) (T, error)
	o     Options

	mu      sync.Mutex
	checked time.Time
	stamp   stamp
	value   T
}

// Watch reads a file.
func Watch[T any](path string, o Options, parse func(text string) (T, error)) (*Watched[T], error) {
	o = o.filled()
	s := &Watched[T]{path: path, parse: parse, o: o, checked: o.Now()}
	if err := s.read(); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *Watched[T]) read() error {
	f, err := os.Open(s.path)
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	switch {
	case err != nil:
		return err
	case !st.Mode().IsRegular():
		return fmt.Errorf("%s is no plain file", s.path)
	case st.Size() > maxFile:
		return fmt.Errorf("%s has %d octets; at most %d are read", s.path, st.Size(), maxFile)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxFile))
	if err != nil {
		return err
	}
	s.stamp = stamp{st.Size(), st.ModTime()} // also of a bad one: it is reported once
	value, err := s.parse(string(text))
	if err != nil {
		return err
	}
	s.value = value
	return nil
}

// Current is what the file holds. One that can not be read any more, or has errors,
// leaves what was there.
func (s *Watched[T]) Current() T {
	now := s.o.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if now.Sub(s.checked) < every && !now.Before(s.checked) {
		return s.value
	}
	s.checked = now
	if st, err := os.Stat(s.path); err == nil && (stamp{st.Size(), st.ModTime()}) != s.stamp {
		if err := s.read(); err != nil {
			s.o.Log.Error("lookup table changed, and can not be used: what it held before stays in force", "table", s.path, "err", err)
		}
	}
	return s.value
}

// forget makes the next look-up look at the file.
func (s *Watched[T]) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.checked = time.Time{}
}
