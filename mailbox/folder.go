package mailbox

import (
	"context"
	"errors"
	"fmt"

	"mtad/internal/invariants"
	"mtad/store"
)

const folderColumns = `f.id, f.account, f.name, f.validity, f.uidnext, f.modseq, f.use, s.name IS NOT NULL`

const fromFolders = ` FROM folder f LEFT JOIN subscription s ON s.account = f.account AND s.name = f.name `

func (f *Folder) columns() []any {
	return []any{&f.ID, &f.Account, &f.Name, &f.UIDValidity, &f.UIDNext, &f.HighestModSeq, &f.Use, &f.Subscribed}
}

// Folders lists an account's folders by name. An account nobody delivered to
// or provisioned has none.
func (s *Store) Folders(ctx context.Context, account AccountID) (out []Folder, err error) {
	err = s.db.View(ctx, func(tx *store.Tx) error {
		rows, err := tx.Query("SELECT "+folderColumns+fromFolders+"WHERE f.account = ? AND f.name IS NOT NULL ORDER BY f.name", account)
		if err != nil {
			return err
		}
		for rows.Next() {
			var f Folder
			if err := rows.Scan(f.columns()...); err != nil {
				return err
			}
			out = append(out, f)
		}
		return rows.Err()
	})
	return out, wrap("folders", err)
}

// Folder finds a folder by name; ErrNoFolder if there is none.
func (s *Store) Folder(ctx context.Context, account AccountID, name string) (f Folder, err error) {
	name, err = CanonicalName(name)
	if err != nil {
		return Folder{}, ErrNoFolder
	}
	err = s.db.View(ctx, func(tx *store.Tx) error {
		f, err = find(tx, account, name)
		return err
	})
	return f, wrap("folder", err)
}

func find(tx *store.Tx, account AccountID, name string) (f Folder, err error) {
	// The + keeps the planner from looking at the values: see store.Tx.
	err = tx.QueryRow("SELECT "+folderColumns+fromFolders+"WHERE f.account = +? AND f.name = +?", account, name).Scan(f.columns()...)
	return f, err
}

// Status counts a folder's messages, from counters kept with it.
func (s *Store) Status(ctx context.Context, id FolderID) (st Status, err error) {
	err = s.db.View(ctx, func(tx *store.Tx) error {
		row := tx.QueryRow("SELECT "+folderColumns+", f.messages, f.unseen, f.deleted, f.size"+fromFolders+"WHERE f.id = +? AND f.name IS NOT NULL", id)
		return row.Scan(append(st.columns(), &st.Messages, &st.Unseen, &st.Deleted, &st.Size)...)
	})
	return st, wrap("status", err)
}

// Recent is the first UID no session has been told of (RFC 3501, 2.3.2). With
// claim the caller is the session that is told now.
func (s *Store) Recent(ctx context.Context, id FolderID, claim bool) (first UID, err error) {
	const query = "SELECT recent, uidnext FROM folder WHERE id = ? AND name IS NOT NULL"
	var next UID
	look := func(tx *store.Tx) error { return tx.QueryRow(query, id).Scan(&first, &next) }
	if err = s.db.View(ctx, look); err != nil || !claim || first == next {
		return first, wrap("recent", err)
	}
	err = s.db.Update(ctx, func(tx *store.Tx) error {
		if err := look(tx); err != nil {
			return err
		}
		_, err := tx.Exec("UPDATE folder SET recent = uidnext WHERE id = ?", id)
		return err
	})
	return first, wrap("recent", err)
}

// Create makes a folder and the missing ones above it. use is a RFC 6154
// attribute or "". ErrExists, ErrBadName.
func (s *Store) Create(ctx context.Context, account AccountID, name, use string) (f Folder, err error) {
	if name, err = CanonicalName(name); err != nil {
		return Folder{}, err
	}
	err = s.db.Update(ctx, func(tx *store.Tx) error {
		if _, err := find(tx, account, name); err == nil {
			return ErrExists
		} else if !errors.Is(err, store.ErrNoRows) {
			return err
		}
		if err := s.create(tx, account, name, use); err != nil {
			return err
		}
		f, err = find(tx, account, name)
		return err
	})
	return f, wrap("create", err)
}

// Ensure finds a folder inside a caller's transaction, and makes it if it is
// missing: how delivery gets at INBOX and at folders it may create.
func (s *Store) Ensure(tx *store.Tx, account AccountID, name string) (Folder, error) {
	name, err := CanonicalName(name)
	if err != nil {
		return Folder{}, err
	}
	f, err := find(tx, account, name)
	if !errors.Is(err, store.ErrNoRows) {
		return f, wrap("ensure", err)
	}
	if err := s.create(tx, account, name, ""); err != nil {
		return Folder{}, wrap("ensure", err)
	}
	f, err = find(tx, account, name)
	return f, wrap("ensure", err)
}

// create makes a folder that does not exist, and those above it.
func (s *Store) create(tx *store.Tx, account AccountID, name, use string) error {
	if err := s.createAbove(tx, account, name); err != nil {
		return err
	}
	return s.insert(tx, account, name, use)
}

