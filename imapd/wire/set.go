package wire

import (
	"cmp"
	"slices"
	"strconv"
)

// Star stands for "*", the largest number in use, in a Range.
const Star = 0

// Range is the numbers from From to To, both included, in either order.
type Range struct{ From, To uint32 }

// Set is a sequence set as it was written (RFC 3501, 9: sequence-set).
type Set []Range

// Set takes a sequence set.
func (r *Reader) Set() Set {
	var set Set
	for {
		from := r.setNumber()
		to := from
		if r.Accept(':') {
			to = r.setNumber()
		}
		if r.err != nil {
			return nil
		}
		set = append(set, Range{from, to})
		if !r.Accept(',') {
			return set
		}
	}
}

func (r *Reader) setNumber() uint32 {
	if r.Accept('*') {
		return Star
	}
	return r.NonZero()
}

// Highest is the largest number written in the set, Star apart.
func (s Set) Highest() uint32 {
	var top uint32
	for _, g := range s {
		top = max(top, g.From, g.To)
	}
	return top
}

// Resolve puts last for "*" and returns the set sorted, without overlaps, each
// range ascending. A set with "*" is empty where last is 0; "N:*" with N beyond
// last is last alone (RFC 3501, 9: seq-range).
func (s Set) Resolve(last uint32) Set {
	out := make(Set, 0, len(s))
	for _, g := range s {
		if (g.From == Star || g.To == Star) && last == 0 {
			continue
		}
		if g.From == Star {
			g.From = last
		}
		if g.To == Star {
			g.To = last
		}
		out = append(out, Range{min(g.From, g.To), max(g.From, g.To)})
	}
	slices.SortFunc(out, func(a, b Range) int { return cmp.Compare(a.From, b.From) })
	merged := out[:0]
	for _, g := range out {
		if n := len(merged); n > 0 && uint64(g.From) <= uint64(merged[n-1].To)+1 {
			merged[n-1].To = max(merged[n-1].To, g.To)
			continue
		}
		merged = append(merged, g)
	}
	return merged
}

// Contains reports whether n is in a resolved set.
func (s Set) Contains(n uint32) bool {
	i, found := slices.BinarySearchFunc(s, n, func(g Range, n uint32) int {
		if g.To < n {
			return -1
		}
		if g.From > n {
			return 1
		}
		return 0
	})
	return found && i < len(s)
}

// AppendSet adds numbers in their order as a sequence set; neighbours that
// ascend by one become a range.
func AppendSet[T ~uint32](b []byte, numbers []T) []byte {
	for i := 0; i < len(numbers); {
		j := i + 1
		for j < len(numbers) && numbers[j] == numbers[j-1]+1 {
			j++
		}
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendUint(b, uint64(numbers[i]), 10)
		if j-i > 1 {
			b = append(b, ':')
			b = strconv.AppendUint(b, uint64(numbers[j-1]), 10)
		}
		i = j
	}
	return b
}
