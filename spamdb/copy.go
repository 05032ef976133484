package spamdb

import (
	"context"
	"sync"

	"mtad/spam/bayes"
	"mtad/store"
)

// maxCopied bounds the tokens that are kept in memory; of an owner who has more all are
// looked up in the database.
const maxCopied = 500_000

// memory is a copy of an owner's tokens, so that what is asked for every message is not
// asked of the database. It follows what is committed.
type memory struct {
	mu     sync.RWMutex
	state  copyState
	totals bayes.Totals
	tokens map[int64]packed
	late   []change // committed while it was read
}

type copyState int

const (
	absent copyState = iota // or too large
	reading
	whole
)

// packed is a bayes.Count in half the room.
type packed struct {
	spam, ham uint32
	atime     int64
}

// change is what one transaction has changed.
type change struct {
	cleared bool
	entries []bayes.Entry
	totals  bayes.Totals
}

// load reads all there is.
func (m *memory) load(ctx context.Context, b *Bayes) error {
	m.mu.Lock()
	m.state, m.late = reading, nil
	m.mu.Unlock()
	var totals bayes.Totals
	var tokens map[int64]packed
	err := b.inDatabase(ctx, func(tx *bayesTx) error {
		totals = tx.totals
		if totals.Tokens > maxCopied {
			return nil
		}
		tokens = make(map[int64]packed, totals.Tokens)
		return tx.Each(func(e bayes.Entry) error {
			tokens[key(e.Hash)] = pack(e.Count)
			return nil
		}, nil)
	})
	m.mu.Lock()
	defer m.mu.Unlock()
	if err != nil || tokens == nil {
		m.drop()
		return err
	}
	m.state, m.totals, m.tokens = whole, totals, tokens
	for _, c := range m.late {
		m.apply(c)
	}
	m.late = nil
	return nil
}

func (m *memory) drop() { m.state, m.tokens, m.late = absent, nil, nil }

func pack(c bayes.Count) packed {
	const most = 1<<32 - 1
	return packed{uint32(min(c.Spam, most)), uint32(min(c.Ham, most)), c.ATime}
}

// committed follows a transaction. What is committed while the copy is read is applied
// behind it, whether the reading saw it or not.
func (m *memory) committed(c change) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch m.state {
	case reading:
		if m.late = append(m.late, c); len(m.late) > maxCopied/100 {
			m.drop()
		}
	case whole:
		m.apply(c)
	}
}

func (m *memory) apply(c change) {
	if c.cleared {
		m.tokens = map[int64]packed{}
	}
	for _, e := range c.entries {
		if e.Spam == 0 && e.Ham == 0 {
			delete(m.tokens, key(e.Hash))
		} else {
			m.tokens[key(e.Hash)] = pack(e.Count)
		}
	}
	m.totals = c.totals
	if len(m.tokens) > maxCopied {
		m.drop()
	}
}

// counts answers bayes.Reader's Counts; ok is false if there is no copy.
func (m *memory) counts(tokens []bayes.Hash) (t bayes.Totals, out []bayes.Count, ok bool) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if m.state != whole {
		return t, nil, false
	}
	out = make([]bayes.Count, len(tokens))
	for i, h := range tokens {
		if p, found := m.tokens[key(h)]; found {
			out[i] = bayes.Count{Spam: int64(p.spam), Ham: int64(p.ham), ATime: p.atime}
		}
	}
	return m.totals, out, true
}

// stale are those of the tokens that were last of use before a time, as far as is known.
func (m *memory) stale(tokens []bayes.Hash, before int64) []bayes.Hash {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if m.state != whole {
		return tokens
	}
	var out []bayes.Hash
	for _, h := range tokens {
		if p, ok := m.tokens[key(h)]; ok && p.atime < before {
			out = append(out, h)
		}
	}
	return out
}

// reader reads from the copy what is there, and the rest from the database.
type reader struct {
	*Bayes
	ctx context.Context
}

// Counts implements bayes.Reader.
func (r reader) Counts(tokens []bayes.Hash) (t bayes.Totals, out []bayes.Count, err error) {
	if t, out, ok := r.memory.counts(tokens); ok {
		return t, out, nil
	}
	err = r.inDatabase(r.ctx, func(tx *bayesTx) (err error) {
		t, out, err = tx.Counts(tokens)
		return err
	})
	return t, out, err
}

// Seen implements bayes.Reader.
func (r reader) Seen(id string) (c bayes.Class, err error) {
	err = r.inDatabase(r.ctx, func(tx *bayesTx) (err error) {
		c, err = tx.Seen(id)
		return err
	})
	return c, err
}

// Each implements bayes.Reader.
func (r reader) Each(token func(bayes.Entry) error, message func(string, bayes.Class) error) error {
	return r.inDatabase(r.ctx, func(tx *bayesTx) error { return tx.Each(token, message) })
}

// inDatabase calls f with what the database has.
func (b *Bayes) inDatabase(ctx context.Context, f func(*bayesTx) error) error {
	return b.db.View(ctx, func(tx *store.Tx) error {
		own, err := b.find(tx)
		if err != nil {
			return err
		}
		return f(&bayesTx{tx: tx, owned: own, limit: b.limit})
	})
}
