package regex

import (
	"bytes"
	"slices"
)

// search is how a pattern's matches are looked for: where one can start.
type search struct {
	anchor    anchor
	required  []byte // every match contains it, case and all
	prefix    []byte // every match starts with it, case and all
	shape     int    // how many of the first bytes are looked at
	pivot     int    // which of them is looked at first: the rarest
	tables    *[256]uint8
	dense     bool      // even the rarest of the first bytes is frequent
	wordStart bool      // no match starts behind a character of a word
	window    []charset // sets of bytes that follow each other somewhere in a match
}

// anchor is where every match starts.
type anchor uint8

const (
	nowhere anchor = iota
	atStart
	atLine
	atFrom
)

// maxShape is how many bytes of a match are looked at before it is tried.
const maxShape = 8

func newSearch(n *node, need Condition) search {
	s := search{anchor: anchorOf(n), prefix: prefixOfNode(n)}
	if len(s.prefix) < 2 {
		s.prefix = nil
	}
	sets := (&shaper{maxNodes}).shape(n, nil)
	for len(sets) > 0 && sets[len(sets)-1] == allBytes {
		sets = sets[:len(sets)-1]
	}
	if s.shape = len(sets); s.shape > 0 {
		s.tables = new([256]uint8)
		for i, set := range sets {
			set.each(func(c byte) { s.tables[c] |= 1 << i })
			if set.bits() > sets[s.pivot].bits() {
				s.pivot = i
			}
		}
	}
	s.wordStart = s.shape > 0 && startsWord(n) && sets[0].within(wordsASCII)
	if len(need.All) == 0 {
		s.window = window(n)
	}
	s.dense = s.shape > 1 && sets[s.pivot].bits() < 6
	for _, clause := range need.All {
		if len(clause) == 1 && !clause[0].Fold && len(clause[0].Text) > len(s.required) {
			s.required = []byte(clause[0].Text)
		}
	}
	return s
}

// startsWord says whether a pattern starts with \b.
func startsWord(n *node) bool {
	switch n.kind {
	case kAssert:
		return n.assert == aBoundary
	case kCat, kGroup, kAtomic:
		return startsWord(n.subs[0])
	case kAlt:
		return !slices.ContainsFunc(n.subs, func(s *node) bool { return !startsWord(s) })
	}
	return false
}

func anchorOf(n *node) anchor {
	switch n.kind {
	case kAssert:
		switch n.assert {
		case aTextStart:
			return atStart
		case aLineStart:
			return atLine
		case aFrom:
			return atFrom
		}
	case kCat:
		for _, s := range n.subs {
			if a := anchorOf(s); a != nowhere {
				return a
			}
			if _, hi := s.width(); hi > 0 {
				break
			}
		}
	case kGroup, kAtomic:
		return anchorOf(n.subs[0])
	case kAlt:
		a := anchorOf(n.subs[0])
		for _, s := range n.subs[1:] {
			if anchorOf(s) != a {
				return nowhere
			}
		}
		return a
	}
	return nowhere
}

// prefixOfNode is the exact bytes that every match starts with.
func prefixOfNode(n *node) []byte {
	items := []*node{n}
	if n.kind == kCat {
		items = n.subs
	}
	var out []byte
	for _, s := range items {
		if s.kind == kAssert {
			continue
		}
		if s.kind != kSet {
			break
		}
		b, ok := s.set.only()
		if !ok {
			break
		}
		out = append(out, b)
	}
	return out
}

// shaper looks at maxNodes nodes.
type shaper struct{ left int }

const maxNodes = 20000

// shape is what the first bytes of a match of n can be, where what follows it
// has the shape follow: at most maxShape sets, and no more than the shortest
// match has bytes. Of repetitions in repetitions it gives up some time: no set
// at all says nothing, and so is never wrong.
func (sh *shaper) shape(n *node, follow []charset) []charset {
	if sh.left--; sh.left < 0 {
		return nil
	}
	switch n.kind {
	case kSet:
		out := append(make([]charset, 0, maxShape), n.set)
		return append(out, follow[:min(len(follow), maxShape-1)]...)
	case kCat:
		wanted, least := 0, 0 // what comes behind maxShape bytes does not matter
		for ; wanted < len(n.subs) && least < maxShape; wanted++ {
			lo, _ := n.subs[wanted].width()
			least = sum(least, lo)
		}
		if wanted < len(n.subs) {
			follow = nil
		}
		for i := wanted - 1; i >= 0; i-- {
			follow = sh.shape(n.subs[i], follow)
		}
		return follow
	case kAlt:
		out := sh.shape(n.subs[0], follow)
		for _, s := range n.subs[1:] {
			out = either(out, sh.shape(s, follow))
		}
		return out
	case kRepeat:
		return sh.repeat(n, follow)
	case kGroup, kAtomic:
		return sh.shape(n.subs[0], follow)
	case kBackref:
		return nil
	case kCond:
		k := len(n.subs)
		return either(sh.shape(n.subs[k-2], follow), sh.shape(n.subs[k-1], follow))
	}
	return follow
}

