package mail

import (
	"bytes"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"
)

// The tokeniser reads HTML as HTML::Parser 3 does, not as HTML 5 says: rules were
// written for what that makes of the mail of spammers.

// handler is told what a tokenizer finds. Text is decoded.
type handler interface {
	tag(name string, attrs map[string]string, start bool)
	words(text []byte)
	comment(text []byte)
	declaration(text []byte)
}

// tokenizer reads one document.
type tokenizer struct {
	h       handler
	buf     []byte
	literal string // the element whose content is no markup
	raw     bool   // entities are none, be it in the content of such an element or behind it
	marked  []section
	// pending is an element that the end of the document has closed: its end tag
	// comes behind the text that follows.
	pending string
	// loose: a comment without an end ends at the next ">".
	loose bool
}

// literals are the elements whose content is text up to their end tag; in those with
// true entities are not decoded.
var literals = map[string]bool{"script": true, "style": true, "xmp": true, "iframe": true, "plaintext": true, "title": false, "textarea": false}

// section is how a marked section, "<![CDATA[...]]>", is read: of several in one another
// the highest counts.
type section int

const (
	unknownSection section = iota
	included
	replaced // of text and entities
	verbatim
	ignored
)

var sections = map[string]section{"include": included, "rcdata": replaced, "cdata": verbatim, "ignore": ignored}

func hspace(c byte) bool { return c == ' ' || c >= '\t' && c <= '\r' }

func hname(c byte) bool { return nameFirst(c) || c >= '0' && c <= '9' || c == '-' || c == '.' }

func nameFirst(c byte) bool { return alpha(c) || c == '_' || c == ':' }

func alpha(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }

func (z *tokenizer) tag(name string, attrs map[string]string, start bool) {
	z.endPending()
	if !z.ignored() {
		z.h.tag(name, attrs, start)
	}
}

func (z *tokenizer) endPending() {
	name := z.pending
	z.pending = ""
	if name != "" && !z.ignored() {
		z.h.tag(name, nil, false)
	}
}

func (z *tokenizer) at(i int) byte {
	if i < len(z.buf) {
		return z.buf[i]
	}
	return 0
}

func (z *tokenizer) spaces(i int) int {
	for i < len(z.buf) && hspace(z.buf[i]) {
		i++
	}
	return i
}

// run reads the whole document. What the end leaves open (a script) is closed first by
// closing, as the renderer asks for it.
func (z *tokenizer) run(text []byte, closing func() string) {
	z.buf = text
	at := z.parse(0)
	for end := closing(); end != ""; end = closing() {
		z.buf = append(z.buf[:len(z.buf):len(z.buf)], end...)
		next := z.parse(at)
		if next == at {
			break
		}
		at = next
	}
	z.finish(at)
}

// parse reads as far as what is there can be understood, and says how far.
func (z *tokenizer) parse(start int) int {
	for {
		if z.literal != "" {
			next, ok := z.literalText(start)
			if !ok {
				return start
			}
			start = next
			continue
		}
		next, more := z.markup(start)
		if !more {
			return next
		}
		start = next
	}
}

// literalText reads the content of a script and its like.
func (z *tokenizer) literalText(start int) (int, bool) {
	name := z.literal
	for s := start; s < len(z.buf); s++ {
		if z.buf[s] != '<' || z.at(s+1) != '/' || name == "plaintext" {
			continue
		}
		e := s + 2
		if e+len(name) > len(z.buf) || !strings.EqualFold(string(z.buf[e:e+len(name)]), name) {
			continue
		}
		gt := z.spaces(e + len(name))
		if z.at(gt) != '>' {
			continue
		}
		z.text(start, s)
		z.tag(name, nil, false)
		z.literal, z.raw = "", false
		return gt + 1, true
	}
	return start, false
}

func (z *tokenizer) text(from, to int) {
	if from >= to || z.ignored() {
		return
	}
	z.words(from, to)
}

func (z *tokenizer) words(from, to int) {
	text := z.buf[from:to]
	if !z.raw {
		text = decodeEntities(text, true)
	}
	z.h.words(text)
}

