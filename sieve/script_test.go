package sieve

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"mtad/internal/mtatest"
)

// fields is a message made of a map, by upper-case names.
type fields map[string][]string

func (f fields) Header(name string) []string   { return f[asciiUpper(name)] }
func (f fields) Size() int64                   { return 1000 }
func (f fields) Media(string) []Media          { return nil }
func (f fields) Type() (string, string)        { return "text", "plain" }
func (f fields) Children() ([]Entity, error)   { return nil, nil }
func (f fields) Content(int) ([][]byte, error) { return nil, nil }
func (f fields) Body(int) ([]byte, error)      { return []byte{}, nil }

func (f fields) Addresses(name string) [][]Address {
	var out [][]Address
	for _, s := range f[asciiUpper(name)] {
		out = append(out, []Address{addr(s)})
	}
	return out
}

func addr(s string) Address {
	i := strings.LastIndexByte(s, '@')
	if i < 0 {
		return Address{Local: s}
	}
	return Address{Local: s[:i], Domain: s[i+1:]}
}

func compile(t testing.TB, text string, opts Options) *Script {
	t.Helper()
	s, problems := Compile(text, opts)
	if s == nil {
		t.Fatalf("%s", problems.String())
	}
	return s
}

func TestExtensions(t *testing.T) {
	want := strings.Fields(`body comparator-i;ascii-casemap comparator-i;ascii-numeric comparator-i;octet comparator-i;unicode-casemap copy
		date duplicate editheader enclose encoded-character enotify envelope environment ereject extlists extracttext fcc fileinto foreverypart
		ihave imap4flags imapsieve include index mailbox mailboxid mboxmetadata mime regex reject relational replace servermetadata spamtest
		spamtestplus special-use subaddress vacation vacation-seconds variables virustest vnd.dovecot.debug vnd.dovecot.environment
		vnd.dovecot.execute vnd.dovecot.filter vnd.dovecot.pipe vnd.dovecot.report`)
	if got := Extensions(); !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
}

// TestTables finds rows that could never be used.
func TestTables(t *testing.T) {
	for _, e := range extensions() {
		if e.rfc == "" {
			t.Errorf("extension %q names no RFC", e.name)
		}
	}
	reg := newRegistry()
	groups := map[group]bool{}
	for _, row := range reg.commands {
		if row.build == nil {
			t.Errorf("command %s does nothing", row.name)
		}
		for _, g := range row.groups {
			groups[g] = true
		}
	}
	for _, row := range reg.tests {
		if row.build == nil {
			t.Errorf("test %s does nothing", row.name)
		}
		for _, g := range row.groups {
			groups[g] = true
		}
	}
	for name, rows := range reg.tags {
		for _, row := range rows {
			for _, on := range row.on {
				if reg.commands[on] == nil && reg.tests[on] == nil {
					t.Errorf("tag %s goes with %s, which does not exist", name, on)
				}
			}
			if row.group != "" && !groups[row.group] && len(row.on) == 0 {
				t.Errorf("tag %s belongs to the %s, which nothing takes", name, row.group)
			}
			if row.group == "" && len(row.on) == 0 {
				t.Errorf("tag %s goes with nothing", name)
			}
		}
	}
}

// goldenFiles hold the examples of extensions that no RFC describes.
var goldenFiles = map[string]string{
	"draft-ietf-sieve-regex":               "regex",
	"spec-bosch-sieve-extprograms":         "dovecot",
	"spec-bosch-sieve-debug":               "dovecot",
	"spec-bosch-sieve-report":              "dovecot",
	"spec-bosch-sieve-dovecot-environment": "rfc5183",
}

// TestExamples: what is advertised has a golden file with the examples of its
// RFC, or with its rules where the RFC has none, and the file requires it.
func TestExamples(t *testing.T) {
	for _, e := range extensions() {
		file := "rfc" + e.rfc
		if strings.Contains(e.rfc, "-") {
			file = goldenFiles[e.rfc]
		}
		text, err := os.ReadFile(filepath.Join("testdata/golden", file))
		if file == "" || err != nil {
			t.Errorf("%q (%s) has no examples: %v", e.name, e.rfc, err)
			continue
		}
		name := regexp.QuoteMeta(e.name)
		required := regexp.MustCompile(`"` + name + `"|require=\((.*, *)?` + name + `[,)]`)
		if e.name != "" && !required.Match(text) {
			t.Errorf("no script of testdata/golden/%s requires %q", file, e.name)
		}
	}
}

func TestWithout(t *testing.T) {
	s, problems := Compile(`require "reject"; reject "x";`, Options{Without: []string{"reject"}})
	if s != nil || !strings.Contains(problems.String(), "there is no extension") {
		t.Errorf("got %v", problems)
	}
	_, problems = Compile(`reject "x";`, Options{Without: []string{"reject"}})
	if problems[0].Hint != "it is switched off here" {
		t.Errorf("got %v", problems)
	}
}

