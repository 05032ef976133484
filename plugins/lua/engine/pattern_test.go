package engine

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/yuin/gopher-lua/pm"
)

func TestPatterns(t *testing.T) {
	for _, c := range []struct {
		src, pat string
		want     string // "start,end capture capture"; "" is no match
	}{
		{"hello world", "o w", "4,7"},
		{"hello", "l+", "2,4"},
		{"hello", "l-o", "2,5"},
		{"hello", "^h.*o$", "0,5"},
		{"key = value", "(%w+)%s*=%s*(%w+)", "0,11 key value"},
		{"f(a(b)c)d", "%b()", "1,8"},
		{"THE (quick) fox", "%f[%a]%a+", "0,3"},
		{`"x" and 'y'`, `(["'])(.-)%1`, `0,3 " x`},
		{"a]b", "[]]", "1,2"},
		{"a-b", "[a%-]+", "0,2"},
		{"abc", "[^a-b]", "2,3"},
		{"abc", "()b()", "1,2 @2 @3"},
		{"abc", "x*", "0,0"},
		{"", "^$", "0,0"},
		{"abc", "d", ""},
		{"a.b", "%.", "1,2"},
		{"x\x00y", "%z", "1,2"},
	} {
		m := newMatcher(c.src, c.pat)
		s, e := search(m, 0)
		if got := describe(m, s, e); got != c.want || m.err != nil {
			t.Errorf("%q in %q: %q, %v; want %q", c.pat, c.src, got, m.err, c.want)
		}
	}
}

func describe(m *matcher, s, e int) string {
	if s < 0 {
		return ""
	}
	out := itoa(s) + "," + itoa(e)
	for _, c := range m.captures {
		if c.length == capturePosition {
			out += " @" + itoa(c.start+1)
		} else {
			out += " " + m.src[c.start:c.start+c.length]
		}
	}
	return out
}

func itoa(n int) string {
	if n < 10 {
		return string(rune('0' + n))
	}
	return itoa(n/10) + itoa(n%10)
}

func TestMalformedPatterns(t *testing.T) {
	for _, pat := range []string{"[a", "%", "(a", "a)", "%1", "[%", "%b", "%bx", "%f", "%fa", strings.Repeat("()", 40)} {
		m := newMatcher("aaa (b)", pat)
		s, e := search(m, 0)
		if m.err == nil && s >= 0 {
			for _, c := range m.captures {
				if c.length == captureOpen {
					m.err = errPatternCapture
				}
			}
		}
		if m.err == nil {
			t.Errorf("%q: matched %d,%d without an error", pat, s, e)
		}
	}
}

func TestBudget(t *testing.T) {
	m := newMatcher(strings.Repeat("a", 2000), ".-.-.-.-.-b")
	if s, _ := search(m, 0); s >= 0 || !errors.Is(m.err, errPatternBudget) {
		t.Errorf("%d, %v", s, m.err)
	}
}

// TestHyphenInSet checks what a hyphen in a set stands for, as in Lua 5.1: it can be
// a range's end, and behind a class, an escape or a range it stands for itself.
func TestHyphenInSet(t *testing.T) {
	for _, c := range []struct {
		text, pattern string
		want          int
	}{{"0", "[0--]", -1}, {"-", "[0--]", -1}, {"-", "[+--]", 0}, {",", "[+--]", 0}, {"*", "[+--]", -1}, {"a", "[%C-0]", 0}, {"-", "[%d-z]", 0}, {"y", "[%d-z]", -1}, {"0", "[%0-0]", 0}, {"-", "[%0-9]", 0}, {"5", "[%0-9]", -1}, {"-", "[a-c-e]", 0}, {"d", "[a-c-e]", -1}} {
		if s, _ := search(newMatcher(c.text, c.pattern), 0); s != c.want {
			t.Errorf("%q in %q: at %d, in Lua 5.1 at %d", c.pattern, c.text, s, c.want)
		}
	}
}

