package external

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"mtad/internal/mtatest"
	"mtad/message"
	"mtad/pipeline"
	"mtad/smtp"
)

// killers is the load that the program is killed under.
type killers struct {
	p        *pipeline.Pipeline
	proc     *process
	accepted atomic.Int64
	failed   atomic.Int64
	stop     atomic.Bool

	mu    sync.Mutex
	took  []time.Duration // of messages that were accepted at once
	slow  []time.Duration // of those that had the fate of on_error
	wrong []string
}

// retryAfter is when a client comes again, as a queue does.
const retryAfter = 5 * time.Millisecond

// client sends messages, each until it is accepted, in sessions of ten.
func (k *killers) client(seed uint64) {
	r := rand.New(rand.NewPCG(seed, 1))
	for !k.stop.Load() {
		f := k.p.Open(pipeline.Client{})
		for range 10 {
			body := strings.Repeat("load\r\n", r.IntN(20_000))
			for !k.message(f, body) && !k.stop.Load() {
				time.Sleep(retryAfter)
			}
		}
		f.Close()
	}
}

// message sends one message and reports whether it was accepted. Whatever became of
// the program, there is a fate, and it is continue or the step's on_error.
func (k *killers) message(f *pipeline.Flow, body string) bool {
	ctx := context.Background()
	begun := time.Now()
	m, err := message.Parse(message.FromBytes([]byte("Subject: size\r\n\r\n" + body)))
	if err != nil {
		k.complain("%v", err)
		return true
	}
	f.Begin(message.NewID(begun), smtp.Address{Local: "a", Domain: "b.test"}, smtp.MailParams{})
	fate := f.Run(ctx, pipeline.Mail)
	if !fate.Refused() {
		f.SetMessage(m, nil, nil)
		fate = f.Run(ctx, pipeline.Message)
	}
	v, outcome := f.View(), pipeline.Accepted
	if fate.Refused() {
		outcome = pipeline.Refused
	}
	faults := 0
	for _, e := range f.End(ctx, outcome).Events {
		if e.Err != "" {
			faults++
		}
	}
	took := time.Since(begun)
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case fate.Action == pipeline.Continue && faults == 0:
		// Judged whole: the program has counted every octet.
		if got, _ := v.Message().Header().Get("X-Size"); strings.TrimSpace(got) != fmt.Sprint(len("Subject: size\r\n\r\n")+len(body)) {
			k.wrong = append(k.wrong, fmt.Sprintf("accepted, and judged as %q of %d octets", got, len(body)))
		}
		k.accepted.Add(1)
		k.took = append(k.took, took)
		return true
	case fate.Action == pipeline.TempFail && faults == 1:
		k.failed.Add(1)
		k.slow = append(k.slow, took)
		return false
	}
	k.wrong = append(k.wrong, fmt.Sprintf("fate %v with %d faults", fate.Action, faults))
	return true
}

func (k *killers) complain(format string, args ...any) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.wrong = append(k.wrong, fmt.Sprintf(format, args...))
}

// kill ends the program as it comes, n times, each after the successor has judged
// a few messages.
func (k *killers) kill(t *testing.T, n int) {
	t.Helper()
	r := rand.New(rand.NewPCG(uint64(n), 2))
	for i := range n {
		if i > 0 && i%100 == 0 {
			fmt.Fprintf(t.Output(), "%d kills\n", i)
		}
		var now *run
		before, more := k.accepted.Load(), 1+r.Int64N(20)
		mtatest.Eventually(t, "the program judges again", time.Minute, func() bool {
			k.proc.lock <- struct{}{}
			k.proc.pause, k.proc.next = 0, time.Time{} // the pauses are not what is tested
			k.proc.unlock()
			var err error
			now, err = k.proc.running(context.Background())
			return err == nil && k.accepted.Load() >= before+more
		})
		now.child.kill(nil)
		mtatest.Eventually(t, "the program is dead", time.Minute, now.exited)
	}
}

// TestKills kills the program at any moment under load: 1,000 times with MTAD_LONG. No
// message is lost: each has one fate, that of its verdict, after the program saw
// the whole of it, or that of on_error; and each is accepted in the end.
func TestKills(t *testing.T) {
	n := 15
	if mtatest.Long() {
		n = 1000
	}
	// Time that runs 1,000 times as fast: the pauses of the step's breaker are short.
	begun := time.Now()
	env := pipeline.Env{Now: func() time.Time { return begun.Add(1000 * time.Since(begun)) }}
	p, err := startIn(t, fmt.Sprintf("path = %q", build(t, "./testdata/odd")), env)
	mtatest.Check(t, err)
	k := &killers{p: p, proc: procOf(p)}
	p.Steps()[0].Timeout = 20 * time.Second
	var clients sync.WaitGroup
	for i := range 8 {
		clients.Go(func() { k.client(uint64(i)) })
	}
	k.kill(t, n)
	k.stop.Store(true)
	clients.Wait()
	if len(k.wrong) > 0 {
		t.Errorf("%d wrong fates, the first: %s", len(k.wrong), k.wrong[0])
	}
	if k.failed.Load() == 0 {
		t.Error("no kill hit a message")
	}
	if got := procOf(p).starts.Load(); got < int64(n) {
		t.Errorf("%d starts for %d kills", got, n)
	}
	report(t.Output(), n, k)
}

func report(w io.Writer, n int, k *killers) {
	at := func(d []time.Duration, q float64) time.Duration {
		if len(d) == 0 {
			return 0
		}
		slices.Sort(d)
		return d[int(q*float64(len(d)-1))].Round(10 * time.Microsecond)
	}
	fmt.Fprintf(w, "%d kills: %d messages accepted, p50 %v p99 %v; %d had the fate of on_error, p50 %v p99 %v\n",
		n, len(k.took), at(k.took, .5), at(k.took, .99), len(k.slow), at(k.slow, .5), at(k.slow, .99))
}
