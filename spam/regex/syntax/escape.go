package syntax

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// classEscape reads the letter of a class of characters (\d and the like);
// p.pos is behind it.
func (p *parser) classEscape(c byte) (Charset, bool) {
	var s Charset
	switch c | 0x20 {
	case 'd':
		s = digits
	case 'w':
		s = Words(p.flags.Rules)
	case 's':
		s = whitespace(p.flags.Rules)
	case 'h':
		s = horizontal
	case 'v':
		s = vertical
	default:
		return s, false
	}
	if c < 'a' {
		s = s.negate()
	}
	return s, true
}

// escape reads what stands behind a backslash outside brackets.
func (p *parser) escape(at int) (*Node, error) {
	if p.pos == len(p.src) {
		return nil, p.fail(at, "trailing \\")
	}
	c := p.src[p.pos]
	p.pos++
	if s, ok := p.classEscape(c); ok {
		return &Node{Op: OpSet, Set: s}, nil
	}
	switch c {
	case 'A':
		return &Node{Op: OpAssert, Assert: TextStart}, nil
	case 'z':
		return &Node{Op: OpAssert, Assert: TextEnd}, nil
	case 'Z':
		return &Node{Op: OpAssert, Assert: LastEnd}, nil
	case 'G':
		return &Node{Op: OpAssert, Assert: From}, nil
	case 'b', 'B':
		return p.boundary(at, c)
	case 'K':
		if p.behind > 0 {
			return nil, p.fail(at, `\K not permitted in lookahead/lookbehind`)
		}
		return &Node{Op: OpKeep}, nil
	case 'R':
		return lineBreak(vertical), nil
	case 'X':
		return lineBreak(AllBytes), nil
	case 'N':
		if !strings.HasPrefix(p.src[p.pos:], "{") {
			return &Node{Op: OpSet, Set: notNewline}, nil
		}
		if _, _, size := p.braces(); size > 0 {
			return &Node{Op: OpSet, Set: notNewline}, nil
		}
	case 'p', 'P':
		s, err := p.property(at, c == 'P')
		return &Node{Op: OpSet, Set: s}, err
	case 'g':
		return p.groupRef(at)
	case 'k':
		return p.nameRef(at)
	case 'C':
		return nil, p.fail(at, `\C no longer supported`)
	}
	if '1' <= c && c <= '9' {
		if n, ok := p.numberedRef(at); ok {
			return n, nil
		}
	}
	r, err := p.charEscape(at, c, false)
	if err != nil {
		return nil, err
	}
	return p.literal(r), nil
}

// lineBreak is a carriage return and line feed, or else one of single.
func lineBreak(set Charset) *Node {
	crlf := &Node{Op: OpCat, Subs: []*Node{{Op: OpSet, Set: Single('\r')}, {Op: OpSet, Set: Single('\n')}}}
	alt := &Node{Op: OpAlt, Subs: []*Node{crlf, {Op: OpSet, Set: set}}}
	return &Node{Op: OpAtomic, Subs: []*Node{alt}}
}

func (p *parser) boundary(at int, c byte) (*Node, error) {
	if strings.HasPrefix(p.src[p.pos:], "{") {
		return nil, p.fail(at, `\%c{...} is not supported`, c)
	}
	a := Boundary
	if c == 'B' {
		a = NoBoundary
	}
	if p.flags.Rules.unicodeClass() {
		a += LatinBoundary - Boundary
	}
	return &Node{Op: OpAssert, Assert: a}, nil
}

// property reads \pL, \p{...}.
func (p *parser) property(at int, not bool) (Charset, error) {
	if err := p.makeWide(); err != nil {
		return Charset{}, err
	}
	name, err := p.propertyName(at)
	if err != nil {
		return Charset{}, err
	}
	if rest, ok := strings.CutPrefix(name, "^"); ok {
		name, not = strings.TrimSpace(rest), !not
	}
	s, ok := property(name, p.flags.fold)
	if !ok {
		return s, p.fail(at, "can't find Unicode property %q", name)
	}
	if not {
		s = s.negate()
	}
	return s, nil
}

