// Package heap says how much garbage the server's heap may hold between collections.
package heap

import (
	"context"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// A server that holds few objects and makes many would collect all the time: it may have
// so many octets of garbage beside them, but no more than most percent of them. Measured:
// a tenth less CPU a message, and a heap of some 40 MiB under load. One that holds much,
// the rules of spamscore say, has what Go lets it have.
const (
	room  = 48 << 20
	least = 100
	most  = 300
)

const period = 10 * time.Second

// percent is what the garbage may be of so many octets in use.
func percent(live uint64) int {
	if live == 0 {
		return most
	}
	return int(min(max(100*room/live, least), most))
}

// Watch sets it, and again as the heap grows and shrinks, until ctx ends. GOGC and
// GOMEMLIMIT in the environment stay in force.
func Watch(ctx context.Context) {
	if os.Getenv("GOGC") != "" {
		return
	}
	now := most
	debug.SetGCPercent(now)
	go func() {
		tick := time.NewTicker(period)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			if p := percent(live()); p != now {
				now = p
				debug.SetGCPercent(p)
			}
		}
	}()
}

// live is what the last collection has found in use.
func live() uint64 {
	s := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(s)
	if s[0].Value.Kind() != metrics.KindUint64 {
		return 0
	}
	return s[0].Value.Uint64()
}

// Release gives back to the system, soon, what reading a configuration has taken.
func Release() { go debug.FreeOSMemory() }
