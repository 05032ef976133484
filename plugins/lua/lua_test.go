package lua

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"mtad/config"
	"mtad/internal/command"
	"mtad/internal/mtatest"
	"mtad/message"
	"mtad/pipeline"
	"mtad/plugins/lua/engine"
	"mtad/plugins/lua/worker"
	"mtad/smtp"
)

var update = flag.Bool("update", false, "write the reference of README.md anew")

// TestMain makes the test's own program a worker, as mtad's main does.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == worker.Arg {
		os.Exit(worker.Main(os.Args[2:]))
	}
	os.Exit(m.Run())
}

func view(t testing.TB) *pipeline.View {
	t.Helper()
	m, err := message.Parse(message.FromBytes([]byte("From: ann@good.test\r\nTo: bob@example.test\r\nSubject: hi\r\n\r\nbody\r\n")))
	if err != nil {
		t.Fatal(err)
	}
	bob, cy := smtp.Address{Local: "bob", Domain: "example.test"}, smtp.Address{Local: "cy", Domain: "example.test"}
	return pipeline.NewView(pipeline.Client{Protocol: "smtp"}, pipeline.Mailing{ID: 7, Sender: smtp.Address{Local: "ann", Domain: "good.test"},
		Rcpts: []pipeline.Recipient{{ID: 1, Addr: bob, Class: pipeline.Local}, {ID: 2, Addr: cy, Class: pipeline.Local}}}, m)
}

// build makes a filter of the inside of a block, in a folder with these files.
func build(t testing.TB, body string, u Users, files map[string]string) (pipeline.Filter, error) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(dir)
	kind := Kind(u)
	b, diags := config.ParseBlock(body, config.BlockType{Name: "filter", Options: kind.Options})
	if diags != nil {
		return nil, diags
	}
	f, err := kind.New(b, pipeline.Env{Now: time.Now})
	if err == nil {
		t.Cleanup(func() { f.(pipeline.Runner).Close() })
	}
	return f, err
}

func ask(t testing.TB, body string, files map[string]string) (pipeline.Verdict, error) {
	t.Helper()
	f, err := build(t, body, nil, files)
	if err != nil {
		t.Fatal(err)
	}
	return f.Filter(t.Context(), pipeline.Message, view(t))
}

func TestBadBlocks(t *testing.T) {
	good := map[string]string{"a.lua": "function message(msg) end", "bad.lua": "function message(", "map": ""}
	for body, want := range map[string]string{
		``: "wants script or scripts", `script = "none.lua"`: "no such file", `script = "bad.lua"`: "bad.lua:1: syntax error",
		`scripts = store()`: "no store", "script = \"a.lua\"\nscripts = store()": "exclude each other", `scripts = "file:x"`: "in store() only",
		"script = \"a.lua\"\nmaps = { x = \"none\" }": "no such file", "script = \"a.lua\"\nhttp_hosts = [\"http://x\"]": "no host",
		"script = \"a.lua\"\ncommands = { x = \"rm -rf\" }": "whole path", "script = \"a.lua\"\ncommands = { x = \"/nonexistent\" }": "no program",
		"script = \"a.lua\"\nmemory = 1 * KB": "64", "script = \"a.lua\"\ncpu = \"2h\"": "1m",
	} {
		if _, err := build(t, body, nil, good); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want %q", body, err, want)
		}
	}
}

func TestReload(t *testing.T) {
	path := filepath.Join(t.TempDir(), "r.lua")
	write := func(text string, mod time.Time) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, mod, mod); err != nil {
			t.Fatal(err)
		}
	}
	now := time.Now()
	write("function message(msg) end", now)
	src, err := openSource(path, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	src.checked = now
	write("function mail(msg) end", now.Add(time.Second))
	if got := src.current(now); got.Stages != pipeline.At(pipeline.Message) {
		t.Errorf("looked at the file too soon: %s", got.Stages)
	}
	if got := src.current(now.Add(time.Minute)); got.Stages != pipeline.At(pipeline.Mail) {
		t.Errorf("after the change: %s", got.Stages)
	}
	write("function broken(", now.Add(2*time.Second))
	if got := src.current(now.Add(2 * time.Minute)); got.Stages != pipeline.At(pipeline.Mail) {
		t.Errorf("a broken script replaced a good one: %s", got.Stages)
	}
}

