package message

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
)

// FieldID names a header field through all revisions of a message: an original
// field has its position, counted from 1; an added one the next free number.
type FieldID int32

// Field is one header field as it stands in the message.
type Field struct {
	ID   FieldID
	Name string // as written; "" for an mbox "From " line that leads a header
	Raw  []byte // name, colon, folding and the final CRLF; not to be changed
}

// RawValue is everything after the colon, folding and leading white space kept,
// without the final line break. The milter protocol's "leading space" form.
func (f Field) RawValue() string { return string(trimEOL(f.rawValue())) }

func (f Field) rawValue() []byte {
	i := bytes.IndexByte(f.Raw, ':')
	if f.Name == "" || i < 0 {
		return f.Raw
	}
	return f.Raw[i+1:]
}

// Value is the field's body unfolded (RFC 5322, 2.2.3), without white space at
// its ends.
func (f Field) Value() string {
	v := bytes.Trim(f.rawValue(), " \t\r\n")
	if bytes.IndexByte(v, '\n') < 0 {
		return string(v)
	}
	out := make([]byte, 0, len(v))
	for _, c := range v {
		if c != '\r' && c != '\n' {
			out = append(out, c)
		}
	}
	return string(out)
}

// Is reports whether the field has this name, in any case (RFC 5322, 1.2.2).
func (f Field) Is(name string) bool { return strings.EqualFold(f.Name, name) }

// Header is the immutable index of one revision's fields. Its methods that
// change something return a new Header.
type Header struct {
	fields []Field
	next   FieldID
}

// Fields returns the fields in order. The slice is the caller's to read only.
func (h *Header) Fields() []Field { return h.fields }

// Len is the number of fields.
func (h *Header) Len() int { return len(h.fields) }

// Get returns the unfolded value of the first field of that name.
func (h *Header) Get(name string) (string, bool) {
	if f, ok := h.First(name); ok {
		return f.Value(), true
	}
	return "", false
}

// First returns the first field of that name.
func (h *Header) First(name string) (Field, bool) {
	for _, f := range h.fields {
		if f.Is(name) {
			return f, true
		}
	}
	return Field{}, false
}

// All returns every field of that name, in order.
func (h *Header) All(name string) []Field {
	var out []Field
	for _, f := range h.fields {
		if f.Is(name) {
			out = append(out, f)
		}
	}
	return out
}

// Values returns the unfolded values of every field of that name, in order.
func (h *Header) Values(name string) []string {
	var out []string
	for _, f := range h.fields {
		if f.Is(name) {
			out = append(out, f.Value())
		}
	}
	return out
}

// ByID returns the field with that ID.
func (h *Header) ByID(id FieldID) (Field, bool) {
	if i := h.index(id); i >= 0 {
		return h.fields[i], true
	}
	return Field{}, false
}

func (h *Header) index(id FieldID) int {
	// An original field that nothing was inserted before sits at its ID.
	if i := int(id) - 1; i >= 0 && i < len(h.fields) && h.fields[i].ID == id {
		return i
	}
	return slices.IndexFunc(h.fields, func(f Field) bool { return f.ID == id })
}

// Size is the number of octets of all fields.
func (h *Header) Size() int64 {
	var n int64
	for _, f := range h.fields {
		n += int64(len(f.Raw))
	}
	return n
}

// Insert returns a header with a new field before position at (0 is the top;
// past the end is the bottom), and the new field's ID. raw is what FormatField
// or FormatRawField made.
func (h *Header) Insert(at int, raw []byte) (*Header, FieldID) {
	return h.InsertAs(at, raw, h.next), h.next
}

// InsertAs is Insert under an ID that the caller took from another revision of
// the same message, so that forks of it agree on the names of their fields.
func (h *Header) InsertAs(at int, raw []byte, id FieldID) *Header {
	at = min(max(at, 0), len(h.fields))
	fields := make([]Field, 0, len(h.fields)+1)
	fields = append(fields, h.fields[:at]...)
	fields = append(fields, Field{ID: id, Name: fieldName(raw), Raw: raw})
	fields = append(fields, h.fields[at:]...)
	return &Header{fields: fields, next: max(h.next, id+1)}
}

// Reserve returns the same header, whose next new field gets an ID from id on.
func (h *Header) Reserve(id FieldID) *Header {
	return &Header{fields: h.fields, next: max(h.next, id)}
}

