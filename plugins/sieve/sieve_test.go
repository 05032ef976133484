package sieve

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"mtad/config"
	"mtad/internal/mtatest"
	"mtad/message"
	"mtad/pipeline"
	lang "mtad/sieve"
	"mtad/smtp"
)

// store is a Scripts made of a map.
type store struct {
	mu    sync.Mutex
	texts map[string]string
	err   error
	asked int
	marks []string
	named error // of ScriptNamed
}

func (s *store) Script(_ context.Context, mailbox smtp.Address) (text, version string, ok bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	text, ok = s.texts[mailbox.Key()]
	return text, text, ok, s.err
}

func (s *store) ScriptNamed(_ context.Context, mailbox smtp.Address, name string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	text, ok := s.texts[mailbox.Key()+" "+name]
	if s.named != nil {
		return "", s.named
	}
	if !ok {
		return "", fs.ErrNotExist
	}
	return text, nil
}

// SieveState is memory: what the pipeline remembers is the agent's business.
func (s *store) SieveState(smtp.Address) (pipeline.KV, error) { return marks(s.marks), nil }

func (s *store) Folders(smtp.Address) lang.Mailboxes { return someFolders{} }

// marks is a KV of keys that are set.
type marks []string

func (m marks) Get(_ context.Context, key string) ([]byte, bool, error) {
	return nil, slices.Contains(m, key), nil
}
func (marks) Set(context.Context, string, []byte, time.Duration) error { return nil }
func (marks) Add(context.Context, string, int64, time.Duration) (int64, error) {
	return 1, nil
}

type someFolders struct{}

func (someFolders) Exists(_ context.Context, name string) (bool, error) {
	return name == "Archive", nil
}
func (someFolders) Special(_ context.Context, name, use string) (string, bool, error) {
	if name == "" {
		name = "Rubbish"
	}
	return name, use == "\\Junk" && (name == "Rubbish" || name == "Bulk"), nil
}
func (someFolders) ByID(_ context.Context, id string) (string, bool, error) {
	return "Archive", id == "F7", nil
}
func (someFolders) Annotation(context.Context, string, string) (string, bool, error) {
	return "", false, nil
}

const testMail = "From: Al <al@example.net>\r\nTo: staff: bob@example.org;, root\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?= [dev]\r\n\r\nbody\r\n"

func bob() smtp.Address { return smtp.Address{Local: "bob", Domain: "example.org"} }

func view(t testing.TB, params smtp.MailParams, rcpts ...string) *pipeline.View {
	t.Helper()
	m, err := message.Parse(message.FromBytes([]byte(testMail)))
	if err != nil {
		t.Fatal(err)
	}
	env := pipeline.Mailing{Sender: smtp.Address{Local: "sender", Domain: "example.net"}, Params: params}
	for i, r := range rcpts {
		a, err := smtp.ParseAddress(r)
		if err != nil {
			t.Fatal(err)
		}
		env.Rcpts = append(env.Rcpts, pipeline.Recipient{ID: pipeline.RcptID(i + 1), Addr: a})
	}
	return pipeline.NewView(pipeline.Client{Protocol: "smtp"}, env, m)
}

// make builds a filter from the inside of a block.
func build(body string, s Users, log *slog.Logger) (pipeline.Filter, error) {
	kind := Kind(s)
	b, diags := config.ParseBlock(body, config.BlockType{Name: "filter", Options: kind.Options})
	if diags != nil {
		return nil, diags
	}
	return kind.New(b, pipeline.Env{Log: log})
}

func scriptFile(t testing.TB, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "rules.sieve")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// run sends a view through a pipeline of these filters and returns what became
// of it: the events' edits, and the flow.
func run(t testing.TB, v *pipeline.View, s pipeline.Stage, filters ...pipeline.Filter) (pipeline.Fate, *pipeline.View, pipeline.Trace) {
	t.Helper()
	var steps []*pipeline.Step
	for i, f := range filters {
		steps = append(steps, &pipeline.Step{Name: fmt.Sprint("s", i), Kind: "sieve", Filter: f, OnError: pipeline.TempFail})
	}
	p, err := pipeline.New("test", steps, pipeline.Env{})
	if err != nil {
		t.Fatal(err)
	}
	f := p.OpenView(v)
	t.Cleanup(f.Close)
	if s == pipeline.Deliver {
		f.ForRcpt(1, bob())
	}
	fate := f.Run(context.Background(), s)
	return fate, f.View(), f.Trace()
}

// fixed is a filter that always says the same.
type fixed pipeline.Verdict

func (fixed) Stages() pipeline.Stages { return pipeline.At(pipeline.Message, pipeline.Deliver) }

