package trace

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"mtad/message"
	"mtad/pipeline"
)

// Each reads everything of which something may have happened since, page by page,
// and what comes meanwhile is written.
func TestEach(t *testing.T) {
	l := openLog(t, filepath.Join(t.TempDir(), "traces.db"), Options{})
	since := epoch
	old, never := message.NewID(epoch.Add(-48*time.Hour)), message.NewID(epoch.Add(-47*time.Hour))
	stale := story(never, 1, "stale")
	stale.Events[0].Time = epoch.Add(-time.Hour)
	first := story(old, 1, "old")
	first.Events[0].Time = epoch.Add(-time.Hour)
	for _, tr := range []pipeline.Trace{first, story(old, 1, "late"), stale} {
		l.Add(tr)
		if _, err := l.Last(t.Context(), 1); err != nil { // each by itself
			t.Fatal(err)
		}
	}
	want := []message.ID{old}
	for range 3 * pageRows {
		id := message.NewID(epoch.Add(time.Minute))
		want = append(want, id)
		l.Add(story(id, 2, "x"))
	}
	slices.Sort(want)
	var got []message.ID
	err := l.Each(t.Context(), since, func(tr pipeline.Trace) error {
		if len(got) == 0 {
			l.Add(story(message.NewID(epoch), 1, "meanwhile"))
			if _, err := l.Last(t.Context(), 1); err != nil {
				t.Error(err)
			}
			if notes(tr) != "old 0,late 0" {
				t.Errorf("first %s", notes(tr))
			}
		}
		if notes(tr) != "meanwhile 0" {
			got = append(got, tr.ID)
		}
		return nil
	})
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%d traces, want %d, %v", len(got), len(want), err)
	}
	stop := errors.New("enough")
	if err := l.Each(t.Context(), since, func(pipeline.Trace) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("stopped by %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := l.Each(ctx, since, func(pipeline.Trace) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestFull(t *testing.T) {
	l := openLog(t, filepath.Join(t.TempDir(), "traces.db"), Options{MaxSize: 1 << 20})
	if full, err := l.Full(t.Context()); full || err != nil {
		t.Errorf("an empty file: %v, %v", full, err)
	}
	for range 4000 {
		l.Add(story(message.NewID(epoch), 5, "some words that take room"))
	}
	if full, err := l.Full(t.Context()); !full || err != nil {
		t.Errorf("a full file: %v, %v", full, err)
	}
}

// BenchmarkEach is what counting a trace costs, but for the counting.
func BenchmarkEach(b *testing.B) {
	l := openLog(b, filepath.Join(b.TempDir(), "traces.db"), Options{})
	for range 1000 {
		l.Add(story(message.NewID(epoch), 12, "words"))
	}
	for b.Loop() {
		n := 0
		if err := l.Each(context.Background(), epoch, func(pipeline.Trace) error { n++; return nil }); err != nil || n != 1000 {
			b.Fatal(n, err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*1000), "us/trace")
}
