package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"mtad/dns"
	"mtad/internal/mtatest"
	"mtad/message"
	"mtad/pipeline"
	"mtad/plugins/lua/engine"
	"mtad/smtp"
)

// TestMain makes the test's own program a worker, as mtad's main does.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == Arg {
		switch {
		case len(os.Args) == 3 && os.Args[2] == "probe":
			fmt.Fprintln(os.Stderr, confine(self(), "probing"))
			os.Exit(1)
		case len(os.Args) == 3 && os.Args[2] == "probing":
			probe()
			os.Exit(0)
		}
		os.Exit(Main(os.Args[2:]))
	}
	os.Exit(m.Run())
}

// probe tells what a confined process can still do.
func probe() {
	out := map[string]string{"env": strings.Join(os.Environ(), " ")}
	try := func(name string, err error) {
		if out[name] = "yes"; err != nil {
			out[name] = err.Error()
		}
	}
	_, err := os.ReadFile("/etc/passwd")
	try("read", err)
	_, err = os.ReadDir("/tmp")
	try("list", err)
	try("write", os.WriteFile(filepath.Join(os.TempDir(), "probe"), []byte("x"), 0o600))
	try("exec", exec.Command("/bin/sh", "-c", "true").Run())
	_, err = net.DialTimeout("tcp", "127.0.0.1:1", time.Second)
	try("dial", err)
	b, err := os.ReadFile("/proc/self/status")
	try("proc", err)
	out["status"] = string(b)
	json.NewEncoder(os.Stdout).Encode(out)
}

const sample = "From: Ann <ann@good.test>\r\nTo: bob@example.test\r\nSubject: hello\r\n\r\nbody\r\n"

func view(t testing.TB, text string) *pipeline.View {
	t.Helper()
	m, err := message.Parse(message.FromBytes([]byte(text)))
	if err != nil {
		t.Fatal(err)
	}
	bob := smtp.Address{Local: "bob", Domain: "example.test"}
	v := pipeline.NewView(pipeline.Client{Protocol: "smtp", Helo: "mx.good.test", Auth: &pipeline.Login{User: "u"}},
		pipeline.Mailing{ID: 7, Sender: smtp.Address{Local: "ann", Domain: "good.test"}, Rcpts: []pipeline.Recipient{{ID: 1, Addr: bob, Class: pipeline.Local}}}, m)
	return v.AtRcpt(1, bob)
}

func pool(t testing.TB, cfg Config) *Pool {
	t.Helper()
	if cfg.Workers == 0 {
		cfg.Workers = 2
	}
	if cfg.Memory == 0 {
		cfg.Memory = 512 << 20
	}
	p := NewPool(cfg)
	t.Cleanup(func() { p.Close() })
	return p
}

func job(t testing.TB, body string) Job {
	t.Helper()
	text := "function deliver(msg)\n" + body + "\nend"
	return Job{Key: text, Name: "bob/main", Text: text, Call: engine.Call{
		Stage: pipeline.Deliver, View: view(t, sample), Host: &engine.Host{}, Limits: engine.Limits{CPU: 20 * time.Second, Memory: 64 << 20, Redirects: 5},
	}}
}

