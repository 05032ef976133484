package mailbox

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"mtad/store"
)

const (
	chunk      = 1000 // messages changed in one transaction
	maxFolders = 10000
	keepGone   = 10000 // UIDs remembered as removed, for each folder
)

// Options of Open; zero values mean the defaults.
type Options struct {
	Now    func() time.Time // default time.Now
	Logger *slog.Logger     // default: discards
}

// Store is the folders of all accounts. It is safe for concurrent use.
type Store struct {
	db    *store.DB
	now   func() time.Time
	log   *slog.Logger
	keep  int // keepGone, less in tests
	watch watchers
}

// Open uses a database that was opened with Schema, and finishes what an
// earlier process began to delete.
func Open(ctx context.Context, db *store.DB, opts Options) (*Store, error) {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Store{db: db, now: opts.Now, log: opts.Logger, keep: keepGone, watch: watchers{all: map[AccountID]map[*Watch]bool{}}}
	return s, s.purge(ctx)
}

// Watch tells that something in an account's folders may have changed.
type Watch struct {
	C       <-chan struct{} // capacity 1; changes that come together are one
	c       chan struct{}
	account AccountID
	w       *watchers
}

// Close ends the watch; C is not closed.
func (w *Watch) Close() {
	w.w.mu.Lock()
	defer w.w.mu.Unlock()
	set := w.w.all[w.account]
	delete(set, w)
	if len(set) == 0 {
		delete(w.w.all, w.account)
	}
}

type watchers struct {
	mu  sync.Mutex
	all map[AccountID]map[*Watch]bool
}

// Watch begins to watch an account. Close what it returns.
func (s *Store) Watch(account AccountID) *Watch {
	c := make(chan struct{}, 1)
	w := &Watch{C: c, c: c, account: account, w: &s.watch}
	s.watch.mu.Lock()
	defer s.watch.mu.Unlock()
	if s.watch.all[account] == nil {
		s.watch.all[account] = map[*Watch]bool{}
	}
	s.watch.all[account][w] = true
	return w
}

func (w *watchers) tell(account AccountID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for one := range w.all[account] {
		select {
		case one.c <- struct{}{}:
		default:
		}
	}
}

// changed has the account's watchers told once tx is committed.
func (s *Store) changed(tx *store.Tx, account AccountID) {
	tx.OnCommit(func() { s.watch.tell(account) })
}

// wrap names the operation and turns the store's errors into this package's.
func wrap(what string, err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, store.ErrNoRows) {
		err = ErrNoFolder
	}
	return fmt.Errorf("mailbox: %s: %w", what, err)
}
