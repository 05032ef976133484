package message

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
)

// maxPartsHead bounds the octets of all part headers together.
const maxPartsHead = 1 << 20

// Part is one entity of the MIME tree. Offsets count from the start of the
// message revision.
type Part struct {
	Type, Subtype     string  // lower case; "text", "plain" where nothing or nonsense is said (RFC 2045, 5.2)
	Params            []Param // of Content-Type, in order, RFC 2231 decoded
	ID, Description   string
	Encoding          string // lower case; "7bit" by default (RFC 2045, 6.1)
	MD5, Location     string
	Language          []string
	Disposition       string // lower case; "" if there is none
	DispositionParams []Param

	Offset     int64 // where its header begins
	HeaderSize int64 // octets, with the blank line
	BodySize   int64 // octets, without the line break that belongs to a boundary
	Lines      int64 // line breaks in the body

	Header   *Header
	Parts    []*Part // children of a multipart, at least one
	Embedded *Part   // the message inside a message/rfc822
}

// BodyOffset is where the body begins.
func (p *Part) BodyOffset() int64 { return p.Offset + p.HeaderSize }

// Is reports whether the part's type is typ/subtype. An empty subtype matches
// every one.
func (p *Part) Is(typ, subtype string) bool {
	return p.Type == typ && (subtype == "" || p.Subtype == subtype)
}

// Param returns a Content-Type parameter, "" if it is missing.
func (p *Part) Param(name string) string { return findParam(p.Params, name) }

// Filename is the name an attachment asks to be saved under, decoded, or "".
func (p *Part) Filename() string {
	if s := findParam(p.DispositionParams, "filename"); s != "" {
		return DecodeText(s)
	}
	return DecodeText(p.Param("name"))
}

// Walk calls f for p and everything below it, in order, until f returns false.
func (p *Part) Walk(f func(*Part) bool) bool {
	if !f(p) {
		return false
	}
	for _, c := range p.Parts {
		if !c.Walk(f) {
			return false
		}
	}
	return p.Embedded == nil || p.Embedded.Walk(f)
}

// Raw is the part's body as it stands in m, still encoded.
func (m *Message) Raw(p *Part) Bytes { return Section(m.Bytes(), p.BodyOffset(), p.BodySize) }

// parseTree builds the tree in one pass over the message.
func parseTree(m *Message) (*Part, error) {
	b := m.Bytes()
	t := &treeParser{r: bufio.NewReaderSize(NewReader(b), 32<<10), limits: m.limits, head: maxPartsHead}
	root := partOf(m.header)
	root.HeaderSize = m.HeaderSize()
	if _, err := t.r.Discard(int(root.HeaderSize)); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("message: read body: %w", err)
	}
	t.next.off = root.HeaderSize
	if err := t.body(root, nil, 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("message: read body: %w", err)
	}
	return root, nil
}

// treeParser reads a message line by line and knows where it is.
type treeParser struct {
	r      *bufio.Reader
	limits Limits
	parts  int
	head   int // octets of part headers still to be taken

	next place // after the last line
	last place // before it
	eol  int64 // octets of the last line's break
	prev int64 // octets of the break before it

	hit   int  // index of the boundary the last line was; -1 if none
	close bool // that boundary was a closing one
}

// place is a point between two lines.
type place struct {
	off   int64 // octets before it
	lines int64 // line breaks before it
}

// line reads the next line. Of an endless one the start is returned and the
// rest skipped.
func (t *treeParser) line() ([]byte, error) {
	t.last, t.prev, t.eol = t.next, t.eol, 0
	line, err := t.r.ReadSlice('\n')
	n := int64(len(line))
	var kept []byte
	for errors.Is(err, bufio.ErrBufferFull) {
		if kept == nil {
			kept = bytes.Clone(line[:1024])
		}
		line, err = t.r.ReadSlice('\n')
		n += int64(len(line))
	}
	if text := len(trimEOL(line)); text < len(line) {
		t.eol = int64(len(line) - text)
		t.next.lines++
	}
	t.next.off += n
	if errors.Is(err, io.EOF) && n > 0 {
		err = nil
	}
	if kept != nil {
		line = kept
	}
	return line, err
}

// end notes the extent of a body that began at start and whose end is the last
// line read: a boundary, which takes the line break before it along, or the
// end of the message.
func (t *treeParser) end(p *Part, start place, err error) {
	stop := t.next
	if err == nil {
		stop = t.last
		stop.off -= t.prev
		stop.lines--
	}
	p.BodySize = max(stop.off-start.off, 0)
	p.Lines = max(stop.lines-start.lines, 0)
}

// boundary sets hit and close for a line.
func (t *treeParser) boundary(line []byte, marks []string) bool {
	t.hit, t.close = -1, false
	if len(marks) == 0 || len(line) < 2 || line[0] != '-' || line[1] != '-' {
		return false
	}
	rest := bytes.TrimRight(line[2:], " \t\r\n")
	for i := len(marks) - 1; i >= 0; i-- {
		after, ok := bytes.CutPrefix(rest, []byte(marks[i]))
		if ok && (len(after) == 0 || bytes.HasPrefix(after, []byte("--"))) {
			t.hit, t.close = i, len(after) > 0
			return true
		}
	}
	return false
}

