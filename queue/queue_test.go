package queue

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"mtad/internal/mtatest"
	"mtad/journal"
	"mtad/message"
	"mtad/selector"
	"mtad/store"
)

// bench is a queue over a real database. Without Run its tests step it by hand.
type bench struct {
	*Queue
	t     testing.TB
	clock *mtatest.Clock
	ids   message.ID
}

func newBench(t testing.TB, dir string, cfg Config) *bench {
	t.Helper()
	db, err := store.Open(dir, store.Options{}, Schema())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	b := &bench{t: t, clock: mtatest.NewClock(time.Unix(1_800_000_000, 0))}
	cfg.DB, cfg.Now = db, b.clock.Now
	b.Queue = New(cfg)
	return b
}

func (b *bench) item(dest string, hold string) *Item {
	now := b.clock.Now()
	return &Item{Message: b.ids, Sender: "a@here.test", Rcpt: "x@" + dest, Dest: dest, Created: now, Next: now, Expires: now.Add(5 * 24 * time.Hour), Hold: hold}
}

// add puts one message into the queue, with an item for each destination.
func (b *bench) add(items ...*Item) {
	b.t.Helper()
	b.ids++
	err := b.cfg.DB.Update(b.t.Context(), func(tx *store.Tx) error {
		if err := tx.Place(b.ids, journal.Place{Segment: 1, Offset: int64(b.ids), Length: 8}); err != nil {
			return err
		}
		for _, it := range items {
			it.Message = b.ids
		}
		return b.Add(tx, items...)
	})
	if err != nil {
		b.t.Fatal(err)
	}
}

// step loads what is due and works until nothing is left to do now.
func (b *bench) step() time.Duration {
	b.t.Helper()
	next, err := b.load(b.t.Context())
	if err != nil {
		b.t.Fatal(err)
	}
	for {
		b.dispatch(b.t.Context())
		b.workers.Wait()
		b.mu.Lock()
		idle := len(b.ready) == 0
		b.mu.Unlock()
		if idle {
			return next
		}
	}
}

func (b *bench) refs(id message.ID) int {
	n := 0
	err := b.cfg.DB.View(b.t.Context(), func(tx *store.Tx) error {
		return tx.QueryRow("SELECT refs FROM message WHERE id = ?", id).Scan(&n)
	})
	if err != nil && !errors.Is(err, store.ErrNoRows) {
		b.t.Fatal(err)
	}
	return n
}

func (b *bench) only() *Item {
	b.t.Helper()
	list, err := b.List(b.t.Context(), selector.Selector{}, 0)
	if err != nil || len(list) != 1 {
		b.t.Fatalf("%d items, %v", len(list), err)
	}
	return list[0]
}

func always(s Status) func(context.Context, *Job) []Result {
	return func(_ context.Context, j *Job) []Result {
		return repeat(Result{Status: s, Reply: "450 later", Host: "h"}, len(j.Items))
	}
}

// Somebody who has all tried again and again while a host is down does not make mail
// wait for hours: what it waits goes by its age.
func TestRetriesDoNotAddUp(t *testing.T) {
	b := newBench(t, t.TempDir(), Config{Attempt: always(Deferred)})
	b.add(b.item("d.test", ""))
	b.step()
	for range 10 {
		b.clock.Add(time.Second)
		if _, err := b.Change(t.Context(), selector.Selector{}, b.Retry()); err != nil {
			t.Fatal(err)
		}
		b.step()
	}
	if it := b.only(); it.Attempts != 11 || it.Next.Sub(b.clock.Now()) > backoff[0]*12/10 {
		t.Errorf("%d attempts, waits %v", it.Attempts, it.Next.Sub(b.clock.Now()))
	}
	b.clock.Add(3 * time.Hour)
	b.step()
	if wait := b.only().Next.Sub(b.clock.Now()); wait < backoff[5]*8/10-time.Second {
		t.Errorf("after three hours it waits %v", wait)
	}
}

