package regex

import (
	"math/bits"
	"slices"

	"mtad/spam/regex/syntax"
)

// Filter says which of many patterns can match a text: by the literals that they need,
// and for those that need none by an automaton that accepts a little more than they do.
// It is immutable but for its Cache, and can be used by several goroutines.
type Filter struct {
	set    *Set
	tests  [][]test // by literal
	wants  []uint8  // by pattern: bits of all its clauses
	shapes []shapes
	always []int32  // patterns that almost every text matches
	dfas   []*dfa   // of patterns without literals
	closer []closer // the order is that of their numbers
}

// closer is a pattern with an automaton of its own, which runs only if the sequence of
// sets or the literals of the pattern are there.
type closer struct {
	id  int32
	dfa *dfa
}

// test is a literal's part in a pattern's condition.
type test struct {
	pattern int32
	clause  uint8
}

// shapes are patterns' sequences of sets, side by side in one word: bit i of
// table[c] says that c may stand at place i.
type shapes struct {
	table  [256]uint64
	first  uint64
	last   uint64
	id     [64]int32 // of the pattern, by its last bit
	number int       // bits in use
}

// Candidates are the patterns that can match a text. They belong to one
// goroutine; their memory is used again by the next scan.
type Candidates struct {
	got  []uint8
	seen []int32
	set  []uint64
	work int // spent on making states
}

// Renew lets the scans that follow spend anew on making states.
func (c *Candidates) Renew() { c.work = 0 }

// minShapeBits is how rare a sequence of sets must be to be looked for.
const minShapeBits = 5

// NewFilter makes a filter whose automata share a cache; the number of a pattern is its
// index.
func NewFilter(patterns []*Regexp, cache *Cache) *Filter {
	f := &Filter{wants: make([]uint8, len(patterns))}
	var plain, anchored, wild crew
	var literals []Literal
	number := map[Literal]int{}
	look := func(id int, re *Regexp) {
		f.closer = append(f.closer, closer{int32(id), newDFA([]*Regexp{re}, []int32{int32(id)}, cache)})
	}
	for id, re := range patterns {
		if len(re.need.All) == 0 {
			switch {
			case re.shape.common:
				f.always = append(f.always, int32(id))
			case !re.shape.wild:
				plain.add(id, re)
			case re.search.anchor == atStart:
				anchored.add(id, re)
			case f.addShape(id, re):
				look(id, re)
			default:
				wild.add(id, re)
			}
			continue
		}
		if re.shape.heavy {
			look(id, re)
		}
		for i, clause := range re.need.All {
			f.wants[id] |= 1 << i
			for _, l := range clause {
				n, ok := number[l]
				if !ok {
					n = len(literals)
					number[l] = n
					literals = append(literals, l)
					f.tests = append(f.tests, nil)
				}
				f.tests[n] = append(f.tests[n], test{int32(id), 1 << i})
			}
		}
	}
	f.set = NewSet(literals)
	for _, c := range []crew{plain, anchored, wild} {
		if len(c.ids) > 0 {
			f.dfas = append(f.dfas, newDFA(c.patterns, c.ids, cache))
		}
	}
	return f
}

// crew are patterns that share an automaton: those of which few texts have a beginning,
// those that start where the text does, and the rest. Together, they would have too
// many states.
type crew struct {
	patterns []*Regexp
	ids      []int32
}

func (c *crew) add(id int, re *Regexp) {
	c.patterns, c.ids = append(c.patterns, re), append(c.ids, int32(id))
}

// addShape finds room for the sequence of sets of a pattern, if it has one.
func (f *Filter) addShape(id int, re *Regexp) bool {
	sets := re.search.window
	if len(sets) == 0 {
		return false
	}
	at := slices.IndexFunc(f.shapes, func(s shapes) bool { return s.number+len(sets) <= 64 })
	if at < 0 {
		at = len(f.shapes)
		f.shapes = append(f.shapes, shapes{})
	}
	f.shapes[at].add(int32(id), sets)
	return true
}

func (s *shapes) add(id int32, sets []syntax.Charset) {
	s.first |= 1 << s.number
	for _, set := range sets {
		set.Each(func(c byte) { s.table[c] |= 1 << s.number })
		s.number++
	}
	s.last |= 1 << (s.number - 1)
	s.id[s.number-1] = id
}

// scan returns the last bits of the sequences that are in the text.
func (s *shapes) scan(text []byte) uint64 {
	var state, all uint64
	first := s.first
	for _, c := range text {
		state = (state<<1 | first) & s.table[c]
		all |= state
	}
	return all & s.last
}