// What a script says in a worker is what it says in the server.
func TestSameAsInProcess(t *testing.T) {
	p := pool(t, Config{})
	for _, body := range []string{
		``, `msg:fileinto("A", {"\\Seen"}) msg:copy("B") msg:keep()`, `msg:redirect("c@d.test") msg:redirect("e@f.test", true)`,
		`msg:reject("no", 554)`, `msg:tempfail("later")`, `msg:discard()`, `msg:note(msg.subject .. msg.from .. msg.sender .. msg.mailbox .. msg.client.helo .. msg.auth.user)`,
		`msg:set_flags("\\Flagged") msg:set_tag("a", "b") msg:add_score(1.5, "x", "y") msg:add_header("X-A", "b") msg:insert_header("X-B", "c") msg:set_header("Subject", "d") msg:remove_header("To")`,
		`msg:replace_body("new\r\n")`, `msg:set_folder("Junk")`, `msg:note(msg:body() .. #msg:raw_body() .. msg.size .. #msg.rcpts .. msg.class .. tostring(msg.tls))`,
		`error("own fault")`, `msg:nothing()`, `local x = 1 +`,
	} {
		j := job(t, body)
		var want string
		prog, err := engine.Compile(j.Name, []byte(j.Text))
		if err == nil {
			var v pipeline.Verdict
			v, err = prog.Run(t.Context(), j.Call)
			want = v.String() + v.Note
		}
		v, werr := p.Run(t.Context(), j)
		if got := v.String() + v.Note; (err == nil) != (werr == nil) || err == nil && got != want || err != nil && err.Error() != werr.Error() {
			t.Errorf("%s: %s, %v; in process %s, %v", body, got, werr, want, err)
		}
	}
	if n := len(p.idle); n != 1 {
		t.Errorf("%d workers for one call after the other", n)
	}
}

// What a script wants from outside comes over the socket, and only what it wants.
func TestHost(t *testing.T) {
	p := pool(t, Config{})
	z, err := dns.ParseZone(strings.NewReader("good.test. A 192.0.2.1\ndown.test. FAIL\n"))
	if err != nil {
		t.Fatal(err)
	}
	var logged []string
	j := job(t, `
		msg:note(table.concat({
			dns.lookup("good.test", "A")[1], #dns.lookup("none.test", "A"), tostring(dns.lookup("down.test", "A")),
			map.get("t", "K"), tostring(map.get("t", "x")), tostring(pcall(map.get, "u", "x")),
			kv.add("n", 2), kv.get("n"), tostring(kv.get("none")), (select(2, http.get("http://a.test/"))), tostring((http.get("http://b.test/"))),
			(msg:pipe("p")), tostring(pcall(msg.pipe, msg, "q")), math.floor(time.now()) }, " "))
		log.warn("noted")`)
	j.Host = &engine.Host{
		DNS: z, KV: counters{}, Now: func() time.Time { return time.Unix(1_000_000_000, 5e8) },
		Map: func(_ context.Context, table, key string) (string, bool, error) {
			if table != "t" {
				return "", false, engine.ErrNoTable
			}
			return "v", key == "k", nil
		},
		Fetch: func(_ context.Context, r engine.Request) (engine.Response, error) {
			if r.URL != "http://a.test/" {
				return engine.Response{}, engine.ErrNotAllowed
			}
			return engine.Response{Status: 200, Body: "ok"}, nil
		},
		Pipe: func(_ context.Context, name string, b message.Bytes) (engine.Output, error) {
			if name != "p" {
				return engine.Output{}, engine.ErrNotAllowed
			}
			return engine.Output{Status: int(b.Size())}, nil
		},
		Log: func(l slog.Level, text string) { logged = append(logged, l.String()+" "+text) },
	}
	v, err := p.Run(t.Context(), j)
	want := fmt.Sprintf("192.0.2.1 0 nil v nil false 2 2 nil ok nil %d false 1000000000", len(sample))
	if err != nil || v.Note != want || !slices.Equal(logged, []string{"WARN noted"}) {
		t.Errorf("%q, %v, %q; want %q", v.Note, err, logged, want)
	}
}

// counters is a KV that has only what was added.
type counters map[string]int64

func (c counters) Get(_ context.Context, k string) ([]byte, bool, error) {
	n, ok := c[k]
	return fmt.Append(nil, n), ok, nil
}

func (c counters) Set(context.Context, string, []byte, time.Duration) error { return nil }

func (c counters) Add(_ context.Context, k string, n int64, _ time.Duration) (int64, error) {
	c[k] += n
	return c[k], nil
}

// counted counts the octets that are read of a message.
type counted struct {
	message.Bytes
	n *int64
}

func (c counted) ReadAt(p []byte, off int64) (int, error) {
	n, err := c.Bytes.ReadAt(p, off)
	*c.n += int64(n)
	return n, err
}

