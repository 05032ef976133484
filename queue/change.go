package queue

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"mtad/message"
	"mtad/selector"
	"mtad/store"
)

// Counts are what a change concerned.
type Counts struct{ Items, Messages int }

func count(some []chosen) Counts {
	c := Counts{Items: len(some)}
	var last message.ID
	for i, it := range some { // in the order of messages
		if i == 0 || it.message != last {
			c.Messages++
		}
		last = it.message
	}
	return c
}

// Action is what an administrator does to items. One row is changed by all of the
// statement's arguments and its ID; the zero Action changes nothing.
type Action struct {
	set    string // of UPDATE
	args   []any
	only   string // which of the chosen it concerns
	route  bool   // the items' destinations are found anew
	way    string // by this way
	delete bool
}

// Hold keeps items from being tried. What is held already keeps its reason.
func Hold(reason string) Action {
	return Action{set: "hold = ?", args: []any{reason}, only: "hold = ''"}
}

// Release has held items tried now.
func (q *Queue) Release() Action {
	return Action{set: "hold = '', next = ?", args: []any{q.cfg.Now().UnixMilli()}, only: "hold <> ''"}
}

// Retry has items tried now, but for held ones.
func (q *Queue) Retry() Action {
	return Action{set: "next = ?", args: []any{q.cfg.Now().UnixMilli()}, only: "hold = ''"}
}

// Bounce has items fail now, held ones too, and their sender told why.
func (q *Queue) Bounce(reason string) Action {
	return Action{set: "ended = ?, hold = '', next = ?", args: []any{reason, q.cfg.Now().UnixMilli()}}
}

// Reroute gives items for other hosts a way of their own, and has them tried now
// unless they are held.
func Reroute(way string) Action {
	return Action{way: way, only: "dest NOT IN ('(local)', '(system)')", route: true}
}

// Requeue sends items through routing again, and has them tried now; what is held
// stays so.
func Requeue() Action { return Action{route: true} }

// Delete forgets items; nobody is told.
func Delete() Action { return Action{delete: true} }

// Match counts what a selector chooses of what an action concerns.
func (q *Queue) Match(ctx context.Context, sel selector.Selector, a Action) (Counts, error) {
	found, err := q.concerned(ctx, sel, a)
	return count(found), err
}

// concerned is what a selector chooses of what an action concerns.
func (q *Queue) concerned(ctx context.Context, sel selector.Selector, a Action) ([]chosen, error) {
	found, err := q.choose(ctx, sel)
	if err != nil || a.only == "" {
		return found, err
	}
	var out []chosen
	err = pages(found, func(some []chosen) error {
		return q.cfg.DB.View(ctx, func(tx *store.Tx) error {
			kept, err := chooseRows(tx.Query("SELECT id, message FROM queue"+whereListed+" AND "+a.only+" ORDER BY message, id", list(some)))
			out = append(out, kept...)
			return err
		})
	})
	return out, err
}

// Change does something to the chosen items, some at a time, and counts those that
// it was done to. An item that is under way is changed too, and what its attempt
// comes to then finds the row so; but one that would get another destination is
// left alone.
func (q *Queue) Change(ctx context.Context, sel selector.Selector, a Action) (Counts, error) {
	found, err := q.concerned(ctx, sel, a)
	if err != nil {
		return Counts{}, err
	}
	if len(found) == 0 {
		return Counts{}, ErrNone
	}
	var done []chosen
	defer q.lookAgain()
	err = pages(found, func(some []chosen) error {
		if a.route {
			some = q.claim(some)
			defer q.forget(some)
		}
		if err := q.do(ctx, some, a); err != nil {
			return fmt.Errorf("queue: change: %w", err)
		}
		done = append(done, some...)
		if !a.route {
			q.forget(some)
		}
		return nil
	})
	if err == nil && len(done) == 0 {
		err = ErrUnderWay
	}
	return count(done), err
}

// ErrUnderWay says that all that would get another destination is being tried.
var ErrUnderWay = errors.New("queue: all of it is being tried at this moment")

// do changes some rows in one transaction.
func (q *Queue) do(ctx context.Context, some []chosen, a Action) error {
	switch {
	case a.delete:
		return q.cfg.DB.Update(ctx, func(tx *store.Tx) error {
			for _, c := range some {
				if err := q.Finish(tx, &Item{ID: c.id, Message: c.message}); err != nil {
					return err
				}
			}
			return nil
		})
	case a.way != "":
		return q.reroute(ctx, some, a.way)
	case a.route:
		return q.again(ctx, some)
	}
	return q.cfg.DB.Update(ctx, func(tx *store.Tx) error {
		_, err := tx.Exec("UPDATE queue SET "+a.set+whereListed, append(slices.Clone(a.args), list(some))...)
		return err
	})
}

