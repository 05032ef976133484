package sieve

import (
	"errors"
	"regexp"
	"strings"
)

// comparator is a collation (RFC 4790). Where fold is set, two strings are equal
// if they fold to the same octets.
type comparator struct {
	name  string
	fold  func(string) string
	moves bool // folding does not keep every octet's place
	// order compares two strings; for comparators without fold.
	order func(a, b string) int
	ext   string // set by the registry
}

// substring reports whether the comparator can be used with :contains and
// :matches.
func (c *comparator) substring() bool { return c.fold != nil }

// octet and casemap are the comparators of RFC 4790, 9.3 and 9.2. The latter
// makes lower case upper, which shows in the order of "_" and letters.
var (
	octet   = comparator{name: "i;octet", fold: func(s string) string { return s }}
	casemap = comparator{name: "i;ascii-casemap", fold: asciiUpper}
)

// Both may be required, and need not be (RFC 5228, 6.1).
var (
	octetRequired   = extension{name: "comparator-i;octet", rfc: "5228"}
	casemapRequired = extension{name: "comparator-i;ascii-casemap", rfc: "5228"}
)

// numeric is comparator-i;ascii-numeric (RFC 4790, 9.1).
var numeric = extension{
	name: "comparator-i;ascii-numeric", rfc: "4790",
	compare: []comparator{{name: "i;ascii-numeric", order: numericOrder}},
}

// numericOrder compares the digits that two strings begin with. A string that
// begins with none is infinity.
func numericOrder(a, b string) int {
	a, b = digits(a), digits(b)
	switch {
	case a == "" && b == "":
		return 0
	case a == "":
		return 1
	case b == "":
		return -1
	case len(a) != len(b):
		return compareInts(len(a), len(b))
	}
	return strings.Compare(a, b)
}

// digits are the leading digits of s without leading zeros but one.
func digits(s string) string {
	n := 0
	for n < len(s) && isDigit(s[n]) {
		n++
	}
	s = s[:n]
	for len(s) > 1 && s[0] == '0' {
		s = s[1:]
	}
	return s
}

func compareInts(a, b int) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// matchType is how a value is compared with a key (RFC 5228, 2.7.1).
type matchType struct {
	name      string
	substring bool // needs a comparator that can find substrings
	pattern   bool // keys are patterns
	relation  bool // an operator follows the tag
	regex     bool // keys are regular expressions
	list      bool // keys name lists
	count     bool // the number of values is compared, not the values
	match     func(m *machine, q *matcher, k *key, s *subject) (bool, error)
}

var (
	matchIs       = matchType{name: "is", match: isKey}
	matchContains = matchType{name: "contains", substring: true, match: containsKey}
	matchMatches  = matchType{name: "matches", substring: true, pattern: true, match: matchesKey}
)

// subject is a value of the message. What a comparator made of it is kept, as
// scripts ask for the same fields again and again.
type subject struct {
	text   string
	empty  bool // there, but nothing to be counted
	by     *comparator
	folded string
}

func (s *subject) fold(c *comparator) string {
	if s.by != c {
		s.by, s.folded = c, c.fold(s.text)
	}
	return s.folded
}

// key is one string to compare with. A constant is prepared once.
type key struct {
	text    text
	value   string
	folded  string
	pattern []piece
	regex   *regexp.Regexp
	cost    int // of regex for each octet
}

// matcher is what a test compares with, and how.
type matcher struct {
	how      *matchType
	by       *comparator
	relation relation
	keys     []key
	silent   bool // match variables are not set
}

// matcher makes the matcher of a test from its tags and its keys.
func (c *checker) matcher(b *bound, keys value) *matcher {
	q := &matcher{how: &matchIs, by: c.reg.comparators[casemap.name], keys: make([]key, len(keys.texts))}
	tag := b.given(groupMatch)
	if tag != nil {
		t := tag
		q.how = t.row.match
		if q.how.relation {
			name, _ := t.val.constant()
			q.relation = relations[asciiLower(name)]
		}
	}
	if t := b.given(groupComparator); t != nil {
		name, _ := t.val.constant()
		q.by = c.reg.comparators[name]
		if q.how.list {
			c.errorf(t.at, ":list takes no comparator") // RFC 6134, 2.2
		}
		if q.how.substring && !q.by.substring() {
			c.errorf(t.at, "the comparator %s can not find substrings", name).Hint = "use it with :is, :value or :count" // RFC 5228, 2.7.3
		}
	}
	for i, t := range keys.texts {
		k := key{text: t}
		if t.parts == nil {
			if err := k.prepare(q, t.lit); err != nil {
				c.errorf(keys.at, "%v", err)
			}
		}
		q.keys[i] = k
	}
	return q
}