// A large message stays where it is; a script gets what it asks for.
func TestLargeMessage(t *testing.T) {
	p := pool(t, Config{})
	var read int64
	text := "Subject: large\r\n\r\n" + strings.Repeat("0123456789abcde\n", 1<<20) + "the end\r\n"
	m, err := message.Parse(counted{message.FromBytes([]byte(text)), &read})
	if err != nil {
		t.Fatal(err)
	}
	j := job(t, `msg:note(msg.subject .. #msg:raw_body(300000) .. msg.size)`)
	j.View = pipeline.NewView(pipeline.Client{}, pipeline.Mailing{}, m).AtRcpt(0, smtp.Address{})
	read = 0
	v, err := p.Run(t.Context(), j)
	if want := fmt.Sprintf("large300000%d", len(text)); err != nil || v.Note != want {
		t.Errorf("%q, %v; want %q", v.Note, err, want)
	}
	if read > 1<<20 {
		t.Errorf("%d of %d octets were read", read, len(text))
	}
}

// A worker that grows too large is killed: that call fails, the next does not.
func TestMemory(t *testing.T) {
	p := pool(t, Config{Memory: 80 << 20, Workers: 1})
	j := job(t, `local t = {} for i = 1, 1e9 do t[i] = ("x"):rep(1000) .. i end`)
	j.Limits.Memory = 2 << 30
	_, err := p.Run(t.Context(), j)
	if err == nil || !strings.Contains(err.Error(), "bob/main: deliver: its worker was killed: it took") {
		t.Error(err)
	}
	if v, err := p.Run(t.Context(), job(t, `msg:discard()`)); err != nil || v.Action != pipeline.Discard {
		t.Errorf("the call after it: %v %v", v, err)
	}
}

// So it is with one that is killed by somebody else, or stands still.
func TestKilled(t *testing.T) {
	p := pool(t, Config{Workers: 1})
	for _, sig := range []syscall.Signal{syscall.SIGKILL, syscall.SIGSTOP} {
		j := job(t, `dns.lookup("x.test", "A")`)
		j.Limits.CPU = time.Second
		j.Host.DNS = resolverFunc(func() {
			w := p.busy(t)
			syscall.Kill(w, sig)
			if sig == syscall.SIGSTOP { // its threads stop one after the other
				mtatest.Eventually(t, "all threads have stopped", 10*time.Second, func() bool { return stopped(w) })
			}
		})
		_, err := p.Run(t.Context(), j)
		if err == nil || !strings.Contains(err.Error(), "its worker") {
			t.Errorf("%v: %v", sig, err)
		}
		if v, err := p.Run(t.Context(), job(t, `msg:discard()`)); err != nil || v.Action != pipeline.Discard {
			t.Errorf("the call after %v: %v %v", sig, v, err)
		}
	}
}

// busy is the process that is not idle: the only child of this one.
func (p *Pool) busy(t *testing.T) int {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/self/task/%d/children", os.Getpid()))
	if err != nil {
		t.Skip("this kernel names no children of a process")
	}
	all := string(b)
	tasks, _ := filepath.Glob("/proc/self/task/*/children")
	for _, f := range tasks {
		b, _ := os.ReadFile(f)
		all += " " + string(b)
	}
	for _, f := range strings.Fields(all) {
		var pid int
		fmt.Sscan(f, &pid)
		if cmd, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)); strings.Contains(string(cmd), Arg) {
			return pid
		}
	}
	t.Fatal("no worker among the children")
	return 0
}

// stopped reports whether every thread of a process stands still.
func stopped(pid int) bool {
	stats, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	for _, f := range stats {
		b, err := os.ReadFile(f)
		if _, state, ok := strings.Cut(string(b), ") "); err == nil && ok && state[0] != 'T' {
			return false
		}
	}
	return len(stats) > 0
}

type resolverFunc func()

func (f resolverFunc) Lookup(context.Context, string, dns.Type) (dns.Answer, error) {
	f()
	return dns.Answer{}, dns.ErrNoName
}

