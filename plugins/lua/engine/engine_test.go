package engine

import (
	"bytes"
	"context"
	"log/slog"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"mtad/dns"
	"mtad/message"
	"mtad/pipeline"
	"mtad/smtp"
)

const sample = "From: Ann <Ann@Good.test>\r\nTo: bob@example.test\r\nSubject: =?utf-8?q?Invoice_=E2=82=AC42?=\r\n" +
	"X-A: one\r\nX-A: two\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n" +
	"--b\r\nContent-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nGr=FC=DFe\r\n" +
	"--b\r\nContent-Type: application/x-msdownload; name=\"setup.exe\"\r\nContent-Transfer-Encoding: base64\r\n\r\nTVo=\r\n--b--\r\n"

// run runs a script at a stage over the sample mail.
func run(t testing.TB, script string, s pipeline.Stage) (pipeline.Verdict, error) {
	t.Helper()
	return runIn(t, script, s, DefaultLimits, host(t))
}

func runIn(t testing.TB, script string, s pipeline.Stage, lim Limits, h *Host) (pipeline.Verdict, error) {
	t.Helper()
	p, err := Compile("test.lua", []byte(script))
	if err != nil {
		return pipeline.Verdict{}, err
	}
	return p.Run(context.Background(), Call{Stage: s, View: view(t), Host: h, Limits: lim})
}

// kv is a KV in memory.
type kv map[string]string

func (m kv) Get(_ context.Context, k string) ([]byte, bool, error) {
	v, ok := m[k]
	return []byte(v), ok, nil
}

func (m kv) Set(_ context.Context, k string, v []byte, _ time.Duration) error {
	m[k] = string(v)
	return nil
}

func (m kv) Add(_ context.Context, k string, n int64, _ time.Duration) (int64, error) {
	sum := n
	for range len(m[k]) {
		sum++
	}
	m[k] += strings.Repeat("1", int(n))
	return sum, nil
}

const zone = `
good.test. A 192.0.2.1
good.test. MX 10 mx.good.test.
good.test. TXT "hello"
mx.good.test. A 192.0.2.2
2.2.0.192.in-addr.arpa. PTR mx.good.test.
2.2.0.192.bl.test. A 127.0.0.2
down.test. FAIL
`

func host(t testing.TB) *Host {
	t.Helper()
	z, err := dns.ParseZone(strings.NewReader(zone))
	if err != nil {
		t.Fatal(err)
	}
	return &Host{
		DNS: z, KV: kv{}, Now: func() time.Time { return time.Unix(1_000_000_000, 0) },
		Map: func(_ context.Context, table, key string) (string, bool, error) {
			if table != "vips" {
				return "", false, ErrNoTable
			}
			v, ok := map[string]string{"ann@good.test": "yes", ".test": "tld"}[key]
			return v, ok, nil
		},
		Fetch: func(_ context.Context, r Request) (Response, error) {
			if !strings.HasPrefix(r.URL, "http://api.test/") {
				return Response{}, ErrNotAllowed
			}
			return Response{200, "text/plain", r.Method + " " + r.Body + r.Header["X-Key"]}, nil
		},
		Pipe: func(_ context.Context, name string, b message.Bytes) (Output, error) {
			if name != "archive" {
				return Output{}, ErrNotAllowed
			}
			data, err := message.ReadAll(b)
			return Output{7, string(data[:4])}, err
		},
	}
}

func view(t testing.TB) *pipeline.View {
	t.Helper()
	m, err := message.Parse(message.FromBytes([]byte(sample)))
	if err != nil {
		t.Fatal(err)
	}
	rcpt := pipeline.Recipient{ID: 1, Addr: smtp.Address{Local: "bob+lists", Domain: "example.test"}, Class: pipeline.Local}
	c := pipeline.Client{Protocol: "smtp", Helo: "mx.good.test", TLS: &pipeline.TLS{Version: "TLSv1.3"}, Auth: &pipeline.Login{User: "ann@good.test"}}
	return pipeline.NewView(c, pipeline.Mailing{ID: 7, Sender: smtp.Address{Local: "ann", Domain: "good.test"}, Rcpts: []pipeline.Recipient{rcpt}}, m)
}