func TestSeparator(t *testing.T) {
	s := compile(t, `require "subaddress"; if allof (address :detail "to" "y-z", address :user "to" "x", not address :user "to" "y") { discard; }`, Options{Separator: "-_"})
	r, err := s.Run(context.Background(), Env{Message: fields{"TO": {"x_y-z@example.org"}}})
	if err != nil || r.Actions[0].Kind != Discard {
		t.Errorf("got %v %v", r, err)
	}
}

// slow is far more than anything here takes, and far less than what does
// quadratic work.
const slow = 20 * time.Second

func TestCompileBounds(t *testing.T) {
	many := func(n int, f string) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, f, i)
		}
		return b.String()
	}
	deep := func(n int) string { return strings.Repeat("if true {", n) + "keep;" + strings.Repeat("}", n) }
	tests := []struct {
		name, text, want string
	}{
		{"script", strings.Repeat(" ", 1<<20+1), "1:1: error: the script has 1048577 octets; at most 1048576 are allowed"},
		{"fifteen blocks", deep(15), ""},
		{"blocks", deep(33), "1:297: error: blocks are nested more than 32 deep"},
		{"very deep blocks", deep(100_000), "1:297: error: blocks are nested more than 32 deep"},
		{"very deep tests", "if " + strings.Repeat("not ", 200_000) + "true {}", "1:132: error: tests are nested more than 32 deep"},
		{"128 variables", `require "variables";` + many(128, `set "v%d" "x";`), ""},
		{"variables", `require "variables";` + many(257, `set "v%d" "x";`), "more than 256 variables"},
		{"large value", `require "variables"; set "a" "` + strings.Repeat("x", 20000) + `";`, "warning: the value is cut to 16384 octets"},
		{"NUL", "keep;\x00", "1:6: error: \"\\x00\" is no part of the language"},
		{"NUL in a string", "redirect \"a\x00@example.org\";", "a NUL octet in a string"},
		{"CR", "keep;\rdiscard;", "a carriage return without a line feed"},
		{"CR in a string", "redirect \"a\r@b.example\";", "a carriage return without a line feed"},
		{"NUL in text", "require \"reject\"; reject text:\na\x00\n.\n;", "a NUL octet in a string"},
		{"text on the line", `require "reject"; reject text: x;`, "the text begins on the line after text:"},
		{"byte order mark", "\uFEFFkeep;", ""},
		{"CRLF", "if true {\r\n  keep; # x\r\n}\r\n", ""},
		{"binary reason", "require \"reject\"; reject \"\xff\";", "the reason is not UTF-8"},
		{"commands", strings.Repeat("keep;\n", 170_000), ""},
		{"quoted strings", strings.Repeat("\"\";", 250_000), "there are more problems than are shown"},
		{"tags", "keep " + strings.Repeat(":flags ", 100_000) + ";", "there are more problems than are shown"},
		{"list", `if header "x" [` + strings.Repeat(`"x",`, 200_000) + `"x"] {}`, ""},
		{"references", `require "variables"; redirect "` + strings.Repeat("${", 500_000) + `";`, "no address"},
		{"encodings", `require "encoded-character"; redirect "` + strings.Repeat("${hex:", 150_000) + `";`, "no address"},
		{"references that end", `require "variables"; redirect "` + strings.Repeat("${", 400_000) + `}";`, "no address"},
		{"encodings that end", `require "encoded-character"; redirect "` + strings.Repeat("${hex:", 150_000) + `}";`, "no address"},
		{"unknown commands", strings.Repeat("x;", 500_000), "there are more problems than are shown"},
		{"unknown commands that may run", `require "ihave"; if ihave "no" {` + strings.Repeat("fileintp;", 110_000) + "}", ""},
		{"unknown tests", "if anyof(" + strings.Repeat("headr,", 170_000) + "true) {}", "there are more problems than are shown"},
		{"unknown extensions", "require [" + strings.Repeat(`"fileintp",`, 90_000) + `"copy"];`, "there are more problems than are shown"},
		{"unknown tags", "keep " + strings.Repeat(":x", 500_000) + ";", "there are more problems than are shown"},
		{"warnings before an error", strings.Repeat(";", 40) + "kep;", "unknown command"},
		{"problems", many(100, "foo%d;\n"), "there are more problems than are shown"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			spent := mtatest.CPU(t)
			_, problems := Compile(tt.text, Options{})
			got := problems.String()
			if len(problems) > maxProblems || (tt.want == "") != (len(problems) == 0) || !strings.Contains(got, tt.want) {
				t.Errorf("got %s", got)
			}
			if d := spent(); d > slow {
				t.Errorf("took %v", d)
			}
		})
	}
}

