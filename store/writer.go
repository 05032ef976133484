package store

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"mtad/journal"
)

// job is one function waiting for the writer.
type job struct {
	fn    func(*Tx) error
	state atomic.Int32 // see below
	lazy  bool
	done  chan error
	tx    *Tx
	err   error // what the function itself answered
	panic any
}

const (
	jobWaiting = iota
	jobStarted
	jobCancelled
)

// Update runs fn in a transaction, perhaps together with others, and returns
// when that is on disk. fn's error rolls its part back and is returned. fn may
// be run twice; see the package comment for what it must not do. ctx cancels
// only before fn has started. ErrUnavailable says that nobody knows whether it
// is committed.
func (db *DB) Update(ctx context.Context, fn func(*Tx) error) error {
	return db.update(ctx, &job{fn: fn, done: make(chan error, 1)})
}

// UpdateSoon is Update for what nobody waits for: it may begin a few
// milliseconds later, so that many share a transaction and its sync. An Update
// that comes meanwhile takes it along.
func (db *DB) UpdateSoon(ctx context.Context, fn func(*Tx) error) error {
	return db.update(ctx, &job{fn: fn, done: make(chan error, 1), lazy: true})
}

func (db *DB) update(ctx context.Context, j *job) error {
	select {
	case <-db.stop:
		return ErrClosed
	default:
	}
	select {
	case db.jobs <- j:
	case <-ctx.Done():
		return ctx.Err()
	case <-db.stop:
		return ErrClosed
	}
	return db.wait(ctx, j)
}

func (db *DB) wait(ctx context.Context, j *job) error {
	cancelled, stopped := ctx.Done(), db.stop
	for {
		select {
		case err := <-j.done:
			if j.panic != nil {
				panic(j.panic)
			}
			return err
		case <-cancelled:
			if j.state.CompareAndSwap(jobWaiting, jobCancelled) {
				return ctx.Err()
			}
			cancelled = nil
		case <-stopped:
			if j.state.CompareAndSwap(jobWaiting, jobCancelled) {
				return ErrClosed
			}
			stopped = nil
		}
	}
}

// writeLoop is the only goroutine that writes to the database.
func (db *DB) writeLoop() {
	defer db.work.Done()
	group := make([]*job, 0, groupLimit)
	for {
		select {
		case j := <-db.jobs:
			group = db.gather(append(group[:0], j))
			db.serve(group)
			clear(group)
		case <-db.stop:
			return
		}
	}
}

// How long what nobody waits for is kept for others to join, and how many are
// enough.
const (
	lazyDelay = 4 * time.Millisecond
	lazyGroup = 64
)

// gather takes what waits, without those cancelled meanwhile.
func (db *DB) gather(group []*job) []*job {
	first := group[0]
	group, urgent := take(group[:0], first), !first.lazy
	var late <-chan time.Time // runs once everything that is there is lazy
	for len(group) < groupLimit {
		var j *job
		select {
		case j = <-db.jobs:
		default:
			if urgent || len(group) == 0 || len(group) >= lazyGroup {
				return group
			}
			if late == nil {
				late = time.After(lazyDelay)
			}
			select {
			case j = <-db.jobs:
			case <-late:
				return group
			case <-db.stop:
				return group
			}
		}
		group, urgent = take(group, j), urgent || !j.lazy
	}
	return group
}

// take adds a job that has not been cancelled.
func take(group []*job, j *job) []*job {
	if j.state.CompareAndSwap(jobWaiting, jobStarted) {
		return append(group, j)
	}
	return group
}

// serve runs a group, and each function alone if the group as a whole failed.
func (db *DB) serve(group []*job) {
	if len(group) == 0 {
		return
	}
	if err := db.ensureOpen(); err != nil {
		answer(group, err)
		return
	}
	err := db.attempt(group)
	switch {
	case err == nil:
		answer(group, nil)
	case errors.Is(err, ErrUnavailable) || errors.Is(err, errNotBegun) || len(group) == 1:
		answer(group, err)
	default:
		db.log.Warn("store: group of updates failed, running each alone", "updates", len(group), "error", err)
		for i := range group {
			db.serve(group[i : i+1])
		}
	}
}

func answer(group []*job, err error) {
	for _, j := range group {
		if j.err != nil || j.panic != nil {
			j.done <- j.err
			continue
		}
		j.done <- err
	}
}