func TestBackoffAndExpiry(t *testing.T) {
	var reports []Outcome
	b := newBench(t, t.TempDir(), Config{
		Attempt:   always(Deferred),
		Report:    func(_ context.Context, _ *Job, o []Outcome) error { reports = append(reports, o...); return nil },
		WarnAfter: func(*Item) time.Duration { return 4 * time.Hour },
	})
	b.add(b.item("d.test", ""))
	warned, tries := 0, 0
	for range 100 {
		reports = nil
		b.step()
		if len(reports) == 0 {
			t.Fatal("not tried when it was due")
		}
		o := reports[0]
		tries++
		if o.Delayed {
			warned++
		}
		if o.Result.Status == Failed {
			if !o.Expired || b.clock.Now().Before(o.Item.Expires) {
				t.Errorf("given up early: %+v", o)
			}
			break
		}
		it := b.only()
		wait, want := it.Next.Sub(b.clock.Now()), backoff[min(tries, len(backoff))-1]
		if wait < want*8/10-time.Second || wait > want*12/10+time.Second || it.Attempts != tries || it.Reply != "450 later" || it.Host != "h" || it.State() != "deferred" {
			t.Fatalf("after %d tries: waits %v, want about %v; %+v", tries, wait, want, it)
		}
		// A moment before its time it is not tried.
		b.clock.Add(wait - time.Millisecond)
		reports = nil
		b.step()
		if len(reports) != 0 {
			t.Fatal("tried too early")
		}
		b.clock.Add(time.Millisecond)
	}
	if warned != 1 {
		t.Errorf("warned %d times", warned)
	}
	if all, _, _ := b.Count(t.Context()); all != 0 || b.refs(1) != 0 {
		t.Errorf("%d items, %d references are left", all, b.refs(1))
	}
}

func TestHeld(t *testing.T) {
	tried := 0
	b := newBench(t, t.TempDir(), Config{Attempt: func(_ context.Context, j *Job) []Result { tried++; return repeat(Result{}, len(j.Items)) }})
	b.add(b.item("d.test", "look at me"))
	b.step()
	all, held, err := b.Count(t.Context())
	if tried != 0 || all != 1 || held != 1 || err != nil || b.only().State() != "held" {
		t.Fatalf("tried %d, %d items, %d held, %v", tried, all, held, err)
	}
	if n, err := b.Change(t.Context(), selector.Selector{Status: "held"}, b.Release()); n.Items != 1 || err != nil {
		t.Fatal(n, err)
	}
	b.step()
	if all, _, _ := b.Count(t.Context()); tried != 1 || all != 0 {
		t.Errorf("released: tried %d, %d items", tried, all)
	}
	if _, err := b.Change(t.Context(), selector.Selector{}, Delete()); !errors.Is(err, ErrNone) {
		t.Error(err)
	}
}

// Hold, Delete and Retry of an item that is under way.
func TestChangesUnderWay(t *testing.T) {
	for name, change := range map[string]func(*bench){
		"delete": func(b *bench) { b.Change(b.t.Context(), selector.Selector{}, Delete()) },
		"hold":   func(b *bench) { b.Change(b.t.Context(), selector.Selector{}, Hold("wait")) },
		"retry":  func(b *bench) { b.Change(b.t.Context(), selector.Selector{}, b.Retry()) },
	} {
		t.Run(name, func(t *testing.T) {
			var b *bench
			tried := 0
			b = newBench(t, t.TempDir(), Config{Attempt: func(_ context.Context, j *Job) []Result {
				if tried++; tried == 1 {
					change(b)
				}
				return repeat(Result{Status: Deferred}, len(j.Items))
			}})
			b.add(b.item("d.test", ""))
			b.step()
			b.step()
			all, held, _ := b.Count(t.Context())
			want := map[string][3]int{"delete": {1, 0, 0}, "hold": {1, 1, 1}, "retry": {1, 1, 0}}[name]
			if got := [3]int{tried, all, held}; got != want {
				t.Errorf("tried, items, held: %v, want %v", got, want)
			}
			if b.refs(1) != all {
				t.Errorf("%d references for %d items", b.refs(1), all)
			}
		})
	}
}

// What came to an end while the rows were being read is not tried again for
// their sake.
func TestLoadBesideAttempts(t *testing.T) {
	b := newBench(t, t.TempDir(), Config{Attempt: always(Delivered)})
	b.add(b.item("d.test", ""))
	it := b.only()
	b.mu.Lock()
	b.done = map[int64]bool{} // as load has it between reading and pushing
	b.mu.Unlock()
	b.dispatch(t.Context())
	b.workers.Wait()
	if !b.done[it.ID] {
		t.Error("load is not told of an item that came to an end")
	}
}

