package relay

import (
	"fmt"
	"math"
	"strings"
)

// slot is a part of a line that a form names.
type slot int

const (
	helo slot = iota
	rdns
	ip
	by
	id
	ident
	env
	sub // anything else that is looked at
	slots
	none slot = -1
)

var slotNames = map[string]slot{"helo": helo, "rdns": rdns, "ip": ip, "by": by, "id": id, "ident": ident, "env": env, "sub": sub, "": none}

// span is where a part of a line stands; from -1 is nowhere.
type span struct{ from, to int }

type spans [slots]span

var noSpans = func() (s spans) {
	for i := range s {
		s[i].from = -1
	}
	return s
}()

// matcher matches patterns with one line.
type matcher struct {
	s     string
	got   spans
	steps int // that it may still take
}

// maxSteps bounds the work for a line that was made to cost much: real ones take some hundreds.
const maxSteps = 100_000

type step int

const (
	stepEnd    step = iota
	stepText        // a literal text
	stepRun         // octets of a set, as many as may be, or as few
	stepIP          // an address
	stepLocal       // the machine itself
	stepEither      // one of several
	stepEdge        // where a word begins or ends
	stepStop        // the end of the line
	stepNot         // not this text
)

// node is a step of a pattern and what follows it.
type node struct {
	step     step
	text     string
	set      *octets
	min, max int
	lazy     bool
	slot     slot
	either   []*node
	next     *node
}

var (
	notSpace = octetSet(func(c byte) bool { return !isSpace(c) })
	anything = octetSet(func(byte) bool { return true })
	noParen  = octetSet(func(c byte) bool { return c != ')' })
	digits   = octetSet(isDigit)
	capitals = octetSet(func(c byte) bool {
		return c >= 'A' && c <= 'Z' || isDigit(c) || strings.IndexByte("._~-", c) >= 0
	})
	heloText = octetSet(func(c byte) bool { return c != ' ' && c != '(' && c != ')' })
	noAt     = octetSet(func(c byte) bool { return c != '@' && !isSpace(c) })
	noDot    = octetSet(func(c byte) bool { return c != '.' })
)

// runs are what may stand behind a name in a pattern.
var runs = []struct {
	mark string
	node node
}{
	{"", node{set: notSpace, min: 1, max: math.MaxInt}},
	{"*", node{set: notSpace, max: math.MaxInt}},
	{"~", node{set: anything, max: math.MaxInt}},
	{"~+", node{set: anything, min: 1, max: math.MaxInt}},
	{"~?", node{set: anything, max: math.MaxInt, lazy: true}},
	{"~10-80", node{set: anything, min: 10, max: 80}},
	{"~0-100", node{set: anything, max: 100}},
	{"#", node{set: digits, min: 1, max: math.MaxInt}},
	{"#*", node{set: digits, max: math.MaxInt}},
	{"!)", node{set: noParen, min: 1, max: math.MaxInt}},
	{"!)*", node{set: noParen, max: math.MaxInt}},
	{"!)0-40", node{set: noParen, max: 40}},
	{"!()", node{set: heloText, max: math.MaxInt}},
	{"!@", node{set: noAt, min: 1, max: math.MaxInt}},
	{"!.", node{set: noDot, min: 1, max: math.MaxInt}},
	{"%", node{set: capitals, max: math.MaxInt}},
}

// compile reads a pattern: text that must stand there, and in braces
//
//	{helo} {helo*} {rdns~?} {!)}   a run of octets, kept under the name if it has one:
//	                               by itself no white space, and see runs
//	{ip} {address} {local}         an address, kept or not; the machine itself
//	{a|b} {HELO}                   one of these texts; HELO or EHLO
//	{?...?}                        perhaps this
//	{\b} {$} {^...}                an edge of a word, the end, not this text
func compile(pattern string) *node {
	n, rest := parse(pattern, &node{})
	if rest != "" {
		panic(fmt.Sprintf("relay: pattern %q: what ends at %q did not begin", pattern, rest))
	}
	return n
}

// parse reads a pattern up to its end or to "?}", and puts then behind it.
func parse(p string, then *node) (first *node, rest string) {
	if p == "" || strings.HasPrefix(p, "?}") {
		return then, p
	}
	if p[0] != '{' {
		n := &node{step: stepText}
		i := strings.IndexByte(p, '{')
		if i < 0 {
			i = len(p)
		}
		if j := strings.Index(p[:i], "?}"); j >= 0 {
			i = j
		}
		n.text = p[:i]
		n.next, rest = parse(p[i:], then)
		return n, rest
	}
	if inner, ok := strings.CutPrefix(p, "{?"); ok {
		join := &node{step: stepEither}
		sub, rest := parse(inner, join)
		rest = strings.TrimPrefix(rest, "?}")
		next, rest := parse(rest, then)
		join.either = []*node{next}
		return &node{step: stepEither, either: []*node{sub, next}}, rest
	}
	word, rest, _ := strings.Cut(p[1:], "}")
	n := special(word)
	n.next, rest = parse(rest, then)
	return n, rest
}

