package mailbox

import (
	"context"
	"errors"
	"slices"

	"mtad/message"
	"mtad/store"
)

// bump gives a folder its next mod-sequence.
func bump(tx *store.Tx, folder FolderID) (ModSeq, AccountID, error) {
	var modseq ModSeq
	var account AccountID
	err := tx.QueryRow("UPDATE folder SET modseq = modseq + 1 WHERE id = ? AND name IS NOT NULL RETURNING modseq, account", folder).Scan(&modseq, &account)
	return modseq, account, err
}

// SetFlags changes the flags of messages, some at a time. changed tells every
// message it applied to and how that is now, also where nothing had to change.
// With unchangedSince above zero, messages changed after it are left alone and
// returned as modified (RFC 7162, 3.1.3).
func (s *Store) SetFlags(ctx context.Context, folder FolderID, uids []UID, op FlagOp, flags Flags, unchangedSince ModSeq) (changed []Item, modified []UID, err error) {
	if err := validKeywords(flags.Keywords); err != nil {
		return nil, nil, wrap("flags", err)
	}
	for part := range slices.Chunk(ordered(uids), chunk) {
		set := flagSetter{folder: folder, op: op, flags: flags, since: unchangedSince}
		err := s.db.Update(ctx, func(tx *store.Tx) error {
			set.changed, set.modified, set.counts = nil, nil, counts{}
			account, touched, err := set.run(tx, part)
			if touched {
				s.changed(tx, account)
			}
			return err
		})
		if err != nil {
			return changed, modified, wrap("flags", err)
		}
		changed, modified = append(changed, set.changed...), append(modified, set.modified...)
	}
	return changed, modified, nil
}

// counts is by how much a folder's counters change.
type counts struct{ messages, unseen, deleted, size int64 }

func (c *counts) add(f SystemFlags, size, sign int64) {
	c.messages += sign
	c.size += sign * size
	if !f.Has(Seen) {
		c.unseen += sign
	}
	if f.Has(Deleted) {
		c.deleted += sign
	}
}

func (c counts) store(tx *store.Tx, folder FolderID) error {
	_, err := tx.Exec("UPDATE folder SET messages = messages + ?, unseen = unseen + ?, deleted = deleted + ?, size = size + ? WHERE id = ?",
		c.messages, c.unseen, c.deleted, c.size, int64(folder))
	return err
}

type flagSetter struct {
	folder   FolderID
	op       FlagOp
	flags    Flags
	since    ModSeq
	changed  []Item
	modified []UID
	counts   counts
}

func (f *flagSetter) run(tx *store.Tx, uids []UID) (account AccountID, touched bool, err error) {
	var modseq ModSeq
	if modseq, account, err = bump(tx, f.folder); err != nil {
		return 0, false, err
	}
	for _, u := range uids {
		did, err := f.one(tx, u, modseq)
		if err != nil {
			return 0, false, err
		}
		touched = touched || did
	}
	if !touched {
		_, err := tx.Exec("UPDATE folder SET modseq = modseq - 1 WHERE id = ?", f.folder)
		return 0, false, err
	}
	return account, true, f.counts.store(tx, f.folder)
}

