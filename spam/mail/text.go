package mail

import (
	"bytes"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// rendering is a part's text.
type rendering struct {
	typ                      string // "" if the part is no text
	text, visible, invisible []byte // UTF-8
	html                     *HTML
	decoded                  bool // the part has more than ASCII, or a charset that hides it
}

// EffectiveType is the part's type, or text/html if its name ends in .html.
func (p *Part) EffectiveType() string {
	name := strings.ToLower(p.Name)
	for _, ext := range []string{".html", ".htm", ".shtml", ".shtm"} {
		if strings.HasSuffix(name, ext) {
			return "text/html"
		}
	}
	return p.Type
}

func (p *Part) render() *rendering {
	if p.rendering != nil {
		return p.rendering
	}
	r := &rendering{}
	p.rendering = r
	typ := p.EffectiveType()
	if typ != "text/plain" && typ != "text/html" {
		return r
	}
	r.typ = typ
	octets := p.Decoded()
	charset := p.Charset
	if !p.HasCharset {
		charset = "us-ascii"
	}
	text, decoded := decode(octets, charset, false)
	r.decoded = decoded
	if typ != "text/html" || len(octets) == 0 {
		r.text, r.visible = text, text
		return r
	}
	r.html = RenderHTML(text, len(octets))
	r.text, r.visible, r.invisible = r.html.Text(All), r.html.Text(Visible), r.html.Text(Invisible)
	return r
}

// Rendered is the part's text, and whether it was "text/plain" or "text/html": "" if
// the part is no text.
func (p *Part) Rendered() (text []byte, typ string) {
	r := p.render()
	return r.text, r.typ
}

// HTML is the rendering of the part's HTML, nil if it has none.
func (p *Part) HTML() *HTML { return p.render().html }

// Which says which text is meant: all, what can be seen, or what can not.
type Which int

// What there is of a text.
const (
	All Which = iota
	Visible
	Invisible
)

// Text is the message's text as rules of type body see it: the subject, then the
// parts' text, a line for each paragraph, in pieces of 2,048 octets at most.
func (m *Message) Text(w Which) [][]byte {
	if !m.textDone[w] {
		m.textDone[w] = true
		m.text[w] = m.buildText(w)
	}
	return m.text[w]
}

func (m *Message) buildText(w Which) [][]byte {
	leaves := m.Leaves()
	if len(leaves) == 0 {
		return nil
	}
	var text []byte
	wide := false
	for _, p := range leaves {
		if len(text) > 0 {
			text = append(text, '\n')
		}
		r := p.render()
		if r.typ == "" {
			continue
		}
		if w == All && r.html != nil {
			m.htmls = append(m.htmls, r.html)
		}
		whole := [][]byte{r.text, r.visible, r.invisible}[w]
		kept := cutText(whole, m.scan.Body, "\n", " ")
		if len(kept) < len(whole) {
			m.cuts.Add(fmt.Sprintf("text: %d characters of a part", m.scan.Body))
		}
		text = append(text, kept...)
		wide = wide || len(whole) > 0 && r.decoded || beyondLatin(whole)
	}
	subject := ""
	if w != Invisible {
		subject = m.Header("subject") + "\n"
	}
	if !wide {
		return shortLines(append([]byte(subject), latin(paragraphs(text, asciiRune))...))
	}
	return shortLines(append([]byte(subject), paragraphs(text, perlSpace)...))
}

// beyondLatin reports whether a text has characters that ISO 8859-1 has not.
func beyondLatin(text []byte) bool {
	for _, c := range text {
		if c >= 0xc4 {
			return true
		}
	}
	return false
}

// latin writes a text in ISO 8859-1. So does Perl with one in which signs by name, as
// "&copy;", are all that is not ASCII; and it knows no other white space then.
func latin(text []byte) []byte {
	if ascii(text) {
		return text
	}
	out := make([]byte, 0, len(text))
	for _, r := range string(text) {
		out = append(out, byte(r))
	}
	return out
}

func asciiRune(r rune) bool { return r < utf8.RuneSelf && asciiSpace(byte(r)) }

// HTMLs are the renderings of all parts with HTML.
func (m *Message) HTMLs() []*HTML {
	m.Text(All)
	return m.htmls
}

// cutText shortens a text to about n characters, at one of the ends given if there
// is one soon.
func cutText(b []byte, n int, ends ...string) []byte {
	if n <= 0 || len(b) <= n {
		return b
	}
	// n counts characters.
	at := 0
	for range n {
		if at >= len(b) {
			return b
		}
		_, size := utf8.DecodeRune(b[at:])
		at += size
	}
	if at >= len(b) {
		return b
	}
	for _, end := range ends {
		if i := bytes.Index(b[at:], []byte(end)); i >= 0 && utf8.RuneCount(b[at:at+i]) <= 1024 {
			return b[:at+i+1]
		}
	}
	return b[:at]
}

// paragraphs makes every run of white space one space, and of those with two ends of
// lines one end of a line.
func paragraphs(text []byte, space func(rune) bool) []byte {
	out := make([]byte, 0, len(text))
	for i := 0; i < len(text); {
		r, size := rune(text[i]), 1
		if r >= utf8.RuneSelf {
			r, size = utf8.DecodeRune(text[i:])
		}
		switch {
		case r == 0:
			out = append(out, '\n')
			i += size
		case !space(r):
			out = append(out, text[i:i+size]...)
			i += size
		default:
			n, newlines := spaceRun(text[i:], space)
			if newlines >= 2 {
				out = appendBreak(out, text[i:i+n])
			} else {
				out = append(out, ' ')
			}
			i += n
		}
	}
	return out
}

// appendBreak adds the end of a line for a run of white space with at least two: what
// stands before the first and behind the last is a space each.
func appendBreak(out, run []byte) []byte {
	if run[0] != '\n' {
		out = append(out, ' ')
	}
	out = append(out, '\n')
	if run[len(run)-1] != '\n' {
		out = append(out, ' ')
	}
	return out
}

// spaceRun measures the white space that a text begins with.
func spaceRun(b []byte, space func(rune) bool) (n, newlines int) {
	for n < len(b) {
		r, size := utf8.DecodeRune(b[n:])
		if !space(r) {
			break
		}
		if r == '\n' {
			newlines++
		}
		n += size
	}
	return n, newlines
}

// perlSpace is \s for characters.
func perlSpace(r rune) bool {
	if r < utf8.RuneSelf {
		return r == ' ' || r >= '\t' && r <= '\r'
	}
	return unicode.IsSpace(r)
}

// shortLines cuts lines, and long ones at spaces.
func shortLines(text []byte) [][]byte {
	var out [][]byte
	for line := range bytes.Lines(text) {
		for len(line) > maxLine {
			n := bytes.LastIndexByte(line[:maxLine+1], ' ') + 1
			if n == 0 {
				n = maxLine
			}
			out = append(out, line[:n])
			line = line[n:]
		}
		out = append(out, line)
	}
	return out
}

// RawText is the decoded text parts as rules of type rawbody see them, in pieces of
// about 2,048 to 4,096 octets.
func (m *Message) RawText() [][]byte {
	if m.rawDone {
		return m.rawText
	}
	m.rawDone = true
	for _, p := range m.Leaves() {
		typ := p.EffectiveType()
		if !strings.HasPrefix(typ, "text/") && !strings.HasPrefix(typ, "message/") || p.Type == "text/calendar" {
			continue
		}
		whole := p.Decoded()
		kept := cutOctets(whole, m.scan.RawBody)
		if len(kept) < len(whole) {
			m.cuts.Add(fmt.Sprintf("raw text: %d octets of a part", m.scan.RawBody))
		}
		m.rawText = append(m.rawText, pieces(kept)...)
	}
	return m.rawText
}

func cutOctets(b []byte, n int) []byte {
	if n <= 0 || len(b) <= n {
		return b
	}
	for _, end := range []byte("\n> ") {
		if i := bytes.IndexByte(b[n:], end); i >= 0 && i <= 1024 {
			return b[:n+i+1]
		}
	}
	return b[:n]
}

// pieces cuts at ends of lines, tags or words.
func pieces(b []byte) [][]byte {
	if len(b) <= maxLine {
		return [][]byte{b}
	}
	var out [][]byte
	at := 0
	for len(b)-at > 2*maxLine {
		n := maxLine
		for _, end := range []byte("\n> ") {
			if i := bytes.IndexByte(b[at+maxLine:], end); i >= 0 && maxLine+i+1 <= 2*maxLine {
				n = maxLine + i
				break
			}
		}
		out = append(out, b[at:at+n+1])
		at += n + 1
	}
	if at < len(b) {
		out = append(out, b[at:])
	}
	return out
}