func TestErrors(t *testing.T) {
	for _, c := range []struct{ body, want string }{
		{`msg:rejct("x")`, `no field or method "rejct"; did you mean msg:reject(text [, code [, enhanced]])?`},
		{`counter = 1`, "globals can't be set"},
		{`local x = nil; x.y = 1`, "test.lua:2:"},
		{`string.leak = 1`, "library string can't be changed"},
		{`dns.lookup = 1`, "library dns can't be changed"},
		{`getmetatable("").__index = nil`, "attempt to index a string"},
		{`msg:reject(rawset == nil and missing.x or "")`, "nil"},
		{`setmetatable(msg, {})`, "protected metatable"},
		{`error({})`, "table"},
		{`error()`, "test.lua"},
	} {
		_, err := run(t, "function message(msg)\n"+c.body+"\nend", pipeline.Message)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v; want %q in it", c.body, err, c.want)
		}
	}
}

// What leads out of the sandbox is not there.
func TestSandbox(t *testing.T) {
	for _, name := range append([]string{"io", "os", "debug", "package", "coroutine", "string.dump", "string.gfind"}, removed...) {
		v, err := run(t, "function message(msg) if "+name+" == nil then msg:discard() end end", pipeline.Message)
		if err != nil || v.Action != pipeline.Discard {
			t.Errorf("%s is there: %v %v", name, v, err)
		}
	}
}

// What a script's time is over for: each of these would go on, or for long.
func TestTimeIsBounded(t *testing.T) {
	for _, c := range []struct{ body, want string }{
		{`while true do end`, "ran too long"},
		{`while true do pcall(function() while true do end end) end`, "ran too long"},
		{`local function f() return f() + 1 end f()`, "stack overflow"},
		{`local function f() return pcall(f) end while true do f() end`, "ran too long"},
		{`re.replace(("a"):rep(300000), "a.*b|a", "")`, "ran too long"},
		{`re.all(("a"):rep(300000), "a.*b|a")`, "ran too long"},
		{`local t = {} for i = 1, 50000 do t[i] = i end table.sort(t, function(a, b) while true do end end)`, "ran too long"},
		{`("a"):gsub("a", function() while true do end end)`, "ran too long"},
		{`local t = setmetatable({}, {__index = function() while true do end end}) local x = t.y`, "ran too long"},
		{`chain(msg, function() while true do end end)`, "ran too long"},
	} {
		_, err := runIn(t, "function message(msg) "+c.body+" end", pipeline.Message, Limits{CPU: 100 * time.Millisecond, Memory: 1 << 30}, host(t))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v; want %q in it", c.body, err, c.want)
		}
	}
}

