package mailbox

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"mtad/internal/invariants"
	"mtad/journal"
	"mtad/message"
	"mtad/store"
)

// Deliver adds a message to a folder inside a caller's transaction and returns
// its UID, which nobody sees before the commit. The caller has called
// store.Tx.Place for e.Message; Deliver counts its own reference. UID and
// ModSeq of e are ignored; Size is octets of prefix and rest.
func (s *Store) Deliver(tx *store.Tx, folder FolderID, e Entry) (UID, error) {
	e.Flags.Keywords = normal(e.Flags.Keywords)
	if err := validKeywords(e.Flags.Keywords); err != nil {
		return 0, wrap("deliver", err)
	}
	account, err := insertEntry(tx, folder, &e)
	if err != nil {
		return 0, wrap("deliver", err)
	}
	s.changed(tx, account)
	return e.UID, nil
}

// insertEntry gives e its UID and mod-sequence.
func insertEntry(tx *store.Tx, folder FolderID, e *Entry) (account AccountID, err error) {
	var uid, modseq, owner int64
	err = tx.QueryRow(`UPDATE folder SET uidnext = uidnext + 1, modseq = modseq + 1,
			messages = messages + 1, unseen = unseen + ?, deleted = deleted + ?, size = size + ?
		WHERE id = ? AND name IS NOT NULL RETURNING uidnext - 1, modseq, account`,
		count(!e.Flags.System.Has(Seen)), count(e.Flags.System.Has(Deleted)), e.Size, int64(folder)).
		Scan(&uid, &modseq, &owner)
	if err != nil {
		return 0, err
	}
	if uid >= 1<<32-1 {
		return 0, ErrFull
	}
	// Invariant: UIDs only rise.
	if invariants.Enabled {
		if err := checkNext(tx, folder, uid); err != nil {
			return 0, err
		}
	}
	e.UID, e.ModSeq = UID(uid), ModSeq(modseq)
	_, zone := e.Date.Zone()
	var summary any // NULL where there is none
	if len(e.Summary) > 0 {
		summary = e.Summary
	}
	_, err = tx.Exec("INSERT INTO entry VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
		int64(folder), uid, modseq, int64(e.Flags.System), joinKeywords(e.Flags.Keywords),
		int64(e.Message), e.Skip, e.Size, e.Date.Unix(), zone, e.Prefix, summary)
	if err != nil {
		return 0, err
	}
	return AccountID(owner), tx.Ref(e.Message, 1)
}

// checkNext checks that a new message's UID is above all in the folder (RFC 3501,
// 2.3.1.1).
func checkNext(tx *store.Tx, folder FolderID, uid int64) error {
	var top int64
	if err := tx.QueryRow("SELECT coalesce(max(uid), 0) FROM entry WHERE folder = ?", int64(folder)).Scan(&top); err != nil {
		return err
	}
	if uid <= top {
		invariants.Broken("mailbox: UID %d after %d in folder %d", uid, top, folder)
	}
	return nil
}

func count(b bool) int {
	if b {
		return 1
	}
	return 0
}

// Append stores a message that no SMTP session brought (RFC 3501, 6.3.11):
// octets into the journal, then the row.
func (s *Store) Append(ctx context.Context, folder FolderID, b message.Bytes, flags Flags, date time.Time) (UID, error) {
	if _, err := s.Status(ctx, folder); err != nil {
		return 0, err
	}
	id := message.NewID(s.now())
	place, err := s.db.Journal().Append(ctx, journal.Record{ID: id, Kind: journal.KindBytes, Body: b})
	if err != nil {
		return 0, wrap("append", err)
	}
	var uid UID
	err = s.db.Update(context.WithoutCancel(ctx), func(tx *store.Tx) error {
		if err := tx.Place(id, place); err != nil {
			return err
		}
		tx.Applied(place)
		uid, err = s.Deliver(tx, folder, Entry{Item: Item{Flags: flags}, Message: id, Size: b.Size(), Date: date})
		return err
	})
	if err != nil {
		s.db.Journal().Done(place)
		return 0, err
	}
	return uid, nil
}

