package bayes

import (
	"context"
	"sync"
)

// Memory is a store that ends with the program: for tests, and to look into backups.
// Use NewMemory. It may be shared between goroutines.
type Memory struct {
	mu     sync.RWMutex
	totals Totals
	tokens map[Hash]Count
	seen   map[string]Class
}

// NewMemory makes an empty store.
func NewMemory() *Memory { return &Memory{tokens: map[Hash]Count{}, seen: map[string]Class{}} }

// View implements Store.
func (m *Memory) View(_ context.Context, f func(Reader) error) error {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return f(memoryTx{m, nil})
}

// Update implements Store.
func (m *Memory) Update(_ context.Context, f func(Writer) error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	u := &undo{totals: m.totals, tokens: map[Hash]Count{}, seen: map[string]Class{}}
	err := f(memoryTx{m, u})
	if err != nil {
		u.restore(m)
	}
	return err
}

// undo is what was there before.
type undo struct {
	totals Totals
	tokens map[Hash]Count
	seen   map[string]Class
	// whole: tokens and seen are all there was.
	whole bool
}

func (u *undo) restore(m *Memory) {
	m.totals = u.totals
	if u.whole {
		m.tokens, m.seen = u.tokens, u.seen
		return
	}
	for h, c := range u.tokens {
		m.put(h, c)
	}
	for id, c := range u.seen {
		m.mark(id, c)
	}
}

func (m *Memory) put(h Hash, c Count) {
	if c.none() {
		delete(m.tokens, h)
	} else {
		m.tokens[h] = c
	}
}

func (m *Memory) mark(id string, c Class) {
	if c == None {
		delete(m.seen, id)
	} else {
		m.seen[id] = c
	}
}

// memoryTx is what View and Update give; undo is nil to read only.
type memoryTx struct {
	*Memory
	undo *undo
}

func (tx memoryTx) Counts(tokens []Hash) (Totals, []Count, error) {
	if len(tokens) == 0 {
		return tx.totals, nil, nil
	}
	out := make([]Count, len(tokens))
	for i, h := range tokens {
		out[i] = tx.tokens[h]
	}
	return tx.totals, out, nil
}

func (tx memoryTx) Seen(id string) (Class, error) { return tx.seen[id], nil }

func (tx memoryTx) Each(token func(Entry) error, message func(string, Class) error) error {
	if token != nil {
		for h, c := range tx.tokens {
			if err := token(Entry{h, c}); err != nil {
				return err
			}
		}
	}
	if message != nil {
		for id, c := range tx.seen {
			if err := message(id, c); err != nil {
				return err
			}
		}
	}
	return nil
}

func (tx memoryTx) Put(t Totals, entries []Entry) error {
	tx.totals = t
	for _, e := range entries {
		if _, kept := tx.undo.tokens[e.Hash]; !kept && !tx.undo.whole {
			tx.undo.tokens[e.Hash] = tx.tokens[e.Hash]
		}
		tx.put(e.Hash, e.Count)
	}
	return nil
}

func (tx memoryTx) Mark(id string, c Class) error {
	if _, kept := tx.undo.seen[id]; !kept && !tx.undo.whole {
		tx.undo.seen[id] = tx.seen[id]
	}
	tx.mark(id, c)
	return nil
}

func (tx memoryTx) Clear() error {
	if u := tx.undo; !u.whole {
		u.restore(tx.Memory)
		u.tokens, u.seen, u.whole = tx.tokens, tx.seen, true
	}
	tx.totals, tx.tokens, tx.seen = Totals{}, map[Hash]Count{}, map[string]Class{}
	return nil
}
