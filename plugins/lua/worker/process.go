package worker

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"mtad/dns"
	"mtad/message"
	"mtad/pipeline"
	"mtad/plugins/lua/engine"
)

const (
	startTime = 10 * time.Second
	// silence is how long a worker may say nothing beyond its script's time.
	silence = 2 * time.Second
	// watchEvery is how often a worker's size is looked at during a call.
	watchEvery = 10 * time.Millisecond
	firstPiece = 64 << 10 // of the message goes with the call
)

// process is one worker as its server sees it. One call at a time uses it.
type process struct {
	cfg      *Config
	cmd      *exec.Cmd
	conn     net.Conn
	in       *bufio.Reader
	said     *tail
	landlock int
	since    time.Time // idle since
	killed   atomic.Pointer[string]
	exited   chan struct{}
}

// start starts a worker and waits until it is confined.
func start(ctx context.Context, cfg *Config) (*process, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	theirs, ours := os.NewFile(uintptr(fds[0]), "worker"), os.NewFile(uintptr(fds[1]), "worker")
	conn, err := net.FileConn(ours)
	ours.Close()
	if err != nil {
		theirs.Close()
		return nil, err
	}
	w := &process{cfg: cfg, conn: conn, in: bufio.NewReader(conn), said: &tail{}, exited: make(chan struct{})}
	w.cmd = &exec.Cmd{
		Path: cfg.program, Args: []string{"mtad", Arg}, Dir: "/", Stdin: theirs, Stderr: w.said,
		Env:         []string{"GOMAXPROCS=2", "GOMEMLIMIT=" + strconv.FormatInt(cfg.Memory*3/4, 10), "GOTRACEBACK=none"},
		SysProcAttr: &syscall.SysProcAttr{Setsid: true},
	}
	err = w.cmd.Start()
	theirs.Close()
	if err != nil {
		conn.Close()
		return nil, err
	}
	go func() {
		_ = w.cmd.Wait() // how it ended is told by whoever talks to it
		close(w.exited)
	}()
	defer context.AfterFunc(ctx, func() { w.kill("its server had no time to wait for it") })()
	conn.SetReadDeadline(time.Now().Add(startTime))
	hello, err := readFrame(w.in)
	if err == nil && hello.Kind != kindHello {
		err = errors.New("it began with " + string(hello.Kind))
	}
	if err != nil {
		w.end()
		return nil, w.why(err)
	}
	w.landlock = int(hello.Number)
	return w, nil
}

// kill ends the process at once; the first reason counts.
func (w *process) kill(why string) {
	if w.killed.CompareAndSwap(nil, &why) {
		w.cmd.Process.Kill()
	}
}

// end ends the process, and waits until it has.
func (w *process) end() {
	w.conn.Close()
	w.kill("it was not needed any more")
	<-w.exited
}

func (w *process) gone() bool {
	select {
	case <-w.exited:
		return true
	default:
		return false
	}
}

// why explains that the talk broke off.
func (w *process) why(err error) error {
	if s := w.killed.Load(); s != nil && *s != "it was not needed any more" {
		return errors.New("its worker was killed: " + *s)
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return errors.New("its worker was killed: it said nothing for too long")
	}
	if text := w.said.String(); text != "" {
		return fmt.Errorf("its worker ended: %s", text)
	}
	return fmt.Errorf("its worker ended: %w", err)
}

// run makes a call. alive is false if the worker can not be used again.
func (w *process) run(ctx context.Context, j *Job) (v pipeline.Verdict, alive bool, err error) {
	stop := context.AfterFunc(ctx, func() { w.kill(fmt.Sprint("the step's time is over: ", ctx.Err())) })
	watch := w.watch()
	v, alive, err = w.talk(ctx, j)
	watch()
	if !stop() {
		return pipeline.Verdict{}, false, fmt.Errorf("%s: %s: %w", j.Name, j.Stage, ctx.Err())
	}
	if !alive {
		err = fmt.Errorf("%s: %s: %w", j.Name, j.Stage, w.why(err))
	}
	return v, alive, err
}

