package journal

import (
	"context"
	"errors"
	"math/rand/v2"
	"testing"
)

// Whatever the order in which records are done, the mark is the first one that
// is not, and the octets add up.
func TestBacklogInAnyOrder(t *testing.T) {
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 2))
		b := newBacklog(1 << 30)
		var places []Place
		done := map[int]bool{}
		for range 200 {
			if r.IntN(2) == 0 || len(done) == len(places) {
				p := Place{Segment: uint64(1 + len(places)/10), Offset: int64(len(places) % 10 * 100), Length: 100}
				if err := b.reserve(context.Background(), p.Length); err != nil {
					t.Fatal(err)
				}
				b.add(p)
				places = append(places, p)
			} else if i := r.IntN(len(places)); !done[i] {
				checkMark(t, b, places, done, i)
				b.done([]Place{places[i], places[i]})
				done[i] = true
			}
			checkMark(t, b, places, done, -1)
			if n, octets := b.size(); n != len(places)-len(done) || octets != int64(100*n) {
				t.Fatalf("%d outstanding, %d octets; want %d", n, octets, len(places)-len(done))
			}
		}
	}
}

func checkMark(t *testing.T, b *backlog, places []Place, done map[int]bool, also int) {
	t.Helper()
	want := places[len(places)-1].End()
	for i, p := range places {
		if !done[i] && i != also {
			want = p.Start()
			break
		}
	}
	var extra []Place
	if also >= 0 {
		extra = []Place{places[also]}
	}
	if got := b.mark(extra); got != want {
		t.Fatalf("mark %v, want %v", got, want)
	}
}

func TestBacklogCloseWakesWaiters(t *testing.T) {
	b := newBacklog(10)
	if err := b.reserve(context.Background(), 100); err != nil {
		t.Fatalf("a record above the limit, alone: %v", err)
	}
	got := make(chan error)
	go func() { got <- b.reserve(context.Background(), 1) }()
	b.close()
	if err := <-got; !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
}