// createAbove makes the missing folders above a name that is about to exist.
func (s *Store) createAbove(tx *store.Tx, account AccountID, name string) error {
	var n int
	if err := tx.QueryRow("SELECT count(*) FROM folder WHERE account = ? AND name IS NOT NULL", account).Scan(&n); err != nil {
		return err
	}
	if n+maxLevels > maxFolders {
		return ErrTooMany
	}
	s.changed(tx, account)
	for _, p := range parents(name) {
		if _, err := find(tx, account, p); err == nil {
			continue
		} else if !errors.Is(err, store.ErrNoRows) {
			return err
		}
		if err := s.insert(tx, account, p, ""); err != nil {
			return err
		}
	}
	return nil
}

// insert adds one folder. Its UIDVALIDITY is above all earlier ones
// of the account (RFC 3501, 2.3.1.1), so a name used again is told apart.
func (s *Store) insert(tx *store.Tx, account AccountID, name, use string) error {
	var validity int64
	err := tx.QueryRow(`INSERT INTO mailbox_account VALUES (?, ?)
		ON CONFLICT DO UPDATE SET validity = max(validity + 1, excluded.validity) RETURNING validity`,
		account, s.now().Unix()).Scan(&validity)
	if err != nil {
		return err
	}
	if validity > 1<<32-1 {
		return ErrFull
	}
	// Invariant: a name used again is told apart.
	if invariants.Enabled {
		var top int64
		if err := tx.QueryRow("SELECT coalesce(max(validity), 0) FROM folder WHERE account = ?", account).Scan(&top); err != nil {
			return err
		}
		if validity <= top {
			invariants.Broken("mailbox: UIDVALIDITY %d after %d", validity, top)
		}
	}
	_, err = tx.Exec("INSERT INTO folder (account, name, validity, use) VALUES (?, ?, ?, ?)", account, name, validity, use)
	return err
}

// Provision gives a new account its INBOX and the usual special folders
// (RFC 6154, 2), subscribed. What exists stays as it is.
func (s *Store) Provision(ctx context.Context, account AccountID) error {
	usual := []struct{ name, use string }{
		{Inbox, ""}, {"Archive", `\Archive`}, {"Drafts", `\Drafts`}, {"Junk", `\Junk`}, {"Sent", `\Sent`}, {"Trash", `\Trash`},
	}
	err := s.db.Update(ctx, func(tx *store.Tx) error {
		for _, u := range usual {
			if _, err := find(tx, account, u.name); err == nil {
				continue
			} else if !errors.Is(err, store.ErrNoRows) {
				return err
			}
			if err := errors.Join(s.create(tx, account, u.name, u.use), subscribe(tx, account, u.name, true)); err != nil {
				return err
			}
		}
		return nil
	})
	return wrap("provision", err)
}

// Subscribe adds a name to the account's subscriptions or takes it off. The
// folder need not exist (RFC 3501, 6.3.6).
func (s *Store) Subscribe(ctx context.Context, account AccountID, name string, on bool) error {
	name, err := CanonicalName(name)
	if err != nil {
		return err
	}
	return wrap("subscribe", s.db.Update(ctx, func(tx *store.Tx) error { return subscribe(tx, account, name, on) }))
}

func subscribe(tx *store.Tx, account AccountID, name string, on bool) error {
	if !on {
		_, err := tx.Exec("DELETE FROM subscription WHERE account = ? AND name = ?", account, name)
		return err
	}
	var n int
	if err := tx.QueryRow("SELECT count(*) FROM subscription WHERE account = ?", account).Scan(&n); err != nil {
		return err
	}
	if n >= maxFolders {
		return ErrTooMany
	}
	_, err := tx.Exec("INSERT INTO subscription VALUES (?, ?) ON CONFLICT DO NOTHING", account, name)
	return err
}

// Subscriptions lists the subscribed names; a folder of that name may be gone.
func (s *Store) Subscriptions(ctx context.Context, account AccountID) (names []string, err error) {
	err = s.db.View(ctx, func(tx *store.Tx) error {
		rows, err := tx.Query("SELECT name FROM subscription WHERE account = ? ORDER BY name", account)
		if err != nil {
			return err
		}
		for rows.Next() {
			var n string
			if err := rows.Scan(&n); err != nil {
				return err
			}
			names = append(names, n)
		}
		return rows.Err()
	})
	return names, wrap("subscriptions", err)
}

// Rename gives a folder and those below it new names and makes the missing
// ones above. Renaming INBOX moves its messages into a new folder and leaves
// those below it alone (RFC 3501, 6.3.5). Subscriptions keep the old name.
func (s *Store) Rename(ctx context.Context, account AccountID, from, to string) error {
	from, err := CanonicalName(from)
	if err != nil {
		return ErrNoFolder
	}
	if to, err = CanonicalName(to); err != nil {
		return err
	}
	if len(to) > len(from) && to[:len(from)+1] == from+Separator && from != Inbox {
		return fmt.Errorf("%w: %q lies below %q", ErrBadName, to, from)
	}
	return wrap("rename", s.db.Update(ctx, func(tx *store.Tx) error { return s.rename(tx, account, from, to) }))
}