// talk sends the call and answers what the worker asks until it has a verdict.
func (w *process) talk(ctx context.Context, j *Job) (pipeline.Verdict, bool, error) {
	f := &frame{Kind: kindCall, Call: &call{
		Key: j.Key, Name: j.Name, Stage: j.Stage, View: j.View.Sent(), Size: -1, Limits: j.Limits, Now: time.Now(),
		Check: j.check,
		Has:   has{j.Host.DNS != nil, j.Host.KV != nil, j.Host.Map != nil, j.Host.Fetch != nil, j.Host.Pipe != nil},
	}}
	if j.Host.Now != nil {
		f.Call.Now = j.Host.Now()
	}
	var octets message.Bytes
	if m := j.View.Message(); m != nil {
		octets = m.Bytes()
		first, err := message.ReadAll(message.Section(octets, 0, firstPiece))
		if err != nil {
			return pipeline.Verdict{}, true, fmt.Errorf("the message can not be read: %w", err)
		}
		f.Call.Size, f.payload = octets.Size(), first
	}
	for {
		w.conn.SetDeadline(time.Now().Add(j.Limits.CPU + silence))
		if err := writeFrame(w.conn, f); err != nil {
			return pipeline.Verdict{}, false, err
		}
		in, err := w.next(j)
		if err != nil {
			return pipeline.Verdict{}, false, err
		}
		switch in.Kind {
		case kindVerdict:
			v, err := verdictIn(in.Verdict)
			return v, err == nil, err
		case kindFault:
			return pipeline.Verdict{}, true, errors.New(strings.ToValidUTF8(in.Text, "?"))
		}
		if f, err = answer(ctx, j, octets, in); err != nil {
			return pipeline.Verdict{}, false, err
		}
	}
}

// maxLines is how much one call may write to the log.
const maxLines = 100

// next is the next frame that wants an answer.
func (w *process) next(j *Job) (*frame, error) {
	for n := 0; ; n++ {
		in, err := readFrame(w.in)
		if err != nil || in.Kind != kindLog {
			return in, err
		}
		if j.Host.Log != nil && n < maxLines {
			j.Host.Log(level(in.Number), fmt.Sprintf("%.1000s", strings.ToValidUTF8(in.Text, "?")))
		}
	}
}

// answer does what a worker asks for.
func answer(ctx context.Context, j *Job, octets message.Bytes, in *frame) (*frame, error) {
	out := &frame{Kind: kindAnswer}
	h := j.Host
	var err error
	switch {
	case in.Kind == kindScript:
		out.payload = []byte(j.Text)
	case in.Kind == kindRead && octets != nil && in.Number >= 0:
		out.payload, err = message.ReadAll(message.Section(octets, in.Number, min(max(in.Length, 0), pieceSize)))
	case in.Kind == kindDNS && h.DNS != nil:
		out.Answer, err = h.DNS.Lookup(ctx, in.Name, dns.Type(in.Number))
	case in.Kind == kindGet && h.KV != nil:
		out.payload, out.OK, err = h.KV.Get(ctx, in.Name)
	case in.Kind == kindSet && h.KV != nil:
		err = h.KV.Set(ctx, in.Name, in.payload, max(in.TTL, 0))
	case in.Kind == kindAdd && h.KV != nil:
		out.Number, err = h.KV.Add(ctx, in.Name, in.Number, max(in.TTL, 0))
	case in.Kind == kindMap && h.Map != nil:
		var value string
		value, out.OK, err = h.Map(ctx, in.Name, in.Text)
		out.payload = []byte(value)
	case in.Kind == kindFetch && h.Fetch != nil && in.Request != nil:
		var r engine.Response
		r, err = h.Fetch(ctx, *in.Request)
		out.Number, out.Name, out.payload = int64(r.Status), r.Type, []byte(r.Body)
	case in.Kind == kindPipe && h.Pipe != nil && octets != nil:
		var r engine.Output
		r, err = h.Pipe(ctx, in.Name, octets)
		out.Number, out.payload = int64(r.Status), []byte(r.Text)
	default:
		return nil, fmt.Errorf("it asked for %.40q, which it was not offered", in.Kind)
	}
	out.setError(err)
	return out, nil
}

// watch looks at the worker's size until the function it returns is called.
func (w *process) watch() (stop func()) {
	var mu sync.Mutex
	var t *time.Timer
	over := false
	look := func() {
		mu.Lock()
		defer mu.Unlock()
		if over {
			return
		}
		if n := resident(w.cmd.Process.Pid); n > w.cfg.Memory {
			w.kill(fmt.Sprintf("it took %d MB, more than %d", n>>20, w.cfg.Memory>>20))
			return
		}
		t.Reset(watchEvery)
	}
	mu.Lock()
	t = time.AfterFunc(watchEvery, look)
	mu.Unlock()
	return func() {
		mu.Lock()
		over = true
		t.Stop()
		mu.Unlock()
	}
}

// resident is how many octets of a process are in memory that it shares with
// none; 0 if nobody knows.
func resident(pid int) int64 {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/statm")
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(b))
	if len(fields) < 3 {
		return 0
	}
	all, err1 := strconv.ParseInt(fields[1], 10, 64)
	shared, err2 := strconv.ParseInt(fields[2], 10, 64)
	if err1 != nil || err2 != nil {
		return 0
	}
	return (all - shared) * int64(os.Getpagesize())
}

// tail keeps the beginning of what a worker prints before it dies.
type tail struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write keeps a little.
func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if room := 1000 - t.b.Len(); room > 0 {
		t.b.Write(p[:min(len(p), room)])
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.Join(strings.Fields(strings.ToValidUTF8(t.b.String(), "?")), " ")
}
