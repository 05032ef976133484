package store

import (
	"context"
	"errors"
	"fmt"

	"mtad/internal/invariants"
	"mtad/journal"
)

// Reclaimed tells what Reclaim did.
type Reclaimed struct {
	Segments int   // files freed
	Copied   int64 // octets moved elsewhere
	Freed    int64 // octets given back, copies taken off
}

// Reclaim frees journal segments of which at least half is dead: it copies what
// is still referenced and removes the file once nobody reads it. It is safe
// beside everything else; two calls run one after the other. Segments that
// cannot be freed (a damaged record) are passed over and their errors joined.
func (db *DB) Reclaim(ctx context.Context) (Reclaimed, error) {
	db.reclaim.Lock()
	defer db.reclaim.Unlock()
	var sum Reclaimed
	var errs []error
	for _, seg := range db.journal.Finished() {
		if err := ctx.Err(); err != nil {
			return sum, errors.Join(append(errs, err)...)
		}
		live, octets, err := db.live(ctx, seg.Sequence)
		if err == nil && octets*2 <= seg.Size {
			err = db.journal.Reclaim(ctx, seg.Sequence, live, func(m []journal.Move) error { return db.move(ctx, seg.Sequence, m) })
			if err == nil {
				sum.Segments++
				sum.Copied += octets
				sum.Freed += seg.Size - octets
			}
		}
		errs = append(errs, err)
	}
	return sum, errors.Join(errs...)
}

// live lists the referenced records of a segment. The journal's mark is behind
// the segment, so no row can begin to refer to anything else in it.
func (db *DB) live(ctx context.Context, seq uint64) (places []journal.Place, octets int64, err error) {
	err = db.View(ctx, func(tx *Tx) error {
		rows, err := tx.Query("SELECT offset, length FROM message WHERE segment = ? AND refs > 0 ORDER BY offset", seq)
		if err != nil {
			return err
		}
		for rows.Next() {
			p := journal.Place{Segment: seq}
			if err := rows.Scan(&p.Offset, &p.Length); err != nil {
				return err
			}
			places = append(places, p)
			octets += p.Length
		}
		return rows.Err()
	})
	if err != nil {
		err = fmt.Errorf("store: reclaim: %w", err)
	}
	return places, octets, err
}

// move stores the new places. A message that lost its last reference meanwhile
// has no row: its copy is dead space.
func (db *DB) move(ctx context.Context, seq uint64, moves []journal.Move) error {
	return db.Update(ctx, func(tx *Tx) error {
		if _, err := tx.Exec("DELETE FROM message WHERE segment = ? AND refs <= 0", seq); err != nil {
			return err
		}
		for _, m := range moves {
			_, err := tx.Exec("UPDATE message SET segment = ?, offset = ? WHERE segment = ? AND offset = ?",
				m.To.Segment, m.To.Offset, seq, m.From.Offset)
			if err != nil {
				return err
			}
		}
		// Invariant: nothing is in a segment that goes.
		if invariants.Enabled {
			return tx.checkEmpty(seq)
		}
		return nil
	})
}

// checkEmpty checks that no message is in a segment that is about to go.
func (tx *Tx) checkEmpty(seq uint64) error {
	var n int
	if err := tx.QueryRow("SELECT count(*) FROM message WHERE segment = ?", seq).Scan(&n); err != nil {
		return err
	}
	if n > 0 {
		invariants.Broken("store: segment %d goes, and %d messages are in it", seq, n)
	}
	return nil
}
