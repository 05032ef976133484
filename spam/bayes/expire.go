package bayes

import (
	"context"
	"fmt"
	"slices"
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

// Expire takes tokens if it is time to, in many small steps, so that others can write
// meanwhile. It reports how many.
func (e Expiry) Expire(ctx context.Context, s Store, now time.Time) (taken int64, err error) {
	var p *plan
	err = s.View(ctx, func(tx Reader) error {
		p = nil
		t, _, err := tx.Counts(nil)
		if err == nil && e.due(t, now.Unix()) {
			p, err = e.plan(tx, t, now.Unix())
		}
		return err
	})
	if err == nil && p != nil {
		err = p.carryOut(ctx, s, now.Unix())
		taken = p.taken
	}
	if err != nil {
		return taken, fmt.Errorf("bayes: expire: %w", err)
	}
	return taken, nil
}

// due reports whether an expiry should be looked into.
func (e Expiry) due(t Totals, now int64) bool {
	return e.Force || e.Auto && now-t.LastExpire >= expirePeriod && t.Tokens > expireKeepMin &&
		e.MaxTokens <= float64(t.Tokens) && t.Newest-t.Oldest >= expirePeriod
}

// plan is what an expiry is going to do.
type plan struct {
	newest, age int64 // tokens that are older than newest less age go; 0: none do
	old, future []Hash
	oldest      int64 // of those that stay
	forget      bool  // what is known of the last expiry
	taken       int64
}

func (e Expiry) plan(tx Reader, t Totals, now int64) (p *plan, err error) {
	p = &plan{newest: min(t.Newest, now), oldest: t.Oldest}
	goal := t.Tokens - max(int64(e.MaxTokens*expireKeep), expireKeepMin)
	if goal < expireTakeMin {
		return p, nil
	}
	if p.age = estimate(t, goal, now); p.age == 0 {
		p.age, err = bestAge(tx, p.newest, goal)
	}
	if err == nil && p.age > 0 {
		err = p.find(tx)
	}
	return p, err
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

// find lists the tokens to take, unless too few would stay, and those of the future.
func (p *plan) find(tx Reader) error {
	kept, oldest := int64(0), int64(0)
	err := tx.Each(func(e Entry) error {
		if e.ATime < p.newest-p.age {
			p.old = append(p.old, e.Hash)
			return nil
		}
		if e.ATime > p.newest {
			e.ATime = p.newest
			p.future = append(p.future, e.Hash)
		}
		if kept++; kept == 1 || e.ATime < oldest {
			oldest = e.ATime
		}
		return nil
	}, nil)
	if kept < expireKeepMin {
		p.age, p.old, p.future, p.forget = 0, nil, nil, true
		return err
	}
	p.oldest = oldest
	return err
}

// carryOut takes the tokens, and notes that it was done.
func (p *plan) carryOut(ctx context.Context, s Store, now int64) error {
	for hashes := range slices.Chunk(p.old, expireBatch) {
		if err := p.batch(ctx, s, hashes, func(c Count) Count {
			if c.ATime < p.newest-p.age { // else it was of use meanwhile
				return Count{}
			}
			return c
		}); err != nil {
			return err
		}
	}
	for hashes := range slices.Chunk(p.future, expireBatch) {
		if err := p.batch(ctx, s, hashes, func(c Count) Count {
			c.ATime = min(c.ATime, p.newest)
			return c
		}); err != nil {
			return err
		}
	}
	return s.Update(ctx, func(tx Writer) error {
		t, _, err := tx.Counts(nil)
		if err != nil {
			return err
		}
		t.LastExpire, t.Newest = now, min(t.Newest, now)
		if p.age > 0 || p.forget {
			t.Oldest, t.ExpireAge, t.Expired = p.oldest, p.age, p.taken
		}
		return tx.Put(t, nil)
	})
}

// batch changes some tokens.
func (p *plan) batch(ctx context.Context, s Store, hashes []Hash, change func(Count) Count) error {
	taken := int64(0)
	err := s.Update(ctx, func(tx Writer) error {
		t, counts, err := tx.Counts(hashes)
		if err != nil {
			return err
		}
		taken = 0
		var entries []Entry
		for i, was := range counts {
			is := change(was)
			if was.none() || is == was {
				continue
			}
			if is.none() {
				taken++
			}
			t.replaced(was, is)
			entries = append(entries, Entry{hashes[i], is})
		}
		return tx.Put(t, entries)
	})
	p.taken += taken
	return err
}