// The step's deadline ends the worker, whatever the script does.
func TestDeadline(t *testing.T) {
	p := pool(t, Config{Workers: 1})
	if _, err := p.Run(t.Context(), job(t, ``)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := p.Run(ctx, job(t, `while true do end`))
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	j := job(t, `while true do end`)
	j.Limits.CPU = 50 * time.Millisecond
	if _, err = p.Run(t.Context(), j); err == nil || !strings.Contains(err.Error(), "ran too long") {
		t.Error(err)
	}
}

// No more workers than are allowed; the same script's calls are apart.
func TestBound(t *testing.T) {
	p := pool(t, Config{Workers: 2})
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			v, err := p.Run(t.Context(), job(t, fmt.Sprintf(`msg:note("%d")`, i)))
			if err != nil || v.Note != fmt.Sprint(i) {
				t.Errorf("%d: %q %v", i, v.Note, err)
			}
		})
	}
	wg.Wait()
	if len(p.idle) > 2 {
		t.Errorf("%d workers", len(p.idle))
	}
}

// A worker has nothing of its server's: neither environment nor descriptors.
func TestBare(t *testing.T) {
	t.Setenv("SECRET", "of the server")
	p := pool(t, Config{Workers: 1})
	if _, err := p.Run(t.Context(), job(t, ``)); err != nil {
		t.Fatal(err)
	}
	proc := fmt.Sprintf("/proc/%d/", p.idle[0].cmd.Process.Pid)
	env, err := os.ReadFile(proc + "environ")
	if err != nil {
		t.Skip("no /proc: ", err)
	}
	for v := range strings.SplitSeq(strings.TrimSuffix(string(env), "\x00"), "\x00") {
		if name, _, _ := strings.Cut(v, "="); !slices.Contains([]string{"GOMAXPROCS", "GOMEMLIMIT", "GOTRACEBACK"}, name) {
			t.Errorf("its environment has %s", v)
		}
	}
	fds, err := os.ReadDir(proc + "fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		to, err := os.Readlink(proc + "fd/" + fd.Name())
		own := strings.HasPrefix(to, "anon_inode:") || to == "/dev/null" || fd.Name() == "0" && strings.HasPrefix(to, "socket:") || fd.Name() == "2" && strings.HasPrefix(to, "pipe:")
		if err == nil && !own {
			t.Errorf("descriptor %s is %s", fd.Name(), to)
		}
	}
	b, err := os.ReadFile(proc + "status")
	if err != nil || !strings.Contains(string(b), "NoNewPrivs:\t1") {
		t.Errorf("%v\n%s", err, b)
	}
}

// What can not be started is not tried again at once.
func TestBackoff(t *testing.T) {
	p := pool(t, Config{program: "/nonexistent/mtad"})
	for range 3 {
		if _, err := p.Run(t.Context(), job(t, ``)); !errors.Is(err, ErrDown) {
			t.Fatal(err)
		}
	}
	if p.pause != firstPause {
		t.Errorf("%v after one try", p.pause)
	}
	p.next = time.Time{}
	if _, err := p.Run(t.Context(), job(t, ``)); !errors.Is(err, ErrDown) || p.pause != 2*firstPause {
		t.Errorf("%v %v", err, p.pause)
	}
}

// A confined process has nothing to do harm with.
func TestConfined(t *testing.T) {
	cmd := exec.Command(self(), Arg, "probe")
	cmd.Env = []string{}
	cmd.Stderr = os.Stderr
	b, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var out map[string]string
	if err := json.Unmarshal(b, &out); err != nil {
		t.Fatal(err)
	}
	if out["env"] != "" {
		t.Errorf("environment %q", out["env"])
	}
	if out["write"] == "yes" {
		t.Error("it can write a file")
	}
	if Landlock() == 0 {
		t.Skip("no Landlock in this kernel: a worker can read files here, and open connections")
	}
	if !strings.Contains(out["status"], "NoNewPrivs:\t1") && out["proc"] == "yes" {
		t.Errorf("it can gain privileges:\n%s", out["status"])
	}
	for _, what := range []string{"read", "list", "exec"} {
		if !strings.Contains(out[what], "permission denied") {
			t.Errorf("%s: %s", what, out[what])
		}
	}
	if Landlock() >= 4 && !strings.Contains(out["dial"], "permission denied") {
		t.Errorf("dial: %s", out["dial"])
	}
}