// Scan finds the candidates in a text. Memory is allocated only when c is used
// with a larger filter than before, and for states of automata.
func (f *Filter) Scan(text []byte, c *Candidates) {
	for _, id := range c.seen {
		c.got[id] = 0
	}
	c.seen = c.seen[:0]
	if len(c.got) < len(f.wants) {
		c.got = make([]uint8, len(f.wants))
	}
	words := (len(f.wants) + 63) / 64
	c.set = slices.Grow(c.set[:0], words)[:words]
	clear(c.set)
	f.set.Scan(text, func(literal int) {
		for _, t := range f.tests[literal] {
			f.note(c, t)
		}
	})
	for i := range f.shapes {
		s := &f.shapes[i]
		for found := s.scan(text); found != 0; found &= found - 1 {
			c.add(s.id[bits.TrailingZeros64(found)])
		}
	}
	for _, s := range f.closer {
		if c.take(s.id) {
			s.dfa.scan(text, c)
		}
	}
	for _, id := range f.always {
		c.add(id)
	}
	for _, d := range f.dfas {
		d.scan(text, c)
	}
}

// Ready is what the first scan would do before anything else, in parts that can be done
// at once.
func (f *Filter) Ready() (parts []func()) {
	for _, c := range f.closer {
		parts = append(parts, c.dfa.ready)
	}
	for _, d := range f.dfas {
		parts = append(parts, d.ready)
	}
	return parts
}

func (c *Candidates) add(id int32) { c.set[id/64] |= 1 << (id % 64) }

// take says whether a pattern is a candidate; then it is none any more.
func (c *Candidates) take(id int32) bool {
	was := c.set[id/64]&(1<<(id%64)) != 0
	c.set[id/64] &^= 1 << (id % 64)
	return was
}

func (f *Filter) note(c *Candidates, t test) {
	got := c.got[t.pattern]
	if got&t.clause != 0 {
		return
	}
	if got == 0 {
		c.seen = append(c.seen, t.pattern)
	}
	got |= t.clause
	c.got[t.pattern] = got
	if got == f.wants[t.pattern] {
		c.add(t.pattern)
	}
}

// Each calls do with every candidate, in order, until it returns false.
func (c *Candidates) Each(do func(pattern int) bool) {
	for i, w := range c.set {
		for ; w != 0; w &= w - 1 {
			if !do(i<<6 | bits.TrailingZeros64(w)) {
				return
			}
		}
	}
}

// Size is about how many bytes of memory the filter takes, without its automata.
func (f *Filter) Size() int {
	n := f.set.Size() + len(f.wants) + len(f.shapes)*(256*8+64*4+24)
	for _, t := range f.tests {
		n += 24 + 8*len(t)
	}
	return n
}

// Limits of what is wild: a repetition of bytes that more than one in 2^wideBits of
// text is, before anything of which one place in 2^rareBits has it.
const (
	wideBits = 2.6
	rareBits = 7
)

// commonBits is how rare the matches of a pattern are that is not looked for before it
// is run.
const commonBits = 6

// isCommon says whether almost every text matches.
func isCommon(n *syntax.Node) bool {
	bits, wild := wildness(n, 0)
	least, _ := n.Width()
	return !wild && bits < commonBits && least < 3
}

// isWild says whether places of a pattern that many texts reach are in a repetition of
// frequent bytes.
func isWild(n *syntax.Node) bool {
	_, is := wildness(n, 0)
	return is
}

// wildness is how rare what n matches is in text, in bits, behind something as rare as
// before.
func wildness(n *syntax.Node, before float64) (after float64, is bool) {
	switch n.Op {
	case syntax.OpSet:
		return before + bitsOf(n.Set), false
	case syntax.OpGroup, syntax.OpAtomic:
		return wildness(n.Subs[0], before)
	case syntax.OpCat:
		for _, s := range n.Subs {
			if before, is = wildness(s, before); is {
				return before, true
			}
		}
	case syntax.OpAlt, syntax.OpCond:
		after = 1000
		for _, s := range n.Subs {
			a, is := wildness(s, before)
			if is {
				return a, true
			}
			after = min(after, a)
		}
		return after, false
	case syntax.OpRepeat:
		return wildRepeat(n, before)
	case syntax.OpBackref:
		return before, before < rareBits
	}
	return before, false
}

func wildRepeat(n *syntax.Node, before float64) (after float64, is bool) {
	body, is := wildness(n.Subs[0], before)
	body -= before
	if is || n.Max > 2 && body < wideBits && before < rareBits {
		return before, true
	}
	return before + body*float64(n.Min), false
}
