package queue

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"mtad/internal/invariants"
	"mtad/message"
	"mtad/selector"
	"mtad/store"
)

// Job is the items of one message that go to one destination together.
type Job struct {
	Message message.ID
	Dest    string
	Items   []*Item
}

// Status is what an attempt came to for one item.
type Status uint8

// What an attempt may come to.
const (
	Delivered Status = iota
	Deferred         // try again later
	Failed           // never
	Postponed        // not tried; as if nothing had happened
)

// Result is what became of one item.
type Result struct {
	Status Status
	Reply  string // the peer's words, or ours
	Host   string
	Dead   bool // the destination could not be reached at all: others need not try now
	Info   any  // of the attempting function, for its Report
}

// Outcome is an item with what became of it, for reports to the sender.
type Outcome struct {
	Item   *Item
	Result Result
	// Expired says that Failed stands for a deferral that came too late.
	Expired bool
	// Delayed says that the sender is to be told of the delay.
	Delayed bool
}

// Config of a Queue.
type Config struct {
	DB *store.DB
	// Attempt tries a job once; one result for each item, in order. The
	// context bounds it.
	Attempt func(context.Context, *Job) []Result
	// Report is told the outcomes before the rows change, so that a bounce is
	// safe before its cause is forgotten. An error leaves the rows as they
	// were, to be tried again.
	Report func(context.Context, *Job, []Outcome) error
	// Again routes an item anew, as when its message came: what it returns takes
	// its place. Requeue needs it.
	Again func(context.Context, *Item) ([]*Item, error)
	// Dest is the destination that an item has by a way of its own. Reroute needs
	// it.
	Dest func(ctx context.Context, it *Item, way string) (string, error)
	// Changed is told what an administrator has done (held, released, requeued,
	// deleted) to how many items of a message. May be nil.
	Changed func(id message.ID, items int, what string)
	// WarnAfter is when the sender of an item is told of the delay; zero is
	// never.
	WarnAfter func(*Item) time.Duration

	// Backoff is the time before each retry, give or take a fifth; the last
	// goes on. 5, 10, 20, 40 minutes, then 1, 2, 4 hours by default.
	Backoff []time.Duration

	PerDest int // attempts at once at one destination; 20
	Total   int // attempts at once; 200
	PerJob  int // recipients of a job; 100
	Memory  int // items kept in memory; 10,000
	Log     *slog.Logger
	Now     func() time.Time
}

// Queue is the scheduler. Make one with New and run it with Run.
type Queue struct {
	cfg Config

	mu      sync.Mutex
	dests   map[string]*dest
	loaded  map[int64]bool // in memory: waiting or under way
	trying  map[int64]bool // under way
	active  int
	look    bool           // rows were changed by hand: look at once
	soonest time.Time      // when a row that was put off since the last look is due; zero: none was
	more    bool           // there may be due rows that are not in memory
	done    map[int64]bool // finished or changed while load reads; nil if it does not
	ready   []*dest
	wake    chan struct{}
	workers sync.WaitGroup
	pause   time.Duration // between tries to write results
}

// dest is the line of one destination.
type dest struct {
	name   string
	items  []*Item
	active int
	listed bool // in ready
	dead   time.Time
	reply  Result // of what made it dead
}

// deadTime is how long a destination that can't be reached is left alone.
const deadTime = time.Minute

