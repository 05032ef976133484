package mailbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"mtad/journal"
	"mtad/message"
	"mtad/store"
)

const alice = AccountID(1)

func bg() context.Context { return context.Background() }

func testDate() time.Time {
	return time.Date(2026, 3, 4, 5, 6, 7, 0, time.FixedZone("", 3600))
}

func openStore(t testing.TB, dir string) (*Store, *store.DB) {
	t.Helper()
	db, err := store.Open(dir, store.Options{}, Schema())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	s, err := Open(bg(), db, Options{Now: func() time.Time { return time.Unix(1_800_000_000, 0) }})
	if err != nil {
		t.Fatal(err)
	}
	return s, db
}

func create(t testing.TB, s *Store, name string) Folder {
	t.Helper()
	f, err := s.Create(bg(), alice, name, "")
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func appendText(t testing.TB, s *Store, f FolderID, text string, flags Flags) UID {
	t.Helper()
	uid, err := s.Append(bg(), f, message.FromBytes([]byte(text)), flags, testDate())
	if err != nil {
		t.Fatal(err)
	}
	return uid
}

func names(t testing.TB, s *Store) string {
	t.Helper()
	list, err := s.Folders(bg(), alice)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, f := range list {
		out = append(out, f.Name)
	}
	return strings.Join(out, " ")
}

func text(t testing.TB, s *Store, e Entry) string {
	t.Helper()
	c, err := s.Open(bg(), e)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	b, err := io.ReadAll(io.NewSectionReader(c, 0, c.Size()))
	if err != nil || int64(len(b)) != e.Size {
		t.Fatalf("%d octets of %d, %v", len(b), e.Size, err)
	}
	return string(b)
}

func TestCanonicalName(t *testing.T) {
	for name, want := range map[string]string{
		"inbox": "INBOX", "Inbox/x": "INBOX/x", "a/b/": "a/b", "a/inbox": "a/inbox", "Entwürfe": "Entwürfe",
		"": "", "/a": "", "a//b": "", "a/../b": "", "a\x00": "", "a%": "", "*": "", "\xff": "",
		strings.Repeat("a", 1001): "", strings.Repeat("a/", 21) + "b": "",
	} {
		got, err := CanonicalName(name)
		if got != want || (err == nil) != (want != "") || err != nil && !errors.Is(err, ErrBadName) {
			t.Errorf("%q: %q, %v", name, got, err)
		}
	}
}

func TestFolders(t *testing.T) {
	s, _ := openStore(t, t.TempDir())
	if err := s.Provision(bg(), alice); err != nil {
		t.Fatal(err)
	}
	if err := s.Provision(bg(), alice); err != nil {
		t.Fatal(err)
	}
	if got := names(t, s); got != "Archive Drafts INBOX Junk Sent Trash" {
		t.Error(got)
	}
	sent, err := s.Folder(bg(), alice, "Sent")
	if err != nil || sent.Use != `\Sent` || !sent.Subscribed || sent.UIDNext != 1 || sent.UIDValidity < 1_800_000_000 {
		t.Errorf("%+v, %v", sent, err)
	}
	deep := create(t, s, "a/b/c")
	if got := names(t, s); got != "Archive Drafts INBOX Junk Sent Trash a a/b a/b/c" {
		t.Error(got)
	}
	if _, err := s.Create(bg(), alice, "a/b", ""); !errors.Is(err, ErrExists) {
		t.Error(err)
	}
	if err := s.Delete(bg(), alice, "inbox"); !errors.Is(err, ErrInbox) {
		t.Error(err)
	}
	for _, bad := range []string{"nope", "a//b"} {
		if err := s.Delete(bg(), alice, bad); !errors.Is(err, ErrNoFolder) {
			t.Errorf("%s: %v", bad, err)
		}
		if _, err := s.Folder(bg(), alice, bad); !errors.Is(err, ErrNoFolder) {
			t.Errorf("%s: %v", bad, err)
		}
	}
	if err := s.Delete(bg(), alice, "a/b/c"); err != nil {
		t.Error(err)
	}
	if again := create(t, s, "a/b/c"); again.UIDValidity <= deep.UIDValidity || again.ID == deep.ID {
		t.Errorf("%+v after %+v", again, deep)
	}
	if _, err := s.Status(bg(), deep.ID); !errors.Is(err, ErrNoFolder) {
		t.Error(err)
	}
	if err := s.DeleteAccount(bg(), alice); err != nil || names(t, s) != "" {
		t.Error(err, names(t, s))
	}
}

func TestRename(t *testing.T) {
	s, _ := openStore(t, t.TempDir())
	create(t, s, "INBOX/sub")
	f := create(t, s, "ä/b")
	create(t, s, "äx")
	uid := appendText(t, s, f.ID, "hello", Flags{})
	for _, tc := range []struct {
		from, to string
		want     error
	}{
		{"ä", "new/place", nil},
		{"ä", "other", ErrNoFolder},
		{"äx", "new", ErrExists},
		{"new", "new/below", ErrBadName},
		{"inbox", "old mail", nil},
	} {
		if err := s.Rename(bg(), alice, tc.from, tc.to); !errors.Is(err, tc.want) {
			t.Errorf("%s to %s: %v", tc.from, tc.to, err)
		}
	}
	if got := names(t, s); got != "INBOX INBOX/sub new new/place new/place/b old mail äx" {
		t.Error(got)
	}
	g, err := s.Folder(bg(), alice, "new/place/b")
	if err != nil || g.ID != f.ID || g.UIDNext != uid+1 {
		t.Errorf("%+v, %v", g, err)
	}
}

// TestRenameKeepsWhatIsBelowReachable refuses to push folders below so deep, or
// to make their names so long, that none could open them any more.
func TestRenameKeepsWhatIsBelowReachable(t *testing.T) {
	s, _ := openStore(t, t.TempDir())
	create(t, s, "a/b/c")
	deep := strings.Repeat("x/", maxLevels-2) + "y"
	long := strings.Repeat("x", maxName-2)
	for _, to := range []string{deep, long} {
		if err := s.Rename(bg(), alice, "a", to); !errors.Is(err, ErrBadName) {
			t.Errorf("renamed to %.20s...: %v", to, err)
		}
	}
	if got := names(t, s); got != "a a/b a/b/c" {
		t.Error(got)
	}
}

func TestRenameInboxMovesMessages(t *testing.T) {
	s, _ := openStore(t, t.TempDir())
	in := create(t, s, "INBOX")
	appendText(t, s, in.ID, "one", Flags{System: Seen})
	appendText(t, s, in.ID, "two", Flags{})
	if err := s.Rename(bg(), alice, "INBOX", "Old"); err != nil {
		t.Fatal(err)
	}
	old, err := s.Folder(bg(), alice, "Old")
	if err != nil {
		t.Fatal(err)
	}
	a, _ := s.Status(bg(), in.ID)
	b, _ := s.Status(bg(), old.ID)
	if a.Messages != 0 || a.Size != 0 || b.Messages != 2 || b.Unseen != 1 || b.Size != 6 {
		t.Errorf("%+v\n%+v", a, b)
	}
}

func TestSubscriptions(t *testing.T) {
	s, _ := openStore(t, t.TempDir())
	create(t, s, "a")
	for _, n := range []string{"a", "gone", "a"} {
		if err := s.Subscribe(bg(), alice, n, true); err != nil {
			t.Fatal(err)
		}
	}
	s.Delete(bg(), alice, "a")
	if got, err := s.Subscriptions(bg(), alice); err != nil || fmt.Sprint(got) != "[a gone]" {
		t.Error(got, err)
	}
	s.Subscribe(bg(), alice, "gone", false)
	if got, _ := s.Subscriptions(bg(), alice); fmt.Sprint(got) != "[a]" {
		t.Error(got)
	}
}

func TestDeliver(t *testing.T) {
	s, db := openStore(t, t.TempDir())
	id := message.ID(77)
	raw := "Subject: old\r\n\r\nbody\r\n"
	place, err := db.Journal().Append(bg(), journal.Record{ID: id, Kind: 1, Body: message.FromBytes([]byte(raw))})
	if err != nil {
		t.Fatal(err)
	}
	w := s.Watch(alice)
	defer w.Close()
	header := "Return-Path: <>\r\nSubject: new\r\n\r\n"
	var plain, edited UID
	var in Folder
	err = db.Update(bg(), func(tx *store.Tx) error {
		if in, err = s.Ensure(tx, alice, "inbox"); err != nil {
			return err
		}
		tx.Applied(place)
		if err := tx.Place(id, place); err != nil {
			return err
		}
		e := Entry{Message: id, Prefix: []byte("Delivered-To: a\r\n"), Size: int64(len(raw)) + 17, Date: testDate()}
		if plain, err = s.Deliver(tx, in.ID, e); err != nil {
			return err
		}
		e.Prefix, e.Skip, e.Size = []byte(header), 16, int64(len(header)+6)
		e.Flags = Flags{Seen | Deleted, []string{"b", "A", "a"}}
		edited, err = s.Deliver(tx, in.ID, e)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	<-w.C
	got, err := s.Entries(bg(), in.ID, []UID{edited, 99, plain, edited})
	if err != nil || len(got) != 2 || got[0].UID != plain || got[1].UID != edited {
		t.Fatalf("%+v, %v", got, err)
	}
	if a, b := text(t, s, got[0]), text(t, s, got[1]); a != "Delivered-To: a\r\n"+raw || b != header+"body\r\n" {
		t.Errorf("%q\n%q", a, b)
	}
	if !got[0].Date.Equal(testDate()) || got[0].Date.Format(time.RFC3339) != "2026-03-04T05:06:07+01:00" {
		t.Error(got[0].Date)
	}
	if f := got[1].Flags; f.System != Seen|Deleted || fmt.Sprint(f.Keywords) != "[A b]" {
		t.Errorf("%+v", f)
	}
	st, _ := s.Status(bg(), in.ID)
	if st.Messages != 2 || st.Unseen != 1 || st.Deleted != 1 || st.Size != got[0].Size+got[1].Size || st.HighestModSeq != got[1].ModSeq {
		t.Errorf("%+v", st)
	}
	if _, err := s.Expunge(bg(), in.ID, nil); err != nil {
		t.Fatal(err)
	}
	if text(t, s, got[1]) == "" {
		t.Error("the other copy lost its octets")
	}
	s.SetFlags(bg(), in.ID, []UID{plain}, Add, Flags{System: Deleted}, 0)
	s.Expunge(bg(), in.ID, nil)
	if _, err := s.Open(bg(), got[0]); !errors.Is(err, ErrGone) {
		t.Errorf("octets nobody refers to: %v", err)
	}
}

// Reading in small pieces crosses the border between prefix and journal.
func TestPrefixedReadAt(t *testing.T) {
	s, db := openStore(t, t.TempDir())
	place, err := db.Journal().Append(bg(), journal.Record{ID: 5, Kind: 1, Body: message.FromBytes([]byte("0123456789"))})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Update(bg(), func(tx *store.Tx) error { return errors.Join(tx.Place(5, place), tx.Ref(5, 1)) }); err != nil {
		t.Fatal(err)
	}
	c, err := s.Open(bg(), Entry{Message: 5, Prefix: []byte("abc"), Skip: 4})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	want := "abc456789"
	for off := range len(want) + 2 {
		for n := range len(want) + 3 {
			b := make([]byte, n)
			m, err := c.ReadAt(b, int64(off))
			expect := want[min(off, len(want)):min(off+n, len(want))]
			if string(b[:m]) != expect || m < n && !errors.Is(err, io.EOF) {
				t.Errorf("%d at %d: %q, %v", n, off, b[:m], err)
			}
		}
	}
	if _, err := c.ReadAt(make([]byte, 1), -1); err == nil {
		t.Error("negative offset")
	}
}

func TestAppendRefusals(t *testing.T) {
	s, db := openStore(t, t.TempDir())
	if _, err := s.Append(bg(), 99, message.FromBytes(nil), Flags{}, testDate()); !errors.Is(err, ErrNoFolder) {
		t.Error(err)
	}
	f := create(t, s, "x")
	for _, k := range []string{"", "two words", strings.Repeat("k", 200)} {
		if _, err := s.Append(bg(), f.ID, message.FromBytes(nil), Flags{Keywords: []string{k}}, testDate()); !errors.Is(err, ErrTooMany) {
			t.Errorf("%q: %v", k, err)
		}
		if _, _, err := s.SetFlags(bg(), f.ID, nil, Add, Flags{Keywords: []string{k}}, 0); !errors.Is(err, ErrTooMany) {
			t.Errorf("%q: %v", k, err)
		}
	}
	if n, _ := db.Journal().Outstanding(); n != 0 {
		t.Errorf("%d records outstanding", n)
	}
}

func TestUnchangedSince(t *testing.T) {
	s, _ := openStore(t, t.TempDir())
	f := create(t, s, "x")
	a, b := appendText(t, s, f.ID, "a", Flags{}), appendText(t, s, f.ID, "b", Flags{})
	_, since, _ := s.Snapshot(bg(), f.ID)
	s.SetFlags(bg(), f.ID, []UID{a}, Add, Flags{System: Flagged}, 0)
	changed, modified, err := s.SetFlags(bg(), f.ID, []UID{a, b, 50}, Add, Flags{System: Seen, Keywords: []string{"k"}}, since)
	if err != nil || fmt.Sprint(modified) != "[1]" || len(changed) != 1 || changed[0].UID != b || !changed[0].Flags.System.Has(Seen) {
		t.Errorf("%+v %v %v", changed, modified, err)
	}
	before, _ := s.Status(bg(), f.ID)
	changed, _, _ = s.SetFlags(bg(), f.ID, []UID{b}, Add, Flags{System: Seen, Keywords: []string{"K"}}, 0)
	after, _ := s.Status(bg(), f.ID)
	if len(changed) != 1 || before.HighestModSeq != after.HighestModSeq {
		t.Errorf("nothing changed, but %v, %d to %d", changed, before.HighestModSeq, after.HighestModSeq)
	}
}

func TestRecent(t *testing.T) {
	s, _ := openStore(t, t.TempDir())
	f := create(t, s, "x")
	appendText(t, s, f.ID, "a", Flags{})
	for i, want := range []struct {
		claim bool
		first UID
	}{{false, 1}, {true, 1}, {true, 2}, {false, 2}} {
		if first, err := s.Recent(bg(), f.ID, want.claim); err != nil || first != want.first {
			t.Errorf("%d: %d, %v", i, first, err)
		}
	}
}

func TestWatch(t *testing.T) {
	s, _ := openStore(t, t.TempDir())
	w, other := s.Watch(alice), s.Watch(2)
	f := create(t, s, "x")
	<-w.C
	appendText(t, s, f.ID, "a", Flags{})
	appendText(t, s, f.ID, "a", Flags{})
	<-w.C
	select {
	case <-w.C:
		t.Error("changes were not coalesced")
	case <-other.C:
		t.Error("another account was told")
	default:
	}
	w.Close()
	other.Close()
	if len(s.watch.all) != 0 {
		t.Errorf("%d watched", len(s.watch.all))
	}
}

func TestVanishedLogIsBounded(t *testing.T) {
	s, db := openStore(t, t.TempDir())
	f := create(t, s, "x")
	appendText(t, s, f.ID, "a", Flags{})
	_, start, _ := s.Snapshot(bg(), f.ID)
	s.keep = 1000
	const n = 3500
	fill(t, s, db, f.ID, n, Deleted)
	if gone, err := s.Expunge(bg(), f.ID, nil); err != nil || len(gone) != n {
		t.Fatal(len(gone), err)
	}
	var rows int
	db.View(bg(), func(tx *store.Tx) error { return tx.QueryRow("SELECT count(*) FROM vanished").Scan(&rows) })
	if rows > 2*s.keep {
		t.Errorf("%d rows", rows)
	}
	_, vanished, now, err := s.Changes(bg(), f.ID, start)
	if err != nil || len(vanished) != n || vanished[0] != 2 || vanished[n-1] != n+1 {
		t.Errorf("%d vanished, %v", len(vanished), err)
	}
	if _, vanished, _, _ := s.Changes(bg(), f.ID, now-1); len(vanished) != 500 {
		t.Errorf("%d vanished in the last step", len(vanished))
	}
}

// fill adds n messages that share their octets.
func fill(t testing.TB, s *Store, db *store.DB, f FolderID, n int, flags SystemFlags) {
	t.Helper()
	id := message.NewID(time.Now())
	place, err := db.Journal().Append(bg(), journal.Record{ID: id, Body: message.FromBytes([]byte("body"))})
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(bg(), func(tx *store.Tx) error {
		tx.Applied(place)
		if err := tx.Place(id, place); err != nil {
			return err
		}
		for range n {
			e := Entry{Item: Item{Flags: Flags{System: flags}}, Message: id, Prefix: []byte("Delivered-To: alice@example.test\r\n"), Size: 38, Date: testDate()}
			if _, err := s.Deliver(tx, f, e); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// A deletion that a crash interrupted is finished at the next start.
func TestPurgeGoesOn(t *testing.T) {
	dir := t.TempDir()
	s, db := openStore(t, dir)
	f := create(t, s, "x")
	fill(t, s, db, f.ID, chunk+5, 0)
	if err := db.Update(bg(), func(tx *store.Tx) error {
		_, err := tx.Exec("UPDATE folder SET name = NULL")
		return err
	}); err != nil {
		t.Fatal(err)
	}
	db.Close()
	_, db = openStore(t, dir)
	for _, table := range []string{"folder", "entry", "message"} {
		var n int
		if err := db.View(bg(), func(tx *store.Tx) error { return tx.QueryRow("SELECT count(*) FROM " + table).Scan(&n) }); err != nil || n != 0 {
			t.Errorf("%s: %d rows, %v", table, n, err)
		}
	}
}

func BenchmarkDeliver(b *testing.B) {
	for _, writers := range []int{1, 20, 100} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			s, db := openStore(b, b.TempDir())
			f := create(b, s, "INBOX")
			body := message.FromBytes(make([]byte, 10<<10))
			b.ReportAllocs()
			var left atomic.Int64
			left.Store(int64(b.N))
			b.ResetTimer()
			var wg sync.WaitGroup
			for range writers {
				wg.Add(1)
				go func() {
					defer wg.Done()
					for left.Add(-1) >= 0 {
						deliverOne(b, s, db, f.ID, body)
					}
				}()
			}
			wg.Wait()
		})
	}
}

func deliverOne(b *testing.B, s *Store, db *store.DB, f FolderID, body message.Bytes) {
	id := message.NewID(time.Now())
	place, err := db.Journal().Append(bg(), journal.Record{ID: id, Kind: 1, Body: body})
	if err == nil {
		err = db.Update(bg(), func(tx *store.Tx) error {
			tx.Applied(place)
			if err := tx.Place(id, place); err != nil {
				return err
			}
			_, err := s.Deliver(tx, f, Entry{Message: id, Size: body.Size(), Date: testDate()})
			return err
		})
	}
	if err != nil {
		b.Error(err)
	}
}

func BenchmarkFolderOf10000(b *testing.B) {
	s, db := openStore(b, b.TempDir())
	f := create(b, s, "INBOX")
	fill(b, s, db, f.ID, 10000, 0)
	items, _, err := s.Snapshot(bg(), f.ID)
	if err != nil || len(items) != 10000 {
		b.Fatal(len(items), err)
	}
	uids := make([]UID, len(items))
	for i, it := range items {
		uids[i] = it.UID
	}
	b.Run("Snapshot", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			s.Snapshot(bg(), f.ID)
		}
	})
	b.Run("SetFlags", func(b *testing.B) {
		b.ReportAllocs()
		for op := Add; b.Loop(); op = 1 - op {
			if _, _, err := s.SetFlags(bg(), f.ID, uids, op, Flags{System: Seen}, 0); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("Entries", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			s.Entries(bg(), f.ID, uids)
		}
	})
	b.Run("Changes", func(b *testing.B) {
		_, now, _ := s.Snapshot(bg(), f.ID)
		b.ReportAllocs()
		for b.Loop() {
			s.Changes(bg(), f.ID, now-1)
		}
	})
}

func FuzzCanonicalName(f *testing.F) {
	for _, n := range []string{"INBOX", "a/b", "inbox/ü", "/", "a//b"} {
		f.Add(n)
	}
	f.Fuzz(func(t *testing.T, name string) {
		c, err := CanonicalName(name)
		if err != nil {
			return
		}
		if again, err := CanonicalName(c); err != nil || again != c {
			t.Errorf("%q, then %q, %v", c, again, err)
		}
		if p := parents(c); !slices.IsSorted(p) || len(p) != strings.Count(c, "/") {
			t.Errorf("parents of %q: %q", c, p)
		}
	})
}

// TestValidKeyword holds that no keyword can break the list of flags that IMAP
// writes it into.
func TestValidKeyword(t *testing.T) {
	for _, good := range []string{"$Junk", "work", "a.b-c", "x+y", strings.Repeat("k", maxKeywordLen)} {
		if !ValidKeyword(good) {
			t.Errorf("%q is refused", good)
		}
	}
	for _, bad := range []string{"", "a)", "(a", "a b", `a"b`, `\Seen`, "a]", "a{1}", "50%", "a*", "ä", "a\r\nb", strings.Repeat("k", maxKeywordLen+1)} {
		if ValidKeyword(bad) {
			t.Errorf("%q is taken", bad)
		}
	}
}
