package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"mtad/message"
	"mtad/selector"
	"mtad/store"
)

// table is how rows answer selectors.
var table = selector.Columns{
	ID: "message", From: "sender", FromDomain: "origin", To: "rcpt", Domain: "domain", Created: "created",
	Reason: "lower(hold || char(10) || reply)",
	Status: map[string]string{
		"ready":    "hold = '' AND attempts = 0",
		"deferred": "hold = '' AND attempts > 0",
		"held":     "hold <> ''",
	},
	StatusWords: "ready, deferred, held",
}

// ErrNone says that a selector chose nothing.
var ErrNone = errors.New("queue: no such item")

// chosen is an item that a selector chose: all that is kept of many.
type chosen struct {
	id      int64
	message message.ID
}

// choose finds items, in the order of their messages.
func (q *Queue) choose(ctx context.Context, sel selector.Selector) ([]chosen, error) {
	where, args, err := sel.SQL(table)
	if err != nil {
		return nil, err
	}
	filter, err := sel.Filtered()
	if err != nil {
		return nil, err
	}
	var out []chosen
	err = q.cfg.DB.View(ctx, func(tx *store.Tx) error {
		if filter == nil {
			out, err = chooseRows(tx.Query("SELECT id, message FROM queue WHERE "+where+" ORDER BY message, id", args...))
			return err
		}
		now := q.cfg.Now()
		return each(tx, "SELECT "+listColumns+" FROM queue WHERE "+where+" ORDER BY message, id", args, func(it *Item) error {
			if filter.Eval(it.subject(now)) {
				out = append(out, chosen{it.ID, it.Message})
			}
			return nil
		})
	})
	if err != nil {
		return nil, fmt.Errorf("queue: choose: %w", err)
	}
	return out, nil
}

func chooseRows(rows *store.Rows, err error) ([]chosen, error) {
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []chosen
	for rows.Next() {
		var c chosen
		if err := rows.Scan(&c.id, &c.message); err != nil {
			return nil, err
		}
		out = append(out, c)
	}
	return out, rows.Err()
}

// subject is an item as a filter sees it.
func (it *Item) subject(now time.Time) *selector.Subject {
	reason := it.Hold
	if reason == "" {
		reason = it.Reply
	}
	return &selector.Subject{
		ID: it.Message.String(), From: it.Sender, To: it.Rcpt, Status: it.State(), Reason: reason, Dest: it.Dest, Host: it.Host,
		Age: now.Sub(it.Created), Attempts: it.Attempts, Size: it.Size,
	}
}

// listColumns are columns without data.
var listColumns = strings.Replace(columns, " data,", " NULL,", 1)

func each(tx *store.Tx, query string, args []any, fn func(*Item) error) error {
	rows, err := tx.Query(query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		it, err := scan(rows)
		if err != nil {
			return err
		}
		if err := fn(it); err != nil {
			return err
		}
	}
	return rows.Err()
}

// page is how many items are read, or changed, at once.
const page = 1000

// pages calls fn with so many at a time.
func pages(all []chosen, fn func([]chosen) error) error {
	for len(all) > 0 {
		n := min(len(all), page)
		if err := fn(all[:n]); err != nil {
			return err
		}
		all = all[n:]
	}
	return nil
}

// list is IDs as an argument of json_each.
func list(some []chosen) string {
	ids := make([]int64, len(some))
	for i, c := range some {
		ids[i] = c.id
	}
	b, err := json.Marshal(ids)
	if err != nil {
		return "[]" // numbers have a form in JSON
	}
	return string(b)
}

const whereListed = " WHERE id IN (SELECT value FROM json_each(?))"

// read reads items; those that are gone meanwhile are left out.
func (q *Queue) read(ctx context.Context, cols string, some []chosen) (out []*Item, err error) {
	err = q.cfg.DB.View(ctx, func(tx *store.Tx) error {
		out, err = collect(tx.Query("SELECT "+cols+" FROM queue"+whereListed+" ORDER BY message, id", list(some)))
		return err
	})
	return out, err
}

// Each calls fn with the chosen items, without their Data, in the order of their
// messages. No more than a page of them is in memory at once, and none is read
// while fn runs.
func (q *Queue) Each(ctx context.Context, sel selector.Selector, fn func(*Item) error) error {
	found, err := q.choose(ctx, sel)
	if err != nil {
		return err
	}
	return pages(found, func(some []chosen) error {
		items, err := q.read(ctx, listColumns, some)
		if err != nil {
			return fmt.Errorf("queue: list: %w", err)
		}
		for _, it := range items {
			if err := fn(it); err != nil {
				return err
			}
		}
		return nil
	})
}

var errEnough = errors.New("queue: enough")

// List is the first items that Each comes to; limit 0 is all.
func (q *Queue) List(ctx context.Context, sel selector.Selector, limit int) ([]*Item, error) {
	var out []*Item
	err := q.Each(ctx, sel, func(it *Item) error {
		if out = append(out, it); len(out) == limit {
			return errEnough
		}
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) {
		return nil, err
	}
	return out, nil
}

// Count is how many items there are: in all, and held.
func (q *Queue) Count(ctx context.Context) (all, held int, err error) {
	err = q.cfg.DB.View(ctx, func(tx *store.Tx) error {
		return tx.QueryRow("SELECT count(*), coalesce(sum(hold <> ''), 0) FROM queue").Scan(&all, &held)
	})
	return all, held, err
}
