package lua

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"mtad/config"
	"mtad/internal/mtatest"
	"mtad/message"
	"mtad/pipeline"
	"mtad/smtp"
)

const mail = "From: Ann <Ann@Good.test>\r\nTo: bob@example.test\r\nSubject: =?utf-8?q?Invoice_=E2=82=AC42?=\r\n" +
	"X-A: one\r\nX-A: two\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n" +
	"--b\r\nContent-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nGr=FC=DFe\r\n" +
	"--b\r\nContent-Type: application/x-msdownload; name=\"setup.exe\"\r\nContent-Transfer-Encoding: base64\r\n\r\nTVo=\r\n--b--\r\n"

// run runs a script at a stage over the sample mail.
func run(t *testing.T, script string, s pipeline.Stage) (pipeline.Verdict, error) {
	t.Helper()
	return runFor(t, script, s, time.Second)
}

func runFor(t *testing.T, script string, s pipeline.Stage, cpu time.Duration) (pipeline.Verdict, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "test.lua")
	if err := os.WriteFile(path, []byte(script), 0o600); err != nil {
		t.Fatal(err)
	}
	src, err := openSource(path, slog.New(slog.DiscardHandler))
	if err != nil {
		return pipeline.Verdict{}, err
	}
	f := &filter{settings: settings{Script: "test.lua", CPU: cpu}, source: src, log: slog.New(slog.DiscardHandler)}
	return f.Filter(context.Background(), s, view(t))
}

func view(t testing.TB) *pipeline.View {
	t.Helper()
	m, err := message.Parse(message.FromBytes([]byte(mail)))
	if err != nil {
		t.Fatal(err)
	}
	rcpt := pipeline.Recipient{ID: 1, Addr: smtp.Address{Local: "bob", Domain: "example.test"}, Class: pipeline.Local}
	c := pipeline.Client{Protocol: "smtp", Helo: "mx.good.test", Auth: &pipeline.Login{User: "ann@good.test"}}
	return pipeline.NewView(c, pipeline.Mailing{ID: 7, Sender: smtp.Address{Local: "ann", Domain: "good.test"}, Rcpts: []pipeline.Recipient{rcpt}}, m)
}

func TestVerdicts(t *testing.T) {
	for _, c := range []struct{ stage, body, want string }{
		{"message", ``, "continue"},
		{"message", `msg:reject("no way")`, "reject 550 5.7.1 no way"},
		{"message", `msg:reject("no\r\nway", 554)`, "reject 554 5.7.1 no way"},
		{"message", `msg:tempfail("later")`, "tempfail 451 4.7.1 later"},
		{"message", `msg:discard()`, "discard"},
		{"mail", `msg:done()`, "done"},
		{"message", `msg:add_score(4, "x", "why")`, `continue; add-score x 4.0 "why"`},
		{"message", `msg:set_tag("vip") msg:set_tag("a", "b")`, "continue; tag vip; tag a=b"},
		{"message", `msg:add_header("X-B", "c") msg:insert_header("X-C", "d") msg:set_header("X-A", "e") msg:remove_header("X-A")`, "continue; add-header X-B: c; insert-header 0 X-C: d; set-header X-A: e; remove-header X-A"},
		{"message", `msg:set_sender("") msg:add_rcpt("c@d") msg:remove_rcpt("bob@example.test")`, "continue; set-sender <>; add-rcpt <c@d>; remove-rcpt <bob@example.test>"},
		{"message", `msg:hold("h") msg:quarantine("q") msg:set_folder("Junk")`, `continue; hold "h"; quarantine "q"; set-folder "Junk"`},
		{"deliver", `msg:fileinto("A", {"\\Seen", "work"}) msg:keep() msg:redirect("c@d")`, `continue; file-into "A" (\Seen work); file-into "INBOX"; redirect <c@d>`},
		{"deliver", `msg:set_flags("\\Flagged")`, `continue; set-flags (\Flagged)`},
		{"message", `if msg.subject == "Invoice €42" and msg.from == "ann@good.test" and msg.sender == "ann@good.test" then msg:discard() end`, "discard"},
		{"message", `if msg:header("x-a") == "one" and #msg:headers("X-A") == 2 and msg:header("X-None") == nil then msg:discard() end`, "discard"},
		{"message", `if msg:body() == "Grüße" and #msg:body(3) <= 3 then msg:discard() end`, "discard"},
		{"message", `local p = msg:parts() if #p == 2 and p[2].filename == "setup.exe" and p[2].type == "application/x-msdownload" then msg:discard() end`, "discard"},
		{"message", `if msg.client.helo == "mx.good.test" and msg.client.user == "ann@good.test" and not msg.client.trusted then msg:discard() end`, "discard"},
		{"message", `if re.match(msg.subject, "Invoice .(\\d+)") == "42" and re.replace("aXb", "X", "-") == "a-b" then msg:discard() end`, "discard"},
		{"message", `if msg:tag("none") == nil and msg:result("spf") == nil and msg.score == 0 and msg.rcpts[1] == "bob@example.test" and msg.size > 100 then msg:discard() end`, "discard"},
	} {
		s, _ := pipeline.ParseStage(c.stage)
		v, err := run(t, "function "+c.stage+"(msg) "+c.body+" end", s)
		if err != nil || v.String() != c.want {
			t.Errorf("%s %s: %v, %v; want %s", c.stage, c.body, v, err, c.want)
		}
	}
}

