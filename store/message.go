package store

import (
	"context"
	"errors"
	"fmt"

	"zombiezen.com/go/sqlite"

	"mtad/internal/invariants"
	"mtad/journal"
	"mtad/message"
)

func ownSchema() Schema {
	return Schema{Name: "store", Migrations: []string{`
CREATE TABLE message (
	id      INTEGER PRIMARY KEY,
	segment INTEGER NOT NULL,
	offset  INTEGER NOT NULL,
	length  INTEGER NOT NULL,
	refs    INTEGER NOT NULL
) STRICT;
CREATE INDEX message_segment ON message (segment, offset);

-- Every record before this position is applied.
CREATE TABLE journal_mark (
	one     INTEGER PRIMARY KEY CHECK (one = 1),
	segment INTEGER NOT NULL,
	offset  INTEGER NOT NULL
) STRICT;
INSERT INTO journal_mark VALUES (1, 0, 0);

-- Records behind the mark that are applied nevertheless.
CREATE TABLE journal_applied (
	segment INTEGER NOT NULL,
	offset  INTEGER NOT NULL,
	PRIMARY KEY (segment, offset)
) STRICT, WITHOUT ROWID;
`}}
}

// Place records where a message is. It counts no reference: call Ref in the
// same transaction for every row that refers to the message. A message that is
// known already keeps its place.
func (tx *Tx) Place(id message.ID, p journal.Place) error {
	_, err := tx.Exec("INSERT INTO message VALUES (?, ?, ?, ?, 0) ON CONFLICT DO NOTHING", id, p.Segment, p.Offset, p.Length)
	return err
}

// Ref adds n references, or takes -n away. A message without references is
// forgotten and its octets in the journal become dead space. ErrNoMessage says
// the message has no place.
func (tx *Tx) Ref(id message.ID, n int) error {
	r, err := tx.Exec("UPDATE message SET refs = refs + ? WHERE id = ?", n, id)
	if err != nil {
		return err
	}
	if r.Changes == 0 {
		return fmt.Errorf("%w: %v", ErrNoMessage, id)
	}
	// Invariant: nobody gives up a reference that is another's.
	if invariants.Enabled {
		if err := tx.checkRefs(id); err != nil {
			return err
		}
	}
	if n < 0 {
		_, err = tx.Exec("DELETE FROM message WHERE id = ? AND refs <= 0", id)
	}
	return err
}

// Applied says that the rows following from the journal record at p are part
// of this transaction: Replay will not present it again.
func (tx *Tx) Applied(p journal.Place) { tx.applied = append(tx.applied, p) }

// IsApplied reports whether Applied was committed for the record at p. Whoever
// runs an Update again after ErrUnavailable asks this first.
func (tx *Tx) IsApplied(p journal.Place) (yes bool, err error) {
	err = tx.QueryRow(`SELECT (segment, offset) > (?, ?) OR EXISTS (SELECT 1 FROM journal_applied WHERE segment = ? AND offset = ?) FROM journal_mark`,
		p.Segment, p.Offset, p.Segment, p.Offset).Scan(&yes)
	return yes, err
}

// saveApplied stores what the group applied: the mark moves to the first
// record that is not applied, and what lies behind it gets a row each.
func (db *DB) saveApplied(group []*job) (places []journal.Place, above int, err error) {
	for _, j := range group {
		if j.err == nil && j.panic == nil {
			places = append(places, j.tx.applied...)
		}
	}
	if len(places) == 0 {
		return nil, db.above, nil
	}
	tx, above := &Tx{conn: db.writer, write: true}, db.above
	mark := db.journal.Mark(places)
	// Invariant: a record is applied once.
	if invariants.Enabled {
		if err := tx.checkApplied(places, mark); err != nil {
			return nil, 0, err
		}
	}
	if _, err := tx.Exec("UPDATE journal_mark SET segment = ?, offset = ?", mark.Segment, mark.Offset); err != nil {
		return nil, 0, err
	}
	if above > 0 {
		r, err := tx.Exec("DELETE FROM journal_applied WHERE (segment, offset) < (?, ?)", mark.Segment, mark.Offset)
		if err != nil {
			return nil, 0, err
		}
		above -= int(r.Changes)
	}
	for _, p := range places {
		if p.Start().Before(mark) {
			continue
		}
		r, err := tx.Exec("INSERT INTO journal_applied VALUES (?, ?) ON CONFLICT DO NOTHING", p.Segment, p.Offset)
		if err != nil {
			return nil, 0, err
		}
		above += int(r.Changes)
	}
	return places, above, nil
}

// checkApplied checks that what a group of updates applied was not applied
// before, and that the mark moves on.
func (tx *Tx) checkApplied(places []journal.Place, mark journal.Position) error {
	var old journal.Position
	if err := tx.QueryRow("SELECT segment, offset FROM journal_mark").Scan(&old.Segment, &old.Offset); err != nil {
		return err
	}
	if mark.Before(old) {
		invariants.Broken("store: the mark goes back from %v to %v", old, mark)
	}
	seen := map[journal.Position]bool{}
	for _, p := range places {
		if done, err := tx.IsApplied(p); err != nil {
			return err
		} else if done || seen[p.Start()] {
			invariants.Broken("store: the journal record at %v is applied twice", p)
		}
		seen[p.Start()] = true
	}
	return nil
}

