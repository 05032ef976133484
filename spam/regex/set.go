package regex

import (
	"math/bits"
	"sort"
	"strings"

	"mtad/spam/regex/syntax"
)

// Set finds literals in a text, all at once: the automaton of Aho and Corasick
// with a full table. It is immutable, and can be used by several goroutines.
type Set struct {
	literals []Literal
	at       []int32    // by literal: where the octets are that the automaton knows
	class    [256]uint8 // of a byte, in lower case
	width    int        // of a state's row in the table
	depth    int        // how many octets of a literal the automaton knows, the rarest
	table    []uint16   // by state*width+class: the next state, and hit
	outputs  []int32    // by state: where in found its literals are; one more at the end
	found    []int32
}

// hit marks a transition to a state with literals.
const hit = 1 << 15

// depth is how many octets of a literal an automaton knows: what is beside them is
// compared. So the table fits the caches of the processor. Where there would be too
// many states for 15 bits, it is less.
const depth = 4

// NewSet builds an automaton. The number of a literal is its index.
func NewSet(literals []Literal) *Set {
	for d := depth; ; d-- {
		s := &Set{literals: literals, depth: d, at: make([]int32, len(literals))}
		for id, l := range literals {
			s.at[id] = int32(rarest(l, d))
		}
		s.classes()
		b := &builder{set: s}
		for id := range literals {
			b.insert(int32(id), s.known(id))
		}
		if len(b.trie) < hit {
			b.finish()
			return s
		}
	}
}

// known are the octets of a literal that the automaton knows.
func (s *Set) known(id int) string {
	text := s.literals[id].Text[s.at[id]:]
	return text[:min(len(text), s.depth)]
}

// rarest is where the octets of a literal are that fewest texts have.
func rarest(l Literal, size int) (at int) {
	most := -1.0
	for i := 0; i+size <= len(l.Text); i++ {
		if rare := (Literal{l.Text[i : i+size], true}).bits(); rare > most {
			at, most = i, rare
		}
	}
	return at
}

// classes gives every byte of the literals a class of its own, and those above
// ASCII, which are many and rare, a few together: what is found is compared. Frequent
// ones are first.
func (s *Set) classes() {
	var used [256]bool
	for id := range s.literals {
		for _, c := range []byte(s.known(id)) {
			used[coarse(c)] = true
		}
	}
	var of [256]uint8
	n := 1
	for _, c := range byFrequency {
		if used[c] {
			of[c] = uint8(n)
			n++
		}
	}
	for i := range 256 {
		s.class[i] = of[coarse(byte(i))]
	}
	s.width = rowWidth(n)
}

// coarse is the byte that stands for those of a class.
func coarse(c byte) byte {
	if c = syntax.LowerLatin(c); c >= 0x80 {
		c = 0x80 | c&7
	}
	return c
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

func (b *builder) insert(id int32, text string) {
	if len(b.trie) == 0 {
		b.trie = append(b.trie, trieNode{})
	}
	at := int32(0)
	for i := range len(text) {
		c := b.set.class[text[i]]
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
	w := s.width
	s.table = make([]uint16, len(order)*w)
	s.outputs = make([]int32, 1, len(order)+1)
	for at, old := range order {
		n := &b.trie[old]
		fail := int(number[n.fail])
		if at > 0 {
			copy(s.table[at*w:(at+1)*w], s.table[fail*w:(fail+1)*w])
			n.ids = append(n.ids, b.trie[n.fail].ids...)
		}
		for c, to := range n.next {
			s.table[at*w+int(c)] = uint16(number[to])
			// Where a child falls back to: what its parent's fallback does with its byte.
			if at > 0 {
				b.trie[to].fail = order[s.table[fail*w+int(c)]]
			}
		}
		s.found = append(s.found, n.ids...)
		s.outputs = append(s.outputs, int32(len(s.found)))
	}
	for i, to := range s.table {
		if s.outputs[to] < s.outputs[to+1] {
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

// Scan calls f for every occurrence of a literal. The automaton knows but a few octets
// back, so both halves of a text are looked at side by side: neither waits for the
// memory that the other needs.
func (s *Set) Scan(text []byte, f func(id int)) {
	table, class, width := s.table, &s.class, s.width
	half := len(text) / 2
	back := half - (s.depth - 1)
	if back < 0 {
		half, back = 0, 0
	}
	var first, second uint16
	for _, c := range text[back:half] {
		second = table[int(second)*width+int(class[c])] &^ hit
	}
	left, right := text[:half], text[half:]
	for i, c := range left {
		first = table[int(first)*width+int(class[c])]
		second = table[int(second)*width+int(class[right[i]])]
		if (first|second)&hit == 0 {
			continue
		}
		if first&hit != 0 {
			first &^= hit
			s.ends(text, i+1, first, f)
		}
		if second&hit != 0 {
			second &^= hit
			s.ends(text, half+i+1, second, f)
		}
	}
	for i, c := range right[half:] {
		if second = table[int(second)*width+int(class[c])]; second&hit != 0 {
			second &^= hit
			s.ends(text, 2*half+i+1, second, f)
		}
	}
}

// ends calls f for the literals of a state that is reached at end.
func (s *Set) ends(text []byte, end int, state uint16, f func(id int)) {
	for _, id := range s.found[s.outputs[state]:s.outputs[state+1]] {
		l := &s.literals[id]
		start := end - min(len(l.Text), s.depth) - int(s.at[id])
		if start >= 0 && start+len(l.Text) <= len(text) && l.at(text[start:]) {
			f(int(id))
		}
	}
}

// Size is about how many bytes of memory the automaton takes.
func (s *Set) Size() int {
	n := len(s.table)*2 + len(s.outputs)*4 + len(s.found)*4
	for _, l := range s.literals {
		n += 24 + len(l.Text)
	}
	return n
}

// byFrequency are all bytes, those that mail has most first: the columns of tables are
// in this order, so that few lines of a row are in use.
var byFrequency = func() (out []byte) {
	const first = " etaoinsrhldcumpgfwybv.\n-k/=\":><;,x0123456789jqzETAOINSRHLDCUMPGFWYBVKXJQZ"
	out = append(out, first...)
	for c := range 256 {
		if strings.IndexByte(first, byte(c)) < 0 {
			out = append(out, byte(c))
		}
	}
	return out
}()

// rowWidth is how long the row of a table is in which there are so many classes: rows
// begin where lines of a cache do, or share one.
func rowWidth(classes int) int {
	const line = 16
	if classes >= line {
		return (classes + line - 1) &^ (line - 1)
	}
	return 1 << bits.Len(uint(classes-1))
}
