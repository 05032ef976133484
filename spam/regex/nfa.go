package regex

import (
	"slices"
	"sync"

	"mtad/spam/regex/syntax"
)

// nfa is what patterns at most accept, as one automaton without memory: it finds a
// match of a pattern in every text that has one, and in some others.
type nfa struct {
	states   []nstate
	starts   []int32
	bases    []int32    // by pattern: its first state
	class    [256]uint8 // of a byte: those of one class are in the same sets
	member   []byte     // by class: one of its bytes
	first    [contexts][]([]int32)
	looks    bool // it looks at the bytes around a place
	anchored bool // a match starts where the text does
	free     []int32
	unfolded int              // turns of a repetition that are told apart
	inner    int              // the same, within a repetition
	sets     []syntax.Charset // of states
	number   map[syntax.Charset]int32
	base     int // where the states of the pattern begin that is being added
}

// nstate is a state. What it does with x and y depends on its kind.
type nstate struct {
	kind nkind
	look syntax.Assertion // nLook
	// x and y are where it goes on; negative is nowhere. Of nAccept, x is the pattern; of
	// nByte, y is the set.
	x, y int32
}

type nkind uint8

const (
	nSplit  nkind = iota // x and y
	nByte                // x behind a byte of a set
	nLook                // x if the assertion holds
	nAccept              // pattern x matches
)

// context is what stands beside a place.
type context uint8

const (
	edge context = iota // nothing: the text begins or ends
	lineEnd
	wordByte
	otherByte
	contexts
)

func contextOf(c byte) context {
	switch {
	case c == '\n':
		return lineEnd
	case syntax.WordsASCII.Has(c):
		return wordByte
	}
	return otherByte
}

// maxStates is how many states a pattern may have, about. What is behind them is
// taken to match.
const maxStates = 60000

// turns are how many turns of a repetition are told apart, and how many of one within
// another: the first that need no more than maxStates are taken.
var turns = [][2]int{{10, 10}, {6, 3}, {3, 2}, {3, 1}, {2, 1}, {1, 1}}

// newNFA makes the automaton of patterns. Their numbers are their places.
func newNFA(trees []*syntax.Node) *nfa {
	a := &nfa{number: map[syntax.Charset]int32{}}
	for id, tree := range trees {
		a.base = len(a.states)
		a.bases = append(a.bases, int32(a.base))
		for _, n := range turns {
			a.states = a.states[:a.base]
			a.unfolded, a.inner = n[0], n[1]
			a.node(tree)
			if len(a.states)-a.base < maxStates {
				break
			}
		}
		a.add(nstate{kind: nAccept, x: int32(id), y: -1})
		a.starts = append(a.starts, int32(a.base))
	}
	a.states = slices.Clone(a.states) // without room for more
	a.drop(len(trees))
	a.classes()
	a.anchored = true
	var w walk
	for prev := range contexts {
		w.begin(len(a.states))
		a.end(&w, a.starts, prev)
		a.anchored = a.anchored && (prev == edge || len(w.found) == 0)
		a.first[prev] = make([][]int32, len(a.member))
		for c := range a.member {
			w.begin(len(a.states))
			a.step(&w, a.starts, prev, uint8(c))
			if found := w.sorted(); prev > 0 && slices.Equal(found, a.first[prev-1][c]) {
				a.first[prev][c] = a.first[prev-1][c]
			} else {
				a.first[prev][c] = slices.Clone(found)
			}
			a.anchored = a.anchored && (prev == edge || len(w.found) == 0)
		}
	}
	return a
}

// drop leaves out patterns that match without a byte: they match everywhere.
func (a *nfa) drop(patterns int) {
	var w walk
	a.free = make([]int32, 0, patterns)
	a.starts = slices.DeleteFunc(a.starts, func(s int32) bool {
		for prev := range contexts {
			for next := range contexts {
				w.begin(len(a.states))
				a.closure(&w, s, prev, next)
				if i := slices.IndexFunc(w.found, func(s int32) bool { return a.states[s].kind == nAccept }); i >= 0 {
					a.free = append(a.free, a.states[w.found[i]].x)
					return true
				}
			}
		}
		return false
	})
}

// add adds a state, and says which.
func (a *nfa) add(s nstate) int32 {
	a.states = append(a.states, s)
	return int32(len(a.states) - 1)
}

func (a *nfa) here() int32 { return int32(len(a.states)) }

