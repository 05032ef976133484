package spamdb

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"mtad/spam/bayes"
	"mtad/store"
)

// maxMessages is how many messages an owner's Bayes knows to be learned; beyond these
// the one that was learned first may be learned twice.
const maxMessages = 1_000_000

// Site is the owner of what all learn together.
const Site = ""

// Bayes is what one owner has learned. It may be used by several goroutines. A function
// given to View or Update may run more than once.
type Bayes struct {
	db     *store.DB
	owner  string
	limit  int64
	memory *memory // nil: none
	soon   bool    // nobody waits for what it writes
}

// OpenBayes gives the Bayes of an account, or of the Site. It is made by the first
// lesson.
func OpenBayes(db *store.DB, owner string) *Bayes {
	return &Bayes{db: db, owner: owner, limit: maxMessages}
}

// View implements bayes.Store. Where there is a copy in memory, each question has the
// newest answer, which may be newer than the one before.
func (b *Bayes) View(ctx context.Context, f func(bayes.Reader) error) error {
	if b.memory != nil {
		return b.wrap("read", f(reader{b, ctx}))
	}
	return b.wrap("read", b.inDatabase(ctx, func(tx *bayesTx) error { return f(tx) }))
}

// Update implements bayes.Store.
func (b *Bayes) Update(ctx context.Context, f func(bayes.Writer) error) error {
	return b.update(ctx, "learn", func(tx *bayesTx) error { return f(tx) })
}

func (b *Bayes) update(ctx context.Context, what string, f func(*bayesTx) error) error {
	update := b.db.Update
	if b.soon {
		update = b.db.UpdateSoon
	}
	err := update(ctx, func(tx *store.Tx) error {
		own, err := b.find(tx)
		if err != nil {
			return err
		}
		if own.id == 0 {
			r, err := tx.Exec("INSERT INTO bayes_owner (name) VALUES (?)", b.owner)
			if err != nil {
				return err
			}
			own.id = r.LastID
		}
		w := &bayesTx{tx: tx, owned: own, limit: b.limit, follow: b.memory != nil}
		if err := f(w); err != nil {
			return err
		}
		if b.memory != nil {
			w.change.totals = w.totals
			tx.OnCommit(func() { b.memory.committed(w.change) })
		}
		return nil
	})
	return b.wrap(what, err)
}

// Remove takes all that an owner has learned.
func (b *Bayes) Remove(ctx context.Context) error {
	err := b.db.Update(ctx, func(tx *store.Tx) error {
		own, err := b.find(tx)
		if err != nil || own.id == 0 {
			return err
		}
		if err := (&bayesTx{tx: tx, owned: own}).Clear(); err != nil {
			return err
		}
		if b.memory != nil {
			tx.OnCommit(func() { b.memory.committed(change{cleared: true}) })
		}
		if _, err := tx.Exec("DELETE FROM reputation WHERE owner = ?", own.id); err != nil {
			return err
		}
		_, err = tx.Exec("DELETE FROM bayes_owner WHERE id = ?", own.id)
		return err
	})
	return b.wrap("remove", err)
}

func (b *Bayes) wrap(what string, err error) error {
	if err == nil {
		return nil
	}
	who := "the site"
	if b.owner != Site {
		who = b.owner
	}
	return fmt.Errorf("spamdb: %s what %s has learned: %w", what, who, err)
}

// owned is an owner's row; its id is 0 if there is none.
type owned struct {
	id, messages int64
	totals       bayes.Totals
}

func (b *Bayes) find(tx *store.Tx) (o owned, err error) {
	t := &o.totals
	err = tx.QueryRow(`SELECT id, spam, ham, tokens, oldest, newest, expire_at, expire_age, expired, messages
		FROM bayes_owner WHERE name = ?`, b.owner).
		Scan(&o.id, &t.Spam, &t.Ham, &t.Tokens, &t.Oldest, &t.Newest, &t.LastExpire, &t.ExpireAge, &t.Expired, &o.messages)
	if errors.Is(err, store.ErrNoRows) {
		err = nil
	}
	return o, err
}

// bayesTx is one owner's part of a transaction.
type bayesTx struct {
	tx *store.Tx
	owned
	limit  int64
	follow bool // change is wanted
	change change
}

func key(h bayes.Hash) int64 {
	return int64(h[0])<<32 | int64(h[1])<<24 | int64(h[2])<<16 | int64(h[3])<<8 | int64(h[4])
}

func hash(key int64) bayes.Hash {
	return bayes.Hash{byte(key >> 32), byte(key >> 24), byte(key >> 16), byte(key >> 8), byte(key)}
}