// Set returns a header in which the field with that ID has other octets; it
// keeps its place and its ID. It reports false if there is no such field.
func (h *Header) Set(id FieldID, raw []byte) (*Header, bool) {
	i := h.index(id)
	if i < 0 {
		return h, false
	}
	fields := slices.Clone(h.fields)
	fields[i] = Field{ID: id, Name: fieldName(raw), Raw: raw}
	return &Header{fields: fields, next: h.next}, true
}

// Remove returns a header without the field of that ID. It reports false if
// there is no such field.
func (h *Header) Remove(id FieldID) (*Header, bool) {
	i := h.index(id)
	if i < 0 {
		return h, false
	}
	return &Header{fields: slices.Delete(slices.Clone(h.fields), i, i+1), next: h.next}, true
}

// Without returns a header without the fields that drop names.
func (h *Header) Without(drop func(Field) bool) *Header {
	if !slices.ContainsFunc(h.fields, drop) {
		return h
	}
	return &Header{fields: slices.DeleteFunc(slices.Clone(h.fields), drop), next: h.next}
}

// ValidFieldName reports whether s can name a header field: printable US-ASCII
// but colon and space (RFC 5322, 2.2), at most 76 octets.
func ValidFieldName(s string) bool {
	if s == "" || len(s) > 76 {
		return false
	}
	for i := range len(s) {
		if !nameByte(s[i]) {
			return false
		}
	}
	return true
}

func nameByte(c byte) bool { return c > ' ' && c < 0x7f && c != ':' }

// DateFormat is how a date stands in a header (RFC 5322, 3.3).
const DateFormat = "Mon, 2 Jan 2006 15:04:05 -0700"

// FormatField writes a field with one space after the colon. Line breaks in the
// value become folding: each continuation line starts with white space, so
// that no value can begin a field of its own or end the header. Lines longer
// than 78 characters are folded at white space where there is any (RFC 5322,
// 2.1.1).
func FormatField(name, value string) []byte {
	return fold([]byte(name+": "), strings.TrimSpace(value))
}

// FormatRawField writes a field whose value brings its own leading white space
// and folding, as a milter that negotiated leading spaces sends it. It changes
// only what would break the message: line breaks become CRLF, and a
// continuation line without white space gets a tab.
func FormatRawField(name, value string) []byte {
	out := append(make([]byte, 0, len(name)+len(value)+3), name...)
	out = append(out, ':')
	return appendUnbroken(out, strings.TrimRight(value, "\r\n"))
}

// appendUnbroken adds value with every line break made a fold, and a final CRLF.
func appendUnbroken(out []byte, value string) []byte {
	for i := 0; i < len(value); i++ {
		c := value[i]
		switch {
		case c == 0:
			continue
		case c == '\r' && i+1 < len(value) && value[i+1] == '\n':
			continue
		case c == '\n' || c == '\r':
			// A line of white space alone would read as the header's end
			// to some (RFC 5322, 3.2.2): such a fold is dropped.
			rest := strings.TrimLeft(value[i+1:], " \t")
			if rest == "" || rest[0] == '\r' || rest[0] == '\n' {
				continue
			}
			out = append(out, '\r', '\n')
			if next := value[i+1]; next != ' ' && next != '\t' {
				out = append(out, '\t')
			}
		default:
			out = append(out, c)
		}
	}
	return append(out, '\r', '\n')
}

// fold adds value to the line begun in out. A value that is already folded is
// kept so.
func fold(out []byte, value string) []byte {
	const width = 78
	if len(out)+len(value) <= width || strings.ContainsAny(value, "\r\n") {
		return appendUnbroken(out, value)
	}
	column := len(out)
	for i := 0; i < len(value); {
		end := i + 1
		for end < len(value) && value[end] != ' ' && value[end] != '\t' {
			end++
		}
		blank := value[i] == ' ' || value[i] == '\t'
		if i > 0 && blank && column+end-i > width && strings.TrimLeft(value[i:end], " \t") != "" {
			out = append(out, '\r', '\n')
			column = 0
		}
		out = append(out, strings.ReplaceAll(value[i:end], "\x00", "")...)
		column += end - i
		i = end
	}
	return append(out, '\r', '\n')
}

func fieldName(raw []byte) string {
	i := bytes.IndexByte(raw, ':')
	if i < 0 {
		return ""
	}
	return string(bytes.TrimRight(raw[:i], " \t"))
}

