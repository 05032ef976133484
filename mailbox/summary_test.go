package mailbox

import (
	"errors"
	"strings"
	"testing"

	"mtad/message"
	"mtad/store"
)

func TestRemember(t *testing.T) {
	s, _ := openStore(t, t.TempDir())
	f, g := create(t, s, "f"), create(t, s, "g")
	a, b := appendText(t, s, f.ID, "a", Flags{}), appendText(t, s, f.ID, "b", Flags{})
	_, before, err := s.Snapshot(bg(), f.ID)
	if err != nil {
		t.Fatal(err)
	}
	long := []byte(strings.Repeat("x", MaxSummary+1))
	if err := s.Remember(bg(), f.ID, []Summary{{a, []byte("of a")}, {b, long}, {99, []byte("of nothing")}}); err != nil {
		t.Fatal(err)
	}
	if _, now, err := s.Snapshot(bg(), f.ID); err != nil || now != before {
		t.Errorf("mod-sequence %d, was %d; %v", now, before, err)
	}
	if _, err := s.Copy(bg(), f.ID, g.ID, []UID{a, b}); err != nil {
		t.Fatal(err)
	}
	for _, id := range []FolderID{f.ID, g.ID} {
		got, err := s.Entries(bg(), id, []UID{1, 2})
		if err != nil || len(got) != 2 || string(got[0].Summary) != "of a" || got[1].Summary != nil {
			t.Errorf("%+v, %v", got, err)
		}
	}
}

// TestEntriesCloseAndApart reads the same rows in one walk and one by one.
func TestEntriesCloseAndApart(t *testing.T) {
	s, _ := openStore(t, t.TempDir())
	f := create(t, s, "f")
	for range 20 {
		appendText(t, s, f.ID, "x", Flags{System: Deleted})
	}
	if _, err := s.Expunge(bg(), f.ID, []UID{1, 7, 8, 20}); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ ask, want []UID }{
		{[]UID{2, 3, 4}, []UID{2, 3, 4}},
		{[]UID{6, 7, 8, 9}, []UID{6, 9}},
		{[]UID{1, 3, 5}, []UID{3, 5}},
		{[]UID{2, 12, 19}, []UID{2, 12, 19}},
		{[]UID{19, 20, 21}, []UID{19}},
		{[]UID{20, 30}, nil},
		{[]UID{1<<32 - 1, 1}, nil},
		{nil, nil},
	} {
		got, err := s.Entries(bg(), f.ID, tc.ask)
		var uids []UID
		for _, e := range got {
			uids = append(uids, e.UID)
		}
		if err != nil || len(uids) != len(tc.want) {
			t.Errorf("%v: %v, %v", tc.ask, uids, err)
			continue
		}
		for i := range uids {
			if uids[i] != tc.want[i] {
				t.Errorf("%v: %v", tc.ask, uids)
			}
		}
	}
}

// TestLocatedAndGone opens messages by places that have become wrong.
func TestLocatedAndGone(t *testing.T) {
	s, _ := openStore(t, t.TempDir())
	f := create(t, s, "f")
	a, b := appendText(t, s, f.ID, "a", Flags{System: Deleted}), appendText(t, s, f.ID, "b", Flags{})
	entries, err := s.Entries(bg(), f.ID, []UID{a, b})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Expunge(bg(), f.ID, nil); err != nil {
		t.Fatal(err)
	}
	if err := s.Locate(bg(), entries); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Open(bg(), entries[0]); !errors.Is(err, ErrGone) {
		t.Errorf("of a message that is gone: %v", err)
	}
	right := entries[1].place
	wrong := right
	wrong.Segment += 1000
	for _, place := range []struct {
		what string
		set  func()
	}{{"right", func() {}}, {"wrong", func() { entries[1].place = wrong }}} {
		place.set()
		c, err := s.Open(bg(), entries[1])
		if err != nil {
			t.Errorf("%s: %v", place.what, err)
			continue
		}
		if text, err := message.ReadAll(c); err != nil || string(text) != "b" {
			t.Errorf("%s: %q, %v", place.what, text, err)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestMigrateToSummaries opens a database as it was before there were any.
func TestMigrateToSummaries(t *testing.T) {
	dir := t.TempDir()
	old := Schema()
	old.Migrations = old.Migrations[:1]
	db, err := store.Open(dir, store.Options{}, old)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(bg(), func(tx *store.Tx) error {
		if _, err := tx.Exec("INSERT INTO folder (account, name, validity, use) VALUES (1, 'old', 1, '')"); err != nil {
			return err
		}
		_, err := tx.Exec("INSERT INTO entry VALUES (1, 1, 2, 1, '', 5, 0, 1, 0, 0, x'')")
		return err
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	s, _ := openStore(t, dir)
	got, err := s.Entries(bg(), 1, []UID{1})
	if err != nil || len(got) != 1 || got[0].Summary != nil || got[0].Flags.System != SystemFlags(1) {
		t.Errorf("%+v, %v", got, err)
	}
	if err := s.Remember(bg(), 1, []Summary{{1, []byte("new")}}); err != nil {
		t.Error(err)
	}
}
