package external

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"mtad/config"
	"mtad/internal/mtatest"
	"mtad/message"
	"mtad/pipeline"
	"mtad/smtp"
)

// built are the programs that tests have built, below dir.
var built struct {
	sync.Mutex
	dir   string
	paths map[string]string
}

func TestMain(m *testing.M) {
	code := m.Run()
	if built.dir != "" {
		os.RemoveAll(built.dir)
	}
	os.Exit(code)
}

// build builds a program of this tree once a test binary.
func build(t testing.TB, pkg string) string {
	t.Helper()
	built.Lock()
	defer built.Unlock()
	if out, ok := built.paths[pkg]; ok {
		return out
	}
	if built.dir == "" {
		dir, err := os.MkdirTemp("", "mtad-external-")
		if err != nil {
			t.Fatal(err)
		}
		built.dir, built.paths = dir, map[string]string{}
	}
	out := filepath.Join(built.dir, filepath.Base(pkg))
	if b, err := exec.Command("go", "build", "-o", out, pkg).CombinedOutput(); err != nil {
		t.Fatalf("go build %s: %v\n%s", pkg, err, b)
	}
	built.paths[pkg] = out
	return out
}

// start makes a running pipeline of one step.
func start(t testing.TB, body string) (*pipeline.Pipeline, error) {
	t.Helper()
	return startIn(t, body, pipeline.Env{})
}

func startIn(t testing.TB, body string, env pipeline.Env) (*pipeline.Pipeline, error) {
	t.Helper()
	b, diags := config.ParseBlock(body, config.BlockType{Options: options})
	if diags != nil {
		return nil, diags
	}
	f, err := newFilter(b, env)
	if err != nil {
		return nil, err
	}
	st := &pipeline.Step{Name: "ext", Kind: "external", Filter: f, OnError: pipeline.TempFail, Timeout: 2 * time.Second}
	p, err := pipeline.New("test", []*pipeline.Step{st}, env)
	if err != nil {
		return nil, err
	}
	if err := p.Start(context.Background()); err != nil {
		return nil, err
	}
	t.Cleanup(func() { p.Close() })
	return p, nil
}

// send runs one message through a flow and returns its fate and the message.
func send(t testing.TB, f *pipeline.Flow, subject, body string) (pipeline.Fate, *pipeline.View, pipeline.Trace) {
	t.Helper()
	ctx := context.Background()
	f.Begin(message.NewID(time.Now()), smtp.Address{Local: "a", Domain: "b.test"}, smtp.MailParams{})
	if fate := f.Run(ctx, pipeline.Mail); fate.Refused() {
		return fate, f.View(), f.End(ctx, pipeline.Refused)
	}
	m, err := message.Parse(message.FromBytes([]byte("Subject: " + subject + "\r\n\r\n" + body)))
	if err != nil {
		t.Fatal(err)
	}
	f.SetMessage(m, nil, nil)
	fate := f.Run(ctx, pipeline.Message)
	v := f.View()
	return fate, v, f.End(ctx, pipeline.Accepted)
}

func TestVerdicts(t *testing.T) {
	path := build(t, "./testdata/odd")
	p, err := start(t, fmt.Sprintf("path = %q", path))
	if err != nil {
		t.Fatal(err)
	}
	big := strings.Repeat("0123456789abcdef0123456789abcdef\r\n", 20000)
	for _, c := range []struct{ subject, body, want string }{
		{"reject", "", "reject 554 5.7.9 not today"},
		{"size", big, fmt.Sprintf("X-Size: %d", len("Subject: size\r\n\r\n")+len(big))},
		{"env", "", "X-Env: 0"},
		{"error", "", ": on purpose"},
		{"panic", "", ": panic: on purpose"},
		{"undeclared", "", "err undeclared edit"},
		{"effects", "", "err undeclared edit"},
		{"hang", "", "err did not answer in time"},
		{"nothing", "", "note stage message"},
	} {
		f := p.Open(pipeline.Client{})
		fate, v, trace := send(t, f, c.subject, c.body)
		if got := story(fate, v, trace); !strings.Contains(got, c.want) {
			t.Errorf("%s: %s; want %q", c.subject, got, c.want)
		}
		f.Close()
	}
}

func story(fate pipeline.Fate, v *pipeline.View, trace pipeline.Trace) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s\n", fate.Action, fate.Reply)
	for _, e := range trace.Events {
		fmt.Fprintf(&b, "err %s note %s\n", strings.ReplaceAll(e.Err, "filter: ", ""), e.Note)
		if strings.Contains(e.Err, "undeclared edit") {
			b.WriteString("err undeclared edit\n")
		}
		if strings.Contains(e.Err, "in time") {
			b.WriteString("err did not answer in time\n")
		}
	}
	if m := v.Message(); m != nil {
		for _, fl := range m.Header().Fields() {
			b.Write(fl.Raw)
		}
	}
	return b.String()
}