// errNotBegun is the fault of no function: running each alone would only have
// each wait in turn for a lock that another program holds.
var errNotBegun = errors.New("store: the transaction can't begin")

// attempt runs a group in one transaction. An error means nothing of it is
// committed, or with ErrUnavailable that this is unknown.
func (db *DB) attempt(group []*job) error {
	c := db.writer
	if err := c.run("BEGIN IMMEDIATE"); err != nil {
		return fmt.Errorf("%w: %w", errNotBegun, err)
	}
	for _, j := range group {
		if err := db.runJob(c, j, len(group) > 1); err != nil {
			return db.undo(err)
		}
	}
	if len(group) == 1 && (group[0].err != nil || group[0].panic != nil) {
		return db.undo(nil)
	}
	return db.finish(group)
}

// runJob runs one function inside a savepoint. Savepoints do not isolate every
// fault: an error here means the whole transaction is lost.
func (db *DB) runJob(c *conn, j *job, savepoint bool) error {
	if savepoint {
		if err := c.run("SAVEPOINT job"); err != nil {
			return err
		}
	}
	j.tx, j.err, j.panic = &Tx{conn: c, write: true}, nil, nil
	j.call()
	j.tx.closeRows()
	if c.AutocommitEnabled() {
		if j.err == nil {
			return errTransactionGone
		}
		err := fmt.Errorf("%w: %w", errTransactionGone, j.err)
		j.err = nil
		return err
	}
	if !savepoint {
		return nil
	}
	if j.err != nil || j.panic != nil {
		if err := c.run("ROLLBACK TO job"); err != nil {
			return err
		}
	}
	return c.run("RELEASE job")
}

// call keeps a panic for the goroutine that asked for the update.
func (j *job) call() {
	defer func() { j.panic = recover() }()
	j.err = j.fn(j.tx)
}

// undo rolls back what is left of a transaction.
func (db *DB) undo(cause error) error {
	if db.writer.AutocommitEnabled() {
		return cause
	}
	if err := db.writer.run("ROLLBACK"); err != nil {
		db.lose()
		return errors.Join(cause, fmt.Errorf("store: rollback: %w", err))
	}
	return cause
}

// finish stores the journal position, commits and tells whoever asked.
func (db *DB) finish(group []*job) error {
	places, above, err := db.saveApplied(group)
	if err != nil {
		return db.undo(err)
	}
	if err := db.commit(db.writer); err != nil {
		if !db.writer.AutocommitEnabled() && isRefusal(err) {
			return db.undo(fmt.Errorf("store: commit: %w", err))
		}
		db.lose()
		return fmt.Errorf("%w: commit: %w", ErrUnavailable, err)
	}
	db.above = above
	db.journal.Done(places...)
	for _, j := range group {
		if j.err != nil || j.panic != nil {
			continue
		}
		for _, hook := range j.tx.hooks {
			hook()
		}
	}
	return nil
}

// lose gives the database up after a fault that leaves its state unknown; the
// next update opens it again.
func (db *DB) lose() {
	if err := db.writer.close(); err != nil {
		db.log.Error("store: closing the database after a fault", "error", err)
	}
	db.writer = nil
	if err := db.pool.renew(5 * time.Second); err != nil {
		db.log.Error("store: closing readers after a fault", "error", err)
	}
}

func (db *DB) ensureOpen() error {
	if db.writer != nil {
		return nil
	}
	c, err := openWriter(db.path())
	if err != nil {
		return fmt.Errorf("%w: reopen: %w", ErrUnavailable, err)
	}
	if err := db.reconcile(c); err != nil {
		return errors.Join(fmt.Errorf("%w: reopen: %w", ErrUnavailable, err), c.close())
	}
	db.writer = c
	db.log.Info("store: database reopened")
	return nil
}

// reconcile learns from a database that was opened again whether the commit
// whose outcome was unknown took place: what it applied is outstanding no more.
// Without this the mark would move back in front of it, and a crash would have
// it applied twice.
func (db *DB) reconcile(c *conn) error {
	tx := &Tx{conn: c}
	var done []journal.Place
	for _, p := range db.journal.Unfinished() {
		applied, err := tx.IsApplied(p)
		if err != nil {
			return err
		}
		if applied {
			done = append(done, p)
		}
	}
	n, err := countAbove(c)
	if err != nil {
		return err
	}
	db.above = n
	db.journal.Done(done...)
	return nil
}
