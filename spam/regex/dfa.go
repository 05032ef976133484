package regex

import (
	"slices"
	"sync"
	"sync/atomic"
	"weak"

	"mtad/spam/regex/syntax"
)

// dfa says of texts, a byte a step, which of some patterns they can match: it never
// leaves out one that does match. Its states are made when a text leads to them, and
// are shared by all goroutines.
type dfa struct {
	once     sync.Once
	patterns []*Regexp
	ids      []int32 // their numbers in the filter
	nfa      *nfa
	width    int // of a state's row in the table
	cache    *Cache
	states   atomic.Pointer[dstates]
}

// Cache bounds the memory of the automata of filters together. When it is used up, all
// begin anew; goroutines that are at work with what they had keep that until their
// text ends. It can be used by several goroutines.
type Cache struct {
	limit   int64
	used    atomic.Int64
	mu      sync.Mutex
	members []weak.Pointer[dfa] // those of filters that are gone leave at times
	sweep   int                 // how many members make it time
}

// DefaultCache is the limit of a cache of zero bytes.
const DefaultCache = 20 << 20

// NewCache makes a cache of so many bytes, about.
func NewCache(limit int64) *Cache {
	if limit <= 0 {
		limit = DefaultCache
	}
	return &Cache{limit: limit}
}

// Used is about how many bytes are in use.
func (c *Cache) Used() int64 { return c.used.Load() }

func (c *Cache) join(d *dfa) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.members = append(c.members, weak.Make(d)); len(c.members) < max(c.sweep, 64) {
		return
	}
	c.members = slices.DeleteFunc(c.members, func(m weak.Pointer[dfa]) bool { return m.Value() == nil })
	c.sweep = 2 * len(c.members)
}

// clear drops all states.
func (c *Cache) clear() {
	c.mu.Lock()
	for _, m := range c.members {
		if d := m.Value(); d != nil {
			d.states.Store(nil)
		}
	}
	c.used.Store(0)
	c.mu.Unlock()
}

// dstates are the states made so far.
type dstates struct {
	table atomic.Pointer[[]uint32]  // by row+class: what follows a state
	hits  atomic.Pointer[[]arrival] // by state
	mu    sync.Mutex
	list  []dstate // the first stands for what has not been made
	index map[string]uint32
	key   []byte
	start uint32
}

// arrival is what becomes known when a state is reached.
type arrival struct {
	patterns []int32 // they match
	dead     bool    // nothing else will match
}

// dstate is a set of states of the nfa between two bytes; that a match can start
// anywhere is understood.
type dstate struct {
	key   string  // in the index; the set is behind the first octets of it
	head  int32   // how many
	ends  []int32 // which patterns match if the text ends there
	ended bool    // ends is known
	prev  context
}

// set gives the states of the nfa, in the memory of buf.
func (s *dstate) set(buf []int32) []int32 {
	buf = buf[:0]
	for k := s.key[s.head:]; len(k) > 0; k = k[3:] {
		buf = append(buf, int32(k[0])|int32(k[1])<<8|int32(k[2])<<16)
	}
	return buf
}

// What stands in the table: zero if it is not known; else the place of the next
// state's row, and marks.
const (
	plainStep = 1 // nothing matches there
	stepShift = 1
)

// maxEffort is how much work scans may spend on making states, for one Candidates
// between two calls of Renew. Beyond that only what is made already is used.
const maxEffort = 3_000_000

func newDFA(patterns []*Regexp, ids []int32, cache *Cache) *dfa {
	d := &dfa{patterns: patterns, ids: ids, cache: cache}
	cache.join(d)
	return d
}

// scan adds the patterns that the text can match.
func (d *dfa) scan(text []byte, out *Candidates) {
	d.ready()
	for _, p := range d.nfa.free {
		out.add(d.ids[p])
	}
	s := d.states.Load()
	if s == nil {
		s = d.fresh()
	}
	class, at := &d.nfa.class, s.start
	table := *s.table.Load()
	for _, b := range text {
		n := atomic.LoadUint32(&table[at+uint32(class[b])])
		if n&plainStep == 0 {
			if n == 0 {
				if out.work > maxEffort {
					d.all(out)
					return
				}
				s, n = d.make(s, at, class[b], &out.work)
				table = *s.table.Load()
			}
			a := &(*s.hits.Load())[int(n>>stepShift)/d.width]
			for _, p := range a.patterns {
				out.add(d.ids[p])
			}
			if a.dead {
				return
			}
		}
		at = n >> stepShift
	}
	for _, p := range d.ends(s, at) {
		out.add(d.ids[p])
	}
}

