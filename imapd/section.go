package imapd

import (
	"bytes"
	"io"
	"strconv"
	"strings"

	"mtad/imapd/wire"
	"mtad/message"
)

// section is which octets of a message BODY[...] asks for (RFC 3501, 6.4.5).
type section struct {
	path    []uint32 // part numbers; empty for the message itself
	what    string   // "", HEADER, HEADER.FIELDS, HEADER.FIELDS.NOT, TEXT or MIME
	fields  []string // as the client wrote them
	partial bool
	offset  int64
	length  int64
}

// sectionNeeds are the words a section may end in, and what they need.
var sectionNeeds = map[string]need{
	"":                  needContent,
	"HEADER":            needMessage,
	"HEADER.FIELDS":     needMessage,
	"HEADER.FIELDS.NOT": needMessage,
	"TEXT":              needMessage,
	"MIME":              needStructure,
}

func (c *section) need() need {
	if len(c.path) > 0 {
		return needStructure
	}
	if c.what != "" {
		return needMessage
	}
	return 0
}

func presetSection(what string) func(*wire.Reader, *fetchItem) {
	return func(_ *wire.Reader, it *fetchItem) { it.section.what = what }
}

// readSection reads "[...]" and a partial range after it. The answer's name
// repeats it without the length (RFC 3501, 7.4.2).
func readSection(r *wire.Reader, it *fetchItem) {
	c := &it.section
	r.Expect('[')
	if !r.Peek(']') {
		c.parse(r)
	}
	r.Expect(']')
	if r.Accept('<') {
		c.partial = true
		c.offset = r.Number64()
		r.Expect('.')
		if c.length = r.Number64(); c.length == 0 {
			r.Fail("expected a length that is not zero")
		}
		r.Expect('>')
	}
	it.name = "BODY" + c.String()
}

// parse reads what stands between the brackets.
func (c *section) parse(r *wire.Reader) {
	words := strings.Split(r.Word(), ".")
	for len(words) > 0 && words[0] != "" && words[0][0] <= '9' {
		n, err := strconv.ParseUint(words[0], 10, 32)
		if err != nil || n == 0 || len(c.path) > message.MaxDepth {
			r.Fail("Part number is not valid")
			return
		}
		c.path, words = append(c.path, uint32(n)), words[1:]
	}
	c.what = strings.Join(words, ".")
	_, known := sectionNeeds[c.what]
	switch {
	case !known, c.what == "" && len(words) > 0, c.what == "MIME" && len(c.path) == 0:
		r.Fail("Unknown section")
	case strings.HasPrefix(c.what, "HEADER.FIELDS"):
		r.SP()
		r.List(func() { c.fields = append(c.fields, readFieldName(r)) })
		if len(c.fields) == 0 {
			r.Fail("expected a field name")
		}
	}
}

// readFieldName reads the name of a header field (RFC 5322, 3.6.8).
func readFieldName(r *wire.Reader) string {
	name := r.AString()
	for i := range len(name) {
		if c := name[i]; c <= ' ' || c >= 0x7f || c == ':' {
			r.Fail("Not the name of a header field")
		}
	}
	return name
}

// String is the section as an answer names it.
func (c *section) String() string {
	var b strings.Builder
	b.WriteByte('[')
	for i, n := range c.path {
		if i > 0 {
			b.WriteByte('.')
		}
		b.WriteString(strconv.FormatUint(uint64(n), 10))
	}
	if c.what != "" {
		if len(c.path) > 0 {
			b.WriteByte('.')
		}
		b.WriteString(c.what)
	}
	if len(c.fields) > 0 {
		names := make([]string, len(c.fields))
		for i, f := range c.fields {
			names[i] = wire.AStringOf(f)
		}
		b.WriteString(" (" + strings.Join(names, " ") + ")")
	}
	b.WriteByte(']')
	if c.partial {
		b.WriteString("<" + strconv.FormatInt(c.offset, 10) + ">")
	}
	return b.String()
}

// piece is a run of octets.
type piece struct {
	src       io.ReaderAt
	off, size int64
}

func writeSection(w *wire.Writer, m *fetched, it *fetchItem) {
	w.Raw(it.name)
	w.SP()
	p, exists := it.section.find(m)
	if !exists {
		w.Raw("NIL")
		return
	}
	if it.section.partial {
		skip := min(it.section.offset, p.size)
		p.off += skip
		p.size = min(p.size-skip, it.section.length)
	}
	w.LiteralHead(p.size)
	w.Copy(p.src, p.off, p.size)
}

// find returns the octets of the section in a message.
func (c *section) find(m *fetched) (piece, bool) {
	if len(c.path) == 0 {
		if c.what == "" {
			return piece{m.content, 0, m.content.Size()}, true
		}
		head := m.message.HeaderSize()
		return c.within(m, m.message.Header(), 0, head, m.message.Size()-head)
	}
	part := findPart(m.root, c.path)
	switch {
	case part == nil:
		return piece{}, false
	case c.what == "":
		return piece{m.message.Bytes(), part.BodyOffset(), part.BodySize}, true
	case c.what == "MIME":
		return piece{m.message.Bytes(), part.Offset, part.HeaderSize}, true
	case part.Embedded == nil:
		return piece{}, false // RFC 3501, 6.4.5: only a message/rfc822 part has these
	}
	inner := part.Embedded
	return c.within(m, inner.Header, inner.Offset, inner.HeaderSize, inner.BodySize)
}

// within returns HEADER, TEXT or chosen fields of a message that begins at off.
func (c *section) within(m *fetched, h *message.Header, off, head, body int64) (piece, bool) {
	switch c.what {
	case "HEADER":
		return piece{m.message.Bytes(), off, head}, true
	case "TEXT":
		return piece{m.message.Bytes(), off + head, body}, true
	}
	return memoryPiece(c.choose(h)), true
}

func memoryPiece(b []byte) piece { return piece{bytes.NewReader(b), 0, int64(len(b))} }

// choose returns the fields that were named, or those that were not, and the
// blank line that ends a header.
func (c *section) choose(h *message.Header) []byte {
	var out []byte
	not := c.what == "HEADER.FIELDS.NOT"
	for _, f := range h.Fields() {
		named := false
		for _, name := range c.fields {
			named = named || f.Is(name)
		}
		if named != not {
			out = append(out, f.Raw...)
			if n := len(f.Raw); n == 0 || f.Raw[n-1] != '\n' {
				out = append(out, "\r\n"...)
			}
		}
	}
	return append(out, "\r\n"...)
}

// findPart follows part numbers down. Part 1 of what has no parts is its body
// (RFC 3501, 6.4.5).
func findPart(root *message.Part, path []uint32) *message.Part {
	at := root
	itself := false // at was reached as part 1 of itself
	for i, n := range path {
		if i > 0 {
			switch {
			case at.Embedded != nil:
				at = at.Embedded
			case len(at.Parts) == 0 || itself:
				return nil
			}
		}
		itself = len(at.Parts) == 0
		switch {
		case itself && n != 1, !itself && n > uint32(len(at.Parts)):
			return nil
		case !itself:
			at = at.Parts[n-1]
		}
	}
	return at
}
