package regex

// kind is what a node of the syntax tree is.
type kind uint8

const (
	kEmpty kind = iota
	kSet        // one byte of set
	kCat
	kAlt
	kRepeat
	kGroup // capture n
	kAtomic
	kAhead
	kBehind
	kBackref // of any of refs: the first one that is set
	kAssert
	kCond // subs: [look,] yes, no
	kKeep // \K
	kFail
)

// assertion is a condition on a place in the text.
type assertion uint8

const (
	aTextStart assertion = iota // \A, ^
	aLineStart                  // ^ under /m
	aTextEnd                    // \z
	aLastEnd                    // \Z, $
	aLineEnd                    // $ under /m
	aBoundary                   // \b
	aNoBoundary
	aLatinBoundary // \b under /u
	aLatinNoBoundary
	aFrom // \G
)

// mode is how a repetition goes on.
type mode uint8

const (
	greedy mode = iota
	lazy
	possessive
)

// infinite is the upper bound of a repetition without one.
const infinite = 1<<31 - 1

// node is one node of the syntax tree.
type node struct {
	kind     kind
	set      charset
	fold     bool // kBackref
	latin    bool // kBackref: folding is Latin-1's
	not      bool // kAhead, kBehind
	assert   assertion
	mode     mode
	min, max int
	n        int // the group of kGroup and kCond; -1: kCond has a look
	refs     []int
	subs     []*node
}

// width is the least and greatest length of what a node matches; hi is
// infinite if there is no bound that is known.
func (n *node) width() (lo, hi int) {
	switch n.kind {
	case kSet:
		return 1, 1
	case kCat:
		for _, s := range n.subs {
			l, h := s.width()
			lo, hi = sum(lo, l), sum(hi, h)
		}
		return lo, hi
	case kAlt:
		return widest(n.subs)
	case kRepeat:
		if n.max == 0 {
			return 0, 0
		}
		l, h := n.subs[0].width()
		return product(l, n.min), product(h, n.max)
	case kGroup, kAtomic:
		return n.subs[0].width()
	case kBackref:
		return 0, infinite
	case kCond:
		return widest(n.subs[len(n.subs)-2:])
	}
	return 0, 0
}

func widest(subs []*node) (lo, hi int) {
	lo = infinite
	for _, s := range subs {
		l, h := s.width()
		lo, hi = min(lo, l), max(hi, h)
	}
	return lo, hi
}

func sum(a, b int) int { return min(a+b, infinite) }

func product(a, b int) int {
	if a == 0 || b == 0 {
		return 0
	}
	if a >= infinite/b {
		return infinite
	}
	return a * b
}

// any reports whether f holds for a node of the tree.
func (n *node) any(f func(*node) bool) bool {
	if f(n) {
		return true
	}
	for _, s := range n.subs {
		if s.any(f) {
			return true
		}
	}
	return false
}
