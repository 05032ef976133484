package regex

import "sort"

// Set finds literals in a text, all at once: the automaton of Aho and Corasick
// with a full table. It is immutable, and can be used by several goroutines.
type Set struct {
	literals []Literal
	class    [256]uint8 // of a byte, in lower case
	width    uint32     // classes
	table    []uint32   // by state*width+class: the next state*width, and hit
	outputs  []int32    // by state: where in found its literals are; one more at the end
	found    []int32
}

// hit marks a transition to a state with literals.
const hit = 1 << 31

// depth is how many octets of a literal the automaton knows: what is behind them is
// compared. So it takes a third less memory, and no more time.
const depth = 4

// NewSet builds an automaton. The number of a literal is its index.
func NewSet(literals []Literal) *Set {
	s := &Set{literals: literals}
	s.classes()
	b := &builder{set: s}
	for id, l := range literals {
		b.insert(int32(id), l)
	}
	b.finish()
	return s
}

// classes gives every byte of the literals a class of its own, and those above
// ASCII, which are many and rare, a few together: what is found is compared.
func (s *Set) classes() {
	var of [256]uint8
	s.width = 1
	for _, l := range s.literals {
		for i := range min(len(l.Text), depth) {
			c := lowerLatin(l.Text[i])
			if c >= 0x80 {
				c = 0x80 | c&7
			}
			if of[c] == 0 {
				of[c] = uint8(s.width)
				s.width++
			}
		}
	}
	for i := range 256 {
		c := lowerLatin(byte(i))
		if c >= 0x80 {
			c = 0x80 | c&7
		}
		s.class[i] = of[c]
	}
}

// builder makes the trie, and then the automaton of it.
type builder struct {
	set  *Set
	trie []trieNode
}

type trieNode struct {
	next map[uint8]int32
	ids  []int32
	fail int32
}

func (b *builder) insert(id int32, l Literal) {
	if len(b.trie) == 0 {
		b.trie = append(b.trie, trieNode{})
	}
	at := int32(0)
	for i := range min(len(l.Text), depth) {
		c := b.set.class[l.Text[i]]
		to, ok := b.trie[at].next[c]
		if !ok {
			to = int32(len(b.trie))
			b.trie = append(b.trie, trieNode{})
			if b.trie[at].next == nil {
				b.trie[at].next = map[uint8]int32{}
			}
			b.trie[at].next[c] = to
		}
		at = to
	}
	if at > 0 {
		b.trie[at].ids = append(b.trie[at].ids, id)
	}
}

// finish numbers the states from the root outwards, so that those that are met
// most lie together, and fills the table.
func (b *builder) finish() {
	s := b.set
	if len(b.trie) == 0 {
		b.trie = append(b.trie, trieNode{})
	}
	order, number := b.order()
	w := int(s.width)
	s.table = make([]uint32, len(order)*w)
	s.outputs = make([]int32, 1, len(order)+1)
	for at, old := range order {
		n := &b.trie[old]
		fail := int(number[n.fail])
		if at > 0 {
			copy(s.table[at*w:(at+1)*w], s.table[fail*w:(fail+1)*w])
			n.ids = append(n.ids, b.trie[n.fail].ids...)
		}
		for c, to := range n.next {
			s.table[at*w+int(c)] = uint32(number[to]) * s.width
			// Where a child falls back to: what its parent's fallback does with its byte.
			if at > 0 {
				b.trie[to].fail = order[s.table[fail*w+int(c)]&^hit/s.width]
			}
		}
		s.found = append(s.found, n.ids...)
		s.outputs = append(s.outputs, int32(len(s.found)))
	}
	for i, to := range s.table {
		if state := to / s.width; s.outputs[state] < s.outputs[state+1] {
			s.table[i] |= hit
		}
	}
}

func (b *builder) order() (order, number []int32) {
	order = make([]int32, 1, len(b.trie))
	for i := 0; i < len(order); i++ {
		next := b.trie[order[i]].next
		classes := make([]int, 0, len(next))
		for c := range next {
			classes = append(classes, int(c))
		}
		sort.Ints(classes)
		for _, c := range classes {
			order = append(order, next[uint8(c)])
		}
	}
	number = make([]int32, len(order))
	for i, old := range order {
		number[old] = int32(i)
	}
	return order, number
}

// Scan calls f for every occurrence of a literal, by its end.
func (s *Set) Scan(text []byte, f func(id int)) {
	table, class := s.table, &s.class
	var state uint32
	for i, c := range text {
		state = table[state+uint32(class[c])]
		if state&hit == 0 {
			continue
		}
		state &^= hit
		n := state / s.width
		for _, id := range s.found[s.outputs[n]:s.outputs[n+1]] {
			l := &s.literals[id]
			if rest := text[i+1-min(len(l.Text), depth):]; len(rest) >= len(l.Text) && l.at(rest) {
				f(int(id))
			}
		}
	}
}

// Size is about how many bytes of memory the automaton takes.
func (s *Set) Size() int {
	n := len(s.table)*4 + len(s.outputs)*4 + len(s.found)*4
	for _, l := range s.literals {
		n += 24 + len(l.Text)
	}
	return n
}
