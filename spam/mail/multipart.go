package mail

import (
	"bytes"
	"fmt"
	"strings"
)

// multipartReader parts a body at its boundaries.
type multipartReader struct {
	m        *Message
	t        task
	part     *Part
	field    []byte // of the part's header, not yet kept
	inBody   bool
	lines    [][]byte
	nested   bool // a part has the same boundary
	children []task
}

// end says what a line is: no boundary (0), one between parts (1), the last (2).
func boundaryLine(line []byte, boundary string) int {
	rest, ok := bytes.CutPrefix(line, []byte("--"))
	if !ok {
		return 0
	}
	if rest, ok = bytes.CutPrefix(rest, []byte(boundary)); !ok {
		return 0
	}
	if blank(rest) {
		return 1
	}
	if rest, ok = bytes.CutPrefix(rest, []byte("--")); ok && blank(rest) {
		return 2
	}
	return 0
}

func blank(b []byte) bool { return len(bytes.Trim(b, " \t\r\n\f\v")) == 0 }

func (m *Message) multipart(t task) []task {
	p := t.part
	p.Parts = []*Part{}
	lines := t.lines
	for i, line := range lines {
		if boundaryLine(line, t.boundary) == 1 {
			m.Boundaries[t.boundary] = 1
			if i+1 < len(lines) && !partLine.Match(lines[i+1]) {
				m.MissingMIMEHead = true
			}
			lines = lines[i+1:]
			break
		}
	}
	r := &multipartReader{m: m, t: t, part: &Part{}}
	for i, line := range lines {
		if !r.line(line, lines[i+1:]) {
			break
		}
	}
	return r.children
}

// line takes one line; false ends the reading.
func (r *multipartReader) line(line []byte, rest [][]byte) bool {
	kind := boundaryLine(line, r.t.boundary)
	if kind > 0 && r.nested {
		r.nested = kind != 2
		kind = 0
	}
	if len(rest) > 0 && kind == 0 {
		r.content(line)
		return true
	}
	switch {
	case kind == 0:
		r.keep(line)
	case len(r.lines) > 0:
		r.chomp()
	}
	r.finish()
	if kind == 2 {
		r.m.Boundaries[r.t.boundary]--
		r.epilogue(rest)
		return false
	}
	if r.tooMany() {
		return false
	}
	if len(rest) > 0 && !partLine.Match(rest[0]) {
		r.m.MissingMIMEHead = true
	}
	return true
}

// epilogue looks for text behind the last boundary.
func (r *multipartReader) epilogue(lines [][]byte) {
	for _, line := range lines {
		if len(bytes.Trim(line, " \t\r\n\f\v.")) > 0 {
			r.m.Epilogue = true
			return
		}
	}
}

// chomp takes the end of the line that belongs to the boundary.
func (r *multipartReader) chomp() {
	n := len(r.lines) - 1
	last := bytes.TrimSuffix(r.lines[n], []byte("\n"))
	if len(last) == 0 {
		r.lines = r.lines[:n]
		return
	}
	r.lines[n] = last
}

// finish ends a part.
func (r *multipartReader) finish() {
	ct := ParseContentType(r.part.Header("content-type"))
	r.part.Type = ct.Type
	if ct.Missing && r.t.part.Type == "multipart/digest" {
		r.part.Type = "message/rfc822"
	}
	boundary := ct.Boundary
	if boundary == "" {
		boundary = r.t.boundary
	}
	r.children = append(r.children, task{r.part, boundary, true, r.lines, r.t.depth - 1})
	r.t.part.Parts = append(r.t.part.Parts, r.part)
	r.m.parts++
	r.part, r.field, r.lines, r.inBody = &Part{}, nil, nil, false
}

// tooMany reports whether no more parts are read.
func (r *multipartReader) tooMany() bool {
	switch {
	case len(r.t.part.Parts) >= maxParts:
		r.m.cuts.Add(fmt.Sprintf("parts: %d of a multipart", maxParts))
	case r.m.parts >= maxAll:
		r.m.cuts.Add(fmt.Sprintf("parts: %d of the message", maxAll))
	default:
		return false
	}
	r.m.PartLimit = true
	return true
}

// content takes a line of a part.
func (r *multipartReader) content(line []byte) {
	if r.inBody {
		r.keep(line)
		return
	}
	switch {
	case fieldLine.Match(line):
		r.endField()
		r.field = append([]byte(nil), line...)
		return
	case (line[0] == ' ' || line[0] == '\t') && r.field != nil:
		r.field = append(r.field, line...)
		return
	}
	if key := r.endField(); strings.EqualFold(key, "content-type") {
		ct := ParseContentType(r.part.Header("content-type"))
		r.nested = r.nested || ct.Bounded && ct.Boundary == r.t.boundary
	}
	r.inBody = true
	if bytes.Equal(line, []byte("\n")) || bytes.Equal(line, []byte("\r\n")) {
		return
	}
	r.m.MissingMIMEGap = true
	r.keep(line)
}

// endField keeps the field that was read, and gives its name.
func (r *multipartReader) endField() string {
	if r.field == nil {
		return ""
	}
	key, value, _ := strings.Cut(string(r.field), ":")
	r.part.add(key, strings.TrimLeft(value, " \t\r\n\f\v"))
	r.field = nil
	return key
}

// keep keeps a line, in pieces if it is long.
func (r *multipartReader) keep(line []byte) {
	for len(line) > maxLine {
		piece := append(append(make([]byte, 0, maxLine+1), line[:maxLine]...), '\n')
		r.lines = append(r.lines, piece)
		line = line[maxLine:]
	}
	r.lines = append(r.lines, line)
}
