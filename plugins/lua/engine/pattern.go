package engine

import "errors"

// The patterns of Lua 5.1 (reference manual, 5.4.1), matched with a budget: a
// pattern with several repetitions can take time exponential in the length of
// the text, and no context stops a library function.

// Bounds of one call of a pattern function.
const (
	patternBudget   = 8_000_000 // single-character steps
	patternDepth    = 200       // nested matches
	patternCaptures = 32
)

var (
	errPatternBudget  = errors.New("pattern is too complex for this text")
	errPatternSyntax  = errors.New("malformed pattern")
	errPatternCapture = errors.New("invalid capture in pattern")
)

// Marks of captures that are open, or that capture a position.
const (
	captureOpen     = -1
	capturePosition = -2
)

type capture struct{ start, length int }

// matcher matches one pattern against one text. The budget is shared by all
// attempts of a call.
type matcher struct {
	src, pat string
	captures []capture
	budget   int
	depth    int
	err      error
}

func newMatcher(src, pat string) *matcher {
	return &matcher{src: src, pat: pat, budget: patternBudget}
}

// try matches the pattern from p on at s, and returns where the match ends, -1 if
// there is none.
func (m *matcher) try(s, p int) int {
	m.captures = m.captures[:0]
	m.depth = 0
	return m.match(s, p)
}

func (m *matcher) fail(err error) int {
	if m.err == nil {
		m.err = err
	}
	return -1
}

// match is the heart: it follows the pattern as far as it is plain, and recurses
// for captures and repetitions.
func (m *matcher) match(s, p int) int {
	m.depth++
	defer func() { m.depth-- }()
	if m.depth > patternDepth {
		return m.fail(errPatternBudget)
	}
	for p < len(m.pat) && m.err == nil {
		if m.budget--; m.budget < 0 {
			return m.fail(errPatternBudget)
		}
		switch c := m.pat[p]; {
		case c == '(':
			return m.startCapture(s, p)
		case c == ')':
			return m.endCapture(s, p+1)
		case c == '$' && p+1 == len(m.pat):
			if s == len(m.src) {
				return s
			}
			return -1
		case c == '%' && p+1 < len(m.pat) && m.pat[p+1] == 'b':
			if s = m.balance(s, p+2); s < 0 {
				return -1
			}
			p += 4
			continue
		case c == '%' && p+1 < len(m.pat) && m.pat[p+1] == 'f':
			if p = m.frontier(s, p+2); p < 0 {
				return -1
			}
			continue
		case c == '%' && p+1 < len(m.pat) && isDigit(m.pat[p+1]):
			if s = m.backReference(s, m.pat[p+1]); s < 0 {
				return -1
			}
			p += 2
			continue
		}
		end := m.classEnd(p)
		if end < 0 {
			return -1
		}
		var done bool
		if s, p, done = m.item(s, p, end); done {
			return s
		}
	}
	if m.err != nil {
		return -1
	}
	return s
}

// item matches one character class with what follows it. done says that s is the
// outcome of the whole match.
func (m *matcher) item(s, p, end int) (next, rest int, done bool) {
	rep := byte(0)
	if end < len(m.pat) {
		rep = m.pat[end]
	}
	switch rep {
	case '?':
		if m.single(s, p, end) {
			if r := m.match(s+1, end+1); r >= 0 || m.err != nil {
				return r, 0, true
			}
		}
		return s, end + 1, false
	case '+':
		if !m.single(s, p, end) {
			return -1, 0, true
		}
		return m.most(s+1, p, end), 0, true
	case '*':
		return m.most(s, p, end), 0, true
	case '-':
		return m.least(s, p, end), 0, true
	}
	if !m.single(s, p, end) {
		return -1, 0, true
	}
	return s + 1, end, false
}

// most takes as many repetitions as possible, giving back one after the other.
func (m *matcher) most(s, p, end int) int {
	n := 0
	for m.single(s+n, p, end) {
		n++
		m.budget--
	}
	for ; n >= 0 && m.err == nil; n-- {
		if r := m.match(s+n, end+1); r >= 0 {
			return r
		}
		if m.budget < 0 {
			return m.fail(errPatternBudget)
		}
	}
	return -1
}

// least takes as few repetitions as possible.
func (m *matcher) least(s, p, end int) int {
	for m.err == nil {
		if r := m.match(s, end+1); r >= 0 {
			return r
		}
		if !m.single(s, p, end) {
			return -1
		}
		s++
	}
	return -1
}

func (m *matcher) startCapture(s, p int) int {
	if len(m.captures) >= patternCaptures {
		return m.fail(errPatternCapture)
	}
	c := capture{s, captureOpen}
	p++
	if p < len(m.pat) && m.pat[p] == ')' {
		c.length = capturePosition
		p++
	}
	n := len(m.captures)
	m.captures = append(m.captures, c)
	r := m.match(s, p)
	if r < 0 {
		m.captures = m.captures[:n]
	}
	return r
}