// What no clock stops has a bound of its own, and what takes memory one of memory.
func TestWorkIsBounded(t *testing.T) {
	small := Limits{CPU: 5 * time.Minute, Memory: 16 << 20}
	for _, c := range []struct{ body, want string }{
		{`local s = ("a"):rep(1000) s:find(".-.-.-.-.-.-b")`, "pattern is too complex"},
		{`local s = ("a"):rep(1000) s:match(".-.-.-.-.-.-b")`, "pattern is too complex"},
		{`local s = ("a"):rep(1000) for w in s:gmatch(".-.-.-.-.-.-b") do end`, "pattern is too complex"},
		{`local s = ("a"):rep(1000) s:gsub(".-.-.-.-.-.-b", "")`, "pattern is too complex"},
		{`local s = ("a"):rep(1e6) s:find("^(.-)%1b")`, "pattern is too complex"},
		{`re.match(("a"):rep(1e6), "(a{1,100}){1,10}$")`, "too much work"},
		{`local t = {} for i = 1, 100001 do t[i] = i end table.sort(t)`, "sort: more than"},
		// Memory: strings.
		{`local s = ("x"):rep(5e6) s = s .. s`, "longer than 8388608"},
		{`local s, t = ("x"):rep(1000), {} while true do t[#t + 1] = s .. "y" end`, "memory: more than 16 MB"},
		{`local s = ("x"):rep(1e6) pcall(function() while true do s = s .. "y" end end) s = s .. "z"`, "memory: more than 16 MB"},
		{`local s = setmetatable({}, {__concat = function() return ("x"):rep(8e6) end}) for i = 1, 10 do local x = s .. "" end`, "memory: more than 16 MB"},
		{`("x"):rep(1e9)`, "rep: result is longer"},
		{`local t = {} for i = 1, 100 do t[i] = ("x"):rep(1e6) end`, "memory"},
		{`local s, t = ("x"):rep(1e6), {} for i = 1, 100 do t[i] = s:upper() end`, "memory"},
		{`local s, t = ("x"):rep(1e6), {} for i = 1, 100 do t[i] = s:lower() end`, "memory"},
		{`local s, t = ("x"):rep(1e6), {} for i = 1, 100 do t[i] = s:reverse() end`, "memory"},
		{`local s, t = ("x"):rep(1e6), {} for i = 1, 100 do t[i] = (s:gsub("^y", "")) end`, "memory"},
		{`local s, t = ("x"):rep(1e6), {} for i = 1, 100 do t[i] = ("%s"):format(s) end`, "memory"},
		{`local s = ("x"):rep(1e6) s:gsub(".", ("y"):rep(100))`, "gsub: result is longer"},
		{`local s = ("x"):rep(1e6) s:gsub(".*", ("%0"):rep(100))`, "gsub: result is longer"},
		{`string.format("%999999999d", 1)`, "format: invalid option"},
		{`string.format("%*d", 999999, 1)`, "format: invalid option"},
		{`string.format(("%[1]s"):rep(1000), ("x"):rep(1e6))`, "format: invalid option"},
		{`local s = ("x"):rep(6e6) string.format("%s%s%s%s", s, s, s, s)`, "format: result is longer"},
		{`local t = {} for i = 1, 10 do t[i] = ("x"):rep(1e6) end table.concat(t)`, "concat: result is longer"},
		{`re.replace(("x"):rep(1e6), "(.*)", ("$1"):rep(100))`, "re: result is longer"},
		{`re.replace(("x"):rep(2e4), "(x)` + strings.Repeat("(y?)", 50) + `", "")`, "re: more than"},
		{`("x"):rep(1e6):byte(1, -1)`, "registry overflow"},
		{`unpack({}, 1, 1e9)`, "registry overflow"},
		{`string.char(unpack({}, 1, 1e8))`, "registry overflow"},
		// Memory: tables and closures.
		{`local t = {} for i = 1, 1e9 do t[i] = i end`, "memory"},
		{`local t = {} for i = 1, 1e9 do t[-i] = i end`, "memory"},
		{`local t = {} for i = 1, 1e9 do t[i], t[-i] = i, i end`, "memory"},
		{`local t = {} for i = 1, 100 do local u = {} u[1e6] = 1 t[i] = u end`, "memory"},
		{`local t = {} for i = 1, 100 do local u, v = {} u[1e6], v = 1, 2 t[i] = u end`, "memory"},
		{`local t = {} for i = 1, 100 do local u = {} table.insert(u, 1e6, 1) t[i] = u end`, "memory"},
		{`local t = {} for i = 1, 1e9 do t = {t, {}, {}} end`, "memory"},
		{`local f for i = 1, 1e9 do local g = f f = function() return g, i end end`, "memory"},
		{`local f repeat local g = f f = function() return g end until (function() return false end)()`, "memory"},
		{`local t = {} for i = 1, 1e9 do t[#t + 1] = json.decode("[[],[],[],[]]") end`, "memory"},
		{`local t = {} while true do t[#t + 1] = msg:parts() end`, "memory"},
		{`local t = {} while true do t[#t + 1] = msg:raw_body() end`, "memory"},
		{`local t = {} for i = 1, 1e9 do t["x" .. i] = true end`, "memory"},
	} {
		_, err := runIn(t, "function message(msg) "+c.body+" end", pipeline.Message, small, host(t))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v; want %q in it", c.body, err, c.want)
		}
	}
}

