package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"mtad/journal"
	"mtad/message"
)

func testSchema() Schema {
	return Schema{Name: "test", Migrations: []string{
		"CREATE TABLE t (k INTEGER PRIMARY KEY, v TEXT) STRICT; CREATE TABLE b (x BLOB, f REAL) STRICT;",
		"ALTER TABLE t ADD COLUMN n INTEGER NOT NULL DEFAULT 7",
	}}
}

func openDB(t testing.TB, dir string, opts Options) *DB {
	t.Helper()
	db, err := Open(dir, opts, testSchema())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func insert(k int, v string) func(*Tx) error {
	return func(tx *Tx) error {
		_, err := tx.Exec("INSERT INTO t (k, v) VALUES (?, ?)", k, v)
		return err
	}
}

func update(t testing.TB, db *DB, fn func(*Tx) error) {
	t.Helper()
	if err := db.Update(context.Background(), fn); err != nil {
		t.Fatal(err)
	}
}

func keys(t testing.TB, db *DB) string {
	t.Helper()
	var out []string
	err := db.View(context.Background(), func(tx *Tx) error {
		rows, err := tx.Query("SELECT k, v FROM t ORDER BY k")
		if err != nil {
			return err
		}
		for rows.Next() {
			var k int
			var v string
			if err := rows.Scan(&k, &v); err != nil {
				return err
			}
			out = append(out, fmt.Sprintf("%d=%s", k, v))
		}
		return rows.Err()
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(out, " ")
}

// group runs functions in one transaction of the writer, as if all had been
// waiting.
func group(db *DB, fns ...func(*Tx) error) []error {
	hold, held := make(chan struct{}), make(chan struct{})
	go db.Update(context.Background(), func(*Tx) error {
		close(held)
		<-hold
		return nil
	})
	<-held
	jobs := make([]*job, len(fns))
	for i, fn := range fns {
		jobs[i] = &job{fn: fn, done: make(chan error, 1)}
		db.jobs <- jobs[i]
	}
	close(hold)
	errs := make([]error, len(fns))
	for i, j := range jobs {
		errs[i] = <-j.done
	}
	return errs
}

func TestUpdateAndView(t *testing.T) {
	dir := t.TempDir()
	db := openDB(t, dir, Options{})
	update(t, db, insert(1, "a"))
	fault := errors.New("no")
	err := db.Update(context.Background(), func(tx *Tx) error {
		if err := insert(2, "b")(tx); err != nil {
			return err
		}
		return fault
	})
	if !errors.Is(err, fault) {
		t.Errorf("got %v", err)
	}
	if err := db.Update(context.Background(), insert(1, "again")); !errors.Is(err, ErrUnique) {
		t.Errorf("got %v", err)
	}
	if got := keys(t, db); got != "1=a" {
		t.Error(got)
	}
	if err := db.View(context.Background(), insert(3, "c")); err == nil {
		t.Error("a view could write")
	}
	db.Close()
	if err := db.Update(context.Background(), insert(4, "")); !errors.Is(err, ErrClosed) {
		t.Errorf("closed: %v", err)
	}
	if err := db.View(context.Background(), insert(4, "")); !errors.Is(err, ErrClosed) {
		t.Errorf("closed: %v", err)
	}
	if got := keys(t, openDB(t, dir, Options{})); got != "1=a" {
		t.Error(got)
	}
}

func TestGroupKeepsTheGoodOnes(t *testing.T) {
	db := openDB(t, t.TempDir(), Options{})
	fault := errors.New("no")
	var committed []int
	mark := func(k int, fn func(*Tx) error) func(*Tx) error {
		return func(tx *Tx) error {
			tx.OnCommit(func() { committed = append(committed, k) })
			return fn(tx)
		}
	}
	errs := group(db, mark(1, insert(1, "a")), mark(2, func(tx *Tx) error {
		insert(2, "b")(tx)
		return fault
	}), mark(3, insert(3, "c")), mark(4, insert(1, "taken")))
	if errs[0] != nil || !errors.Is(errs[1], fault) || errs[2] != nil || !errors.Is(errs[3], ErrUnique) {
		t.Errorf("%v", errs)
	}
	if got := keys(t, db); got != "1=a 3=c" {
		t.Error(got)
	}
	if fmt.Sprint(committed) != "[1 3]" {
		t.Errorf("hooks of %v", committed)
	}
}

// A function whose transaction vanished under it is run again alone, and so
// are the innocent ones of its group.
func TestGroupLosesItsTransaction(t *testing.T) {
	db := openDB(t, t.TempDir(), Options{})
	var runs atomic.Int32
	bad := func(tx *Tx) error {
		runs.Add(1)
		tx.conn.script("ROLLBACK") // as SQLite does on a full disk
		if _, err := tx.Exec("INSERT INTO t (k) VALUES (2)"); !errors.Is(err, errTransactionGone) {
			return fmt.Errorf("statement outside the transaction: %w", err)
		}
		return nil
	}
	errs := group(db, insert(1, "a"), bad, insert(3, "c"))
	if errs[0] != nil || !errors.Is(errs[1], errTransactionGone) || errs[2] != nil || runs.Load() != 2 {
		t.Errorf("%v after %d runs", errs, runs.Load())
	}
	if got := keys(t, db); got != "1=a 3=c" {
		t.Error(got)
	}
}

func TestFullDatabase(t *testing.T) {
	db := openDB(t, t.TempDir(), Options{})
	update(t, db, func(tx *Tx) error { return tx.conn.script("PRAGMA max_page_count=40") })
	big := func(tx *Tx) error {
		_, err := tx.Exec("INSERT INTO b (x) VALUES (zeroblob(1000000))")
		return err
	}
	errs := group(db, insert(1, "a"), big, insert(3, "c"))
	if errs[0] != nil || errs[1] == nil || errs[2] != nil {
		t.Errorf("%v", errs)
	}
	if got := keys(t, db); got != "1=a 3=c" {
		t.Error(got)
	}
}

func TestCommitFails(t *testing.T) {
	for _, tc := range []struct {
		name   string
		commit func(*conn) error
		want   error
	}{
		{"outcome unknown", func(*conn) error { return errors.New("disk I/O error") }, ErrUnavailable},
		{"committed, then fault", func(c *conn) error { return errors.Join(c.commit(), errors.New("disk I/O error")) }, ErrUnavailable},
	} {
		t.Run(tc.name, func(t *testing.T) {
			db := openDB(t, t.TempDir(), Options{})
			var fail atomic.Bool
			db.commit = func(c *conn) error {
				if fail.CompareAndSwap(true, false) {
					return tc.commit(c)
				}
				return c.commit()
			}
			update(t, db, insert(1, "a"))
			fail.Store(true)
			if err := db.Update(context.Background(), insert(2, "b")); !errors.Is(err, tc.want) {
				t.Errorf("got %v", err)
			}
			update(t, db, insert(3, "c"))
			if got := keys(t, db); !strings.HasPrefix(got, "1=a ") || !strings.HasSuffix(got, " 3=c") && got != "1=a 3=c" {
				t.Error(got)
			}
		})
	}
}

func TestContext(t *testing.T) {
	db := openDB(t, t.TempDir(), Options{Readers: 1})
	ctx, cancel := context.WithCancel(context.Background())
	hold, held := make(chan struct{}), make(chan struct{})
	started := make(chan error)
	go func() {
		started <- db.Update(ctx, func(tx *Tx) error {
			close(held)
			<-hold
			return insert(1, "started")(tx)
		})
	}()
	<-held
	waiting := make(chan error)
	go func() { waiting <- db.Update(ctx, insert(2, "waiting")) }()
	cancel()
	if err := <-waiting; !errors.Is(err, context.Canceled) {
		t.Errorf("waiting: %v", err)
	}
	close(hold)
	if err := <-started; err != nil {
		t.Errorf("started: %v", err)
	}
	err := db.View(context.Background(), func(*Tx) error { return db.View(ctx, func(*Tx) error { return nil }) })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("view: %v", err)
	}
	if got := keys(t, db); got != "1=started" {
		t.Error(got)
	}
}

func TestPanicReachesTheCaller(t *testing.T) {
	db := openDB(t, t.TempDir(), Options{})
	func() {
		defer func() {
			if r := recover(); r != "bug" {
				t.Errorf("recovered %v", r)
			}
		}()
		db.Update(context.Background(), func(tx *Tx) error {
			insert(1, "a")(tx)
			panic("bug")
		})
	}()
	update(t, db, insert(2, "b"))
	if got := keys(t, db); got != "2=b" {
		t.Error(got)
	}
}

func TestLock(t *testing.T) {
	dir := t.TempDir()
	db := openDB(t, dir, Options{})
	_, err := Open(dir, Options{})
	if !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), "process ") || strings.Contains(err.Error(), "unknown") {
		t.Errorf("got %v", err)
	}
	db.Close()
	openDB(t, dir, Options{})
}

