package store

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"mtad/journal"
	"mtad/message"
)

// Problem is something that is not as it should be.
type Problem struct {
	Message message.ID // zero if it is not about one
	What    string     // for a person
	Lost    bool       // octets of mail can't be read
}

// Verified tells what Verify looked at.
type Verified struct {
	Messages int // rows, and their records in the journal
	Records  int // whole records in the journal, referred to or not
	Problems int
}

// verifyPage is how many messages are looked at between two transactions.
const verifyPage = 1000

// Verify proves that database and journal agree: the database is sound, every
// row that refers to a message finds it, references are counted rightly, every
// message's record is whole and is that message's, and no record of the journal
// is damaged. report is called for each problem. It runs beside everything else;
// an error means that it could not look, not that something is wrong.
func (db *DB) Verify(ctx context.Context, report func(Problem)) (Verified, error) {
	v := &verifier{db: db, report: report}
	for _, look := range []func(context.Context) error{v.integrity, v.references, v.messages, v.records} {
		err := look(ctx)
		if isDamage(err) || errors.Is(err, ErrDamaged) {
			v.found(Problem{What: "database: " + err.Error(), Lost: true})
		} else if err != nil {
			return v.sum, fmt.Errorf("store: verify: %w", err)
		}
	}
	return v.sum, nil
}

type verifier struct {
	db     *DB
	report func(Problem)
	sum    Verified
}

func (v *verifier) found(p Problem) {
	v.sum.Problems++
	v.report(p)
}

// integrity is SQLite's own check of its file.
func (v *verifier) integrity(ctx context.Context) error {
	return v.db.View(ctx, func(tx *Tx) error {
		rows, err := tx.Query("PRAGMA integrity_check(100)")
		if err != nil {
			return err
		}
		for rows.Next() {
			var line string
			if err := rows.Scan(&line); err != nil {
				return err
			}
			if line != "ok" {
				v.found(Problem{What: "database: " + line})
			}
		}
		return rows.Err()
	})
}

// references compares the counted references with the rows that refer.
func (v *verifier) references(ctx context.Context) error {
	if len(v.db.refs) == 0 {
		return nil
	}
	used := "WITH used(id) AS (" + strings.Join(v.db.refs, " UNION ALL ") + "), counted AS (SELECT id, count(*) AS n FROM used GROUP BY id) "
	return v.db.View(ctx, func(tx *Tx) error {
		rows, err := tx.Query(used + `
SELECT id, refs, coalesce(n, 0), 1 FROM message LEFT JOIN counted USING (id) WHERE refs <> coalesce(n, 0)
UNION ALL SELECT id, 0, n, 0 FROM counted WHERE id NOT IN (SELECT id FROM message)`)
		if err != nil {
			return err
		}
		for rows.Next() {
			var id int64
			var refs, n int
			var placed bool
			if err := rows.Scan(&id, &refs, &n, &placed); err != nil {
				return err
			}
			p := Problem{Message: message.ID(id), What: fmt.Sprintf("%d rows refer to it, %d are counted", n, refs)}
			if !placed {
				p.What, p.Lost = fmt.Sprintf("%d rows refer to it, and it has no place in the journal", n), true
			}
			v.found(p)
		}
		return rows.Err()
	})
}

// messages opens the record of every message.
func (v *verifier) messages(ctx context.Context) error {
	for last, more := int64(-1<<63), true; more; {
		ids := make([]int64, 0, verifyPage)
		err := v.db.View(ctx, func(tx *Tx) error {
			rows, err := tx.Query("SELECT id FROM message WHERE id > ? ORDER BY id LIMIT ?", last, verifyPage)
			if err != nil {
				return err
			}
			for rows.Next() {
				if err := rows.Scan(&last); err != nil {
					return err
				}
				ids = append(ids, last)
			}
			return rows.Err()
		})
		if err != nil {
			return err
		}
		for _, id := range ids {
			if err := v.message(ctx, message.ID(id)); err != nil {
				return err
			}
		}
		more = len(ids) == verifyPage
	}
	return nil
}

func (v *verifier) message(ctx context.Context, id message.ID) error {
	v.sum.Messages++
	c, err := v.db.Bytes(ctx, id)
	if err == nil {
		if err = c.Verify(); err == nil && c.ID() != id {
			v.found(Problem{Message: id, What: fmt.Sprintf("its place holds message %v", c.ID()), Lost: true})
		}
		err = errors.Join(err, c.Close())
	}
	switch {
	case errors.Is(err, ErrNoMessage): // deleted meanwhile
	case errors.Is(err, ErrClosed), ctx.Err() != nil:
		return errors.Join(err, ctx.Err())
	case err != nil:
		v.found(Problem{Message: id, What: err.Error(), Lost: true})
	}
	return nil
}

// records reads the whole journal: what is damaged there and belongs to a
// message has been named already, but tells more here.
func (v *verifier) records(ctx context.Context) (err error) {
	v.sum.Records, err = v.db.journal.Verify(ctx, func(d journal.Damage) {
		v.found(Problem{Message: d.ID, What: "journal: " + d.String()})
	})
	return err
}

// Probe commits a change that changes nothing: it fails where any change would.
func (db *DB) Probe(ctx context.Context) error {
	return db.Update(ctx, func(tx *Tx) error {
		_, err := tx.Exec("UPDATE journal_mark SET one = one")
		return err
	})
}
