package queue

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"mtad/selector"
	"mtad/store"
)

// ShapeOf says how a Shape is made. The zero value is that of everything, by the
// recipients' domains, as qshape(1) has it: ten buckets, the first of 5 minutes,
// each twice as long as the one before.
type ShapeOf struct {
	By      string        // domain (the default), sender, reply, route, mx
	Queues  []string      // active (due), deferred, hold; none is all three
	Buckets int           // 10
	Tick    time.Duration // the length of the first; 5 minutes
	Linear  bool          // all buckets are as long as the first
	Parents bool          // parent domains too
	Min     int           // domains below a parent that is shown; 5
	Limit   int           // lines; MaxShape
}

// Bounds of a Shape.
const (
	MaxBuckets = 30
	MaxShape   = 10000 // lines
)

// Slot is one line of a Shape: how many recipients, or with By sender messages,
// by their age.
type Slot struct {
	Key     string    `json:"key"`
	Total   int       `json:"total"`
	Buckets []int     `json:"buckets"`
	Oldest  time.Time `json:"oldest,omitzero"`
	Next    time.Time `json:"next,omitzero"`   // when the first of them is tried; zero: all are held
	Reply   string    `json:"reply,omitempty"` // of the attempt with the latest next one

	below int // of a parent: domains
}

// Shape is the distribution of the queue: a total, and lines, the largest first.
type Shape struct {
	By    string          `json:"by"`
	Edges []time.Duration `json:"edges"` // the upper end of each bucket but the last, in nanoseconds
	Total Slot            `json:"total"`
	Lines []*Slot         `json:"lines"`
}

// shapeKeys are what lines may be of.
var shapeKeys = map[string]string{"domain": "domain", "sender": "origin", "reply": "reply", "route": "dest", "mx": "host"}

// queueConds are the conditions of the queues that Postfix has; ? is now.
var queueConds = map[string]string{
	"active": "(hold = '' AND next <= ?)", "deferred": "(hold = '' AND next > ?)", "hold": "(hold <> '' AND ? > 0)",
	"incoming": "? < 0", "maildrop": "? < 0", // nothing waits there
}

func (of *ShapeOf) check() error {
	of.By = cmp.Or(of.By, "domain")
	of.Buckets, of.Tick, of.Min = cmp.Or(of.Buckets, 10), cmp.Or(of.Tick, 5*time.Minute), cmp.Or(of.Min, 5)
	of.Limit = cmp.Or(of.Limit, MaxShape)
	if shapeKeys[of.By] == "" {
		return selector.Errorf("shape is by domain, sender, reply, route or mx, not by %q", of.By)
	}
	if of.Buckets < 1 || of.Buckets > MaxBuckets || of.Tick < time.Second {
		return selector.Errorf("shape has from 1 to %d buckets, the first of a second or more", MaxBuckets)
	}
	for _, name := range of.Queues {
		if queueConds[name] == "" {
			return selector.Errorf("no queue %q: there are active, deferred and hold", name)
		}
	}
	return nil
}

// edges are the upper ends of all buckets but the last.
func (of *ShapeOf) edges() []time.Duration {
	out := make([]time.Duration, of.Buckets-1)
	for i := range out {
		out[i] = of.Tick << i
		if of.Linear {
			out[i] = of.Tick * time.Duration(i+1)
		}
	}
	return out
}

// query is the statement of a Shape's lines, or of its total, with its arguments.
// It reads the index queue_shape alone.
func (of *ShapeOf) query(now time.Time, total bool) (string, []any) {
	var args []any
	var b strings.Builder
	key, tail := shapeKeys[of.By], " GROUP BY key ORDER BY count(*) DESC, length(key), key LIMIT ?"
	if total {
		key, tail = "'TOTAL'", ""
	}
	b.WriteString("SELECT " + key + " AS key, count(*)")
	for _, edge := range of.edges() {
		b.WriteString(", coalesce(sum(created > ?), 0)")
		args = append(args, now.Add(-edge).UnixMilli())
	}
	b.WriteString(", coalesce(min(created), 0), coalesce(min(CASE hold WHEN '' THEN next END), 0), coalesce(max(CASE WHEN reply <> '' THEN next || ' ' || reply END), '')")
	from := "queue INDEXED BY queue_shape"
	var conds []string
	var times []any
	for _, name := range of.Queues {
		conds = append(conds, queueConds[name])
		times = append(times, now.UnixMilli())
	}
	where := cmp.Or(strings.Join(conds, " OR "), "1")
	if of.By == "sender" {
		from = "(SELECT origin, min(created) AS created, min(next) AS next, min(hold) AS hold, max(reply) AS reply FROM " +
			from + " WHERE " + where + " GROUP BY +message)"
		where = "1"
	}
	b.WriteString(" FROM " + from + " WHERE " + where + tail)
	args = append(args, times...)
	if !total {
		limit := of.Limit
		if of.Parents {
			limit = -1 // what is below a parent is not known before
		}
		args = append(args, limit)
	}
	return b.String(), args
}

