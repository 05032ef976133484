package guide

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"mtad/cmd/mtad/plug"
	"mtad/config"
	"mtad/message"
	"mtad/pipeline"
	"mtad/plugins"
	"mtad/plugins/lua"
	"mtad/plugins/lua/worker"
	"mtad/plugins/sieve"
	lang "mtad/sieve"
	"mtad/smtp"
)

// page is PLUGINS.md, in the shape the tests need.
type page struct {
	files   map[string]string // by the name in the first line
	filters map[string]string // the inside of filter blocks, by kind; of a second one by kind and name
	blocks  int
}

var (
	fence     = regexp.MustCompile("(?s)\n```(\\w+)\n(.*?)\n```")
	firstLine = regexp.MustCompile(`^(#!.*\n)?(?://|--|#) (\S+\.\w+)\n\n`)
	block     = regexp.MustCompile(`(?s)^filter "(\w+)"(?: "(\w+)")? \{\n(.*)\n\}$`)
)

func readPage(t *testing.T) page {
	t.Helper()
	b, err := os.ReadFile("../../PLUGINS.md")
	if err != nil {
		t.Fatal(err)
	}
	p := page{files: map[string]string{}, filters: map[string]string{}}
	for _, m := range fence.FindAllStringSubmatch(string(b), -1) {
		lang, text := m[1], m[2]
		p.blocks++
		if lang == "hcl" {
			f := block.FindStringSubmatch(text)
			if f == nil {
				t.Fatalf("not one filter block:\n%s", text)
			}
			key := f[1]
			if p.filters[key] != "" {
				key += " " + f[2]
			}
			p.filters[key] = f[3]
			continue
		}
		name := firstLine.FindStringSubmatch(text)
		if name == nil {
			t.Fatalf("the first line names no file:\n%s", text)
		}
		p.files[name[2]] = name[1] + strings.TrimPrefix(text, name[0]) + "\n"
	}
	return p
}

// write puts a file of the page below dir.
func (p page) write(t *testing.T, dir, name string) string {
	t.Helper()
	text, ok := p.files[name]
	if !ok {
		t.Fatalf("the page has no %s", name)
	}
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// build builds a program of a tree in which the files are there too.
func build(t *testing.T, out, pkg string, files map[string]string) {
	t.Helper()
	goTool(t, files, "build", "-o", out, pkg)
}

// goTool runs the go tool on this tree with the files laid over it: what is on disk
// stays as it is.
func goTool(t *testing.T, files map[string]string, verb string, args ...string) {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	replace := map[string]string{}
	for name, path := range files {
		replace[filepath.Join(root, name)] = path
	}
	b, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	overlay := filepath.Join(t.TempDir(), "overlay.json")
	if err := os.WriteFile(overlay, b, 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("go", append([]string{verb, "-overlay", overlay}, args...)...)
	cmd.Dir = root
	if b, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go %s %s: %v\n%s", verb, strings.Join(args, " "), err, b)
	}
}

// mail is a message with these fields and this body, from ann to bob.
func mail(t *testing.T, text string) *pipeline.View {
	t.Helper()
	m, err := message.Parse(message.FromBytes([]byte(strings.ReplaceAll(text, "\n", "\r\n"))))
	if err != nil {
		t.Fatal(err)
	}
	addr := func(local string) smtp.Address { return smtp.Address{Local: local, Domain: "example.test"} }
	return pipeline.NewView(pipeline.Client{Protocol: "smtp", Addr: netip.MustParseAddrPort("192.0.2.1:25")}, pipeline.Mailing{
		Sender: addr("ann"), Rcpts: []pipeline.Recipient{{ID: 1, Addr: addr("bob"), Class: "local"}, {ID: 2, Addr: addr("cy"), Class: "local"}},
	}, m)
}

// step makes a running pipeline of the page's filter of that kind, or kind and name.
func (p page) step(t *testing.T, key string) *pipeline.Pipeline {
	t.Helper()
	kind, _, _ := strings.Cut(key, " ")
	for _, k := range plugins.Kinds(plugins.Deps{Sieve: scripts{text: p.files["alice.sieve"]}, Lua: luaScripts{p.files["alice.lua"], state{}}}) {
		if k.Name != kind {
			continue
		}
		b, diags := config.ParseBlock(p.filters[key], config.BlockType{Name: "filter", Options: k.Options})
		if diags != nil {
			t.Fatal(diags)
		}
		f, err := k.New(b, pipeline.Env{Now: time.Now})
		if err != nil {
			t.Fatal(err)
		}
		pl, err := pipeline.New("guide", []*pipeline.Step{{Name: "step", Kind: kind, Filter: f, OnError: pipeline.TempFail, Timeout: 10 * time.Second}}, pipeline.Env{Now: time.Now})
		if err != nil {
			t.Fatal(err)
		}
		if err := pl.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { pl.Close() })
		return pl
	}
	t.Fatalf("no kind %q", kind)
	return nil
}