func TestDeadDestination(t *testing.T) {
	tried := 0
	b := newBench(t, t.TempDir(), Config{PerDest: 1, Attempt: func(_ context.Context, j *Job) []Result {
		tried++
		return repeat(Result{Status: Deferred, Dead: true, Reply: "450 gone"}, len(j.Items))
	}})
	for range 5 {
		b.add(b.item("d.test", ""))
	}
	b.step()
	list, _ := b.List(t.Context(), selector.Selector{}, 0)
	if tried != 1 || len(list) != 5 || list[4].Attempts != 1 || list[4].Reply != "450 gone" {
		t.Errorf("tried %d, %+v", tried, list[len(list)-1])
	}
	b.clock.Add(2 * deadTime)
	b.step()
	if len(b.dests) != 0 {
		t.Error("a destination with nothing to do is kept")
	}
}

// Faults of the functions that the queue calls defer the items.
func TestFaults(t *testing.T) {
	for name, cfg := range map[string]Config{
		"panic":        {Attempt: func(context.Context, *Job) []Result { panic("x") }},
		"no results":   {Attempt: func(context.Context, *Job) []Result { return nil }},
		"report fails": {Attempt: always(Failed), Report: func(context.Context, *Job, []Outcome) error { return errors.New("x") }},
		"report panic": {Attempt: always(Failed), Report: func(context.Context, *Job, []Outcome) error { panic("x") }},
	} {
		b := newBench(t, t.TempDir(), cfg)
		b.add(b.item("d.test", ""), b.item("d.test", ""))
		b.step()
		list, err := b.List(t.Context(), selector.Selector{}, 0)
		if err != nil || len(list) != 2 || list[1].Attempts != 1 {
			t.Errorf("%s: %d items, %v", name, len(list), err)
		}
	}
}

func TestSelectors(t *testing.T) {
	b := newBench(t, t.TempDir(), Config{})
	b.add(b.item("d.test", ""), b.item("e.test", "held"))
	b.clock.Add(time.Hour)
	b.add(b.item("d.test", ""))
	half := b.clock.Now().Add(-30 * time.Minute)
	for i, c := range []struct {
		s    selector.Selector
		want int
	}{
		{selector.Selector{}, 3}, {selector.Selector{IDs: []string{message.ID(1).String()}}, 2}, {selector.Selector{From: "A@Here.test"}, 3},
		{selector.Selector{From: "@here.test"}, 3}, {selector.Selector{From: "b@here.test"}, 0}, {selector.Selector{From: "<>"}, 0},
		{selector.Selector{To: "x@e.test"}, 1}, {selector.Selector{Domain: "D.test"}, 2}, {selector.Selector{To: "@e.test"}, 1},
		{selector.Selector{Status: "held"}, 1}, {selector.Selector{Status: "ready"}, 2}, {selector.Selector{Before: half}, 2},
		{selector.Selector{After: half}, 1}, {selector.Selector{Reason: "HEL"}, 1}, {selector.Selector{Reason: "%"}, 0},
		{selector.Selector{Filter: `domain == "d.test" && age < 60`}, 1}, {selector.Selector{Filter: `status == "held" || age > 60`}, 2},
		{selector.Selector{Domain: "d.test", Filter: "attempts > 0"}, 0},
	} {
		list, err := b.List(t.Context(), c.s, 0)
		if err != nil || len(list) != c.want {
			t.Errorf("%d: %d items, want %d, %v", i, len(list), c.want, err)
		}
	}
	if list, _ := b.List(t.Context(), selector.Selector{}, 2); len(list) != 2 {
		t.Error("the limit is not kept")
	}
}

// Finish and the attempt's own result count a reference once.
func TestFinish(t *testing.T) {
	var b *bench
	b = newBench(t, t.TempDir(), Config{Attempt: func(ctx context.Context, j *Job) []Result {
		err := b.cfg.DB.Update(ctx, func(tx *store.Tx) error { return b.Finish(tx, j.Items[0]) })
		if err != nil {
			t.Error(err)
		}
		return repeat(Result{}, len(j.Items))
	}})
	b.add(b.item("d.test", ""), b.item("e.test", "held"))
	b.step()
	if n := b.refs(1); n != 1 {
		t.Errorf("%d references, want 1", n)
	}
}

// watcher checks what must hold of the attempts under way.
type watcher struct {
	mu            sync.Mutex
	t             testing.TB
	under         map[int64]bool
	perDest       map[string]int
	total, starts int
	max           struct{ dest, total, job int }
}