// TestRunBounds runs scripts that would be slow if anything were tried twice.
func TestRunBounds(t *testing.T) {
	long := strings.Repeat("a", 250_000)
	m := fields{"SUBJECT": {long}, "X": slices.Repeat([]string{strings.Repeat("ab", 500)}, 1000)}
	tests := []struct {
		name, text string
		limit      bool
	}{
		{"stars", `if header :matches "subject" "` + strings.Repeat("*a", 5000) + `b" { discard; }`, false},
		{"stars and marks", `if header :matches "subject" "*` + strings.Repeat("?a", 2000) + `b*" { discard; }`, true},
		{"contains", `if header :contains "subject" "` + strings.Repeat("a", 100_000) + `b" { discard; }`, false},
		{"many keys", `if header :matches "x" [` + strings.Repeat(`"*?b?b?b?b?b?c*",`, 30000) + `"x"] { discard; }`, true},
		{"many tests", `if anyof (` + strings.Repeat(`header :contains "x" "c",`, 30000) + `false) { discard; }`, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := compile(t, tt.text, Options{Limits: Limits{Steps: 5_000_000}})
			spent := mtatest.CPU(t)
			r, err := s.Run(context.Background(), Env{Message: m})
			if errors.Is(err, ErrLimit) != tt.limit || len(r.Actions) != 1 || !r.Actions[0].Implicit {
				t.Errorf("got %v, %v after %d steps", r.Actions, err, r.Steps)
			}
			if d := spent(); d > slow {
				t.Errorf("took %v", d)
			}
		})
	}
}

func TestContext(t *testing.T) {
	s := compile(t, `if header :contains "subject" "x" { discard; }`, Options{})
	cause := errors.New("enough")
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(cause)
	r, err := s.Run(ctx, Env{Message: fields{}})
	if !errors.Is(err, cause) || !r.Actions[0].Implicit {
		t.Errorf("got %v %v", r, err)
	}
}

func TestActionsBound(t *testing.T) {
	var b strings.Builder
	b.WriteString(`require "fileinto";` + "\n")
	for i := range 33 {
		fmt.Fprintf(&b, "fileinto \"f%d\";\n", i)
	}
	_, err := compile(t, b.String(), Options{}).Run(context.Background(), Env{Message: fields{}})
	var run *RunError
	if !errors.As(err, &run) || run.Line != 34 || !errors.Is(err, ErrLimit) {
		t.Errorf("got %v", err)
	}
}

// TestVariableCut cuts between characters.
func TestVariableCut(t *testing.T) {
	s := compile(t, `require ["variables", "fileinto"];
		set "a" "12345678ä"; set "b" "${a}${a}"; set "c" "${b}${b}"; set :length "n" "${a}"; fileinto "${a}|${c}|${n}";`,
		Options{Limits: Limits{VariableSize: 9}})
	r, err := s.Run(context.Background(), Env{Message: fields{}})
	if err != nil || r.Actions[0].Mailbox != "12345678|123456781|8" {
		t.Errorf("got %v %v", r.Actions, err)
	}
}

// TestShared runs one script from many goroutines.
func TestShared(t *testing.T) {
	s := compile(t, `require ["variables", "fileinto", "imap4flags"];
		addflag "f" "x"; if header :matches "subject" "* *" { set "a" "${2}"; addflag "${1}"; fileinto :flags "${f}" "${a}"; }`, Options{})
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 200 {
				want := fmt.Sprintf("fileinto \"%d\" [x]", i*1000+j)
				r, err := s.Run(context.Background(), Env{Message: fields{"SUBJECT": {fmt.Sprintf("w %d", i*1000+j)}}})
				if err != nil || r.Actions[0].String() != want {
					t.Errorf("got %v %v", r.Actions, err)
					return
				}
			}
		})
	}
	wg.Wait()
}

func TestProblems(t *testing.T) {
	_, problems := Compile("\tkeeep;\nfoo;\nstop;\nkeep;", Options{})
	if err := problems.Err(); err == nil || err.Error() != `sieve: 1:2: error: unknown command "keeep" (did you mean keep?), and 1 more` {
		t.Errorf("got %v", err)
	}
	if got := problems[0].String(); got != "1:2: error: unknown command \"keeep\"\n    \tkeeep;\n    \t^~~~~\n    did you mean keep?\n" {
		t.Errorf("got %q", got)
	}
	_, problems = Compile("stop; keep;", Options{})
	if problems.Err() != nil || len(problems) != 1 || problems[0].Severity != Warning {
		t.Errorf("got %v", problems)
	}
}

