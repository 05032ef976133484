package main

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"mtad/selector"
)

// TestCommands runs the dialogues of testdata/commands: "run" runs command
// lines, the text behind <<< being standard input; "await" waits for an event.
func TestCommands(t *testing.T) {
	files, err := filepath.Glob("testdata/commands/*")
	check(t, err)
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			r := startHouse(t, worlds[filepath.Base(file)])
			datadriven.RunTest(t, file, func(t *testing.T, d *datadriven.TestData) string {
				switch d.Cmd {
				case "run":
					return r.dialogue(t, d.Input)
				case "await":
					r.await(t, d.Input)
					return ""
				case "deferred":
					r.deferred(t)
					return ""
				case "config":
					old, now, _ := strings.Cut(d.Input, "\n")
					r.edit(t, func(s string) string { return strings.Replace(s, old, now, 1) })
					return ""
				}
				d.Fatalf(t, "no command %q", d.Cmd)
				return ""
			})
		})
	}
}

// worlds are changes to the configuration that some dialogues begin with.
var worlds = map[string]func(string) string{
	"spam": func(s string) string { // by whose rules Bayes learns
		rules, err := filepath.Abs("../../plugins/spamscore/testdata/bayes.cf")
		if err != nil {
			panic(err)
		}
		return strings.Replace(s, "pipeline \"inbound\" {", fmt.Sprintf("pipeline \"inbound\" {\n  filter \"spamscore\" {\n    rules = [%q]\n  }", rules), 1)
	},
	"queue": func(s string) string { // nobody takes foreign mail
		return sinkAddress.ReplaceAllString(s, `to       = ["127.0.0.1:1"]`)
	},
}

var sinkAddress = regexp.MustCompile(`to  *= \["127\.0\.0\.1:\d+"\]`)

// deferred waits until something in the queue is.
func (r *running) deferred(t *testing.T) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); {
		found, err := r.house.queue.List(t.Context(), selector.Selector{Status: "deferred"}, 1)
		check(t, err)
		if len(found) > 0 {
			return
		}
	}
	t.Fatal("nothing is deferred")
}

// dialogue runs command lines and shows what they printed, errors behind "!".
func (r *running) dialogue(t *testing.T, input string) string {
	t.Helper()
	var b strings.Builder
	for line := range strings.Lines(input) {
		line, stdin, _ := strings.Cut(strings.TrimSpace(line), " <<< ")
		out, errs, code := r.mtad(strings.ReplaceAll(stdin, `\n`, "\n"), r.words(t, line)...)
		b.WriteString(out)
		for e := range strings.Lines(errs) {
			b.WriteString("! " + e)
		}
		if code != 0 {
			fmt.Fprintf(&b, "exit %d\n", code)
		}
	}
	return r.normal(b.String())
}

var wordPattern = regexp.MustCompile(`"[^"]*"|\S+`)

// words cuts a command line. $DIR is the house's directory, $LAST the newest
// trace's ID.
func (r *running) words(t *testing.T, line string) []string {
	t.Helper()
	var out []string
	for _, w := range wordPattern.FindAllString(line, -1) {
		w = strings.Trim(w, `"`)
		w = strings.ReplaceAll(w, "$DIR", r.dev.Path)
		if w == "$LAST" {
			found, err := r.house.traces.Last(t.Context(), 1)
			check(t, err)
			w = found[0].ID.String()
		}
		out = append(out, w)
	}
	return out
}

// volatile is what differs from run to run.
var volatile = []struct {
	pattern *regexp.Regexp
	to      string
}{
	{regexp.MustCompile(`p=[A-Za-z0-9+/]{43}=`), "p=KEY"},
	{regexp.MustCompile(`\b0[0-9a-hjkmnp-tv-z]{12}\b`), "ID"},
	{regexp.MustCompile(`(127\.0\.0\.1|192\.0\.2\.10|203\.0\.113\.5|\]):\d+`), "$1:PORT"},
	{regexp.MustCompile(`[A-Z][a-z]{2} \d+ [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d\.\d{3}`), "DATE"},
	{regexp.MustCompile(`(?m)^ *(0|\+[<0-9.]+ m?s)  `), "     TIME  "},
	{regexp.MustCompile(`  \(<?[0-9.]+ m?s\)`), "  (TOOK)"},
	{regexp.MustCompile(`  <?[0-9.]+ m?s  `), "  TOOK  "},
	{regexp.MustCompile(`\d{4}-\d\d-\d\d([ T]\d\d:\d\d:\d\dZ?)?`), "DATE"},
	{regexp.MustCompile(`EHLO \S+`), "EHLO NAME"},
	{regexp.MustCompile(`\d+ [A-Z][a-z]{2} \d\d:\d\d:\d\d`), "DATE"},
	{regexp.MustCompile(`SIZE=\d+`), "SIZE=N"},
	{regexp.MustCompile(`process \d+`), "process N"},
	{regexp.MustCompile(`mtad \S+ on (\S+) runs since .* \(\d+s\)`), "mtad VERSION on $1 runs since DATE (AGE)"},
	{regexp.MustCompile(`(?m)(ready|deferred|held) {2,}\d+s +(now|\d+[smh])? +`), "$1  AGE  NEXT  "},
	{regexp.MustCompile(`\d+s old`), "AGE old"},
	{regexp.MustCompile(`\d+s {2,}\d+m {2,}`), "AGE  NEXT  "},
	{regexp.MustCompile(`[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d( \d{4})?`), "DATE"},
	{regexp.MustCompile(`"arrival_time": \d+`), `"arrival_time": SECONDS`},
	{regexp.MustCompile(`\(in \d+\w\)`), "(in TIME)"},
	{regexp.MustCompile(`Date: .*`), "Date: DATE"},
	{regexp.MustCompile(`[A-Z][a-z]{2}, \d+ [A-Z][a-z]{2} \d{4} .*`), "DATE"},
	{regexp.MustCompile(`Received: from \S+`), "Received: from NAME"},
}

func (r *running) normal(s string) string {
	s = strings.NewReplacer(r.dev.Path, "$DIR", "\r\n", "\n").Replace(s)
	for _, v := range volatile {
		s = v.pattern.ReplaceAllString(s, v.to)
	}
	return s
}

// Mail must not be relayed to where this server listens, however that is written.
func TestListens(t *testing.T) {
	for _, c := range []struct {
		addr, at string
		want     bool
	}{
		{"192.0.2.1:25", "192.0.2.1:25", true}, {"192.0.2.1:25", "192.0.2.1:26", false}, {"192.0.2.1:25", "192.0.2.2:25", false},
		{"0.0.0.0:25", "127.0.0.1:25", true}, {"[::]:25", "127.0.0.1:25", true}, {":25", "127.0.0.1:25", true},
		{":25", "[::1]:25", true}, {":25", "127.0.0.1:26", false}, {":25", "192.0.2.1:25", false},
	} {
		if got := listens(c.addr, netip.MustParseAddrPort(c.at)); got != c.want {
			t.Errorf("%s at %s: %v", c.addr, c.at, got)
		}
	}
}