// node adds what n accepts; it leads to the state behind it. Lookarounds are taken to
// hold.
func (a *nfa) node(n *syntax.Node) {
	if len(a.states)-a.base >= maxStates {
		return // so what would follow matches
	}
	switch n.Op {
	case syntax.OpSet:
		a.add(nstate{kind: nByte, x: a.here() + 1, y: a.set(n.Set)})
	case syntax.OpCat:
		for _, s := range n.Subs {
			a.node(s)
		}
	case syntax.OpGroup, syntax.OpAtomic:
		a.node(n.Subs[0])
	case syntax.OpAlt:
		a.either(factor(n.Subs))
	case syntax.OpCond:
		a.either(n.Subs[len(n.Subs)-2:])
	case syntax.OpRepeat:
		a.repeat(n)
	case syntax.OpBackref:
		a.loop(&syntax.Node{Op: syntax.OpSet, Set: syntax.AllBytes})
	case syntax.OpAssert:
		if n.Assert < syntax.LatinBoundary {
			a.looks = true
			a.add(nstate{kind: nLook, look: n.Assert, x: a.here() + 1, y: -1})
		}
	case syntax.OpFail:
		a.add(nstate{x: -1, y: -1})
	}
}

func (a *nfa) either(subs []*syntax.Node) {
	var ends []int32
	for i, s := range subs {
		split := int32(-1)
		if i < len(subs)-1 {
			split = a.add(nstate{x: a.here() + 1, y: -1})
		}
		a.node(s)
		ends = append(ends, a.add(nstate{x: -1, y: -1}))
		if split >= 0 {
			a.states[split].y = a.here()
		}
	}
	for _, e := range ends {
		a.states[e].x = a.here()
	}
}

// factor joins alternatives that begin with the same set, and those that are one.
// Their order does not matter here.
func factor(subs []*syntax.Node) []*syntax.Node {
	var order []syntax.Charset
	rest := map[syntax.Charset][]*syntax.Node{}
	var out []*syntax.Node
	var ones syntax.Charset
	for _, s := range subs {
		first, others := s, []*syntax.Node(nil)
		if s.Op == syntax.OpCat && len(s.Subs) > 0 {
			first, others = s.Subs[0], s.Subs[1:]
		}
		switch {
		case first.Op != syntax.OpSet:
			out = append(out, s)
		case len(others) == 0:
			ones.Union(first.Set)
		default:
			if rest[first.Set] == nil {
				order = append(order, first.Set)
			}
			rest[first.Set] = append(rest[first.Set], &syntax.Node{Op: syntax.OpCat, Subs: others})
		}
	}
	for _, set := range order {
		then := rest[set]
		if len(then) > 1 {
			then = []*syntax.Node{{Op: syntax.OpAlt, Subs: then}}
		}
		out = append(out, &syntax.Node{Op: syntax.OpCat, Subs: []*syntax.Node{{Op: syntax.OpSet, Set: set}, then[0]}})
	}
	if ones != (syntax.Charset{}) {
		out = append(out, &syntax.Node{Op: syntax.OpSet, Set: ones})
	}
	return out
}

// set gives the number of a set.
func (a *nfa) set(s syntax.Charset) int32 {
	n, ok := a.number[s]
	if !ok {
		n = int32(len(a.sets))
		a.sets = append(a.sets, s)
		a.number[s] = n
	}
	return n
}

// loop adds n any number of times.
func (a *nfa) loop(n *syntax.Node) {
	split := a.add(nstate{x: a.here() + 1})
	a.node(n)
	a.add(nstate{x: split, y: -1})
	a.states[split].y = a.here()
}

// repeat adds the turns that are told apart one by one; more of them are taken to be
// any number.
func (a *nfa) repeat(n *syntax.Node) {
	if n.Max == 0 {
		return
	}
	apart := a.unfolded
	a.unfolded = a.inner
	defer func() { a.unfolded = apart }()
	if n.Subs[0].Op == syntax.OpSet {
		apart = max(apart, 8)
	}
	last := a.here()
	for range min(n.Min, apart) {
		last = a.here()
		a.node(n.Subs[0])
	}
	switch {
	case n.Min > 0 && (n.Min > apart || n.Max-n.Min > apart):
		again := a.add(nstate{x: last})
		a.states[again].y = a.here()
	case n.Max-n.Min > apart:
		a.loop(n.Subs[0])
	default:
		var splits []int32
		for range n.Max - n.Min {
			splits = append(splits, a.add(nstate{x: a.here() + 1}))
			a.node(n.Subs[0])
		}
		for _, s := range splits {
			a.states[s].y = a.here()
		}
	}
}

