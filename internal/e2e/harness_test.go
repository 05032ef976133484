//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"mtad/internal/mtatest"
)

// mtadPath is the program that is tested; root is the repository.
var mtadPath, root string

func TestMain(m *testing.M) { os.Exit(build(m)) }

func build(m *testing.M) int {
	dir, err := os.MkdirTemp("", "e2e")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil { // other users run it too
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if root, err = filepath.Abs("../.."); err == nil {
		mtadPath = filepath.Join(dir, "mtad")
		err = mtatest.Build(root, mtadPath, "./cmd/mtad")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// The words that every test here uses are those of mtatest.

func check(t testing.TB, err error) { t.Helper(); mtatest.Check(t, err) }

func eventually(t testing.TB, what string, limit time.Duration, ok func() bool) {
	t.Helper()
	mtatest.Eventually(t, what, limit, ok)
}

func program(t testing.TB, name string) string { t.Helper(); return mtatest.Program(t, name) }

func write(t testing.TB, path, text string) { t.Helper(); mtatest.Write(t, path, text) }

func run(t testing.TB, stdin, dir string, argv ...string) (out string, code int) {
	t.Helper()
	return mtatest.Run(t, stdin, dir, argv...)
}

func must(t testing.TB, argv ...string) string { t.Helper(); return mtatest.Must(t, argv...) }

func freePort(t testing.TB) int { t.Helper(); return mtatest.FreePort(t) }

func local(port int) string { return mtatest.Local(port) }

func read(t testing.TB, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	check(t, err)
	return string(b)
}

// lastSays waits until the newest message's story has everything that it should.
func (s *server) lastSays(want ...string) (story string) {
	s.t.Helper()
	return s.says("last", want...)
}

// says waits until the story of a message has everything that it should, and
// returns it: it is written behind the reply, and its end behind the message.
func (s *server) says(id string, want ...string) (story string) {
	s.t.Helper()
	return storyOf(s.t, s.config(), id, fmt.Sprintf("%q", want), func(story string) bool {
		return !slices.ContainsFunc(want, func(w string) bool { return !strings.Contains(story, w) })
	})
}

// storyOf waits until the story that a server has of a message is whole.
func storyOf(t testing.TB, config, id, what string, whole func(story string) bool) (story string) {
	t.Helper()
	for end := time.Now().Add(timeLimit); ; time.Sleep(20 * time.Millisecond) {
		story, _ = run(t, "", "", mtadPath, "-c", config, "trace", id) // nothing is known at first
		if whole(story) {
			return story
		}
		if time.Now().After(end) {
			t.Fatalf("the story of %s lacks %s:\n%s", id, what, story)
		}
	}
}

// mustSay checks that a text has everything that it should.
func mustSay(t testing.TB, text string, want ...string) {
	t.Helper()
	for _, w := range want {
		if !strings.Contains(text, w) {
			t.Errorf("no %q in\n%s", w, text)
		}
	}
}

// spawn starts a program of somebody else, which has not long to stop.
func spawn(t testing.TB, dir string, argv ...string) *mtatest.Process {
	t.Helper()
	return mtatest.Spawn(t, dir, 300*time.Millisecond, argv...)
}

// server is an mtad in dev mode.
type server struct {
	mtatest.Ports
	t    testing.TB
	dir  string
	proc *mtatest.Process
}

// newServer makes a directory and chooses ports. edit may change the
// configuration that dev mode would write.
func newServer(t testing.TB, edit ...func(*server, string) string) *server {
	t.Helper()
	dir, err := os.MkdirTemp("", "mtad") // short enough for a socket
	check(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	mtatest.DependOn(t, root)
	s := &server{t: t, dir: dir, Ports: mtatest.DevPorts(t)}
	if len(edit) == 0 {
		return s
	}
	text := mtatest.DevConfig(t, root, s.Ports)
	for _, f := range edit {
		text = f(s, text)
	}
	write(t, s.config(), text)
	return s
}

// start starts dev mode and waits until it serves.
func start(t testing.TB, edit ...func(*server, string) string) *server {
	t.Helper()
	s := newServer(t, edit...)
	s.start()
	return s
}

func (s *server) start() {
	s.t.Helper()
	s.startWith(mtadPath)
}

// startWith starts it by a command that is put before the arguments.
func (s *server) startWith(program ...string) {
	s.t.Helper()
	s.startWaiting(func() bool { return strings.Contains(s.proc.Out.String(), "serving config=") }, program...)
}

// startWaiting starts it where its log does not come here; ready says that it serves.
func (s *server) startWaiting(ready func() bool, program ...string) {
	s.t.Helper()
	p := mtatest.Spawn(s.t, "", stopLimit, append(program, "serve", "--dev", "--dir", s.dir, "--base-port", fmt.Sprint(s.Base))...)
	s.proc = p
	s.t.Cleanup(func() { // before the one of Spawn
		if !p.Stop(stopLimit) {
			s.t.Errorf("mtad does not stop")
		}
	})
	mtatest.Eventually(s.t, "the server serves", timeLimit, ready)
}

// stopLimit is how long mtad may take to stop.
const stopLimit = time.Minute

// stop stops the server as an administrator does.
func (s *server) stop() {
	s.t.Helper()
	if !s.proc.Stop(stopLimit) {
		s.t.Fatal("mtad does not stop")
	}
}

func (s *server) config() string { return filepath.Join(s.dir, "mtad.hcl") }

// change edits a file of the server's directory.
func (s *server) change(name string, old, new string) {
	s.t.Helper()
	path := filepath.Join(s.dir, name)
	text := read(s.t, path)
	if !strings.Contains(text, old) {
		s.t.Fatalf("%s has no %q", name, old)
	}
	write(s.t, path, strings.Replace(text, old, new, 1))
}

// mtad runs a command against this server.
func (s *server) mtad(args ...string) (out string, code int) {
	s.t.Helper()
	return run(s.t, "", "", append([]string{mtadPath, "-c", s.config()}, args...)...)
}

// do runs a command that must succeed.
func (s *server) do(args ...string) string {
	s.t.Helper()
	out, code := s.mtad(args...)
	if code != 0 {
		s.t.Fatalf("mtad %s: exit %d\n%s", strings.Join(args, " "), code, out)
	}
	return out
}

// awaitEmptyQueue waits until nothing is queued: the next hop has a message before
// the queue knows that it has.
func (s *server) awaitEmptyQueue() {
	s.t.Helper()
	eventually(s.t, "an empty queue", timeLimit, func() bool {
		return strings.TrimSpace(s.do("queue", "list", "-o", "ndjson")) == ""
	})
}

// replace is an edit of the configuration.
func replace(old, new string) func(*server, string) string {
	return func(s *server, text string) string {
		if !strings.Contains(text, old) {
			s.t.Fatalf("the configuration has no %q", old)
		}
		return strings.Replace(text, old, new, 1)
	}
}
