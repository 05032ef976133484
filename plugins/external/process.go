package external

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os/exec"
	"strings"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"

	"mtad/pipeline"
	"mtad/sdk"
	"mtad/sdk/mtadpb"
)

// Pauses before a program that died is started again: doubling from the first
// to the last. One that ran for steadyTime begins anew.
const (
	firstPause = 100 * time.Millisecond
	lastPause  = 30 * time.Second
	steadyTime = time.Minute
	watchEvery = 250 * time.Millisecond
	startTime  = 10 * time.Second
)

// errDown says that the program is not running now.
var errDown = errors.New("external: the program is down")

// manifest is what a program declared.
type manifest struct {
	name, version string
	stages        pipeline.Stages
	reads, writes pipeline.Facts
}

// process keeps one program running.
type process struct {
	settings
	name     string
	sum      []byte
	log      *slog.Logger
	manifest atomic.Pointer[manifest]
	live     atomic.Pointer[live] // of the last start

	lock    chan struct{} // full while held: waiting for it can end
	client  *plugin.Client
	service mtadpb.FilterClient
	started time.Time
	pause   time.Duration
	next    time.Time // before it the program is not started again
	down    error     // why it is not running
	stop    chan struct{}
	done    chan struct{}
}

// live is a program that was running when it was last looked at.
type live struct {
	client  *plugin.Client
	service mtadpb.FilterClient
}

func newProcess(s settings, name string, sum []byte, log *slog.Logger) *process {
	return &process{settings: s, name: name, sum: sum, log: log.With("plugin", name), lock: make(chan struct{}, 1)}
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
	cmd := exec.Command(p.Path, p.Args...)
	cmd.Env = []string{"PATH=/usr/local/bin:/usr/bin:/bin"}
	cfg := &plugin.ClientConfig{
		HandshakeConfig: sdk.Handshake(), Plugins: plugin.PluginSet{sdk.PluginName: &sdk.Plugin{}},
		Cmd: cmd, SkipHostEnv: true, AutoMTLS: true, StartTimeout: startTime,
		AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC},
		Logger:           newHclog(p.log), Stderr: io.Discard, SyncStdout: io.Discard, SyncStderr: io.Discard,
	}
	if p.sum != nil {
		cfg.SecureConfig = &plugin.SecureConfig{Checksum: p.sum, Hash: sha256.New()}
	}
	client := plugin.NewClient(cfg)
	m, service, err := p.describe(ctx, client)
	if err != nil {
		client.Kill()
		return fmt.Errorf("external: start %s: %w", p.Path, err)
	}
	p.client, p.service, p.started, p.down = client, service, time.Now(), nil
	p.manifest.Store(m)
	p.live.Store(&live{client, service})
	p.log.Info("plugin started", "name", m.name, "version", m.version, "stages", m.stages.String(), "writes", m.writes.String())
	return nil
}

// version is what a plugin is told of mtad.
const version = "0.1"

func (p *process) describe(ctx context.Context, client *plugin.Client) (*manifest, mtadpb.FilterClient, error) {
	rpc, err := client.Client()
	if err != nil {
		return nil, nil, err
	}
	raw, err := rpc.Dispense(sdk.PluginName)
	if err != nil {
		return nil, nil, err
	}
	service, ok := raw.(mtadpb.FilterClient)
	if !ok {
		return nil, nil, errors.New("the plugin serves something else")
	}
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	in, err := service.Describe(ctx, &mtadpb.Host{Protocol: sdk.Protocol, Version: version, Step: p.name, Config: p.Config})
	if err != nil {
		return nil, nil, err
	}
	m, err := readManifest(in)
	return m, service, err
}

// readManifest checks what a plugin says of itself.
func readManifest(in *mtadpb.Manifest) (*manifest, error) {
	if in.GetConfigError() != "" {
		return nil, fmt.Errorf("its config: %s", in.GetConfigError())
	}
	if in.GetProtocol() < 1 || in.GetProtocol() > sdk.Protocol {
		return nil, fmt.Errorf("it speaks protocol %d; this mtad speaks 1 to %d", in.GetProtocol(), sdk.Protocol)
	}
	m := &manifest{name: in.GetName(), version: in.GetVersion()}
	for _, s := range in.GetStages() {
		st, ok := pipeline.ParseStage(s)
		if !ok {
			return nil, fmt.Errorf("its manifest names the stage %q, which does not exist", s)
		}
		m.stages |= pipeline.At(st)
	}
	if m.stages == 0 {
		return nil, errors.New("its manifest names no stage")
	}
	var err error
	if m.reads, err = readFacts(in.GetReads()); err == nil {
		m.writes, err = readFacts(in.GetWrites())
	}
	return m, err
}

