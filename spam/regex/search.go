package regex

import (
	"bytes"
	"slices"

	"mtad/spam/regex/syntax"
)

// search is how a pattern's matches are looked for: where one can start.
type search struct {
	anchor    anchor
	required  []byte // every match contains it, case and all
	prefix    []byte // every match starts with it, case and all
	shape     int    // how many of the first bytes are looked at
	pivot     int    // which of them is looked at first: the rarest
	tables    *[256]uint8
	dense     bool             // even the rarest of the first bytes is frequent
	wordStart bool             // no match starts behind a character of a word
	window    []syntax.Charset // sets of bytes that follow each other somewhere in a match
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

func newSearch(n *syntax.Node, need Condition) search {
	s := search{anchor: anchorOf(n), prefix: prefixOfNode(n)}
	if len(s.prefix) < 2 {
		s.prefix = nil
	}
	sets := (&shaper{maxNodes}).shape(n, nil)
	for len(sets) > 0 && sets[len(sets)-1] == syntax.AllBytes {
		sets = sets[:len(sets)-1]
	}
	if s.shape = len(sets); s.shape > 0 {
		s.tables = new([256]uint8)
		for i, set := range sets {
			set.Each(func(c byte) { s.tables[c] |= 1 << i })
			if bitsOf(set) > bitsOf(sets[s.pivot]) {
				s.pivot = i
			}
		}
	}
	s.wordStart = s.shape > 0 && startsWord(n) && sets[0].Within(syntax.WordsASCII)
	if len(need.All) == 0 {
		s.window = window(n)
	}
	s.dense = s.shape > 1 && bitsOf(sets[s.pivot]) < 6
	for _, clause := range need.All {
		if len(clause) == 1 && !clause[0].Fold && len(clause[0].Text) > len(s.required) {
			s.required = []byte(clause[0].Text)
		}
	}
	return s
}

// startsWord says whether a pattern starts with \b.
func startsWord(n *syntax.Node) bool {
	switch n.Op {
	case syntax.OpAssert:
		return n.Assert == syntax.Boundary
	case syntax.OpCat, syntax.OpGroup, syntax.OpAtomic:
		return startsWord(n.Subs[0])
	case syntax.OpAlt:
		return !slices.ContainsFunc(n.Subs, func(s *syntax.Node) bool { return !startsWord(s) })
	}
	return false
}

func anchorOf(n *syntax.Node) anchor {
	switch n.Op {
	case syntax.OpAssert:
		switch n.Assert {
		case syntax.TextStart:
			return atStart
		case syntax.LineStart:
			return atLine
		case syntax.From:
			return atFrom
		}
	case syntax.OpCat:
		for _, s := range n.Subs {
			if a := anchorOf(s); a != nowhere {
				return a
			}
			if _, hi := s.Width(); hi > 0 {
				break
			}
		}
	case syntax.OpGroup, syntax.OpAtomic:
		return anchorOf(n.Subs[0])
	case syntax.OpAlt:
		a := anchorOf(n.Subs[0])
		for _, s := range n.Subs[1:] {
			if anchorOf(s) != a {
				return nowhere
			}
		}
		return a
	}
	return nowhere
}

// prefixOfNode is the exact bytes that every match starts with.
func prefixOfNode(n *syntax.Node) []byte {
	items := []*syntax.Node{n}
	if n.Op == syntax.OpCat {
		items = n.Subs
	}
	var out []byte
	for _, s := range items {
		if s.Op == syntax.OpAssert {
			continue
		}
		if s.Op != syntax.OpSet {
			break
		}
		b, ok := s.Set.Only()
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
func (sh *shaper) shape(n *syntax.Node, follow []syntax.Charset) []syntax.Charset {
	if sh.left--; sh.left < 0 {
		return nil
	}
	switch n.Op {
	case syntax.OpSet:
		out := append(make([]syntax.Charset, 0, maxShape), n.Set)
		return append(out, follow[:min(len(follow), maxShape-1)]...)
	case syntax.OpCat:
		wanted, least := 0, 0 // what comes behind maxShape bytes does not matter
		for ; wanted < len(n.Subs) && least < maxShape; wanted++ {
			lo, _ := n.Subs[wanted].Width()
			least += lo
		}
		if wanted < len(n.Subs) {
			follow = nil
		}
		for i := wanted - 1; i >= 0; i-- {
			follow = sh.shape(n.Subs[i], follow)
		}
		return follow
	case syntax.OpAlt:
		out := sh.shape(n.Subs[0], follow)
		for _, s := range n.Subs[1:] {
			out = either(out, sh.shape(s, follow))
		}
		return out
	case syntax.OpRepeat:
		return sh.repeat(n, follow)
	case syntax.OpGroup, syntax.OpAtomic:
		return sh.shape(n.Subs[0], follow)
	case syntax.OpBackref:
		return nil
	case syntax.OpCond:
		k := len(n.Subs)
		return either(sh.shape(n.Subs[k-2], follow), sh.shape(n.Subs[k-1], follow))
	}
	return follow
}

// window is the rarest shape at any place of a pattern that is a sequence; none
// if it is not rare enough to look for.
func window(n *syntax.Node) []syntax.Charset {
	for n.Op == syntax.OpGroup || n.Op == syntax.OpAtomic {
		n = n.Subs[0]
	}
	items := []*syntax.Node{n}
	if n.Op == syntax.OpCat {
		items = n.Subs
	}
	sh := shaper{maxNodes}
	var best, follow []syntax.Charset
	most := 0.0
	for i := len(items) - 1; i >= 0; i-- {
		follow = sh.shape(items[i], follow)
		sets, total := trimmed(follow), 0.0
		for _, set := range sets {
			total += bitsOf(set)
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
func trimmed(sets []syntax.Charset) []syntax.Charset {
	const little = 0.2
	for len(sets) > 0 && bitsOf(sets[len(sets)-1]) < little {
		sets = sets[:len(sets)-1]
	}
	for len(sets) > 0 && bitsOf(sets[0]) < little {
		sets = sets[1:]
	}
	return sets
}

func (sh *shaper) repeat(n *syntax.Node, follow []syntax.Charset) []syntax.Charset {
	out := follow
	optional := n.Max - n.Min
	lo, _ := n.Subs[0].Width()
	if lo == 0 {
		optional = n.Max
	}
	for range min(optional, maxShape+1) {
		out = either(follow, sh.shape(n.Subs[0], out))
	}
	if lo == 0 {
		return out[:min(len(out), 1)]
	}
	for range min(n.Min, maxShape) {
		out = sh.shape(n.Subs[0], out)
	}
	return out
}

// either is the union of two shapes, as long as the shorter one.
func either(a, b []syntax.Charset) []syntax.Charset {
	n := min(len(a), len(b))
	out := make([]syntax.Charset, n)
	for i := range out {
		out[i] = a[i]
		out[i].Union(b[i])
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
	return s.wordStart && pos > 0 && syntax.WordsASCII.Has(text[pos-1])
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
