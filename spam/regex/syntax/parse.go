package syntax

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Error is what is wrong with a pattern, and where.
type Error struct {
	Pattern string
	Offset  int // of the byte in Pattern
	Problem string
}

func (e *Error) Error() string {
	return fmt.Sprintf("regex: at offset %d of %q: %s", e.Offset, e.Pattern, e.Problem)
}

// Flags are the modifiers in force at a place of the pattern; none at zero.
type Flags struct {
	fold, multi, dot, extended, xx, noCapture bool
	Rules                                     Rules
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
	flags    Flags
	groups   int              // capture groups so far
	names    map[string][]int // groups by name
	total    int              // groups of the whole pattern, known from a first pass
	wide     bool             // the pattern has what makes Perl read /d as /u
	depth    int
	behind   int // lookarounds around this place
	warnings []Error
	refs     []reference
}

// reference is a back reference, whose group may come later.
type reference struct {
	at   int
	n    int
	name string
	to   *Node
}

// errWide stops a pass: the pattern must be read by Unicode's rules.
var errWide = errors.New("wide")

func (p *parser) fail(at int, format string, args ...any) error {
	return &Error{p.src, at, fmt.Sprintf(format, args...)}
}

func (p *parser) warn(at int, format string, args ...any) {
	p.warnings = append(p.warnings, Error{p.src, at, fmt.Sprintf(format, args...)})
}

// Pattern is what a pattern's text was read as.
type Pattern struct {
	Tree     *Node
	Groups   int              // that capture
	Names    map[string][]int // groups by name
	Warnings []Error          // what Perl warns of
}

// Parse reads the whole pattern, which began with the modifiers f. Its error is a
// *Error.
//
// Groups must be counted before \10 can be read, and what makes the pattern Unicode
// can come last: up to three passes.
func Parse(src string, f Flags) (*Pattern, error) {
	wide, total := false, -1
	for {
		p := &parser{src: src, flags: f, names: map[string][]int{}, wide: wide, total: total}
		if wide && f.Rules == RulesD {
			p.flags.Rules = RulesU
		}
		n, err := p.whole()
		switch {
		case errors.Is(err, errWide):
			wide = true
		case err != nil:
			return nil, err
		case total != p.groups:
			total = p.groups
		default:
			return &Pattern{n, p.groups, p.names, p.warnings}, nil
		}
	}
}

func (p *parser) whole() (*Node, error) {
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
			r.to.Refs = p.names[r.name]
			if r.to.Refs == nil {
				return p.fail(r.at, "reference to nonexistent named group %q", r.name)
			}
		} else if r.n < 1 || r.n > p.groups {
			return p.fail(r.at, "reference to nonexistent group %d", r.n)
		}
		if r.to.Op == OpCond && len(r.to.Refs) > 0 {
			r.to.N = r.to.Refs[0]
		}
	}
	return nil
}

// alternation reads branches up to ) or the end.
func (p *parser) alternation() (*Node, error) {
	if p.depth++; p.depth > maxDepth {
		return nil, p.fail(p.pos, "groups nested deeper than %d", maxDepth)
	}
	defer func() { p.depth-- }()
	var branches []*Node
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
	return &Node{Op: OpAlt, Subs: branches}, nil
}

func (p *parser) branch() (*Node, error) {
	var items []*Node
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
		return &Node{Op: OpEmpty}, nil
	case 1:
		return items[0], nil
	}
	return &Node{Op: OpCat, Subs: items}, nil
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
		case p.flags.extended && spaces.Has(c):
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
func (p *parser) piece() (*Node, error) {
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
	m := Greedy
	if p.pos < len(p.src) {
		switch p.src[p.pos] {
		case '?':
			if m = Lazy; lo == hi {
				p.warn(p.pos, "useless use of greediness modifier '?'")
			}
			p.pos++
		case '+':
			m = Possessive
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

func (p *parser) repeat(n *Node, lo, hi int, m Mode, start int) (*Node, error) {
	l, h := n.Width()
	if h == 0 && n.Op == OpKeep {
		return nil, p.fail(start, `\K with a quantifier`)
	}
	if hi < lo {
		p.warn(start, "quantifier {n,m} with n > m can't match")
		return &Node{Op: OpFail}, nil
	}
	if h == 0 && l == 0 && n.Op != OpBackref && n.Op != OpFail {
		if hi > maxRepeat {
			p.warn(start, "matches null string many times")
		} else if lo > 1 && lo == hi && n.Op != OpGroup && n.Op != OpEmpty {
			p.warn(start, "quantifier unexpected on zero-length expression")
		}
	}
	if lo == 1 && hi == 1 && m != Possessive {
		return n, nil
	}
	return &Node{Op: OpRepeat, Min: lo, Max: hi, Mode: m, Subs: []*Node{n}}, nil
}

// quantifier reads * + ? {n,m}, if one stands here.
func (p *parser) quantifier(n *Node, start int) (lo, hi int, ok bool, err error) {
	if p.pos == len(p.src) {
		return 0, 0, false, nil
	}
	switch p.src[p.pos] {
	case '*':
		p.pos++
		return 0, Infinite, true, nil
	case '+':
		p.pos++
		return 1, Infinite, true, nil
	case '?':
		p.pos++
		return 0, 1, true, nil
	case '{':
		lo, hi, size := p.braces()
		if size == 0 {
			if escape := p.src[start] == '\\' && n.Op == OpSet && n.Set.Size() > 2; escape {
				return 0, 0, false, p.fail(p.pos, "unescaped left brace is illegal here: write \\{")
			}
			if n.Op != OpAssert && n.Op != OpEmpty {
				p.warn(p.pos, "unescaped left brace is passed through: write \\{")
			}
			return 0, 0, false, nil
		}
		if lo > maxRepeat || hi > maxRepeat && hi != Infinite {
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
		hi = Infinite
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
func (p *parser) atom() (*Node, error) {
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
			return &Node{Op: OpAssert, Assert: LineStart}, nil
		}
		return &Node{Op: OpAssert, Assert: TextStart}, nil
	case '$':
		if p.flags.multi {
			return &Node{Op: OpAssert, Assert: LineEnd}, nil
		}
		return &Node{Op: OpAssert, Assert: LastEnd}, nil
	case '*', '+', '?':
		return nil, p.fail(at, "quantifier %q follows nothing", c)
	}
	return p.literal(rune(c)), nil
}

func (p *parser) literal(r rune) *Node {
	return &Node{Op: OpSet, Set: char(r, p.flags.fold, p.flags.Rules)}
}

func (p *parser) anything() *Node {
	if p.flags.dot {
		return &Node{Op: OpSet, Set: AllBytes}
	}
	return &Node{Op: OpSet, Set: notNewline}
}

var notNewline = bytesOf("\x00\x09\x0b\xff")