func TestMigrations(t *testing.T) {
	dir := t.TempDir()
	db := openDB(t, dir, Options{})
	update(t, db, insert(1, "a"))
	db.Close()
	older := testSchema()
	older.Migrations = older.Migrations[:1]
	if _, err := Open(dir, Options{}, older); !errors.Is(err, ErrNewer) || !strings.Contains(err.Error(), `"test"`) {
		t.Errorf("newer database: %v", err)
	}
	commented := testSchema()
	commented.Migrations = append(commented.Migrations, "CREATE TABLE c (x INTEGER) STRICT; -- said last\n")
	if db, err := Open(t.TempDir(), Options{}, commented); err != nil {
		t.Error(err)
	} else {
		db.Close()
	}
	broken := testSchema()
	// The first step works, the second fails half-way, and a schema after it
	// would have work too: all stays with the program that was there before.
	broken.Migrations = append(broken.Migrations, "CREATE TABLE more (a)", "DROP TABLE t; CREATE nonsense")
	behind := Schema{Name: "behind", Migrations: []string{"CREATE TABLE behind (a)"}}
	for _, schemas := range [][]Schema{{broken}, {behind, broken}} {
		if _, err := Open(dir, Options{}, schemas...); err == nil || !strings.Contains(err.Error(), "migrate test to version") {
			t.Errorf("broken migration: %v", err)
		}
	}
	if got := keys(t, openDB(t, dir, Options{})); got != "1=a" {
		t.Errorf("after a broken migration: %s", got)
	}
}