func (s *Store) rename(tx *store.Tx, account AccountID, from, to string) error {
	src, err := find(tx, account, from)
	if err != nil {
		return err
	}
	if _, err := find(tx, account, to); err == nil {
		return ErrExists
	} else if !errors.Is(err, store.ErrNoRows) {
		return err
	}
	if from == Inbox {
		return s.emptyInbox(tx, src, to)
	}
	if err := errors.Join(s.createAbove(tx, account, to), checkBelow(tx, account, from, to)); err != nil {
		return err
	}
	_, err = tx.Exec(`UPDATE folder SET name = ? || substr(name, ?)
		WHERE account = ? AND (name = ? OR substr(name, 1, ?) = ?)`,
		to, runes(from)+1, account, from, runes(from)+1, from+Separator)
	if errors.Is(err, store.ErrUnique) {
		return ErrExists
	}
	return err
}

// checkBelow refuses a renaming after which a folder below could not be named
// any more, and its messages not be reached.
func checkBelow(tx *store.Tx, account AccountID, from, to string) error {
	rows, err := tx.Query("SELECT name FROM folder WHERE account = ? AND substr(name, 1, ?) = ?", account, runes(from)+1, from+Separator)
	if err != nil {
		return err
	}
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return err
		}
		if _, err := CanonicalName(to + name[len(from):]); err != nil {
			return err
		}
	}
	return rows.Err()
}

func runes(s string) int { return len([]rune(s)) }

func (s *Store) emptyInbox(tx *store.Tx, inbox Folder, to string) error {
	if err := s.create(tx, inbox.Account, to, ""); err != nil {
		return err
	}
	dst, err := find(tx, inbox.Account, to)
	if err != nil {
		return err
	}
	uids, err := uidsOf(tx, "SELECT uid FROM entry WHERE folder = ? ORDER BY uid", inbox.ID)
	if err != nil {
		return err
	}
	_, err = s.move(tx, inbox.ID, dst.ID, uids)
	return err
}

func uidsOf(tx *store.Tx, query string, args ...any) (uids []UID, err error) {
	rows, err := tx.Query(query, args...)
	if err != nil {
		return nil, err
	}
	for rows.Next() {
		var n int64
		if err := rows.Scan(&n); err != nil {
			return nil, err
		}
		uids = append(uids, UID(n))
	}
	return uids, rows.Err()
}

// Delete removes a folder and its messages; those below it stay (RFC 3501,
// 6.3.4). ErrInbox, ErrNoFolder.
func (s *Store) Delete(ctx context.Context, account AccountID, name string) error {
	name, err := CanonicalName(name)
	switch {
	case err != nil:
		return ErrNoFolder
	case name == Inbox:
		return ErrInbox
	}
	err = s.db.Update(ctx, func(tx *store.Tx) error {
		r, err := tx.Exec("UPDATE folder SET name = NULL WHERE account = ? AND name = ?", account, name)
		if err == nil && r.Changes == 0 {
			return ErrNoFolder
		}
		s.changed(tx, account)
		return err
	})
	if err != nil {
		return wrap("delete", err)
	}
	if err := s.purge(context.WithoutCancel(ctx)); err != nil {
		s.log.Warn("mailbox: purging a deleted folder; it is tried again later", "error", err)
	}
	return nil
}

// DeleteAccount removes all folders and subscriptions of an account.
func (s *Store) DeleteAccount(ctx context.Context, account AccountID) error {
	err := s.db.Update(ctx, func(tx *store.Tx) error {
		s.changed(tx, account)
		_, err := tx.Exec("UPDATE folder SET name = NULL WHERE account = ?", account)
		if err != nil {
			return err
		}
		_, err = tx.Exec("DELETE FROM subscription WHERE account = ?", account)
		return err
	})
	if err != nil {
		return wrap("delete account", err)
	}
	return s.purge(ctx)
}

// purge removes the messages of deleted folders, some at a time so that others
// can write in between.
func (s *Store) purge(ctx context.Context) error {
	for more := true; more; {
		err := s.db.Update(ctx, func(tx *store.Tx) error {
			var id FolderID
			err := tx.QueryRow("SELECT id FROM folder WHERE name IS NULL LIMIT 1").Scan(&id)
			if errors.Is(err, store.ErrNoRows) {
				more = false
				return nil
			}
			if err != nil {
				return err
			}
			return purgeSome(tx, id)
		})
		if err != nil {
			return wrap("purge", err)
		}
	}
	return nil
}

func purgeSome(tx *store.Tx, id FolderID) error {
	uids, err := uidsOf(tx, "SELECT uid FROM entry WHERE folder = ? LIMIT ?", id, chunk)
	if err != nil {
		return err
	}
	if len(uids) == 0 {
		if _, err := tx.Exec("DELETE FROM vanished WHERE folder = ?", id); err != nil {
			return err
		}
		_, err := tx.Exec("DELETE FROM folder WHERE id = ?", id)
		return err
	}
	for _, u := range uids {
		if _, err := removeEntry(tx, id, u); err != nil {
			return err
		}
	}
	return nil
}
