package imapd

import (
	"math/rand/v2"
	"slices"
	"testing"

	"mtad/imapd/wire"
	"mtad/mailbox"
)

// TestView compares a view with the plain list it stands for.
func TestView(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		var v view
		var model []mailbox.UID
		next := mailbox.UID(1)
		for range 30 {
			switch rng.IntN(3) {
			case 0, 1:
				for range rng.IntN(20) {
					if rng.IntN(4) == 0 {
						next += mailbox.UID(rng.IntN(5))
					}
					v.append(next)
					model = append(model, next)
					next++
				}
			case 2:
				model = removeSome(t, rng, &v, model)
			}
			sameView(t, rng, &v, model)
		}
	}
}

func removeSome(t *testing.T, rng *rand.Rand, v *view, model []mailbox.UID) []mailbox.UID {
	t.Helper()
	var gone []mailbox.UID
	for _, u := range model {
		if rng.IntN(3) == 0 {
			gone = append(gone, u)
		}
	}
	for _, seq := range v.remove(gone) {
		// As a client hears it: one after the other.
		if int(seq) > len(model) || !slices.Contains(gone, model[seq-1]) {
			t.Fatalf("EXPUNGE %d of %v, which is not among %v", seq, model, gone)
		}
		model = slices.Delete(model, int(seq)-1, int(seq))
	}
	if slices.ContainsFunc(model, func(u mailbox.UID) bool { return slices.Contains(gone, u) }) {
		t.Fatal("not all were removed")
	}
	return model
}

func sameView(t *testing.T, rng *rand.Rand, v *view, model []mailbox.UID) {
	t.Helper()
	if int(v.count()) != len(model) || !slices.Equal(v.bySet(wire.Set{{From: 1, To: 1<<32 - 1}}, true), model) {
		t.Fatalf("got %v, want %v", v.bySet(wire.Set{{From: 1, To: 1<<32 - 1}}, true), model)
	}
	for i, u := range model {
		if v.seq(u) != uint32(i)+1 {
			t.Fatalf("seq of %d is %d, want %d", u, v.seq(u), i+1)
		}
	}
	if v.seq(0) != 0 || v.seq(v.last()+1) != 0 {
		t.Fatal("a message that does not exist has a number")
	}
	var set wire.Set
	for range 4 {
		set = append(set, wire.Range{From: 1 + rng.Uint32N(100), To: 1 + rng.Uint32N(100)})
	}
	set = set.Resolve(0)
	for _, by := range []numbering{false, true} {
		var want []mailbox.UID
		for i, u := range model {
			if n := uint32(i) + 1; !bool(by) && set.Contains(n) || bool(by) && set.Contains(uint32(u)) {
				want = append(want, u)
			}
		}
		if got := v.bySet(set, by); !slices.Equal(got, want) {
			t.Fatalf("%v by UID %v: got %v, want %v", set, by, got, want)
		}
	}
}

func TestViewIsSmall(t *testing.T) {
	var v view
	for u := mailbox.UID(1); u <= 100000; u++ {
		v.append(u)
	}
	if len(v.runs) != 1 {
		t.Errorf("%d runs", len(v.runs))
	}
}

func TestMatch(t *testing.T) {
	tests := []struct {
		pattern, name string
		want          bool
	}{
		{"*", "a/b", true},
		{"%", "a/b", false},
		{"%", "a", true},
		{"a/%", "a/b", true},
		{"a/%", "a/b/c", false},
		{"a*c", "a/b/c", true},
		{"a%c", "abc", true},
		{"", "a", false},
		{"inbox", "INBOX", true},
		{"in%", "INBOX", false},
		{"*%*%*%*b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", false},
		{"%/%", "a/b", true},
		{"Work", "work", false},
	}
	for _, tt := range tests {
		if got := match(tt.pattern, tt.name); got != tt.want {
			t.Errorf("%q on %q: %v", tt.pattern, tt.name, got)
		}
	}
}