type small uint32

func TestValues(t *testing.T) {
	db := openDB(t, t.TempDir(), Options{})
	update(t, db, func(tx *Tx) error {
		if _, err := tx.Exec("INSERT INTO b VALUES (?, ?)", []byte{}, 1.5); err != nil {
			return err
		}
		if _, err := tx.Exec("INSERT INTO b VALUES (?, ?)", nil, nil); err != nil {
			return err
		}
		if _, err := tx.Exec("INSERT INTO b VALUES (?)", 1); err == nil {
			t.Error("too few arguments accepted")
		}
		if _, err := tx.Exec("INSERT INTO b VALUES (?, ?)", struct{}{}, 1); err == nil {
			t.Error("a struct was bound")
		}
		return nil
	})
	err := db.View(context.Background(), func(tx *Tx) error {
		var u message.ID
		var s small
		var b bool
		var f float64
		var raw []byte
		if err := tx.QueryRow("SELECT ?, ?, ?, ?, ?", message.ID(1<<63+5), small(9), true, 2.5, []byte("x")).Scan(&u, &s, &b, &f, &raw); err != nil {
			return err
		}
		if u != 1<<63+5 || s != 9 || !b || f != 2.5 || string(raw) != "x" {
			t.Error(u, s, b, f, raw)
		}
		if err := tx.QueryRow("SELECT 1 WHERE 0").Scan(&u); !errors.Is(err, ErrNoRows) {
			t.Error(err)
		}
		rows, err := tx.Query("SELECT 1 UNION SELECT 2")
		if err != nil {
			return err
		}
		rows.Next()
		if _, err := tx.Query("SELECT 1 UNION SELECT 2"); err == nil {
			t.Error("a query was restarted while being read")
		}
		return nil // leaves rows open
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestRowsLeftOpenDoNotHinderCommit(t *testing.T) {
	db := openDB(t, t.TempDir(), Options{})
	update(t, db, insert(1, "a"))
	errs := group(db, insert(2, "b"), func(tx *Tx) error {
		rows, err := tx.Query("SELECT k FROM t")
		rows.Next()
		return err
	})
	if errs[0] != nil || errs[1] != nil {
		t.Error(errs)
	}
}

func accept(t testing.TB, db *DB, id message.ID, kind journal.Kind, size int) journal.Place {
	t.Helper()
	p, err := db.Journal().Append(context.Background(), journal.Record{ID: id, Kind: kind, Body: message.FromBytes(bytes.Repeat([]byte{byte(id)}, size))})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func apply(id message.ID, p journal.Place) func(*Tx) error {
	return func(tx *Tx) error {
		tx.Applied(p)
		return errors.Join(tx.Place(id, p), tx.Ref(id, 2))
	}
}

func TestReplayPresentsWhatWasNotApplied(t *testing.T) {
	dir := t.TempDir()
	db := openDB(t, dir, Options{})
	var places []journal.Place
	for id := range message.ID(6) {
		places = append(places, accept(t, db, id, journal.Kind(id), 100))
	}
	// Record 0 is KindBytes. 1 and 4 are applied, 4 and later forgotten again.
	for _, id := range []message.ID{1, 4} {
		update(t, db, apply(id, places[id]))
	}
	update(t, db, func(tx *Tx) error { return tx.Ref(4, -2) })
	db.Close()
	for round := range 2 {
		db = openDB(t, dir, Options{})
		var seen []message.ID
		stop := errors.New("stop")
		err := db.Replay(context.Background(), func(e journal.Entry) error {
			seen = append(seen, e.ID)
			if round == 1 && e.ID == 5 {
				return stop
			}
			if round == 1 {
				return db.Update(context.Background(), apply(e.ID, e.Place))
			}
			return nil
		})
		if want := []string{"[2 3 5]", "[2 3 5]"}[round]; fmt.Sprint(toInts(seen)) != want || round == 1 && !errors.Is(err, stop) {
			t.Errorf("round %d: %v, %v", round, toInts(seen), err)
		}
		db.Close()
	}
	db = openDB(t, dir, Options{})
	if n, _ := db.Journal().Outstanding(); n != 1 {
		t.Errorf("%d outstanding", n)
	}
	if err := db.Replay(context.Background(), func(e journal.Entry) error {
		return db.Update(context.Background(), apply(e.ID, e.Place))
	}); err != nil {
		t.Fatal(err)
	}
	if n, _ := db.Journal().Outstanding(); n != 0 || db.above != 0 {
		t.Errorf("%d outstanding, %d above the mark", n, db.above)
	}
	for id, ok := range map[message.ID]bool{1: true, 2: true, 3: true, 4: false, 5: true} {
		c, err := db.Bytes(context.Background(), id)
		if ok != (err == nil) || !ok && !errors.Is(err, ErrNoMessage) {
			t.Errorf("bytes of %d: %v", id, err)
		}
		if ok && c.Size() != 100 {
			t.Errorf("size of %d: %d", id, c.Size())
		}
	}
}

func toInts(ids []message.ID) []int {
	out := make([]int, len(ids))
	for i, id := range ids {
		out[i] = int(id)
	}
	return out
}

func TestReclaim(t *testing.T) {
	dir := t.TempDir()
	db := openDB(t, dir, Options{Journal: journal.Options{SegmentSize: 10 << 10}})
	for id := range message.ID(40) {
		update(t, db, apply(id, accept(t, db, id, 1, 1000)))
	}
	for id := range message.ID(30) {
		if id%5 != 0 {
			update(t, db, func(tx *Tx) error { return tx.Ref(id, -2) })
		}
	}
	done, err := db.Reclaim(context.Background())
	if err != nil || done.Segments != 3 || done.Freed <= 0 {
		t.Errorf("%+v, %v", done, err)
	}
	again, err := db.Reclaim(context.Background())
	if err != nil || again.Segments > 1 {
		t.Errorf("second: %+v, %v", again, err)
	}
	check := func() {
		for id := range message.ID(40) {
			c, err := db.Bytes(context.Background(), id)
			if dead := id < 30 && id%5 != 0; dead != errors.Is(err, ErrNoMessage) {
				t.Errorf("%d: %v", id, err)
				continue
			} else if dead {
				continue
			}
			if c.ID() != id || c.Size() != 1000 {
				t.Errorf("%d is %v of %d octets", id, c.ID(), c.Size())
			}
			c.Close()
		}
	}
	check()
	db.Close()
	db = openDB(t, dir, Options{})
	check()
	if err := db.Replay(context.Background(), func(e journal.Entry) error { return fmt.Errorf("%v replayed", e.ID) }); err != nil {
		t.Error(err)
	}
}

func TestRefWithoutPlace(t *testing.T) {
	db := openDB(t, t.TempDir(), Options{})
	if err := db.Update(context.Background(), func(tx *Tx) error { return tx.Ref(1, 1) }); !errors.Is(err, ErrNoMessage) {
		t.Error(err)
	}
}

func BenchmarkUpdate(b *testing.B) {
	for _, writers := range []int{1, 20, 100} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			db := openDB(b, b.TempDir(), Options{})
			b.ReportAllocs()
			var next atomic.Int64
			var wg sync.WaitGroup
			b.ResetTimer()
			for range writers {
				wg.Add(1)
				go func() {
					defer wg.Done()
					for {
						n := next.Add(1)
						if n > int64(b.N) {
							return
						}
						update(b, db, insert(int(n), "value"))
					}
				}()
			}
			wg.Wait()
		})
	}
}
