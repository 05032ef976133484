package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"mtad/pipeline"
	"mtad/plugins/lua/engine"
)

// Config configures a Pool.
type Config struct {
	Workers int   // at most
	Memory  int64 // octets that one may take; it is killed when it has more
	Log     *slog.Logger
	program string // tests run themselves
}

// Pool is some workers. They are started when they are needed, and ended when
// they were not for a while.
type Pool struct {
	cfg   Config
	slots chan struct{} // full while a call is made

	mu     sync.Mutex
	idle   []*process // the one used last is last
	pause  time.Duration
	next   time.Time // no start before it
	down   error     // why
	closed bool
	warned bool // that there is no Landlock
	reaper *time.Timer
}

// Pauses after a start that failed: doubling from the first to the last.
const (
	firstPause = 100 * time.Millisecond
	lastPause  = 30 * time.Second
	idleTime   = time.Minute
)

// ErrDown says that no worker can be started now.
var ErrDown = errors.New("no worker can be started")

// NewPool makes a pool; it starts nothing yet.
func NewPool(cfg Config) *Pool {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.program == "" {
		cfg.program = self()
	}
	return &Pool{cfg: cfg, slots: make(chan struct{}, cfg.Workers)}
}

// Job is a call and the script it is for.
type Job struct {
	engine.Call
	Key  string // of the script and its owner; the same key is the same text
	Name string // in errors
	Text string

	check bool
}

// Check says what is wrong with a user's script, after a worker has looked at it.
func Check(ctx context.Context, name, text string) error {
	p := NewPool(Config{Workers: 1, Memory: 256 << 20})
	defer p.Close()
	v := pipeline.NewView(pipeline.Client{}, pipeline.Mailing{}, nil)
	_, err := p.Run(ctx, Job{Name: name, Text: text, check: true, Call: engine.Call{View: v, Host: &engine.Host{}, Limits: engine.DefaultLimits}})
	return err
}

// Run runs a script in a worker. An error is the script's, or says that its
// worker was killed or can not be started.
func (p *Pool) Run(ctx context.Context, j Job) (pipeline.Verdict, error) {
	select {
	case p.slots <- struct{}{}:
	case <-ctx.Done():
		return pipeline.Verdict{}, fmt.Errorf("all %d workers are busy: %w", p.cfg.Workers, ctx.Err())
	}
	defer func() { <-p.slots }()
	w, err := p.take(ctx)
	if err != nil {
		return pipeline.Verdict{}, err
	}
	v, alive, err := w.run(ctx, &j)
	if !alive {
		w.end()
		p.cfg.Log.Warn("lua worker ended in a call", "script", j.Name, "err", err)
		return v, err
	}
	p.put(w)
	return v, err
}

// take is an idle worker, or a new one.
func (p *Pool) take(ctx context.Context) (*process, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for n := len(p.idle); n > 0; n = len(p.idle) {
		w := p.idle[n-1]
		p.idle = p.idle[:n-1]
		if !w.gone() {
			return w, nil
		}
		w.end()
	}
	if now := time.Now(); p.down != nil && now.Before(p.next) {
		return nil, fmt.Errorf("%w: %w", ErrDown, p.down)
	}
	w, err := start(ctx, &p.cfg)
	if err != nil {
		p.pause = min(max(2*p.pause, firstPause), lastPause)
		p.down, p.next = err, time.Now().Add(p.pause)
		return nil, fmt.Errorf("%w: %w", ErrDown, err)
	}
	p.down, p.pause = nil, 0
	if w.landlock == 0 && !p.warned {
		p.warned = true
		p.cfg.Log.Warn("lua workers run without Landlock, which this kernel or the service's SystemCallFilter does not offer")
	}
	return w, nil
}

func (p *Pool) put(w *process) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		w.end()
		return
	}
	w.since = time.Now()
	p.idle = append(p.idle, w)
	if p.reaper == nil {
		p.reaper = time.AfterFunc(idleTime, p.reap)
	}
}

// reap ends workers that nobody needed for a while.
func (p *Pool) reap() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.idle) > 0 && time.Since(p.idle[0].since) >= idleTime {
		p.idle[0].end()
		p.idle = p.idle[1:]
	}
	p.reaper = nil
	if len(p.idle) > 0 && !p.closed {
		p.reaper = time.AfterFunc(idleTime, p.reap)
	}
}

// Close ends the workers; those at work end with their call.
func (p *Pool) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	if p.reaper != nil {
		p.reaper.Stop()
	}
	for _, w := range p.idle {
		w.end()
	}
	p.idle = nil
	return nil
}
