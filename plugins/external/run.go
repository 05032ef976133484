package external

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"github.com/hashicorp/go-plugin/runner"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"mtad/config"
	"mtad/sdk"
	"mtad/sdk/mtadpb"
)

// run is the program from one start to its end.
type run struct {
	client  *plugin.Client
	child   *child
	service mtadpb.FilterClient
	probe   grpc_health_v1.HealthClient
	dir     string // for its socket
	voice   io.WriteCloser
	over    chan struct{} // closed at the run's end
	started time.Time
	silent  atomic.Int32 // times in a row that it did not say it is well

	ended   sync.Once
	mu      sync.Mutex
	users   int // streams
	retired bool
	empty   chan struct{} // closed when a retired run has no stream
}

// begin starts the program and asks what it is.
func (p *process) begin(ctx context.Context) (*run, *manifest, error) {
	if err := checkSafe(p.Path); err != nil {
		return nil, nil, err
	}
	if err := checkSum(p.Path, p.sum); err != nil {
		return nil, nil, err
	}
	// MkdirTemp's folders are their owner's alone.
	dir, err := os.MkdirTemp("", "mtad-plugin-")
	if err != nil {
		return nil, nil, err
	}
	r := &run{dir: dir, started: time.Now(), empty: make(chan struct{}), over: make(chan struct{})}
	r.voice = newVoice(p.log, r.over)
	cfg := &plugin.ClientConfig{
		HandshakeConfig: sdk.Handshake(), Plugins: plugin.PluginSet{sdk.PluginName: &sdk.Plugin{}},
		RunnerFunc:  func(_ hclog.Logger, cmd *exec.Cmd, _ string) (runner.Runner, error) { return r.prepare(p, cmd) },
		SkipHostEnv: true, AutoMTLS: p.MTLS, StartTimeout: startTime,
		UnixSocketConfig: &plugin.UnixSocketConfig{TempDir: dir},
		AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC}, GRPCDialOptions: dialOptions(),
		Logger: newHclog(p.log), Stderr: io.Discard, SyncStdout: r.voice, SyncStderr: r.voice,
	}
	r.client = plugin.NewClient(cfg)
	m, err := r.describe(ctx, p, cfg)
	if err != nil {
		if r.child != nil {
			if why := r.child.cause(); why != nil && !errors.Is(why, errStopped) {
				err = why
			}
		}
		r.end()
		return nil, nil, err
	}
	return r, m, nil
}

// maxReply is the most that a program says at once: a verdict with a body that is
// new, or its manifest. More is a fault: it would be held in memory.
const maxReply = 4 << 20

// dialOptions bound what is received, which go-plugin does not, and set the flow
// control's windows: those that gRPC finds by itself cost a ping and its answer for
// each message of the stream.
func dialOptions() []grpc.DialOption {
	return []grpc.DialOption{
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxReply)),
		grpc.WithInitialWindowSize(sdk.Window), grpc.WithInitialConnWindowSize(sdk.Window),
	}
}

// prepare makes the process of the command that go-plugin has given its variables.
func (r *run) prepare(p *process, with *exec.Cmd) (runner.Runner, error) {
	cmd := exec.Command(p.Path, p.Args...)
	cmd.Env = append([]string{"PATH=/usr/local/bin:/usr/bin:/bin"}, with.Env...)
	if p.Memory > 0 {
		// A Go program then collects its garbage in time.
		cmd.Env = append(cmd.Env, fmt.Sprintf("GOMEMLIMIT=%d", p.Memory/10*8))
	}
	c, err := newChild(cmd, limits{p.Memory, p.CPUTime, p.Files}, r.dir)
	if err != nil {
		return nil, err
	}
	r.child = c
	return c, nil
}

// checkSafe refuses a program that everybody on this machine can put another in the
// place of: itself, or a folder above it or above a symbolic link to it.
func checkSafe(path string) error {
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return err
	}
	for _, p := range []string{real, path} {
		for last := ""; p != last; last, p = p, filepath.Dir(p) {
			fi, err := os.Lstat(p)
			switch {
			case err != nil:
				return err
			case fi.Mode()&os.ModeSymlink != 0:
				continue // it has no mode of its own
			}
			// In a folder with the sticky bit everybody has only what is theirs.
			if fi.Mode()&0o002 != 0 && (!fi.IsDir() || fi.Mode()&os.ModeSticky == 0) {
				return fmt.Errorf("everybody may write to %s: `chmod o-w %s` first", p, p)
			}
		}
	}
	return nil
}

