package message

import (
	"errors"
	"io"
)

// Bytes is an immutable run of octets: in memory, in a spool file, in the
// journal or in an object store.
type Bytes interface {
	io.ReaderAt
	Size() int64
}

// FromBytes wraps b, which the caller must not change afterwards.
func FromBytes(b []byte) Bytes { return memory(b) }

// ReadAll returns all octets of b. Where b is in memory the result is shared
// and must not be changed.
func ReadAll(b Bytes) ([]byte, error) {
	if m, ok := b.(memory); ok {
		return m, nil
	}
	buf := make([]byte, b.Size())
	n, err := b.ReadAt(buf, 0)
	if n == len(buf) {
		return buf, nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return buf[:n], err
}

// Section returns n octets of b from offset off on, cut to what b has.
func Section(b Bytes, off, n int64) Bytes {
	off = min(max(off, 0), b.Size())
	n = min(max(n, 0), b.Size()-off)
	if m, ok := b.(memory); ok {
		return m[off : off+n]
	}
	return io.NewSectionReader(b, off, n)
}

// NewReader reads b from its start.
func NewReader(b Bytes) *io.SectionReader { return io.NewSectionReader(b, 0, b.Size()) }

// memory is Bytes in memory; Section and ReadAll share it without a copy.
type memory []byte

func (m memory) Size() int64 { return int64(len(m)) }

func (m memory) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, errors.New("message: negative offset")
	}
	if off >= int64(len(m)) {
		return 0, io.EOF
	}
	n := copy(p, m[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (m memory) WriteTo(w io.Writer) (int64, error) {
	n, err := w.Write(m)
	return int64(n), err
}

// joined is several Bytes one after the other.
type joined struct {
	parts []Bytes
	size  int64
}

// Join returns the parts one after the other, without copying them.
func Join(parts ...Bytes) Bytes {
	j := joined{parts: make([]Bytes, 0, len(parts))}
	for _, p := range parts {
		if p.Size() > 0 {
			j.parts = append(j.parts, p)
			j.size += p.Size()
		}
	}
	switch len(j.parts) {
	case 0:
		return memory(nil)
	case 1:
		return j.parts[0]
	}
	return j
}

func (j joined) Size() int64 { return j.size }

func (j joined) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, errors.New("message: negative offset")
	}
	done := 0
	for _, part := range j.parts {
		if off >= part.Size() {
			off -= part.Size()
			continue
		}
		n, err := part.ReadAt(p[done:min(int64(len(p)), int64(done)+part.Size()-off)], off)
		done += n
		if done == len(p) {
			return done, nil
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return done, err
		}
		if off+int64(n) < part.Size() {
			return done, io.ErrUnexpectedEOF
		}
		off = 0
	}
	return done, io.EOF
}

func (j joined) WriteTo(w io.Writer) (int64, error) {
	var total int64
	for _, p := range j.parts {
		n, err := Copy(w, p)
		total += n
		if err != nil {
			return total, err
		}
	}
	return total, nil
}

// Copy writes all octets of b to w.
func Copy(w io.Writer, b Bytes) (int64, error) {
	if wt, ok := b.(io.WriterTo); ok {
		if _, stateful := b.(*io.SectionReader); !stateful {
			return wt.WriteTo(w)
		}
	}
	return io.Copy(w, NewReader(b))
}