// A session keeps its script until its transaction has ended, with what that one
// declares.
func TestSession(t *testing.T) {
	f, err := build(t, `script = "a.lua"`, nil, map[string]string{"a.lua": "function message(msg) msg:note(msg.subject) end"})
	if err != nil {
		t.Fatal(err)
	}
	s, err := f.(pipeline.Opener).Open(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	path := f.(*filter).Script
	if err := os.WriteFile(path, []byte("function data(msg) msg:set_tag('x') end -- longer than before"), 0o600); err != nil {
		t.Fatal(err)
	}
	later := time.Now().Add(time.Hour)
	f.(*filter).source.current(later)
	r, w := s.(pipeline.Access).Access(pipeline.Message)
	v, err := s.Filter(t.Context(), pipeline.Message, view(t))
	if r != pipeline.Header || w != 0 || err != nil || v.Note != "hi" {
		t.Errorf("reads %s, writes %s, %v, %v", r, w, v, err)
	}
	if err := s.End(t.Context(), pipeline.Accepted); err != nil {
		t.Fatal(err)
	}
	if _, w = s.(pipeline.Access).Access(pipeline.Data); w != pipeline.Tags || !s.Stages().Has(pipeline.Data) {
		t.Errorf("after its end: writes %s at %s", w, s.Stages())
	}
}

func TestMaps(t *testing.T) {
	f, err := build(t, "script = \"a.lua\"\nmaps = { vips = \"vips\" }", nil, map[string]string{
		"a.lua": `function message(msg) msg:note(tostring(map.address("vips", "Ann@x.Good.test")) .. tostring(map.get("vips", "bare"))) end`,
		"vips":  "# people\nANN@x.good.test  gold card\n.good.test\tsilver\nbare\n",
	})
	if err != nil {
		t.Fatal(err)
	}
	v, err := f.Filter(t.Context(), pipeline.Message, view(t))
	if err != nil || v.Note != "gold card" {
		t.Errorf("%q %v", v.Note, err)
	}
	if err := os.WriteFile("vips", []byte("x.good.test copper"), 0o600); err != nil {
		t.Fatal(err)
	}
	f.(*filter).tables["vips"].Reload()
	if v, err = f.Filter(t.Context(), pipeline.Message, view(t)); err != nil || v.Note != "coppernil" {
		t.Errorf("after a change: %q %v", v.Note, err)
	}
}

func TestHTTP(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/away":
			http.Redirect(w, r, "http://127.0.0.1:1/", http.StatusFound)
		case "/large":
			w.Write(make([]byte, engine.MaxFetch+10))
		default:
			b, _ := io.ReadAll(r.Body)
			fmt.Fprintf(w, "%s %s %s %s", r.Method, r.Header.Get("X-Key"), b, r.Host)
		}
	}))
	defer srv.Close()
	host := strings.TrimPrefix(srv.URL, "http://")
	body := fmt.Sprintf("script = \"a.lua\"\nhttp_hosts = [%q]", host)
	for script, want := range map[string]string{
		`select(2, http.get(u, { ["X-Key"] = "k", Host = "evil" }))`: "GET k  " + host,
		`select(2, http.post(u .. "/x", "data"))`:                    "POST  data " + host,
		`http.get(u .. "/away")`:                                     "302",
		`#select(2, http.get(u .. "/large"))`:                        fmt.Sprint(engine.MaxFetch),
		`select(2, http.get("http://127.0.0.1:1/"))`:                 "127.0.0.1:1: not allowed by the configuration",
		`select(2, http.get("http://x@` + host + `/"))`:              host + ": not allowed by the configuration",
		`select(2, http.get("file:///etc/passwd"))`:                  ": not allowed by the configuration",
		`select(2, http.get("http://[::"))`:                          "not a URL",
	} {
		v, err := ask(t, body, map[string]string{"a.lua": "function message(msg) local u = " + fmt.Sprintf("%q", srv.URL) + " msg:note(tostring((" + script + "))) end"})
		if err != nil || v.Note != strings.Join(strings.Fields(want), " ") {
			t.Errorf("%s: %q %v; want %q", script, v.Note, err, want)
		}
	}
}

func TestCommands(t *testing.T) {
	files := map[string]string{
		"count.sh": "#!/bin/sh\nwc -c; echo \"$@\"; env; exit 3\n",
		"deaf.sh":  "#!/bin/sh\nexit 0\n",
		"slow.sh":  "#!/bin/sh\nsleep 1000 & sleep 1000\n",
		"loud.sh":  "#!/bin/sh\nhead -c 3000000 /dev/zero\n",
		"a.lua":    `function message(msg) local status, out = msg:pipe(msg:tag("which") or "count") msg:note(status .. " " .. #out .. " " .. out) end`,
	}
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	run := func(name string, timeout time.Duration) (engine.Output, error) {
		ctx, cancel := context.WithTimeout(t.Context(), timeout)
		defer cancel()
		return output(command.Run(ctx, []string{filepath.Join(dir, name), "a b", "c"}, strings.NewReader("0123456789"), true))
	}
	out, err := run("count.sh", time.Minute)
	if err != nil || out.Status != 3 || !strings.Contains(out.Text, "10\na b c\n") || strings.Contains(out.Text, "HOME=") || !strings.Contains(out.Text, "PATH=/usr/local/bin") {
		t.Errorf("%+v %v", out, err)
	}
	if out, err = run("deaf.sh", time.Minute); err != nil || out.Status != 0 {
		t.Errorf("%+v %v", out, err)
	}
	if out, err = run("loud.sh", time.Minute); err != nil || len(out.Text) != engine.MaxOutput {
		t.Errorf("%d octets, %v", len(out.Text), err)
	}
	if _, err = run("slow.sh", 200*time.Millisecond); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
	v, err := ask(t, fmt.Sprintf("script = \"a.lua\"\ncommands = { count = %q }", filepath.Join(dir, "count.sh")+" --quiet"), files)
	if err != nil || !strings.HasPrefix(v.Note, "3 ") || !strings.Contains(v.Note, "--quiet") {
		t.Errorf("%q %v", v.Note, err)
	}
}

