package queue

import (
	"context"
	"errors"
	"testing"
	"time"

	"mtad/selector"
)

// What an administrator gives up fails when its turn comes, which is now, held or
// not, and is reported as a failure; the others of its message go on.
func TestBounce(t *testing.T) {
	var reports []Outcome
	tried := 0
	b := newBench(t, t.TempDir(), Config{
		Attempt: func(ctx context.Context, j *Job) []Result { tried += len(j.Items); return always(Deferred)(ctx, j) },
		Report:  func(_ context.Context, _ *Job, o []Outcome) error { reports = append(reports, o...); return nil },
	})
	b.add(b.item("d.test", "held"), b.item("d.test", ""), b.item("d.test", ""))
	b.step()
	list, err := b.List(t.Context(), selector.Selector{}, 0)
	if err != nil || tried != 2 {
		t.Fatal(err, tried)
	}
	reports = nil
	for _, sel := range []selector.Selector{{Status: "held"}, {Filter: `attempts == 1 && to == "x@d.test"`}} {
		if n, err := b.Change(t.Context(), sel, b.Bounce("Nobody wants it")); err != nil || n.Messages != 1 {
			t.Fatal(n, err)
		}
	}
	b.step()
	if all, _, _ := b.Count(t.Context()); all != 0 || tried != 2 || len(reports) != 3 || b.refs(list[0].Message) != 0 {
		t.Fatalf("%d left, tried %d times, %d outcomes", all, tried, len(reports))
	}
	for i, want := range []string{"550 5.4.7 Nobody wants it", "550 5.4.7 Nobody wants it; the last answer was: 450 later"} {
		if r := reports[i].Result; r.Status != Failed || r.Reply != want {
			t.Errorf("%d: %+v", i, r)
		}
	}
}

// An item that is given up while its attempt is under way does not wait for the
// next.
func TestBounceUnderWay(t *testing.T) {
	var b *bench
	b = newBench(t, t.TempDir(), Config{Attempt: func(ctx context.Context, j *Job) []Result {
		if _, err := b.Change(ctx, selector.Selector{}, b.Bounce("no")); err != nil {
			t.Error(err)
		}
		return always(Deferred)(ctx, j)
	}})
	b.add(b.item("d.test", ""))
	b.step()
	b.step()
	if all, _, _ := b.Count(t.Context()); all != 0 {
		t.Error("it is still there")
	}
}

// Requeue puts what routing says now in an item's place, with its age and hold;
// Reroute changes the destination. What is under way is left alone by both.
func TestRoutingAnew(t *testing.T) {
	var b *bench
	b = newBench(t, t.TempDir(), Config{
		Attempt: func(ctx context.Context, j *Job) []Result {
			if _, err := b.Change(ctx, selector.Selector{To: "x@d.test"}, Requeue()); !errors.Is(err, ErrUnderWay) {
				t.Errorf("what is under way: %v", err)
			}
			n, err := b.Change(ctx, selector.Selector{}, Requeue())
			if err != nil || n.Items != 1 {
				t.Errorf("beside an attempt %+v were changed, %v", n, err)
			}
			return always(Deferred)(ctx, j)
		},
		Again: func(_ context.Context, it *Item) ([]*Item, error) {
			if it.Rcpt == "fault@e.test" {
				return nil, errors.New("not now")
			}
			return []*Item{{Sender: it.Sender, Rcpt: "p@new.test", Dest: "new.test"}, {Sender: it.Sender, Rcpt: "q@new.test", Dest: "(local)"}}, nil
		},
		Dest: func(_ context.Context, _ *Item, way string) (string, error) { return "by " + way, nil },
	})
	b.add(b.item("d.test", ""), b.item("e.test", "wait"))
	b.step()
	list, err := b.List(t.Context(), selector.Selector{}, 0)
	if err != nil || len(list) != 3 || b.refs(1) != 3 {
		t.Fatalf("%d items, %d references, %v", len(list), b.refs(1), err)
	}
	if it := list[2]; it.Rcpt != "q@new.test" || it.Hold != "wait" || !it.Created.Equal(list[0].Created) || it.Expires != list[0].Expires {
		t.Errorf("%+v", it)
	}
	n, err := b.Change(t.Context(), selector.Selector{}, Reroute("smart"))
	if err != nil || n != (Counts{2, 1}) {
		t.Errorf("%+v, %v", n, err)
	}
	list, _ = b.List(t.Context(), selector.Selector{Filter: `dest == "by smart"`}, 0)
	if len(list) != 2 || list[0].Route != "smart" {
		t.Errorf("%d were rerouted", len(list))
	}
	b.add(&Item{Sender: "a@here.test", Rcpt: "fault@e.test", Dest: "e.test", Created: b.clock.Now(), Next: b.clock.Now().Add(time.Hour), Expires: b.clock.Now()})
	if _, err := b.Change(t.Context(), selector.Selector{To: "fault@e.test"}, Requeue()); err == nil {
		t.Error("a fault is not told")
	}
	if len(b.loaded) != 0 {
		t.Errorf("%v are claimed for ever", b.loaded)
	}
}

// Hold keeps the reason of what is held, Retry and Release leave each other's mail
// alone.
func TestActionsConcern(t *testing.T) {
	b := newBench(t, t.TempDir(), Config{})
	b.add(b.item("d.test", "quarantine"), b.item("e.test", ""))
	for i, c := range []struct {
		a    Action
		want Counts
	}{
		{Hold("x"), Counts{1, 1}}, {Hold("x"), Counts{}}, {b.Retry(), Counts{}}, {b.Release(), Counts{2, 1}}, {b.Release(), Counts{}}, {b.Retry(), Counts{2, 1}},
	} {
		before, err := b.Match(t.Context(), selector.Selector{}, c.a)
		if err != nil || before != c.want {
			t.Errorf("%d: would be %+v, want %+v, %v", i, before, c.want, err)
		}
		n, err := b.Change(t.Context(), selector.Selector{}, c.a)
		if n != c.want || (err != nil) != (c.want.Items == 0) {
			t.Errorf("%d: %+v, want %+v, %v", i, n, c.want, err)
		}
		if i == 0 {
			if list, _ := b.List(t.Context(), selector.Selector{Reason: "quarantine"}, 0); len(list) != 1 {
				t.Error("the reason is gone")
			}
		}
	}
}