// ready makes the automaton of the patterns, once.
func (d *dfa) ready() {
	d.once.Do(func() {
		trees := make([]*syntax.Node, len(d.patterns))
		for i, re := range d.patterns {
			trees[i] = re.tree()
		}
		d.nfa = newNFA(trees)
		d.width = rowWidth(len(d.nfa.member))
	})
}

func (d *dfa) all(out *Candidates) {
	for _, id := range d.ids {
		out.add(id)
	}
}

func (d *dfa) fresh() *dstates {
	w := d.width
	s := &dstates{index: map[string]uint32{}, list: make([]dstate, 1)}
	table := make([]uint32, w*64)
	s.table.Store(&table)
	hits := make([]arrival, 1)
	s.hits.Store(&hits)
	s.start = d.state(s, nil, nil, edge)
	if !d.states.CompareAndSwap(nil, s) {
		if now := d.states.Load(); now != nil {
			return now
		}
	}
	return s
}

// ends are the patterns that match if the text ends at the state of a row.
func (d *dfa) ends(s *dstates, row uint32) []int32 {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := &s.list[int(row)/d.width]
	if !at.ended {
		at.ended = true
		w := walks.Get().(*walk)
		defer walks.Put(w)
		w.begin(len(d.nfa.states))
		w.from = at.set(w.from)
		d.nfa.end(w, w.from, at.prev)
		d.nfa.end(w, d.nfa.starts, at.prev)
		for _, n := range w.sorted() {
			at.ends = append(at.ends, d.nfa.states[n].x)
		}
	}
	return at.ends
}

// make makes the step from a row by a class. If the cache is full all begins anew, and
// the states are others then.
func (d *dfa) make(s *dstates, row uint32, class uint8, work *int) (*dstates, uint32) {
	s.mu.Lock()
	from := s.list[int(row)/d.width]
	if d.cache.used.Load() > d.cache.limit {
		s.mu.Unlock()
		d.cache.clear()
		s = d.fresh()
		s.mu.Lock()
		row = d.state(s, from.set(nil), nil, from.prev)
	}
	defer s.mu.Unlock()
	table := *s.table.Load()
	if n := table[row+uint32(class)]; n != 0 {
		return s, n
	}
	w := walks.Get().(*walk)
	defer walks.Put(w)
	w.work = 0
	w.begin(len(d.nfa.states))
	w.found = append(w.found, d.nfa.first[from.prev][class]...)
	w.from = from.set(w.from)
	d.nfa.step(w, w.from, from.prev, class)
	*work += w.work + len(w.found) + 20
	prev := otherByte
	if d.nfa.looks {
		prev = contextOf(d.nfa.member[class])
	}
	patterns, rest := d.nfa.accepted(w.sorted())
	to := d.state(s, rest, patterns, prev)
	n := to << stepShift
	if a := (*s.hits.Load())[int(to)/d.width]; len(a.patterns) == 0 && !a.dead {
		n |= plainStep
	}
	atomic.StoreUint32(&(*s.table.Load())[row+uint32(class)], n)
	return s, n
}

// state finds or makes the state of a set where patterns match, and gives its row. The caller holds the
// lock.
func (d *dfa) state(s *dstates, set, patterns []int32, prev context) uint32 {
	s.key = append(s.key[:0], byte(prev))
	for _, p := range patterns {
		s.key = append(s.key, byte(p), byte(p>>8))
	}
	s.key = append(s.key, 0xFF, 0xFF)
	head := int32(len(s.key))
	for _, n := range set {
		s.key = append(s.key, byte(n), byte(n>>8), byte(n>>16))
	}
	if row, ok := s.index[string(s.key)]; ok {
		return row
	}
	w := d.width
	row := uint32(len(s.list) * w)
	done := len(set) == 0 && (d.nfa.anchored && prev != edge || len(patterns) == len(d.ids))
	hits := append(*s.hits.Load(), arrival{patterns, done})
	s.hits.Store(&hits)
	key := string(s.key)
	s.list = append(s.list, dstate{key: key, head: head, prev: prev})
	s.index[key] = row
	if old := *s.table.Load(); len(old) < int(row)+w {
		table := make([]uint32, 2*len(old))
		copy(table, old)
		s.table.Store(&table)
	}
	d.cache.used.Add(int64(250 + 6*w + 3*len(set)))
	return row
}