// Waiting costs a script nothing, so how often it may is bounded.
func TestReachIsBounded(t *testing.T) {
	for body, want := range map[string]string{
		`dns.lookup("good.test", "A")`: "dns: more than 100 questions in one call", `dns.name("192.0.2.2")`: "dns: more than 100",
		`http.get("http://api.test/")`: "http: more than 10 requests", `map.get("vips", "x")`: "map: more than 1000 look-ups",
		`kv.get("x")`: "kv: more than 1000 reads", `kv.add("x")`: "kv: more than 100 writes", `msg:pipe("archive")`: "msg:pipe: more than 10 commands",
	} {
		_, err := runIn(t, "function message(msg) while true do "+body+" end end", pipeline.Message, Limits{CPU: 5 * time.Minute, Memory: 1 << 30}, host(t))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want %q", body, err, want)
		}
	}
	if _, err := ask(t, "deliver", `msg:vacation("a") msg:vacation("b")`); err == nil || !strings.Contains(err.Error(), "one answer is enough") {
		t.Error(err)
	}
}

// The library alone, without the meter, takes what it likes: the bound is ours.
func TestMemoryStaysBounded(t *testing.T) {
	body := `local s, t = ("x"):rep(1000), {} while true do t[#t + 1] = s .. #t end`
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := runIn(t, "function message(msg) "+body+" end", pipeline.Message, Limits{CPU: time.Minute, Memory: 32 << 20}, nil)
	runtime.ReadMemStats(&after)
	if err == nil || !strings.Contains(err.Error(), "memory: more than 32 MB") {
		t.Error(err)
	}
	if used := after.TotalAlloc - before.TotalAlloc; used > 128<<20 {
		t.Errorf("%d octets for a limit of 32 MB", used)
	}
}

// A script whose local variables outlive its calls does not add up.
func TestKeptMemory(t *testing.T) {
	p, err := Compile("keep.lua", []byte(`local kept = {} function message(msg) kept[#kept + 1] = ("x"):rep(8e6) msg:note(tostring(#kept)) end`))
	if err != nil {
		t.Fatal(err)
	}
	most := 0
	for range 60 {
		v, err := p.Run(t.Context(), Call{Stage: pipeline.Message, View: view(t), Limits: DefaultLimits})
		if err != nil {
			t.Fatal(err)
		}
		n, err := strconv.Atoi(v.Note)
		if err != nil {
			t.Fatal(err)
		}
		most = max(most, n)
	}
	if most > 20 {
		t.Errorf("%d strings of 8 MB are kept", most)
	}
}

