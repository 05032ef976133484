package regex

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// SyntaxError is what is wrong with a pattern, and where.
type SyntaxError struct {
	Pattern string
	Offset  int // of the byte in Pattern
	Problem string
}

func (e *SyntaxError) Error() string {
	return fmt.Sprintf("regex: at offset %d of %q: %s", e.Offset, e.Pattern, e.Problem)
}

// flags are the modifiers in force at a place of the pattern.
type flags struct {
	fold, multi, dot, extended, xx, noCapture bool
	rules                                     rules
}

const (
	maxRepeat = 65534 // Perl's
	maxBehind = 255   // Perl's
	maxDepth  = 250   // of nested groups
)

// parser reads a pattern into a syntax tree.
type parser struct {
	src      string
	pos      int
	flags    flags
	groups   int              // capture groups so far
	names    map[string][]int // groups by name
	total    int              // groups of the whole pattern, known from a first pass
	wide     bool             // the pattern has what makes Perl read /d as /u
	depth    int
	behind   int // lookarounds around this place
	warnings []SyntaxError
	refs     []reference
}

// reference is a back reference, whose group may come later.
type reference struct {
	at   int
	n    int
	name string
	to   *node
}

// errWide stops a pass: the pattern must be read by Unicode's rules.
var errWide = errors.New("wide")

func (p *parser) fail(at int, format string, args ...any) error {
	return &SyntaxError{p.src, at, fmt.Sprintf(format, args...)}
}

func (p *parser) warn(at int, format string, args ...any) {
	p.warnings = append(p.warnings, SyntaxError{p.src, at, fmt.Sprintf(format, args...)})
}

// parse reads the whole pattern. Groups must be counted before \10 can be
// read, and what makes the pattern Unicode can come last: up to three passes.
func parse(src string, f flags) (*parser, *node, error) {
	wide, total := false, -1
	for {
		p := &parser{src: src, flags: f, names: map[string][]int{}, wide: wide, total: total}
		if wide && f.rules == rulesD {
			p.flags.rules = rulesU
		}
		n, err := p.whole()
		switch {
		case errors.Is(err, errWide):
			wide = true
		case err != nil:
			return nil, nil, err
		case total != p.groups:
			total = p.groups
		default:
			return p, n, nil
		}
	}
}

func (p *parser) whole() (*node, error) {
	n, err := p.alternation()
	if err != nil {
		return nil, err
	}
	if p.pos < len(p.src) {
		return nil, p.fail(p.pos, "unmatched )")
	}
	return n, p.resolve()
}

// resolve gives back references the groups they mean.
func (p *parser) resolve() error {
	for _, r := range p.refs {
		if r.name != "" {
			r.to.refs = p.names[r.name]
			if r.to.refs == nil {
				return p.fail(r.at, "reference to nonexistent named group %q", r.name)
			}
		} else if r.n < 1 || r.n > p.groups {
			return p.fail(r.at, "reference to nonexistent group %d", r.n)
		}
		if r.to.kind == kCond && len(r.to.refs) > 0 {
			r.to.n = r.to.refs[0]
		}
	}
	return nil
}

// alternation reads branches up to ) or the end.
func (p *parser) alternation() (*node, error) {
	if p.depth++; p.depth > maxDepth {
		return nil, p.fail(p.pos, "groups nested deeper than %d", maxDepth)
	}
	defer func() { p.depth-- }()
	var branches []*node
	for {
		b, err := p.branch()
		if err != nil {
			return nil, err
		}
		branches = append(branches, b)
		if !p.take("|") {
			break
		}
	}
	if len(branches) == 1 {
		return branches[0], nil
	}
	return &node{kind: kAlt, subs: branches}, nil
}

func (p *parser) branch() (*node, error) {
	var items []*node
	for {
		if err := p.skip(); err != nil {
			return nil, err
		}
		if p.pos == len(p.src) || p.src[p.pos] == '|' || p.src[p.pos] == ')' {
			break
		}
		n, err := p.piece()
		if err != nil {
			return nil, err
		}
		if n != nil {
			items = append(items, n)
		}
	}
	switch len(items) {
	case 0:
		return &node{kind: kEmpty}, nil
	case 1:
		return items[0], nil
	}
	return &node{kind: kCat, subs: items}, nil
}

func (p *parser) take(s string) bool {
	if strings.HasPrefix(p.src[p.pos:], s) {
		p.pos += len(s)
		return true
	}
	return false
}

// skip passes (?#comments) and, under /x, white space and # comments.
func (p *parser) skip() error {
	for p.pos < len(p.src) {
		c := p.src[p.pos]
		switch {
		case strings.HasPrefix(p.src[p.pos:], "(?#"):
			end := strings.IndexByte(p.src[p.pos:], ')')
			if end < 0 {
				return p.fail(p.pos, "sequence (?#... not terminated")
			}
			p.pos += end + 1
		case p.flags.extended && spaces.has(c):
			p.pos++
		case p.flags.extended && c == '#':
			end := strings.IndexByte(p.src[p.pos:], '\n')
			if end < 0 {
				p.pos = len(p.src)
				return nil
			}
			p.pos += end + 1
		default:
			return nil
		}
	}
	return nil
}