// New makes a queue.
func New(cfg Config) *Queue {
	for p, v := range map[*int]int{&cfg.PerDest: 20, &cfg.Total: 200, &cfg.PerJob: 100, &cfg.Memory: 10000} {
		if *p == 0 {
			*p = v
		}
	}
	if len(cfg.Backoff) == 0 {
		cfg.Backoff = backoff
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.WarnAfter == nil {
		cfg.WarnAfter = func(*Item) time.Duration { return 0 }
	}
	return &Queue{cfg: cfg, dests: map[string]*dest{}, loaded: map[int64]bool{}, trying: map[int64]bool{}, more: true, wake: make(chan struct{}, 1), pause: time.Second}
}

// Add puts items into the queue as part of a transaction, and one reference to
// the message for each. Their IDs are set. Once the transaction is committed
// they are tried.
func (q *Queue) Add(tx *store.Tx, items ...*Item) error {
	for _, it := range items {
		res, err := tx.Exec(`INSERT INTO queue (message, sender, rcpt, dest, data, created, next, expires, hold, size, domain, origin)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
			it.Message, it.Sender, it.Rcpt, it.Dest, it.Data,
			it.Created.UnixMilli(), it.Next.UnixMilli(), it.Expires.UnixMilli(), it.Hold, it.Size,
			selector.DomainOf(it.Rcpt), selector.DomainOf(it.Sender))
		if err != nil {
			return fmt.Errorf("queue: add: %w", err)
		}
		it.ID = res.LastID
		if err := tx.Ref(it.Message, 1); err != nil {
			return err
		}
	}
	tx.OnCommit(func() { q.offer(items) })
	return nil
}

// offer takes new items into memory, if there is room and they are due.
func (q *Queue) offer(items []*Item) {
	now := q.cfg.Now()
	q.mu.Lock()
	for _, it := range items {
		switch {
		case it.Hold != "" || it.Next.After(now):
			q.more = q.more || it.Hold == ""
		case len(q.loaded) >= q.cfg.Memory:
			q.more = true
		case len(it.Data) > maxData:
			slim := *it
			slim.Data = nil
			q.push(&slim)
		default:
			q.push(it)
		}
	}
	q.mu.Unlock()
	q.kick()
}

// push puts an item in its destination's line. The lock is held.
func (q *Queue) push(it *Item) {
	if q.loaded[it.ID] {
		return
	}
	// Invariant: what came to an end is not tried for an old row's sake.
	if invariants.Enabled && q.done[it.ID] {
		invariants.Broken("queue: item %d is loaded by a row that was read before its end", it.ID)
	}
	q.loaded[it.ID] = true
	d := q.dests[it.Dest]
	if d == nil {
		d = &dest{name: it.Dest}
		q.dests[it.Dest] = d
	}
	d.items = append(d.items, it)
	q.list(d)
}

// list makes a destination that has something to do known to the dispatcher.
func (q *Queue) list(d *dest) {
	if !d.listed && len(d.items) > 0 && d.active < q.cfg.PerDest {
		d.listed = true
		q.ready = append(q.ready, d)
	}
}

func (q *Queue) kick() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// Run works until ctx ends, and then waits for the attempts under way, whose
// context ends too.
func (q *Queue) Run(ctx context.Context) error {
	defer q.workers.Wait()
	timer := time.NewTimer(0)
	defer timer.Stop()
	var at time.Time // of the next look
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-q.wake:
		case <-timer.C:
			next, err := q.load(ctx)
			if err != nil && ctx.Err() == nil {
				q.cfg.Log.Error("queue: load", "err", err)
			}
			at = time.Now().Add(next)
			timer.Reset(next)
		}
		q.dispatch(ctx)
		if q.wantsLoad() {
			timer.Reset(0)
		} else if next, ok := q.wantsLoadIn(time.Until(at)); ok {
			at = time.Now().Add(next)
			timer.Reset(next)
		}
	}
}

// Bounds of how often the table is looked at.
const (
	minLoad = 200 * time.Millisecond
	maxLoad = time.Minute
)

// wantsLoad reports whether rows were left out that there is room for now.
func (q *Queue) wantsLoad() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.look || q.more && len(q.loaded) == 0
}

// wantsLoadIn says when a row that was put off wants a look, if that is sooner than
// the next one.
func (q *Queue) wantsLoadIn(next time.Duration) (time.Duration, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.soonest.IsZero() {
		return 0, false
	}
	wait := max(q.soonest.Sub(q.cfg.Now()), minLoad)
	q.soonest = time.Time{}
	return wait, wait < next
}

// load takes due rows into memory and returns when to look again.
func (q *Queue) load(ctx context.Context) (time.Duration, error) {
	q.mu.Lock()
	q.sweep()
	if len(q.loaded) > q.cfg.Memory*3/4 { // not worth reading for
		q.more, q.look = true, false
		q.mu.Unlock()
		return minLoad, nil
	}
	limit := q.cfg.Memory + 1
	q.more, q.look = false, false
	q.done = map[int64]bool{}
	q.mu.Unlock()
	defer q.loadDone()
	now := q.cfg.Now()
	var due []*Item
	next := int64(-1)
	err := q.cfg.DB.View(ctx, func(tx *store.Tx) error {
		var err error
		due, err = collect(tx.Query("SELECT "+slimColumns+" FROM queue WHERE hold = '' AND next <= ? ORDER BY next LIMIT ?", now.UnixMilli(), limit))
		if err != nil {
			return err
		}
		far, err := collect(tx.Query("SELECT "+slimColumns+" FROM queue WHERE hold = '' AND next > ? LIMIT ?", q.far(now).UnixMilli(), limit))
		if err != nil {
			return err
		}
		due = append(due, far...)
		return tx.QueryRow("SELECT coalesce(min(next), -1) FROM queue WHERE hold = '' AND next > ?", now.UnixMilli()).Scan(&next)
	})
	if err != nil {
		return time.Second, fmt.Errorf("queue: load: %w", err)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, it := range due {
		if len(q.loaded) >= q.cfg.Memory {
			q.more = true
			break
		}
		// An item is in memory once. What came to an end since
		// the rows were read must not be tried for their sake.
		if q.done[it.ID] {
			q.more = true
			continue
		}
		q.push(it)
	}
	wait := maxLoad
	if next >= 0 {
		wait = time.UnixMilli(next).Sub(now)
	}
	if q.more {
		wait = minLoad
	}
	return min(max(wait, minLoad), maxLoad), nil
}

// loadDone ends the time in which finished items are remembered.
func (q *Queue) loadDone() {
	q.mu.Lock()
	q.done = nil
	q.mu.Unlock()
}

// sweep forgets destinations with nothing to do. The lock is held.
func (q *Queue) sweep() {
	now := q.cfg.Now()
	for name, d := range q.dests {
		if len(d.items) == 0 && d.active == 0 && !d.listed && !now.Before(d.dead) {
			delete(q.dests, name)
		}
	}
}

// note remembers, for a load that is under way, that an item is not as it was.
// The lock is held.
func (q *Queue) note(id int64) {
	if q.done != nil {
		q.done[id] = true
	}
}

// dispatch starts as many jobs as the limits allow, one destination after the
// other.
func (q *Queue) dispatch(ctx context.Context) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for q.active < q.cfg.Total && len(q.ready) > 0 && ctx.Err() == nil {
		d := q.ready[0]
		q.ready = q.ready[1:]
		d.listed = false
		job := q.take(d)
		if job == nil {
			continue
		}
		// Invariant: nothing is under way twice.
		if invariants.Enabled {
			q.begins(job)
		}
		for _, it := range job.Items {
			q.trying[it.ID] = true
		}
		d.active++
		q.active++
		dead := d.reply
		isDead := q.cfg.Now().Before(d.dead)
		q.list(d)
		q.workers.Go(func() {
			live, ended := job.split()
			switch {
			case len(live.Items) == 0:
			case isDead:
				q.settle(ctx, live, repeat(dead, len(live.Items)), false)
			default:
				q.settle(ctx, live, q.attempt(ctx, live), true)
			}
			q.end(ctx, ended)
			q.finished(d, job)
		})
	}
}

// begins checks that nothing of a job is tried twice at once, and that the limits
// hold. The lock is held.
func (q *Queue) begins(job *Job) {
	for _, it := range job.Items {
		switch {
		case q.trying[it.ID]:
			invariants.Broken("queue: item %d is tried twice at once", it.ID)
		case !q.loaded[it.ID]:
			invariants.Broken("queue: item %d is tried, and not known to be in memory", it.ID)
		case it.Message != job.Message || it.Dest != job.Dest:
			invariants.Broken("queue: item %d of %v to %s is in a job of %v to %s", it.ID, it.Message, it.Dest, job.Message, job.Dest)
		}
	}
}

func repeat(r Result, n int) []Result {
	out := make([]Result, n)
	for i := range out {
		out[i] = r
	}
	return out
}

// take removes the first item of the line and those behind it that are of the
// same message: they were added together.
func (q *Queue) take(d *dest) *Job {
	if len(d.items) == 0 {
		return nil
	}
	id, n := d.items[0].Message, 1
	for n < min(len(d.items), q.cfg.PerJob) && d.items[n].Message == id {
		n++
	}
	job := &Job{Message: id, Dest: d.name, Items: d.items[:n:n]}
	d.items = d.items[n:]
	return job
}

// attempt calls the configured function; a panic of it is a deferral.
func (q *Queue) attempt(ctx context.Context, job *Job) (results []Result) {
	defer func() {
		if r := recover(); r != nil {
			q.cfg.Log.Error("queue: attempt panicked", "id", job.Message, "dest", job.Dest, "panic", r)
			results = repeat(Result{Status: Deferred, Reply: "451 4.3.0 Internal error"}, len(job.Items))
		}
	}()
	if err := q.complete(ctx, job); err != nil {
		q.cfg.Log.Error("queue: read items", "id", job.Message, "dest", job.Dest, "err", err)
		return repeat(Result{Status: Deferred, Reply: "451 4.3.0 Can not read the queue item"}, len(job.Items))
	}
	results = q.cfg.Attempt(ctx, job)
	if len(results) != len(job.Items) {
		q.cfg.Log.Error("queue: attempt gave other than one result an item", "id", job.Message, "dest", job.Dest)
		return repeat(Result{Status: Deferred, Reply: "451 4.3.0 Internal error"}, len(job.Items))
	}
	return results
}

// complete reads the data that was left where it is when the items were loaded.
func (q *Queue) complete(ctx context.Context, job *Job) error {
	if !slices.ContainsFunc(job.Items, func(it *Item) bool { return it.Data == nil }) {
		return nil
	}
	return q.cfg.DB.View(ctx, func(tx *store.Tx) error {
		for _, it := range job.Items {
			if it.Data != nil {
				continue
			}
			if err := tx.QueryRow("SELECT data FROM queue WHERE id = ?", it.ID).Scan(&it.Data); err != nil {
				return err
			}
		}
		return nil
	})
}

// finished makes room for the next job.
func (q *Queue) finished(d *dest, job *Job) {
	q.mu.Lock()
	d.active--
	q.active--
	for _, it := range job.Items {
		delete(q.loaded, it.ID)
		q.note(it.ID)
		delete(q.trying, it.ID)
	}
	q.list(d)
	if len(d.items) == 0 && d.active == 0 && !d.listed && q.dests[d.name] == d && !q.cfg.Now().Before(d.dead) {
		delete(q.dests, d.name)
	}
	q.mu.Unlock()
	q.kick()
}
