package mailbox

import (
	"context"
	"errors"
	"slices"

	"mtad/journal"
	"mtad/store"
)

// MaxSummary bounds a Summary, in octets: a row that is much larger than others
// slows every walk through the folder.
const MaxSummary = 2000

// Summary is what a reader of a message wants to find again without opening it.
// Its form is the reader's own. A message never changes, so it holds for as
// long as the row does, and copies of the message inherit it.
type Summary struct {
	UID    UID
	Octets []byte
}

// Remember keeps summaries beside their messages' rows, where Entries finds
// them. Messages that are gone, and summaries that are too long, are passed over. It
// changes nothing that a client can see, so no mod-sequence moves.
func (s *Store) Remember(ctx context.Context, folder FolderID, all []Summary) error {
	for part := range slices.Chunk(all, chunk) {
		err := s.db.Update(ctx, func(tx *store.Tx) error {
			for _, one := range part {
				if len(one.Octets) > MaxSummary {
					continue
				}
				if _, err := tx.Exec("UPDATE entry SET summary = ? WHERE folder = ? AND uid = ?", one.Octets, int64(folder), int64(one.UID)); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return wrap("remember", err)
		}
	}
	return nil
}

// Locate looks up where the octets of several messages are, all at once, so
// that Open need not for each. It is never needed.
func (s *Store) Locate(ctx context.Context, entries []Entry) error {
	err := s.db.View(ctx, func(tx *store.Tx) error {
		for i := range entries {
			place, err := tx.Where(entries[i].Message)
			if errors.Is(err, store.ErrNoMessage) {
				place, err = journal.Place{}, nil // Open tells
			}
			if err != nil {
				return err
			}
			entries[i].place = place
		}
		return nil
	})
	return wrap("locate", err)
}