func TestErrors(t *testing.T) {
	for _, c := range []struct{ body, want string }{
		{`msg:rejct("x")`, `no field or method "rejct"`},
		{`msg.subject = "x"`, "use a method"},
		{`counter = 1`, "globals can't be set"},
		{`local x = nil; x.y = 1`, "test.lua:2:"},
		{`msg:reject("x", 250)`, "class"},
		{`msg:fileinto("A")`, "only at deliver"},
		{`msg:add_header("Bad Name", "x")`, "not a header field name"},
		{`msg:add_rcpt("no address")`, "not an address"},
		{`msg.reject("x")`, "with a colon"},
		{`for i = 1, 2000 do msg:set_tag("x") end`, "more than 1000 edits"},
		{`re.match("x", "(")`, "re:"},
		{`string.leak = 1`, "library string can't be changed"},
		{`getmetatable("").__index = nil`, "non-table"},
		{`msg:reject(rawset == nil and missing.x or "")`, "nil"},
		{`setmetatable(msg, {})`, "protected metatable"},
	} {
		_, err := run(t, "function message(msg)\n"+c.body+"\nend", pipeline.Message)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v; want %q in it", c.body, err, c.want)
		}
	}
}

// What leads out of the sandbox is not there, and what has no bound has one.
func TestSandbox(t *testing.T) {
	for _, name := range append([]string{"io", "os", "debug", "package", "coroutine", "string.dump"}, removed...) {
		v, err := run(t, "function message(msg) if "+name+" == nil then msg:discard() end end", pipeline.Message)
		if err != nil || v.Action != pipeline.Discard {
			t.Errorf("%s is there: %v %v", name, v, err)
		}
	}
	for _, body := range []string{
		`while true do end`,
		`local s = ("a"):rep(1000) s:find(".-.-.-.-.-.-b")`,
		`("x"):rep(1e9)`,
		`local s = ("x"):rep(1e6) s:gsub(".", ("y"):rep(100))`,
		`local function f() return f() + 1 end f()`,
		`string.format("%999999999d", 1)`,
		`local t = {} for i = 1, 20 do t[i] = ("x"):rep(1e6) end table.concat(t)`,
		`local t = {} for i = 1, 1e9 do t[i] = i end`,
		`local s = ("x"):rep(1e6) s:gsub(".*", ("%0"):rep(100))`,
		`re.replace(("x"):rep(1e6), "(.*)", ("$1"):rep(100))`,
		`local s = ("a"):rep(1e6) s:find("^(.-)%1b")`,
	} {
		begin := time.Now()
		_, err := runFor(t, "function message(msg) "+body+" end", pipeline.Message, 200*time.Millisecond)
		if err == nil {
			t.Errorf("%s: no error", body)
		}
		if d := time.Since(begin); d > 20*time.Second {
			t.Errorf("%s: took %v", body, d)
		}
	}
}

