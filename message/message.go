package message

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync"
)

// Message is one immutable revision of a message. It may be read by several
// goroutines at once. The octets under it belong to whoever made them: a
// Message is valid as long as its Spool or Content is open.
type Message struct {
	header *Header
	blank  []byte // the line between header and body; nil if there was none
	body   Bytes
	raw    Bytes // the whole, where it is in one piece
	limits Limits
	over   error // a *LimitError of the header
	bodies int   // how often WithBody made a new one

	once      sync.Once
	assembled Bytes
	tree      func() (*Part, error)
}

// Parse indexes the header of b under DefaultLimits. It fails only if b can't
// be read: a line that is no field ends the header and begins the body, and so
// does the field that passes a limit (see Oversize).
func Parse(b Bytes) (*Message, error) { return ParseLimited(b, DefaultLimits) }

// ParseLimited is Parse under other limits.
func ParseLimited(b Bytes, lim Limits) (*Message, error) {
	lim = lim.whole()
	head, err := readHead(b, lim.HeaderSize)
	if err != nil {
		return nil, fmt.Errorf("message: read header: %w", err)
	}
	h, size, blank, over := parseHeader(head, lim)
	if over == nil && blank == 0 && int64(len(head)) < b.Size() && size >= lim.HeaderSize {
		over = &LimitError{"octets", lim.HeaderSize}
	}
	m := &Message{
		header: h,
		body:   Section(b, int64(size+blank), b.Size()),
		raw:    b,
		limits: lim,
		over:   over,
	}
	if blank > 0 {
		m.blank = head[size : size+blank]
	}
	return m.withTree(), nil
}

// readHead returns the start of b up to the first blank line, or limit octets
// and a line, or all there is.
func readHead(b Bytes, limit int) ([]byte, error) {
	if m, ok := b.(memory); ok {
		return m[:min(len(m), limit)], nil
	}
	want := 8 << 10
	for {
		want = min(want, limit)
		buf := make([]byte, min(int64(want), b.Size()))
		if n, err := b.ReadAt(buf, 0); n < len(buf) {
			if err == nil || errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
		if int64(len(buf)) == b.Size() || want == limit || endOfHeader(buf) {
			return buf, nil
		}
		want *= 4
	}
}

// endOfHeader reports whether b holds a blank line.
func endOfHeader(b []byte) bool {
	return bytes.Contains(b, []byte("\n\r\n")) || bytes.Contains(b, []byte("\n\n")) ||
		bytes.HasPrefix(b, []byte("\r\n")) || bytes.HasPrefix(b, []byte("\n"))
}

func (m *Message) withTree() *Message {
	m.tree = sync.OnceValues(func() (*Part, error) { return parseTree(m) })
	return m
}

// Header is this revision's header.
func (m *Message) Header() *Header { return m.header }

// Body is what follows the blank line.
func (m *Message) Body() Bytes { return m.body }

// Oversize returns the *LimitError of a header that passed its limits, or nil.
func (m *Message) Oversize() error { return m.over }

// HeaderSize is the octets of the header and the blank line after it.
func (m *Message) HeaderSize() int64 { return m.header.Size() + int64(len(m.separator())) }

// Size is the octets of this revision.
func (m *Message) Size() int64 { return m.HeaderSize() + m.body.Size() }

// Unseparated reports that no blank line parts header and body: a line that is no
// field ended the header, if there was one.
func (m *Message) Unseparated() bool { return m.blank == nil && m.body.Size() > 0 }

// separator is the line between header and body. A message that came without
// one (all header, or no header at all) gets one as soon as it has both.
func (m *Message) separator() []byte {
	if m.blank == nil && m.header.Len() > 0 && m.body.Size() > 0 {
		return crlf
	}
	return m.blank
}

var crlf = []byte("\r\n")

// Bytes is this revision in one piece. An unedited message gives back what
// Parse was given, unless it had to be given a separator.
func (m *Message) Bytes() Bytes {
	m.once.Do(func() {
		if m.raw != nil && m.raw.Size() == m.Size() {
			m.assembled = m.raw
			return
		}
		head := make([]byte, 0, m.HeaderSize())
		for _, f := range m.header.fields {
			head = append(head, f.Raw...)
		}
		m.assembled = Join(memory(append(head, m.separator()...)), m.body)
	})
	return m.assembled
}

// WriteTo writes this revision.
func (m *Message) WriteTo(w io.Writer) (int64, error) { return Copy(w, m.Bytes()) }

// WithHeader returns a revision with that header and the same body.
func (m *Message) WithHeader(h *Header) *Message {
	if h == m.header {
		return m
	}
	return (&Message{header: h, blank: m.blank, body: m.body, limits: m.limits, bodies: m.bodies}).withTree()
}

// WithBody returns a revision with that body and the same header.
func (m *Message) WithBody(b Bytes) *Message {
	return (&Message{header: m.header, blank: m.blank, body: b, limits: m.limits, bodies: m.bodies + 1}).withTree()
}

// SameBody reports whether m, a revision made from base or base itself, has the
// body that base has.
func (m *Message) SameBody(base *Message) bool { return m.bodies == base.bodies }

// Structure is the MIME tree. It is built once, by the first who asks. The
// error is one of reading, never of the message's form.
func (m *Message) Structure() (*Part, error) { return m.tree() }