// markup reads text up to a tag, and the tag. more is false where the rest can not be
// understood yet; then next is where it begins.
func (z *tokenizer) markup(start int) (next int, more bool) {
	if how := z.section(); how == verbatim || how == replaced {
		return z.noMarkup(start)
	}
	s, t := start, start
	for {
		for s < len(z.buf) && z.buf[s] != '<' {
			if z.buf[s] == ']' && len(z.marked) > 0 && z.section() != unknownSection {
				after, ended := z.sectionEnd(s)
				if ended {
					if !z.ignored() {
						z.words(t, s)
					}
					z.unmark()
					return after, true
				}
				s = after // what follows a bracket is text, even "<"
			}
			s++
		}
		if s >= len(z.buf) {
			s = len(z.buf)
			return z.tail(t, s), false
		}
		if s != t {
			z.text(t, s)
			t = s
		}
		if len(z.buf)-s < 3 {
			return s, false
		}
		switch end := z.construct(s); {
		case end > s:
			return end, true
		case end == s:
			return s, false
		}
		s++ // "<" that begins nothing is text
	}
}

// noMarkup reads a section of mere text.
func (z *tokenizer) noMarkup(start int) (next int, more bool) {
	i := bytes.Index(z.buf[start:], []byte("]]>"))
	if i < 0 {
		return start, false // its end may follow
	}
	z.text(start, start+i)
	z.unmark()
	return start + i + 3, true
}

// sectionEnd reports whether "]]>" stands at s, and where what it has looked at ends.
func (z *tokenizer) sectionEnd(s int) (after int, ended bool) {
	if z.at(s+1) != ']' {
		return s + 1, false
	}
	if z.at(s+2) != '>' {
		return s + 2, false
	}
	return s + 3, true
}

// tail tells of text at the end, but for the last word and the space before it: more
// might follow.
func (z *tokenizer) tail(t, s int) int {
	e := s
	if e > t && hspace(z.buf[e-1]) {
		for e > t && hspace(z.buf[e-1]) {
			e--
		}
	} else {
		for e > t && !hspace(z.buf[e-1]) {
			e--
		}
		for e > t && hspace(z.buf[e-1]) {
			e--
		}
	}
	z.text(t, e)
	return e
}

// construct reads what "<" begins: where it ends; s if it has no end yet; -1 if it is text.
func (z *tokenizer) construct(s int) int {
	switch c := z.at(s + 1); {
	case nameFirst(c):
		return z.startTag(s)
	case c == '/':
		return z.endTag(s)
	case c == '!':
		return z.decl(s)
	case c == '?':
		return z.process(s)
	}
	return -1
}

func (z *tokenizer) word(i int, stop string) int {
	for i < len(z.buf) && !hspace(z.buf[i]) && strings.IndexByte(stop, z.buf[i]) < 0 {
		i++
	}
	return i
}

func (z *tokenizer) startTag(beg int) int {
	s := z.word(beg+1, ">")
	name := strings.ToLower(string(z.buf[beg+1 : s]))
	var attrs map[string]string
	for {
		s = z.spaces(s)
		if s >= len(z.buf) {
			return beg
		}
		if z.buf[s] == '>' {
			break
		}
		var key, value string
		key, value, s = z.attribute(s)
		if s < 0 {
			return beg
		}
		if attrs == nil {
			attrs = map[string]string{}
		}
		if _, twice := attrs[key]; !twice {
			attrs[key] = value
		}
	}
	z.tag(name, attrs, true)
	if raw, ok := literals[name]; ok {
		z.literal, z.raw = name, raw
	}
	return s + 1
}

// attribute reads a name and its value; the name stands for a value that is missing.
func (z *tokenizer) attribute(s int) (key, value string, next int) {
	e := z.word(s+1, "=>")
	name := string(z.buf[s:e])
	key = strings.ToLower(name)
	s = z.spaces(e)
	if s >= len(z.buf) {
		return "", "", -1
	}
	if z.buf[s] != '=' {
		return key, name, s
	}
	if s = z.spaces(s + 1); s >= len(z.buf) {
		return "", "", -1
	}
	switch q := z.buf[s]; q {
	case '>':
		return key, "", s
	case '"', '\'':
		e = bytes.IndexByte(z.buf[s+1:], q)
		if e < 0 {
			return "", "", -1
		}
		return key, string(decodeEntities(z.buf[s+1:s+1+e], false)), s + e + 2
	}
	e = z.word(s, ">")
	if e >= len(z.buf) {
		return "", "", -1
	}
	return key, string(decodeEntities(z.buf[s:e], false)), e
}

