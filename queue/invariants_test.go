//go:build invariants

package queue

import (
	"testing"

	"mtad/internal/mtatest"
)

func TestInvariants(t *testing.T) {
	b := newBench(t, t.TempDir(), Config{})
	it := &Item{ID: 7, Message: 1, Dest: "a.test"}
	b.done = map[int64]bool{7: true}
	mtatest.Breaks(t, "item 7 is loaded by a row that was read before its end", func() { b.push(it) })
	b.done = nil
	job := &Job{Message: 1, Dest: "a.test", Items: []*Item{it}}
	mtatest.Breaks(t, "not known to be in memory", func() { b.begins(job) })
	b.push(it)
	b.begins(job)
	b.trying[7] = true
	mtatest.Breaks(t, "item 7 is tried twice", func() { b.begins(job) })
	b.push(&Item{ID: 8, Message: 2, Dest: "a.test"})
	mtatest.Breaks(t, "item 8 of", func() {
		b.begins(&Job{Message: 1, Dest: "a.test", Items: []*Item{{ID: 8, Message: 2, Dest: "a.test"}}})
	})
}
