package directory

import (
	"sync"
	"sync/atomic"

	"mtad/smtp"
)

// maxCached bounds the look-ups that are remembered, maxCachedTargets the size
// of each.
const (
	maxCached        = 10_000
	maxCachedTargets = 20
)

// cache remembers what addresses lead to, until domains, users, aliases or the
// settings change: mail comes for the same few addresses again and again. The
// one process that has the store open makes all the changes.
type cache struct {
	now   atomic.Uint64 // the generation: everything remembered from an earlier one is void
	mu    sync.RWMutex
	known map[smtp.Address]remembered
}

type remembered struct {
	generation uint64
	result     Result // its Targets are read by several; nobody changes them
}

// changed makes everything remembered void. It is called after a change is
// committed; a look-up that read before that is of an earlier generation.
func (c *cache) changed() { c.now.Add(1) }

// generation is asked before the database is.
func (c *cache) generation() uint64 { return c.now.Load() }

func (c *cache) get(a smtp.Address) (Result, bool) {
	c.mu.RLock()
	r, ok := c.known[a]
	c.mu.RUnlock()
	return r.result, ok && r.generation == c.now.Load()
}

func (c *cache) put(a smtp.Address, generation uint64, r Result) {
	if len(r.Targets) > maxCachedTargets {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.known == nil {
		c.known = map[smtp.Address]remembered{}
	}
	if len(c.known) >= maxCached {
		for old := range c.known { // any of them
			delete(c.known, old)
			break
		}
	}
	c.known[a] = remembered{generation, r}
}