func (w *watcher) begin(j *Job) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.total++
	w.starts++
	w.perDest[j.Dest]++
	if w.total > w.max.total || w.perDest[j.Dest] > w.max.dest || len(j.Items) > w.max.job || len(j.Items) == 0 {
		w.t.Errorf("%d attempts, %d at %s, %d items in a job", w.total, w.perDest[j.Dest], j.Dest, len(j.Items))
	}
	for _, it := range j.Items {
		if w.under[it.ID] || it.Message != j.Message || it.Dest != j.Dest {
			w.t.Errorf("item %d is tried twice at once, or in another's job", it.ID)
		}
		w.under[it.ID] = true
	}
}

func (w *watcher) end(j *Job) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.total--
	w.perDest[j.Dest]--
	for _, it := range j.Items {
		delete(w.under, it.ID)
	}
}

// The scheduler at work: limits hold, nothing is tried twice at once or once it
// is done, and everything comes to an end; also with less memory than items,
// and over restarts.
func TestScheduler(t *testing.T) {
	dir := t.TempDir()
	w := &watcher{t: t, under: map[int64]bool{}, perDest: map[string]int{}}
	w.max.dest, w.max.total, w.max.job = 2, 5, 3
	var mu sync.Mutex
	finished := map[int64]int{}
	attempt := func(_ context.Context, j *Job) []Result {
		w.begin(j)
		defer w.end(j)
		time.Sleep(time.Duration(rand.IntN(300)) * time.Microsecond)
		out := make([]Result, len(j.Items))
		mu.Lock()
		defer mu.Unlock()
		for i, it := range j.Items {
			if finished[it.ID] > 0 {
				t.Errorf("item %d is tried after its end", it.ID)
			}
			out[i].Status = []Status{Delivered, Deferred, Failed}[rand.IntN(3)]
			if out[i].Status != Deferred {
				finished[it.ID]++
			}
		}
		return out
	}
	const total = 300
	added, items := 0, map[int64]bool{}
	var ids message.ID
	for run := range 4 {
		b := newBench(t, dir, Config{Attempt: attempt, PerDest: 2, Total: 5, PerJob: 3, Memory: 20})
		b.ids = ids
		b.clock.Add(time.Duration(run) * 24 * time.Hour)
		ctx, cancel := context.WithCancel(t.Context())
		stopped := make(chan struct{})
		go func() { b.Run(ctx); close(stopped) }()
		for added < total*(run+1)/4 {
			var list []*Item
			dest := fmt.Sprintf("d%d.test", rand.IntN(7))
			for range 1 + rand.IntN(5) {
				it := b.item(dest, "")
				it.Expires = it.Expires.AddDate(100, 0, 0)
				list = append(list, it)
			}
			b.add(list...)
			for _, it := range list {
				items[it.ID] = true
			}
			added += len(list)
		}
		if run == 3 {
			b.drain()
		}
		cancel()
		<-stopped
		ids = b.ids
		b.cfg.DB.Close()
	}
	if len(finished) != len(items) {
		t.Errorf("%d of %d items came to an end", len(finished), len(items))
	}
}

// drain lets time pass until the queue is empty.
func (b *bench) drain() {
	b.t.Helper()
	for deadline := time.Now().Add(60 * time.Second); ; {
		all, _, err := b.Count(b.t.Context())
		if err != nil || time.Now().After(deadline) {
			b.t.Fatalf("%d items are left, %v", all, err)
		}
		if all == 0 {
			return
		}
		b.clock.Add(6 * time.Hour)
		b.mu.Lock()
		b.look = true
		b.mu.Unlock()
		b.kick()
		time.Sleep(2 * time.Millisecond)
	}
}

func BenchmarkAddAndDeliver(b *testing.B) {
	q := newBench(b, b.TempDir(), Config{Attempt: always(Delivered)})
	b.ReportAllocs()
	for b.Loop() {
		q.add(q.item("d.test", ""))
		q.dispatch(b.Context())
		q.workers.Wait()
	}
}

// lines is a log whose lines come out of a channel.
type lines chan string

func (l lines) Write(p []byte) (int, error) {
	select {
	case l <- string(p):
	default:
	}
	return len(p), nil
}

