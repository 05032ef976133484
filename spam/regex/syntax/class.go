package syntax

import "strings"

// classItem is one thing within brackets: a character or a set of them.
type classItem struct {
	r    rune
	set  Charset
	many bool // it is a set
}

// class reads [...]; p.pos is behind the bracket.
func (p *parser) class(at int) (*Node, error) {
	p.posixOutside(at)
	not := p.take("^")
	var set Charset
	for first := true; ; first = false {
		p.blanks()
		if p.pos >= len(p.src) {
			return nil, p.fail(at, "unmatched [")
		}
		if p.src[p.pos] == ']' && !first {
			p.pos++
			break
		}
		s, err := p.classRange(at)
		if err != nil {
			return nil, err
		}
		set.Union(s)
	}
	if not {
		set = set.negate()
	}
	return &Node{Op: OpSet, Set: set}, nil
}

// blanks passes blanks that /xx allows in brackets.
func (p *parser) blanks() {
	for p.flags.xx && p.pos < len(p.src) && (p.src[p.pos] == ' ' || p.src[p.pos] == '\t') {
		p.pos++
	}
}

// posixOutside warns of [:alpha:] without the outer brackets.
func (p *parser) posixOutside(at int) {
	s := p.src[p.pos:]
	if len(s) < 3 || strings.IndexByte(":.=", s[0]) < 0 {
		return
	}
	name := strings.TrimLeft(strings.TrimPrefix(s[1:], "^"), "abcdefghijklmnopqrstuvwxyz")
	if strings.HasPrefix(name, s[:1]+"]") {
		p.warn(at, "POSIX syntax [%c %c] belongs inside character classes", s[0], s[0])
	}
}

// classRange reads one item, or a range of two.
func (p *parser) classRange(at int) (Charset, error) {
	start := p.pos
	lo, err := p.classItem(at)
	if err != nil {
		return Charset{}, err
	}
	p.blanks()
	hyphen := p.pos
	if !p.take("-") {
		return p.itemSet(lo), nil
	}
	p.blanks()
	if p.pos >= len(p.src) || p.src[p.pos] == ']' {
		p.pos = hyphen
		return p.itemSet(lo), nil
	}
	if lo.many {
		p.pos = hyphen
		p.warn(start, "false [] range")
		return p.itemSet(lo), nil
	}
	hi, err := p.classItem(at)
	if err != nil {
		return Charset{}, err
	}
	if hi.many {
		p.warn(start, "false [] range")
		s := p.itemSet(lo)
		s.Union(p.itemSet(hi))
		s.Add('-')
		return s, nil
	}
	if hi.r < lo.r {
		return Charset{}, p.fail(start, "invalid [] range %q", p.src[start:p.pos])
	}
	return p.rangeSet(lo.r, hi.r), nil
}

func (p *parser) itemSet(i classItem) Charset {
	if i.many {
		return i.set
	}
	return char(i.r, p.flags.fold, p.flags.Rules)
}

// rangeSet is the bytes that a range of characters matches.
func (p *parser) rangeSet(lo, hi rune) Charset {
	var s Charset
	if lo <= 0xFF {
		s.addRange(int(lo), int(min(hi, 0xFF)))
	}
	if !p.flags.fold {
		return s
	}
	for r := range wideFolds {
		if lo <= r && r <= hi {
			s.Union(char(r, true, p.flags.Rules))
		}
	}
	return s.Folded(p.flags.Rules)
}

// classItem reads a character, an escape or a POSIX class.
func (p *parser) classItem(at int) (classItem, error) {
	c := p.src[p.pos]
	start := p.pos
	p.pos++
	if c == '[' && p.pos < len(p.src) && strings.IndexByte(":.=", p.src[p.pos]) >= 0 {
		if i, ok, err := p.posixClass(start); ok || err != nil {
			return i, err
		}
	}
	if c != '\\' {
		return classItem{r: rune(c)}, nil
	}
	if p.pos == len(p.src) {
		return classItem{}, p.fail(at, "unmatched [")
	}
	c = p.src[p.pos]
	p.pos++
	if s, ok := p.classEscape(c); ok {
		return classItem{set: s, many: true}, nil
	}
	switch c {
	case 'p', 'P':
		s, err := p.property(start, c == 'P')
		return classItem{set: s, many: true}, err
	case 'N':
		if !strings.HasPrefix(p.src[p.pos:], "{") {
			return classItem{}, p.fail(start, `\N in a character class must be a named character`)
		}
	}
	r, err := p.charEscape(start, c, true)
	return classItem{r: r}, err
}

// posixClass reads [:name:]; p.pos is behind its bracket.
func (p *parser) posixClass(at int) (classItem, bool, error) {
	kind := p.src[p.pos : p.pos+1]
	rest := p.src[p.pos+1:]
	end := strings.Index(rest, kind+"]")
	if end < 0 || strings.Trim(rest[:end], "abcdefghijklmnopqrstuvwxyz^") != "" {
		return classItem{}, false, nil
	}
	if kind != ":" {
		return classItem{}, false, p.fail(at, "POSIX syntax [%s %s] is reserved for future extensions", kind, kind)
	}
	name, not := strings.CutPrefix(rest[:end], "^")
	s, ok := posixSet(name, p.flags.Rules, p.flags.fold)
	if !ok {
		return classItem{}, false, p.fail(at, "POSIX class [:%s:] unknown", rest[:end])
	}
	if not {
		s = s.negate()
	}
	p.pos += 1 + end + 2
	return classItem{set: s, many: true}, true, nil
}
