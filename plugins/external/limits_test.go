package external

import (
	"context"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"mtad/internal/mtatest"
	"mtad/pipeline"
)

// A program over a limit is killed, which its log says; the message that it had
// has the fate of the step's on_error, and its successor serves the next.
func TestLimits(t *testing.T) {
	for subject, c := range map[string]struct{ options, why string }{
		"grow": {"memory = 64 * MB", "of memory, and memory = 64 * MB is its limit"},
		"spin": {`cpu_time = "1s"`, "it computed for"},
	} {
		t.Run(subject, func(t *testing.T) {
			p, err := start(t, fmt.Sprintf("path = %q\n%s", build(t, "./testdata/odd"), c.options))
			if err != nil {
				t.Fatal(err)
			}
			p.Steps()[0].Timeout = 30 * time.Second // not what ends it
			proc := procOf(p)
			first, _ := proc.running(context.Background())
			f := p.Open(pipeline.Client{})
			defer f.Close()
			if fate, _, _ := send(t, f, subject, ""); fate.Action != pipeline.TempFail {
				t.Fatalf("%s: %v", subject, fate)
			}
			awaitNext(t, proc, first)
			if fate, _, _ := send(t, f, "nothing", ""); fate.Action != pipeline.Continue {
				t.Errorf("after the restart: %v", fate)
			}
			log := fmt.Sprint(proc.lines.all())
			if !strings.Contains(log, c.why) && !(subject == "spin" && strings.Contains(log, "SIGXCPU")) {
				t.Errorf("%q is not in the log: %s", c.why, log)
			}
			if _, err := os.Stat(first.dir); err == nil {
				t.Errorf("%s is left", first.dir)
			}
		})
	}
}

// What a program may do: gain no privileges, read nothing of mtad's standard
// input, have 64 files, and a folder for its socket that is its user's alone.
func TestConfined(t *testing.T) {
	for _, mtls := range []bool{true, false} {
		p, err := start(t, fmt.Sprintf("path = %q\nopen_files = 64\nmtls = %v", build(t, "./testdata/odd"), mtls))
		if err != nil {
			t.Fatal(err)
		}
		f := p.Open(pipeline.Client{})
		defer f.Close()
		_, v, trace := send(t, f, "limits", "")
		got, _ := v.Message().Header().Get("X-Limits")
		if want := "privs 1 stdin /dev/null dir 700 files true"; strings.TrimSpace(got) != want {
			t.Errorf("mtls %v: %q, want %q: %v", mtls, got, want, trace.Events)
		}
	}
}

// A restart begins a run beside the old one, whose sessions lose nothing: they
// come over after their transaction, and then the old run ends.
func TestRestart(t *testing.T) {
	p, err := start(t, fmt.Sprintf("path = %q", build(t, "./testdata/odd")))
	if err != nil {
		t.Fatal(err)
	}
	f := p.Open(pipeline.Client{})
	defer f.Close()
	proc := procOf(p)
	send(t, f, "nothing", "")
	first := proc.live.Load()
	mtatest.Check(t, proc.restart(t.Context()))
	next := proc.live.Load()
	if next == first || first.exited() {
		t.Fatal("the old run did not stay for its session")
	}
	mtatest.Eventually(t, "the old run retires", 10*time.Second, first.replaced)
	for range 2 {
		if fate, _, _ := send(t, f, "nothing", ""); fate.Action != pipeline.Continue {
			t.Fatalf("across a restart: %v", fate)
		}
	}
	mtatest.Eventually(t, "the old run ends", 20*time.Second, first.exited)
}

// A program that stopped answering is killed by its health.
func TestHealth(t *testing.T) {
	p, err := start(t, fmt.Sprintf("path = %q", build(t, "./testdata/odd")))
	if err != nil {
		t.Fatal(err)
	}
	proc := procOf(p)
	r := proc.live.Load()
	r.health(10*time.Second, nil)
	if r.silent.Load() != 0 {
		t.Error("a well program is silent")
	}
	mtatest.Check(t, r.child.cmd.Process.Signal(syscall.SIGSTOP))
	mtatest.Eventually(t, "the program stands still", 20*time.Second, func() bool { // it may answer for a moment yet
		r.health(10*time.Millisecond, nil)
		return r.silent.Load() >= maxSilent
	})
	awaitNext(t, proc, r)
	if log := fmt.Sprint(proc.lines.all()); !strings.Contains(log, "did not say that it is well") {
		t.Error(log)
	}
}

// A program that stands still holds up nobody's end.
func TestEndOfWhatStandsStill(t *testing.T) {
	p, err := start(t, fmt.Sprintf("path = %q", build(t, "./testdata/odd")))
	if err != nil {
		t.Fatal(err)
	}
	mtatest.Check(t, procOf(p).live.Load().child.cmd.Process.Signal(syscall.SIGSTOP))
	closed := make(chan error, 1)
	go func() { closed <- p.Close() }()
	select {
	case err := <-closed:
		mtatest.Check(t, err)
	case <-time.After(time.Minute):
		t.Fatal("it is waited for")
	}
}

// A program of the first version of the protocol, built with the SDK as it was,
// serves: it is held to what that version says, and not to what it can not know.
func TestFirstProtocol(t *testing.T) {
	p, err := start(t, fmt.Sprintf("path = %q\nconfig = { color = \"red\" }", build(t, "./testdata/first")))
	if err != nil {
		t.Fatal(err)
	}
	if m := procOf(p).manifest.Load(); m.protocol != 1 || m.pure {
		t.Errorf("manifest %+v", m)
	}
	f := p.Open(pipeline.Client{})
	defer f.Close()
	for subject, want := range map[string]string{
		"reject": "reject 554 5.7.9 not today", "undeclared": "err undeclared edit", "count": "X-Count: ", "size": "X-Size: 21",
	} {
		fate, v, trace := send(t, f, subject, "body")
		if got := story(fate, v, trace); !strings.Contains(got, want) {
			t.Errorf("%s: %s; want %q", subject, got, want)
		}
	}
}

// What the pipeline is told: a program that does not say it is pure may do
// anything to the world, and is asked in its turn.
func TestAccess(t *testing.T) {
	for pkg, effects := range map[string]bool{"./testdata/odd": true, "./testdata/first": true, "../../examples/urlrep": false} {
		config := ""
		if !effects {
			path := t.TempDir() + "/map.json"
			mtatest.Write(t, path, "{}")
			config = fmt.Sprintf("config = { map = %q }", path)
		}
		p, err := start(t, fmt.Sprintf("path = %q\n%s", build(t, pkg), config))
		if err != nil {
			t.Fatal(err)
		}
		if _, writes := p.Steps()[0].Access(pipeline.Message); writes&pipeline.Effects != 0 != effects {
			t.Errorf("%s writes %v", pkg, writes)
		}
		if m := procOf(p).manifest.Load(); m.ends != effects { // those that may have effects have sessions, too
			t.Errorf("%s is told of ends: %v", pkg, m.ends)
		}
	}
}