// window is the rarest shape at any place of a pattern that is a sequence; none
// if it is not rare enough to look for.
func window(n *node) []charset {
	for n.kind == kGroup || n.kind == kAtomic {
		n = n.subs[0]
	}
	items := []*node{n}
	if n.kind == kCat {
		items = n.subs
	}
	sh := shaper{maxNodes}
	var best, follow []charset
	most := 0.0
	for i := len(items) - 1; i >= 0; i-- {
		follow = sh.shape(items[i], follow)
		sets, total := trimmed(follow), 0.0
		for _, set := range sets {
			total += set.bits()
		}
		if total >= most {
			best, most = sets, total
		}
	}
	if most < minShapeBits {
		return nil
	}
	return best
}

// trimmed drops sets at the ends that say little.
func trimmed(sets []charset) []charset {
	const little = 0.2
	for len(sets) > 0 && sets[len(sets)-1].bits() < little {
		sets = sets[:len(sets)-1]
	}
	for len(sets) > 0 && sets[0].bits() < little {
		sets = sets[1:]
	}
	return sets
}

func (sh *shaper) repeat(n *node, follow []charset) []charset {
	out := follow
	optional := n.max - n.min
	lo, _ := n.subs[0].width()
	if lo == 0 {
		optional = n.max
	}
	for range min(optional, maxShape+1) {
		out = either(follow, sh.shape(n.subs[0], out))
	}
	if lo == 0 {
		return out[:min(len(out), 1)]
	}
	for range min(n.min, maxShape) {
		out = sh.shape(n.subs[0], out)
	}
	return out
}

// either is the union of two shapes, as long as the shorter one.
func either(a, b []charset) []charset {
	n := min(len(a), len(b))
	out := make([]charset, n)
	for i := range out {
		out[i] = a[i]
		out[i].union(b[i])
	}
	return out
}

// run tries the places where a match can start, from left to right.
func (s *search) run(m *machine, from int) (bool, error) {
	switch s.anchor {
	case atStart:
		if from > 0 {
			return false, nil
		}
		return m.at(0)
	case atFrom:
		return m.at(from)
	}
	for pos := from; ; pos++ {
		start := pos
		if pos = s.next(m.text, pos); pos < 0 {
			m.steps += int64(len(m.text)-start) >> 4
			return false, nil
		}
		m.steps += int64(pos-start) >> 4
		if ok, err := m.at(pos); ok || err != nil {
			return ok, err
		}
		if m.steps > m.limit {
			return false, ErrBudget
		}
	}
}

// next is the first place from pos on where a match can start, -1 if there is
// none.
func (s *search) next(text []byte, pos int) int {
	for {
		if s.anchor == atLine && pos > 0 && (pos > len(text) || text[pos-1] != '\n') {
			i := bytes.IndexByte(text[min(pos, len(text)):], '\n')
			if i < 0 {
				return -1
			}
			pos += i + 1
		}
		if pos > len(text) {
			return -1
		}
		at := s.fits(text, pos)
		if at < 0 || at == pos || s.anchor != atLine {
			return at
		}
		pos = at
	}
}

// fits is the first place from pos on whose bytes a match can start with.
func (s *search) fits(text []byte, pos int) int {
	if s.prefix != nil {
		if i := bytes.Index(text[pos:], s.prefix); i >= 0 {
			return pos + i
		}
		return -1
	}
	if s.shape == 0 {
		return pos
	}
	if s.dense {
		return s.shift(text, pos)
	}
	t := s.tables
	pivot := uint8(1) << s.pivot
	last := len(text) - s.shape
scan:
	for ; pos <= last; pos++ {
		if t[text[pos+s.pivot]]&pivot == 0 || s.inWord(text, pos) {
			continue
		}
		for i, c := range text[pos : pos+s.shape] {
			if t[c]>>i&1 == 0 {
				continue scan
			}
		}
		return pos
	}
	return -1
}

// inWord says that no match starts at pos, as that is within a word.
func (s *search) inWord(text []byte, pos int) bool {
	return s.wordStart && pos > 0 && wordsASCII.has(text[pos-1])
}

// shift does the same for sets that many bytes are in: without a branch a byte.
func (s *search) shift(text []byte, pos int) int {
	t := s.tables
	last := uint8(1) << (s.shape - 1)
	var state uint8
	for i, c := range text[pos:] {
		state = (state<<1 | 1) & t[c]
		if state&last == 0 {
			continue
		}
		if start := pos + i + 1 - s.shape; !s.inWord(text, start) {
			return start
		}
	}
	return -1
}
