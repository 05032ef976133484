package regex

import "mtad/spam/regex/syntax"

// first is the bytes that what follows can start with; known is false if it can
// also be empty, or is not known.
type first struct {
	set   syntax.Charset
	known bool
}

var anyFirst = first{}

func (f first) or(g first) first {
	if !f.known || !g.known {
		return anyFirst
	}
	f.set.Union(g.set)
	return f
}

// pointer is the set, nil if it says nothing.
func (f first) pointer() *syntax.Charset {
	if !f.known || f.set == syntax.AllBytes {
		return nil
	}
	s := f.set
	return &s
}

// firstOf is what n and then what follows it can start with.
func firstOf(n *syntax.Node, follow first) first {
	switch n.Op {
	case syntax.OpSet:
		return first{n.Set, true}
	case syntax.OpCat:
		for i := len(n.Subs) - 1; i >= 0; i-- {
			follow = firstOf(n.Subs[i], follow)
		}
		return follow
	case syntax.OpAlt:
		f := firstOf(n.Subs[0], follow)
		for _, s := range n.Subs[1:] {
			f = f.or(firstOf(s, follow))
		}
		return f
	case syntax.OpRepeat:
		return firstOfRepeat(n, follow)
	case syntax.OpGroup, syntax.OpAtomic:
		return firstOf(n.Subs[0], follow)
	case syntax.OpBackref:
		return anyFirst
	case syntax.OpCond:
		k := len(n.Subs)
		return firstOf(n.Subs[k-2], follow).or(firstOf(n.Subs[k-1], follow))
	case syntax.OpFail:
		return first{syntax.Charset{}, true}
	}
	return follow
}

func firstOfRepeat(n *syntax.Node, follow first) first {
	if n.Max == 0 {
		return follow
	}
	if lo, _ := n.Subs[0].Width(); lo > 0 {
		body := firstOf(n.Subs[0], anyFirst)
		if n.Min > 0 {
			return body
		}
		return body.or(follow)
	}
	// The body can be empty: what follows it is itself, or what is behind.
	return firstOf(n.Subs[0], first{syntax.Charset{}, true}).or(follow)
}

// follows is, for each of a sequence, what comes after it.
func follows(subs []*syntax.Node, follow first) []first {
	out := make([]first, len(subs))
	for i := len(subs) - 1; i >= 0; i-- {
		out[i] = follow
		follow = firstOf(subs[i], follow)
	}
	return out
}
