//go:build invariants

package journal

import (
	"testing"

	"mtad/internal/mtatest"
)

func TestInvariants(t *testing.T) {
	mtatest.Breaks(t, "whose header is not on disk", func() {
		j := &Journal{active: &active{name: "x", room: 1 << 20}}
		j.write(&pending{size: 10})
	})
	mtatest.Breaks(t, "x is acknowledged at 100 behind 64", func() {
		s := &active{name: "x"}
		s.synced.Store(64)
		new(Journal).settle([]*pending{{seg: s, size: 10, place: Place{1, 100, 10}, done: make(chan error, 1)}}, nil)
	})
	mtatest.Breaks(t, "is outstanding after the one", func() {
		b := newBacklog(1 << 20)
		b.add(Place{1, 100, 10})
		b.add(Place{1, 109, 10})
	})
}