// TestAgainstLua compares with Lua 5.1 itself: random patterns, most of them with
// sets, over random texts of the same few letters.
func TestAgainstLua(t *testing.T) {
	lua, err := exec.LookPath("lua5.1")
	if err != nil {
		t.Skip("lua5.1 not installed")
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	some := func(alphabet string, n int) string {
		b := make([]byte, rnd.IntN(n))
		for i := range b {
			b[i] = alphabet[rnd.IntN(len(alphabet))]
		}
		return string(b)
	}
	var script strings.Builder
	script.WriteString("for l in io.lines() do local p, s = l:match('^([^\\t]*)\\t(.*)$')\n" +
		"  local ok, a, b = pcall(string.find, s, p)\n  print(ok and (a and a - 1 .. ',' .. b or 'none') or 'error') end\n")
	var in strings.Builder
	var cases [][2]string
	for range 20_000 {
		pattern, text := some("a0c-%^].*+?$d", 5)+"["+some("a0c-%^]d", 7)+"]"+some("a0-*+?$", 4), some("a0c-%^]d", 12)
		cases = append(cases, [2]string{text, pattern})
		in.WriteString(pattern + "\t" + text + "\n")
	}
	cmd := exec.Command(lua, "-e", script.String())
	cmd.Stdin = strings.NewReader(in.String())
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	if len(lines) != len(cases) {
		t.Fatalf("%d answers to %d questions", len(lines), len(cases))
	}
	found := 0
	for i, c := range cases {
		m := newMatcher(c[0], c[1])
		s, e := search(m, 0)
		got := fmt.Sprintf("%d,%d", s, e)
		if s < 0 {
			got = "none"
		}
		if m.err != nil {
			got = "error"
		}
		if got != lines[i] {
			t.Errorf("%q in %q: %s, in Lua %s", c[1], c[0], got, lines[i])
		}
		if s >= 0 {
			found++
		}
	}
	if found < 1000 {
		t.Errorf("only %d of %d patterns match anything", found, len(cases))
	}
}

// setWithHyphen is what gopher-lua often reads otherwise than Lua does;
// TestAgainstLua has them.
var setWithHyphen = regexp.MustCompile(`(?s)\[.*-`)

// FuzzPattern compares with gopher-lua's own matcher, which has no budget: hence
// the short texts.
func FuzzPattern(f *testing.F) {
	for _, s := range [][2]string{{"hello", "l+"}, {"key=v", "(%w+)=(%w*)"}, {"a(b)c", "%b()"}, {"x y", "%f[%w]%w"}, {"aXa", "^[%l]-(%u)"}, {"aa", "(a)%1"}} {
		f.Add(s[0], s[1])
	}
	f.Fuzz(func(t *testing.T, src, pat string) {
		if len(src) > 30 || len(pat) > 12 || strings.Contains(pat, "%f") {
			return
		}
		if setWithHyphen.MatchString(pat) {
			return
		}
		m := newMatcher(src, pat)
		s, e := search(m, 0)
		open := false
		for _, c := range m.captures {
			open = open || c.length == captureOpen
		}
		theirs, err := find1(pat, src)
		if m.err != nil || err != nil || open {
			return // what is malformed is told apart differently
		}
		switch {
		case len(theirs) == 0 && s >= 0, len(theirs) > 0 && s < 0:
			t.Errorf("%q in %q: ours %d,%d, theirs %v", pat, src, s, e, theirs)
		case len(theirs) > 0 && (theirs[0].Capture(0) != s || theirs[0].Capture(1) != e):
			t.Errorf("%q in %q: ours %d,%d, theirs %d,%d", pat, src, s, e, theirs[0].Capture(0), theirs[0].Capture(1))
		}
	})
}

func find1(pat, src string) (m []*pm.MatchData, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = errPatternSyntax
		}
	}()
	return pm.Find(pat, []byte(src), 0, 1)
}