func (f fixed) Filter(context.Context, pipeline.Stage, *pipeline.View) (pipeline.Verdict, error) {
	return pipeline.Verdict(f), nil
}

func TestDeliver(t *testing.T) {
	tests := []struct {
		name, script, want string
		before             []pipeline.Modification
	}{
		{name: "nothing", script: ``, want: "keep"},
		{name: "keep", script: `keep;`, want: "keep"},
		{name: "discard", script: `discard;`, want: "drop"},
		{name: "fileinto", script: `require "fileinto"; fileinto "a";`, want: `file-into "a"; drop`},
		{name: "fileinto copy", script: `require ["copy", "fileinto"]; fileinto :copy "a";`, want: `file-into "a" copy; keep`},
		{name: "fileinto copy, discard", script: `require ["copy", "fileinto"]; fileinto :copy "a"; discard;`, want: `file-into "a" copy; drop`},
		{name: "fileinto and keep", script: `require "fileinto"; keep; fileinto "a";`, want: `file-into "a" copy; keep`},
		{name: "INBOX", script: `require "fileinto"; fileinto "inbox";`, want: `file-into "INBOX"; drop`},
		{name: "INBOX and keep", script: `require ["fileinto", "imap4flags"]; keep :flags "x"; fileinto :flags "y" "INBOX";`, want: "keep (y)"},
		{name: "keep and INBOX", script: `require ["fileinto", "imap4flags"]; fileinto :flags "y" "INBOX"; keep :flags "x";`, want: "keep (x)"},
		{name: "two folders with flags", script: `require ["fileinto", "imap4flags"]; setflag "\\Seen"; fileinto "a"; fileinto :flags "$x" "b";`, want: `file-into "a" (\Seen); file-into "b" ($x); drop`},
		{name: "flags", script: `require "imap4flags"; setflag "\\Seen $x";`, want: `keep (\Seen $x)`},
		{name: "redirect", script: `redirect "x@example.com";`, want: "redirect <x@example.com>; drop"},
		{name: "redirect and keep", script: `redirect "x@example.com"; keep;`, want: "redirect <x@example.com> copy; keep"},
		{name: "redirect copy", script: `require "copy"; redirect :copy "x@example.com";`, want: "redirect <x@example.com> copy; keep"},
		{name: "junk chosen before", script: `keep;`, before: []pipeline.Modification{pipeline.SetFolder{Folder: "Junk"}}, want: `keep in "Junk"`},
		{name: "the default folder by name", script: `require "fileinto"; keep; fileinto "junk";`, before: []pipeline.Modification{pipeline.SetFolder{Folder: "Junk"}}, want: `keep in "Junk"`},
		{name: "filed before", script: ``, before: []pipeline.Modification{pipeline.FileInto{Folder: "x"}}, want: `file-into "x"; drop`},
		{name: "filed before, kept here", script: `keep;`, before: []pipeline.Modification{pipeline.FileInto{Folder: "x"}}, want: `file-into "x"; drop`},
		{name: "decoded header", script: `if header :contains "subject" "Grüße" { discard; }`, want: "drop"},
		{name: "address in a group", script: `if address "to" "bob@example.org" { discard; }`, want: "drop"},
		{name: "address without a domain", script: `if allof (address "to" "root", not address :localpart "to" "root") { discard; }`, want: "drop"},
		{name: "envelope", script: `require "envelope"; if allof (envelope "from" "sender@example.net", envelope "to" "alias@example.org") { discard; }`, want: "drop"},
		{name: "size", script: fmt.Sprintf(`if allof (size :over %d, size :under %d) { discard; }`, len(testMail)-1, len(testMail)+1), want: "drop"},
		{name: "no script", script: "-", want: "keep"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := &store{texts: map[string]string{}}
			if tt.script != "-" {
				s.texts["bob@example.org"] = tt.script
			}
			f, err := build(`scripts = store()`, s, nil)
			if err != nil {
				t.Fatal(err)
			}
			fate, v, trace := run(t, view(t, smtp.MailParams{}, "alias@example.org"), pipeline.Deliver, fixed{Mods: tt.before}, f)
			if fate.Refused() {
				t.Errorf("refused: %v", trace)
			}
			if got := planText(v); got != tt.want {
				t.Errorf("got %s\nwant %s\n%v", got, tt.want, trace)
			}
		})
	}
}