// run asks a pipeline about a message and tells what came of it: the fate, the
// plan, the points, the header.
func run(t *testing.T, pl *pipeline.Pipeline, s pipeline.Stage, text string) string {
	t.Helper()
	f := pl.OpenView(mail(t, text))
	defer f.Close()
	if s == pipeline.Deliver {
		f.ForRcpt(1, smtp.Address{Local: "bob", Domain: "example.test"})
	}
	fate := f.Run(context.Background(), s)
	v := f.View()
	out := fmt.Sprintf("%s %s score %.0f\n", fate.Action, fate.Reply, v.Score())
	for _, e := range f.Trace().Events {
		out += fmt.Sprintf("%v %s %s\n", e.Mods, e.Note, e.Err)
	}
	for _, h := range v.Message().Header().Fields() {
		out += string(h.Raw)
	}
	return out
}

// scripts is every account's Sieve script, which asks for nothing else.
type scripts struct {
	sieve.Users
	text string
}

func (s scripts) Script(context.Context, smtp.Address) (text, version string, ok bool, err error) {
	return s.text, "1", true, nil
}

func (scripts) Folders(smtp.Address) lang.Mailboxes { return nil }

// luaScripts is every account's Lua script, and its state.
type luaScripts struct {
	text string
	kv   state
}

func (s luaScripts) LuaScript(context.Context, smtp.Address) (lua.Script, bool, error) {
	return lua.Script{Name: "main", Text: s.text, Version: "1"}, true, nil
}

func (s luaScripts) LuaState(smtp.Address) (pipeline.KV, error) { return s.kv, nil }

// state is a KV in memory.
type state map[string]string

func (s state) Get(_ context.Context, key string) ([]byte, bool, error) {
	v, ok := s[key]
	return []byte(v), ok, nil
}

func (s state) Set(_ context.Context, key string, value []byte, _ time.Duration) error {
	s[key] = string(value)
	return nil
}

func (s state) Add(_ context.Context, key string, delta int64, _ time.Duration) (int64, error) {
	n, _ := strconv.ParseInt(s[key], 10, 64)
	s[key] = strconv.FormatInt(n+delta, 10)
	return n + delta, nil
}

// TestMain makes the test's own program a worker, as mtad's main does.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == worker.Arg {
		os.Exit(worker.Main(os.Args[2:]))
	}
	os.Exit(m.Run())
}

func wants(t *testing.T, got string, want ...string) {
	t.Helper()
	for _, w := range want {
		if !strings.Contains(got, w) {
			t.Errorf("no %q in\n%s", w, got)
		}
	}
}

func TestLua(t *testing.T) {
	p, dir := readPage(t), t.TempDir()
	p.write(t, dir, "rules/lists.lua")
	t.Chdir(dir)
	pl := p.step(t, "lua")
	wants(t, run(t, pl, pipeline.Deliver, "List-Id: Go <golang-nuts.example>\n\nx\n"), "continue", "Lists/golang-nuts")
	wants(t, run(t, pl, pipeline.Message, "Content-Type: application/octet-stream; name=\"a.EXE\"\n\nx\n"), "reject 550", "Programs are not taken: a.EXE")
}