// special reads what stands in braces.
func special(word string) *node {
	switch word {
	case "ip":
		return &node{step: stepIP, slot: ip}
	case "address":
		return &node{step: stepIP, slot: none}
	case "local":
		return &node{step: stepLocal}
	case "\\b":
		return &node{step: stepEdge}
	case "$":
		return &node{step: stepStop}
	case "HELO":
		word = "HELO|EHLO"
	}
	if not, ok := strings.CutPrefix(word, "^"); ok {
		return &node{step: stepNot, text: not}
	}
	if strings.Contains(word, "|") {
		n := &node{step: stepText}
		n.either = make([]*node, 0)
		for text := range strings.SplitSeq(word, "|") {
			n.either = append(n.either, &node{text: text})
		}
		return n
	}
	name := strings.TrimRight(word, "!()@.*~?+-#%0123456789")
	for _, r := range runs {
		if s, ok := slotNames[name]; ok && r.mark == word[len(name):] {
			n := r.node
			n.step, n.slot = stepRun, s
			return &n
		}
	}
	panic(fmt.Sprintf("relay: %q is no part of a pattern", word))
}

// at matches a pattern with what stands at p in s.
func (n *node) at(m *matcher, p int) bool {
	s := m.s
	if m.steps--; m.steps < 0 {
		return false
	}
	for {
		switch n.step {
		case stepEnd:
			return true
		case stepText:
			if n.either != nil {
				return n.texts(m, p)
			}
			if !strings.HasPrefix(s[p:], n.text) {
				return false
			}
			p += len(n.text)
		case stepRun:
			return n.run(m, p)
		case stepIP, stepLocal:
			return n.address(m, p)
		case stepEither:
			for _, e := range n.either {
				if e.at(m, p) {
					return true
				}
			}
			return false
		case stepEdge:
			if !edge(s, p) {
				return false
			}
		case stepStop:
			if p != len(s) {
				return false
			}
		case stepNot:
			if strings.HasPrefix(s[p:], n.text) {
				return false
			}
		}
		n = n.next
	}
}

func (n *node) texts(m *matcher, p int) bool {
	for _, e := range n.either {
		if strings.HasPrefix(m.s[p:], e.text) && n.next.at(m, p+len(e.text)) {
			return true
		}
	}
	return false
}

func (n *node) address(m *matcher, p int) bool {
	find := addressAt
	if n.step == stepLocal {
		find = localAt
	}
	ends, k := find(m.s, p)
	for _, e := range ends[:k] {
		if n.next.at(m, e) {
			if n.step == stepIP && n.slot != none {
				m.got[n.slot] = span{p, e}
			}
			return true
		}
	}
	return false
}

// run matches a run of octets and what follows it: the longest run, or if lazy the
// shortest.
func (n *node) run(m *matcher, p int) bool {
	s := m.s
	most := len(s)
	if n.max < most-p {
		most = p + n.max
	}
	e := most
	if n.set != anything {
		for e = p; e < most && n.set[s[e]]; e++ {
		}
	}
	first := p + n.min
	if e < first {
		return false
	}
	text := ""
	if n.next.step == stepText {
		text = n.next.text
	}
	for k, ok := n.ends(s, first, e, text); ok; {
		if n.next.at(m, k) {
			if n.slot != none {
				m.got[n.slot] = span{p, k}
			}
			return true
		}
		if n.lazy {
			first = k + 1
		} else {
			e = k - 1
		}
		k, ok = n.ends(s, first, e, text)
	}
	return false
}

// ends finds the next place from first to last where a run may end: where text
// follows, if it is given.
func (n *node) ends(s string, first, last int, text string) (int, bool) {
	if last < first {
		return 0, false
	}
	if text == "" {
		if n.lazy {
			return first, true
		}
		return last, true
	}
	window := s[first:min(len(s), last+len(text))]
	i := 0
	if n.lazy {
		i = strings.Index(window, text)
	} else {
		i = strings.LastIndex(window, text)
	}
	return first + i, i >= 0
}

// match matches a pattern with the beginning of the line.
func (m *matcher) match(n *node) bool {
	m.got = noSpans
	return n.at(m, 0)
}

// search looks for a pattern anywhere in the line.
func (m *matcher) search(n *node) bool {
	for p := 0; p <= len(m.s); p++ {
		if n.step == stepText && n.either == nil {
			i := strings.Index(m.s[p:], n.text)
			if i < 0 {
				return false
			}
			p += i
		}
		m.got = noSpans
		if n.at(m, p) {
			return true
		}
	}
	return false
}

// text is what a part has matched, "" if nothing.
func (m *matcher) text(s slot) string {
	if g := m.got[s]; g.from >= 0 {
		return m.s[g.from:g.to]
	}
	return ""
}