// planText is a plan on one line.
func planText(v *pipeline.View) string {
	var parts []string
	p := v.Plan()
	for _, m := range p.Files {
		parts = append(parts, m.String())
	}
	for _, m := range p.Redirects {
		parts = append(parts, m.String())
	}
	last := "drop"
	if p.Keeps() {
		last = "keep"
		if v.Folder() != "" {
			last += fmt.Sprintf(" in %q", v.Folder())
		}
		if len(p.Flags) > 0 {
			last += " (" + strings.Join(p.Flags, " ") + ")"
		}
	}
	return strings.Join(append(parts, last), "; ")
}

func TestMessage(t *testing.T) {
	tests := []struct{ name, script, want string }{
		{"nothing", ``, "continue"},
		{"discard", `discard;`, "discard"},
		{"fileinto", `require "fileinto"; fileinto "Lists";`, `continue; set-folder "Lists"`},
		{"fileinto INBOX", `require "fileinto"; fileinto "INBOX";`, `continue; set-folder ""`},
		{"fileinto copy", `require ["copy", "fileinto"]; fileinto :copy "Lists";`, `continue`},
		{"redirect", `redirect "x@example.com";`, "continue; add-rcpt <x@example.com>; remove-rcpt #1; remove-rcpt #2"},
		{"redirect to a recipient", `redirect "bob@example.org";`, "continue; add-rcpt <bob@example.org>; remove-rcpt #2"},
		{"redirect copy", `require "copy"; redirect :copy "x@example.com";`, "continue; add-rcpt <x@example.com>"},
		{"redirect and discard", `redirect "x@example.com"; discard;`, "continue; add-rcpt <x@example.com>; remove-rcpt #1; remove-rcpt #2"},
		{"flags", `require "imap4flags"; setflag "\\Flagged $x";`, `continue; tag sieve.flags=\Flagged $x`},
		{"reject", `require "reject"; reject "no";`, "reject 550 5.7.1 no"},
		{"more than one recipient", `require "envelope"; if envelope "to" "" { discard; }`, "discard"},
		{"failure", `require "variables"; redirect "${x}";`, "continue"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f, err := build(fmt.Sprintf("script = %q", scriptFile(t, tt.script)), nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			v := view(t, smtp.MailParams{}, "bob@example.org", "carol@example.org")
			got, err := f.Filter(context.Background(), pipeline.Message, v)
			if err != nil || got.String() != tt.want {
				t.Errorf("got %s, %v\nwant %s", got, err, tt.want)
			}
			// The loop finds edits that were not declared.
			if fate, _, trace := run(t, v, pipeline.Message, f); fate.Action != got.Action {
				t.Errorf("fate %v, trace %v", fate, trace)
			}
		})
	}
}

func TestOneRecipient(t *testing.T) {
	f, err := build(fmt.Sprintf("script = %q", scriptFile(t, `require "envelope"; if envelope "to" "bob@example.org" { discard; }`)), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	got, err := f.Filter(context.Background(), pipeline.Message, view(t, smtp.MailParams{}, "bob@example.org"))
	if err != nil || got.Action != pipeline.Discard {
		t.Errorf("got %v %v", got, err)
	}
}

func TestRefusal(t *testing.T) {
	const generic = "Message refused by the recipient's filter"
	long := strings.TrimSpace(strings.Repeat("word ", 100))
	tests := []struct {
		reason string
		utf8   bool
		want   string
	}{
		{"no", false, "no"},
		{"", false, generic},
		{"line one\r\nline two\r\n", false, "line one\nline two"},
		{"\r\n\r\n x \r\n", false, "x"},
		{"Grüße", false, generic},
		{"Grüße", true, "Grüße"},
		{long, false, long[:399] + "\n" + long[400:]},
		{strings.Repeat("ä", 300), true, strings.Repeat("ä", 200) + "\n" + strings.Repeat("ä", 100)},
		{"x" + strings.Repeat("ä", 300), true, "x" + strings.Repeat("ä", 199) + "\n" + strings.Repeat("ä", 101)},
		{strings.Repeat("x\r\n", 50), false, strings.TrimSpace(strings.Repeat("x\n", 20))},
	}
	for _, tt := range tests {
		var params smtp.MailParams
		params.UTF8 = tt.utf8
		got := refuse(view(t, params, "bob@example.org"), lang.Action{Kind: lang.Reject, Reason: tt.reason})
		if got.Action != pipeline.Reject || got.Reply.Text != tt.want {
			t.Errorf("%q: got %q", tt.reason, got.Reply.Text)
		}
		for line := range strings.Lines(string(got.Reply.Append(nil))) {
			if len(line) > 512 || !strings.HasPrefix(line, "550") {
				t.Errorf("%q: line %q", tt.reason, line)
			}
		}
	}
}

// TestFailures: whatever is wrong with a script, mail is kept, and it is said.
func TestFailures(t *testing.T) {
	slowly := `if header :matches "subject" "` + strings.Repeat("*?x", 50) + `" { discard; }`
	tests := []struct{ name, options, script, note string }{
		{"does not compile", ``, "discard;\nfoo;", `2:1: error: unknown command "foo"`},
		{"fails when run", ``, "require \"variables\";\nredirect \"${x}\";", `line 2: redirect: "" is no address that mail can be sent to`},
		{"extension switched off", `disable = ["reject"]`, "require \"reject\"; reject \"x\";", "there is no extension"},
		{"redirects", `max_redirects = 1`, "redirect \"a@example.org\";\nredirect \"b@example.org\";", "line 2: more than 1 redirects and other messages: limit passed"},
		{"actions", `max_actions = 1`, "require \"fileinto\"; fileinto \"a\"; fileinto \"b\";", "more than 1 actions: limit passed"},
		{"size", `max_script = 1 * KB`, "# " + strings.Repeat("x", 2000), "at most 1024 are allowed"},
		{"fine", ``, slowly, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var log bytes.Buffer
			s := &store{texts: map[string]string{"bob@example.org": tt.script}}
			f, err := build("scripts = store()\n"+tt.options, s, slog.New(slog.NewTextHandler(&log, nil)))
			if err != nil {
				t.Fatal(err)
			}
			fate, v, trace := run(t, view(t, smtp.MailParams{}, "bob@example.org"), pipeline.Deliver, f)
			if fate.Refused() || planText(v) != "keep" {
				t.Errorf("fate %v, plan %s", fate, planText(v))
			}
			i := slices.IndexFunc(trace.Events, func(e pipeline.Event) bool { return strings.Contains(e.Note, tt.note) && e.Err == "" })
			if i < 0 {
				t.Errorf("trace %+v", trace.Events)
			}
			if logged := strings.Contains(log.String(), "sieve script failed"); logged != (tt.note != "") {
				t.Errorf("log %s", &log)
			}
		})
	}
}