// Snapshot is a folder's messages by UID, and its mod-sequence.
func (s *Store) Snapshot(ctx context.Context, folder FolderID) (items []Item, now ModSeq, err error) {
	err = s.db.View(ctx, func(tx *store.Tx) error {
		var n int
		if err := tx.QueryRow("SELECT modseq, messages FROM folder WHERE id = ? AND name IS NOT NULL", folder).Scan(&now, &n); err != nil {
			return err
		}
		items = make([]Item, 0, n)
		items, err = readItems(tx, items, "SELECT uid, modseq, flags, keywords FROM entry WHERE folder = ? ORDER BY uid", folder)
		return err
	})
	return items, now, wrap("snapshot", err)
}

func readItems(tx *store.Tx, items []Item, query string, args ...any) ([]Item, error) {
	rows, err := tx.Query(query, args...)
	if err != nil {
		return nil, err
	}
	var kr keywordReader
	var uid, modseq, flags int64
	var keywords string
	dst := []any{&uid, &modseq, &flags, &keywords}
	for rows.Next() {
		if err := rows.Scan(dst...); err != nil {
			return nil, err
		}
		items = append(items, Item{UID(uid), ModSeq(modseq), Flags{SystemFlags(flags), kr.read(keywords)}})
	}
	return items, rows.Err()
}

// Changes is what happened to a folder after since: messages that are new or
// whose flags changed, and UIDs that are gone. Where so much was removed that
// the log of removals does not reach back to since, vanished is every UID
// below UIDNext that is not there.
func (s *Store) Changes(ctx context.Context, folder FolderID, since ModSeq) (changed []Item, vanished []UID, now ModSeq, err error) {
	err = s.db.View(ctx, func(tx *store.Tx) error {
		var floor ModSeq
		var next UID
		if err := tx.QueryRow("SELECT modseq, floor, uidnext FROM folder WHERE id = ? AND name IS NOT NULL", folder).Scan(&now, &floor, &next); err != nil {
			return err
		}
		if now <= since {
			return nil
		}
		changed, err = readItems(tx, nil, "SELECT uid, modseq, flags, keywords FROM entry WHERE folder = ? AND modseq > ?", folder, since)
		if err != nil {
			return err
		}
		slices.SortFunc(changed, func(a, b Item) int { return cmp.Compare(a.UID, b.UID) })
		vanished, err = vanishedSince(tx, folder, since, floor, next)
		return err
	})
	return changed, vanished, now, wrap("changes", err)
}

func vanishedSince(tx *store.Tx, folder FolderID, since, floor ModSeq, next UID) ([]UID, error) {
	if since >= floor {
		return uidsOf(tx, "SELECT uid FROM vanished WHERE folder = ? AND modseq > ? ORDER BY uid", folder, since)
	}
	present, err := uidsOf(tx, "SELECT uid FROM entry WHERE folder = ? ORDER BY uid", folder)
	if err != nil {
		return nil, err
	}
	var gone []UID
	at := UID(1)
	for _, u := range append(present, next) {
		for ; at < u; at++ {
			gone = append(gone, at)
		}
		at = u + 1
	}
	return gone, nil
}

// Entries reads messages of a folder in UID order; UIDs that are not there are
// left out.
func (s *Store) Entries(ctx context.Context, folder FolderID, uids []UID) (out []Entry, err error) {
	uids = ordered(uids)
	if len(uids) == 0 {
		return nil, nil
	}
	err = s.db.View(ctx, func(tx *store.Tx) error {
		out = make([]Entry, 0, len(uids))
		if first, last := uids[0], uids[len(uids)-1]; int(last-first) < 2*len(uids) {
			out, err = readRange(tx, out, folder, uids)
			return err
		}
		var r entryReader
		for _, u := range uids {
			e, err := r.one(tx, folder, u)
			if errors.Is(err, store.ErrNoRows) {
				continue
			}
			if err != nil {
				return err
			}
			out = append(out, e)
		}
		return nil
	})
	return out, wrap("entries", err)
}