func TestUsersLua(t *testing.T) {
	pl := readPage(t).step(t, "lua own")
	wants(t, run(t, pl, pipeline.Deliver, "From: bob@example.test\nSubject: family\n\nAunt@far.test\n"), "continue")
	wants(t, run(t, pl, pipeline.Deliver, "From: aunt@far.test\n\nx\n"), "continue", `file-into "Family" (\Flagged)`)
	for range 3 {
		wants(t, run(t, pl, pipeline.Deliver, "From: ann@shop.test\n\nx\n"), "continue", "[]")
	}
	wants(t, run(t, pl, pipeline.Deliver, "From: ann@shop.test\n\nx\n"), `file-into "Noise/shop.test"`)
}

func TestSieve(t *testing.T) {
	p := readPage(t)
	if _, problems := lang.Compile(p.files["alice.sieve"], lang.Options{}); len(problems) > 0 {
		t.Fatal(problems.String())
	}
	pl := p.step(t, "sieve")
	wants(t, run(t, pl, pipeline.Deliver, "List-Id: Go <golang-nuts.example>\n\nx\n"), "continue", "Lists")
	wants(t, run(t, pl, pipeline.Deliver, "From: boss@example.com\n\nx\n"), "continue", `\Flagged`)
}

// linkrep makes the program in Go below dir, as the page says, outside this tree.
func (p page) linkrep(t *testing.T, dir string) {
	t.Helper()
	const name = "linkrep/main.go"
	if err := plug.New("go", filepath.Join(dir, "linkrep")); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("go", "build", "-mod=readonly", "-o", "linkrep", ".")
	cmd.Dir = filepath.Dir(p.write(t, dir, name))
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=", "GOPROXY=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// spoof makes the program in Python below dir.
func (p page) spoof(t *testing.T, dir string) {
	t.Helper()
	if err := plug.New("python", filepath.Join(dir, "spoof")); err != nil {
		t.Fatal(err)
	}
	p.write(t, dir, "spoof/filter.py") // whose mode stays
}

func TestPython(t *testing.T) {
	if out, err := exec.Command("/usr/bin/python3", "-c", "import grpc, google.protobuf").CombinedOutput(); err != nil {
		t.Skipf("python3-grpcio is not installed (`make peers` does): %v %s", err, out)
	}
	p, dir := readPage(t), t.TempDir()
	p.spoof(t, dir)
	t.Chdir(dir)
	pl := p.step(t, "external spoof")
	wants(t, run(t, pl, pipeline.Message, "From: \"boss@example.com\" <evil@far.test>\n\nx\n"), "continue", "score 5", "From: evil@far.test\r\n")
	wants(t, run(t, pl, pipeline.Message, "From: \"Ann\" <ann@far.test>\n\nx\n"), "continue", "score 0", "From: \"Ann\" <ann@far.test>\r\n")
}

func TestExternal(t *testing.T) {
	p, dir := readPage(t), t.TempDir()
	p.linkrep(t, dir)
	t.Chdir(dir)
	got := run(t, p.step(t, "external"), pipeline.Message, "Subject: x\n\nsee https://BAD.example/x and http://good.example\n")
	wants(t, got, "continue", "score 5", "linkrep")
}

func TestMilter(t *testing.T) {
	p, dir := readPage(t), t.TempDir()
	build(t, filepath.Join(dir, "marker", "marker"), "./examples/marker", map[string]string{"examples/marker/main.go": p.write(t, dir, "marker/main.go")})
	t.Chdir(dir)
	cmd := exec.CommandContext(t.Context(), "./marker", "marker.sock")
	cmd.Dir = "marker"
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		c, err := net.Dial("unix", "marker/marker.sock")
		if err == nil {
			c.Close()
			break
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
	}
	pl := p.step(t, "milter")
	wants(t, run(t, pl, pipeline.Message, "Subject: hello\n\nx\n"), "continue", "X-Marker: seen")
	wants(t, run(t, pl, pipeline.Message, "Subject: the Lottery\n\nx\n"), "reject 550")
}

const crowdTest = `package crowd

import (
	"testing"

	"mtad/config"
	"mtad/pipeline"
)

func TestCrowd(t *testing.T) {
	if err := config.CheckStruct(options, &settings{}); err != nil {
		t.Fatal(err)
	}
	b, diags := config.ParseBlock("max = 1\npoints = score(3)", config.BlockType{Options: options})
	if diags != nil {
		t.Fatal(diags)
	}
	f, err := Kind().New(b, pipeline.Env{})
	if err != nil {
		t.Fatal(err)
	}
	for n, want := range map[int]string{1: "continue", 2: "continue; add-score crowd 3.0"} {
		v := pipeline.NewView(pipeline.Client{}, pipeline.Mailing{Rcpts: make([]pipeline.Recipient, n)}, nil)
		if got, err := f.Filter(t.Context(), pipeline.Message, v); err != nil || got.String() != want {
			t.Errorf("%d recipients: %s, %v; want %s", n, got, err, want)
		}
	}
}
`

// The new kind does what it says.
func TestKind(t *testing.T) {
	p, dir := readPage(t), t.TempDir()
	const name, test = "plugins/crowd/crowd.go", "plugins/crowd/crowd_test.go"
	p.files[test] = crowdTest
	bin := filepath.Join(dir, "crowd.test")
	goTool(t, map[string]string{name: p.write(t, dir, name), test: p.write(t, dir, test)}, "test", "-c", "-vet=off", "-o", bin, "./plugins/crowd")
	ask(t, bin)
}

// It becomes part of a server, which explains it and takes the page's block, and all
// the others'.
func TestServer(t *testing.T) {
	p, dir := readPage(t), t.TempDir()
	const name, list = "plugins/crowd/crowd.go", "plugins/plugins.go"
	b, err := os.ReadFile("../../" + list)
	if err != nil {
		t.Fatal(err)
	}
	p.files[list] = strings.NewReplacer("import (\n", "import (\n\t\"mtad/plugins/crowd\"\n", "spf.Kind(),\n", "spf.Kind(),\n\t\tcrowd.Kind(),\n").Replace(string(b))
	mtad := filepath.Join(dir, "mtad")
	build(t, mtad, "./cmd/mtad", map[string]string{name: p.write(t, dir, name), list: p.write(t, dir, list)})
	wants(t, ask(t, mtad, "filter", "doc", "crowd"), "Scores messages with many recipients.", "How many recipients are no crowd.")

	p.write(t, dir, "rules/lists.lua")
	p.linkrep(t, dir)
	p.spoof(t, dir)
	p.files["mtad.hcl"] = "hostname = \"mx.example.test\"\n" +
		"pipeline \"inbound\" {\n" + p.block("lua") + p.block("external") + p.block("external spoof") + p.block("milter") + p.block("crowd") + "}\n" +
		"pipeline \"delivery\" {\n" + p.block("lua") + p.block("lua own") + p.block("sieve") + "}\n"
	wants(t, ask(t, mtad, "config", "check", "--config", p.write(t, dir, "mtad.hcl")), "is good")
}

// block is a filter block of the page.
func (p page) block(key string) string {
	kind, name, _ := strings.Cut(key, " ")
	return fmt.Sprintf("filter %q \"a%[1]s%s\" {\n%s\n}\n", kind, name, p.filters[key])
}

// ask runs a program that was built here and returns what it said.
func ask(t *testing.T, program string, args ...string) string {
	t.Helper()
	out, err := exec.Command(program, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", filepath.Base(program), strings.Join(args, " "), err, out)
	}
	return string(out)
}

// Nothing on the page is left untested.
func TestPage(t *testing.T) {
	p := readPage(t)
	if len(p.files) != 7 || len(p.filters) != 7 || p.blocks != 14 {
		t.Errorf("%d files, %d filters in %d blocks: a test for the new ones?", len(p.files), len(p.filters), p.blocks)
	}
}
