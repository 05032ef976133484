//go:build e2e

package soak

import (
	"cmp"
	"flag"
	"io/fs"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"mtad/internal/mtatest"
)

var lasts = flag.Duration("soak", 0, "how long the load lasts: 0 is 30 minutes with MTAD_LONG, else a quarter of one")

// longForm reports whether there is time to see more than the warming up.
func longForm() bool { return mtatest.Long() || *lasts >= time.Minute }

// plan is how long what is done.
type plan struct {
	whole  time.Duration
	every  time.Duration // between samples
	window time.Duration // of a sample
	stop   time.Duration // between two stops of the milter
	asleep time.Duration // how long it is stopped
}

func thePlan() plan {
	if longForm() {
		whole := cmp.Or(*lasts, 30*time.Minute)
		return plan{whole, whole / 40, 6 * time.Second, 25 * time.Second, 4 * time.Second}
	}
	return plan{15 * time.Second, 2 * time.Second, 300 * time.Millisecond, 4 * time.Second, 1500 * time.Millisecond}
}

func TestSoak(t *testing.T) {
	t.Parallel()
	p, w := thePlan(), newWorld(t)
	begin := time.Now()
	work := w.load()
	work.Go(func() { w.reload(begin.Add(3*p.whole/10), begin.Add(p.whole/2)) })
	work.Go(func() { w.stopMilter(p) })
	samples := w.watch(begin, p)
	close(w.done)
	work.Wait()
	w.settle()
	last, err := w.quiet(p.window)
	mtatest.Check(t, err)
	last.at = time.Since(begin)
	samples = append(samples, last)
	t.Logf("%s\n%s", w.mail.summary(), table(samples))
	t.Log(judge(t, samples))
	for i, f := range w.mail.faults() {
		if i == 50 {
			t.Error("and more")
			break
		}
		t.Error(f)
	}
	w.end()
}

// watch takes samples until the time is over.
func (w *world) watch(begin time.Time, p plan) (samples []*sample) {
	w.t.Helper()
	for time.Since(begin) < p.whole {
		w.pause(p.every)
		s, err := w.quiet(p.window)
		mtatest.Check(w.t, err)
		s.at = time.Since(begin)
		samples = append(samples, s)
		if longForm() && len(samples)%5 == 0 {
			w.t.Logf("so far: %s\n%s", w.mail.summary(), table(samples[len(samples)-5:]))
		}
	}
	return samples
}

// reload puts another configuration in force every second for some time.
func (w *world) reload(from, to time.Time) {
	if !w.pause(time.Until(from)) {
		return
	}
	for n := 0; w.pause(time.Second) && time.Now().Before(to); n++ {
		text := w.config
		if n%2 == 0 {
			text = strings.Replace(text, "junk   = 6", "junk   = 7", 1)
		}
		w.gate.RLock()
		w.put("mtad.hcl", text)
		if out, code := w.try("reload"); code != 0 {
			w.mail.fault("reload: exit %d\n%s", code, out)
		}
		w.gate.RUnlock()
		w.mail.count("reload")
	}
}

// stopMilter has the milter sleep now and then.
func (w *world) stopMilter(p plan) {
	for w.pause(p.stop) {
		w.gate.RLock()
		w.milter.Signal(syscall.SIGSTOP)
		w.pause(p.asleep)
		w.milter.Signal(syscall.SIGCONT)
		w.gate.RUnlock()
		w.mail.count("milter stopped")
	}
}

// settle waits until all that was accepted is where it belongs.
func (w *world) settle() {
	w.t.Helper()
	readers := clients()
	for end := time.Now().Add(3 * time.Minute); w.mail.missing() > 0 && time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		w.try("queue", "retry")
		for _, c := range readers {
			if !strings.HasPrefix(c.name, "reader") && c.name != "other host" {
				continue
			}
			if err := c.turn(w, 0); err != nil {
				w.mail.fault("%s: %v", c.name, err)
			}
		}
	}
	if out := w.do("queue", "list", "-o", "ndjson"); strings.TrimSpace(out) != "" {
		w.t.Errorf("the queue is not empty:\n%.2000s", out)
	}
}

// end checks the store, stops the server and reads its log.
func (w *world) end() {
	w.t.Helper()
	if out := w.do("db", "check"); !strings.Contains(out, "all is well") {
		w.t.Errorf("db check:\n%s", out)
	}
	w.do("stop")
	select {
	case <-w.proc.Exited:
		if code := w.proc.Cmd.ProcessState.ExitCode(); code != 0 {
			w.t.Errorf("mtad ended with %d", code)
		}
	case <-time.After(stopLimit):
		w.t.Error("mtad does not stop")
	}
	if out := w.do("db", "check"); !strings.Contains(out, "all is well") {
		w.t.Errorf("db check of a stopped server:\n%s", out)
	}
	w.readLog()
}

// explained are the warnings that the load explains.
var explained = regexp.MustCompile(`msg="filter (fault|end)" .*step=stopper|msg="login failed" .*login=mallory`)

func (w *world) readLog() {
	w.t.Helper()
	bad, told := 0, map[string]int{}
	for _, l := range strings.Split(w.proc.Out.String(), "\n") {
		_, level, ok := strings.Cut(l, "level=")
		if !ok {
			continue // dev mode's welcome
		}
		level, _, _ = strings.Cut(level, " ")
		told[level]++
		if level == "INFO" || level == "DEBUG" || level == "WARN" && explained.MatchString(l) {
			continue
		}
		if bad++; bad <= 20 {
			w.t.Errorf("in the log: %.500s", l)
		}
	}
	w.t.Logf("lines of the log: %v, not explained: %d", told, bad)
}

// usage is what the files of a directory take on the disk, in KiB.
func usage(dir string) (kib float64) {
	filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return nil //nolint:nilerr // a file may be gone by now
		}
		if info, err := d.Info(); err == nil {
			kib += float64(info.Sys().(*syscall.Stat_t).Blocks) / 2
		}
		return nil
	})
	return kib
}
