package trace

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"mtad/message"
	"mtad/pipeline"
)

var epoch = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func openLog(t testing.TB, path string, opts Options) *Log {
	t.Helper()
	l, err := Open(path, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

// story is a trace of n events, a second after one another.
func story(id message.ID, n int, note string) pipeline.Trace {
	t := pipeline.Trace{ID: id}
	for i := range n {
		t.Events = append(t.Events, pipeline.Event{
			Time: epoch.Add(time.Duration(i) * time.Second), Kind: pipeline.EventStep, Step: "spf",
			Action: "continue", Note: fmt.Sprintf("%s %d", note, i), Mods: []string{`add-score spf 3.0 "<&>"`},
		})
	}
	return t
}

func notes(t pipeline.Trace) string {
	var out []string
	for _, e := range t.Events {
		out = append(out, e.Note)
	}
	return strings.Join(out, ",")
}

func TestEventsOfOneIDComeTogether(t *testing.T) {
	l := openLog(t, filepath.Join(t.TempDir(), "traces.db"), Options{})
	l.Add(pipeline.Trace{ID: 7, Events: []pipeline.Event{{Time: epoch.Add(2 * time.Second), Kind: pipeline.EventRelay, Note: "late"}}})
	l.Add(pipeline.Trace{ID: 9, Events: []pipeline.Event{{Time: epoch, Note: "other"}}})
	if got, err := l.Get(t.Context(), 7); err != nil || notes(got) != "late" {
		t.Fatalf("what was added before is not read: %v %v", got, err)
	}
	l.Add(story(7, 2, "early"))
	l.Add(pipeline.Trace{ID: 8})
	got, err := l.Get(t.Context(), 7)
	if err != nil || notes(got) != "early 0,early 1,late" {
		t.Fatalf("got %q, %v", notes(got), err)
	}
	if e := got.Events[0]; e.Mods[0] != `add-score spf 3.0 "<&>"` || !e.Time.Equal(epoch) || e.Kind != pipeline.EventStep {
		t.Errorf("an event came back as %+v", e)
	}
	if _, err := l.Get(t.Context(), 8); !errors.Is(err, ErrNone) {
		t.Errorf("an empty trace: %v", err)
	}
	if s := l.Stats(); s.Kept != 3 || s.Dropped != 0 {
		t.Errorf("stats %+v", s)
	}
}

func TestLast(t *testing.T) {
	l := openLog(t, filepath.Join(t.TempDir(), "traces.db"), Options{})
	for _, id := range []message.ID{3, 1, 2, 3} {
		l.Add(story(id, 1, id.String()))
	}
	for n, want := range map[int]int{-1: 0, 0: 0, 2: 2, 10: 3, MaxLast * 2: 3} {
		got, err := l.Last(t.Context(), n)
		if err != nil || len(got) != want {
			t.Errorf("Last(%d): %d traces, %v", n, len(got), err)
		}
	}
	got, err := l.Last(t.Context(), 2)
	if err != nil || got[0].ID != 3 || len(got[0].Events) != 2 || got[1].ID != 2 {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestReopen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "traces.db")
	l := openLog(t, path, Options{})
	l.Add(story(5, 3, "kept"))
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l.Add(story(6, 1, "late"))
	if _, err := l.Get(t.Context(), 5); !errors.Is(err, ErrClosed) {
		t.Errorf("closed: %v", err)
	}
	if c, cancel := l.Subscribe(); true {
		defer cancel()
		if _, ok := <-c; ok {
			t.Error("a subscription to a closed log lives")
		}
	}
	l = openLog(t, path, Options{})
	if got, err := l.Get(t.Context(), 5); err != nil || len(got.Events) != 3 {
		t.Errorf("got %v, %v", got, err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

func TestFullQueueDrops(t *testing.T) {
	l := openLog(t, filepath.Join(t.TempDir(), "traces.db"), Options{Queue: 10})
	release := make(chan struct{})
	asked := make(chan struct{})
	done := make(chan error)
	go func() {
		done <- l.ask(context.Background(), func(*file) error {
			close(asked)
			<-release
			return nil
		})
	}()
	<-asked
	for id := range message.ID(7) {
		l.Add(story(id+1, 3, "x"))
	}
	if s := l.Stats(); s.Dropped != 4 {
		t.Errorf("%d dropped while the writer is busy, want 4", s.Dropped)
	}
	close(release)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if got, err := l.Last(t.Context(), 10); err != nil || len(got) != 3 {
		t.Errorf("%d kept, %v", len(got), err)
	}
}

func TestSubscribe(t *testing.T) {
	l := openLog(t, filepath.Join(t.TempDir(), "traces.db"), Options{})
	c, cancel := l.Subscribe()
	slow, stop := l.Subscribe()
	defer stop()
	for id := range message.ID(subscriberBuffer + 50) {
		l.Add(story(id+1, 1, "x"))
		if got := <-c; got.ID != id+1 {
			t.Fatalf("got %v, want %v", got.ID, id+1)
		}
	}
	cancel()
	cancel()
	if _, ok := <-c; ok {
		t.Error("the channel is open after cancel")
	}
	if len(slow) != subscriberBuffer {
		t.Errorf("the slow one holds %d", len(slow))
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	n := 0
	for range slow {
		n++
	}
	if n != subscriberBuffer {
		t.Errorf("the slow one got %d", n)
	}
}

func TestSizeIsBounded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "traces.db")
	const limit = 1 << 20
	l := openLog(t, path, Options{MaxSize: limit})
	const count = 4000
	for id := range message.ID(count) {
		l.Add(story(id+1, 5, "some words that take room"))
		if id%200 == 0 {
			if _, err := l.Get(t.Context(), id+1); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err := l.Get(t.Context(), count); err != nil {
		t.Errorf("the newest is gone: %v", err)
	}
	if _, err := l.Get(t.Context(), 1); !errors.Is(err, ErrNone) {
		t.Errorf("the oldest: %v", err)
	}
	got, err := l.Last(t.Context(), MaxLast)
	if err != nil || len(got) < 200 {
		t.Errorf("only %d are left, %v", len(got), err)
	}
	if info, err := os.Stat(path); err != nil || info.Size() > limit*3/2 {
		t.Errorf("the file has %d octets", info.Size())
	}
}

func TestOneIDIsBounded(t *testing.T) {
	f, err := openFile(filepath.Join(t.TempDir(), "traces.db"), DefaultMaxSize, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer f.close()
	for range 40 {
		if err := f.write([]pipeline.Trace{story(1, 400, "x")}); err != nil {
			t.Fatal(err)
		}
	}
	n, err := f.number("SELECT octet_length(events) FROM trace")
	if err != nil || n < maxTrace || n > maxTrace+100<<10 {
		t.Errorf("%d octets, %v", n, err)
	}
}

func TestDamagedFiles(t *testing.T) {
	for name, spoil := range map[string]func(t *testing.T, path string){
		"no database": func(t *testing.T, path string) { write(t, path, []byte(strings.Repeat("no database\n", 100))) },
		"other version": func(t *testing.T, path string) {
			f, err := openFile(path, DefaultMaxSize, slog.New(slog.DiscardHandler))
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(f.run("PRAGMA user_version=77"), f.close()); err != nil {
				t.Fatal(err)
			}
		},
		"overwritten": func(t *testing.T, path string) {
			f, err := openFile(path, DefaultMaxSize, slog.New(slog.DiscardHandler))
			if err != nil {
				t.Fatal(err)
			}
			for id := range message.ID(200) {
				if err := f.write([]pipeline.Trace{story(id+1, 20, "x")}); err != nil {
					t.Fatal(err)
				}
			}
			if err := f.close(); err != nil {
				t.Fatal(err)
			}
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			copy(b[4096:], bytes.Repeat([]byte{0xa5}, len(b)-4096))
			write(t, path, b)
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "traces.db")
			spoil(t, path)
			l := openLog(t, path, Options{})
			l.Add(story(100, 1, "new"))
			got, err := l.Get(t.Context(), 100)
			if err != nil || notes(got) != "new 0" {
				t.Errorf("got %v, %v", got, err)
			}
			if _, err := os.Stat(path + ".damaged"); err != nil {
				t.Error(err)
			}
			if s := l.Stats(); s.Dropped != 0 || s.Kept != 1 {
				t.Errorf("stats %+v", s)
			}
		})
	}
}

func write(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestUnusablePath(t *testing.T) {
	if l, err := Open(filepath.Join(t.TempDir(), "missing", "traces.db"), Options{}); err == nil {
		l.Close()
		t.Error("opened a file in a directory that does not exist")
	}
}

func TestLostWritesAreCounted(t *testing.T) {
	var log bytes.Buffer
	l := openLog(t, filepath.Join(t.TempDir(), "traces.db"), Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err := l.ask(t.Context(), func(f *file) error { return f.run("PRAGMA query_only=ON") }); err != nil {
		t.Fatal(err)
	}
	for id := range message.ID(3) {
		l.Add(story(id+1, 1, "x"))
		if _, err := l.Last(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
	}
	if s := l.Stats(); s.Dropped != 3 || s.Kept != 0 {
		t.Errorf("stats %+v", s)
	}
	if err := l.ask(t.Context(), func(f *file) error { return f.run("PRAGMA query_only=OFF") }); err != nil {
		t.Fatal(err)
	}
	l.Add(story(9, 1, "x"))
	if _, err := l.Get(t.Context(), 9); err != nil {
		t.Errorf("it did not recover: %v", err)
	}
	if n := strings.Count(log.String(), "are being lost"); n != 1 {
		t.Errorf("complained %d times:\n%s", n, log.String())
	}
}

func TestManyWriters(t *testing.T) {
	l := openLog(t, filepath.Join(t.TempDir(), "traces.db"), Options{})
	const writers, each = 8, 200
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				l.Add(story(message.ID(w*each+i/2+1), 2, "x"))
				if i%50 == 0 {
					if _, err := l.Last(t.Context(), 5); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
	got, err := l.Last(t.Context(), MaxLast)
	if err != nil || len(got) != writers*each/2 {
		t.Fatalf("%d traces, %v", len(got), err)
	}
	for _, tr := range got {
		if len(tr.Events) != 4 {
			t.Fatalf("%s has %d events", tr.ID, len(tr.Events))
		}
	}
}

func TestDecodeLeavesGarbageOut(t *testing.T) {
	got := decode("{\"note\":\"a\"}\nnonsense\n\n{\"note\":\"b\"}")
	if len(got) != 2 || got[1].Note != "b" {
		t.Errorf("got %+v", got)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add("{\"note\":\"a\"}\n{}\n")
	f.Add("[]")
	f.Fuzz(func(_ *testing.T, text string) { decode(text) })
}

// BenchmarkAdd is what the delivery path pays.
func BenchmarkAdd(b *testing.B) {
	l := openLog(b, filepath.Join(b.TempDir(), "traces.db"), Options{})
	tr := story(1, 12, "words")
	b.ReportAllocs()
	for b.Loop() {
		l.Add(tr)
	}
}

// BenchmarkWrite is what the writer spends on one message's trace.
func BenchmarkWrite(b *testing.B) {
	f, err := openFile(filepath.Join(b.TempDir(), "traces.db"), 16<<20, slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	defer f.close()
	id := message.ID(0)
	batch := make([]pipeline.Trace, 50)
	for i := range batch {
		batch[i] = story(0, 12, "words")
	}
	b.ReportAllocs()
	for b.Loop() {
		for i := range batch {
			id++
			batch[i].ID = id
		}
		if err := f.write(batch); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*len(batch)), "us/trace")
}