// The rewriting of a script changes nothing of what it does.
func TestMeterKeepsMeaning(t *testing.T) {
	for body, want := range map[string]string{
		`return "a" .. 1 .. "b" .. 2.5`:                                                                                                     "a1b2.5",
		`local s = "" for i = 1, 60 do s = s .. "x" end return #s`:                                                                          "60",
		`return ` + strings.TrimSuffix(strings.Repeat(`"y" .. `, 130), ".. "):                                                               strings.Repeat("y", 130),
		`local t = {1, 2} t[1], t[2] = t[2], t[1] return t[1] .. t[2]`:                                                                      "21",
		`local t, x = {} t.a, x = (function() return 1, 2 end)() return t.a .. x`:                                                           "12",
		`local t = {} t.a, t.b, t.c = 1 return tostring(t.b) .. t.a`:                                                                        "nil1",
		`local i, t = 1, {} i, t[i] = i + 1, 20 return i .. "," .. t[1]`:                                                                    "2,20",
		`local t = {n = 0} function t:inc() self.n = self.n + 1 return self end return t:inc():inc().n`:                                     "2",
		`local log = "" local t = setmetatable({}, {__newindex = function(_, k, v) log = log .. k .. v end}) t.a = 1 t["b"] = 2 return log`: "a1b2",
		`local mt = {__concat = function(a, b) return "m" end} local x = setmetatable({}, mt) return 1 .. 2 .. x`:                           "1m",
		`local mt = {__concat = function(a, b) return "m" end} local x = setmetatable({}, mt) return x .. 1 .. 2`:                           "m",
		`local mt = {__concat = function(a, b) return "m" end} local x = setmetatable({}, mt) return "a" .. x .. "b"`:                       "am",
		`local function f(...) return (...) .. select("#", ...) end return f("a", nil, nil)`:                                                "a3",
		`local function f() return 1, 2 end local t = {f(), f()} return #t`:                                                                 "3",
		`local function fib(n) if n < 2 then return n end return fib(n - 1) + fib(n - 2) end return fib(15)`:                                "610",
		`local out = {} for i = 1, 3 do out[i] = function() return i end end return out[1]() .. out[3]()`:                                   "13",
		`local n = 0 repeat local m = n n = n + 1 until (function() return m >= 2 end)() return n`:                                          "3",
		`local t = {} t[1.5], t[true] = "a", "b" return t[1.5] .. t[true]`:                                                                  "ab",
		`local ok, e = pcall(function() return {} .. "x" end) return e:match("concatenate a table") or e`:                                   "concatenate a table",
		`local ok, e = pcall(function() local x x.y = 1 end) return e`:                                                                      "test.lua:1: attempt to index a nil value",
		`local ok, e = pcall(function() local t = {} t[nil] = 1 end) return e`:                                                              "test.lua:1: table index is nil",
		`local ok, e = pcall(function() local t = {} t[0/0] = 1 end) return e`:                                                              "test.lua:1: table index is NaN",
	} {
		v, err := run(t, "local function f(...) "+body+" end function message(msg) msg:note(tostring(f())) end", pipeline.Message)
		if err != nil || v.Note != want {
			t.Errorf("%s: %q %v; want %q", body, v.Note, err, want)
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

// Nothing of one call is there in the next.
func TestCallsAreApart(t *testing.T) {
	p, err := Compile("apart.lua", []byte(`function message(msg) msg:set_tag("x") end`))
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		v, err := p.Run(t.Context(), Call{Stage: pipeline.Message, View: view(t), Limits: DefaultLimits})
		if err != nil || len(v.Mods) != 1 {
			t.Fatalf("%v %v", v, err)
		}
	}
}

func TestLoadErrors(t *testing.T) {
	for script, want := range map[string]string{
		"function message(msg":       "test.lua:1: syntax error at the end of the script",
		"function message() x = end": `test.lua:1: syntax error near "end"`,
		"x = 1":                      "no function named after a stage",
		"error('at load')":           "test.lua:1: at load",
		"while true do end":          "its top level ran longer than",
		"function message() end" + strings.Repeat(" ", MaxScript):                                           "at most",
		"function message() return " + strings.Repeat("(", 5000) + "1" + strings.Repeat(")", 5000) + " end": "",
		"function message() return " + strings.Repeat("-", 1) + strings.Repeat(" -", 5000) + "1 end":        "nested too deep",
		"function message() return 1" + strings.Repeat("+1", 5000) + " end":                                 "nested too deep",
		"function message() return " + strings.Repeat("{", 5000) + strings.Repeat("}", 5000) + " end":       "nested too deep",
		strings.Repeat("function f() ", 3000) + strings.Repeat(" end", 3000):                                "nested too deep",
		"function message() " + manyLocals(300) + " end":                                                    "test.lua",
	} {
		_, err := run(t, script, pipeline.Message)
		if want == "" && err == nil {
			continue
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60s: %v; want %q in it", script, err, want)
		}
	}
}

func manyLocals(n int) string {
	var b strings.Builder
	for range n {
		b.WriteString("local x = 1 ")
	}
	return b.String()
}

// Waiting for a Host is not computing.
func TestClockStands(t *testing.T) {
	h := host(t)
	h.Fetch = func(context.Context, Request) (Response, error) {
		time.Sleep(400 * time.Millisecond)
		return Response{Status: 200}, nil
	}
	_, err := runIn(t, `function message(msg) for i = 1, 3 do http.get("http://api.test/") end end`, pipeline.Message, Limits{CPU: 400 * time.Millisecond, Memory: 1 << 20}, h)
	if err != nil {
		t.Error(err)
	}
}

// The step's own deadline is no fault of the script.
func TestDeadline(t *testing.T) {
	p, err := Compile("loop.lua", []byte("function message(msg) while true do end end"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err = p.Run(ctx, Call{Stage: pipeline.Message, View: view(t), Limits: DefaultLimits})
	if err == nil || !strings.Contains(err.Error(), "loop.lua: message: context deadline exceeded") {
		t.Error(err)
	}
}

// What a script reads and writes is known before it runs; what it reaches by a
// name that it computes is refused, so that the declaration holds.
func TestFacts(t *testing.T) {
	for script, want := range map[string][2]pipeline.Facts{
		`msg:note("x")`: {0, 0},
		`if msg.client.trusted then msg:done() end`:                      {0, 0},
		`if msg.subject == "x" then msg:add_score(1, "x") end`:           {pipeline.Header, pipeline.Scores},
		`local k = "subject" if msg[k] == "x" then msg:reject("no") end`: {pipeline.Header, 0},
		`kv.add("n")`:       {0, pipeline.Effects},
		`msg:fileinto("x")`: {0, pipeline.Effects},
	} {
		p, err := Compile("facts.lua", []byte("function message(msg) "+script+" end"))
		if err != nil || p.Reads != want[0] || p.Writes != want[1] {
			t.Errorf("%s: %v; reads %s, writes %s; want %v", script, err, p.Reads, p.Writes, want)
		}
	}
	_, err := run(t, `function message(msg) local x = msg["sub" .. "ject"] end`, pipeline.Message)
	if err == nil || !strings.Contains(err.Error(), "computed name") {
		t.Error(err)
	}
}

func TestLog(t *testing.T) {
	var out bytes.Buffer
	h := host(t)
	h.Log = func(l slog.Level, s string) { out.WriteString(l.String() + " " + s + "\n") }
	if _, err := runIn(t, `function message(msg) log.info("a", 1, nil, true) log.warn({} ~= nil) log.debug(("x"):rep(1e6)) end`, pipeline.Message, DefaultLimits, h); err != nil {
		t.Fatal(err)
	}
	if got := out.String(); !strings.HasPrefix(got, "INFO a 1 nil true\nWARN true\nDEBUG xxx") || len(got) > 1100 {
		t.Errorf("%.200s (%d octets)", got, len(got))
	}
}

func BenchmarkFiveHeaderRule(b *testing.B) {
	p, err := Compile("bench.lua", []byte(`function message(msg)
		if msg:header("X-A") == "three" or msg:header("Subject"):find("lottery", 1, true) or msg:header("From"):match("spammer")
			or msg:header("X-None") or msg:header("To") == "x" then msg:reject("no") end
	end`))
	if err != nil {
		b.Fatal(err)
	}
	c, ctx := Call{Stage: pipeline.Message, View: view(b), Limits: DefaultLimits}, context.Background()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := p.Run(ctx, c); err != nil {
			b.Fatal(err)
		}
	}
}

// FuzzCompile looks for scripts that the rewriting makes the compiler choke on, or
// that get past the bounds.
func FuzzCompile(f *testing.F) {
	for _, s := range []string{
		`function message(m) local t = {1, [2] = "x" .. 3, a = function(...) return ... end} t.a, t[1] = t[1], t end`,
		`function message(m) for i = 1, 3 do while i do repeat local f = function() return i end until f() end end goto x ::x:: end`,
		`local a <const> = 1`, `function a.b.c:d() end`, `return not -#x ^ 2 == 3 and 4 or "5" .. [[6]] .. '7'`,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, script string) {
		p, err := Compile("fuzz.lua", []byte(script))
		if err != nil {
			return
		}
		for s := pipeline.Connect; s <= pipeline.Queued; s++ {
			if p.Stages.Has(s) {
				_, _ = p.Run(t.Context(), Call{Stage: s, View: view(t), Limits: Limits{CPU: 100 * time.Millisecond, Memory: 1 << 20}})
			}
		}
	})
}
