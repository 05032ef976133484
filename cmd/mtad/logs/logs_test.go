package logs

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"mtad/admin"
	"mtad/message"
	"mtad/pipeline"
	"mtad/trace/postfix"
)

// output is what a Log writes to standard error.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// daemon is a syslog daemon that a test reads from.
func daemon(t *testing.T, path string) *net.UnixConn {
	t.Helper()
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func receive(t *testing.T, c *net.UnixConn) string {
	t.Helper()
	b := make([]byte, 64<<10)
	if err := c.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	n, err := c.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	return string(b[:n])
}

func open(t *testing.T, p Place) (*Log, *output) {
	t.Helper()
	out := &output{}
	l := Open(out, p, "mx")
	t.Cleanup(l.Close)
	return l, out
}

func like(t *testing.T, got, pattern string) {
	t.Helper()
	if !regexp.MustCompile("^" + pattern + "$").MatchString(got) {
		t.Errorf("got %q, want it like %q", got, pattern)
	}
}

const stamp = `[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d`

func TestForms(t *testing.T) {
	for form, want := range map[string]string{
		"text":    `time=\S+ level=WARN msg="a b" session=s x=1\n`,
		"json":    `\{"time":"[^"]+","level":"WARN","msg":"a b","session":"s","x":1\}\n`,
		"postfix": stamp + ` mx postfix/mtad\[\d+\]: warning: a b session=s x=1\n`,
	} {
		l, out := open(t, Place{LogLevel: "info", LogFormat: form, LogTo: "stderr"})
		l.With("session", "s").Warn("a b", "x", 1)
		l.Debug("unheard")
		like(t, out.String(), want)
		if to, lines := l.After(0); to != "stderr" || len(lines) != 1 || lines[0].Level != "warn" || lines[0].Text+"\n" != out.String() {
			t.Errorf("%s: kept %q %+v", form, to, lines)
		}
		l.SetLevel("debug")
		l.Debug("heard")
		if n := strings.Count(out.String(), "\n"); n != 2 {
			t.Errorf("%s: %d lines", form, n)
		}
	}
}

// Nobody who chooses a login name writes a line for fail2ban.
func TestForgedNote(t *testing.T) {
	l, out := open(t, Place{LogLevel: "info", LogFormat: "postfix", LogTo: "stderr"})
	l.Warn("login failed", "login", "x[6.6.6.6]: SASL LOGIN authentication failed\nMar  4 05:06:07 mx postfix/smtpd[1]: ")
	if got := out.String(); strings.Contains(got, "[6.6.6.6]") || strings.Count(got, "\n") != 1 {
		t.Errorf("got %q", got)
	}
}

func TestSyslogForm(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	c := daemon(t, path)
	l, out := open(t, Place{LogLevel: "info", LogFormat: "postfix", LogTo: "syslog:" + path, Facility: "mail", SyslogName: "mx1"})
	l.Info("hello", "a", "b")
	like(t, receive(t, c), `<22>`+stamp+` mx1/mtad\[\d+\]: hello a=b`)
	id := message.NewID(time.Now())
	l.Trace(pipeline.Trace{ID: id, Events: []pipeline.Event{
		{Time: time.Now(), Kind: pipeline.EventSession, Host: "192.0.2.1:1"}, {Time: time.Now(), Kind: pipeline.EventTaken, Size: 3},
	}})
	for _, want := range []string{`connect from unknown\[192\.0\.2\.1\]`, postfix.ID(id) + `: client=.*`, postfix.ID(id) + `: message-id=<>`, postfix.ID(id) + `: from=<>, size=3, .*`} {
		like(t, receive(t, c), `<22>`+stamp+` mx1/\w+\[\d+\]: `+want)
	}
	if out.String() != "" {
		t.Errorf("on standard error: %s", out)
	}

	text, _ := open(t, Place{LogLevel: "info", LogFormat: "text", LogTo: "syslog:" + path, Facility: "local7"})
	text.Error("a b", "stack", strings.Repeat("x\n", 20000))
	got := receive(t, c)
	like(t, got[:min(len(got), 80)], `<187>`+stamp+fmt.Sprintf(` mtad\[%d\]: level=ERROR msg="a b" stack="x.*`, os.Getpid()))
	if len(got) > syslogLine+100 {
		t.Errorf("%d octets", len(got))
	}
}

// A daemon that is restarted gets what came meanwhile.
func TestSyslogRestart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	c := daemon(t, path)
	l, _ := open(t, Place{LogLevel: "info", LogFormat: "text", LogTo: "syslog:" + path, Facility: "mail"})
	l.Info("one")
	receive(t, c)
	c.Close()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	l.Info("two")
	c = daemon(t, path)
	l.Info("three")
	for _, want := range []string{"two", "three"} {
		if got := receive(t, c); !strings.HasSuffix(got, "msg="+want) {
			t.Errorf("got %q, want %s", got, want)
		}
	}
}

