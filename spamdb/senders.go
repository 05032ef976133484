package spamdb

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"mtad/spam/scan"
	"mtad/store"
)

// Bounds of what is known of senders.
const (
	maxKey        = 500       // octets of a key; the rest is cut off
	maxSenders    = 1_000_000 // of all owners; then those that were silent the longest go
	silence       = 365 * 24 * time.Hour
	maxChanged    = 20_000 // keys that wait to be written
	changePeriod  = time.Second
	sweepPeriod   = time.Hour
	maxSweptAtOne = 5_000
)

// senders is what one owner knows of senders.
type senders struct {
	*Bayes
	now func() time.Time
}

// Look implements scan.Reputations.
func (s senders) Look(ctx context.Context, keys []string) ([]scan.Reputation, error) {
	out := make([]scan.Reputation, len(keys))
	short := make([]string, len(keys))
	for i, k := range keys {
		short[i] = cut(k)
	}
	list, err := json.Marshal(short)
	if err != nil {
		return nil, err
	}
	err = s.inDatabase(ctx, func(tx *bayesTx) error {
		rows, err := tx.tx.Query(`SELECT j.key, r.count, r.total FROM json_each(?) j
			CROSS JOIN reputation r ON r.owner = ? AND r.key = j.value`, string(list), tx.id)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var i int
			var r scan.Reputation
			if err := rows.Scan(&i, &r.Count, &r.Total); err != nil {
				return err
			}
			out[i] = r
		}
		return rows.Err()
	})
	return out, s.wrap("look up senders in", err)
}

// Change implements scan.Reputations.
func (s senders) Change(ctx context.Context, changes []scan.ReputationChange) error {
	at := s.now().Unix()
	return s.Bayes.update(ctx, "remember senders in", func(tx *bayesTx) error {
		for _, c := range changes {
			if err := tx.changeSender(c, at); err != nil {
				return err
			}
		}
		return nil
	})
}

func (b *bayesTx) changeSender(c scan.ReputationChange, at int64) error {
	key := cut(c.Key)
	if c.Remove {
		if _, err := b.tx.Exec("DELETE FROM reputation WHERE owner = ? AND key = ?", b.id, key); err != nil || c.Reputation == (scan.Reputation{}) {
			return err
		}
	}
	_, err := b.tx.Exec(`INSERT INTO reputation VALUES (?, ?, ?, ?, ?)
		ON CONFLICT DO UPDATE SET count = max(0, count + excluded.count), total = total + excluded.total, at = excluded.at`,
		b.id, key, c.Count, c.Total, at)
	return err
}

// cut bounds a key, and makes characters of octets that are none: JSON carries no others.
func cut(key string) string {
	key = key[:min(len(key), maxKey)]
	return string([]rune(key))
}

// Reputation is what an owner knows of senders.
func (k *Keeper) Reputation(owner string) scan.Reputations {
	return senders{k.background(owner, false), time.Now}
}

// Repute notes what a message changes of what is known of its senders. It does not wait;
// where too much waits it is forgotten.
func (k *Keeper) Repute(owner string, changes []scan.ReputationChange) {
	k.mu.Lock()
	defer k.mu.Unlock()
	waiting := k.changed[owner]
	if waiting == nil {
		waiting = map[string]scan.ReputationChange{}
		k.changed[owner] = waiting
	}
	for _, c := range changes {
		was, known := waiting[c.Key]
		if !known && k.changes >= maxChanged {
			return
		}
		if !known {
			k.changes++
		}
		if !c.Remove {
			c.Remove, c.Count, c.Total = was.Remove, was.Count+c.Count, was.Total+c.Total
		}
		waiting[c.Key] = c
	}
}

// writeSenders writes what waits.
func (k *Keeper) writeSenders() {
	k.mu.Lock()
	changed := k.changed
	k.changed, k.changes = map[string]map[string]scan.ReputationChange{}, 0
	k.mu.Unlock()
	for owner, waiting := range changed {
		s := senders{k.background(owner, true), time.Now}
		for part := range slices.Chunk(slices.Collect(maps.Values(waiting)), maxTouchOnce) {
			k.tell(s.Change(context.Background(), part))
		}
	}
}

// sweep takes senders that were silent for long, and of too many those that were the longest.
func (k *Keeper) sweep() {
	err := k.sweepSenders(k.end, time.Now().Add(-silence).Unix(), maxSenders)
	k.tell(err)
}

func (k *Keeper) sweepSenders(ctx context.Context, before int64, most int64) error {
	var n int64
	err := k.db.View(ctx, func(tx *store.Tx) error {
		return tx.QueryRow("SELECT count(*) FROM reputation").Scan(&n)
	})
	for err == nil {
		limit, until, gone := int64(maxSweptAtOne), before, int64(0)
		if over := n - most; over > 0 {
			limit, until = min(limit, over), math.MaxInt64
		}
		err = k.db.UpdateSoon(ctx, func(tx *store.Tx) error {
			r, err := tx.Exec(`DELETE FROM reputation WHERE (owner, key) IN
				(SELECT owner, key FROM reputation WHERE at < ? ORDER BY at LIMIT ?)`, until, limit)
			gone = r.Changes
			return err
		})
		if n -= gone; gone < limit {
			break
		}
	}
	if err != nil && !errors.Is(err, context.Canceled) {
		return fmt.Errorf("spamdb: senders that were silent for long: %w", err)
	}
	return nil
}
