package wire

import (
	"errors"
	"fmt"
	"io"
	"math"
)

// Limits bounds what a Reader takes for one command. Zero fields mean
// DefaultLimits.
type Limits struct {
	Line  int   // octets of a command, its literals included, the streamed one (APPEND's) not
	Depth int   // parentheses inside each other
	Skip  int64 // octets of a refused command that are read and dropped before the connection is given up
}

// DefaultLimits is ample for honest clients: 10,000 message numbers in a row
// still fit.
var DefaultLimits = Limits{Line: 64 << 10, Depth: 50, Skip: 8 << 20}

func (l Limits) orDefault() Limits {
	if l.Line == 0 {
		l.Line = DefaultLimits.Line
	}
	if l.Depth == 0 {
		l.Depth = DefaultLimits.Depth
	}
	if l.Skip == 0 {
		l.Skip = DefaultLimits.Skip
	}
	return l
}

// SyntaxError says why a command can't be understood. Its Text is fit for the
// client.
type SyntaxError struct {
	Code string // response code, such as TOOBIG, or ""
	Text string
}

func (e *SyntaxError) Error() string { return "wire: " + e.Text }

// ErrFlood says that the rest of a refused command is too long to be skipped:
// the connection is out of step and must be closed.
var ErrFlood = errors.New("wire: refused command is too long to skip")

// ErrSync says that a client sent a synchronising literal where the protocol has
// none: the connection is out of step and must be closed.
var ErrSync = errors.New("wire: synchronising literal")

// Reader reads commands. It is not safe for concurrent use.
type Reader struct {
	src     io.Reader
	more    func() error
	limits  Limits
	buffers *Buffers

	held     *[]byte // the pooled buffer; nil while waiting
	pos, end int     // unread octets of *held
	tok      []byte  // scratch
	used     int     // octets of this command
	depth    int
	err      error // sticks until Begin
	done     bool  // the command's final CRLF has been read
	owed     int64 // octets of a refused non-synchronising literal that are still to come
	stream   *Literal
}

// NewReader reads from src. more is called to let the client send a
// synchronising literal: it writes and flushes a continuation request. nil means
// that the protocol has none of these.
func NewReader(src io.Reader, b *Buffers, lim Limits, more func() error) *Reader {
	return &Reader{src: src, more: more, limits: lim.orDefault(), buffers: b, done: true}
}