// Shape tells the distribution of the queue by age.
func (q *Queue) Shape(ctx context.Context, of ShapeOf) (*Shape, error) {
	if err := of.check(); err != nil {
		return nil, err
	}
	out := &Shape{By: of.By, Edges: of.edges()}
	now := q.cfg.Now()
	grown := shapeLines{of: &of, slots: map[string]*Slot{}}
	err := q.cfg.DB.View(ctx, func(tx *store.Tx) error {
		grown.slots = map[string]*Slot{}
		for _, total := range []bool{true, false} {
			text, args := of.query(now, total)
			err := eachSlot(tx, of.Buckets, text, args, func(s *Slot) {
				if total {
					out.Total = *s
				} else {
					grown.add(s)
				}
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("queue: shape: %w", err)
	}
	out.Lines = grown.sorted()
	return out, nil
}

func eachSlot(tx *store.Tx, buckets int, text string, args []any, fn func(*Slot)) error {
	rows, err := tx.Query(text, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		s := &Slot{Buckets: make([]int, buckets)}
		younger := make([]int, buckets) // than each edge
		var oldest, next int64
		dst := []any{&s.Key, &s.Total}
		for i := range buckets - 1 {
			dst = append(dst, &younger[i])
		}
		if err := rows.Scan(append(dst, &oldest, &next, &s.Reply)...); err != nil {
			return err
		}
		younger[buckets-1] = s.Total
		for i := range s.Buckets {
			s.Buckets[i] = younger[i]
			if i > 0 {
				s.Buckets[i] -= younger[i-1]
			}
		}
		_, s.Reply, _ = strings.Cut(s.Reply, " ")
		s.Oldest, s.Next = timeOf(oldest), timeOf(next)
		fn(s)
	}
	return rows.Err()
}

func timeOf(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms)
}

// shapeLines are those of a Shape that grows.
type shapeLines struct {
	of    *ShapeOf
	slots map[string]*Slot
}

// add adds a line, and what it counts to the lines of its parent domains. A parent
// has one domain more below it for each that was not counted before.
func (l *shapeLines) add(s *Slot) {
	key := s.Key
	if l.of.By == "domain" || l.of.By == "sender" {
		key = tidy(key)
	}
	isNew := l.merge(key, s)
	if !l.of.Parents || l.of.By != "domain" && l.of.By != "sender" {
		return
	}
	for p, ok := parent(key); ok; p, ok = parent(p) {
		wasNew := isNew
		isNew = l.merge(p, s)
		if wasNew {
			l.slots[p].below++
		}
	}
}

// merge counts s in the line of key too, and reports whether there was none.
func (l *shapeLines) merge(key string, s *Slot) (isNew bool) {
	have := l.slots[key]
	if have == nil {
		have = &Slot{Key: key, Buckets: make([]int, len(s.Buckets)), Oldest: s.Oldest, Next: s.Next, Reply: s.Reply}
		l.slots[key] = have
		isNew = true
	}
	have.Total += s.Total
	for i, n := range s.Buckets {
		have.Buckets[i] += n
	}
	if s.Oldest.Before(have.Oldest) {
		have.Oldest = s.Oldest
	}
	if have.Next.IsZero() || !s.Next.IsZero() && s.Next.Before(have.Next) {
		have.Next = s.Next
	}
	have.Reply = cmp.Or(have.Reply, s.Reply)
	return isNew
}

// tidy is a domain as qshape writes it.
func tidy(domain string) string {
	if domain == "" {
		return "MAILER-DAEMON"
	}
	for strings.Contains(domain, "..") {
		domain = strings.ReplaceAll(domain, "..", ".")
	}
	if t := strings.Trim(domain, "."); t != "" {
		return t
	}
	return domain
}

// parent is the domain above, with a dot before it; a top-level domain is none.
func parent(domain string) (string, bool) {
	_, up, _ := strings.Cut(strings.TrimPrefix(domain, "."), ".")
	return "." + up, strings.Contains(up, ".")
}

// sorted are the lines, the largest first; parents with little below them are left
// out.
func (l *shapeLines) sorted() []*Slot {
	out := make([]*Slot, 0, len(l.slots))
	for _, s := range l.slots {
		if !strings.HasPrefix(s.Key, ".") || s.below >= l.of.Min || !l.of.Parents {
			out = append(out, s)
		}
	}
	slices.SortFunc(out, func(a, b *Slot) int {
		return cmp.Or(cmp.Compare(b.Total, a.Total), cmp.Compare(len(a.Key), len(b.Key)), cmp.Compare(a.Key, b.Key))
	})
	return out[:min(len(out), l.of.Limit)]
}
