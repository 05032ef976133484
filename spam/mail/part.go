package mail

import (
	"bytes"
	"encoding/base64"
	"regexp"
	"strings"
)

// Part is a part of a message, or the message itself.
type Part struct {
	Fields []Field
	// Type is the media type in small letters: "text/plain" where none is given,
	// and for all of "text/" but html, calendar and x-vcard.
	Type       string
	Charset    string // as declared
	HasCharset bool
	Name       string // of the file
	Boundary   string
	Parts      []*Part

	raw       []byte
	decoded   []byte
	rendering *rendering
}

// Leaf reports whether the part has no parts.
func (p *Part) Leaf() bool { return p.Parts == nil }

// Leaves are all parts without parts, in the order of the message.
func (p *Part) Leaves() []*Part {
	var out []*Part
	p.Walk(func(q *Part) {
		if q.Leaf() {
			out = append(out, q)
		}
	})
	return out
}

// Walk calls f for the part and all parts in it, in the order of the message, but for those
// whose type has nothing that a type may have ("<>"): SpamAssassin finds none of them.
func (p *Part) Walk(f func(*Part)) {
	if p.Type != "" {
		f(p)
	}
	for _, q := range p.Parts {
		q.Walk(f)
	}
}

func (p *Part) add(name, raw string) {
	p.Fields = append(p.Fields, Field{name, raw, decodeField(unfold(raw), strings.ToLower(name))})
}

var folds = regexp.MustCompile(`\n[ \t]+`)

func unfold(raw string) string {
	if strings.Contains(raw, "\n ") || strings.Contains(raw, "\n\t") {
		raw = folds.ReplaceAllString(raw, " ")
	}
	return strings.Trim(raw, spaces)
}

const spaces = " \t\r\n\f\v"

// Header is the value of the last field of a name, "" if there is none.
func (p *Part) Header(name string) string {
	for i := len(p.Fields) - 1; i >= 0; i-- {
		if strings.EqualFold(p.Fields[i].Name, name) {
			return p.Fields[i].Value
		}
	}
	return ""
}

// Has reports whether there is a field of a name.
func (p *Part) Has(name string) bool {
	for i := range p.Fields {
		if strings.EqualFold(p.Fields[i].Name, name) {
			return true
		}
	}
	return false
}

// Raw is the body as it stands.
func (p *Part) Raw() []byte { return p.raw }

// Decoded is the body without its Content-Transfer-Encoding.
func (p *Part) Decoded() []byte {
	if p.decoded != nil || p.raw == nil {
		return p.decoded
	}
	switch strings.ToLower(p.Header("content-transfer-encoding")) {
	case "quoted-printable":
		p.decoded = bytes.ReplaceAll(decodeQP(p.raw), []byte("\r\n"), []byte("\n"))
	case "base64":
		p.decoded = decodeBase64(p.raw)
		if strings.HasPrefix(p.Type, "text/") || strings.HasPrefix(p.Type, "message/") {
			p.decoded = bytes.ReplaceAll(p.decoded, []byte("\r\n"), []byte("\n"))
		}
	default:
		p.decoded = p.raw
	}
	return p.decoded
}

// decodeQP takes white space from ends of lines, joins lines that "=" ends, and reads
// "=XX" (RFC 2045, 6.7).
func decodeQP(in []byte) []byte {
	out := make([]byte, 0, len(in))
	for len(in) > 0 {
		line, rest, ended := bytes.Cut(in, []byte("\n"))
		in = rest
		if !ended {
			out = append(out, line...)
			break
		}
		trimmed := bytes.TrimRight(line, " \t")
		text, cr := bytes.CutSuffix(trimmed, []byte("\r"))
		if len(trimmed) == len(line) {
			text = bytes.TrimRight(text, " \t")
		}
		line = text
		if soft, ok := bytes.CutSuffix(line, []byte("=")); ok {
			out = append(out, soft...)
			continue
		}
		out = append(out, line...)
		if cr {
			out = append(out, '\r')
		}
		out = append(out, '\n')
	}
	return unhex(out)
}

// unhex reads "=XX", in place.
func unhex(b []byte) []byte {
	out := b[:0]
	for i := 0; i < len(b); i++ {
		if b[i] == '=' && i+2 < len(b) && hex(b[i+1]) >= 0 && hex(b[i+2]) >= 0 {
			out = append(out, byte(hex(b[i+1])<<4|hex(b[i+2])))
			i += 2
			continue
		}
		out = append(out, b[i])
	}
	return out
}