// A session keeps its state from one transaction to the next, and is told how
// each ended.
func TestSession(t *testing.T) {
	p, err := start(t, fmt.Sprintf("path = %q", build(t, "./testdata/odd")))
	if err != nil {
		t.Fatal(err)
	}
	f := p.Open(pipeline.Client{})
	defer f.Close()
	send(t, f, "first", "")
	_, v, _ := send(t, f, "count", "")
	if got, _ := v.Message().Header().Get("X-Count"); got != "4 1" {
		t.Errorf("asked and ended: %q, want 4 1", got)
	}
}

// A program that dies takes one verdict with it: the step's on_error. The next
// session meets its successor.
func TestDeath(t *testing.T) {
	p, err := start(t, fmt.Sprintf("path = %q", build(t, "./testdata/odd")))
	if err != nil {
		t.Fatal(err)
	}
	f := p.Open(pipeline.Client{})
	defer f.Close()
	proc := procOf(p)
	first, _ := proc.running(context.Background())
	if fate, _, _ := send(t, f, "die", ""); fate.Action != pipeline.TempFail {
		t.Fatalf("died: %v", fate)
	}
	awaitNext(t, proc, first)
	if fate, _, _ := send(t, f, "nothing", ""); fate.Action != pipeline.Continue {
		t.Fatalf("after the restart: %v", fate)
	}
}

func procOf(p *pipeline.Pipeline) *process { return p.Steps()[0].Filter.(*filter).proc }

// awaitNext waits for the run after another. A stream ends a little before
// go-plugin sees the process end.
func awaitNext(t testing.TB, proc *process, first *run) {
	t.Helper()
	mtatest.Eventually(t, "another run", 20*time.Second, func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		next, err := proc.running(ctx)
		return err == nil && next != first
	})
}

// While the program is being started again, which can take long, sessions wait
// no longer than their step allows.
func TestSessionsWaitWithinTheirTime(t *testing.T) {
	p, err := start(t, fmt.Sprintf("path = %q", build(t, "./testdata/odd")))
	if err != nil {
		t.Fatal(err)
	}
	proc := procOf(p)
	proc.lock <- struct{}{}
	defer proc.unlock()
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	done := make(chan error, 2)
	go func() {
		_, err := proc.running(ctx)
		done <- err
		proc.run.end()
		_, err = proc.running(ctx)
		done <- err
	}()
	for _, want := range []error{nil, errDown} {
		select {
		case err := <-done:
			if !errors.Is(err, want) {
				t.Errorf("%v, want %v", err, want)
			}
		case <-time.After(10 * time.Second):
			t.Fatal("it waits")
		}
	}
}

// sum is the checksum of a program.
func sum(b []byte) string {
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}

func TestStartErrors(t *testing.T) {
	odd := build(t, "./testdata/odd")
	text := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(text, []byte("no program"), 0o600); err != nil {
		t.Fatal(err)
	}
	for body, want := range map[string]string{
		fmt.Sprintf(`path = %q
		config = { fail = "map is missing" }`, odd): "map is missing",
		fmt.Sprintf(`path = %q
		config = { color = "red" }`, odd): `"color", which the manifest does not declare; it declares: fail`,
		fmt.Sprintf("path = %q", build(t, "../../examples/urlrep")):               "its config needs map: The file of hosts",
		fmt.Sprintf("path = %q\nsha256 = %q", odd, sum([]byte("something else"))): "checksum",
		fmt.Sprintf("path = %q\nsha256 = \"zz\"", odd):                            "64 hexadecimal digits",
		fmt.Sprintf("path = %q", text):                                            "can not be executed",
		`path = "/bin/true"`:                                                      "start /bin/true",
		`path = "/nonexistent"`:                                                   "no such file",
	} {
		if _, err := start(t, body); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want %q in it", body, err, want)
		}
	}
}

// A path relative to the working directory is that, though it has no slash.
func TestRelativePath(t *testing.T) {
	path := build(t, "../../examples/urlrep")
	t.Chdir(t.TempDir())
	if err := os.Link(path, "urlrep"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile("map.json", []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := start(t, `path = "urlrep"
		config = { map = "map.json" }`); err != nil {
		t.Error(err)
	}
}

// The example scores the hosts of links.
func TestURLRep(t *testing.T) {
	dir := t.TempDir()
	table := filepath.Join(dir, "map.json")
	if err := os.WriteFile(table, []byte(`{"bad.example": 5, "odd.example": 1.5}`), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := start(t, fmt.Sprintf("path = %q\nconfig = { map = %q }", build(t, "../../examples/urlrep"), table))
	if err != nil {
		t.Fatal(err)
	}
	f := p.Open(pipeline.Client{})
	defer f.Close()
	_, v, _ := send(t, f, "x", "see http://WWW.bad.example/a and https://bad.example/b\r\nhttps://odd.example https://good.example\r\n")
	if got := v.Score(); got != 6.5 {
		t.Errorf("score %v, want 6.5: %v", got, v.Scores())
	}
}

func TestReadme(t *testing.T) {
	mtatest.Examples(t, mtatest.Readme(t, options), func(_, body string) error {
		_, diags := config.ParseBlock(body, config.BlockType{Options: options})
		return diags.Err()
	})
	mtatest.Check(t, config.CheckStruct(options, &settings{}))
}
