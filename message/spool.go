package message

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
)

// SpoolMemory is how many octets a Spool keeps in memory before it turns to a
// file.
const SpoolMemory = 256 << 10

// ErrTooLarge says that more octets came than the spool may hold.
var ErrTooLarge = errors.New("message: larger than the limit")

// Spool takes a message as it arrives: the first octets in memory, the rest in
// an unlinked file under Dir. It is an io.Writer. Bytes hands it out,
// immutable from then on; Close frees it. Its zero value spools into the temporary directory
// without a limit.
type Spool struct {
	Dir   string // "" is the system's temporary directory
	Limit int64  // octets; 0 is no limit

	buf  []byte
	file *os.File
	size int64
	once sync.Once
}

// Write adds octets. It returns ErrTooLarge, and keeps nothing of p, once the
// limit would be passed.
func (s *Spool) Write(p []byte) (int, error) {
	if s.Limit > 0 && s.size+int64(len(p)) > s.Limit {
		return 0, ErrTooLarge
	}
	if s.file == nil && len(s.buf)+len(p) <= SpoolMemory {
		s.grow(len(p))
		s.buf = append(s.buf, p...)
		s.size += int64(len(p))
		return len(p), nil
	}
	if err := s.spill(); err != nil {
		return 0, err
	}
	n, err := s.file.Write(p)
	s.size += int64(n)
	if err != nil {
		err = fmt.Errorf("message: spool: %w", err)
	}
	return n, err
}

// firstRoom holds a usual message whole.
const firstRoom = 12 << 10

// grow makes room for n more octets, quadrupling so that a usual message costs
// few allocations.
func (s *Spool) grow(n int) {
	if len(s.buf)+n <= cap(s.buf) {
		return
	}
	b := make([]byte, len(s.buf), min(max(4*cap(s.buf), len(s.buf)+n, firstRoom), SpoolMemory))
	copy(b, s.buf)
	s.buf = b
}

// spill moves what is in memory into a file that has no name.
func (s *Spool) spill() error {
	if s.file != nil {
		return nil
	}
	f, err := os.CreateTemp(s.Dir, "spool-*")
	if err != nil {
		return fmt.Errorf("message: spool: %w", err)
	}
	if err := os.Remove(f.Name()); err != nil {
		f.Close()
		return fmt.Errorf("message: spool: %w", err)
	}
	if _, err := f.Write(s.buf); err != nil {
		f.Close()
		return fmt.Errorf("message: spool: %w", err)
	}
	s.file, s.buf = f, nil
	return nil
}

// Size is how many octets have been taken.
func (s *Spool) Size() int64 { return s.size }

// Bytes returns what was written. No Write may follow. The octets are valid
// until Close.
func (s *Spool) Bytes() Bytes {
	if s.file == nil {
		return memory(s.buf)
	}
	return io.NewSectionReader(s.file, 0, s.size)
}

// Close frees the file, if there is one. It may be called twice.
func (s *Spool) Close() error {
	var err error
	s.once.Do(func() {
		if s.file != nil {
			err = s.file.Close()
		}
	})
	return err
}
