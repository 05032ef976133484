package mail

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Bounds of what is read, as SpamAssassin has them.
const (
	maxKey     = 256   // octets of a field's name
	maxValue   = 8192  // octets of a field's value
	maxLine    = 2048  // octets of a line of a rendering
	maxParts   = 1000  // of a multipart
	maxAll     = 10000 // parts of a message
	maxNesting = 20    // of parts
	maxBlank   = 20    // blank lines that follow one another
)

// Message is a message taken apart. The root part is the message itself.
type Message struct {
	Part
	// Separator is the line "From ..." of an mbox, "" if there is none.
	Separator string
	// Head and Body are the octets before and behind the empty line; Head ends with it.
	Head, Body []byte
	whole      []byte // both, as they came

	TruncatedHeader  bool // a name or value was too long
	MissingSeparator bool // the empty line behind the header is missing
	MissingMIMEHead  bool // a boundary is followed by no header
	MissingMIMEGap   bool // the empty line behind a part's header is missing
	PartLimit        bool // there were more parts than are read
	Epilogue         bool // there is text behind the last boundary
	// Boundaries has 1 for a boundary that began and did not end, 0 or less for one that did.
	Boundaries map[string]int

	text     [3][][]byte
	textDone [3]bool
	rawText  [][]byte
	rawDone  bool
	htmls    []*HTML
	parts    int
	cuts     Cuts
	scan     Limits
}

// Limits bound what is rendered of each part, in octets; 0 is no bound.
type Limits struct{ Body, RawBody int }

// Field is a header field.
type Field struct {
	Name string
	// Raw is the value as it stands, with folds and the end of the line.
	Raw string
	// Value is unfolded and decoded to UTF-8, without white space around it.
	Value string
}

// task is a part whose body is not yet read.
type task struct {
	part     *Part
	boundary string
	bounded  bool
	lines    [][]byte
	depth    int
}

// Parse takes a message apart. It keeps text, which must not be changed.
func Parse(text []byte, l Limits) *Message {
	m := &Message{Boundaries: map[string]int{}, scan: l}
	queue := m.begin(text, maxNesting)
	for len(queue) > 0 {
		t := queue[0]
		queue = append(queue[1:], m.body(t)...)
	}
	return m
}

var (
	mboxFrom  = regexp.MustCompile(`^From\s+[^\s:]`)
	mbxLine   = regexp.MustCompile(`^[\s\d]\d-[a-zA-Z]{3}-\d{4}\s\d{2}:\d{2}:\d{2}.*,\d+;[\da-f]{12}-\w{8}\r?$`)
	fieldLine = regexp.MustCompile(`^[!-9;-~]+[ \t]*:`)
	partLine  = regexp.MustCompile(`^[!-9;-~]+:`)
)

