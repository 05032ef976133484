package sieve

import (
	"container/list"
	"sync"

	lang "mtad/sieve"
)

// cacheOctets bounds the text of all scripts that are kept compiled.
const cacheOctets = 64 << 20

// compiled is a script, or what is wrong with it.
type compiled struct {
	script   *lang.Script // nil if it has errors
	problems lang.Problems
	size     int // of the text
}

func compile(text string, opts lang.Options) *compiled {
	c := &compiled{size: len(text)}
	c.script, c.problems = lang.Compile(text, opts)
	return c
}

// cache keeps compiled scripts by version, the least recently used ones leaving
// first. It is used by many goroutines.
type cache struct {
	count, octets int // limits

	mu      sync.Mutex
	used    int // octets
	order   list.List
	entries map[string]*list.Element
}

type entry struct {
	version string
	*compiled
}

func newCache(count, octets int) *cache {
	return &cache{count: count, octets: octets, entries: map[string]*list.Element{}}
}

// get finds a script; nil if it is not there.
func (c *cache) get(version string) *compiled {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.entries[version]
	if !ok {
		return nil
	}
	c.order.MoveToFront(e)
	return e.Value.(entry).compiled
}

// put keeps a script, and forgets others for it.
func (c *cache) put(version string, s *compiled) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.entries[version]; ok || s.size > c.octets {
		return
	}
	c.entries[version] = c.order.PushFront(entry{version, s})
	c.used += s.size
	for len(c.entries) > c.count || c.used > c.octets {
		e := c.order.Remove(c.order.Back()).(entry)
		delete(c.entries, e.version)
		c.used -= e.size
	}
}
