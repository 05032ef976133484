package spam_test

import (
	"context"
	"runtime"
	"slices"
	"syscall"
	"testing"
	"time"

	"mtad/internal/mtatest"
	"mtad/spam"
	"mtad/spam/conf"
	"mtad/spam/scan"
	"mtad/spam/spamtest"
)

// BenchmarkCheck judges messages of 10 KiB with all of Debian's rules, one at a time.
// p99-ms is of each message's fastest turn, as what else the machine does has no part
// in that.
func BenchmarkCheck(b *testing.B) {
	e := engine(b)
	messages := spamtest.LongCorpus(1, 200)
	size := 0
	least := make([]time.Duration, len(messages))
	for i, m := range messages {
		size += len(m.Text)
		e.Check(context.Background(), m.Text, scan.Facts{})
		least[i] = time.Hour
	}
	b.SetBytes(int64(size / len(messages)))
	b.ReportAllocs()
	i := 0
	began := processorTime(b)
	for b.Loop() {
		r := e.Check(context.Background(), messages[i%len(messages)].Text, scan.Facts{})
		least[i%len(messages)] = min(least[i%len(messages)], r.Took)
		i++
	}
	b.ReportMetric(float64(processorTime(b)-began)/1e6/float64(i), "cpu-ms/op")
	if i < len(messages) {
		return
	}
	slices.Sort(least)
	b.ReportMetric(float64(least[len(least)*99/100])/1e6, "p99-ms")
}

// processorTime is what the process has had so far.
func processorTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	mtatest.Check(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkLoad reads all of Debian's rules and makes them ready. heap-MiB is what they
// then take.
func BenchmarkLoad(b *testing.B) {
	mtatest.Program(b, "spamassassin")
	b.ReportAllocs()
	var e *spam.Engine
	for b.Loop() {
		rs, err := conf.Load([]string{spamtest.Stock, spamtest.Site}, conf.Options{Local: true})
		mtatest.Check(b, err)
		e = spam.New(rs, spam.Options{})
	}
	b.ReportMetric(float64(heap())/(1<<20), "heap-MiB")
	runtime.KeepAlive(e)
}

func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// TestMemory: an engine with all of Debian's rules keeps to its memory, also when its
// automata have seen many messages.
func TestMemory(t *testing.T) {
	before := heap()
	e := engine(t)
	loaded := heap() - before
	for _, m := range spamtest.LongCorpus(4, 100) {
		e.Check(t.Context(), m.Text, scan.Facts{})
	}
	used := heap() - before
	runtime.KeepAlive(e)
	t.Logf("%d MiB when loaded, %d after 100 messages", loaded>>20, used>>20)
	if used > 150<<20 {
		t.Errorf("%d MiB: 150 are allowed", used>>20)
	}
}
