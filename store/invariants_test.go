//go:build invariants

package store

import (
	"testing"

	"mtad/internal/mtatest"
	"mtad/journal"
)

func TestInvariants(t *testing.T) {
	db := openDB(t, t.TempDir(), Options{})
	p := accept(t, db, 1, 1, 100)
	look := func(places []journal.Place, mark journal.Position) {
		mtatest.Check(t, db.View(t.Context(), func(tx *Tx) error { return tx.checkApplied(places, mark) }))
	}
	mtatest.Breaks(t, "is applied twice", func() { look([]journal.Place{p, p}, p.End()) })
	update(t, db, apply(1, p))
	mtatest.Breaks(t, "is applied twice", func() { look([]journal.Place{p}, p.End()) })
	mtatest.Breaks(t, "the mark goes back", func() { look(nil, p.Start()) })
	mtatest.Breaks(t, "has -1 references", func() {
		update(t, db, func(tx *Tx) error { return tx.Ref(1, -3) })
	})
	mtatest.Breaks(t, "1 messages are in it", func() { mtatest.Check(t, db.move(t.Context(), p.Segment, nil)) })
	if got, problems := verify(t, db); problems != "" && got.Messages != 1 {
		t.Errorf("what broke an invariant was committed: %v %s", got, problems)
	}
}