func (f *flagSetter) one(tx *store.Tx, uid UID, modseq ModSeq) (touched bool, err error) {
	var was, system int64
	var keywords string
	err = tx.QueryRow("SELECT modseq, flags, keywords FROM entry WHERE folder = ? AND uid = ?", int64(f.folder), int64(uid)).
		Scan(&was, &system, &keywords)
	if errors.Is(err, store.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if f.since > 0 && ModSeq(was) > f.since {
		f.modified = append(f.modified, uid)
		return false, nil
	}
	var kr keywordReader
	old := Flags{SystemFlags(system), kr.read(keywords)}
	now := f.op.apply(old, f.flags)
	if now.equal(old) {
		f.changed = append(f.changed, Item{uid, ModSeq(was), old})
		return false, nil
	}
	if len(now.Keywords) > MaxKeywords {
		return false, ErrTooMany
	}
	f.changed = append(f.changed, Item{uid, modseq, now})
	f.counts.add(old.System, 0, -1)
	f.counts.add(now.System, 0, 1)
	_, err = tx.Exec("UPDATE entry SET modseq = ?, flags = ?, keywords = ? WHERE folder = ? AND uid = ?",
		int64(modseq), int64(now.System), joinKeywords(now.Keywords), int64(f.folder), int64(uid))
	return true, err
}

// Expunge removes those of uids (nil: of all messages) that are \Deleted, some
// at a time, and returns them (RFC 3501, 6.4.3; RFC 4315, 2.1).
func (s *Store) Expunge(ctx context.Context, folder FolderID, uids []UID) (gone []UID, err error) {
	all, err := s.deleted(ctx, folder)
	if err != nil {
		return nil, wrap("expunge", err)
	}
	if uids != nil {
		wanted := ordered(uids)
		all = slices.DeleteFunc(all, func(u UID) bool {
			_, ok := slices.BinarySearch(wanted, u)
			return !ok
		})
	}
	for part := range slices.Chunk(all, chunk) {
		var removed []UID
		err := s.db.Update(ctx, func(tx *store.Tx) error {
			removed, err = s.remove(tx, folder, part, Deleted)
			return err
		})
		if err != nil {
			return gone, wrap("expunge", err)
		}
		gone = append(gone, removed...)
	}
	return gone, nil
}

func (s *Store) deleted(ctx context.Context, folder FolderID) (uids []UID, err error) {
	err = s.db.View(ctx, func(tx *store.Tx) error {
		var n int
		if err := tx.QueryRow("SELECT deleted FROM folder WHERE id = ? AND name IS NOT NULL", folder).Scan(&n); err != nil || n == 0 {
			return err
		}
		uids, err = uidsOf(tx, "SELECT uid FROM entry WHERE folder = ? AND flags & ? ORDER BY uid", folder, Deleted)
		return err
	})
	return uids, err
}

// remove takes those of uids away that have all of the flags, and logs it.
func (s *Store) remove(tx *store.Tx, folder FolderID, uids []UID, having SystemFlags) ([]UID, error) {
	modseq, account, err := bump(tx, folder)
	if err != nil {
		return nil, err
	}
	var gone []UID
	var sum counts
	for _, u := range uids {
		c, ok, err := removeIf(tx, folder, u, having)
		if err != nil {
			return nil, err
		}
		if !ok {
			continue
		}
		if _, err := tx.Exec("INSERT INTO vanished VALUES (?, ?, ?)", int64(folder), int64(modseq), int64(u)); err != nil {
			return nil, err
		}
		sum.messages += c.messages
		sum.unseen += c.unseen
		sum.deleted += c.deleted
		sum.size += c.size
		gone = append(gone, u)
	}
	s.changed(tx, account)
	return gone, errors.Join(sum.store(tx, folder), s.trimVanished(tx, folder, len(gone)))
}

func removeIf(tx *store.Tx, folder FolderID, uid UID, having SystemFlags) (c counts, ok bool, err error) {
	var flags int64
	err = tx.QueryRow("SELECT flags FROM entry WHERE folder = ? AND uid = ?", int64(folder), int64(uid)).Scan(&flags)
	if errors.Is(err, store.ErrNoRows) || err == nil && !SystemFlags(flags).Has(having) {
		return counts{}, false, nil
	}
	if err != nil {
		return counts{}, false, err
	}
	c, err = removeEntry(tx, folder, uid)
	return c, err == nil, err
}

// removeEntry deletes a row and its reference.
func removeEntry(tx *store.Tx, folder FolderID, uid UID) (c counts, err error) {
	var flags, id, size int64
	err = tx.QueryRow("DELETE FROM entry WHERE folder = ? AND uid = ? RETURNING flags, message, size", int64(folder), int64(uid)).
		Scan(&flags, &id, &size)
	if err != nil {
		return counts{}, err
	}
	c.add(SystemFlags(flags), size, -1)
	return c, tx.Ref(message.ID(id), -1)
}

// trimVanished bounds the log of removals. It lets the log grow to twice the
// bound, so that trimming is rare.
func (s *Store) trimVanished(tx *store.Tx, folder FolderID, added int) error {
	var n int
	err := tx.QueryRow("UPDATE folder SET vanished = vanished + ? WHERE id = ? RETURNING vanished", added, folder).Scan(&n)
	if err != nil || n <= 2*s.keep {
		return err
	}
	var floor ModSeq
	err = tx.QueryRow("SELECT modseq FROM vanished WHERE folder = ? ORDER BY modseq, uid LIMIT 1 OFFSET ?", folder, n-s.keep-1).Scan(&floor)
	if err != nil {
		return err
	}
	r, err := tx.Exec("DELETE FROM vanished WHERE folder = ? AND modseq <= ?", folder, floor)
	if err != nil {
		return err
	}
	_, err = tx.Exec("UPDATE folder SET floor = ?, vanished = vanished - ? WHERE id = ?", floor, r.Changes, folder)
	return err
}

// Copy adds messages to another folder, all or none (RFC 3501, 6.4.7), in UID
// order.
func (s *Store) Copy(ctx context.Context, from, to FolderID, uids []UID) (pairs []UIDPair, err error) {
	uids = ordered(uids)
	err = s.db.Update(ctx, func(tx *store.Tx) error {
		pairs, err = s.copy(tx, from, to, uids)
		return err
	})
	return pairs, wrap("copy", err)
}

func (s *Store) copy(tx *store.Tx, from, to FolderID, uids []UID) (pairs []UIDPair, err error) {
	var account AccountID
	if err := tx.QueryRow("SELECT account FROM folder WHERE id = ? AND name IS NOT NULL", from).Scan(&account); err != nil {
		return nil, err
	}
	if err := tx.QueryRow("SELECT account FROM folder WHERE id = ? AND name IS NOT NULL", to).Scan(&account); err != nil {
		return nil, err
	}
	var r entryReader
	for _, u := range uids {
		e, err := r.one(tx, from, u)
		if errors.Is(err, store.ErrNoRows) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if _, err := insertEntry(tx, to, &e); err != nil {
			return nil, err
		}
		pairs = append(pairs, UIDPair{u, e.UID})
	}
	s.changed(tx, account)
	return pairs, nil
}

// Move copies messages and removes them where they were, all or none
// (RFC 6851, 3.3). Moving into the same folder gives new UIDs.
func (s *Store) Move(ctx context.Context, from, to FolderID, uids []UID) (pairs []UIDPair, err error) {
	uids = ordered(uids)
	err = s.db.Update(ctx, func(tx *store.Tx) error {
		pairs, err = s.move(tx, from, to, uids)
		return err
	})
	return pairs, wrap("move", err)
}

func (s *Store) move(tx *store.Tx, from, to FolderID, uids []UID) ([]UIDPair, error) {
	pairs, err := s.copy(tx, from, to, uids)
	if err != nil || len(pairs) == 0 {
		return pairs, err
	}
	gone := make([]UID, len(pairs))
	for i, p := range pairs {
		gone[i] = p.Source
	}
	_, err = s.remove(tx, from, gone, 0)
	return pairs, err
}
