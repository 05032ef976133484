package external

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"mtad/internal/mtatest"
	"mtad/pipeline"
)

func hostile(t *testing.T, how, more string) (*pipeline.Pipeline, error) {
	t.Helper()
	return start(t, fmt.Sprintf("path = %q\nargs = [%q]\n%s", build(t, "./testdata/hostile"), how, more))
}

// What a program answers amiss is a fault of this message, and of no other: the
// program goes on.
func TestHostileAnswers(t *testing.T) {
	t.Parallel()
	for how, want := range map[string]string{
		"huge":     "larger than max",
		"edits":    "a verdict with 20000 edits",
		"half-way": "the program ended the session",
		"empty":    "neither a verdict nor a pull",
		"deaf":     "did not answer in time",
		"peek":     "the manifest does not declare that it reads body",
	} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			p, err := hostile(t, how, "memory = 1 * GB")
			mtatest.Check(t, err)
			p.Steps()[0].Timeout = 20 * time.Second
			if how == "deaf" {
				p.Steps()[0].Timeout = 100 * time.Millisecond
			}
			f := p.Open(pipeline.Client{})
			defer f.Close()
			for range 2 {
				fate, v, trace := send(t, f, "nothing", "secret")
				got := story(fate, v, trace)
				if !strings.Contains(got, want) || strings.Contains(got, `"Subject`) {
					t.Errorf("%.500s; want %q", got, want)
				}
			}
			if n := procOf(p).starts.Load(); n != 1 {
				t.Errorf("%d starts", n)
			}
		})
	}
}

// A program that answers what it was not asked, and reads nothing, holds up nobody:
// neither a question nor the news of a transaction's end.
func TestChatty(t *testing.T) {
	t.Parallel()
	p, err := hostile(t, "chatty", "")
	mtatest.Check(t, err)
	p.Steps()[0].Timeout = 200 * time.Millisecond
	f := p.Open(pipeline.Client{})
	defer f.Close()
	for range 5 {
		begun := time.Now()
		send(t, f, strings.Repeat("x", 100_000), "")
		if took := time.Since(begun); took > 5*time.Second {
			t.Errorf("a transaction took %v", took)
		}
	}
	s := &session{filter: p.Steps()[0].Filter.(*filter)}
	mtatest.Check(t, s.connect(t.Context()))
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	for ctx.Err() == nil && s.stream != nil { // until its window is full
		mtatest.Check(t, s.End(ctx, pipeline.Accepted))
	}
}

// A program that does not start says why, in few words.
func TestHostileStarts(t *testing.T) {
	t.Parallel()
	for how, want := range map[string]string{
		"exits":     "before we could connect",
		"elsewhere": `it listens at "tcp:127.0.0.1:25"`,
		"outside":   `it listens at "unix:/run/mtad.sock"`,
		"long":      "its manifest's name is no text",
		"control":   "its manifest's version is no text",
		"words":     "its manifest has 1001 stages",
		"big":       "larger than max",
		"protocol":  "it speaks protocol 2147483648",
		"error":     "its config: no no",
	} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			_, err := hostile(t, how, "")
			if err == nil || len(err.Error()) > 3000 || !strings.Contains(err.Error(), want) && how != "exits" {
				t.Errorf("%.300v; want %q", err, want)
			}
		})
	}
}

// What a program says on standard error is logged in moderation, and a line in
// moderate length.
func TestFlood(t *testing.T) {
	t.Parallel()
	p, err := hostile(t, "flood", "")
	mtatest.Check(t, err)
	p.Steps()[0].Timeout = 30 * time.Second
	f := p.Open(pipeline.Client{})
	defer f.Close()
	if fate, _, trace := send(t, f, "x", ""); fate.Action != pipeline.Continue {
		t.Fatal(fate, trace)
	}
	proc := procOf(p)
	proc.live.Load().child.kill(nil)
	var log []Line
	var text string
	for _, want := range []string{"INFO it begins", "more lines were dropped"} {
		mtatest.Eventually(t, want, 20*time.Second, func() bool {
			log = proc.lines.all()
			text = fmt.Sprint(log)
			return strings.Contains(text, want)
		})
	}
	if len(text) > 1<<20 || len(log) > 400 {
		t.Errorf("%d lines, %d octets", len(log), len(text))
	}
}

