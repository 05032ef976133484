package wire

import (
	"errors"
	"io"
)

// literalHead takes "{n}" or "{n+}" and the line break after it. Where there is
// nobody to ask for the first kind, the client may wait for ever or go on
// talking, and what it says then is no command.
func (r *Reader) literalHead() (size int64, sync bool) {
	r.Expect('{')
	size = r.Number64()
	sync = !r.Accept('+')
	r.Expect('}')
	r.crlf()
	if sync && r.more == nil && r.err == nil {
		r.err = ErrSync
	}
	return size, sync
}

// refuse records that a literal is too large. Nothing of it has come if it is
// synchronising, and nothing will; else Discard skips it.
func (r *Reader) refuse(size int64, sync bool) {
	if sync {
		r.done = true
	} else {
		r.owed = size
	}
	if r.err == nil {
		r.err = &SyntaxError{Code: "TOOBIG", Text: "literal is too large"}
	}
}

func (r *Reader) ask(sync bool) {
	if r.err == nil && sync {
		r.err = r.more()
	}
}

// literal takes a literal into memory. It counts for the length of the command.
func (r *Reader) literal() string {
	size, sync := r.literalHead()
	if r.err != nil {
		return ""
	}
	if size > int64(r.limits.Line-r.used) {
		r.refuse(size, sync)
		return ""
	}
	r.ask(sync)
	out := make([]byte, 0, min(size, readSize))
	for int64(len(out)) < size && r.err == nil {
		if r.pos == r.end && !r.fill() {
			return ""
		}
		n := min(int64(r.end-r.pos), size-int64(len(out)))
		out = append(out, (*r.held)[r.pos:r.pos+int(n)]...)
		r.pos += int(n)
		r.used += int(n)
	}
	for _, c := range out {
		if c == 0 { // RFC 3501, 9: CHAR8 is any octet except NUL.
			r.Fail("NUL in a literal")
		}
	}
	if r.err != nil {
		return ""
	}
	return string(out)
}

// Literal is a literal that is read as it comes. It must be read to its end
// before the Reader goes on; Reader.Discard does so too.
type Literal struct {
	Size int64
	r    *Reader
	left int64
}

// Stream takes a literal of up to limit octets to be read by the caller. It is
// asked for at the first Read, so that a caller may refuse it before. On error
// it returns nil.
func (r *Reader) Stream(limit int64) *Literal {
	size, sync := r.literalHead()
	if r.err == nil && size > limit {
		r.refuse(size, sync)
	}
	if r.err != nil {
		return nil
	}
	l := &Literal{Size: size, r: r, left: size}
	if sync {
		l.r.done = true // until asked for: a refusal now ends the command
	} else {
		r.stream = l
	}
	return l
}

// Ask lets the client send the literal.
func (l *Literal) Ask() error {
	if l.r.stream == nil {
		l.r.done = false
		l.r.stream = l
		l.r.ask(true)
	}
	return l.r.err
}

// Read reads the literal's octets, and io.EOF after the last.
func (l *Literal) Read(p []byte) (int, error) {
	r := l.r
	switch {
	case l.left == 0:
		r.stream = nil
		return 0, io.EOF
	case r.err != nil:
		return 0, r.err
	}
	p = p[:min(int64(len(p)), l.left)]
	var n int
	var err error
	if r.pos < r.end {
		n = copy(p, (*r.held)[r.pos:r.end])
		r.pos += n
	} else if n, err = r.src.Read(p); n == 0 && err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		r.err = err
		return 0, err
	}
	l.left -= int64(n)
	return n, nil
}

// WriteTo writes what is left of the literal to w.
func (l *Literal) WriteTo(w io.Writer) (int64, error) {
	held := take(&l.r.buffers.write, writeSize)
	defer l.r.buffers.write.Put(held)
	var total int64
	for {
		n, err := l.Read(*held)
		if n > 0 {
			wrote, werr := w.Write((*held)[:n])
			total += int64(wrote)
			if werr != nil {
				return total, werr
			}
		}
		if errors.Is(err, io.EOF) {
			return total, nil
		}
		if err != nil {
			return total, err
		}
	}
}