func readFacts(names []string) (pipeline.Facts, error) {
	var out pipeline.Facts
	for _, n := range names {
		f, ok := pipeline.ParseFacts(n)
		if !ok {
			return 0, fmt.Errorf("its manifest names the fact %q, which does not exist; there are %s", n, pipeline.AllFacts)
		}
		out |= f
	}
	return out, nil
}

// watch starts the program again when it has died.
func (p *process) watch() {
	defer close(p.done)
	t := time.NewTicker(watchEvery)
	defer t.Stop()
	for {
		select {
		case <-p.stop:
			return
		case <-t.C:
			if _, err := p.running(context.Background()); err != nil && !errors.Is(err, errDown) {
				p.log.Error("plugin is down", "err", err)
			}
		}
	}
}

// running returns the service, after starting the program again if it has died
// and its pause is over. A start may take longer than ctx allows: it then goes
// on without the caller.
func (p *process) running(ctx context.Context) (mtadpb.FilterClient, error) {
	if l := p.live.Load(); l != nil && !l.client.Exited() {
		return l.service, nil
	}
	select {
	case p.lock <- struct{}{}:
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: it is being started: %w", errDown, ctx.Err())
	}
	if p.client != nil && !p.client.Exited() {
		defer p.unlock()
		return p.service, nil
	}
	now := time.Now()
	if p.client != nil {
		p.died(now)
	}
	if now.Before(p.next) {
		defer p.unlock()
		return nil, fmt.Errorf("%w: %w", errDown, p.down)
	}
	return p.again(ctx, now)
}

// again starts the program again. The lock is held, and given up after the start.
func (p *process) again(ctx context.Context, now time.Time) (mtadpb.FilterClient, error) {
	type outcome struct {
		service mtadpb.FilterClient
		err     error
	}
	done := make(chan outcome, 1)
	go func() {
		defer p.unlock()
		err := p.launch(context.WithoutCancel(ctx))
		if err != nil {
			p.down = err
			p.wait(now)
		}
		done <- outcome{p.service, err}
	}()
	select {
	case o := <-done:
		return o.service, o.err
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: it is being started: %w", errDown, ctx.Err())
	}
}

func (p *process) unlock() { <-p.lock }

// died notes that the program has ended by itself.
func (p *process) died(now time.Time) {
	ran := now.Sub(p.started)
	if ran >= steadyTime {
		p.pause = 0
	}
	p.client.Kill()
	p.client, p.service = nil, nil
	p.down = fmt.Errorf("it ended after %v", ran.Round(time.Millisecond))
	p.wait(now)
	p.log.Error("plugin died", "ran", ran, "again_in", p.pause)
}

func (p *process) wait(now time.Time) {
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
	if p.client != nil {
		p.client.Kill()
		p.client = nil
	}
	p.stop = nil
	return nil
}

// newHclog gives go-plugin a logger that writes into ours. It carries what the
// plugin prints on standard error.
func newHclog(log *slog.Logger) hclog.Logger {
	l := hclog.NewInterceptLogger(&hclog.LoggerOptions{Output: io.Discard, Level: hclog.Debug})
	l.RegisterSink(sink{log})
	return l
}

type sink struct{ log *slog.Logger }

// Accept takes one line. go-plugin's own chatter is for debugging; what the
// plugin says on standard error comes at the level it has.
func (s sink) Accept(name string, level hclog.Level, msg string, args ...any) {
	to := slog.LevelDebug
	if strings.Contains(name, ".") || level >= hclog.Warn {
		to = map[hclog.Level]slog.Level{hclog.Info: slog.LevelInfo, hclog.Warn: slog.LevelWarn, hclog.Error: slog.LevelError}[level]
	}
	if to == slog.LevelInfo && level < hclog.Info {
		to = slog.LevelDebug
	}
	s.log.Log(context.Background(), to, msg, args...)
}
