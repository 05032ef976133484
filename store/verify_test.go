package store

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mtad/message"
)

// refSchema is a table whose rows refer to messages.
func refSchema() Schema {
	return Schema{Name: "refs", Migrations: []string{"CREATE TABLE r (message INTEGER) STRICT"}, Refs: []string{"SELECT message FROM r"}}
}

func verify(t *testing.T, db *DB) (Verified, string) {
	t.Helper()
	var found []string
	v, err := db.Verify(context.Background(), func(p Problem) { found = append(found, fmt.Sprint(uint64(p.Message), " ", p.Lost, " ", p.What)) })
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(found)
	return v, strings.Join(found, "\n")
}

func TestVerify(t *testing.T) {
	dir := t.TempDir()
	db, err := Open(dir, Options{}, refSchema())
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for id := message.ID(1); id <= 5; id++ {
		size := 1000
		if id == 3 {
			size = 100 << 10 // read piece by piece
		}
		p := accept(t, db, id, 1, size)
		update(t, db, func(tx *Tx) error {
			tx.Applied(p)
			_, err := tx.Exec("INSERT INTO r VALUES (?), (?)", id, id)
			if err == nil {
				err = tx.Place(id, p)
			}
			if err == nil {
				err = tx.Ref(id, 2)
			}
			return err
		})
	}
	if v, found := verify(t, db); found != "" || v.Messages != 5 || v.Records != 5 {
		t.Fatalf("%+v\n%s", v, found)
	}

	// A row too few, one too many, a place that is another's, octets that changed.
	update(t, db, func(tx *Tx) error {
		for _, q := range []string{
			"DELETE FROM r WHERE message = 1 AND rowid = (SELECT min(rowid) FROM r WHERE message = 1)",
			"INSERT INTO r VALUES (77)",
			"UPDATE message SET offset = (SELECT offset FROM message WHERE id = 1), length = (SELECT length FROM message WHERE id = 1) WHERE id = 2",
		} {
			if _, err := tx.Exec(q); err != nil {
				return err
			}
		}
		return nil
	})
	segments, err := filepath.Glob(filepath.Join(dir, journalName, "*"))
	if err != nil || len(segments) == 0 {
		t.Fatal(segments, err)
	}
	b, err := os.ReadFile(segments[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []byte{3, 4} {
		i := strings.Index(string(b), strings.Repeat(string(rune(id)), 900))
		b[i+500] ^= 1
	}
	if err := os.WriteFile(segments[0], b, 0o600); err != nil {
		t.Fatal(err)
	}
	v, found := verify(t, db)
	want := []string{
		"1 false 1 rows refer to it, 2 are counted",
		"2 true its place holds message " + message.ID(1).String(),
		"3 false journal: ", "3 true ", "4 false journal: ", "4 true ",
		"77 true 1 rows refer to it, and it has no place in the journal",
	}
	got := strings.Split(found, "\n")
	if len(got) != len(want) || v.Problems != len(want) || v.Records != 3 {
		t.Fatalf("%+v\n%s", v, found)
	}
	for i := range want {
		if !strings.HasPrefix(got[i], want[i]) {
			t.Errorf("%q, want %q", got[i], want[i])
		}
	}
}

// A database whose pages were overwritten is not served from.
func TestDamagedDatabase(t *testing.T) {
	dir := t.TempDir()
	db := openDB(t, dir, Options{})
	for i := range 2000 {
		update(t, db, insert(i, strings.Repeat("x", 100)))
	}
	db.Close()
	path := filepath.Join(dir, databaseName)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := len(b) / 2; i < len(b)/2+8192; i++ {
		b[i] = 0xa5
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	db, err = Open(dir, Options{}, testSchema())
	if err != nil {
		return // refused at once
	}
	defer db.Close()
	if _, found := verify(t, db); !strings.Contains(found, "database: ") {
		t.Errorf("nothing was found:\n%s", found)
	}
}
