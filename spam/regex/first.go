package regex

// first is the bytes that what follows can start with; known is false if it can
// also be empty, or is not known.
type first struct {
	set   charset
	known bool
}

var anyFirst = first{}

func (f first) or(g first) first {
	if !f.known || !g.known {
		return anyFirst
	}
	f.set.union(g.set)
	return f
}

// pointer is the set, nil if it says nothing.
func (f first) pointer() *charset {
	if !f.known || f.set == allBytes {
		return nil
	}
	s := f.set
	return &s
}

// firstOf is what n and then what follows it can start with.
func firstOf(n *node, follow first) first {
	switch n.kind {
	case kSet:
		return first{n.set, true}
	case kCat:
		for i := len(n.subs) - 1; i >= 0; i-- {
			follow = firstOf(n.subs[i], follow)
		}
		return follow
	case kAlt:
		f := firstOf(n.subs[0], follow)
		for _, s := range n.subs[1:] {
			f = f.or(firstOf(s, follow))
		}
		return f
	case kRepeat:
		return firstOfRepeat(n, follow)
	case kGroup, kAtomic:
		return firstOf(n.subs[0], follow)
	case kBackref:
		return anyFirst
	case kCond:
		k := len(n.subs)
		return firstOf(n.subs[k-2], follow).or(firstOf(n.subs[k-1], follow))
	case kFail:
		return first{charset{}, true}
	}
	return follow
}

func firstOfRepeat(n *node, follow first) first {
	if n.max == 0 {
		return follow
	}
	if lo, _ := n.subs[0].width(); lo > 0 {
		body := firstOf(n.subs[0], anyFirst)
		if n.min > 0 {
			return body
		}
		return body.or(follow)
	}
	// The body can be empty: what follows it is itself, or what is behind.
	return firstOf(n.subs[0], first{charset{}, true}).or(follow)
}

// follows is, for each of a sequence, what comes after it.
func follows(subs []*node, follow first) []first {
	out := make([]first, len(subs))
	for i := len(subs) - 1; i >= 0; i-- {
		out[i] = follow
		follow = firstOf(subs[i], follow)
	}
	return out
}