// piece reads an atom and its quantifier; nil for inline flags.
func (p *parser) piece() (*node, error) {
	start := p.pos
	n, err := p.atom()
	if err != nil || n == nil {
		return nil, err
	}
	if err := p.skip(); err != nil {
		return nil, err
	}
	lo, hi, ok, err := p.quantifier(n, start)
	if err != nil || !ok {
		return n, err
	}
	if err := p.skip(); err != nil {
		return nil, err
	}
	m := greedy
	if p.pos < len(p.src) {
		switch p.src[p.pos] {
		case '?':
			if m = lazy; lo == hi {
				p.warn(p.pos, "useless use of greediness modifier '?'")
			}
			p.pos++
		case '+':
			m = possessive
			p.pos++
		}
	}
	if err := p.nested(); err != nil {
		return nil, err
	}
	return p.repeat(n, lo, hi, m, start)
}

// nested refuses a quantifier behind a quantifier.
func (p *parser) nested() error {
	if err := p.skip(); err != nil {
		return err
	}
	if p.pos < len(p.src) {
		if _, _, size := p.braces(); size > 0 || strings.IndexByte("*+?", p.src[p.pos]) >= 0 {
			return p.fail(p.pos, "nested quantifiers")
		}
	}
	return nil
}

func (p *parser) repeat(n *node, lo, hi int, m mode, start int) (*node, error) {
	l, h := n.width()
	if h == 0 && n.kind == kKeep {
		return nil, p.fail(start, `\K with a quantifier`)
	}
	if hi < lo {
		p.warn(start, "quantifier {n,m} with n > m can't match")
		return &node{kind: kFail}, nil
	}
	if h == 0 && l == 0 && n.kind != kBackref && n.kind != kFail {
		if hi > maxRepeat {
			p.warn(start, "matches null string many times")
		} else if lo > 1 && lo == hi && n.kind != kGroup && n.kind != kEmpty {
			p.warn(start, "quantifier unexpected on zero-length expression")
		}
	}
	if lo == 1 && hi == 1 && m != possessive {
		return n, nil
	}
	return &node{kind: kRepeat, min: lo, max: hi, mode: m, subs: []*node{n}}, nil
}

// quantifier reads * + ? {n,m}, if one stands here.
func (p *parser) quantifier(n *node, start int) (lo, hi int, ok bool, err error) {
	if p.pos == len(p.src) {
		return 0, 0, false, nil
	}
	switch p.src[p.pos] {
	case '*':
		p.pos++
		return 0, infinite, true, nil
	case '+':
		p.pos++
		return 1, infinite, true, nil
	case '?':
		p.pos++
		return 0, 1, true, nil
	case '{':
		lo, hi, size := p.braces()
		if size == 0 {
			if escape := p.src[start] == '\\' && n.kind == kSet && n.set.size() > 2; escape {
				return 0, 0, false, p.fail(p.pos, "unescaped left brace is illegal here: write \\{")
			}
			if n.kind != kAssert && n.kind != kEmpty {
				p.warn(p.pos, "unescaped left brace is passed through: write \\{")
			}
			return 0, 0, false, nil
		}
		if lo > maxRepeat || hi > maxRepeat && hi != infinite {
			return 0, 0, false, p.fail(p.pos, "quantifier in {,} bigger than %d", maxRepeat)
		}
		p.pos += size
		return lo, hi, true, nil
	}
	return 0, 0, false, nil
}

// braces looks at {n}, {n,}, {n,m}, {,m}; blanks are allowed. size 0: it is
// none, and the brace means itself.
func (p *parser) braces() (lo, hi, size int) {
	s := p.src[p.pos:]
	if s == "" || s[0] != '{' {
		return 0, 0, 0
	}
	end := strings.IndexByte(s, '}')
	if end < 0 {
		return 0, 0, 0
	}
	a, b, two := strings.Cut(s[1:end], ",")
	a, b = strings.Trim(a, " \t"), strings.Trim(b, " \t")
	if !decimal(a) || !decimal(b) || a == "" && b == "" {
		return 0, 0, 0
	}
	lo, hi = number(a), number(b)
	switch {
	case !two:
		hi = lo
	case b == "":
		hi = infinite
	}
	return lo, hi, end + 1
}

func decimal(s string) bool { return strings.Trim(s, "0123456789") == "" }

// number reads digits; what is too large is one more than the most.
func number(s string) int {
	if s == "" {
		return 0
	}
	n, err := strconv.Atoi(s)
	if err != nil || n > maxRepeat {
		return maxRepeat + 1
	}
	return n
}

// atom reads one thing that a quantifier can stand behind; nil for flags.
func (p *parser) atom() (*node, error) {
	at := p.pos
	c := p.src[p.pos]
	p.pos++
	switch c {
	case '(':
		return p.group(at)
	case '[':
		return p.class(at)
	case '\\':
		return p.escape(at)
	case '.':
		return p.anything(), nil
	case '^':
		if p.flags.multi {
			return &node{kind: kAssert, assert: aLineStart}, nil
		}
		return &node{kind: kAssert, assert: aTextStart}, nil
	case '$':
		if p.flags.multi {
			return &node{kind: kAssert, assert: aLineEnd}, nil
		}
		return &node{kind: kAssert, assert: aLastEnd}, nil
	case '*', '+', '?':
		return nil, p.fail(at, "quantifier %q follows nothing", c)
	}
	return p.literal(rune(c)), nil
}

func (p *parser) literal(r rune) *node {
	return &node{kind: kSet, set: char(r, p.flags.fold, p.flags.rules)}
}

func (p *parser) anything() *node {
	if p.flags.dot {
		return &node{kind: kSet, set: allBytes}
	}
	return &node{kind: kSet, set: notNewline}
}

var notNewline = bytesOf("\x00\x09\x0b\xff")