// Wait blocks until there is something to read, holding no buffer meanwhile.
func (r *Reader) Wait() error {
	if r.pos < r.end {
		return nil
	}
	r.release()
	var first [1]byte
	for {
		n, err := r.src.Read(first[:])
		if n == 1 {
			r.held = take(&r.buffers.read, readSize)
			(*r.held)[0] = first[0]
			r.pos, r.end = 0, 1
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// release gives the buffer back. Nothing may be unread.
func (r *Reader) release() {
	if r.held != nil {
		r.buffers.read.Put(r.held)
		r.held = nil
	}
	r.pos, r.end = 0, 0
	r.tok = nil
}

// Buffered is how many octets have come but are not read yet.
func (r *Reader) Buffered() int { return r.end - r.pos }

// Begin starts a command: limits count anew, and the error is forgotten.
func (r *Reader) Begin() {
	r.used, r.depth, r.err, r.done, r.owed, r.stream = 0, 0, nil, false, 0, nil
}

// Err returns the first error since Begin: a *SyntaxError, or what reading
// returned.
func (r *Reader) Err() error { return r.err }

// Fail records a syntax error of the caller's own, unless there is an error
// already.
func (r *Reader) Fail(format string, args ...any) {
	if r.err == nil {
		r.err = &SyntaxError{Text: fmt.Sprintf(format, args...)}
	}
}

// peek returns the next octet without taking it.
func (r *Reader) peek() (byte, bool) {
	if r.err != nil {
		return 0, false
	}
	if r.used >= r.limits.Line {
		r.Fail("command is longer than %d octets", r.limits.Line)
		return 0, false
	}
	if r.pos == r.end && !r.fill() {
		return 0, false
	}
	return (*r.held)[r.pos], true
}

// fill reads more octets into the empty buffer.
func (r *Reader) fill() bool {
	if r.held == nil {
		r.held = take(&r.buffers.read, readSize)
	}
	for {
		n, err := r.src.Read(*r.held)
		if n > 0 {
			r.pos, r.end = 0, n
			return true
		}
		if err != nil {
			r.pos, r.end = 0, 0
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			r.err = err
			return false
		}
	}
}

func (r *Reader) advance() {
	r.pos++
	r.used++
}

// Peek reports whether the next octet is c.
func (r *Reader) Peek(c byte) bool {
	next, ok := r.peek()
	return ok && next == c
}

// Accept takes the next octet if it is c.
func (r *Reader) Accept(c byte) bool {
	if !r.Peek(c) {
		return false
	}
	r.advance()
	return true
}

// Expect takes c; anything else is an error.
func (r *Reader) Expect(c byte) {
	if !r.Accept(c) {
		r.Fail("expected %q", c)
	}
}

// SP takes one space.
func (r *Reader) SP() { r.Expect(' ') }

// AtEnd reports whether the command's line ends here.
func (r *Reader) AtEnd() bool {
	c, ok := r.peek()
	return !ok || c == '\r' || c == '\n'
}

// End takes the end of the command. It returns the first error since Begin. A
// bare LF ends a command as well: people type commands by hand.
func (r *Reader) End() error {
	if r.err == nil && !r.done {
		r.crlf()
		r.done = r.err == nil
	}
	return r.err
}

func (r *Reader) crlf() {
	r.Accept('\r')
	if !r.Accept('\n') {
		r.Fail("expected the end of the command")
	}
}

// Discard skips what is left of a command that has been refused, with the
// non-synchronising literals in it. A synchronising literal ends the skipping:
// the client does not send it after a tagged response (RFC 3501, 4.3).
func (r *Reader) Discard() error {
	if r.err != nil {
		var syntax *SyntaxError
		if !errors.As(r.err, &syntax) {
			return r.err
		}
		r.err = nil
	}
	if r.done {
		return nil
	}
	if r.stream != nil {
		r.owed += r.stream.left
		r.stream = nil
	}
	return r.skip()
}

func (r *Reader) skip() error {
	budget := r.limits.Skip
	var tail [24]byte // the last octets of the line, enough for {n+}
	n := 0
	for {
		if err := r.skipOwed(&budget); err != nil {
			return err
		}
		if r.pos == r.end && !r.fill() {
			return r.err
		}
		c := (*r.held)[r.pos]
		r.pos++
		if budget--; budget < 0 {
			return ErrFlood
		}
		if c != '\n' {
			if n == len(tail) {
				n = copy(tail[:], tail[1:])
			}
			tail[n] = c
			n++
			continue
		}
		if r.owed = nonSync(tail[:n]); r.owed == 0 {
			r.done = true
			return nil
		}
		n = 0
	}
}

// skipOwed drops what is still to come of a refused literal.
func (r *Reader) skipOwed(budget *int64) error {
	if *budget -= r.owed; *budget < 0 {
		return ErrFlood
	}
	for r.owed > 0 {
		if r.pos == r.end && !r.fill() {
			return r.err
		}
		n := min(int64(r.end-r.pos), r.owed)
		r.pos += int(n)
		r.owed -= n
	}
	return nil
}

// nonSync returns the size of the non-synchronising literal that the end of a
// line announces, or 0. One that no number holds is too large for anything.
func nonSync(line []byte) int64 {
	if n := len(line); n > 0 && line[n-1] == '\r' {
		line = line[:n-1]
	}
	n := len(line)
	if n < 4 || line[n-1] != '}' || line[n-2] != '+' {
		return 0
	}
	var size, scale int64 = 0, 1
	for i := n - 3; i >= 0; i-- {
		switch c := line[i]; {
		case c == '{':
			return size
		case c < '0' || c > '9':
			return 0
		case scale < 1e16:
			size += int64(c-'0') * scale
			scale *= 10
		case c > '0':
			size = math.MaxInt64
		}
	}
	return math.MaxInt64 // its first digits are gone: there were too many
}
