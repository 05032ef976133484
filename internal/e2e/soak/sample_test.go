//go:build e2e

package soak

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"mtad/internal/mtatest"
)

// A gauge is something of the server that must not grow: the line through its
// samples may rise by a part of its mean, and by a constant, from the first
// tenth of the time to the end. The short form is all warming up; it only has to
// find what grows with each message.
type gauge struct {
	name         string
	part         float64
	constant     float64
	shortPart    float64
	shortCons    float64
	read         func(v *vitals) float64
	showDecimals int
}

var gauges = []gauge{
	{"RSS MiB", 0.15, 8, 1, 64, func(v *vitals) float64 { return mib(v.status["VmRSS"]) }, 1},
	{"PSS MiB", 0.15, 8, 1, 64, func(v *vitals) float64 { return mib(v.rollup["Pss"]) }, 1},
	{"anon MiB", 0.15, 8, 1, 64, func(v *vitals) float64 { return mib(v.rollup["Anonymous"]) }, 1},
	// Where the next collection begins: four times what was alive at the last one.
	{"heap goal MiB", 0.15, 8, 1, 64, func(v *vitals) float64 { return v.metrics["go_memstats_next_gc_bytes"] / (1 << 20) }, 1},
	{"goroutines", 0.03, 3, 0.3, 20, func(v *vitals) float64 { return v.metrics["go_goroutines"] }, 0},
	{"descriptors", 0.03, 3, 0.3, 20, func(v *vitals) float64 { return v.descriptors }, 0},
	// The Go runtime never ends a thread: what was once needed at a time stays.
	{"threads", 0.1, 3, 0.5, 10, func(v *vitals) float64 { return v.status["Threads"] }, 0},
	{"children", 0, 0.5, 0, 3, func(v *vitals) float64 { return v.children }, 0},
	{"spool files", 0, 0.5, 0, 0.5, func(v *vitals) float64 { return v.spool }, 0},
	{"disk MiB", 0.25, 256, 1, 512, func(v *vitals) float64 { return v.disk }, 0},
}

func mib(kib float64) float64 { return kib / 1024 }

// vitals are what a look at the server gives.
type vitals struct {
	accepted        int
	status, rollup  map[string]float64 // of /proc, in KiB where it says kB
	metrics         map[string]float64 // of the server; those with labels are summed
	descriptors     float64
	children, spool float64
	disk            float64 // MiB that database and journal take; the traces' file grows to its bound
}

var (
	procLine   = regexp.MustCompile(`(?m)^(\w+):\s+(\d+)`)
	metricLine = regexp.MustCompile(`(?m)^(\w+)(?:\{.*\})? ([0-9.e+-]+)$`)
)

// look reads everything there is to know of the server.
func (w *world) look() (*vitals, error) {
	proc := fmt.Sprintf("/proc/%d/", w.proc.Cmd.Process.Pid)
	v := &vitals{accepted: w.mail.messages()}
	var errs [6]error
	v.status, errs[0] = figures(proc+"status", procLine)
	v.rollup, errs[1] = figures(proc+"smaps_rollup", procLine)
	var page string
	page, errs[2] = fetch("http://" + mtatest.Local(w.HTTP) + "/metrics")
	v.metrics = sums(page, metricLine)
	fds, err := os.ReadDir(proc + "fd")
	v.descriptors, errs[3] = float64(len(fds)), err
	tasks, err := filepath.Glob(proc + "task/*/children")
	for _, f := range tasks {
		b, _ := os.ReadFile(f) // the thread may be gone
		v.children += float64(len(strings.Fields(string(b))))
	}
	errs[4] = err
	spool, err := os.ReadDir(filepath.Join(w.dir, "data", "spool"))
	v.spool, errs[5] = float64(len(spool)), err
	for _, f := range fds { // a spool file has no name once it is open
		to, _ := os.Readlink(proc + "fd/" + f.Name())
		if strings.Contains(to, "spool-") {
			v.spool++
		}
	}
	v.disk = mib(usage(filepath.Join(w.dir, "data", "store")))
	return v, errors.Join(errs[:]...)
}

func figures(path string, line *regexp.Regexp) (map[string]float64, error) {
	b, err := os.ReadFile(path)
	return sums(string(b), line), err
}

func sums(text string, line *regexp.Regexp) map[string]float64 {
	out := map[string]float64{}
	for _, m := range line.FindAllStringSubmatch(text, -1) {
		f, _ := strconv.ParseFloat(m[2], 64) // digits
		out[m[1]] += f
	}
	return out
}

