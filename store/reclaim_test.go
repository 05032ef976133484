package store

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"mtad/journal"
	"mtad/message"
)

// While messages come and go, and others read, reclaiming keeps the journal
// within a bound and every message readable and its own.
func TestReclaimUnderLoad(t *testing.T) {
	const (
		segment = 64 << 10
		size    = 4 << 10
		live    = 32 // messages that are kept at a time
		total   = 250
	)
	dir := t.TempDir()
	db := openDB(t, dir, Options{Journal: journal.Options{SegmentSize: segment}})
	ctx, stop := context.WithCancel(context.Background())
	var newest sync.Mutex
	last := 0
	var work sync.WaitGroup
	due := make(chan struct{}, 1)
	work.Go(func() { // reclaims again and again
		for range due {
			if _, err := db.Reclaim(ctx); err != nil && ctx.Err() == nil {
				t.Error(err)
				return
			}
		}
	})
	for range 2 {
		work.Go(func() { // reads what should be there
			for ctx.Err() == nil {
				newest.Lock()
				id := message.ID(max(1, last-rand.IntN(live/2)))
				newest.Unlock()
				c, err := db.Bytes(ctx, id)
				if errors.Is(err, ErrNoMessage) || ctx.Err() != nil {
					continue // deleted meanwhile, or not there yet
				}
				if err != nil {
					t.Errorf("%d: %v", id, err)
					return
				}
				b, err := io.ReadAll(io.NewSectionReader(c, 0, c.Size()))
				if err != nil || !bytes.Equal(b, bytes.Repeat([]byte{byte(id)}, size)) {
					t.Errorf("%d holds other octets: %v", id, err)
				}
				c.Close()
			}
		})
	}
	worst := int64(0)
	for id := message.ID(1); id <= total; id++ {
		update(t, db, apply(id, accept(t, db, id, 1, size)))
		newest.Lock()
		last = int(id)
		newest.Unlock()
		if id > live {
			update(t, db, func(tx *Tx) error { return tx.Ref(id-live, -2) })
		}
		worst = max(worst, journalSize(t, dir))
		select {
		case due <- struct{}{}:
		default:
		}
	}
	stop()
	close(due)
	work.Wait()
	// Half of a segment may be dead before it is worth copying; the one that is
	// written, the one it is copied to and the one being freed come on top.
	if bound := int64(2*live*(size+512) + 6*segment); worst > bound {
		t.Errorf("%d octets of journal for %d of mail; at most %d", worst, live*size, bound)
	}
	if _, err := db.Verify(context.Background(), func(p Problem) { t.Error(p) }); err != nil {
		t.Error(err)
	}
}

func journalSize(t *testing.T, dir string) (octets int64) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, journalName, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		if info, err := os.Stat(n); err == nil { // or it has just been freed
			octets += info.Size()
		}
	}
	return octets
}