func (m *matcher) endCapture(s, p int) int {
	for i := len(m.captures) - 1; i >= 0; i-- {
		if m.captures[i].length != captureOpen {
			continue
		}
		m.captures[i].length = s - m.captures[i].start
		r := m.match(s, p)
		if r < 0 && i < len(m.captures) {
			m.captures[i].length = captureOpen
		}
		return r
	}
	return m.fail(errPatternCapture)
}

func (m *matcher) balance(s, p int) int {
	if p+1 >= len(m.pat) {
		return m.fail(errPatternSyntax)
	}
	if s >= len(m.src) || m.src[s] != m.pat[p] {
		return -1
	}
	open, shut, depth := m.pat[p], m.pat[p+1], 1
	for i := s + 1; i < len(m.src); i++ {
		m.budget--
		switch m.src[i] {
		case shut:
			if depth--; depth == 0 {
				return i + 1
			}
		case open:
			depth++
		}
	}
	return -1
}

// frontier is %f[set]; it returns where the pattern goes on.
func (m *matcher) frontier(s, p int) int {
	if p >= len(m.pat) || m.pat[p] != '[' {
		return m.fail(errPatternSyntax)
	}
	end := m.classEnd(p)
	if end < 0 {
		return -1
	}
	var before, after byte
	if s > 0 {
		before = m.src[s-1]
	}
	if s < len(m.src) {
		after = m.src[s]
	}
	if m.inSet(before, p, end-1) || !m.inSet(after, p, end-1) {
		return -1
	}
	return end
}

func (m *matcher) backReference(s int, digit byte) int {
	i := int(digit - '1')
	if i < 0 || i >= len(m.captures) || m.captures[i].length < 0 {
		return m.fail(errPatternCapture)
	}
	c := m.captures[i]
	m.budget -= c.length / 16 // a comparison is work too
	if len(m.src)-s >= c.length && m.src[c.start:c.start+c.length] == m.src[s:s+c.length] {
		return s + c.length
	}
	return -1
}

// classEnd is where the single-character class at p ends.
func (m *matcher) classEnd(p int) int {
	c := m.pat[p]
	p++
	switch c {
	case '%':
		if p >= len(m.pat) {
			return m.fail(errPatternSyntax)
		}
		return p + 1
	case '[':
		if p < len(m.pat) && m.pat[p] == '^' {
			p++
		}
		for first := true; ; first = false {
			if p >= len(m.pat) {
				return m.fail(errPatternSyntax)
			}
			if m.pat[p] == ']' && !first {
				return p + 1
			}
			if m.pat[p] == '%' {
				p++
			}
			p++
		}
	}
	return p
}

// single reports whether the character at s is of the class from p to end.
func (m *matcher) single(s, p, end int) bool {
	if s >= len(m.src) {
		return false
	}
	c := m.src[s]
	switch m.pat[p] {
	case '.':
		return true
	case '%':
		return inClass(c, m.pat[p+1])
	case '[':
		return m.inSet(c, p, end-1)
	}
	return m.pat[p] == c
}

// inSet reports whether c is in the set whose brackets are at p and last.
func (m *matcher) inSet(c byte, p, last int) bool {
	in := true
	p++
	if m.pat[p] == '^' {
		in = false
		p++
	}
	for ; p < last; p++ {
		m.budget--
		switch {
		case m.pat[p] == '%' && p+1 < last:
			p++
			if inClass(c, m.pat[p]) {
				return in
			}
		case p+2 < last && m.pat[p+1] == '-':
			if m.pat[p] <= c && c <= m.pat[p+2] {
				return in
			}
			p += 2
		case m.pat[p] == c:
			return in
		}
	}
	return !in
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }
func isLower(c byte) bool { return 'a' <= c && c <= 'z' }
func isUpper(c byte) bool { return 'A' <= c && c <= 'Z' }
func isCntrl(c byte) bool { return c < ' ' || c == 0x7f }
func isSpace(c byte) bool { return c == ' ' || '\t' <= c && c <= '\r' }
func isPunct(c byte) bool {
	return '!' <= c && c <= '~' && !isDigit(c) && !isLower(c) && !isUpper(c)
}

func isHex(c byte) bool { return isDigit(c) || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F' }

var classes = map[byte]func(byte) bool{
	'a': func(c byte) bool { return isLower(c) || isUpper(c) },
	'c': isCntrl, 'd': isDigit, 'l': isLower, 'p': isPunct, 's': isSpace, 'u': isUpper,
	'w': func(c byte) bool { return isLower(c) || isUpper(c) || isDigit(c) },
	'x': isHex,
	'z': func(c byte) bool { return c == 0 },
}

// inClass reports whether c is of the class %name; an upper-case name is the
// class's complement, any other character itself.
func inClass(c, name byte) bool {
	lower := name
	if isUpper(name) {
		lower += 'a' - 'A'
	}
	f, ok := classes[lower]
	if !ok {
		return name == c
	}
	return f(c) == (lower == name)
}