// untilGT finds ">" that is not in quotes.
func (z *tokenizer) untilGT(s int) int {
	var quote byte
	prev := byte(' ')
	for ; s < len(z.buf); s++ {
		c := z.buf[s]
		switch {
		case quote == 0 && c == '>':
			return s
		case c != '"' && c != '\'':
		case c == quote:
			quote = 0
		case quote == 0 && (prev == ' ' || prev == '='):
			quote = c
		}
		prev = c
	}
	return -1
}

func (z *tokenizer) endTag(beg int) int {
	s := beg + 2
	e := z.word(s, ">")
	gt := z.untilGT(e)
	if gt < 0 {
		return beg
	}
	if e == s {
		z.comment(beg, gt+1)
		return gt + 1
	}
	z.tag(strings.ToLower(string(z.buf[s:e])), nil, false)
	return gt + 1
}

func (z *tokenizer) comment(from, to int) {
	if !z.ignored() {
		z.h.comment(z.buf[from:to])
	}
}

func (z *tokenizer) process(beg int) int {
	if i := bytes.IndexByte(z.buf[beg:], '>'); i >= 0 {
		z.endPending()
		return beg + i + 1
	}
	return beg
}

// decl reads comments, marked sections and declarations.
func (z *tokenizer) decl(beg int) int {
	s := beg + 2
	switch c := z.at(s); {
	case c == '-' && z.at(s+1) == '-':
		return z.dashes(beg)
	case c == '-' && s+1 >= len(z.buf):
		return beg
	case c == '[':
		if end := z.openSection(s + 1); end != -1 {
			if end == 0 {
				return beg
			}
			return end
		}
	case c == '>':
		z.comment(beg, s+1)
		return s + 1
	case alpha(c):
		return z.declaration(beg)
	}
	return z.noDeclaration(beg, s)
}

// noDeclaration reads what is no declaration, as is found out at s, as a comment.
func (z *tokenizer) noDeclaration(beg, s int) int {
	gt := bytes.IndexByte(z.buf[s:], '>')
	if gt < 0 {
		return beg
	}
	z.comment(beg, s+gt+1)
	return s + gt + 1
}

// dashes reads a comment: up to "--", white space and ">".
func (z *tokenizer) dashes(beg int) int {
	s := beg + 4
	if z.loose {
		if i := bytes.IndexByte(z.buf[s:], '>'); i >= 0 {
			z.comment(beg, s+i+1)
			return s + i + 1
		}
		return beg
	}
	for {
		i := bytes.Index(z.buf[s:], []byte("--"))
		if i < 0 {
			return beg
		}
		if gt := z.spaces(s + i + 2); z.at(gt) == '>' {
			z.comment(beg, gt+1)
			return gt + 1
		}
		s += i + 1
	}
}

// openSection reads "<![NAME NAME[": 0 if it has no end yet, -1 if it is none.
func (z *tokenizer) openSection(s int) int {
	how := unknownSection
	for s = z.spaces(s); nameFirst(z.at(s)); {
		e := s + 1
		for hname(z.at(e)) {
			e++
		}
		how = max(how, sections[strings.ToLower(string(z.buf[s:e]))])
		if s = z.spaces(e); s >= len(z.buf) {
			return 0
		}
	}
	if z.at(s) != '[' {
		return -1
	}
	z.mark(how)
	return s + 1
}

// section is how the sections that stand around are read.
func (z *tokenizer) section() section {
	how := unknownSection
	for _, m := range z.marked {
		how = max(how, m)
	}
	return how
}

// mark begins a section, and unmark ends one.
func (z *tokenizer) mark(how section) {
	if len(z.marked) < 100 {
		z.marked = append(z.marked, how)
	}
	z.raw = z.section() == verbatim
	z.endPending()
}

func (z *tokenizer) unmark() {
	z.endPending()
	z.marked = z.marked[:len(z.marked)-1]
	z.raw = z.section() == verbatim
}

func (z *tokenizer) ignored() bool { return z.section() == ignored }