func (p *parser) propertyName(at int) (string, error) {
	if p.pos == len(p.src) {
		return "", p.fail(at, `empty \p`)
	}
	if p.src[p.pos] != '{' {
		p.pos++
		return p.src[p.pos-1 : p.pos], nil
	}
	end := strings.IndexByte(p.src[p.pos:], '}')
	if end < 0 {
		return "", p.fail(at, `missing right brace on \p{}`)
	}
	name := strings.TrimSpace(p.src[p.pos+1 : p.pos+end])
	p.pos += end + 1
	return name, nil
}

// makeWide has the pattern read again by Unicode's rules, as Perl does when it
// finds something that only those have.
func (p *parser) makeWide() error {
	if p.wide {
		return nil
	}
	return errWide
}

// numberedRef reads \1; from \10 on it may be octal, if there are not so many
// groups.
func (p *parser) numberedRef(at int) (*Node, bool) {
	end := p.pos
	for end < len(p.src) && digits.Has(p.src[end]) {
		end++
	}
	n := number(p.src[at+1 : end])
	if n > 9 && n > max(p.total, p.groups) && p.src[at+1] < '8' {
		return nil, false
	}
	p.pos = end
	return p.backref(at, n), true
}

func (p *parser) backref(at, n int) *Node {
	to := &Node{Op: OpBackref, Fold: p.flags.fold, Latin: p.flags.Rules.unicodeFold(), Refs: []int{n}}
	p.refs = append(p.refs, reference{at: at, n: n, to: to})
	return to
}

func (p *parser) namedRef(at int, name string) *Node {
	to := &Node{Op: OpBackref, Fold: p.flags.fold, Latin: p.flags.Rules.unicodeFold()}
	p.refs = append(p.refs, reference{at: at, name: name, to: to})
	return to
}

// groupRef reads \g1, \g-1, \g{1}, \g{-1}, \g{name}.
func (p *parser) groupRef(at int) (*Node, error) {
	s := p.src[p.pos:]
	var arg string
	if strings.HasPrefix(s, "{") {
		end := strings.IndexByte(s, '}')
		if end < 0 {
			return nil, p.fail(at, `unterminated \g{...} pattern`)
		}
		arg = strings.Trim(s[1:end], " \t")
		p.pos += end + 1
	} else {
		n := 0
		if strings.HasPrefix(s, "-") {
			n++
		}
		for n < len(s) && digits.Has(s[n]) {
			n++
		}
		arg = s[:n]
		p.pos += n
	}
	digitsOnly := strings.TrimPrefix(arg, "-")
	switch {
	case digitsOnly == "":
		return nil, p.fail(at, `unterminated \g... pattern`)
	case !decimal(digitsOnly):
		if !WordsASCII.Has(arg[0]) || digits.Has(arg[0]) {
			return nil, p.fail(at, "group name must start with a non-digit word character")
		}
		return p.namedRef(at, arg), nil
	case digitsOnly != arg:
		n := p.groups + 1 - number(digitsOnly)
		if n < 1 {
			return nil, p.fail(at, "reference to nonexistent or unclosed group")
		}
		return p.backref(at, n), nil
	}
	return p.backref(at, number(arg)), nil
}

// nameRef reads \k<name>, \k'name', \k{name}.
func (p *parser) nameRef(at int) (*Node, error) {
	if p.pos < len(p.src) {
		if i := strings.IndexByte("<'{", p.src[p.pos]); i >= 0 {
			p.pos++
			name, err := p.name(at, ">'}"[i])
			return p.namedRef(at, name), err
		}
	}
	return nil, p.fail(at, `sequence \k... not terminated`)
}

// simpleEscapes are the letters of control characters.
var simpleEscapes = map[byte]rune{'t': '\t', 'n': '\n', 'r': '\r', 'f': '\f', 'e': 0x1B, 'a': 7}

// charEscape reads an escape that means one character; c is what stands behind
// the backslash, p.pos is behind c.
func (p *parser) charEscape(at int, c byte, inClass bool) (rune, error) {
	if r, ok := simpleEscapes[c]; ok {
		return r, nil
	}
	switch {
	case c == 'b' && inClass:
		return 8, nil
	case c == 'x':
		return p.hex(at)
	case c == 'o':
		return p.octalBraces(at)
	case c == 'c':
		return p.control(at)
	case c == 'N':
		return p.named16(at)
	case '0' <= c && c <= '7':
		p.pos--
		return p.octal(at, 3)
	case WordsASCII.Has(c) && c != '_':
		p.warn(at, `unrecognized escape \%c passed through`, c)
	}
	return rune(c), nil
}