// prepare readies a key for comparing.
func (k *key) prepare(q *matcher, value string) (err error) {
	k.value, k.folded = value, value
	switch {
	case q.how.regex:
		k.regex, k.cost, err = compileRegex(value, q.by)
		return err
	case q.by.fold != nil:
		k.folded = q.by.fold(value)
	}
	if q.how.pattern {
		k.pattern = compilePattern(k.folded)
	}
	return nil
}

// errFound ends the search of values at the first that matches.
var errFound = errors.New("found")

// seeker is what a test hands its values to. A run has one, which its tests use
// one after the other.
type seeker struct {
	m *machine
	q *matcher
	n int // values seen
}

// take compares values with the keys; errFound says that one matches.
func (s *seeker) take(list []subject) error {
	for i := range list {
		if !list[i].empty {
			s.n++
		}
	}
	if s.q.how.count {
		return nil
	}
	ok, err := s.q.matchAny(s.m, list)
	if ok && err == nil {
		return errFound
	}
	return err
}

// one compares a single value.
func (s *seeker) one(v subject) error {
	s.m.single[0] = v
	return s.take(s.m.single[:])
}

// test is a test that compares values with the keys, or their number. values
// hands them to the seeker, and returns its error.
func (q *matcher) test(values func(m *machine, s *seeker) error) test {
	return func(m *machine) (bool, error) { return q.seek(m, values) }
}

func (q *matcher) seek(m *machine, values func(m *machine, s *seeker) error) (bool, error) {
	m.seeker = seeker{m: m, q: q}
	switch err := values(m, &m.seeker); {
	case err == errFound: //nolint:errorlint // it is never wrapped, and this is the hot path
		return true, nil
	case err != nil:
		return false, err
	}
	return q.counted(m, m.seeker.n)
}

// match compares one value with every key.
func (q *matcher) match(m *machine, s *subject) (bool, error) {
	for i := range q.keys {
		k := &q.keys[i]
		if k.text.parts != nil {
			value, err := k.text.value(m)
			if err != nil {
				return false, err
			}
			fresh := key{}
			if err := fresh.prepare(q, value); err != nil {
				return false, err
			}
			if err := m.spend(200 * fresh.cost); err != nil {
				return false, err
			}
			k = &fresh
		}
		if err := m.spend(16 + (len(s.text)+len(k.value))/8); err != nil {
			return false, err
		}
		ok, err := q.how.match(m, q, k, s)
		if m.env.Trace != nil && err == nil {
			m.env.Trace(Event{Kind: EventCompare, Script: m.unit.name, Line: int(m.line), Depth: int(m.depth) + 1, Name: q.how.name, Values: []string{s.text, k.value}, Result: ok})
		}
		if ok || err != nil {
			return ok, err
		}
	}
	return false, nil
}

// matchAny compares several values with every key.
func (q *matcher) matchAny(m *machine, list []subject) (bool, error) {
	for i := range list {
		if ok, err := q.match(m, &list[i]); ok || err != nil {
			return ok, err
		}
	}
	return false, nil
}

func isKey(_ *machine, q *matcher, k *key, s *subject) (bool, error) {
	if q.by.fold == nil {
		return q.by.order(s.text, k.value) == 0, nil
	}
	return (q.by.moves || len(s.text) == len(k.folded)) && s.fold(q.by) == k.folded, nil
}

func containsKey(m *machine, q *matcher, k *key, s *subject) (bool, error) {
	i, err := find(m, s.fold(q.by), k.folded)
	return i >= 0, err
}

// find is where sub begins in s, -1 if it does not occur. The search is linear
// in the length of s, and charged.
func find(m *machine, s, sub string) (int, error) {
	i := strings.Index(s, sub)
	seen := i
	if i < 0 {
		seen = len(s)
	}
	return i, m.spend(1 + seen)
}