// A daemon that takes nothing keeps nobody waiting; what is lost is told, there
// and on standard error.
func TestSyslogLost(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	l, out := open(t, Place{LogLevel: "info", LogFormat: "text", LogTo: "syslog:" + path, Facility: "mail"})
	const all = 3 * syslogQueue
	began := time.Now()
	for i := range all {
		l.Info("line", "n", i)
	}
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("logging took %v", took)
	}
	if got := out.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "log lines are being lost: syslog at "+path) {
		t.Errorf("said %q", got)
	}
	c := daemon(t, path)
	lines, lost := 0, 0
	for lines+lost < all {
		got := receive(t, c)
		if _, rest, ok := strings.Cut(got, "warning: "); ok {
			n := 0
			if _, err := fmt.Sscanf(rest, "%d log lines were lost", &n); err != nil {
				t.Fatalf("%q: %v", got, err)
			}
			lost += n
			continue
		}
		lines++
	}
	if lines+lost != all || lost < all-syslogQueue-1 {
		t.Errorf("%d lines came, %d are said to be lost, of %d", lines, lost, all)
	}
	if _, kept := l.After(0); len(kept) != recentLines || kept[len(kept)-1].Seq != all {
		t.Errorf("%d lines are kept", len(kept))
	}
}

func TestCheckTo(t *testing.T) {
	for to, good := range map[string]bool{"stderr": true, "syslog": true, "syslog:/run/x": true, "syslog:": false, "syslog:x": false, "/var/log/mail.log": false, "": false} {
		if wrong := CheckTo(to); (wrong == "") != good {
			t.Errorf("%q: %q", to, wrong)
		}
	}
}

func TestRecent(t *testing.T) {
	r := &recent{}
	for i := range recentLines + 10 {
		r.add(time.Now(), postfix.Info, fmt.Sprint(i))
	}
	if all := r.after(0); len(all) != recentLines || all[0].Text != "10" || all[0].Seq != 11 {
		t.Errorf("%d lines from %+v", len(all), all[0])
	}
	if got := r.after(recentLines + 8); len(got) != 2 || got[0].Seq != recentLines+9 {
		t.Errorf("got %+v", got)
	}
	if got := r.after(1 << 60); len(got) != 0 {
		t.Errorf("got %+v", got)
	}
	long := strings.Repeat("x", 1<<20)
	for range 2000 {
		r.add(time.Now(), postfix.Info, long)
	}
	if r.octets > recentOctets || len(r.lines) > recentOctets/recentLine+1 {
		t.Errorf("%d octets in %d lines", r.octets, len(r.lines))
	}
}

func TestFilter(t *testing.T) {
	id := message.NewID(time.Now())
	now := time.Now()
	line := func(text string) admin.LogLine {
		return admin.LogLine{Time: now.Add(-time.Hour), Level: "warn", Text: text}
	}
	for _, tc := range []struct {
		filter Filter
		text   string
		want   bool
	}{
		{Filter{}, "x", true},
		{Filter{ID: id.String()}, "a " + postfix.ID(id) + ": b", true},
		{Filter{ID: postfix.ID(id)}, "a [" + id.String() + "]", true},
		{Filter{ID: postfix.ID(id)}, "a", false},
		{Filter{Level: "error"}, "x", false},
		{Filter{Level: "warn"}, "x", true},
		{Filter{Since: time.Minute}, "x", false},
		{Filter{Since: 2 * time.Hour}, "x", true},
		{Filter{Address: "ANN@a.example"}, "to=<ann@A.example>,", true},
		{Filter{Address: "ann@a.example"}, "to=<joann@a.example> to=<ann@a.example.org>", false},
		{Filter{Address: "192.0.2.1"}, "from unknown[192.0.2.17] unknown[192.0.2.1]", true},
		{Filter{Address: "192.0.2.1"}, "from unknown[192.0.2.17]", false},
		{Filter{Text: "Reject"}, "NOQUEUE: reject: x", true},
		{Filter{Text: "reject", Level: "error"}, "NOQUEUE: reject: x", false},
	} {
		if err := tc.filter.Check(); err != nil {
			t.Fatal(err)
		}
		if got := tc.filter.Match(line(tc.text), now); got != tc.want {
			t.Errorf("%+v: %q: %v", tc.filter, tc.text, got)
		}
	}
	for _, bad := range []Filter{{Level: "loud"}, {ID: "x"}} {
		if bad.Check() == nil {
			t.Errorf("%+v is taken", bad)
		}
	}
}

// BenchmarkInfo is what a line costs whoever logs it.
func BenchmarkInfo(b *testing.B) {
	l := Open(&output{}, Place{LogLevel: "info", LogFormat: "text", LogTo: "stderr"}, "mx")
	b.ReportAllocs()
	for b.Loop() {
		l.Info("imapd: login", "account", "alice@example.test", "tls", true)
	}
}
