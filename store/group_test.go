package store

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"mtad/journal"
	"mtad/message"
)

var errMix = errors.New("as asked")

// mixed is one function of a random mix, and what it may come to.
type mixed struct {
	key    int
	place  journal.Place
	again  bool
	kind   string // ok, error, panic, gone, unique, full, slow
	err    error
	panics any
}

// run is what package deliver does for a message: apply a journal record, once,
// however often it is tried.
func (m *mixed) run(tx *Tx) error {
	if m.again {
		if done, err := tx.IsApplied(m.place); done || err != nil {
			return err
		}
	}
	if _, err := tx.Exec("INSERT INTO hits VALUES (?)", m.key); err != nil {
		return err
	}
	switch m.kind {
	case "error":
		return errMix
	case "panic":
		panic(errMix)
	case "gone":
		return tx.conn.script("ROLLBACK") // as SQLite does on a full disk
	case "unique":
		_, err := tx.Exec("INSERT INTO t (k) VALUES (-1)")
		return err
	case "full":
		return errors.Join(tx.conn.script("PRAGMA max_page_count=100; INSERT INTO b (x) VALUES (zeroblob(1000000))"), tx.conn.script("PRAGMA max_page_count=1073741823"))
	case "slow":
		time.Sleep(time.Millisecond)
	}
	tx.Applied(m.place)
	return nil
}

// try updates, and once more where the outcome is unknown.
func (m *mixed) try(db *DB) {
	defer func() { m.panics = recover() }()
	for {
		m.err = db.Update(context.Background(), m.run)
		if !errors.Is(m.err, ErrUnavailable) {
			return
		}
		m.again = true
	}
}

// Random mixes of functions that work, fail, panic, lose their transaction, fill
// the disk or take their time, under commits that fail before or after they took
// place: each has its own outcome, whatever its neighbours do, and what was
// applied is applied once and not presented again after a restart.
func TestRandomMixes(t *testing.T) {
	dir := t.TempDir()
	rnd := rand.New(rand.NewPCG(1, 2))
	kinds := []string{"ok", "ok", "ok", "ok", "error", "panic", "gone", "unique", "full", "slow"}
	schema := Schema{Name: "hits", Migrations: []string{"CREATE TABLE hits (key INTEGER NOT NULL) STRICT"}}
	for round := range 12 {
		db, err := Open(filepath.Join(dir, fmt.Sprint(round)), Options{}, testSchema(), schema)
		if err != nil {
			t.Fatal(err)
		}
		update(t, db, insert(-1, "taken"))
		faults := failCommits(db, uint64(round))
		mix := make([]*mixed, 60)
		var wg sync.WaitGroup
		for i := range mix {
			place, err := db.Journal().Append(context.Background(), journal.Record{ID: message.ID(i + 1), Kind: 1, Body: message.FromBytes([]byte("x"))})
			if err != nil {
				t.Fatal(err)
			}
			m := &mixed{key: i, place: place, kind: kinds[rnd.IntN(len(kinds))]}
			mix[i] = m
			wg.Go(func() { m.try(db) })
		}
		wg.Wait()
		judge(t, db, round, mix)
		left := map[journal.Position]bool{}
		for _, p := range db.Journal().Unfinished() {
			left[p.Start()] = true
		}
		db.Close()
		replayed(t, filepath.Join(dir, fmt.Sprint(round)), mix, left, schema)
		if *faults == 0 {
			t.Error("no commit failed")
		}
	}
}

// failCommits has one commit in four fail, half of them after it took place. It
// is the writer's goroutine that counts; read it when the store is closed.
func failCommits(db *DB, seed uint64) (faults *int) {
	rnd := rand.New(rand.NewPCG(seed, 3))
	faults = new(int)
	db.commit = func(c *conn) error {
		switch rnd.IntN(8) {
		case 0:
			*faults++
			return errors.New("disk I/O error")
		case 1:
			*faults++
			return errors.Join(c.commit(), errors.New("disk I/O error"))
		}
		return c.commit()
	}
	return faults
}

// judge compares what each function was answered with what is stored.
func judge(t *testing.T, db *DB, round int, mix []*mixed) {
	t.Helper()
	for _, m := range mix {
		hits := 0
		if err := db.View(context.Background(), func(tx *Tx) error {
			return tx.QueryRow("SELECT count(*) FROM hits WHERE key = ?", m.key).Scan(&hits)
		}); err != nil {
			t.Fatal(err)
		}
		want, good := 0, false
		switch m.kind {
		case "ok", "slow":
			want, good = 1, m.err == nil && m.panics == nil
		case "error":
			good = errors.Is(m.err, errMix)
		case "panic":
			good = m.panics == any(errMix)
		case "gone":
			good = errors.Is(m.err, errTransactionGone)
		case "unique":
			good = errors.Is(m.err, ErrUnique)
		case "full":
			good = m.err != nil
		}
		if hits != want || !good {
			t.Errorf("round %d: %s %d is there %d times; it was answered %v, panic %v", round, m.kind, m.key, hits, m.err, m.panics)
		}
	}
}

// replayed opens the store again: what is presented is what was not applied.
func replayed(t *testing.T, dir string, mix []*mixed, left map[journal.Position]bool, schema Schema) {
	t.Helper()
	db, err := Open(dir, Options{}, testSchema(), schema)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	got := map[journal.Position]bool{}
	if err := db.Replay(context.Background(), func(e journal.Entry) error {
		got[e.Place.Start()] = true
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	for _, m := range mix {
		applied := m.kind == "ok" || m.kind == "slow"
		if at := m.place.Start(); got[at] == applied || left[at] == applied {
			t.Errorf("%s %d: applied %t, presented again %t, outstanding %t", m.kind, m.key, applied, got[at], left[at])
		}
	}
}

// What nobody waits for shares its transaction, with others of its kind and with
// an Update that comes meanwhile.
func TestUpdateSoon(t *testing.T) {
	db := openDB(t, t.TempDir(), Options{})
	commits := 0 // counted by the writer's goroutine, read when it has answered
	db.commit = func(c *conn) error {
		commits++
		return c.commit()
	}
	const lazy = lazyGroup / 2
	hold, held := make(chan struct{}), make(chan struct{})
	go db.Update(context.Background(), func(*Tx) error {
		close(held)
		<-hold
		return nil
	})
	<-held
	jobs := make([]*job, lazy+1)
	for i := range jobs {
		jobs[i] = &job{fn: insert(i, "x"), done: make(chan error, 1), lazy: i < lazy}
		db.jobs <- jobs[i]
	}
	close(hold)
	for _, j := range jobs {
		if err := <-j.done; err != nil {
			t.Error(err)
		}
	}
	if commits != 2 {
		t.Errorf("%d commits, want 2: that of the first, and one for all the others", commits)
	}
	if err := db.UpdateSoon(context.Background(), insert(lazy+1, "alone")); err != nil {
		t.Error(err)
	}
}
