package bayes

import (
	"context"
	"fmt"
	"time"
)

// Expiry bounds a store, as SpamAssassin does it: looked into at most twice a day, what
// was of no use for the longest time goes, in one pass over the tokens to find the age and one to
// take them.
type Expiry struct {
	MaxTokens float64 // bayes_expiry_max_db_size
	Auto      bool    // bayes_auto_expire
	// Force looks into it now, whenever that was done before and whatever Auto says.
	Force bool
}

const (
	expirePeriod   = 43200  // seconds: between two expiries, and the least age
	expireDoubles  = 9      // the greatest age is that often twice the least
	expireKeep     = 0.75   // of the most tokens
	expireKeepMin  = 100000 // tokens that always stay
	expireTakeMin  = 1000   // fewer are not worth it
	expireForgot   = 30 * 86400
	expireMaxRatio = 1.5
	expireBatch    = 1000 // tokens in one Put
)

// Expire takes tokens if it is time to. It reports how many.
func (e Expiry) Expire(ctx context.Context, s Store, now time.Time) (taken int64, err error) {
	err = s.Update(ctx, func(tx Writer) error {
		taken = 0
		t, _, err := tx.Counts(nil)
		if err != nil || !e.due(t, now.Unix()) {
			return err
		}
		taken, err = e.expire(tx, t, now.Unix())
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("bayes: expire: %w", err)
	}
	return taken, nil
}

// due reports whether an expiry should be looked into.
func (e Expiry) due(t Totals, now int64) bool {
	return e.Force || e.Auto && now-t.LastExpire >= expirePeriod && t.Tokens > expireKeepMin &&
		e.MaxTokens <= float64(t.Tokens) && t.Newest-t.Oldest >= expirePeriod
}

func (e Expiry) expire(tx Writer, t Totals, now int64) (int64, error) {
	t.Newest = min(t.Newest, now)
	goal := t.Tokens - max(int64(e.MaxTokens*expireKeep), expireKeepMin)
	if goal < expireTakeMin {
		t.LastExpire = now
		return 0, tx.Put(t, nil)
	}
	age := estimate(t, goal, now)
	if age == 0 {
		var err error
		if age, err = bestAge(tx, t.Newest, goal); err != nil {
			return 0, err
		}
	}
	if age == 0 {
		t.LastExpire = now
		return 0, tx.Put(t, nil)
	}
	return take(tx, t, age, now)
}

// estimate finds the age from the last expiry's; 0 if that was too different or too
// long ago.
func estimate(t Totals, goal, now int64) int64 {
	if t.Expired < expireTakeMin || t.ExpireAge < expirePeriod || now-t.LastExpire > expireForgot {
		return 0
	}
	ratio := float64(goal) / float64(t.Expired)
	if t.Expired > goal {
		ratio = 1 / ratio
	}
	age := int64(float64(t.ExpireAge) * float64(t.Expired) / float64(goal))
	if age < expirePeriod || ratio > expireMaxRatio {
		return 0
	}
	return age
}

// bestAge finds the age of which most tokens go, but not more than goal; 0 if too few
// would go.
func bestAge(tx Reader, newest, goal int64) (int64, error) {
	var older [expireDoubles + 1]int64
	err := tx.Each(func(e Entry) error {
		for i := range older {
			if newest-e.ATime < expirePeriod<<i {
				break
			}
			older[i]++
		}
		return nil
	}, nil)
	if err != nil {
		return 0, err
	}
	best := 0
	for i := expireDoubles; i >= 0; i-- {
		if older[i] > goal {
			best = i + 1
			break
		}
	}
	if best > expireDoubles || older[best] < expireTakeMin {
		return 0, nil
	}
	return expirePeriod << best, nil
}

// take removes the tokens that are older than an age, unless too few would stay.
func take(tx Writer, t Totals, age, now int64) (int64, error) {
	var old []Entry
	oldest, kept := int64(0), int64(0)
	var future []Entry
	err := tx.Each(func(e Entry) error {
		if e.ATime < t.Newest-age {
			old = append(old, Entry{Hash: e.Hash})
			return nil
		}
		if e.ATime > t.Newest {
			e.ATime = t.Newest
			future = append(future, e)
		}
		if kept++; kept == 1 || e.ATime < oldest {
			oldest = e.ATime
		}
		return nil
	}, nil)
	if err != nil {
		return 0, err
	}
	t.LastExpire = now
	if kept < expireKeepMin {
		t.ExpireAge, t.Expired = 0, 0
		return 0, tx.Put(t, nil)
	}
	t.Tokens, t.Oldest, t.ExpireAge, t.Expired = kept, oldest, age, int64(len(old))
	return t.Expired, putAll(tx, t, append(old, future...))
}

// putAll puts many entries in pieces.
func putAll(tx Writer, t Totals, entries []Entry) error {
	for {
		n := min(len(entries), expireBatch)
		if err := tx.Put(t, entries[:n]); err != nil {
			return err
		}
		if entries = entries[n:]; len(entries) == 0 {
			return nil
		}
	}
}
