package mailbox

import (
	"context"
	"errors"
	"fmt"

	"mtad/store"
)

// Verified tells what Verify looked at.
type Verified struct {
	Folders, Messages, Problems int
}

// verifyPage is how many messages are read between two transactions.
const verifyPage = 500

// Verify proves of an account's folders, or with account 0 of everybody's, that
// counts, UIDs and mod-sequences are those of the messages, and that every
// message has as many octets as its row says. report is told the folder and what
// is wrong. It runs beside everything else.
func (s *Store) Verify(ctx context.Context, account AccountID, report func(f Folder, what string)) (Verified, error) {
	v := verifier{s: s}
	v.report = func(f Folder, what string) {
		v.sum.Problems++
		report(f, what)
	}
	folders, err := s.every(ctx, account)
	for _, f := range folders {
		if err == nil {
			err = errors.Join(v.counts(ctx, f), v.messages(ctx, f))
		}
	}
	return v.sum, wrap("verify", err)
}

// every lists the folders of one account or all.
func (s *Store) every(ctx context.Context, account AccountID) (out []Folder, err error) {
	err = s.db.View(ctx, func(tx *store.Tx) error {
		rows, err := tx.Query("SELECT id, account, name FROM folder WHERE name IS NOT NULL AND (? = 0 OR account = ?) ORDER BY id", int64(account), int64(account))
		if err != nil {
			return err
		}
		for rows.Next() {
			var id, owner int64
			var f Folder
			if err := rows.Scan(&id, &owner, &f.Name); err != nil {
				return err
			}
			f.ID, f.Account = FolderID(id), AccountID(owner)
			out = append(out, f)
		}
		return rows.Err()
	})
	return out, err
}

type verifier struct {
	s      *Store
	report func(Folder, string)
	sum    Verified
}

// counts compares a folder's row with its messages, in one transaction.
func (v *verifier) counts(ctx context.Context, f Folder) error {
	var have, want counts
	var next, modseq, lastUID, lastMod int64
	err := v.s.db.View(ctx, func(tx *store.Tx) error {
		err := tx.QueryRow("SELECT messages, unseen, deleted, size, uidnext, modseq FROM folder WHERE id = ? AND name IS NOT NULL", int64(f.ID)).
			Scan(&have.messages, &have.unseen, &have.deleted, &have.size, &next, &modseq)
		if err != nil {
			return err
		}
		return tx.QueryRow(`SELECT count(*), coalesce(sum(flags & ? = 0), 0), coalesce(sum(flags & ? <> 0), 0), coalesce(sum(size), 0),
			coalesce(max(uid), 0), coalesce(max(modseq), 0) FROM entry WHERE folder = ?`, int64(Seen), int64(Deleted), int64(f.ID)).
			Scan(&want.messages, &want.unseen, &want.deleted, &want.size, &lastUID, &lastMod)
	})
	if errors.Is(err, store.ErrNoRows) {
		return nil // deleted meanwhile
	}
	if err != nil {
		return err
	}
	v.sum.Folders++
	if have != want {
		v.report(f, fmt.Sprintf("counts %+v, its messages come to %+v", have, want))
	}
	if lastUID >= next {
		v.report(f, fmt.Sprintf("UID %d is in use, the next to be given is %d", lastUID, next))
	}
	if lastMod > modseq {
		v.report(f, fmt.Sprintf("mod-sequence %d is in use, the folder's is %d", lastMod, modseq))
	}
	return nil
}

// messages opens every message of a folder.
func (v *verifier) messages(ctx context.Context, f Folder) error {
	for last, more := UID(0), true; more; {
		var uids []UID
		err := v.s.db.View(ctx, func(tx *store.Tx) (err error) {
			uids, err = uidsOf(tx, "SELECT uid FROM entry WHERE folder = ? AND uid > ? ORDER BY uid LIMIT ?", f.ID, last, verifyPage)
			return err
		})
		if err != nil {
			return err
		}
		entries, err := v.s.Entries(ctx, f.ID, uids)
		if err != nil {
			return err
		}
		for _, e := range entries {
			if err := v.message(ctx, f, e); err != nil {
				return err
			}
		}
		if more = len(uids) == verifyPage; more {
			last = uids[len(uids)-1]
		}
	}
	return nil
}

func (v *verifier) message(ctx context.Context, f Folder, e Entry) error {
	v.sum.Messages++
	c, err := v.s.Open(ctx, e)
	switch {
	case errors.Is(err, store.ErrClosed), ctx.Err() != nil:
		return errors.Join(err, ctx.Err())
	case errors.Is(err, ErrGone):
		// Removed since the page was read, or without a place: the row knows.
		still, err := v.s.Entries(ctx, f.ID, []UID{e.UID})
		if err == nil && len(still) > 0 {
			v.report(f, fmt.Sprintf("UID %d: message %v has no place in the journal", e.UID, e.Message))
		}
		return err
	case err != nil:
		v.report(f, fmt.Sprintf("UID %d: %v", e.UID, err))
		return nil
	}
	if size := c.Size(); size != e.Size {
		v.report(f, fmt.Sprintf("UID %d: %d octets, its row says %d", e.UID, size, e.Size))
	}
	return c.Close()
}
