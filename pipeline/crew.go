package pipeline

import (
	"context"
	"fmt"
	"runtime/debug"
	"slices"
	"sync"
	"time"
)

// maxIdle bounds the goroutines that a pipeline keeps for the next call.
const maxIdle = 32

// A crew are the goroutines that a pipeline calls its filters on. One that has
// come back waits for the next call: what it costs to begin a goroutine, and to
// grow its stack to what a filter needs, is paid once.
type crew struct {
	mu     sync.Mutex
	idle   []*hand // the last one to come back is the first to go
	spare  int     // of them, how many no call has needed since the last look
	calls  int     // since then
	closed bool
}

// lookEvery is after how many calls those that none of them needed are sent home:
// what a burst took does not stay for ever.
const lookEvery = 256

// hand is one goroutine. Whoever took it from the crew may give it one call, and
// gives it back when the answer has come.
type hand struct {
	calls chan call
	got   chan answer // holds one: the hand waits for nobody
}

// call is one question to a filter.
type call struct {
	ctx     context.Context
	step    *Step
	stage   Stage
	view    *View
	session Session // of the flow with the filter, if it has one
	now     func() time.Time
}

// answer is what came of a call.
type answer struct {
	verdict Verdict
	session Session // as opened by the call, if it was
	err     error
	ended   time.Time
}

// take returns a hand that has nothing to do.
func (c *crew) take() *hand {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n := len(c.idle); n > 0 {
		h := c.idle[n-1]
		c.idle = c.idle[:n-1]
		c.spare = min(c.spare, n-1)
		return h
	}
	h := &hand{calls: make(chan call, 1), got: make(chan answer, 1)}
	go h.work()
	return h
}

// giveBack takes a hand back whose answer has been read.
func (c *crew) giveBack(h *hand) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || len(c.idle) >= maxIdle {
		close(h.calls)
		return
	}
	c.idle = append(c.idle, h)
	if c.calls++; c.calls < lookEvery {
		return
	}
	for _, h := range c.idle[:c.spare] {
		close(h.calls)
	}
	c.idle = slices.Delete(c.idle, 0, c.spare)
	c.calls, c.spare = 0, len(c.idle)
}

// close sends the idle ones home, and the others when they come back.
func (c *crew) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	for _, h := range c.idle {
		close(h.calls)
	}
	c.idle, c.spare = nil, 0
}

func (h *hand) work() {
	for q := range h.calls {
		h.serve(q)
	}
}

// serve answers one call, and frees the step's place whatever the filter does.
func (h *hand) serve(q call) {
	defer q.step.release()
	a := q.run()
	a.ended = q.now()
	h.got <- a
}

// run opens the filter's session if it has none yet, and asks.
func (q *call) run() (a answer) {
	a.session = q.session
	defer func() {
		if r := recover(); r != nil {
			a.err = fmt.Errorf("%w: %v\n%s", ErrPanic, r, debug.Stack())
		}
	}()
	filter := q.step.Filter
	if opener, ok := filter.(Opener); ok && a.session == nil {
		if a.session, a.err = opener.Open(q.ctx, q.view); a.err != nil {
			a.session = nil
			return a
		}
	}
	if a.session != nil {
		filter = a.session
	}
	if !filter.Stages().Has(q.stage) {
		return a
	}
	v := q.view
	if access, ok := filter.(Access); ok {
		reads, _ := access.Access(q.stage)
		v = v.masked(reads)
	}
	a.verdict, a.err = filter.Filter(q.ctx, q.stage, v)
	return a
}