// Limits bounds what is taken for a header, and how far the MIME tree goes: what
// lies deeper, or past the last part, stays inside the part that holds it. Zero
// fields mean DefaultLimits.
type Limits struct {
	HeaderSize int // octets
	Fields     int
	Lines      int
	Depth      int // of parts in parts, at most MaxDepth
	Parts      int
}

// MaxDepth is as deep as a MIME tree may be.
const MaxDepth = 100

// DefaultLimits is far beyond honest mail.
var DefaultLimits = Limits{HeaderSize: 256 << 10, Fields: 1000, Lines: 10000, Depth: MaxDepth, Parts: 1000}

// whole fills in what is zero.
func (l Limits) whole() Limits {
	for _, p := range []struct{ v, def *int }{
		{&l.HeaderSize, &DefaultLimits.HeaderSize}, {&l.Fields, &DefaultLimits.Fields}, {&l.Lines, &DefaultLimits.Lines},
		{&l.Depth, &DefaultLimits.Depth}, {&l.Parts, &DefaultLimits.Parts},
	} {
		if *p.v == 0 {
			*p.v = *p.def
		}
	}
	return l
}

// LimitError says which bound a header passed.
type LimitError struct {
	What  string // "octets", "fields" or "lines"
	Limit int
}

func (e *LimitError) Error() string {
	return fmt.Sprintf("message: header has more than %d %s", e.Limit, e.What)
}

// parseHeader indexes the fields at the start of b. It returns how many octets
// they take, and how many the blank line after them (0 where a line that is no
// field, or the end of b, ends the header).
func parseHeader(b []byte, lim Limits) (h *Header, size, blank int, err error) {
	h = &Header{next: 1}
	for lines := 0; size < len(b); lines++ {
		if lines >= lim.Lines {
			return h, size, 0, &LimitError{"lines", lim.Lines}
		}
		line := b[size:]
		if i := bytes.IndexByte(line, '\n'); i >= 0 {
			line = line[:i+1]
		}
		if n := len(trimEOL(line)); n == 0 && len(line) > 0 && line[len(line)-1] == '\n' {
			return h, size, len(line), nil
		}
		if (line[0] == ' ' || line[0] == '\t') && len(h.fields) > 0 {
			last := &h.fields[len(h.fields)-1]
			last.Raw = b[size-len(last.Raw) : size+len(line)]
			size += len(line)
			continue
		}
		name, ok := lineName(line, size == 0)
		if !ok {
			return h, size, 0, nil
		}
		if len(h.fields) >= lim.Fields {
			return h, size, 0, &LimitError{"fields", lim.Fields}
		}
		if h.fields == nil {
			h.fields = make([]Field, 0, 16)
		}
		h.fields = append(h.fields, Field{ID: h.next, Name: name, Raw: line})
		h.next++
		size += len(line)
	}
	return h, size, 0, nil
}

// lineName returns the name of the field that begins with line. White space
// before the colon is obsolete syntax that is still read (RFC 5322, 4.5).
func lineName(line []byte, first bool) (string, bool) {
	i := 0
	for i < len(line) && nameByte(line[i]) {
		i++
	}
	end := i
	for i < len(line) && (line[i] == ' ' || line[i] == '\t') {
		i++
	}
	if end > 0 && i < len(line) && line[i] == ':' {
		return intern(line[:end]), true
	}
	mbox := first && bytes.HasPrefix(bytes.TrimLeft(line, ">"), []byte("From "))
	return "", mbox
}

// commonNames are the names that most fields have; intern returns them without
// an allocation.
var commonNames = func() map[string]string {
	names := map[string]string{}
	for _, n := range strings.Fields(`Received From To Cc Bcc Subject Date Message-ID Message-Id MIME-Version
		Mime-Version Content-Type Content-Transfer-Encoding Content-Disposition Reply-To Return-Path
		In-Reply-To References DKIM-Signature Authentication-Results Received-SPF Delivered-To Sender
		List-Id List-Unsubscribe Precedence X-Mailer User-Agent X-Spam-Status X-Spam-Flag`) {
		names[n] = n
	}
	return names
}()

func intern(b []byte) string {
	if s, ok := commonNames[string(b)]; ok {
		return s
	}
	return string(b)
}

func trimEOL(b []byte) []byte {
	if n := len(b); n > 0 && b[n-1] == '\n' {
		b = b[:n-1]
		if n > 1 && b[n-2] == '\r' {
			b = b[:n-2]
		}
	}
	return b
}