// checkSum compares a program with its checksum.
func checkSum(path string, want []byte) error {
	if want == nil {
		return nil
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return err
	}
	if got := h.Sum(nil); subtle.ConstantTimeCompare(got, want) != 1 {
		return fmt.Errorf("its checksum is %x, not that of the configuration's sha256", got)
	}
	return nil
}

// version is what a plugin is told of mtad.
const version = "0.1"

func (r *run) describe(ctx context.Context, p *process, cfg *plugin.ClientConfig) (*manifest, error) {
	if _, err := r.client.Start(); err != nil {
		return nil, err
	}
	if p.MTLS && cfg.TLSConfig.RootCAs == nil {
		return nil, errors.New("it does not speak mutual TLS, as programs in other languages than Go do not; set mtls = false: its socket is in a folder that only mtad's user can enter")
	}
	rpc, err := r.client.Client()
	if err != nil {
		return nil, err
	}
	raw, err := rpc.Dispense(sdk.PluginName)
	if err != nil {
		return nil, err
	}
	service, ok := raw.(mtadpb.FilterClient)
	over, isGRPC := rpc.(*plugin.GRPCClient)
	if !ok || !isGRPC {
		return nil, errors.New("the plugin serves something else")
	}
	r.service, r.probe = service, grpc_health_v1.NewHealthClient(over.Conn)
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	in, err := service.Describe(ctx, &mtadpb.Host{Protocol: sdk.Protocol, Version: version, Step: p.name, Config: p.Config})
	if err != nil {
		return nil, err
	}
	return readManifest(in, p.Config)
}

func (r *run) exited() bool { return r.client.Exited() }

// end ends the program, if it still runs, and removes what it leaves.
func (r *run) end() {
	switch {
	case r.child == nil:
	case r.exited():
		r.child.kill(errStopped) // or go-plugin would ask it to go, and wait
	default: // go-plugin asks it to go, and waits for the answer for ever
		late := time.AfterFunc(healthTime, func() { r.child.kill(errStopped) })
		defer late.Stop()
	}
	r.client.Kill()
	r.ended.Do(func() { close(r.over) })
	// Nobody looks there again, nor listens.
	_ = r.voice.Close()
	_ = os.RemoveAll(r.dir)
}

// How the program is asked whether it is well.
const (
	healthEvery = 10 * time.Second
	healthTime  = 5 * time.Second
	maxSilent   = 2
)

// health kills a program that did not say that it is well, twice.
func (r *run) health(within time.Duration, stop <-chan struct{}) {
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	go func() {
		select {
		case <-stop:
			cancel()
		case <-ctx.Done():
		}
	}()
	res, err := r.probe.Check(ctx, &grpc_health_v1.HealthCheckRequest{Service: plugin.GRPCServiceName})
	switch {
	case status.Code(err) == codes.Unimplemented, status.Code(err) == codes.NotFound, status.Code(err) == codes.Canceled:
		r.silent.Store(0) // it has no opinion, or nobody wants it
	case err != nil, res.GetStatus() != grpc_health_v1.HealthCheckResponse_SERVING:
		r.silent.Add(1)
	default:
		r.silent.Store(0)
	}
	if n := r.silent.Load(); n >= maxSilent {
		r.child.kill(fmt.Errorf("it was killed: asked %d times, it did not say that it is well", n))
	}
}

// enter and leave count the streams of sessions.
func (r *run) enter() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.users++
}

func (r *run) leave() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.users--
	if r.retired && r.users == 0 {
		close(r.empty)
	}
}

func (r *run) replaced() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.retired
}

// drainTime is how long sessions stay with a run that was replaced. They leave it
// after their transaction.
const drainTime = 30 * time.Second

// drain ends the run when its streams have ended, or at once when stop does.
func (r *run) drain(stop <-chan struct{}) {
	r.mu.Lock()
	r.retired = true
	if r.users == 0 {
		close(r.empty)
	}
	r.mu.Unlock()
	t := time.NewTimer(drainTime)
	defer t.Stop()
	select {
	case <-r.empty:
	case <-t.C:
	case <-stop:
	}
	r.end()
}

// usage is what the program has now.
func (r *run) usage() (pid string, memory config.Size) {
	pid = r.child.ID()
	if u, err := usageOf(r.child.cmd.Process.Pid); err == nil {
		memory = u.memory
	}
	return pid, memory
}