// checkRefs checks that no more references were taken away than there were.
func (tx *Tx) checkRefs(id message.ID) error {
	var refs int
	if err := tx.QueryRow("SELECT refs FROM message WHERE id = ?", id).Scan(&refs); err != nil {
		return err
	}
	if refs < 0 {
		invariants.Broken("store: message %v has %d references", id, refs)
	}
	return nil
}

func countAbove(c *conn) (n int, err error) {
	err = (&Tx{conn: c}).QueryRow("SELECT count(*) FROM journal_applied").Scan(&n)
	return n, err
}

// restore finds the journal records that were accepted and never applied.
func (db *DB) restore() error {
	tx := &Tx{conn: db.writer}
	var mark journal.Position
	if err := tx.QueryRow("SELECT segment, offset FROM journal_mark").Scan(&mark.Segment, &mark.Offset); err != nil {
		return err
	}
	applied := map[journal.Position]bool{}
	rows, err := tx.Query("SELECT segment, offset FROM journal_applied")
	if err != nil {
		return err
	}
	for rows.Next() {
		var p journal.Position
		if err := rows.Scan(&p.Segment, &p.Offset); err != nil {
			return err
		}
		applied[p] = true
	}
	if err := rows.Err(); err != nil {
		return err
	}
	db.above, db.replayAt = len(applied), mark
	db.restored = map[journal.Position]bool{}
	return db.journal.Replay(context.Background(), mark, func(e journal.Entry) error {
		if !e.Copy && e.Kind != journal.KindBytes && !applied[e.Place.Start()] {
			db.journal.Restore(e.Place)
			db.restored[e.Place.Start()] = true
		}
		return nil
	})
}

// Replay calls fn for every journal record that was accepted before the last
// start and not applied, in order. fn brings each to an end with an Update
// that calls Tx.Applied; one for which it returns an error is presented again by
// the next call, and the others are presented all the same. The first errors are
// returned, joined.
func (db *DB) Replay(ctx context.Context, fn func(journal.Entry) error) error {
	db.mu.Lock()
	defer db.mu.Unlock()
	if len(db.restored) == 0 {
		return nil
	}
	var errs []error
	err := db.journal.Replay(ctx, db.replayAt, func(e journal.Entry) error {
		at := e.Place.Start()
		if !db.restored[at] {
			return nil
		}
		if err := fn(e); err == nil {
			delete(db.restored, at)
		} else if len(errs) < maxReplayErrors {
			errs = append(errs, fmt.Errorf("journal record %v: %w", e.ID, err))
		}
		return ctx.Err()
	})
	return errors.Join(append(errs, err)...)
}

// maxReplayErrors bounds the errors that one Replay returns.
const maxReplayErrors = 10

// Where is a message's place in the journal, or ErrNoMessage. It may be out of
// date as soon as the transaction ends.
func (tx *Tx) Where(id message.ID) (p journal.Place, err error) {
	err = tx.QueryRow("SELECT segment, offset, length FROM message WHERE id = ?", int64(id)).Scan(&p.Segment, &p.Offset, &p.Length)
	if errors.Is(err, ErrNoRows) {
		err = fmt.Errorf("%w: %v", ErrNoMessage, id)
	}
	return p, err
}

// Bytes opens a message's journal record. ErrNoMessage says that nothing
// refers to it any more. Close what it returns.
func (db *DB) Bytes(ctx context.Context, id message.ID) (*journal.Content, error) {
	const tries = 3 // a reclaim may move the record between look-up and opening
	var err error
	for range tries {
		var p journal.Place
		verr := db.View(ctx, func(tx *Tx) error {
			p, err = tx.Where(id)
			return err
		})
		if verr != nil {
			return nil, verr
		}
		var c *journal.Content
		if c, err = db.journal.Open(p); !errors.Is(err, journal.ErrGone) {
			return c, err
		}
	}
	return nil, err
}

// BytesAt is Bytes for a message that Where has found at p a moment ago; where
// it is not there any more, or p is zero, it is looked up again.
func (db *DB) BytesAt(ctx context.Context, id message.ID, p journal.Place) (*journal.Content, error) {
	if p.Length > 0 {
		c, err := db.journal.Open(p)
		if err == nil && c.ID() == id {
			return c, nil
		}
		if err == nil {
			err = c.Close()
		}
		if err != nil && !errors.Is(err, journal.ErrGone) {
			return nil, err
		}
	}
	return db.Bytes(ctx, id)
}

// isRefusal says that SQLite refused to commit and is still in the
// transaction, unlike an I/O error in the middle of it.
func isRefusal(err error) bool {
	switch sqlite.ErrCode(err).ToPrimary() {
	case sqlite.ResultBusy, sqlite.ResultFull, sqlite.ResultNoMem, sqlite.ResultConstraint:
		return true
	}
	return false
}