func hex(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c|0x20 >= 'a' && c|0x20 <= 'f':
		return int(c|0x20-'a') + 10
	}
	return -1
}

// decodeBase64 passes over all that is not base64. Padding in the middle counts as zeros,
// or, in a text that is not whole, as ones.
func decodeBase64(in []byte) []byte {
	clean := make([]byte, 0, len(in))
	whole := true
	for _, c := range in {
		switch {
		case c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '+' || c == '/' || c == '=':
			clean = append(clean, c)
		case !asciiSpace(c):
			whole = false
		}
	}
	padding := byte('/')
	if whole && len(clean)%4 == 0 {
		padding = 'A'
	}
	clean = bytes.TrimRight(clean, "=")
	for i, c := range clean {
		if c == '=' {
			clean[i] = padding
		}
	}
	if len(clean)%4 == 1 {
		clean = clean[:len(clean)-1]
	}
	out := make([]byte, base64.RawStdEncoding.DecodedLen(len(clean)))
	n, _ := base64.RawStdEncoding.Decode(out, clean)
	return out[:n]
}

// ContentType is what a field Content-Type says.
type ContentType struct {
	Type                string
	Boundary, Charset   string
	Bounded, HasCharset bool
	Name                string
	Missing             bool // there is no type, text/plain stands for it
}

var (
	ctBoundary = regexp.MustCompile(`(?i)\bboundary\s*=\s*(?:"([^"]+)|([^\s";]+)(?:[\s;]|$))`)
	ctCharset  = regexp.MustCompile(`(?i)\bcharset\s*=\s*["']?([^\n]*?)["']?(?:;|$)`)
	ctName     = regexp.MustCompile(`(?i)\b(?:file)?name\s*=\s*["']?([^\n]*?)["']?(?:;|$)`)
	ctNames    = regexp.MustCompile(`(?i)\b(?:file)?name\*(\d+)\s*=\s*["']?([^\n]*?)["']?(?:;|$)`)
	ctText     = regexp.MustCompile(`^text\b`)
)

// ParseContentType reads a field's value, generously.
func ParseContentType(v string) (ct ContentType) {
	if v == "" || v == "0" {
		ct.Missing = true
		v = "text/plain; charset=us-ascii"
	}
	lower := strings.ToLower(v)
	find := func(re *regexp.Regexp, word string) []string {
		if !strings.Contains(lower, word) { // what most fields end at
			return nil
		}
		return re.FindStringSubmatch(v)
	}
	if m := find(ctBoundary, "boundary"); m != nil {
		ct.Boundary, ct.Bounded = m[1]+m[2], true
	}
	if m := find(ctCharset, "charset"); m != nil {
		ct.Charset, ct.HasCharset = m[1], true
	}
	if m := find(ctName, "name"); m != nil {
		ct.Name = m[1]
	}
	if ct.Name == "" && strings.Contains(lower, "name*") {
		ct.Name = continued(v)
	}
	t, _, _ := strings.Cut(strings.TrimLeft(v, spaces), ";")
	t = strings.ToLower(mediaType(t))
	ct.Missing = ct.Missing || t == ""
	if t == "" || ctText.MatchString(t) && t != "text/x-vcard" && t != "text/calendar" && t != "text/html" {
		t = "text/plain"
	}
	ct.Type = strings.Map(func(r rune) rune {
		if r <= ' ' || r >= 0x7f || strings.ContainsRune(`"(),:;<=>?@[\]`, r) && r != '/' {
			return -1
		}
		return r
	}, t)
	return ct
}

// mediaType is what of a field may be a type: words before a slash and one behind it.
func mediaType(t string) string {
	i := strings.IndexByte(t, '/')
	if i <= 0 {
		return t
	}
	if n := strings.IndexAny(t[i+1:], "/ \t\r\n\f"); n >= 0 {
		return t[:i+1+n]
	}
	return t
}

// continued joins the parts of a name (RFC 2231, 3).
func continued(v string) string {
	var parts []string
	for _, m := range ctNames.FindAllStringSubmatch(v, 100) {
		i := 0
		for _, c := range m[1] {
			i = min(i*10+int(c-'0'), 100)
		}
		for len(parts) <= i {
			parts = append(parts, "")
		}
		parts[i] = m[2]
	}
	return strings.Join(parts, "")
}