// declaration reads "<!DOCTYPE ...>".
func (z *tokenizer) declaration(beg int) int {
	s := beg + 2
	for s < len(z.buf) && hname(z.buf[s]) {
		s++
	}
	if name := string(z.buf[beg+2 : s]); s < len(z.buf) && !strings.EqualFold(name, "doctype") && !strings.EqualFold(name, "entity") {
		return z.noDeclaration(beg, s)
	}
	for s < len(z.buf) {
		switch c := z.buf[s]; {
		case c == '>':
			if !z.ignored() {
				z.endPending()
				z.h.declaration(z.buf[beg : s+1])
			}
			return s + 1
		case hspace(c):
			s++
		case c == '"' || c == '\'':
			i := bytes.IndexByte(z.buf[s+1:], c)
			if i < 0 {
				return beg
			}
			s += i + 2
		case c == '-' && z.at(s+1) == '-':
			i := bytes.Index(z.buf[s+2:], []byte("--"))
			if i < 0 {
				return beg
			}
			s += i + 4
		case c == '-' && s+1 < len(z.buf):
			return z.noDeclaration(beg, s+1)
		default:
			s = z.word(s+1, ">")
		}
	}
	return beg
}

// finish reads what is left at the end, where nothing more can follow.
func (z *tokenizer) finish(at int) {
	defer z.endPending()
	for at < len(z.buf) {
		if z.literal != "" {
			if !z.closeLiteral() {
				break
			}
			at = z.parse(at)
			continue
		}
		if !z.loose {
			z.loose = true
			at = z.parse(at)
			continue
		}
		if z.opens(at) {
			z.comment(at, len(z.buf))
			return
		}
		break
	}
	z.text(at, len(z.buf))
}

// closeLiteral ends an element without an end tag; false if the rest is its text.
func (z *tokenizer) closeLiteral() bool {
	switch z.literal {
	case "plaintext", "xmp", "iframe", "textarea":
		return false
	case "script", "style":
		z.tag(z.literal, nil, false)
	default:
		z.pending = z.literal
	}
	z.literal = "" // but text stays as it is
	return true
}

// opens reports whether markup may begin at s.
func (z *tokenizer) opens(s int) bool {
	c := z.at(s + 1)
	return z.buf[s] == '<' && (s+1 == len(z.buf) || nameFirst(c) || c == '/' || c == '!' || c == '?')
}

type entityTable struct{ latin, other map[string]rune }

var entities = sync.OnceValue(func() entityTable {
	read := func(text string) map[string]rune {
		f := strings.Fields(text)
		out := make(map[string]rune, len(f)/2)
		for i := 0; i+1 < len(f); i += 2 {
			n, _ := strconv.Atoi(f[i+1])
			out[f[i]] = rune(n)
		}
		return out
	}
	return entityTable{read(latinEntities), read(otherEntities)}
})

// decodeEntities replaces "&amp;", "&#38;" and their like. prefix takes names that
// others follow too: "&nbspfoo".
func decodeEntities(b []byte, prefix bool) []byte {
	i := bytes.IndexByte(b, '&')
	if i < 0 {
		return b
	}
	out := append(make([]byte, 0, len(b)), b[:i]...)
	for i < len(b) {
		if b[i] != '&' {
			out = append(out, b[i])
			i++
			continue
		}
		r, n := entity(b[i+1:], prefix)
		if n == 0 {
			out = append(out, '&')
			i++
			continue
		}
		i += 1 + n
		if i < len(b) && b[i] == ';' {
			i++
		}
		out = utf8.AppendRune(out, r)
	}
	return out
}

// entity reads what stands behind "&": the character, and the length without ";".
func entity(b []byte, prefix bool) (rune, int) {
	if len(b) > 0 && b[0] == '#' {
		return numeric(b)
	}
	n := 0
	for n < len(b) && n < 32 && (alpha(b[n]) || b[n] >= '0' && b[n] <= '9') {
		n++
	}
	t := entities()
	if r, ok := t.latin[string(b[:n])]; ok {
		return r, n
	}
	if n < len(b) && b[n] == ';' {
		if r, ok := t.other[string(b[:n])]; ok {
			return r, n
		}
	}
	for n--; prefix && n > 0; n-- {
		if r, ok := t.latin[string(b[:n])]; ok {
			return r, n
		}
	}
	return 0, 0
}

// numeric reads "#38" and "#x26".
func numeric(b []byte) (rune, int) {
	n, base := 1, 10
	if n < len(b) && b[n]|0x20 == 'x' {
		n, base = 2, 16
	}
	start, v := n, 0
	for n < len(b) {
		d := hex(b[n])
		if d < 0 || d >= base {
			break
		}
		if v = v*base + d; v > 0x10FFFF {
			return 0, 0
		}
		n++
	}
	if n == start || v == 0 || v == 0xFFFE || v == 0xFFFF {
		return 0, 0
	}
	return rune(v), n
}