func TestEditDistance(t *testing.T) {
	tests := []struct {
		a, b string
		want int
	}{
		{"keep", "keep", 0},
		{"keep", "kepe", 1},
		{"keep", "eep", 1},
		{"keep", "keeps", 1},
		{"keep", "stop", 3},
		{"fileinot", "fileinto", 1},
		{"", "x", 9},
		{strings.Repeat("x", 50), "x", 9},
	}
	for _, tt := range tests {
		if got := editDistance(tt.a, tt.b, 9); got != tt.want {
			t.Errorf("%q %q: got %d", tt.a, tt.b, got)
		}
	}
}

func TestParseOutbound(t *testing.T) {
	tests := []struct{ in, want string }{
		{"a@example.org", "a@example.org"},
		{"  a@example.org ", "a@example.org"},
		{"Al <a@example.org>", "a@example.org"},
		{`"Al, B" <a@example.org>`, "a@example.org"},
		{`"a b"@example.org`, "a b@example.org"},
		{`"a\"b"@example.org`, `a"b@example.org`},
		{"a@[192.0.2.1]", "a@[192.0.2.1]"},
		{"ä@example.org", "ä@example.org"},
		{"a.b-c@xn--e1aybc.example", "a.b-c@xn--e1aybc.example"},
		{"", ""},
		{"a", ""},
		{"@example.org", ""},
		{"a@", ""},
		{"a b@example.org", ""},
		{"a..b@example.org", ""},
		{".a@example.org", ""},
		{"a@-x.org", ""},
		{"a@x..org", ""},
		{"a@b@example.org", ""},
		{"a@example.org, b@example.org", ""},
		{"g: a@example.org;", ""},
		{"Al, B <a@example.org>", ""},
		{"<@x.org:a@example.org>", ""},
		{"a@example.org\r\nBcc: x", ""},
		{`"a@example.org`, ""},
		{`""@example.org`, ""},
		{"a@[]", ""},
		{"a@exa mple.org", ""},
		{strings.Repeat("a", 65) + "@example.org", ""},
		{"a@" + strings.Repeat("b", 64) + ".org", ""},
		{"\xff@example.org", ""},
	}
	for _, tt := range tests {
		a, err := parseOutbound(tt.in)
		if (err != nil) != (tt.want == "") || a.String() != tt.want {
			t.Errorf("%q: got %v %v", tt.in, a, err)
		}
	}
}

// TestGlobAgainstSearch compares the matcher with one that tries everything.
func TestGlobAgainstSearch(t *testing.T) {
	letters := []string{"a", "b", "*", "?"}
	var patterns, texts []string
	var grow func(s string, n int, out *[]string, alphabet []string)
	grow = func(s string, n int, out *[]string, alphabet []string) {
		*out = append(*out, s)
		for _, c := range alphabet {
			if n > 0 {
				grow(s+c, n-1, out, alphabet)
			}
		}
	}
	grow("", 5, &patterns, letters)
	grow("", 5, &texts, letters[:2])
	m := &machine{ctx: context.Background(), limits: &Limits{Steps: 1 << 40}, pause: 1 << 40}
	for _, p := range patterns {
		compiled := compilePattern(p)
		for _, s := range texts {
			caught, ok, err := glob(m, compiled, s)
			want, wantOK := search(p, s, 0)
			if err != nil || ok != wantOK || ok && !slices.Equal(caught, want) {
				t.Fatalf("%q in %q: got %v %v %v, want %v %v", p, s, caught, ok, err, want, wantOK)
			}
		}
	}
}

// search matches by trying the shortest first, as RFC 5229, 3.2 words it.
func search(p, s string, at int) ([][2]int, bool) {
	if p == "" {
		return nil, s == ""
	}
	switch p[0] {
	case '*':
		for n := 0; n <= len(s); n++ {
			if rest, ok := search(p[1:], s[n:], at+n); ok {
				return append([][2]int{{at, at + n}}, rest...), true
			}
		}
		return nil, false
	case '?':
		if s == "" {
			return nil, false
		}
		rest, ok := search(p[1:], s[1:], at+1)
		return append([][2]int{{at, at + 1}}, rest...), ok
	}
	if s == "" || s[0] != p[0] {
		return nil, false
	}
	return search(p[1:], s[1:], at+1)
}

// A script that is included is refused with its reason, however many warnings
// stand before it.
func TestIncludedWarnings(t *testing.T) {
	opts := Options{Include: func(string, string) (string, error) { return strings.Repeat(";", 40) + "kep;", nil }}
	s, problems := Compile(`require "include"; include "other";`, opts)
	if s != nil || !strings.Contains(problems.String(), "unknown command") {
		t.Errorf("got %v", problems)
	}
}

// TestHintsAreBounded: searching costs, and a script can ask for it very often.
func TestHintsAreBounded(t *testing.T) {
	var r report
	searched := 0
	for range 3 * maxHints {
		r.nearest("fileintp", func() []string { searched++; return []string{"fileinto"} })
	}
	if searched != maxHints {
		t.Errorf("%d searches, want %d", searched, maxHints)
	}
}