// people are users with a script each.
type people map[string]string

func (p people) LuaScript(_ context.Context, mailbox smtp.Address) (Script, bool, error) {
	text, ok := p[mailbox.Local]
	if text == "broken store" {
		return Script{}, false, errors.New("no database")
	}
	return Script{Name: "main", Text: text, Version: text}, ok, nil
}

func (people) LuaState(smtp.Address) (pipeline.KV, error) { return nil, nil }

// Users' scripts see their own recipient alone, and a fault of one is that user's.
func TestUsers(t *testing.T) {
	f, err := build(t, "scripts = store()", people{
		"bob": `function deliver(msg) msg:note(#msg.rcpts .. msg.rcpt .. msg.mailbox .. msg.subject) msg:fileinto("A") end`,
		"eve": `function deliver(msg) error("eve's own") end`,
		"mal": `function deliver(msg) msg:add_rcpt("x@y.test") end`,
		"dan": "broken store",
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	deliver := func(local string) (pipeline.Verdict, error) {
		v := view(t).AtRcpt(1, smtp.Address{Local: local, Domain: "example.test"})
		return f.Filter(t.Context(), pipeline.Deliver, v)
	}
	if v, err := deliver("bob"); err != nil || v.String() != `continue; file-into "A"` || v.Note != "1bob@example.testbob@example.testhi" {
		t.Errorf("%v %q %v", v, v.Note, err)
	}
	if v, err := deliver("nobody"); err != nil || len(v.Mods) != 0 {
		t.Errorf("%v %v", v, err)
	}
	if _, err := deliver("eve"); err == nil || !errors.Is(err, pipeline.ErrOwn) || !strings.Contains(err.Error(), "eve@example.test/main:1: eve's own") {
		t.Error(err)
	}
	if _, err := deliver("mal"); err == nil || !strings.Contains(err.Error(), "only at") {
		t.Error(err)
	}
	if _, err := deliver("dan"); err == nil || errors.Is(err, pipeline.ErrOwn) {
		t.Error(err)
	}
}

// One user's broken script opens no breaker for the others.
func TestBreakerIsSpared(t *testing.T) {
	f, err := build(t, "scripts = store()", people{"eve": `function deliver(msg) error("x") end`, "bob": `function deliver(msg) msg:fileinto("A") end`}, nil)
	if err != nil {
		t.Fatal(err)
	}
	p, err := pipeline.New("delivery", []*pipeline.Step{{Name: "user", Kind: "lua", Filter: f, OnError: pipeline.Continue}}, pipeline.Env{Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	deliver := func(local string) *pipeline.Flow {
		flow := p.OpenView(view(t))
		flow.ForRcpt(1, smtp.Address{Local: local, Domain: "example.test"})
		flow.Run(t.Context(), pipeline.Deliver)
		return flow
	}
	for range 20 {
		deliver("eve").Close()
	}
	flow := deliver("bob")
	defer flow.Close()
	if plan := flow.View().Plan(); len(plan.Files) != 1 {
		t.Errorf("%+v after another's faults", plan)
	}
}

// The reference of README.md is made of the table that binds the API.
func TestReference(t *testing.T) {
	b, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	const begin, end = "<!-- reference: go test ./plugins/lua -update -->\n", "<!-- end of reference -->"
	before, rest, ok1 := strings.Cut(string(b), begin)
	old, after, ok2 := strings.Cut(rest, end)
	if !ok1 || !ok2 {
		t.Fatal("README.md has no place for the reference")
	}
	want := "\n" + engine.Reference() + "\n"
	if old == want {
		return
	}
	if !*update {
		t.Fatal("the reference in README.md is not that of the API: run `go test ./plugins/lua -update`")
	}
	if err := os.WriteFile("README.md", []byte(before+begin+want+end+after), 0o644); err != nil {
		t.Fatal(err)
	}
}

// The examples of README.md load.
func TestReadme(t *testing.T) {
	text := mtatest.Readme(t, options)
	for _, ex := range regexp.MustCompile("(?s)```lua\n(.*?)```").FindAllStringSubmatch(text, -1) {
		if _, err := engine.Compile("README.md", []byte(ex[1])); err != nil {
			t.Errorf("example %s: %v", ex[1], err)
		}
	}
	mtatest.Examples(t, text, func(_, body string) error {
		_, diags := config.ParseBlock(body, config.BlockType{Options: options})
		return diags.Err()
	})
}

func TestOptions(t *testing.T) {
	if err := config.CheckStruct(options, &settings{}); err != nil {
		t.Error(err)
	}
}
