package report

import (
	"cmp"
	"slices"
	"strings"
)

// maxNames is how many names a list tells apart; of more, those that came least
// are forgotten.
const maxNames = 50000

// bounded is a map that does not grow for ever. What comes often stays in it.
type bounded[V any] struct {
	m      map[string]V
	weight func(V) int64
	most   int64 // names at once
	cut    bool  // names were forgotten
}

// get finds what belongs to a name, or makes it.
func (b *bounded[V]) get(name string, fresh func() V) V {
	if b.m == nil {
		b.m = map[string]V{}
	}
	v, ok := b.m[name]
	if ok {
		return v
	}
	if len(b.m) >= maxNames {
		b.halve()
	}
	v = fresh()
	b.m[name] = v
	b.most = max(b.most, int64(len(b.m)))
	return v
}

// halve forgets the half that came least.
func (b *bounded[V]) halve() {
	b.cut = true
	weights := make([]int64, 0, len(b.m))
	for _, v := range b.m {
		weights = append(weights, b.weight(v))
	}
	slices.Sort(weights)
	least, drop := weights[len(weights)/2], len(weights)/2
	for name, v := range b.m {
		if drop > 0 && b.weight(v) <= least {
			delete(b.m, name)
			drop--
		}
	}
}

// seen is how many names came; if cut, at least so many.
func (b *bounded[V]) seen() int64 { return b.most }

// top are the n heaviest, the heaviest first; those without weight are left out.
func (b *bounded[V]) top(n int, by func(V) int64) []V {
	type named struct {
		name string
		v    V
	}
	var all []named
	for name, v := range b.m {
		if by(v) > 0 {
			all = append(all, named{name, v})
		}
	}
	slices.SortFunc(all, func(x, y named) int {
		return cmp.Or(cmp.Compare(by(y.v), by(x.v)), strings.Compare(x.name, y.name))
	})
	out := []V{}
	for _, x := range all[:min(n, len(all))] {
		out = append(out, x.v)
	}
	return out
}
