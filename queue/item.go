package queue

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"mtad/message"
	"mtad/store"
)

// Item is one recipient that is not done with.
type Item struct {
	ID       int64
	Message  message.ID // whose octets are in the journal
	Sender   string     // for people and selectors; Data has what counts
	Rcpt     string
	Dest     string // what shares connections and limits: a domain, a route
	Data     []byte // of the caller
	Created  time.Time
	Next     time.Time // when to try
	Expires  time.Time // when to give up
	Attempts int
	Hold     string // why it is held; "" if it is not
	Reply    string // what the last attempt was told
	Host     string // by whom
	Warned   bool   // the sender has been told of the delay
	Route    string // the way that an administrator chose; "" is the configuration's
	Ended    string // why an administrator gave it up; it fails when its turn comes
	Size     int64  // of the message, in octets; 0 is not known
}

// State is "ready", "deferred" or "held", for people.
func (it *Item) State() string {
	switch {
	case it.Hold != "":
		return "held"
	case it.Attempts > 0:
		return "deferred"
	}
	return "ready"
}

// Schema is the queue's table.
func Schema() store.Schema {
	return store.Schema{Name: "queue", Migrations: []string{`
CREATE TABLE queue (
	id       INTEGER PRIMARY KEY AUTOINCREMENT,
	message  INTEGER NOT NULL,
	sender   TEXT NOT NULL,
	rcpt     TEXT NOT NULL,
	dest     TEXT NOT NULL,
	data     BLOB NOT NULL,
	created  INTEGER NOT NULL, -- unix milliseconds, like the others
	next     INTEGER NOT NULL,
	expires  INTEGER NOT NULL,
	attempts INTEGER NOT NULL DEFAULT 0,
	hold     TEXT NOT NULL DEFAULT '',
	reply    TEXT NOT NULL DEFAULT '',
	host     TEXT NOT NULL DEFAULT '',
	warned   INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX queue_next ON queue (next) WHERE hold = '';
CREATE INDEX queue_message ON queue (message);
`, `
ALTER TABLE queue ADD COLUMN route TEXT NOT NULL DEFAULT '';
ALTER TABLE queue ADD COLUMN ended TEXT NOT NULL DEFAULT '';
ALTER TABLE queue ADD COLUMN size INTEGER NOT NULL DEFAULT 0;
-- The domains of rcpt and sender, in lower case: what is behind the last @.
ALTER TABLE queue ADD COLUMN domain TEXT NOT NULL DEFAULT '';
ALTER TABLE queue ADD COLUMN origin TEXT NOT NULL DEFAULT '';
UPDATE queue SET domain = lower(substr(rcpt, length(rtrim(rcpt, replace(rcpt, '@', ''))) + 1)),
	origin = lower(substr(sender, length(rtrim(sender, replace(sender, '@', ''))) + 1));
-- All that the shape of the queue is made of: rows are wide, this is not.
CREATE INDEX queue_shape ON queue (domain, created, next, hold, message, origin, dest, host, reply);
`}, Refs: []string{"SELECT message FROM queue"}}
}

const columns = "id, message, sender, rcpt, dest, data, created, next, expires, attempts, hold, reply, host, warned, route, ended, size"

// maxData is how many octets of data an item keeps in memory while it waits for
// its turn; more are read then.
const maxData = 16 << 10

// slimColumns are columns without large data.
var slimColumns = strings.Replace(columns, " data,", fmt.Sprintf(" CASE WHEN length(data) > %d THEN NULL ELSE data END,", maxData), 1)

func scan(rows *store.Rows) (*Item, error) {
	var it Item
	var created, next, expires int64
	err := rows.Scan(&it.ID, &it.Message, &it.Sender, &it.Rcpt, &it.Dest, &it.Data, &created, &next, &expires,
		&it.Attempts, &it.Hold, &it.Reply, &it.Host, &it.Warned, &it.Route, &it.Ended, &it.Size)
	it.Created, it.Next, it.Expires = time.UnixMilli(created), time.UnixMilli(next), time.UnixMilli(expires)
	return &it, err
}

func collect(rows *store.Rows, err error) ([]*Item, error) {
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []*Item
	for rows.Next() {
		it, err := scan(rows)
		if err != nil {
			return nil, fmt.Errorf("queue: read: %w", err)
		}
		out = append(out, it)
	}
	return out, rows.Err()
}

// backoff is the time before each retry, unless Config has another.
var backoff = []time.Duration{
	5 * time.Minute, 10 * time.Minute, 20 * time.Minute, 40 * time.Minute, time.Hour, 2 * time.Hour, 4 * time.Hour,
}

// far is a time that no retry is put off to. What is due later was put off by a
// clock that has been set back since, and is due now.
func (q *Queue) far(now time.Time) time.Time {
	return now.Add(2*slices.Max(q.cfg.Backoff) + time.Minute)
}

// retryAfter is how long mail of an age waits after so many attempts, give or take a
// fifth. Attempts that somebody asked for do not count: mail waits no longer than it
// would had it been left alone.
func (q *Queue) retryAfter(attempts int, age time.Duration) time.Duration {
	step, at := 0, time.Duration(0)
	for step < min(attempts, len(q.cfg.Backoff))-1 {
		if at += q.cfg.Backoff[step]; age < at*3/4 { // all the waits may have been a fifth shorter
			break
		}
		step++
	}
	d := q.cfg.Backoff[step]
	return d + time.Duration((rand.Float64()*0.4-0.2)*float64(d))
}
