package journal

import (
	"context"
	"sync"

	"mtad/internal/invariants"
)

// backlog knows which records are outstanding, in the order they stand in the
// journal, and makes appenders wait when they are too much.
type backlog struct {
	limit int64

	mu     sync.Mutex
	items  []outstanding    // in order; done ones at the front are dropped
	first  int              // absolute index of items[0]
	index  map[Position]int // absolute index by start
	octets int64            // reserved or outstanding
	last   Position         // behind the newest record
	room   chan struct{}    // closed when octets shrink or at the end
	closed bool
}

type outstanding struct {
	place Place
	done  bool
}

func newBacklog(limit int64) *backlog {
	return &backlog{limit: limit, index: map[Position]int{}, room: make(chan struct{})}
}

// reserve waits for room. A record above the whole limit goes alone.
func (b *backlog) reserve(ctx context.Context, size int64) error {
	for {
		b.mu.Lock()
		room := b.room
		switch {
		case b.closed:
			b.mu.Unlock()
			return ErrClosed
		case b.octets == 0 || b.octets+size <= b.limit:
			b.octets += size
			b.mu.Unlock()
			return nil
		}
		b.mu.Unlock()
		select {
		case <-room:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// release takes back a reservation that came to nothing.
func (b *backlog) release(size int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.shrink(size)
}

func (b *backlog) shrink(size int64) {
	if size == 0 {
		return
	}
	b.octets -= size
	close(b.room)
	b.room = make(chan struct{})
}

func (b *backlog) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	b.shrink(0)
	close(b.room)
	b.room = make(chan struct{})
}

// add makes a reserved record outstanding.
func (b *backlog) add(p Place) {
	b.mu.Lock()
	defer b.mu.Unlock()
	// Invariant: outstanding records are in the order of the journal.
	if n := len(b.items); invariants.Enabled && n > 0 && p.Start().Before(b.items[n-1].place.End()) {
		invariants.Broken("journal: record at %v is outstanding after the one at %v", p, b.items[n-1].place)
	}
	b.index[p.Start()] = b.first + len(b.items)
	b.items = append(b.items, outstanding{place: p})
	b.last = p.End()
}

// restore is reserve and add without waiting.
func (b *backlog) restore(p Place) {
	last := b.end()
	b.add(p)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.octets += p.Length
	if b.last.Before(last) {
		b.last = last
	}
}

// skip moves the end behind a record that never was outstanding.
func (b *backlog) skip(p Place) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.last = p.End()
}

func (b *backlog) done(places []Place) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var freed int64
	for _, p := range places {
		i, ok := b.index[p.Start()]
		if !ok {
			continue
		}
		delete(b.index, p.Start())
		b.items[i-b.first].done = true
		freed += p.Length
	}
	n := 0
	for n < len(b.items) && b.items[n].done {
		n++
	}
	b.first += n
	b.items = b.items[n:]
	if len(b.items) == 0 {
		b.items = nil
	}
	b.shrink(freed)
}

// unfinished lists the records that are outstanding, in order.
func (b *backlog) unfinished() (places []Place) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, o := range b.items {
		if !o.done {
			places = append(places, o.place)
		}
	}
	return places
}

// mark is the start of the first record that is neither done nor in done, or
// the end of the journal.
func (b *backlog) mark(done []Place) Position {
	b.mu.Lock()
	defer b.mu.Unlock()
	also := make(map[Position]bool, len(done))
	for _, p := range done {
		also[p.Start()] = true
	}
	for _, it := range b.items {
		if !it.done && !also[it.place.Start()] {
			return it.place.Start()
		}
	}
	return b.last
}

func (b *backlog) end() Position {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.last
}

func (b *backlog) size() (int, int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.index), b.octets
}
