package journal

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
)

const (
	defaultSegment = 64 << 20
	defaultBacklog = 128 << 20
	smallestFile   = 4 << 10
)

// Errors that callers tell apart.
var (
	ErrClosed  = errors.New("journal: closed")
	ErrGone    = errors.New("journal: no such segment")
	ErrDamaged = errors.New("journal: damaged record")
	ErrTooBig  = errors.New("journal: meta octets above the limit")
)

// Options of Open; zero values mean the defaults.
type Options struct {
	SegmentSize int64        // octets of a segment file, default 64 MiB
	Backlog     int64        // octets appended and not Done at which Append waits, default 128 MiB
	Logger      *slog.Logger // default: discards
}

func (o *Options) setDefaults() {
	if o.SegmentSize <= 0 {
		o.SegmentSize = defaultSegment
	}
	o.SegmentSize = max(o.SegmentSize, smallestFile)
	if o.Backlog <= 0 {
		o.Backlog = defaultBacklog
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
}

// Journal is safe for concurrent use. Close it; only one may have a folder open
// (package store holds the lock).
type Journal struct {
	fs      FS
	opts    Options
	shelf   *shelf   // segments as readers see them
	backlog *backlog // what is appended and not Done
	work    sync.WaitGroup
	spare   sync.Pool // of *[]byte

	mu      sync.Mutex
	arrived sync.Cond  // waiting or closed changed
	ready   sync.Cond  // written or finished changed
	idle    sync.Cond  // written is empty and no sync runs
	waiting []*pending // not yet written
	written []*pending // not yet synced
	syncing bool
	closed  bool // no more appends
	done    bool // the writer has ended

	// Owned by the writer goroutine.
	active *active
	next   uint64   // sequence of the next segment
	sealed Position // how far the newest finished segment is good
	buf    []byte   // for streaming
}

// Open reads what fs holds, finds the end of the last segment and starts the
// goroutines that write. Nothing is created before the first Append.
func Open(fs FS, opts Options) (*Journal, error) {
	opts.setDefaults()
	j := &Journal{fs: fs, opts: opts, backlog: newBacklog(opts.Backlog)}
	j.arrived.L, j.ready.L, j.idle.L = &j.mu, &j.mu, &j.mu
	j.shelf = newShelf(fs, opts.Logger)
	if err := j.recover(); err != nil {
		return nil, errors.Join(fmt.Errorf("journal: open: %w", err), j.shelf.close())
	}
	j.work.Add(2)
	go j.writeLoop()
	go j.syncLoop()
	return j, nil
}

// recover finds the segments and where the last one ends.
func (j *Journal) recover() error {
	if err := j.shelf.load(); err != nil {
		return err
	}
	last := j.shelf.last()
	j.next = 1
	if last == nil {
		return nil
	}
	j.next = last.seq + 1
	// What a replay sees is on disk (crash_test.go). After a mere crash of the
	// process the page cache still holds octets that never got there.
	if err := j.fs.Dir().Sync(segmentName(last.seq)); err != nil {
		return err
	}
	if err := j.shelf.findEnds(); err != nil {
		return err
	}
	j.sealed = Position{last.seq, last.end}
	j.backlog.last = j.sealed
	return nil
}

// End is the position behind the last acknowledged record.
func (j *Journal) End() Position { return j.backlog.end() }

// Close waits for what was appended, then stops. Contents that are open stay
// readable until they are closed themselves.
func (j *Journal) Close() error {
	j.mu.Lock()
	if j.closed {
		j.mu.Unlock()
		return nil
	}
	j.closed = true
	j.arrived.Broadcast()
	j.mu.Unlock()
	j.backlog.close()
	j.work.Wait()
	return j.shelf.close()
}

// Done says that the rows following from these records are committed (or that
// nothing will follow): they count no longer as backlog.
func (j *Journal) Done(places ...Place) { j.backlog.done(places) }

// Mark is the position before which every record would be Done if these were.
func (j *Journal) Mark(done []Place) Position { return j.backlog.mark(done) }

// Unfinished lists the outstanding records in the order they stand in.
func (j *Journal) Unfinished() []Place { return j.backlog.unfinished() }

// Outstanding is how many records, and octets of them, are appended and not
// Done.
func (j *Journal) Outstanding() (records int, octets int64) { return j.backlog.size() }

// Restore counts a record found by Replay as outstanding. Calls come in the
// order of the records, before the first Append.
func (j *Journal) Restore(p Place) { j.backlog.restore(p) }

// waitRoom waits until size more octets fit into the backlog.
func (j *Journal) waitRoom(ctx context.Context, size int64) error {
	return j.backlog.reserve(ctx, size)
}
