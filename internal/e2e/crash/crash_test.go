//go:build e2e

package crash

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"mtad/internal/crash"
	"mtad/internal/mtatest"
)

var kills = flag.Int("kills", 9, "how often the server is killed, in turn at each point and at any moment")

// Ways to kill beside the points of internal/crash.
const (
	anyMoment  = "any moment"
	checkpoint = "checkpoint"
)

// Time limits.
const (
	startLimit = 10 * time.Second // until the server serves again
	pointLimit = 60 * time.Second // until a point is reached under load
)

func kinds() []string { return append(crash.Points(), checkpoint, anyMoment) }

// variable is crash.Variable, which this test is built without.
const variable = "MTAD_CRASH_POINT"

// tally is what the report tells of one kind.
type tally struct {
	kills    int
	accepted int           // messages answered 250 before the kill
	replayed int           // of them those that the next start acted on
	slowest  time.Duration // start afterwards
}

func TestCrash(t *testing.T) {
	w := newWorld(t)
	for i, tries := 0, 0; i < *kills; tries++ {
		if tries == 2**kills {
			t.Fatal("too many kills come after their checkpoint")
		}
		want := kinds()[i%len(kinds())]
		got := w.kill(want)
		t.Logf("kill %d: %s; %d messages accepted", tries+1, got, w.mail.count())
		if t.Failed() {
			t.Fatalf("kill %d, %s", tries+1, got)
		}
		if got == want {
			i++
		}
	}
	w.finish()
	w.report()
}

// kill has the server die once, and looks at what is left. It returns how it
// died: a checkpoint may have been over by then.
func (w *world) kill(kind string) string {
	w.t.Helper()
	n := 1 + rand.IntN(100)
	switch kind {
	case crash.Copied:
		w.fillSegment()
		n = 1 + rand.IntN(liveRecords)
	case crash.Moved:
		w.fillSegment()
		n = 1
	}
	w.proc.Kill() // it was only looked at
	before := w.mail.count()
	w.start(order(kind, n))
	stop := w.load()
	kind = w.await(kind)
	stop()
	sum := w.tallies[kind]
	sum.kills++
	sum.accepted += w.mail.count() - before
	w.checkCopy()

	began := time.Now()
	w.start("")
	w.serving()
	sum.slowest = max(sum.slowest, time.Since(began))
	sum.replayed += w.replayed()
	w.read(false)
	return kind
}

// order is what the server is told: the n-th passage of a point.
func order(kind string, n int) string {
	switch kind {
	case anyMoment, checkpoint:
		return ""
	case crash.Accepted:
		return fmt.Sprintf("%s %d 20ms", kind, n) // for the reply to be sent
	}
	return fmt.Sprintf("%s %d 0s", kind, n)
}

// await waits for the death of the server, or brings it about, and returns how it
// died.
func (w *world) await(kind string) string {
	w.t.Helper()
	switch kind {
	case anyMoment:
		w.serving()
		time.Sleep(time.Duration(rand.IntN(500)) * time.Millisecond)
		w.proc.Kill()
		return anyMoment
	case checkpoint:
		if !w.killInCheckpoint(1 + rand.IntN(2)) {
			return anyMoment
		}
		return checkpoint
	}
	select {
	case <-w.proc.Exited:
		if !strings.Contains(w.proc.Out.String(), "crash: at "+kind+"\n") {
			w.t.Fatalf("mtad ended by itself:\n%s", w.proc.Out)
		}
	case <-time.After(pointLimit):
		w.proc.Signal(syscall.SIGQUIT) // says what every goroutine does instead
		<-w.proc.Exited
		w.t.Fatalf("point %s is not reached under load", kind)
	}
	return kind
}

// report prints the table that docs/promises.md takes its figures from.
func (w *world) report() {
	total, b := tally{}, &strings.Builder{}
	row := func(name string, t *tally) {
		fmt.Fprintf(b, "%-12s %5d %8d %8d %9s\n", name, t.kills, t.accepted, t.replayed, t.slowest.Round(time.Millisecond))
	}
	fmt.Fprintf(b, "%-12s %5s %8s %8s %9s\n", "point", "kills", "accepted", "replayed", "slowest")
	for _, k := range kinds() {
		s := w.tallies[k]
		row(k, s)
		total.kills += s.kills
		total.accepted += s.accepted
		total.replayed += s.replayed
		total.slowest = max(total.slowest, s.slowest)
	}
	row("all", &total)
	w.t.Logf("\n%s\n%s", b, w.mail.summary())
}

// The program that is released has no crash points and no checks of invariants.
func TestNoPoints(t *testing.T) {
	for name, tags := range map[string][]string{"released": nil, "with points": {"crashpoints"}, "with checks": {"invariants"}} {
		path := filepath.Join(t.TempDir(), "mtad")
		mtatest.Check(t, mtatest.Build(root, path, "./cmd/mtad", tags...))
		b, err := os.ReadFile(path)
		mtatest.Check(t, err)
		if has := strings.Contains(string(b), variable); has != slices.Contains(tags, "crashpoints") {
			t.Errorf("%s: %s in the program: %v", name, variable, has)
		}
		if has := strings.Contains(string(b), "is tried twice at once"); has != slices.Contains(tags, "invariants") {
			t.Errorf("%s: checks in the program: %v", name, has)
		}
	}
}
