package trace

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"mtad/message"
	"mtad/pipeline"
)

// Errors that callers tell apart.
var (
	ErrNone   = errors.New("trace: nothing is known of that ID")
	ErrClosed = errors.New("trace: closed")
)

// Defaults of Options.
const (
	DefaultMaxSize = 256 << 20
	DefaultQueue   = 32768
)

// MaxLast bounds what Last returns.
const MaxLast = 1000

// lingerTime is how long the writer lets traces gather, so that one transaction
// holds many.
const lingerTime = 20 * time.Millisecond

// quietTime is the least time between two complaints in the log.
const quietTime = time.Minute

// subscriberBuffer is how many traces a subscriber may lag behind before it
// misses some.
const subscriberBuffer = 256

// Options of Open; zero values mean the defaults.
type Options struct {
	MaxSize int64        // octets of the file, give or take one batch; default DefaultMaxSize
	Queue   int          // events that may wait to be written; default DefaultQueue
	Logger  *slog.Logger // default: discards
}

// Log is safe for concurrent use.
type Log struct {
	opts Options
	stop chan struct{}
	done chan struct{}
	wake chan struct{} // something waits, or much
	asks chan *ask
	once sync.Once

	kept, dropped atomic.Int64

	mu      sync.Mutex
	closed  bool
	pending []pipeline.Trace
	events  int // in pending
	subs    map[chan pipeline.Trace]struct{}

	// Owned by the writer goroutine.
	file  *file
	spare []pipeline.Trace
	quiet time.Time // until when failures are not logged again
}

// ask is a question that the writer answers between two batches.
type ask struct {
	fn   func(*file) error
	done chan error
}

