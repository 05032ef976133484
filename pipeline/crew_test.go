package pipeline

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"mtad/smtp"
)

// waiting is how many goroutines wait for a call.
func (c *crew) waiting() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.idle)
}

// One call after the other needs one goroutine, many at once as many, of which a
// bounded number stay, and none once the pipeline is closed: sessions that are
// still in it are served all the same.
func TestCrew(t *testing.T) {
	p := with(t, nil, nothing{}, nothing{})
	ask := func() {
		f := p.Open(Client{})
		defer f.Close()
		f.Begin(1, smtp.Address{}, smtp.MailParams{})
		want(t, "fate", f.Run(t.Context(), Mail).Refused(), false)
	}
	ask()
	ask()
	want(t, "after one at a time", p.crew.waiting(), 1)
	many := make([]*hand, 2*maxIdle)
	for i := range many {
		many[i] = p.crew.take()
	}
	for _, h := range many {
		p.crew.giveBack(h)
	}
	want(t, "after many at once", p.crew.waiting(), maxIdle)
	for range 2 * lookEvery {
		ask()
	}
	want(t, "long after many at once", p.crew.waiting(), 1)
	late := p.crew.take()
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	p.crew.giveBack(late)
	ask()
	want(t, "after the end", p.crew.waiting(), 0)
}

// A goroutine whose filter hangs is nobody else's until it has come back.
func TestCrewLeftBehind(t *testing.T) {
	release := make(chan struct{})
	var calls atomic.Int32
	p := with(t, nil, &opener{answer: func(context.Context) (Verdict, error) {
		if calls.Add(1) == 1 {
			<-release
		}
		return Verdict{}, nil
	}})
	p.steps[0].Timeout = time.Millisecond
	ask := func() int {
		f := p.Open(Client{})
		defer f.Close()
		f.Begin(1, smtp.Address{}, smtp.MailParams{})
		return f.Run(t.Context(), Mail).Reply.Code
	}
	want(t, "hangs", ask(), 451)
	want(t, "left behind", p.crew.waiting(), 0)
	p.steps[0].Timeout = time.Minute
	want(t, "another", ask(), 0)
	close(release)
	for p.crew.waiting() < 2 { // the test's own time-out is the limit
		time.Sleep(time.Millisecond)
	}
}
