package queue

import (
	"context"
	"errors"
	"fmt"
	"time"

	"mtad/store"
)

// settle makes an attempt's results the rows' next state. tried says that the
// attempt was really made.
func (q *Queue) settle(ctx context.Context, job *Job, results []Result, tried bool) {
	// What was delivered must be noted even when the server is stopping.
	run := ctx
	ctx, cancel := context.WithTimeout(context.WithoutCancel(run), settleTime)
	defer cancel()
	now := q.cfg.Now()
	outcomes := make([]Outcome, 0, len(results))
	for i, r := range results {
		outcomes = append(outcomes, q.outcome(job.Items[i], r, now))
		if r.Dead && tried {
			q.markDead(job.Dest, r, now)
		}
	}
	if q.cfg.Report != nil {
		if err := q.report(ctx, job, outcomes); err != nil {
			q.cfg.Log.Error("queue: report to the sender", "id", job.Message, "err", err)
			for i := range outcomes {
				if outcomes[i].Result.Status == Failed {
					outcomes[i].Result.Status = Deferred
				}
				outcomes[i].Delayed = false
			}
		}
	}
	q.keep(run, job, outcomes, now)
}

// settleTime bounds one try at reporting and writing an attempt's results.
const settleTime = 30 * time.Second

// keep writes the results, as often as it takes: a row that stays as it was
// would be tried again at once, and what was delivered would be sent again and
// again. Meanwhile the job counts as under way. Only a stopping server gives up.
func (q *Queue) keep(run context.Context, job *Job, outcomes []Outcome, now time.Time) {
	for {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(run), settleTime)
		err := q.write(ctx, job, outcomes, now)
		cancel()
		if err == nil {
			return
		}
		q.cfg.Log.Error("queue: write results; trying again", "id", job.Message, "dest", job.Dest, "err", err)
		if errors.Is(err, store.ErrClosed) {
			return
		}
		select {
		case <-time.After(q.pause):
		case <-run.Done():
			return
		}
	}
}

// report calls the configured function; a panic of it is an error.
func (q *Queue) report(ctx context.Context, job *Job, outcomes []Outcome) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("queue: report panicked: %v", r)
		}
	}()
	return q.cfg.Report(ctx, job, outcomes)
}

// Finish removes an item as part of a transaction that does what the item was
// waiting for, so that a crash can't have it done twice. Its attempt then
// answers Delivered.
func (q *Queue) Finish(tx *store.Tx, it *Item) error {
	res, err := tx.Exec("DELETE FROM queue WHERE id = ?", it.ID)
	if err != nil || res.Changes == 0 {
		return err
	}
	return tx.Ref(it.Message, -1)
}

// outcome judges one result: a deferral past the item's time is a failure, one
// past the time to warn is a delay.
func (q *Queue) outcome(it *Item, r Result, now time.Time) Outcome {
	o := Outcome{Item: it, Result: r}
	if r.Status != Deferred {
		return o
	}
	if !now.Before(it.Expires) {
		o.Result.Status, o.Expired = Failed, true
		return o
	}
	warn := q.cfg.WarnAfter(it)
	o.Delayed = warn > 0 && !it.Warned && now.Sub(it.Created) >= warn
	return o
}

func (q *Queue) markDead(name string, r Result, now time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if d := q.dests[name]; d != nil {
		d.dead, d.reply = now.Add(deadTime), r
	}
}

// putOff remembers when the first of the rows that were put off is due.
func (q *Queue) putOff(to time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !to.IsZero() && (q.soonest.IsZero() || to.Before(q.soonest)) {
		q.soonest = to
	}
}

// write changes the rows in one transaction.
func (q *Queue) write(ctx context.Context, job *Job, outcomes []Outcome, now time.Time) error {
	next := make([]time.Time, len(outcomes))
	var soonest time.Time
	for i, o := range outcomes {
		next[i] = now.Add(q.retryAfter(o.Item.Attempts+1, now.Sub(o.Item.Created)))
		if o.Result.Status == Deferred && (soonest.IsZero() || next[i].Before(soonest)) {
			soonest = next[i]
		}
	}
	defer q.putOff(soonest)
	return q.cfg.DB.Update(ctx, func(tx *store.Tx) error {
		done := 0
		for i, o := range outcomes {
			switch o.Result.Status {
			case Delivered, Failed:
				res, err := tx.Exec("DELETE FROM queue WHERE id = ?", o.Item.ID)
				if err != nil {
					return err
				}
				done += int(res.Changes)
			case Deferred:
				_, err := tx.Exec(`UPDATE queue SET next = CASE ended WHEN '' THEN ? ELSE next END, attempts = attempts + 1,
					reply = ?, host = ?, warned = warned OR ? WHERE id = ?`,
					next[i].UnixMilli(), o.Result.Reply, o.Result.Host, o.Delayed, o.Item.ID)
				if err != nil {
					return err
				}
			}
		}
		if done == 0 {
			return nil
		}
		return tx.Ref(job.Message, -done)
	})
}