func matchesKey(m *machine, q *matcher, k *key, s *subject) (bool, error) {
	folded := s.fold(q.by)
	caught, ok, err := glob(m, k.pattern, folded)
	switch {
	case !ok || q.silent:
		m.caught = caught[:0]
	case q.by.moves && folded != s.text:
		m.captures = captures{folded, caught} // places in what was folded
	default:
		m.captures = captures{s.text, caught}
	}
	return ok, err
}

// captures are the match variables: the value matched, and where in it each
// wildcard stood (RFC 5229, 3.2).
type captures struct {
	value string
	at    [][2]int
}

func (c captures) get(n int) string {
	switch {
	case n == 0:
		return c.value
	case n <= len(c.at):
		return c.value[c.at[n-1][0]:c.at[n-1][1]]
	}
	return ""
}

// piece is a piece of a pattern: literal octets, ? or *.
type piece struct {
	wild byte   // '?', '*', or 0
	lit  string // for 0
}

// compilePattern reads a pattern: * and ? are wildcards, a backslash before them
// or before itself takes the meaning away (RFC 5228, 2.7.1).
func compilePattern(s string) []piece {
	out := make([]piece, 0, 4)
	var lit []byte
	flush := func() {
		if len(lit) > 0 {
			out = append(out, piece{lit: string(lit)})
			lit = lit[:0]
		}
	}
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '*' || c == '?':
			flush()
			out = append(out, piece{wild: c})
		case c == '\\' && i+1 < len(s):
			i++
			lit = append(lit, s[i])
		default:
			lit = append(lit, c)
		}
	}
	flush()
	return out
}

// glob matches a whole value. Between two stars stands a segment without stars;
// the leftmost place where it fits is right: it makes the star before it as
// short as can be, as RFC 5229, 3.2 wants, and leaves the most for the rest, so
// that nothing is ever tried again. Time is at most len(s) times len(pattern),
// and is charged to the run.
func glob(m *machine, pattern []piece, s string) (caught [][2]int, ok bool, err error) {
	caught = m.caught[:0]
	pos, star := 0, -1 // where the segment may begin; where the star before it did
	for {
		n := 0
		for n < len(pattern) && pattern[n].wild != '*' {
			n++
		}
		segment, last := pattern[:n], n == len(pattern)
		at, width, err := place(m, segment, s, pos, star >= 0, last)
		if at < 0 || err != nil {
			return nil, false, err
		}
		if star >= 0 {
			caught = append(caught, [2]int{star, at})
		}
		caught = catch(caught, segment, at)
		if pos = at + width; last {
			m.caught = nil // the captures keep it
			return caught, true, nil
		}
		star, pattern = pos, pattern[n+1:]
	}
}

// place finds the first place at or after pos where a segment fits; if it does
// not float only pos will do, and the last one must reach the end.
func place(m *machine, segment []piece, s string, pos int, floats, last bool) (at, width int, err error) {
	for _, t := range segment {
		width += max(1, len(t.lit))
	}
	end := len(s) - width
	switch {
	case end < pos || last && !floats && end != pos:
		return -1, 0, nil
	case last && floats:
		pos = end
	case !floats:
		end = pos
	case len(segment) == 0:
		return pos, 0, nil
	case len(segment) == 1 && segment[0].wild == 0:
		if at, err = find(m, s[pos:], segment[0].lit); at >= 0 {
			at += pos
		}
		return at, width, err
	}
	for at := pos; at <= end; at++ {
		if err := m.spend(1 + len(segment) + width/16); err != nil {
			return -1, 0, err
		}
		if segmentAt(segment, s[at:]) {
			return at, width, nil
		}
	}
	return -1, 0, nil
}

func segmentAt(segment []piece, s string) bool {
	for _, t := range segment {
		if t.wild == 0 && !strings.HasPrefix(s, t.lit) {
			return false
		}
		s = s[max(1, len(t.lit)):]
	}
	return true
}

// catch notes what the ? of a segment stand for.
func catch(caught [][2]int, segment []piece, at int) [][2]int {
	for _, t := range segment {
		if t.wild == '?' {
			caught = append(caught, [2]int{at, at + 1})
		}
		at += max(1, len(t.lit))
	}
	return caught
}