// Counts implements bayes.Reader.
func (b *bayesTx) Counts(tokens []bayes.Hash) (bayes.Totals, []bayes.Count, error) {
	if len(tokens) == 0 || b.id == 0 {
		return b.totals, make([]bayes.Count, len(tokens)), nil
	}
	out := make([]bayes.Count, len(tokens))
	list := append(make([]byte, 0, 16*len(tokens)), '[') // one statement for all: each costs more than what it finds
	for i, h := range tokens {
		if i > 0 {
			list = append(list, ',')
		}
		list = strconv.AppendInt(list, key(h), 10)
	}
	rows, err := b.tx.Query(`SELECT j.key, t.spam, t.ham, t.atime
		FROM json_each(?) j CROSS JOIN bayes_token t ON t.owner = ? AND t.hash = j.value`, string(append(list, ']')), b.id)
	if err != nil {
		return bayes.Totals{}, nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var i int
		var c bayes.Count
		if err := rows.Scan(&i, &c.Spam, &c.Ham, &c.ATime); err != nil {
			return bayes.Totals{}, nil, err
		}
		out[i] = c
	}
	return b.totals, out, rows.Err()
}

// Seen implements bayes.Reader.
func (b *bayesTx) Seen(id string) (bayes.Class, error) {
	var c int64
	err := b.tx.QueryRow("SELECT class FROM bayes_message WHERE owner = ? AND id = ?", b.id, id).Scan(&c)
	if errors.Is(err, store.ErrNoRows) {
		return bayes.None, nil
	}
	return bayes.Class(c), err
}

// Each implements bayes.Reader.
func (b *bayesTx) Each(token func(bayes.Entry) error, message func(string, bayes.Class) error) error {
	if token != nil {
		err := b.each("SELECT hash, spam, ham, atime FROM bayes_token WHERE owner = ?", func(rows *store.Rows) error {
			var e bayes.Entry
			var k int64
			if err := rows.Scan(&k, &e.Spam, &e.Ham, &e.ATime); err != nil {
				return err
			}
			e.Hash = hash(k)
			return token(e)
		})
		if err != nil {
			return err
		}
	}
	if message == nil {
		return nil
	}
	return b.each("SELECT id, class FROM bayes_message WHERE owner = ? ORDER BY number", func(rows *store.Rows) error {
		var id string
		var c int64
		if err := rows.Scan(&id, &c); err != nil {
			return err
		}
		return message(id, bayes.Class(c))
	})
}

func (b *bayesTx) each(query string, do func(*store.Rows) error) error {
	rows, err := b.tx.Query(query, b.id)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := do(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// Put implements bayes.Writer.
func (b *bayesTx) Put(t bayes.Totals, entries []bayes.Entry) error {
	b.totals = t
	if b.follow {
		b.change.entries = append(b.change.entries, entries...)
	}
	for _, e := range entries {
		var err error
		if e.Spam == 0 && e.Ham == 0 {
			_, err = b.tx.Exec("DELETE FROM bayes_token WHERE owner = ? AND hash = ?", b.id, key(e.Hash))
		} else {
			_, err = b.tx.Exec(`INSERT INTO bayes_token VALUES (?, ?, ?, ?, ?)
				ON CONFLICT DO UPDATE SET spam = excluded.spam, ham = excluded.ham, atime = excluded.atime`, b.id, key(e.Hash), e.Spam, e.Ham, e.ATime)
		}
		if err != nil {
			return err
		}
	}
	return b.save()
}

// save writes the owner's row.
func (b *bayesTx) save() error {
	t := &b.totals
	_, err := b.tx.Exec(`UPDATE bayes_owner SET spam = ?, ham = ?, tokens = ?, oldest = ?, newest = ?, expire_at = ?, expire_age = ?,
		expired = ?, messages = ? WHERE id = ?`, t.Spam, t.Ham, t.Tokens, t.Oldest, t.Newest, t.LastExpire, t.ExpireAge, t.Expired, b.messages, b.id)
	return err
}

// Mark implements bayes.Writer.
func (b *bayesTx) Mark(id string, c bayes.Class) error {
	r, err := b.tx.Exec("DELETE FROM bayes_message WHERE owner = ? AND id = ?", b.id, id)
	if err != nil {
		return err
	}
	b.messages -= r.Changes
	if c != bayes.None {
		if _, err := b.tx.Exec("INSERT INTO bayes_message (owner, id, class) VALUES (?, ?, ?)", b.id, id, int64(c)); err != nil {
			return err
		}
		b.messages++
	}
	if over := b.messages - b.limit; over > 0 {
		r, err := b.tx.Exec(`DELETE FROM bayes_message WHERE number IN
			(SELECT number FROM bayes_message WHERE owner = ? ORDER BY number LIMIT ?)`, b.id, over+b.limit/100)
		if err != nil {
			return err
		}
		b.messages -= r.Changes
	}
	return b.save()
}

// Clear implements bayes.Writer.
func (b *bayesTx) Clear() error {
	for _, query := range []string{"DELETE FROM bayes_token WHERE owner = ?", "DELETE FROM bayes_message WHERE owner = ?"} {
		if _, err := b.tx.Exec(query, b.id); err != nil {
			return err
		}
	}
	b.totals, b.messages = bayes.Totals{}, 0
	if b.follow {
		b.change = change{cleared: true}
	}
	return b.save()
}
