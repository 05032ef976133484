package queue

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"mtad/journal"
	"mtad/message"
	"mtad/selector"
	"mtad/store"
)

// fill puts n deferred items into the queue, two a message, for a hundred domains
// and more.
func fill(t testing.TB, db *store.DB, q *Queue, now time.Time, n int) {
	t.Helper()
	data := []byte(`{"act":"` + strings.Repeat("x", 600) + `"}`)
	for from := 0; from < n; from += 2000 {
		err := db.Update(t.Context(), func(tx *store.Tx) error {
			for i := from; i < min(n, from+2000); i += 2 {
				id := message.ID(uint64(now.UnixMilli())<<10 + uint64(i))
				if err := tx.Place(id, journal.Place{Segment: 1, Offset: int64(i), Length: 8}); err != nil {
					return err
				}
				created := now.Add(-time.Duration(i*3%7200) * time.Second)
				for k := range 2 {
					it := &Item{
						Message: id, Sender: fmt.Sprintf("s%d@sender%d.test", i, i%50), Rcpt: fmt.Sprintf("r%d@d%d.test", i+k, (i/2+k)%100), Dest: fmt.Sprintf("d%d.test", (i/2+k)%100),
						Data: data, Created: created, Next: now.Add(time.Hour), Expires: created.Add(5 * 24 * time.Hour), Size: 2000,
					}
					if err := q.Add(tx, it); err != nil {
						return err
					}
				}
			}
			_, err := tx.Exec("UPDATE queue SET attempts = 3, reply = '451 4.3.0 Try again later', host = 'mx.' || dest WHERE attempts = 0")
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestShape(t *testing.T) {
	b := newBench(t, t.TempDir(), Config{})
	add := func(age time.Duration, sender string, hold string, rcpts ...string) {
		var items []*Item
		now := b.clock.Now()
		for _, r := range rcpts {
			items = append(items, &Item{Sender: sender, Rcpt: r, Dest: "route:x", Created: now.Add(-age), Next: now.Add(time.Hour), Expires: now.Add(time.Hour), Hold: hold})
		}
		b.add(items...)
	}
	minute := time.Minute
	add(4*minute, "a@s.test", "", "x@one.test", "y@one.test", "z@a.two.test")
	add(5*minute, "", "", "x@ONE.test")
	add(11*minute, "a@s.test", "", "x@b.two.test", "x@c.b.two.test")
	add(3000*minute, "b@t.test", "look", "x@two.test", "nobody")
	for _, c := range []struct {
		of   ShapeOf
		want string
	}{
		{ShapeOf{}, "TOTAL 8:3,1,2,0,0,0,0,0,0,2 one.test 3:2,1,0,0,0,0,0,0,0,0 nobody 1:0,0,0,0,0,0,0,0,0,1 two.test 1:0,0,0,0,0,0,0,0,0,1 " +
			"a.two.test 1:1,0,0,0,0,0,0,0,0,0 b.two.test 1:0,0,1,0,0,0,0,0,0,0 c.b.two.test 1:0,0,1,0,0,0,0,0,0,0"},
		{ShapeOf{Buckets: 3, Linear: true, Parents: true, Min: 2, Queues: []string{"deferred"}},
			"TOTAL 6:3,1,2 one.test 3:2,1,0 .two.test 3:1,0,2 a.two.test 1:1,0,0 b.two.test 1:0,0,1 c.b.two.test 1:0,0,1"},
		{ShapeOf{Buckets: 2, By: "sender"}, "TOTAL 4:1,3 s.test 2:1,1 t.test 1:0,1 MAILER-DAEMON 1:0,1"},
		{ShapeOf{Buckets: 1, By: "route", Queues: []string{"hold"}}, "TOTAL 2:2 route:x 2:2"},
		{ShapeOf{Buckets: 1, Queues: []string{"active", "incoming"}}, "TOTAL 0:0"},
		{ShapeOf{Buckets: 2, Tick: 12 * minute, Limit: 1}, "TOTAL 8:6,2 one.test 3:3,0"},
	} {
		s, err := b.Shape(t.Context(), c.of)
		if err != nil {
			t.Fatal(err)
		}
		got := line(&s.Total)
		for _, l := range s.Lines {
			got += " " + line(l)
		}
		if got != c.want {
			t.Errorf("%+v:\n%s\nwant\n%s", c.of, got, c.want)
		}
	}
	for _, of := range []ShapeOf{{By: "x"}, {Buckets: 31}, {Tick: 1}, {Queues: []string{"x"}}} {
		if _, err := b.Shape(t.Context(), of); err == nil {
			t.Errorf("%+v is taken", of)
		}
	}
}

func line(s *Slot) string {
	return fmt.Sprintf("%s %d:%s", s.Key, s.Total, strings.ReplaceAll(strings.Trim(fmt.Sprint(s.Buckets), "[]"), " ", ","))
}

// A shape is made of the index alone: no row of the table is read for it.
func TestShapeReadsTheIndex(t *testing.T) {
	b := newBench(t, t.TempDir(), Config{})
	for by := range shapeKeys {
		for _, total := range []bool{true, false} {
			of := ShapeOf{By: by, Queues: []string{"deferred"}}
			if err := of.check(); err != nil {
				t.Fatal(err)
			}
			text, args := of.query(b.clock.Now(), total)
			plan := b.plan(text, args)
			if !strings.Contains(plan, "USING COVERING INDEX queue_shape") || strings.Contains(plan, "SCAN queue\n") {
				t.Errorf("by %s, total %v:\n%s", by, total, plan)
			}
		}
	}
	// One domain of many is found by the index too.
	where, args, err := (selector.Selector{Domain: "d.test"}).SQL(table)
	if err != nil {
		t.Fatal(err)
	}
	if plan := b.plan("SELECT id, message FROM queue WHERE "+where+" ORDER BY message, id", args); !strings.Contains(plan, "SEARCH queue USING COVERING INDEX queue_shape (domain=?)") {
		t.Error(plan)
	}
}

// plan is what SQLite would do.
func (b *bench) plan(query string, args []any) string {
	b.t.Helper()
	var out strings.Builder
	err := b.cfg.DB.View(b.t.Context(), func(tx *store.Tx) error {
		rows, err := tx.Query("EXPLAIN QUERY PLAN "+query, args...)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var detail string
			if err := rows.Scan(nil, nil, nil, &detail); err != nil {
				return err
			}
			fmt.Fprintln(&out, detail)
		}
		return rows.Err()
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return out.String()
}

// BenchmarkMany is a queue of 100,000 items.
func BenchmarkMany(b *testing.B) {
	q := newBench(b, b.TempDir(), Config{})
	fill(b, q.cfg.DB, q.Queue, q.clock.Now(), 100_000)
	one := selector.Selector{Domain: "d7.test"}
	for name, fn := range map[string]func(context.Context) error{
		"list": func(ctx context.Context) error {
			return q.Each(ctx, selector.Selector{}, func(*Item) error { return nil })
		},
		"list-one-domain": func(ctx context.Context) error { return q.Each(ctx, one, func(*Item) error { return nil }) },
		"list-by-filter": func(ctx context.Context) error {
			return q.Each(ctx, selector.Selector{Filter: `domain == "d7.test"`}, func(*Item) error { return nil })
		},
		"shape":        func(ctx context.Context) error { _, err := q.Shape(ctx, ShapeOf{}); return err },
		"shape-sender": func(ctx context.Context) error { _, err := q.Shape(ctx, ShapeOf{By: "sender"}); return err },
		"shape-reply":  func(ctx context.Context) error { _, err := q.Shape(ctx, ShapeOf{By: "reply"}); return err },
		"hold-one-domain": func(ctx context.Context) error {
			if _, err := q.Change(ctx, one, Hold("x")); err != nil {
				return err
			}
			_, err := q.Change(ctx, one, q.Release())
			return err
		},
		"retry-all": func(ctx context.Context) error { _, err := q.Change(ctx, selector.Selector{}, q.Retry()); return err },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := fn(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
