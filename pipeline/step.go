package pipeline

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"mtad/config"
)

// Mode is whether a step's verdicts are obeyed.
type Mode uint8

// The modes of a step.
const (
	Enforce Mode = iota
	Shadow       // asked and recorded, not obeyed
	Off          // not asked
)

// Default time-outs of a step.
const (
	CommandTimeout = 10 * time.Second
	ContentTimeout = 60 * time.Second
)

// Step is one configured place in a pipeline.
type Step struct {
	Name          string // labels logs, metrics, traces; unique in its pipeline
	Kind          string
	Filter        Filter
	When          *config.Cond[*View] // nil: always
	Timeout       time.Duration       // 0: CommandTimeout or ContentTimeout, by stage
	OnError       Action              // of a fault: TempFail, Continue or Reject
	Mode          Mode
	Always        bool // its refusals count for postmaster and abuse too
	MaxConcurrent int  // calls at once; 0 is no limit

	life    life
	breaker breaker
	sem     chan struct{}
	stats   stats
}

// Stages is where the step's filter wants to be asked.
func (st *Step) Stages() Stages { return st.Filter.Stages() }

// Errors of a step that did not get to ask its filter, or got no answer.
var (
	ErrBreakerOpen = errors.New("pipeline: filter failed repeatedly and is being left alone")
	ErrTimeout     = errors.New("pipeline: filter did not answer in time")
	ErrPanic       = errors.New("pipeline: filter panicked")
)

// ErrOwn is in the errors of a filter that are the fault of something that
// belongs to one user, such as a script: on_error answers them like any other,
// but they say nothing of the filter, and its breaker does not count them.
var ErrOwn = errors.New("a user's own fault")

// TimeoutAt is how long the step may take at a stage.
func (st *Step) TimeoutAt(s Stage) time.Duration {
	switch {
	case st.Timeout > 0:
		return st.Timeout
	case s.content():
		return ContentTimeout
	}
	return CommandTimeout
}

// acquire waits for one of the step's MaxConcurrent places.
func (st *Step) acquire(ctx context.Context) error {
	if st.sem == nil {
		return nil
	}
	select {
	case st.sem <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%w: all %d places taken", ErrTimeout, cap(st.sem))
	}
}

// tryAcquire takes a place if there is one.
func (st *Step) tryAcquire() bool {
	if st.sem == nil {
		return true
	}
	select {
	case st.sem <- struct{}{}:
		return true
	default:
		return false
	}
}

func (st *Step) release() {
	if st.sem != nil {
		<-st.sem
	}
}

// A breaker opens after breakerFaults faults in a row; then the filter is left
// alone for breakerPause, and one call tries whether it is well again.
const (
	breakerFaults = 5
	breakerPause  = 30 * time.Second
)

type breaker struct {
	mu     sync.Mutex
	faults int
	until  time.Time
	trial  bool // a trial call is under way
}

// allow reports whether the filter may be asked.
func (b *breaker) allow(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.faults < breakerFaults {
		return true
	}
	if b.trial || now.Before(b.until) {
		return false
	}
	b.trial = true
	return true
}

// report notes the outcome of a call.
func (b *breaker) report(now time.Time, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.trial = false
	if ok {
		b.faults = 0
		return
	}
	if b.faults++; b.faults >= breakerFaults {
		b.until = now.Add(breakerPause)
	}
}

// closed reports whether the filter is asked, whenever that is.
func (b *breaker) closed() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.faults < breakerFaults
}

func (b *breaker) open(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.faults >= breakerFaults && now.Before(b.until)
}

// Latency buckets of Stats: a call that took less than Buckets[i] is counted in
// Took[i]; the rest in the last.
var latencyBounds = [...]time.Duration{
	50 * time.Microsecond, 100 * time.Microsecond, 250 * time.Microsecond, 500 * time.Microsecond,
	time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond, 10 * time.Millisecond,
	25 * time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond, 250 * time.Millisecond,
	500 * time.Millisecond, time.Second, 5 * time.Second, 10 * time.Second, 60 * time.Second,
}

// LatencyBounds returns the upper bounds of the latency histogram of Stats.
func LatencyBounds() []time.Duration { return latencyBounds[:] }

type stats struct {
	actions [actionCount]atomic.Int64
	faults  atomic.Int64
	skipped atomic.Int64 // breaker open
	took    [len(latencyBounds) + 1]atomic.Int64
	nanos   atomic.Int64
}

func (s *stats) observe(d time.Duration) {
	s.nanos.Add(int64(d))
	for i, b := range latencyBounds {
		if d < b {
			s.took[i].Add(1)
			return
		}
	}
	s.took[len(latencyBounds)].Add(1)
}

// Stats are a step's counters since it was started.
type Stats struct {
	Pipeline, Step, Kind string
	Actions              map[Action]int64
	Faults               int64
	Skipped              int64   // calls not made because the breaker was open
	Took                 []int64 // a histogram over LatencyBounds, the rest last
	Total                time.Duration
	BreakerOpen          bool
}

func (st *Step) snapshot(pipeline string, now time.Time) Stats {
	out := Stats{
		Pipeline: pipeline, Step: st.Name, Kind: st.Kind,
		Actions: map[Action]int64{},
		Faults:  st.stats.faults.Load(), Skipped: st.stats.skipped.Load(),
		Total: time.Duration(st.stats.nanos.Load()), BreakerOpen: st.breaker.open(now),
	}
	for a := range actionCount {
		if n := st.stats.actions[a].Load(); n > 0 {
			out.Actions[a] = n
		}
	}
	for i := range st.stats.took {
		out.Took = append(out.Took, st.stats.took[i].Load())
	}
	return out
}
