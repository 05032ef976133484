package sieve

// index is the tags :index and :last (RFC 5260, 6).
var index = extension{
	name: "index", rfc: "5260",
	tags: []tagRow{
		{name: "index", on: []string{"header", "address", "date"}, takes: kindNumber, check: checkIndex},
		{name: "last", on: []string{"header", "address", "date"}},
	},
}

func checkIndex(c *checker, v value) {
	if v.num < 1 {
		c.errorf(v.at, "fields are counted from 1")
	}
}

// position is which field of a name is meant; the zero position is each.
type position struct {
	n    int64 // from 1
	last bool  // counted from the end
}

// index is the position that a test or command names.
func (c *checker) index(b *bound) position {
	n, last := b.option("index"), b.option("last")
	switch {
	case n != nil:
		return position{n.val.num, last != nil}
	case last != nil:
		c.errorf(last.at, ":last goes with :index").Hint = "write :index 1 :last for the last field"
	}
	return position{}
}

// gather brings the fields of several names together, for each entity: where they
// are counted, they are so in the order of the names (RFC 5260, 6).
type gather[T any] struct {
	at    position
	lists [][]T // by entity
}

// add keeps the fields of an entity; false if they need not be counted.
func (g *gather[T]) add(entity int, fields []T) bool {
	if g.at.n == 0 {
		return false
	}
	for len(g.lists) <= entity {
		g.lists = append(g.lists, nil)
	}
	g.lists[entity] = append(g.lists[entity], fields...)
	return true
}

// pick is the part of a list that is at the position.
func pick[T any](list []T, at position) []T {
	i := at.place(len(list))
	switch {
	case at.n == 0:
		return list
	case i < 0:
		return nil
	}
	return list[i : i+1]
}

// place is the position in a list of n, from 0; -1 if it has none there.
func (p position) place(n int) int {
	switch {
	case p.n == 0 || p.n > int64(n):
		return -1
	case p.last:
		return n - int(p.n)
	}
	return int(p.n) - 1
}
