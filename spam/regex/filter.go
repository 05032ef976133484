package regex

import (
	"math/bits"
	"slices"
)

// Filter says which of many patterns can match a text, by one look at it: by
// the literals that they need, and for those that need none by the bytes that
// follow each other somewhere in a match. It is immutable, and can be used by
// several goroutines.
type Filter struct {
	set    *Set
	tests  [][]test // by literal
	wants  []uint8  // by pattern: bits of all its clauses
	always []uint64 // patterns that nothing is known of
	shapes []shapes
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
}

// minShapeBits is how rare a sequence of sets must be to be looked for.
const minShapeBits = 5

// NewFilter makes a filter; the number of a pattern is its index.
func NewFilter(patterns []*Regexp) *Filter {
	f := &Filter{wants: make([]uint8, len(patterns)), always: make([]uint64, (len(patterns)+63)/64)}
	var literals []Literal
	number := map[Literal]int{}
	for id, re := range patterns {
		if len(re.need.All) == 0 {
			f.addShape(id, re)
			continue
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
	return f
}

// addShape finds room for a pattern without literals.
func (f *Filter) addShape(id int, re *Regexp) {
	sets := re.search.window
	if len(sets) == 0 {
		f.always[id/64] |= 1 << (id % 64)
		return
	}
	at := slices.IndexFunc(f.shapes, func(s shapes) bool { return s.number+len(sets) <= 64 })
	if at < 0 {
		at = len(f.shapes)
		f.shapes = append(f.shapes, shapes{})
	}
	f.shapes[at].add(int32(id), sets)
}

func (s *shapes) add(id int32, sets []charset) {
	s.first |= 1 << s.number
	for _, set := range sets {
		set.each(func(c byte) { s.table[c] |= 1 << s.number })
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
// with this filter for the first time.
func (f *Filter) Scan(text []byte, c *Candidates) {
	if len(c.got) != len(f.wants) {
		c.got = make([]uint8, len(f.wants))
		c.seen = make([]int32, 0, len(f.wants))
		c.set = make([]uint64, len(f.always))
	}
	for _, id := range c.seen {
		c.got[id] = 0
	}
	c.seen = c.seen[:0]
	copy(c.set, f.always)
	f.set.Scan(text, func(literal int) {
		for _, t := range f.tests[literal] {
			f.note(c, t)
		}
	})
	for i := range f.shapes {
		s := &f.shapes[i]
		for found := s.scan(text); found != 0; found &= found - 1 {
			id := s.id[bits.TrailingZeros64(found)]
			c.set[id/64] |= 1 << (id % 64)
		}
	}
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
		c.set[t.pattern/64] |= 1 << (t.pattern % 64)
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

// Size is about how many bytes of memory the filter takes.
func (f *Filter) Size() int {
	n := f.set.Size() + len(f.wants) + len(f.shapes)*(256*8+64*4+24)
	for _, t := range f.tests {
		n += 24 + 8*len(t)
	}
	return n
}