// reroute gives items a way of their own.
func (q *Queue) reroute(ctx context.Context, some []chosen, way string) error {
	if q.cfg.Dest == nil {
		return errNoRouting
	}
	items, err := q.read(ctx, columns, some)
	if err != nil {
		return err
	}
	dests := make([]string, len(items))
	for i, it := range items {
		if dests[i], err = q.cfg.Dest(ctx, it, way); err != nil {
			return err
		}
	}
	return q.cfg.DB.Update(ctx, func(tx *store.Tx) error {
		for i, it := range items {
			_, err := tx.Exec("UPDATE queue SET route = ?, dest = ?, next = ? WHERE id = ?", way, dests[i], q.cfg.Now().UnixMilli(), it.ID)
			if err != nil {
				return err
			}
		}
		return nil
	})
}

var errNoRouting = errors.New("queue: there is no routing to ask")

// again routes items anew and puts what comes of it in their place.
func (q *Queue) again(ctx context.Context, some []chosen) error {
	if q.cfg.Again == nil {
		return errNoRouting
	}
	old, err := q.read(ctx, columns, some)
	if err != nil {
		return err
	}
	fresh := make([][]*Item, len(old))
	for i, it := range old {
		if fresh[i], err = q.cfg.Again(ctx, it); err != nil {
			return err
		}
		for _, n := range fresh[i] {
			n.Message, n.Created, n.Expires, n.Hold, n.Size = it.Message, it.Created, it.Expires, it.Hold, it.Size
			n.Next = q.cfg.Now()
		}
	}
	return q.cfg.DB.Update(ctx, func(tx *store.Tx) error {
		for i, it := range old {
			// The new refer to the message before the old cease to.
			if err := q.Add(tx, fresh[i]...); err != nil {
				return err
			}
			if err := q.Finish(tx, it); err != nil {
				return err
			}
		}
		return nil
	})
}

// claim takes items out of their lines, so that nobody begins with them, and
// returns those that are not under way. forget ends it.
func (q *Queue) claim(some []chosen) []chosen {
	q.mu.Lock()
	defer q.mu.Unlock()
	some = slices.DeleteFunc(slices.Clone(some), func(c chosen) bool { return q.trying[c.id] })
	q.drop(some)
	for _, c := range some {
		q.loaded[c.id] = true // nor loads them
	}
	return some
}

// drop removes items from the lines. The lock is held.
func (q *Queue) drop(some []chosen) {
	gone := make(map[int64]bool, len(some))
	for _, c := range some {
		gone[c.id] = true
	}
	for _, d := range q.dests {
		d.items = slices.DeleteFunc(d.items, func(it *Item) bool {
			if gone[it.ID] {
				delete(q.loaded, it.ID)
			}
			return gone[it.ID]
		})
	}
}

// forget drops waiting items from memory.
func (q *Queue) forget(some []chosen) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.drop(some)
	for _, c := range some {
		q.note(c.id)
		if !q.trying[c.id] {
			delete(q.loaded, c.id)
		}
	}
}

// lookAgain has what is due loaded anew, and hosts that were not there tried.
func (q *Queue) lookAgain() {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, d := range q.dests {
		d.dead = time.Time{}
	}
	q.more, q.look = true, true
	q.kick()
}

// split parts what an administrator has given up from what is to be tried.
func (j *Job) split() (live, ended *Job) {
	ended = &Job{Message: j.Message, Dest: j.Dest}
	if !slices.ContainsFunc(j.Items, func(it *Item) bool { return it.Ended != "" }) {
		return j, ended
	}
	live = &Job{Message: j.Message, Dest: j.Dest}
	for _, it := range j.Items {
		if it.Ended != "" {
			ended.Items = append(ended.Items, it)
		} else {
			live.Items = append(live.Items, it)
		}
	}
	return live, ended
}

// end fails what an administrator has given up: as what expires does, with a
// report to the sender.
func (q *Queue) end(ctx context.Context, job *Job) {
	if len(job.Items) == 0 {
		return
	}
	var results []Result
	for _, it := range job.Items {
		reply := "550 5.4.7 " + it.Ended
		if it.Reply != "" {
			reply += "; the last answer was: " + strings.ReplaceAll(it.Reply, "\n", " ")
		}
		results = append(results, Result{Status: Failed, Reply: reply, Host: it.Host})
	}
	if err := q.complete(ctx, job); err != nil {
		q.cfg.Log.Error("queue: read items", "id", job.Message, "dest", job.Dest, "err", err)
		results = repeat(Result{Status: Postponed}, len(job.Items))
	}
	q.settle(ctx, job, results, false)
}