// A worker is not believed.
func TestVerdictIn(t *testing.T) {
	for _, v := range []*verdict{
		nil,
		{Reply: smtp.Reply{Code: 550, Text: "a\r\nRCPT"}},
		{Rcpts: []pipeline.RcptVerdict{{Rcpt: 1, Mods: []pipeline.Modification{pipeline.Hold{}}}}},
		{Mods: []edit{{"CancelKeep", json.RawMessage(`{}`)}}},
		{Mods: []edit{{"AddHeader", json.RawMessage(`{"Name":"X: y\r\nZ","Value":"x"}`)}}},
		{Mods: []edit{{"AddHeader", json.RawMessage(`{"Name":"X","Value":"x","Raw":true}`)}}},
		{Mods: []edit{{"AddHeader", json.RawMessage(`[`)}}},
		{Mods: []edit{{"Redirect", json.RawMessage(`{"addr":{"l":"a>\r\nDATA","d":"b"}}`)}}},
		{Mods: []edit{{"SetSender", json.RawMessage(`{"Addr":{"l":"a","d":"b"},"Params":["SIZE=1"]}`)}}},
		{Mods: []edit{{"FileInto", json.RawMessage(`{"folder":"a\u0000b"}`)}}},
		{Mods: []edit{{"FileInto", json.RawMessage(`{"folder":"a","flags":["b c"]}`)}}},
		{Mods: []edit{{"SetFlags", json.RawMessage(`{"Flags":["\\Seen)"]}`)}}},
		{Mods: []edit{{"AddAuthResult", json.RawMessage(`{"Result":{"method":"x y","result":"pass"}}`)}}},
	} {
		if got, err := verdictIn(v); err == nil {
			t.Errorf("%v was believed: %v", v, got)
		}
	}
}

// FuzzFrame reads what a worker that has gone mad may send.
func FuzzFrame(f *testing.F) {
	for _, s := range []string{`{"k":"verdict","verdict":{"mods":[{"k":"ReplaceBody","e":{"Body":"eA=="}}]}}`, `{"k":"read","n":-1,"len":9}`, `{"k":"fetch","request":{"URL":"x"}}`} {
		f.Add([]byte(s), []byte("x"))
	}
	f.Fuzz(func(t *testing.T, head, payload []byte) {
		raw := append([]byte{byte(len(head) >> 24), byte(len(head) >> 16), byte(len(head) >> 8), byte(len(head)), 0, 0, byte(len(payload) >> 8), byte(len(payload))}, head...)
		in, err := readFrame(strings.NewReader(string(append(raw, payload...))))
		if err != nil {
			return
		}
		_, _ = verdictIn(in.Verdict)
		j := Job{Call: engine.Call{Host: &engine.Host{KV: counters{}}}, Text: "x"}
		_, _ = answer(t.Context(), &j, message.FromBytes([]byte(sample)), in)
	})
}

func BenchmarkCall(b *testing.B) {
	p := pool(b, Config{})
	j := job(b, `if msg:header("X-A") == "three" or msg.subject:find("lottery") then msg:fileinto("x") end`)
	if _, err := p.Run(b.Context(), j); err != nil {
		b.Fatal(err)
	}
	var took []time.Duration
	for b.Loop() {
		begin := time.Now()
		if _, err := p.Run(b.Context(), j); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(begin))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-us")
}

func BenchmarkStart(b *testing.B) {
	for b.Loop() {
		p := NewPool(Config{Workers: 1, Memory: 512 << 20})
		if _, err := p.Run(b.Context(), job(b, ``)); err != nil {
			b.Fatal(err)
		}
		p.Close()
	}
}