// A process that outlives the program and holds its output open does not keep it
// from being started again.
func TestOrphan(t *testing.T) {
	t.Parallel()
	p, err := hostile(t, "orphan", "")
	mtatest.Check(t, err)
	proc := procOf(p)
	first, _ := proc.running(t.Context())
	f := p.Open(pipeline.Client{})
	defer f.Close()
	send(t, f, "x", "")
	awaitNext(t, proc, first)
	pid := regexp.MustCompile(`orphan (\d+)`).FindStringSubmatch(fmt.Sprint(proc.lines.all()))
	if pid == nil {
		t.Fatalf("no orphan in %v", proc.lines.all())
	}
	n, err := strconv.Atoi(pid[1])
	mtatest.Check(t, err)
	mtatest.Check(t, syscall.Kill(n, syscall.SIGKILL)) // it is there
}

// A program that anybody can replace is not started.
func TestUnsafePath(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	bin := filepath.Join(dir, "bin")
	mtatest.Check(t, os.Mkdir(bin, 0o755))
	b, err := os.ReadFile(build(t, "./testdata/odd"))
	mtatest.Check(t, err)
	mtatest.Check(t, os.WriteFile(filepath.Join(bin, "odd"), b, 0o755))
	link := filepath.Join(dir, "link")
	mtatest.Check(t, os.Symlink("bin/odd", link))
	try := func(path, want string) {
		t.Helper()
		_, err := start(t, fmt.Sprintf("path = %q", path))
		if got := fmt.Sprint(err); !strings.Contains(got, want) {
			t.Errorf("%s: %v; want %q", path, err, want)
		}
	}
	try(link, "<nil>")
	for mode, victim := range map[os.FileMode]string{0o757: filepath.Join(bin, "odd"), 0o777: bin} {
		mtatest.Check(t, os.Chmod(victim, mode))
		try(link, "everybody may write to "+victim)
		mtatest.Check(t, os.Chmod(victim, 0o755))
	}
	mtatest.Check(t, os.Chmod(bin, 0o777|os.ModeSticky)) // like /tmp
	try(link, "<nil>")
}

// A program that was replaced under a checksum is not started again: what runs stays,
// and when that dies the step's on_error has its say, and the list the reason.
func TestUpgradeUnderChecksum(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "odd")
	b, err := os.ReadFile(build(t, "./testdata/odd"))
	mtatest.Check(t, err)
	mtatest.Check(t, os.WriteFile(path, b, 0o755))
	p, err := start(t, fmt.Sprintf("path = %q\nsha256 = %q", path, sum(b)))
	mtatest.Check(t, err)
	proc := procOf(p)
	mtatest.Check(t, os.WriteFile(path+".new", append(b, 0), 0o755))
	mtatest.Check(t, os.Rename(path+".new", path))
	if err := proc.restart(t.Context()); err == nil || !strings.Contains(err.Error(), "its checksum is") {
		t.Error(err)
	}
	f := p.Open(pipeline.Client{})
	defer f.Close()
	if fate, _, trace := send(t, f, "nothing", ""); fate.Action != pipeline.Continue {
		t.Errorf("the old one: %v %v", fate, trace)
	}
	send(t, f, "die", "")
	plugin, _ := Of(p.Steps()[0].Filter)
	mtatest.Eventually(t, "the reason", 20*time.Second, func() bool { return strings.Contains(plugin.Status().Down, "its checksum is") })
	if fate, _, _ := send(t, f, "nothing", ""); fate.Action != pipeline.TempFail {
		t.Errorf("none: %v", fate)
	}
}

// A program that ends again and again is started ever less often, until it has run
// for a while.
func TestPauses(t *testing.T) {
	t.Parallel()
	p := newProcess(settings{}, "p", nil, slog.New(slog.DiscardHandler))
	p.down = errDown
	now := time.Now()
	for _, want := range []time.Duration{firstPause, 2 * firstPause, 4 * firstPause, 8 * firstPause} {
		if p.wait(now); p.pause != want || !p.next.Equal(now.Add(want)) {
			t.Errorf("a pause of %v, want %v", p.pause, want)
		}
	}
	for range 10 {
		p.wait(now)
	}
	if p.pause != lastPause {
		t.Errorf("a pause of %v in the end, want %v", p.pause, lastPause)
	}
}