// A number from a message, taken for an index, must not become an array.
func TestSparseTable(t *testing.T) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	v, err := run(t, "function message(msg) local seen = {} seen[60000000] = true if seen[60000000] then msg:discard() end end", pipeline.Message)
	runtime.ReadMemStats(&after)
	if err != nil || v.Action != pipeline.Discard {
		t.Errorf("%v %v", v, err)
	}
	if used := after.TotalAlloc - before.TotalAlloc; used > 64<<20 {
		t.Errorf("one assignment took %d octets", used)
	}
}

func TestReplace(t *testing.T) {
	for call, want := range map[string]string{
		`re.replace("a1b22", "[0-9]+", "<$0>")`:         "a<1>b<22>",
		`re.replace("key=v", "(\\w+)=(\\w+)", "$2=$1")`: "v=key",
		`re.replace("abc", "x*", "-")`:                  "-a-b-c-",
		`re.replace("", "^", "x")`:                      "x",
		`re.replace("none", "z", "x")`:                  "none",
	} {
		v, err := run(t, "function message(msg) msg:note("+call+") end", pipeline.Message)
		if err != nil || v.Note != want {
			t.Errorf("%s: %q %v; want %q", call, v.Note, err, want)
		}
	}
}

// Nothing of one call is there in the next.
func TestCallsAreApart(t *testing.T) {
	script := `local n = {} function message(msg) msg:set_tag("x") end`
	for range 3 {
		v, err := run(t, script, pipeline.Message)
		if err != nil || len(v.Mods) != 1 {
			t.Fatalf("%v %v", v, err)
		}
	}
}

func TestLoadErrors(t *testing.T) {
	for script, want := range map[string]string{
		"function message(msg": "test.lua",
		"x = 1":                "no function named after a stage",
		"error('at load')":     "at load",
		"while true do end":    "deadline",
		"function message() end" + strings.Repeat(" ", maxScript): "at most",
	} {
		if _, err := run(t, script, pipeline.Message); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.30s: %v; want %q in it", script, err, want)
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
	write("function mail(msg) end", now.Add(time.Second))
	if got := src.current(now); got.stages != pipeline.At(pipeline.Message) {
		t.Errorf("looked at the file too soon: %s", got.stages)
	}
	if got := src.current(now.Add(time.Minute)); got.stages != pipeline.At(pipeline.Mail) {
		t.Errorf("after the change: %s", got.stages)
	}
	write("function broken(", now.Add(2*time.Second))
	if got := src.current(now.Add(2 * time.Minute)); got.stages != pipeline.At(pipeline.Mail) {
		t.Errorf("a broken script replaced a good one: %s", got.stages)
	}
}

// README.md names every field and method of the API, and its examples load.
func TestReadme(t *testing.T) {
	text := mtatest.Readme(t, nil)
	for _, f := range fields {
		if want := "| `msg." + f.name + "` | " + f.doc + " |"; !strings.Contains(text, want) {
			t.Errorf("README.md lacks %s", want)
		}
	}
	for _, m := range methods {
		if want := "| `msg:" + m.name + "(" + m.args + ")` | " + m.doc + " |"; !strings.Contains(text, want) {
			t.Errorf("README.md lacks %s", want)
		}
	}
	if n := strings.Count(text, "\n| `msg"); n != len(fields)+len(methods) {
		t.Errorf("README.md documents %d names, there are %d", n, len(fields)+len(methods))
	}
	for _, ex := range regexp.MustCompile("(?s)```lua\n(.*?)```").FindAllStringSubmatch(text, -1) {
		if _, err := compile("README.md", []byte(ex[1])); err != nil {
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

func BenchmarkFiveHeaderRule(b *testing.B) {
	prog, err := compile("bench.lua", []byte(`function message(msg)
		if msg:header("X-A") == "three" or msg:header("Subject"):find("lottery", 1, true) or msg:header("From"):match("spammer")
			or msg:header("X-None") or msg:header("To") == "x" then msg:reject("no") end
	end`))
	if err != nil {
		b.Fatal(err)
	}
	v, log, ctx := view(b), slog.New(slog.DiscardHandler), context.Background()
	b.ReportAllocs()
	for b.Loop() {
		st, err := prog.take()
		if err != nil {
			b.Fatal(err)
		}
		if _, err := st.run(ctx, pipeline.Message, v, log); err != nil {
			b.Fatal(err)
		}
		prog.put(st)
	}
}