// body reads p's body, to the end of the message or to a line that is one of
// marks, which are the boundaries around it.
func (t *treeParser) body(p *Part, marks []string, depth int) error {
	t.parts++
	bound := p.Param("boundary")
	nested := depth < t.limits.Depth && t.parts < t.limits.Parts && t.head > 0
	switch {
	case p.Type == "multipart" && bound != "" && nested:
		return t.multipart(p, append(marks, bound), depth)
	case p.Type == "multipart":
		p.Type, p.Subtype = "text", "plain"
	case p.Is("message", "rfc822") && nested && identity(p.Encoding):
		return t.embedded(p, marks, depth)
	}
	return t.leaf(p, marks)
}

func (t *treeParser) leaf(p *Part, marks []string) error {
	start := t.next
	err := t.skip(marks)
	t.end(p, start, err)
	return err
}

// skip reads up to a boundary or the end.
func (t *treeParser) skip(marks []string) error {
	for {
		line, err := t.line()
		if err != nil {
			t.hit = -1
			return err
		}
		if t.boundary(line, marks) {
			return nil
		}
	}
}

func (t *treeParser) embedded(p *Part, marks []string, depth int) error {
	start := t.next
	child, err := t.part(marks, depth+1, "text/plain")
	p.Embedded = child
	t.end(p, start, err)
	return err
}

// part reads a header and the body after it.
func (t *treeParser) part(marks []string, depth int, def string) (*Part, error) {
	start := t.next
	raw, err := t.header(marks)
	h, size, blank, _ := parseHeader(raw, DefaultLimits)
	p := partOf(h)
	if _, ok := h.First("Content-Type"); !ok {
		p.Type, p.Subtype, _ = strings.Cut(def, "/")
	}
	p.Offset, p.HeaderSize, p.Header = start.off, int64(size+blank), h
	if err == nil && t.hit < 0 {
		err = t.body(p, marks, depth)
	}
	// What was read as header and is none belongs to the body.
	if rest := raw[size+blank:]; len(rest) > 0 {
		p.BodySize += int64(len(rest))
		p.Lines += int64(bytes.Count(rest, []byte("\n")))
	}
	return p, err
}

// header collects the lines of a part's header with the blank line, up to what
// is left for headers. A boundary inside ends it.
func (t *treeParser) header(marks []string) ([]byte, error) {
	var raw []byte
	t.hit = -1
	for t.head > 0 {
		line, err := t.line()
		if err != nil || t.boundary(line, marks) {
			return raw, err
		}
		raw = append(raw, line...)
		t.head -= len(line)
		if len(trimEOL(line)) == 0 || !isFieldLine(line) {
			break
		}
	}
	return raw, nil
}

func isFieldLine(line []byte) bool {
	if line[0] == ' ' || line[0] == '\t' {
		return true
	}
	_, ok := lineName(line, false)
	return ok
}

func (t *treeParser) multipart(p *Part, marks []string, depth int) error {
	start, own := t.next, len(marks)-1
	def := "text/plain"
	if p.Subtype == "digest" {
		def = "message/rfc822" // RFC 2046, 5.1.5
	}
	err := t.skip(marks)
	for err == nil && t.hit == own && !t.close && t.parts < t.limits.Parts {
		var child *Part
		child, err = t.part(marks, depth+1, def)
		p.Parts = append(p.Parts, child)
	}
	if err == nil && t.hit == own {
		err = t.skip(marks[:own]) // the epilogue, or parts past the bound
	}
	t.end(p, start, err)
	if len(p.Parts) == 0 {
		p.Parts = []*Part{emptyPart(start.off + p.BodySize)}
	}
	return err
}

func emptyPart(at int64) *Part {
	p := partOf(&Header{next: 1})
	p.Offset = at
	return p
}

func identity(encoding string) bool {
	return encoding == "7bit" || encoding == "8bit" || encoding == "binary"
}

// partOf reads the MIME fields of a header.
func partOf(h *Header) *Part {
	p := &Part{Header: h, Type: "text", Subtype: "plain", Encoding: "7bit"}
	if v, ok := h.Get("Content-Type"); ok {
		value, params := ParseParams(v)
		typ, sub, ok := strings.Cut(value, "/")
		if ok && isToken(typ) && isToken(sub) {
			p.Type, p.Subtype, p.Params = strings.ToLower(typ), strings.ToLower(sub), params
		}
	}
	if v, ok := h.Get("Content-Transfer-Encoding"); ok {
		if v, _ = ParseParams(v); isToken(v) {
			p.Encoding = strings.ToLower(v)
		}
	}
	if v, ok := h.Get("Content-Disposition"); ok {
		if value, params := ParseParams(v); isToken(value) {
			p.Disposition, p.DispositionParams = strings.ToLower(value), params
		}
	}
	p.ID, _ = h.Get("Content-ID")
	p.Description, _ = h.Get("Content-Description")
	p.MD5, _ = h.Get("Content-MD5")
	p.Location, _ = h.Get("Content-Location")
	if v, ok := h.Get("Content-Language"); ok {
		for l := range strings.SplitSeq(v, ",") {
			if l = strings.TrimSpace(l); l != "" {
				p.Language = append(p.Language, l)
			}
		}
	}
	return p
}
