//go:build invariants

package mailbox

import (
	"testing"

	"mtad/internal/mtatest"
	"mtad/store"
)

func TestInvariants(t *testing.T) {
	s, db := openStore(t, t.TempDir())
	f := create(t, s, "A")
	appendText(t, s, f.ID, "x", Flags{})
	set := func(stmt string) {
		mtatest.Check(t, db.Update(bg(), func(tx *store.Tx) error { _, err := tx.Exec(stmt); return err }))
	}
	set("UPDATE folder SET uidnext = 1")
	mtatest.Breaks(t, "UID 1 after 1", func() { appendText(t, s, f.ID, "y", Flags{}) })
	set("UPDATE folder SET validity = 4000000000")
	mtatest.Breaks(t, "after 4000000000", func() { create(t, s, "B") })
}
