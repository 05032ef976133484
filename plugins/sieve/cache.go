package sieve

import (
	"container/list"
	"errors"
	"io/fs"
	"sync"

	lang "mtad/sieve"
)

// cacheOctets bounds the text of all scripts that are kept compiled.
const cacheOctets = 64 << 20

// compiled is a script, or what is wrong with it.
type compiled struct {
	script   *lang.Script // nil if it has errors
	problems lang.Problems
	err      error      // a script that it includes could not be read now
	included []included // in the order they were asked for
	size     int        // of the text, with what it includes
}

// included is a script that another one asked for when it was compiled.
type included struct {
	location, name string
	text           string
	missing        bool
}

func compile(text string, opts lang.Options) *compiled {
	c := &compiled{size: len(text)}
	include := opts.Include
	opts.Include = func(location, name string) (string, error) {
		text, err := include(location, name)
		i := included{location, name, text, errors.Is(err, fs.ErrNotExist)}
		if err != nil && !i.missing {
			c.err = err
		}
		c.included = append(c.included, i)
		c.size += len(text)
		return text, err
	}
	c.script, c.problems = lang.Compile(text, opts)
	return c
}

// stale reports whether a script that this one includes has changed, or come or
// gone.
func (c *compiled) stale(include func(location, name string) (string, error)) bool {
	for _, i := range c.included {
		text, err := include(i.location, i.name)
		if text != i.text || i.missing != errors.Is(err, fs.ErrNotExist) {
			return true
		}
	}
	return false
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
	if s.size > c.octets {
		return
	}
	if e, ok := c.entries[version]; ok {
		c.used += s.size - e.Value.(entry).size
		e.Value = entry{version, s}
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
