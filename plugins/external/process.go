package external

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// Pauses before a program that died is started again: doubling from the first
// to the last. One that ran for steadyTime begins anew.
const (
	firstPause = 100 * time.Millisecond
	lastPause  = 30 * time.Second
	steadyTime = time.Minute
	watchEvery = 100 * time.Millisecond
	startTime  = 10 * time.Second
)

// errDown says that the program is not running now.
var errDown = errors.New("external: the program is down")

// process keeps one program running.
type process struct {
	settings
	name     string
	sum      []byte
	log      *slog.Logger
	lines    *lines
	manifest atomic.Pointer[manifest]
	live     atomic.Pointer[run] // of the last start

	lock   chan struct{} // full while held: waiting for it can end
	run    *run          // nil: not running, for the reason in down
	pause  time.Duration
	next   time.Time // before it the program is not started again
	down   error     // why it is not running
	starts atomic.Int64
	why    atomic.Pointer[string] // down, for Status
	stop   chan struct{}
	done   chan struct{}
	old    sync.WaitGroup // runs that a restart replaced
}

func newProcess(s settings, name string, sum []byte, log *slog.Logger) *process {
	kept := &lines{}
	log = slog.New(tee{log.Handler(), kept}).With("plugin", name)
	return &process{settings: s, name: name, sum: sum, log: log, lines: kept, lock: make(chan struct{}, 1)}
}

// start starts the program and watches it until close.
func (p *process) start(ctx context.Context) error {
	p.lock <- struct{}{}
	defer p.unlock()
	if err := p.launch(ctx); err != nil {
		return err
	}
	p.stop, p.done = make(chan struct{}), make(chan struct{})
	go p.watch()
	return nil
}

// launch runs the program once and asks for its manifest. The lock is held.
func (p *process) launch(ctx context.Context) error {
	r, m, err := p.begin(ctx)
	if err != nil {
		return fmt.Errorf("external: start %s: %w", p.Path, err)
	}
	p.run, p.down = r, nil
	p.starts.Add(1)
	p.manifest.Store(m)
	p.live.Store(r)
	p.log.Info("plugin started", "name", m.name, "version", m.version, "protocol", m.protocol, "stages", m.stages.String(), "writes", m.writes.String())
	return nil
}

// restart puts a new run of the program in the place of this one, which ends when
// its sessions have.
func (p *process) restart(ctx context.Context) error {
	select {
	case p.lock <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer p.unlock()
	if p.stop == nil {
		return errDown
	}
	old := p.run
	p.pause, p.next = 0, time.Time{}
	if err := p.launch(ctx); err != nil {
		return err // the old one goes on
	}
	if old != nil {
		p.old.Go(func() { old.drain(p.stop) })
	}
	return nil
}

// watch starts the program again when it has died, and ends it when it no longer
// answers.
func (p *process) watch() {
	defer close(p.done)
	t := time.NewTicker(watchEvery)
	defer t.Stop()
	asked := time.Now()
	for {
		select {
		case <-p.stop:
			return
		case now := <-t.C:
			if r := p.live.Load(); r != nil && now.Sub(asked) >= healthEvery {
				asked = now
				r.health(healthTime, p.stop)
			}
			if _, err := p.running(context.Background()); err != nil && !errors.Is(err, errDown) {
				p.log.Error("plugin is down", "err", err)
			}
		}
	}
}

// running returns the run in force, after starting the program again if it has
// died and its pause is over. A start may take longer than ctx allows: it then
// goes on without the caller.
func (p *process) running(ctx context.Context) (*run, error) {
	if r := p.live.Load(); r != nil && !r.exited() {
		return r, nil
	}
	select {
	case p.lock <- struct{}{}:
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: it is being started: %w", errDown, ctx.Err())
	}
	if p.run != nil && !p.run.exited() {
		defer p.unlock()
		return p.run, nil
	}
	now := time.Now()
	if p.run != nil {
		p.died(now)
	}
	if now.Before(p.next) {
		defer p.unlock()
		return nil, fmt.Errorf("%w: %w", errDown, p.down)
	}
	return p.again(ctx, now)
}

// again starts the program again. The lock is held, and given up after the start.
func (p *process) again(ctx context.Context, now time.Time) (*run, error) {
	type outcome struct {
		run *run
		err error
	}
	done := make(chan outcome, 1)
	go func() {
		defer p.unlock()
		err := p.launch(context.WithoutCancel(ctx))
		if err != nil {
			p.down = err
			p.wait(now)
		}
		done <- outcome{p.run, err}
	}()
	select {
	case o := <-done:
		return o.run, o.err
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: it is being started: %w", errDown, ctx.Err())
	}
}

func (p *process) unlock() { <-p.lock }

// died notes that the program has ended by itself.
func (p *process) died(now time.Time) {
	ran := now.Sub(p.run.started)
	if ran >= steadyTime {
		p.pause = 0
	}
	p.down = fmt.Errorf("it ended after %v", ran.Round(time.Millisecond))
	if why := p.run.child.cause(); why != nil {
		p.down = why
	}
	p.run.end()
	p.run = nil
	p.wait(now)
	p.log.Error("plugin died", "err", p.down, "ran", ran, "again_in", p.pause)
}

func (p *process) wait(now time.Time) {
	why := p.down.Error()
	p.why.Store(&why)
	p.pause = min(max(2*p.pause, firstPause), lastPause)
	p.next = now.Add(p.pause)
}

func (p *process) close() error {
	if p.stop == nil {
		return nil
	}
	close(p.stop)
	<-p.done
	p.lock <- struct{}{}
	defer p.unlock()
	if p.run != nil {
		p.run.end()
		p.run = nil
	}
	p.live.Store(nil)
	p.old.Wait()
	p.stop = nil
	return nil
}
