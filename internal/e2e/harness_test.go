//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"text/template"
	"time"
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
	if root, err = filepath.Abs("../.."); err == nil {
		mtadPath = filepath.Join(dir, "mtad")
		err = goBuild(mtadPath, "./cmd/mtad")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// goBuild builds a package of the repository.
func goBuild(to, pkg string) error {
	cmd := exec.Command("go", "build", "-o", to, pkg)
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w\n%s", pkg, err, out)
	}
	return nil
}

// buffer is a bytes.Buffer for several goroutines.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// eventually asks until the answer is yes.
func eventually(t testing.TB, what string, limit time.Duration, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(limit); !ok(); {
		if time.Now().After(end) {
			t.Fatalf("after %s: %s did not happen", limit, what)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// program finds a program or skips the test.
func program(t testing.TB, name string) string {
	t.Helper()
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	if path := filepath.Join("/usr/sbin", name); fileExists(path) {
		return path
	}
	t.Skip(name + " not installed")
	return ""
}

func fileExists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func write(t testing.TB, path, text string) {
	t.Helper()
	check(t, os.MkdirAll(filepath.Dir(path), 0o700))
	check(t, os.WriteFile(path, []byte(text), 0o600))
}

func read(t testing.TB, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	check(t, err)
	return string(b)
}

// run runs a program for at most a minute and returns what it printed and its
// exit code.
func run(t testing.TB, stdin, dir string, argv ...string) (out string, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Stdin, cmd.Dir, cmd.WaitDelay = strings.NewReader(stdin), dir, 2*time.Second
	b, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) || ctx.Err() != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(argv, " "), err, b)
	}
	return string(b), cmd.ProcessState.ExitCode()
}

// must runs a program that must succeed.
func must(t testing.TB, argv ...string) string {
	t.Helper()
	out, code := run(t, "", "", argv...)
	if code != 0 {
		t.Fatalf("%s: exit %d\n%s", strings.Join(argv, " "), code, out)
	}
	return out
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

// process is a program that runs until it is stopped.
type process struct {
	cmd    *exec.Cmd
	out    *buffer
	exited chan struct{}
}

// spawn starts a program; the end of the test ends it, by its process group.
func spawn(t testing.TB, dir string, argv ...string) *process {
	t.Helper()
	p := &process{cmd: exec.Command(argv[0], argv[1:]...), out: &buffer{}, exited: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr, p.cmd.Dir = p.out, p.out, dir
	p.cmd.WaitDelay = 2 * time.Second
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	check(t, p.cmd.Start())
	go func() { p.cmd.Wait(); close(p.exited) }()
	t.Cleanup(func() {
		p.signal(syscall.SIGTERM)
		select {
		case <-p.exited:
		case <-time.After(p.patience()):
			if argv[0] == mtadPath {
				t.Errorf("mtad does not stop")
			}
		}
		p.kill()
		if t.Failed() {
			t.Logf("%s said:\n%s", strings.Join(argv, " "), tail(p.out.String()))
		}
	})
	return p
}

// patience is how long a process may take to stop: ours as long as it says,
// others, some of which look up every five seconds only, not long.
func (p *process) patience() time.Duration {
	if p.cmd.Path == mtadPath {
		return 15 * time.Second
	}
	return 300 * time.Millisecond
}

func tail(s string) string { return s[max(0, len(s)-8000):] }

func (p *process) signal(s syscall.Signal) { p.cmd.Process.Signal(s) }

// kill ends the process and its children at once.
func (p *process) kill() {
	syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	<-p.exited
}

// await waits for the process to say something.
func (p *process) await(t testing.TB, text string) {
	t.Helper()
	eventually(t, fmt.Sprintf("%q by %s", text, p.cmd.Path), 60*time.Second, func() bool {
		select {
		case <-p.exited:
			if !strings.Contains(p.out.String(), text) {
				t.Fatalf("%s ended without saying %q:\n%s", p.cmd.Path, text, p.out)
			}
		default:
		}
		return strings.Contains(p.out.String(), text)
	})
}

// awaitSocket waits until a process listens.
func awaitSocket(t testing.TB, p *process, network, addr string) {
	t.Helper()
	eventually(t, "listening at "+addr, 60*time.Second, func() bool {
		c, err := net.DialTimeout(network, addr, time.Second)
		if err == nil {
			c.Close()
			return true
		}
		select {
		case <-p.exited:
			t.Fatalf("%s ended:\n%s", p.cmd.Path, p.out)
		default:
		}
		return false
	})
}

// ports are those of dev mode.
type ports struct {
	SMTP, Submission, Submissions, IMAP, IMAPS, HTTP, Sink int
	DKIM                                                   string
}

func portsFrom(base int) ports {
	return ports{
		SMTP: base + 25, Submission: base + 587, Submissions: base + 465,
		IMAP: base + 143, IMAPS: base + 993, HTTP: base + 80, Sink: base + 2525,
	}
}

// taken are the ports that tests of this run have.
var taken = struct {
	sync.Mutex
	ports map[int]bool
}{ports: map[int]bool{}}

// free takes ports, below those that the system gives away, that nobody has.
func free(offsets ...int) (base int, ok bool) {
	taken.Lock()
	defer taken.Unlock()
	base = 2000 + rand.IntN(27000)
	for _, o := range offsets {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", base+o))
		if err != nil || taken.ports[base+o] {
			return 0, false
		}
		l.Close()
	}
	for _, o := range offsets {
		taken.ports[base+o] = true
	}
	return base, true
}

func freeBase(t testing.TB) (base int) {
	t.Helper()
	eventually(t, "a free base port", 10*time.Second, func() (ok bool) {
		base, ok = free(25, 80, 143, 465, 587, 993, 2525)
		return ok
	})
	return base
}

// freePort is a single port that nobody has.
func freePort(t testing.TB) (port int) {
	t.Helper()
	eventually(t, "a free port", 10*time.Second, func() (ok bool) { port, ok = free(0); return ok })
	return port
}

func local(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }

// server is an mtad in dev mode.
type server struct {
	ports
	t    testing.TB
	dir  string
	base int
	proc *process
}

// newServer makes a directory and chooses ports. edit may change the
// configuration that dev mode would write.
func newServer(t testing.TB, edit ...func(*server, string) string) *server {
	t.Helper()
	dir, err := os.MkdirTemp("", "mtad") // short enough for a socket
	check(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	s := &server{t: t, dir: dir, base: freeBase(t)}
	s.ports = portsFrom(s.base)
	if len(edit) == 0 {
		return s
	}
	tmpl, err := template.ParseFiles(filepath.Join(root, "cmd/mtad/dev/mtad.hcl.tmpl"))
	check(t, err)
	var b strings.Builder
	check(t, tmpl.Execute(&b, s.ports))
	text := b.String()
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
	s.proc = spawn(s.t, "", mtadPath, "serve", "--dev", "--dir", s.dir, "--base-port", fmt.Sprint(s.base))
	s.proc.await(s.t, "msg=serving")
}

// stop stops the server as an administrator does.
func (s *server) stop() {
	s.t.Helper()
	s.proc.signal(syscall.SIGTERM)
	select {
	case <-s.proc.exited:
	case <-time.After(20 * time.Second):
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

// replace is an edit of the configuration.
func replace(old, new string) func(*server, string) string {
	return func(s *server, text string) string {
		if !strings.Contains(text, old) {
			s.t.Fatalf("the configuration has no %q", old)
		}
		return strings.Replace(text, old, new, 1)
	}
}