// split cuts text behind each end of a line.
func split(text []byte) [][]byte {
	if len(text) == 0 {
		return [][]byte{[]byte("\n")}
	}
	return bytes.SplitAfter(text, []byte("\n"))[:bytes.Count(text, []byte("\n"))+1-b2i(text[len(text)-1] == '\n')]
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// size is how many octets lines have.
func size(lines [][]byte) (n int) {
	for _, l := range lines {
		n += len(l)
	}
	return n
}

// Whole is the message, Head and Body, without Separator. It must not be changed.
func (m *Message) Whole() []byte {
	if n := len(m.Head); n+len(m.Body) == len(m.whole) && bytes.Equal(m.Head, m.whole[:n]) {
		return m.whole
	}
	return slices.Concat(m.Head, m.Body)
}

// begin reads the header, and says what is to be read of the body.
func (m *Message) begin(text []byte, depth int) []task {
	lines := split(text)
	if mboxFrom.Match(lines[0]) || mbxLine.Match(bytes.TrimRight(lines[0], "\n")) {
		m.Separator = string(lines[0])
		text, lines = text[len(lines[0]):], lines[1:]
	}
	m.whole = text
	crlf := len(lines) > 0 && (bytes.Contains(lines[0], []byte("\r\n")) || bytes.Contains(lines[len(lines)-1], []byte("\r\n")))
	h := &headReader{m: m, crlf: crlf, lines: lines}
	h.read()
	lines = h.lines
	m.Head = h.head
	m.Body = text[len(text)-size(lines):]
	lines = trimBlank(lines, crlf)
	ct := ParseContentType(m.Header("content-type"))
	m.Type = ct.Type
	if strings.HasPrefix(m.Type, "multipart/") && len(lines) > 1 && !Blank(lines[0]) &&
		(!ct.Bounded || !bytes.HasPrefix(lines[0], []byte("--"+ct.Boundary))) {
		lines = append([][]byte{[]byte("\n")}, lines...)
	}
	return []task{{&m.Part, ct.Boundary, ct.Bounded, lines, depth}}
}

// headReader reads the header of a message.
type headReader struct {
	m      *Message
	crlf   bool
	lines  [][]byte
	head   []byte
	errors int
}

func (h *headReader) read() {
	eol := "\n"
	if h.crlf {
		eol = "\r\n"
	}
	var field []byte
	inField := false
	for {
		end := len(h.lines) == 0
		line := []byte(eol)
		if !end {
			line = h.lines[0]
			h.lines = h.lines[1:]
		}
		if h.crlf {
			line = withCR(line)
		}
		if len(line) > 0 && (line[0] == ' ' || line[0] == '\t') {
			field, inField = append(field, line...), true
			h.head = append(h.head, line...)
			continue
		}
		if inField {
			h.field(field)
		}
		if string(line) == eol {
			h.m.MissingSeparator = h.m.MissingSeparator || end
			if !end {
				h.head = append(h.head, line...)
			}
			return
		}
		if h.stop(line) {
			h.m.MissingSeparator = true
			h.lines = append([][]byte{line}, h.lines...)
			return
		}
		field, inField = append([]byte(nil), line...), true
		h.head = append(h.head, line...)
	}
}

// stop reports whether a line can not be of the header: a boundary, or the fourth
// that is no field.
func (h *headReader) stop(line []byte) bool {
	if bytes.HasPrefix(line, []byte("--")) {
		return true
	}
	if fieldLine.Match(line) {
		return false
	}
	h.errors++
	return h.errors > 3
}

func withCR(line []byte) []byte {
	if n := len(line); n > 0 && line[n-1] == '\n' && (n == 1 || line[n-2] != '\r') {
		return append(append(make([]byte, 0, n+1), line[:n-1]...), '\r', '\n')
	}
	return line
}

func (h *headReader) field(text []byte) {
	key, value, ok := bytes.Cut(text, []byte(":"))
	if !ok {
		return
	}
	if h.crlf {
		value = bytes.ReplaceAll(value, []byte("\r\n"), []byte("\n"))
	}
	key = bytes.TrimRight(key, " \t")
	if len(key) > maxKey {
		key, h.m.TruncatedHeader = key[:maxKey], true
		h.m.cuts.Add(fmt.Sprintf("field name: %d octets", maxKey))
	}
	if len(value) > maxValue {
		value, h.m.TruncatedHeader = value[:maxValue], true
		h.m.cuts.Add(fmt.Sprintf("field: %d octets", maxValue))
	}
	h.m.add(string(key), string(value))
}

// trimBlank shortens runs of blank lines, and takes CR from ends of lines.
func trimBlank(lines [][]byte, crlf bool) [][]byte {
	out := make([][]byte, 0, len(lines))
	blank := 0
	if len(lines) > 0 && Blank(lines[0]) {
		blank = -1 // at the beginning one more is left
	}
	for _, line := range lines {
		if crlf && bytes.HasSuffix(line, []byte("\r\n")) {
			line = append(append(make([]byte, 0, len(line)-1), line[:len(line)-2]...), '\n')
		}
		if !Blank(line) {
			blank = 0
		} else if blank++; blank > maxBlank {
			continue
		}
		out = append(out, line)
	}
	return out
}

// body reads one part's body, and says what is to be read next.
func (m *Message) body(t task) []task {
	p := t.part
	parted := strings.HasPrefix(p.Type, "multipart/") && t.bounded
	if parted && t.depth > 0 {
		return m.multipart(t)
	}
	m.leaf(t)
	if parted {
		m.deep()
		return nil
	}
	if p.Type != "message/rfc822" && p.Type != "message/global" {
		return nil
	}
	if t.depth <= 0 {
		m.deep()
		return nil
	}
	text := p.Decoded()
	if len(text) == 0 {
		return nil
	}
	inner := &Message{Boundaries: m.Boundaries}
	tasks := inner.begin(text, t.depth-1)
	for _, what := range inner.cuts {
		m.cuts.Add(what)
	}
	p.Parts = []*Part{&inner.Part}
	p.raw, p.decoded = nil, nil
	return tasks
}

func (m *Message) deep() { m.cuts.Add(fmt.Sprintf("nesting: %d levels", maxNesting)) }

// leaf keeps the body of a part that has no parts.
func (m *Message) leaf(t task) {
	p := t.part
	ct := ParseContentType(p.Header("content-type"))
	if !ct.Missing {
		p.Type = ct.Type
		if strings.HasPrefix(ct.Type, "multipart/") && !t.bounded {
			p.Type = "text/plain"
		}
	}
	p.Charset, p.HasCharset = ct.Charset, ct.HasCharset
	p.Name = ct.Name
	if d := dispositionName.FindStringSubmatch(p.Header("content-disposition")); d != nil {
		p.Name = d[1]
	}
	p.Boundary = t.boundary
	p.raw = bytes.Join(t.lines, nil)
}

var dispositionName = regexp.MustCompile(`(?i)name=\s*"?([^";]+)"?`)