// readRange reads rows whose UIDs lie close together in one walk.
func readRange(tx *store.Tx, out []Entry, folder FolderID, uids []UID) ([]Entry, error) {
	rows, err := tx.Query("SELECT "+entryColumns+" FROM entry WHERE folder = +? AND uid BETWEEN +? AND +? ORDER BY uid",
		int64(folder), int64(uids[0]), int64(uids[len(uids)-1]))
	if err != nil {
		return nil, err
	}
	var r entryReader
	for rows.Next() {
		e, err := r.read(rows)
		if err != nil {
			return nil, err
		}
		for uids[0] < e.UID { // uids ends with the last one there can be
			uids = uids[1:]
		}
		if uids[0] == e.UID {
			out = append(out, e)
		}
	}
	return out, rows.Err()
}

// ordered sorts UIDs and drops doubles.
func ordered(uids []UID) []UID {
	if !slices.IsSorted(uids) {
		uids = slices.Sorted(slices.Values(uids))
	}
	return slices.Compact(slices.Clone(uids))
}

const entryColumns = "uid, modseq, flags, keywords, message, skip, size, date, zone, prefix, summary"

// entryReader turns rows into entries. What rows that follow each other mostly
// share, they share.
type entryReader struct {
	keywords keywordReader
	zone     *time.Location
	east     int // of zone, in seconds
}

func (r *entryReader) one(tx *store.Tx, folder FolderID, uid UID) (Entry, error) {
	return r.read(tx.QueryRow("SELECT "+entryColumns+" FROM entry WHERE folder = ? AND uid = ?", int64(folder), int64(uid)))
}

func (r *entryReader) read(row interface{ Scan(...any) error }) (e Entry, err error) {
	var uid, modseq, flags, id, date int64
	var zone int
	var keywords string
	if err := row.Scan(&uid, &modseq, &flags, &keywords, &id, &e.Skip, &e.Size, &date, &zone, &e.Prefix, &e.Summary); err != nil {
		return Entry{}, err
	}
	if r.zone == nil || r.east != zone {
		r.zone, r.east = time.FixedZone("", zone), zone
	}
	e.Item = Item{UID(uid), ModSeq(modseq), Flags{SystemFlags(flags), r.keywords.read(keywords)}}
	e.Message = message.ID(id)
	e.Date = time.Unix(date, 0).In(r.zone)
	return e, nil
}

// Open opens a message's octets. ErrGone if it was removed since e was read.
func (s *Store) Open(ctx context.Context, e Entry) (Content, error) {
	c, err := s.db.BytesAt(ctx, e.Message, e.place)
	if errors.Is(err, store.ErrNoMessage) {
		return nil, fmt.Errorf("%w: %w", ErrGone, err)
	}
	if err != nil {
		return nil, wrap("open", err)
	}
	if len(e.Prefix) == 0 && e.Skip == 0 {
		return c, nil
	}
	return &prefixed{Content: c, prefix: e.Prefix, skip: e.Skip}, nil
}

// prefixed is octets of its own followed by a journalled message from skip on.
type prefixed struct {
	*journal.Content
	prefix []byte
	skip   int64
}

func (p *prefixed) Size() int64 { return int64(len(p.prefix)) + max(p.Content.Size()-p.skip, 0) }

func (p *prefixed) ReadAt(b []byte, off int64) (int, error) {
	if off < 0 {
		return 0, errors.New("mailbox: negative offset")
	}
	n := 0
	if off < int64(len(p.prefix)) {
		n = copy(b, p.prefix[off:])
		if n == len(b) {
			return n, nil
		}
	}
	if off+int64(n) >= p.Size() {
		return n, io.EOF
	}
	m, err := p.Content.ReadAt(b[n:], off+int64(n)-int64(len(p.prefix))+p.skip)
	return n + m, err
}
