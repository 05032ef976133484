package plug

import (
	"context"
	"time"

	"mtad/admin"
)

// followEvery is how often a log that is followed is asked for.
const followEvery = 300 * time.Millisecond

// Follow shows what fetch has of a log, and what comes to it, until ctx ends. The
// server keeps no more for it than it does anyway: of a log that grows by more than
// that in the time between, the oldest lines are missed.
func Follow(ctx context.Context, fetch func(after time.Time) ([]admin.PluginLine, error), show func([]admin.PluginLine) error) error {
	t := time.NewTicker(followEvery)
	defer t.Stop()
	var last time.Time
	for {
		found, err := fetch(last)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		if n := len(found); n > 0 {
			last = found[n-1].Time
			if err := show(found); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
	}
}