// wideChar checks a number of a character: above 0xFF the pattern is Unicode.
func (p *parser) wideChar(at int, digits string, base int) (rune, error) {
	n, err := strconv.ParseUint(digits, base, 32)
	if err != nil || n > utf8.MaxRune {
		return 0, p.fail(at, "character %q is beyond Unicode", digits)
	}
	if n > 0xFF {
		return rune(n), p.makeWide()
	}
	return rune(n), nil
}

// prefixOf is the longest part of s, up to limit, that consists of what set has.
func prefixOf(s, set string, limit int) string {
	n := 0
	for n < len(s) && n < limit && strings.IndexByte(set, s[n]) >= 0 {
		n++
	}
	return s[:n]
}

const hexDigits = "0123456789abcdefABCDEF"

func (p *parser) hex(at int) (rune, error) {
	if !strings.HasPrefix(p.src[p.pos:], "{") {
		d := prefixOf(p.src[p.pos:], hexDigits, 2)
		p.pos += len(d)
		if len(d) < 2 && p.pos < len(p.src) {
			p.warn(at, `non-hex character terminates \x early`)
		}
		return p.wideChar(at, "0"+d, 16)
	}
	return p.braced(at, hexDigits, 16)
}

// braced reads digits in braces.
func (p *parser) braced(at int, set string, base int) (rune, error) {
	end := strings.IndexByte(p.src[p.pos:], '}')
	if end < 0 {
		return 0, p.fail(at, "missing right brace")
	}
	arg := strings.Trim(p.src[p.pos+1:p.pos+end], " \t")
	d := prefixOf(strings.ReplaceAll(arg, "_", ""), set, len(arg))
	if d != strings.ReplaceAll(arg, "_", "") {
		p.warn(at, "character %q terminates the number early", strings.ReplaceAll(arg, "_", "")[len(d)])
	}
	p.pos += end + 1
	return p.wideChar(at, "0"+d, base)
}

func (p *parser) octalBraces(at int) (rune, error) {
	if !strings.HasPrefix(p.src[p.pos:], "{") {
		return 0, p.fail(at, `missing braces on \o{}`)
	}
	if strings.HasPrefix(p.src[p.pos:], "{}") {
		return 0, p.fail(at, `empty \o{}`)
	}
	return p.braced(at, "01234567", 8)
}

func (p *parser) octal(at, limit int) (rune, error) {
	d := prefixOf(p.src[p.pos:], "01234567", limit)
	p.pos += len(d)
	if len(d) < limit && d[0] == '0' && p.pos < len(p.src) && digits.Has(p.src[p.pos]) {
		p.warn(at, `non-octal character terminates \0 early`)
	}
	return p.wideChar(at, d, 8)
}

func (p *parser) control(at int) (rune, error) {
	if p.pos == len(p.src) || p.src[p.pos] < ' ' || p.src[p.pos] > '~' {
		return 0, p.fail(at, `character following "\c" must be printable ASCII`)
	}
	c := p.src[p.pos]
	p.pos++
	if 'a' <= c && c <= 'z' {
		c -= 0x20
	}
	if c == '{' {
		return 0, p.fail(at, `use ";" instead of "\c{"`)
	}
	if r := rune(c ^ 0x40); r >= ' ' && r < 0x7F {
		p.warn(at, `"\c%c" is more clearly written simply as %q`, c, r)
	}
	return rune(c ^ 0x40), nil
}

// named16 reads \N{U+hex}; other names are not known here.
func (p *parser) named16(at int) (rune, error) {
	rest, ok := strings.CutPrefix(p.src[p.pos:], "{U+")
	end := strings.IndexByte(rest, '}')
	if !ok || end < 1 || strings.Trim(rest[:end], hexDigits) != "" {
		return 0, p.fail(at, `\N{...} is supported as \N{U+hex} only`)
	}
	if err := p.makeWide(); err != nil {
		return 0, err
	}
	p.pos += len("{U+") + end + 1
	return p.wideChar(at, rest[:end], 16)
}