// TestFaults: if the scripts can't be had, or the pipeline's time is up, that is
// no policy.
func TestFaults(t *testing.T) {
	down := errors.New("store is down")
	f, err := build(`scripts = store()`, &store{err: down}, nil)
	if err != nil {
		t.Fatal(err)
	}
	v := view(t, smtp.MailParams{}, "bob@example.org")
	if _, err := f.Filter(context.Background(), pipeline.Deliver, v); !errors.Is(err, down) {
		t.Errorf("got %v", err)
	}
	if fate, _, _ := run(t, v, pipeline.Deliver, f); fate.Action != pipeline.TempFail {
		t.Errorf("fate %v", fate)
	}
	f, err = build(fmt.Sprintf("script = %q", scriptFile(t, "discard;")), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := f.Filter(ctx, pipeline.Deliver, v); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// TestCPU: a script that computes too long keeps the message.
func TestCPU(t *testing.T) {
	script := `require "variables"; set "a" "` + strings.Repeat("a", 16000) + `";
		if anyof (` + strings.Repeat(`string :matches "${a}" "*`+strings.Repeat("?a", 400)+`b*", `, 500) + `false) { discard; }`
	f, err := build("scripts = store()\ncpu = \"10ms\"", &store{texts: map[string]string{"": script}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	got, err := f.Filter(context.Background(), pipeline.Deliver, view(t, smtp.MailParams{}, "bob@example.org"))
	if err != nil || got.String() != "continue" || !strings.Contains(got.Note, "ran longer than 10ms; kept") {
		t.Errorf("got %v %q %v", got, got.Note, err)
	}
}

func TestStages(t *testing.T) {
	one, err := build(fmt.Sprintf("script = %q", scriptFile(t, "")), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	each, err := build(`scripts = store()`, &store{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := one.Stages().String() + "; " + each.Stages().String(); got != "message, deliver; deliver" {
		t.Errorf("got %s", got)
	}
}

func TestConfig(t *testing.T) {
	good := scriptFile(t, "stop; keep;")
	bad := scriptFile(t, "keep;\n\tfileinot \"x\";\n")
	tests := []struct{ body, want string }{
		{fmt.Sprintf("script = %q", good), ""},
		{`scripts = store()`, ""},
		{``, "wants script or scripts"},
		{fmt.Sprintf("script = %q\nscripts = store()", good), "exclude each other"},
		{`scripts = "file:x"`, "in store() only"},
		{`scripts = []`, "in store() only"},
		{fmt.Sprintf("script = %q", bad), "2:2: error: unknown command \"fileinot\"\n    \tfileinot \"x\";\n    \t^~~~~~~~\n    did you mean fileinto?"},
		{`script = "/nonexistent/x.sieve"`, "no such file"},
		{fmt.Sprintf("script = %q", filepath.Dir(good)), "not a file"},
		{fmt.Sprintf("script = %q\nmax_script = 1 * KB", scriptFile(t, strings.Repeat("#", 2000))), "larger than max_script"},
		{"scripts = store()\nseparator = \"\"", "separator is empty"},
		{"scripts = store()\ndisable = [\"fileinot\"]", "fileinto"},
		{"scripts = store()\nmax_redirects = 0", "max_redirects"},
	}
	for _, tt := range tests {
		_, err := build(tt.body, &store{}, nil)
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v", tt.body, err)
		}
	}
	if _, err := build(`scripts = store()`, nil, nil); err == nil || !strings.Contains(err.Error(), "there is no store here") {
		t.Errorf("without a store: %v", err)
	}
}

func TestOptions(t *testing.T) {
	if err := config.CheckStruct(options, &settings{}); err != nil {
		t.Error(err)
	}
}

func TestCache(t *testing.T) {
	c := newCache(2, 100)
	put := func(v string, size int) { c.put(v, &compiled{size: size}) }
	has := func() string {
		var out []string
		for _, v := range []string{"a", "b", "c", "d"} {
			if c.entries[v] != nil {
				out = append(out, v)
			}
		}
		return strings.Join(out, "")
	}
	put("a", 10)
	put("b", 10)
	c.get("a")
	put("c", 10)
	if has() != "ac" || c.get("b") != nil {
		t.Errorf("after three: %s", has())
	}
	put("d", 95)
	if has() != "d" || c.used != 95 {
		t.Errorf("after a large one: %s, %d octets", has(), c.used)
	}
	put("a", 101)
	put("d", 1)
	if has() != "d" || c.used != 1 || c.order.Len() != 1 {
		t.Errorf("after one too large: %s", has())
	}
}

// TestCompiledOnce: a script is compiled once for its version, and anew for the
// next.
func TestCompiledOnce(t *testing.T) {
	s := &store{texts: map[string]string{"bob@example.org": "discard;"}}
	got, err := build(`scripts = store()`, s, nil)
	if err != nil {
		t.Fatal(err)
	}
	f := got.(*filter)
	v := view(t, smtp.MailParams{}, "bob@example.org")
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if _, v, _ := run(t, v, pipeline.Deliver, f); planText(v) != "drop" {
				t.Errorf("plan %s", planText(v))
			}
		})
	}
	wg.Wait()
	first := f.cache.get("discard;")
	s.texts["bob@example.org"] = "keep;"
	if _, v, _ := run(t, v, pipeline.Deliver, f); planText(v) != "keep" || first == nil || f.cache.get("discard;") != first {
		t.Errorf("plan %s", planText(v))
	}
}

// The examples of the README load, and its tables name what there is.
func TestReadme(t *testing.T) {
	text := mtatest.Readme(t, options)
	for _, e := range lang.Extensions() {
		if !strings.Contains(text, "`"+e+"`") && e != "comparator-i;octet" && e != "comparator-i;ascii-casemap" {
			t.Errorf("extension %s is not there", e)
		}
	}
	mtatest.Examples(t, text, func(_, body string) error {
		_, diags := config.ParseBlock(body, config.BlockType{Options: options})
		return diags.Err()
	})
	scripts := regexp.MustCompile("(?s)```sieve\n(.*?)```").FindAllStringSubmatch(text, -1)
	for _, ex := range scripts {
		if _, problems := lang.Compile(ex[1], lang.Options{}); len(problems) > 0 {
			t.Errorf("example:\n%s", problems.String())
		}
	}
	if len(scripts) < 2 {
		t.Errorf("%d scripts found", len(scripts))
	}
}

func BenchmarkDeliver(b *testing.B) {
	script := `require ["fileinto", "imap4flags"];` +
		strings.Repeat(`if header :contains "subject" "nothing" { fileinto "x"; stop; }`+"\n", 10) +
		strings.Repeat(`if address :domain "from" "none.example" { fileinto "x"; stop; }`+"\n", 9) +
		`if header :matches "subject" "*dev*" { addflag "$Dev"; }`
	f, err := build(`scripts = store()`, &store{texts: map[string]string{"": script}}, nil)
	if err != nil {
		b.Fatal(err)
	}
	v := view(b, smtp.MailParams{}, "bob@example.org")
	b.ReportAllocs()
	for b.Loop() {
		out, err := f.Filter(context.Background(), pipeline.Deliver, v)
		if err != nil || len(out.Mods) != 1 {
			b.Fatal(out, err)
		}
	}
}