// While its results can't be written a job is not tried again: what was
// delivered would be sent twice.
func TestResultsThatCanNotBeWritten(t *testing.T) {
	var tries atomic.Int32
	log := make(lines, 100)
	b := newBench(t, t.TempDir(), Config{
		Attempt: func(ctx context.Context, j *Job) []Result {
			tries.Add(1)
			return always(Delivered)(ctx, j)
		},
		Log: slog.New(slog.NewTextHandler(log, nil)),
	})
	b.pause = time.Millisecond
	b.add(b.item("d.test", ""))
	exec := func(query string) {
		t.Helper()
		if err := b.cfg.DB.Update(t.Context(), func(tx *store.Tx) error {
			_, err := tx.Exec(query)
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
	exec("CREATE TRIGGER full BEFORE DELETE ON queue BEGIN SELECT RAISE(ABORT, 'disk is full'); END")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- b.Run(ctx) }()
	for range 3 {
		if l := <-log; !strings.Contains(l, "disk is full") {
			t.Fatal(l)
		}
	}
	if n := tries.Load(); n != 1 {
		t.Errorf("sent %d times", n)
	}
	exec("DROP TRIGGER full")
	for n := 1; n > 0; {
		var err error
		if n, _, err = b.Count(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	cancel()
	<-done
	if n := tries.Load(); n != 1 {
		t.Errorf("sent %d times", n)
	}
}

// Large data waits on the disk, however the item came into memory, and is there
// when its turn comes.
func TestLargeDataIsReadWhenNeeded(t *testing.T) {
	got := make(chan int, 10)
	b := newBench(t, t.TempDir(), Config{Attempt: func(_ context.Context, j *Job) []Result {
		for _, it := range j.Items {
			got <- len(it.Data)
		}
		return repeat(Result{Status: Deferred, Reply: "451 later"}, len(j.Items))
	}})
	small, large := b.item("d.test", ""), b.item("d.test", "")
	large.Data = make([]byte, maxData+1)
	b.add(small, large)
	inMemory := func() (octets int) {
		b.mu.Lock()
		defer b.mu.Unlock()
		for _, d := range b.dests {
			for _, it := range d.items {
				octets += len(it.Data)
			}
		}
		return octets
	}
	for range 2 { // as it was added, and as it is loaded
		if n := inMemory(); n > maxData {
			t.Errorf("%d octets are in memory", n)
		}
		b.step()
		if sum := <-got + <-got; sum < maxData+1 || sum > 2*maxData {
			t.Errorf("an attempt was given %d octets", sum)
		}
		b.clock.Add(2 * time.Hour)
		if _, err := b.load(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// What is put off for less than the table is looked at by itself is tried in time.
func TestShortRetry(t *testing.T) {
	tried := make(chan time.Time, 10)
	b := newBench(t, t.TempDir(), Config{Backoff: []time.Duration{300 * time.Millisecond}, Attempt: func(_ context.Context, job *Job) []Result {
		tried <- time.Now()
		return repeat(Result{Status: Deferred, Reply: "450 4.2.0 later"}, len(job.Items))
	}})
	b.cfg.Now = time.Now
	it := b.item("far.test", "")
	it.Created, it.Next, it.Expires = time.Now(), time.Now(), time.Now().Add(time.Hour)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- b.Run(ctx) }()
	b.add(it)
	for range 4 {
		select {
		case <-tried:
		case <-time.After(20 * time.Second):
			t.Fatal("it is not tried again")
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// A clock that was ahead and is set back does not hold up mail, and one that
// jumps ahead loses none.
func TestClockJumps(t *testing.T) {
	tries := 0
	b := newBench(t, t.TempDir(), Config{Attempt: func(_ context.Context, j *Job) []Result {
		tries++
		return repeat(Result{Status: Deferred, Reply: "451 later"}, len(j.Items))
	}})
	b.clock.Add(1000 * time.Hour)
	b.add(b.item("d.test", ""))
	b.step()
	b.clock.Add(-1000 * time.Hour)
	b.step()
	if tries != 2 {
		t.Errorf("after the clock was set back: %d tries, want 2", tries)
	}
	b.step()
	if tries != 2 {
		t.Errorf("it is tried without a pause: %d tries", tries)
	}
	b.clock.Add(24 * time.Hour)
	b.step()
	if it := b.only(); tries != 3 || it.Attempts != 3 {
		t.Errorf("after a jump ahead: %d tries, %d attempts noted", tries, it.Attempts)
	}
}