func fetch(url string) (string, error) {
	c := http.Client{Timeout: 20 * time.Second}
	defer c.CloseIdleConnections()
	resp, err := c.Get(url)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return string(b), err
}

// quiet has the clients end their turns, waits until the server has nothing to
// do, and takes the lowest value of each gauge within some time: connections to
// the next hop are kept for seconds.
func (w *world) quiet(window time.Duration) (*sample, error) {
	w.gate.Lock()
	defer w.gate.Unlock()
	var s *sample
	for end := time.Now().Add(window); ; {
		v, err := w.look()
		if err != nil {
			return nil, err
		}
		idle := v.metrics["mtad_connections"] == 0 && v.metrics["mtad_journal_outstanding_records"] == 0
		if !idle && time.Now().Before(end.Add(quietLimit)) {
			end = time.Now().Add(window)
		} else {
			s = s.lower(v)
		}
		if time.Now().After(end) {
			if !idle {
				w.mail.fault("%s after the last client left there are %v connections", quietLimit, v.metrics["mtad_connections"])
			}
			return s, nil
		}
		time.Sleep(100 * time.Millisecond) // nobody tells us
	}
}

// quietLimit is how long connections and work may last beyond their clients.
const quietLimit = 20 * time.Second

// sample is the lowest value of each gauge at a quiet time.
type sample struct {
	at       time.Duration
	accepted int
	queue    float64
	values   []float64
}

func (s *sample) lower(v *vitals) *sample {
	first := s == nil
	if first {
		s = &sample{values: make([]float64, len(gauges))}
	}
	s.accepted, s.queue = v.accepted, v.metrics["mtad_queue_items"]
	for i, g := range gauges {
		if x := g.read(v); first || x < s.values[i] {
			s.values[i] = x
		}
	}
	return s
}

// table prints samples.
func table(samples []*sample) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%8s %9s %6s", "time", "accepted", "queue")
	for _, g := range gauges {
		fmt.Fprintf(&b, " %*s", len(g.name)+1, g.name)
	}
	for _, s := range samples {
		fmt.Fprintf(&b, "\n%8s %9d %6.0f", s.at.Round(time.Second), s.accepted, s.queue)
		for i, g := range gauges {
			fmt.Fprintf(&b, " %*.*f", len(g.name)+1, g.showDecimals, s.values[i])
		}
	}
	return b.String()
}

// judge says how each gauge went from the end of the first tenth to the end. In
// the long form a point of the line is the lowest of three samples in a row: a
// collection of garbage that finds a big message, or a password being checked,
// makes one sample twice as high, and means nothing.
func judge(t *testing.T, samples []*sample) string {
	var b strings.Builder
	warm := samples[(len(samples)+9)/10:]
	for i, g := range gauges {
		var xs, ys []float64
		for k, s := range warm {
			y := s.values[i]
			if longForm() {
				for _, next := range warm[k+1 : min(k+3, len(warm))] {
					y = min(y, next.values[i])
				}
			}
			xs, ys = append(xs, s.at.Seconds()), append(ys, y)
		}
		first, last := line(xs, ys)
		part, constant := g.part, g.constant
		if !longForm() {
			part, constant = g.shortPart, g.shortCons
		}
		allowed := part*(first+last)/2 + constant
		fmt.Fprintf(&b, "%-14s %8.1f to %8.1f, rise %7.1f of %.1f allowed\n", g.name, first, last, last-first, allowed)
		if last-first > allowed {
			t.Errorf("%s rose from %.1f to %.1f, by more than %.1f", g.name, first, last, allowed)
		}
	}
	return b.String()
}

// line fits a straight line by least squares and returns its values at the first
// and the last x.
func line(xs, ys []float64) (first, last float64) {
	n := float64(len(xs))
	var sx, sy, sxx, sxy float64
	for i, x := range xs {
		sx, sy, sxx, sxy = sx+x, sy+ys[i], sxx+x*x, sxy+x*ys[i]
	}
	slope := 0.0
	if d := n*sxx - sx*sx; d > 0 {
		slope = (n*sxy - sx*sy) / d
	}
	at := func(x float64) float64 { return sy/n + slope*(x-sx/n) }
	return at(xs[0]), at(xs[len(xs)-1])
}

func TestLine(t *testing.T) {
	first, last := line([]float64{1, 2, 3, 4}, []float64{10, 14, 10, 14})
	if first < 10.79 || first > 10.81 || last < 13.19 || last > 13.21 {
		t.Errorf("from %v to %v, want 10.8 to 13.2", first, last)
	}
}
