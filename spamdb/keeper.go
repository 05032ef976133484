package spamdb

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"mtad/spam/bayes"
	"mtad/spam/scan"
	"mtad/store"
)

// Bounds of what waits to be written.
const (
	maxLessons   = 200    // messages to be learned unasked
	maxTouched   = 50_000 // tokens that were of use
	touchPeriod  = 30 * time.Second
	maxTouchOnce = 2_000 // tokens in one transaction
	touchCoarse  = 1800  // seconds: a token that was of use so shortly before is not written again
)

// Keeper gives filters what was learned, and writes in the background what they have
// found: tokens that were of use, many messages' at once, and messages to learn. What
// the site has learned it keeps in memory too. It may be used by several goroutines.
type Keeper struct {
	db      *store.DB
	log     *slog.Logger
	site    *Bayes
	lessons chan task
	end     context.Context
	stop    context.CancelFunc
	done    sync.WaitGroup

	mu      sync.Mutex
	touched map[string]map[bayes.Hash]int64
	waiting int // tokens in it
	expiry  map[string]bayes.Expiry
	changed map[string]map[string]scan.ReputationChange
	changes int // keys in it
}

type task struct {
	owner string
	bayes.Lesson
	expiry bayes.Expiry
}

// NewKeeper begins to keep. Close ends it.
func NewKeeper(db *store.DB, log *slog.Logger) *Keeper {
	k := &Keeper{db: db, log: log, site: OpenBayes(db, Site), lessons: make(chan task, maxLessons), touched: map[string]map[bayes.Hash]int64{}, expiry: map[string]bayes.Expiry{}, changed: map[string]map[string]scan.ReputationChange{}}
	k.site.memory = &memory{}
	k.end, k.stop = context.WithCancel(context.Background())
	k.done.Go(func() {
		if err := k.site.memory.load(k.end, k.site); err != nil && k.end.Err() == nil {
			k.log.Warn("spam: read what the site has learned into memory", "err", err)
		}
	})
	k.done.Go(k.work)
	return k
}

// Bayes is what an owner has learned.
func (k *Keeper) Bayes(owner string) bayes.Store {
	if owner == Site {
		return k.site
	}
	return OpenBayes(k.db, owner)
}

// background is the same; soon: for writes that nobody waits for.
func (k *Keeper) background(owner string, soon bool) *Bayes {
	b := *OpenBayes(k.db, owner)
	if owner == Site {
		b = *k.site
	}
	b.soon = soon
	return &b
}

// Touch notes that tokens were of use for a message that came at a time. It does not wait;
// of too many some are forgotten.
func (k *Keeper) Touch(owner string, tokens []bayes.Hash, when time.Time, e bayes.Expiry) {
	k.mu.Lock()
	defer k.mu.Unlock()
	used := k.touched[owner]
	if used == nil {
		used = map[bayes.Hash]int64{}
		k.touched[owner] = used
	}
	k.expiry[owner] = e
	if owner == Site {
		tokens = k.site.memory.stale(tokens, when.Unix()-touchCoarse)
	}
	for _, h := range tokens {
		was, known := used[h]
		if !known {
			if k.waiting >= maxTouched {
				return
			}
			k.waiting++
		}
		used[h] = max(was, when.Unix())
	}
}

// Learn has a message learned. It does not wait; false says that too many wait already.
func (k *Keeper) Learn(owner string, l bayes.Lesson, e bayes.Expiry) bool {
	select {
	case k.lessons <- task{owner, l, e}:
		return true
	default:
		return false
	}
}

// Remove takes all that an owner has learned.
func (k *Keeper) Remove(ctx context.Context, owner string) error {
	k.mu.Lock()
	k.waiting -= len(k.touched[owner])
	delete(k.touched, owner)
	k.changes -= len(k.changed[owner])
	delete(k.changed, owner)
	k.mu.Unlock()
	if owner == Site {
		return k.site.Remove(ctx)
	}
	return OpenBayes(k.db, owner).Remove(ctx)
}

// Close writes what waits, and ends.
func (k *Keeper) Close() error {
	k.stop()
	k.done.Wait()
	return nil
}

func (k *Keeper) work() {
	t, changes, sweep := time.NewTicker(touchPeriod), time.NewTicker(changePeriod), time.NewTicker(sweepPeriod)
	defer t.Stop()
	defer changes.Stop()
	defer sweep.Stop()
	for {
		select {
		case l := <-k.lessons:
			k.learn(l)
		case <-t.C:
			k.flush()
		case <-changes.C:
			k.writeSenders()
		case <-sweep.C:
			k.sweep()
		case <-k.end.Done():
			k.rest()
			return
		}
	}
}

// rest does what still waits at the end.
func (k *Keeper) rest() {
	for {
		select {
		case l := <-k.lessons:
			k.learn(l)
		default:
			k.flush()
			k.writeSenders()
			return
		}
	}
}

func (k *Keeper) learn(l task) {
	b := k.background(l.owner, true)
	_, err := bayes.Learn(context.Background(), b, l.Lesson)
	if err == nil {
		err = k.expire(b, l.expiry)
	}
	k.tell(err)
}

// expire takes tokens if it is time to; at the end there is no time.
func (k *Keeper) expire(b *Bayes, e bayes.Expiry) error {
	if k.end.Err() != nil {
		return nil
	}
	n, err := e.Expire(k.end, b, time.Now())
	if n > 0 {
		k.log.Info("spam: tokens that were long of no use are forgotten", "owner", b.owner, "tokens", n)
	}
	return err
}

func (k *Keeper) tell(err error) {
	if err != nil && k.end.Err() == nil {
		k.log.Error("spam: learn", "err", err)
	}
}

// flush writes which tokens were of use.
func (k *Keeper) flush() {
	k.mu.Lock()
	touched, expiry := k.touched, k.expiry
	k.touched, k.expiry, k.waiting = map[string]map[bayes.Hash]int64{}, map[string]bayes.Expiry{}, 0
	k.mu.Unlock()
	for owner, used := range touched {
		b := k.background(owner, true)
		for part := range parts(used, maxTouchOnce) {
			k.tell(bayes.TouchEach(context.Background(), b, part, time.Now()))
		}
		k.tell(k.expire(b, expiry[owner]))
	}
}

// parts cuts a map into smaller ones.
func parts(all map[bayes.Hash]int64, size int) func(func(map[bayes.Hash]int64) bool) {
	return func(yield func(map[bayes.Hash]int64) bool) {
		part := make(map[bayes.Hash]int64, min(size, len(all)))
		for h, at := range all {
			if part[h] = at; len(part) == size {
				if !yield(part) {
					return
				}
				part = make(map[bayes.Hash]int64, size)
			}
		}
		if len(part) > 0 {
			yield(part)
		}
	}
}
