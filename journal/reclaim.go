package journal

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"mtad/internal/crash"
)

// Move is a record that was copied from one place to another.
type Move struct{ From, To Place }

// Segment tells about one finished segment.
type Segment struct {
	Sequence uint64
	Size     int64 // octets on disk
}

// Finished lists the segments that Reclaim may take: those wholly before mark
// and no longer written.
func (j *Journal) Finished() []Segment {
	before := j.Mark(nil).Segment
	j.shelf.mu.Lock()
	defer j.shelf.mu.Unlock()
	var out []Segment
	for _, b := range j.shelf.books {
		if b.seq < before && !b.doomed && !b.lost {
			out = append(out, Segment{b.seq, b.size})
		}
	}
	return out
}

// Reclaim frees a finished segment: the live records in it are copied to the
// end of the journal, move (called once, perhaps with none) stores their new
// places in one transaction, and the file goes when nobody reads it. It needs at most the live octets of one
// segment as extra room. After an error the segment stays as it was and the
// copies are dead space. A record that cannot be read keeps its segment.
func (j *Journal) Reclaim(ctx context.Context, seq uint64, live []Place, move func([]Move) error) error {
	moves, err := j.copyAll(ctx, live)
	if err != nil {
		return fmt.Errorf("journal: reclaim %s: %w", segmentName(seq), err)
	}
	if err := move(moves); err != nil {
		return fmt.Errorf("journal: reclaim %s: %w", segmentName(seq), err)
	}
	crash.Point(crash.Moved)
	if err := j.shelf.remove(seq); err != nil {
		return fmt.Errorf("journal: reclaim %s: %w", segmentName(seq), err)
	}
	return nil
}

// copiesAtOnce is how many records are copied side by side: they share syncs, as
// appenders do, and take at most 8 MiB.
const copiesAtOnce = 32

func (j *Journal) copyAll(ctx context.Context, live []Place) ([]Move, error) {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	moves := make([]Move, len(live))
	var next atomic.Int64
	var work sync.WaitGroup
	for range min(copiesAtOnce, len(live)) {
		work.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(live)) && ctx.Err() == nil; i = next.Add(1) - 1 {
				to, err := j.copy(ctx, live[i])
				if err != nil {
					stop(err)
					return
				}
				crash.Point(crash.Copied)
				moves[i] = Move{live[i], to}
			}
		})
	}
	work.Wait()
	return moves, context.Cause(ctx)
}

func (j *Journal) copy(ctx context.Context, p Place) (Place, error) {
	c, err := j.Open(p)
	if err != nil {
		return Place{}, err
	}
	defer c.Close()
	if err := c.Verify(); err != nil {
		return Place{}, err
	}
	return j.append(ctx, Record{ID: c.id, Kind: c.kind, Meta: c.meta, Body: c}, flagCopy)
}

// Hold keeps every segment from being removed, for a backup, until the
// returned function is called.
func (j *Journal) Hold() (release func() error) { return j.shelf.hold() }