// classes puts bytes together that are in the same sets, and in the same context if
// that matters.
func (a *nfa) classes() {
	number := 1
	refine := func(set *syntax.Charset) {
		split := map[uint8]uint8{} // class to that of its bytes in the set
		var size, in [256]int
		for c := range 256 {
			size[a.class[c]]++
			if set.Has(byte(c)) {
				in[a.class[c]]++
			}
		}
		set.Each(func(c byte) {
			old := a.class[c]
			if in[old] == size[old] {
				return
			}
			if _, ok := split[old]; !ok {
				split[old] = uint8(number)
				number++
			}
			a.class[c] = split[old]
		})
	}
	for i := range a.sets {
		refine(&a.sets[i])
	}
	if a.looks {
		newline := syntax.Single('\n')
		refine(&newline)
		refine(&syntax.WordsASCII)
	}
	a.number = nil
	a.member = make([]byte, 0, number)
	renumbered := make([]int, number)
	for _, c := range byFrequency {
		if to := &renumbered[a.class[c]]; *to == 0 {
			a.member = append(a.member, c)
			*to = len(a.member)
		}
	}
	for c := range 256 {
		a.class[c] = uint8(renumbered[a.class[c]] - 1)
	}
}

// walk gathers states.
type walk struct {
	mark   []uint32 // by state: the round in which it was last reached
	round  uint32
	todo   []int32
	found  []int32 // those reached with something to do: bytes, looks that wait, accepts
	before []int32 // those of the place before
	from   []int32 // where a round begins
	work   int     // states looked at, of all rounds
}

var walks = sync.Pool{New: func() any { return &walk{} }}

func (w *walk) begin(states int) {
	if len(w.mark) < states {
		w.mark, w.round = make([]uint32, states), 0
	}
	w.again()
	w.found = w.found[:0]
}

// again forgets which states were reached.
func (w *walk) again() {
	if w.round++; w.round == 0 {
		clear(w.mark)
		w.round = 1
	}
}

// sorted are the states found, each once.
func (w *walk) sorted() []int32 {
	slices.Sort(w.found)
	w.found = slices.Compact(w.found)
	return w.found
}

// unknown stands for a byte that is not known yet.
const unknown = contexts

// closure finds what can be reached from a state without a byte. Assertions wait if
// what follows is unknown.
func (a *nfa) closure(w *walk, from int32, prev, next context) {
	w.todo = append(w.todo[:0], from)
	for len(w.todo) > 0 {
		at := w.todo[len(w.todo)-1]
		w.todo = w.todo[:len(w.todo)-1]
		if at < 0 || w.mark[at] == w.round {
			continue
		}
		w.mark[at] = w.round
		w.work++
		switch s := &a.states[at]; s.kind {
		case nSplit:
			w.todo = append(w.todo, s.y, s.x)
		case nLook:
			if next == unknown {
				w.found = append(w.found, at)
			} else if holds(s.look, prev, next) {
				w.todo = append(w.todo, s.x)
			}
		default:
			w.found = append(w.found, at)
		}
	}
}

// holds says whether an assertion can hold between two contexts.
func holds(a syntax.Assertion, prev, next context) bool {
	switch a {
	case syntax.TextStart:
		return prev == edge
	case syntax.LineStart:
		return prev == edge || prev == lineEnd
	case syntax.TextEnd:
		return next == edge
	case syntax.LastEnd, syntax.LineEnd:
		return next == edge || next == lineEnd
	case syntax.Boundary:
		return (prev == wordByte) != (next == wordByte)
	case syntax.NoBoundary:
		return (prev == wordByte) == (next == wordByte)
	}
	return true
}

// step finds where a byte of a class leads from states, behind a context. What
// matches before the byte is found too.
func (a *nfa) step(w *walk, from []int32, prev context, class uint8) {
	c := a.member[class]
	next := contextOf(c)
	start := len(w.found)
	w.again()
	for _, s := range from {
		switch a.states[s].kind {
		case nByte:
			w.found = append(w.found, s)
		case nAccept: // it was found before
		default:
			a.closure(w, s, prev, next)
		}
	}
	w.before = append(w.before[:0], w.found[start:]...)
	w.found = w.found[:start]
	w.again()
	for _, s := range w.before {
		n := &a.states[s]
		w.work++
		switch {
		case n.kind == nAccept:
			w.found = append(w.found, s)
		case a.sets[n.y].Has(c):
			a.closure(w, n.x, next, unknown)
		}
	}
}

// accepted finds which patterns match in a set of states, and takes their other states
// out of it: whoever gets here knows that they match.
func (a *nfa) accepted(set []int32) (patterns, rest []int32) {
	for _, s := range set {
		if n := &a.states[s]; n.kind == nAccept {
			patterns = append(patterns, n.x)
		}
	}
	if patterns == nil {
		return nil, set
	}
	return patterns, slices.DeleteFunc(set, func(s int32) bool {
		p, found := slices.BinarySearch(a.bases, s)
		if !found {
			p--
		}
		return slices.Contains(patterns, int32(p))
	})
}

// end finds which patterns match where the text ends.
func (a *nfa) end(w *walk, from []int32, prev context) {
	w.again()
	for _, s := range from {
		a.closure(w, s, prev, edge)
	}
	w.found = slices.DeleteFunc(w.found, func(s int32) bool { return a.states[s].kind != nAccept })
}
