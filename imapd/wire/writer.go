package wire

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"
)

// Writer gathers responses and writes them in few pieces: when its buffer is
// full, and at Flush. Its first error sticks. It is not safe for concurrent
// use.
type Writer struct {
	dst     io.Writer
	buffers *Buffers
	held    *[]byte
	n       int // octets of *held in use
	err     error
}

// NewWriter writes to dst.
func NewWriter(dst io.Writer, b *Buffers) *Writer {
	return &Writer{dst: dst, buffers: b}
}

// Err returns the first error.
func (w *Writer) Err() error { return w.err }

// Flush writes what is gathered and gives the buffer back.
func (w *Writer) Flush() error {
	w.drain()
	if w.held != nil {
		w.buffers.write.Put(w.held)
		w.held = nil
	}
	return w.err
}

func (w *Writer) drain() {
	if w.n > 0 && w.err == nil {
		_, w.err = w.dst.Write((*w.held)[:w.n])
	}
	w.n = 0
}

// room returns the free end of the buffer, never empty.
func (w *Writer) room() []byte {
	if w.held == nil {
		w.held = take(&w.buffers.write, writeSize)
	}
	if w.n == len(*w.held) {
		w.drain()
	}
	return (*w.held)[w.n:]
}

// Raw writes s as it stands.
func (w *Writer) Raw(s string) {
	for s != "" && w.err == nil {
		n := copy(w.room(), s)
		w.n += n
		s = s[n:]
	}
}

// Write writes p as it stands.
func (w *Writer) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		if w.err != nil {
			return 0, w.err
		}
		n := copy(w.room(), rest)
		w.n += n
		rest = rest[n:]
	}
	return len(p), w.err
}

// Byte writes one octet.
func (w *Writer) Byte(c byte) {
	if w.err == nil {
		w.room()[0] = c
		w.n++
	}
}

// SP writes a space.
func (w *Writer) SP() { w.Byte(' ') }

// CRLF ends a line.
func (w *Writer) CRLF() { w.Raw("\r\n") }

// Number writes n in decimal.
func (w *Writer) Number(n uint64) {
	var b [20]byte
	_, _ = w.Write(strconv.AppendUint(b[:0], n, 10)) // the error sticks
}

// maxQuoted is how long a string may be to go as a quoted string.
const maxQuoted = 1024

// String writes s as a quoted string where its octets allow that, else as a
// literal. NUL, which neither may carry (RFC 3501, 9: CHAR8), is left out.
func (w *Writer) String(s string) {
	quotable := len(s) <= maxQuoted
	nul := false
	for i := range len(s) {
		switch c := s[i]; {
		case c == 0:
			nul = true
		case c == '\r' || c == '\n' || c >= 0x80:
			quotable = false
		}
	}
	if nul {
		s = dropNUL(s)
	}
	if !quotable {
		w.LiteralHead(int64(len(s)))
		w.Raw(s)
		return
	}
	w.Byte('"')
	for i := range len(s) {
		if s[i] == '"' || s[i] == '\\' {
			w.Byte('\\')
		}
		w.Byte(s[i])
	}
	w.Byte('"')
}

func dropNUL(s string) string {
	b := make([]byte, 0, len(s))
	for i := range len(s) {
		if s[i] != 0 {
			b = append(b, s[i])
		}
	}
	return string(b)
}

// NString writes a string, or NIL if it is empty.
func (w *Writer) NString(s string) {
	if s == "" {
		w.Raw("NIL")
		return
	}
	w.String(s)
}

// Mailbox writes a mailbox name, given in UTF-8, as modified UTF-7.
func (w *Writer) Mailbox(name string) {
	s := EncodeName(name)
	for i := range len(s) {
		if classes[s[i]]&classAString == 0 {
			w.String(s)
			return
		}
	}
	if s == "" {
		w.Raw(`""`)
		return
	}
	w.Raw(s)
}

// DateTime writes t as INTERNALDATE does.
func (w *Writer) DateTime(t time.Time) {
	var b [40]byte
	w.Byte('"')
	_, _ = w.Write(t.AppendFormat(b[:0], dateTimeLayout)) // the error sticks
	w.Byte('"')
}

// LiteralHead announces a literal of n octets, which the caller writes next.
func (w *Writer) LiteralHead(n int64) {
	w.Byte('{')
	w.Number(uint64(n))
	w.Raw("}\r\n")
}

// Copy writes n octets of src from offset off, reading straight into the
// buffer. A short or failed read ends the Writer's life: the client was told
// how much would come.
func (w *Writer) Copy(src io.ReaderAt, off, n int64) {
	for n > 0 && w.err == nil {
		free := w.room()
		free = free[:min(int64(len(free)), n)]
		got, err := src.ReadAt(free, off)
		w.n += got
		off += int64(got)
		n -= int64(got)
		if got < len(free) {
			if err == nil || errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			w.err = fmt.Errorf("wire: read message: %w", err)
		}
	}
}

// AStringOf returns s, which is printable ASCII, as an atom where it can be one,
// else quoted.
func AStringOf(s string) string {
	for i := range len(s) {
		if classes[s[i]]&classAString == 0 {
			return strconv.Quote(s)
		}
	}
	if s == "" {
		return `""`
	}
	return s
}
