package syntax

// Op is what a node of the syntax tree is.
type Op uint8

const (
	OpEmpty   Op = iota // the empty text
	OpSet               // one byte of Set
	OpCat               // Subs, one behind the other
	OpAlt               // one of Subs, the first that leads to a match
	OpRepeat            // Subs[0], Min to Max times, by Mode
	OpGroup             // Subs[0], captured as group N
	OpAtomic            // Subs[0], to which nothing comes back
	OpAhead             // Subs[0] matches from here on; with Not, it does not
	OpBehind            // Subs[0] matches up to here; with Not, it does not
	OpBackref           // what the first of the groups Refs that is set has matched
	OpAssert            // Assert holds
	OpCond              // Subs are a look, if N is -1, and what is matched if it, or group N, matches, and else
	OpKeep              // \K
	OpFail              // nothing
)

// Assertion is a condition on a place in the text.
type Assertion uint8

const (
	TextStart Assertion = iota // \A, ^
	LineStart                  // ^ under /m
	TextEnd                    // \z
	LastEnd                    // \Z, $
	LineEnd                    // $ under /m
	Boundary                   // \b
	NoBoundary
	LatinBoundary // \b under /u
	LatinNoBoundary
	From // \G
)

// Mode is how a repetition goes on.
type Mode uint8

const (
	Greedy     Mode = iota // as often as possible first
	Lazy                   // as seldom as possible first
	Possessive             // as often as possible, and never less
)

// Infinite is the upper bound of a repetition without one.
const Infinite = 1<<31 - 1

// Node is one node of the syntax tree.
type Node struct {
	Op       Op
	Set      Charset
	Fold     bool // OpBackref: the case does not matter
	Latin    bool // OpBackref: folding is Latin-1's
	Not      bool // OpAhead, OpBehind
	Assert   Assertion
	Mode     Mode
	Min, Max int
	N        int   // the group of OpGroup and OpCond, which may ask for one that does not exist; -1: OpCond has a look
	Refs     []int // groups from 1 on; OpCond has N there, or all of a name
	Subs     []*Node
}

// Width is the least and greatest length of what a node matches; hi is
// Infinite if there is no bound that is known.
func (n *Node) Width() (lo, hi int) {
	switch n.Op {
	case OpSet:
		return 1, 1
	case OpCat:
		for _, s := range n.Subs {
			l, h := s.Width()
			lo, hi = sum(lo, l), sum(hi, h)
		}
		return lo, hi
	case OpAlt:
		return widest(n.Subs)
	case OpRepeat:
		if n.Max == 0 {
			return 0, 0
		}
		l, h := n.Subs[0].Width()
		return Product(l, n.Min), Product(h, n.Max)
	case OpGroup, OpAtomic:
		return n.Subs[0].Width()
	case OpBackref:
		return 0, Infinite
	case OpCond:
		return widest(n.Subs[len(n.Subs)-2:])
	}
	return 0, 0
}

func widest(subs []*Node) (lo, hi int) {
	lo = Infinite
	for _, s := range subs {
		l, h := s.Width()
		lo, hi = min(lo, l), max(hi, h)
	}
	return lo, hi
}

func sum(a, b int) int { return min(a+b, Infinite) }

// Product multiplies what is not negative; Infinite is the most.
func Product(a, b int) int {
	if a == 0 || b == 0 {
		return 0
	}
	if a >= Infinite/b {
		return Infinite
	}
	return a * b
}

// Any reports whether f holds for a node of the tree.
func (n *Node) Any(f func(*Node) bool) bool {
	if f(n) {
		return true
	}
	for _, s := range n.Subs {
		if s.Any(f) {
			return true
		}
	}
	return false
}