// Open opens the file at path, or begins it. A file that can't be used is
// renamed to path.damaged.
func Open(path string, opts Options) (*Log, error) {
	if opts.MaxSize <= 0 {
		opts.MaxSize = DefaultMaxSize
	}
	if opts.Queue <= 0 {
		opts.Queue = DefaultQueue
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	f, err := openFile(path, opts.MaxSize, opts.Logger)
	if err != nil {
		return nil, err
	}
	l := &Log{
		opts: opts, file: f,
		stop: make(chan struct{}), done: make(chan struct{}),
		wake: make(chan struct{}, 1), asks: make(chan *ask),
		subs: map[chan pipeline.Trace]struct{}{},
	}
	go l.run()
	return l, nil
}

// Close writes what waits and closes the file and every subscription.
func (l *Log) Close() error {
	var err error
	l.once.Do(func() {
		l.mu.Lock()
		l.closed = true
		l.mu.Unlock()
		close(l.stop)
		<-l.done
		l.mu.Lock()
		for c := range l.subs {
			close(c)
		}
		clear(l.subs)
		l.mu.Unlock()
		err = l.file.close()
	})
	return err
}

// Add keeps a trace, or drops it if too much is waiting: it never blocks. The
// trace's events belong to the Log.
func (l *Log) Add(t pipeline.Trace) {
	if len(t.Events) == 0 {
		return
	}
	l.mu.Lock()
	before, after := l.events, l.events+len(t.Events)
	if l.closed || after > l.opts.Queue {
		l.mu.Unlock()
		l.dropped.Add(1)
		return
	}
	l.pending = append(l.pending, t)
	l.events = after
	l.mu.Unlock()
	if half := l.opts.Queue / 2; before == 0 || before < half && after >= half {
		select {
		case l.wake <- struct{}{}:
		default:
		}
	}
}

// run is the only goroutine that uses the file.
func (l *Log) run() {
	defer close(l.done)
	for {
		var a *ask
		select {
		case <-l.wake:
			a = l.linger()
		case a = <-l.asks:
		case <-l.stop:
			l.flush()
			return
		}
		l.flush()
		if a != nil {
			a.done <- l.file.guard(a.fn)
		}
	}
}

// linger waits for more traces to come: not when somebody asks, much waits, or
// the end has come.
func (l *Log) linger() *ask {
	t := time.NewTimer(lingerTime)
	defer t.Stop()
	select {
	case <-t.C:
	case <-l.wake:
	case <-l.stop:
	case a := <-l.asks:
		return a
	}
	return nil
}

// flush writes what waits and tells the subscribers.
func (l *Log) flush() {
	l.mu.Lock()
	batch := l.pending
	l.pending, l.events = l.spare[:0], 0
	l.publish(batch)
	l.mu.Unlock()
	if len(batch) > 0 {
		l.write(batch)
	}
	clear(batch)
	l.spare = batch
}

// publish hands traces to those who can take them. The lock is held.
func (l *Log) publish(batch []pipeline.Trace) {
	for c := range l.subs {
		for _, t := range batch {
			select {
			case c <- t:
			default: // too slow: it misses this one
			}
		}
	}
}

func (l *Log) write(batch []pipeline.Trace) {
	slices.SortStableFunc(batch, func(a, b pipeline.Trace) int {
		switch {
		case a.ID < b.ID:
			return -1
		case a.ID > b.ID:
			return 1
		}
		return 0
	})
	if err := l.file.guard(func(f *file) error { return f.write(batch) }); err != nil {
		l.dropped.Add(int64(len(batch)))
		if now := time.Now(); now.After(l.quiet) {
			l.quiet = now.Add(quietTime)
			l.opts.Logger.Error("trace: traces are being lost", "err", err)
		}
		return
	}
	l.kept.Add(int64(len(batch)))
}

// ask has the writer run fn after everything added so far is written.
func (l *Log) ask(ctx context.Context, fn func(*file) error) error {
	a := &ask{fn: fn, done: make(chan error, 1)}
	select {
	case l.asks <- a:
	case <-l.stop:
		return ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
	return <-a.done
}

// Get returns everything known of an ID, in the order of time. ErrNone.
func (l *Log) Get(ctx context.Context, id message.ID) (pipeline.Trace, error) {
	var t pipeline.Trace
	err := l.ask(ctx, func(f *file) (err error) {
		t, err = f.get(id)
		return err
	})
	if err != nil {
		return pipeline.Trace{}, fmt.Errorf("trace: read %s: %w", id, err)
	}
	return t, nil
}

// Last returns the traces of the n newest IDs, the newest first; at most
// MaxLast.
func (l *Log) Last(ctx context.Context, n int) ([]pipeline.Trace, error) {
	var out []pipeline.Trace
	err := l.ask(ctx, func(f *file) (err error) {
		out, err = f.last(min(n, MaxLast))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("trace: read: %w", err)
	}
	return out, nil
}

// Each calls fn with every trace of which something may have happened since then,
// in the order of IDs, until fn fails or ctx ends. It reads a page at a time, so
// that what comes meanwhile is written between.
func (l *Log) Each(ctx context.Context, since time.Time, fn func(pipeline.Trace) error) error {
	var after message.ID
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		var page []row
		err := l.ask(ctx, func(f *file) (err error) {
			page, err = f.page(after)
			return err
		})
		if err != nil {
			return fmt.Errorf("trace: read: %w", err)
		}
		if len(page) == 0 {
			return nil
		}
		for _, r := range page {
			after = r.id
			if !r.since(since) {
				continue
			}
			if err := fn(pipeline.Trace{ID: r.id, Events: decode(r.events)}); err != nil {
				return err
			}
		}
	}
}

// Full reports whether old traces are being forgotten to make room.
func (l *Log) Full(ctx context.Context) (full bool, err error) {
	err = l.ask(ctx, func(f *file) error {
		used, err := f.used()
		full = used > f.max-2*(f.max/pruneShare)
		return err
	})
	return full, err
}

// Subscribe returns a channel of what is added from now on, and a function that
// ends it. Traces are shared: they are to be read only. A reader that lags
// misses some. The channel is closed by the function and by Close.
func (l *Log) Subscribe() (<-chan pipeline.Trace, func()) {
	c := make(chan pipeline.Trace, subscriberBuffer)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		close(c)
		return c, func() {}
	}
	l.subs[c] = struct{}{}
	return c, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if _, ok := l.subs[c]; ok {
			delete(l.subs, c)
			close(c)
		}
	}
}

// Stats are counters since Open.
type Stats struct {
	Kept    int64 `json:"kept"`    // traces written
	Dropped int64 `json:"dropped"` // traces lost: the queue was full, or the file could not be written
}

// Stats returns the counters.
func (l *Log) Stats() Stats { return Stats{Kept: l.kept.Load(), Dropped: l.dropped.Load()} }
