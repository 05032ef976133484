package regex

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"

	"mtad/internal/mtatest"
	"mtad/spam/regex/syntax"
)

// scale is by how much fewer things are compared under the race detector: what is
// compared with Perl needs no second look by it.
var scale = map[bool]int{true: 20, false: 1}[mtatest.Race]

func mustCompile(t testing.TB, pattern, modifiers string) *Regexp {
	t.Helper()
	re, err := Compile(pattern, modifiers)
	if err != nil {
		t.Fatal(err)
	}
	return re
}

// A pattern that multiplies ways to fail costs a bounded number of steps.
func TestNoExponentialCost(t *testing.T) {
	text := []byte(strings.Repeat("a", 3000))
	for _, pattern := range []string{
		`(?:a+)+b`, `(?:a|a)*b`, `(?:a*)*b`, `(?:a*a*)*c`, `(?:a|aa)+$x`, `(?:(?:a+)?)*b`, `(?:a+){2,}b`, `(a|a|aa)*?b`, `(?:a?){30}a{30}b`,
	} {
		re := mustCompile(t, pattern, "")
		b := Budget{Steps: 1 << 40, PerMatch: 40_000_000}
		if ok, err := re.Match(text, &b); ok || err != nil {
			t.Errorf("%s: %v %v", pattern, ok, err)
		}
	}
}

func TestBudget(t *testing.T) {
	re := mustCompile(t, `(\w+)+\1!`, "")
	text := []byte(strings.Repeat("ab", 40))
	b := Budget{Steps: 10_000}
	if _, err := re.Match(text, &b); !errors.Is(err, ErrBudget) {
		t.Errorf("err = %v", err)
	}
	if b.Steps > 0 {
		t.Errorf("%d steps are left", b.Steps)
	}
	if _, err := re.Match([]byte("x"), &b); !errors.Is(err, ErrBudget) {
		t.Errorf("with nothing left: %v", err)
	}
	b = Budget{Steps: 1 << 40, PerMatch: 5000}
	if _, err := re.Find(text, 0, nil, &b); !errors.Is(err, ErrBudget) {
		t.Errorf("err = %v", err)
	}
	if used := 1<<40 - b.Steps; used < 5000 || used > 6000 {
		t.Errorf("used %d steps", used)
	}
	if _, err := re.Match(text, nil); !errors.Is(err, ErrBudget) {
		t.Errorf("without a budget: %v", err)
	}
}

// What a match keeps to come back to is bounded besides.
func TestStackIsBounded(t *testing.T) {
	re := mustCompile(t, `(?:ab|\w\w)*!`, "")
	text := []byte(strings.Repeat("ab", 1<<20+10))
	if _, err := re.Match(text, &Budget{Steps: 1 << 40, PerMatch: 1 << 40}); !errors.Is(err, ErrBudget) {
		t.Errorf("err = %v", err)
	}
	if ok, err := re.Match(append([]byte(strings.Repeat("ab", 1000)), '!'), nil); !ok || err != nil {
		t.Errorf("%v %v", ok, err)
	}
}

// The cost does not depend on what was matched before, nor on who else does.
func TestStepsAreDeterministic(t *testing.T) {
	re := mustCompile(t, `(?:a|ab|b)+(\w)\1c`, "i")
	text := []byte(strings.Repeat("abba ab ", 50))
	want := int64(-1)
	var wg sync.WaitGroup
	var mu sync.Mutex
	for range 8 {
		wg.Go(func() {
			for range 20 {
				b := Budget{Steps: 1 << 40}
				if _, err := re.Match(text, &b); err != nil {
					t.Error(err)
				}
				mu.Lock()
				if used := 1<<40 - b.Steps; want >= 0 && used != want {
					t.Errorf("%d steps, and %d", used, want)
				} else {
					want = used
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
}

func TestFind(t *testing.T) {
	for _, c := range []struct {
		pattern, modifiers, text string
		from                     int
		want                     []int
	}{
		{`(a)(b)?`, "", "xab", 0, []int{1, 3, 1, 2, 2, 3}},
		{`(a)(b)?`, "", "xac", 0, []int{1, 2, 1, 2, -1, -1}},
		{`a`, "", "aXa", 1, []int{2, 3}},
		{`\Ga`, "", "ba", 1, []int{1, 2}},
		{`\Ga`, "", "ba", 0, nil},
		{`^a`, "", "aa", 1, nil},
		{`(?<=b)a`, "", "ba", 1, []int{1, 2}},
		{`foo\Kbar`, "", "foobar", 0, []int{3, 6}},
		{``, "", "", 0, []int{0, 0}},
		{`a`, "", "a", 2, nil},
		{`(?<y>\d+)-(?<m>\d+)`, "", "on 2026-11", 0, []int{3, 10, 3, 7, 8, 10}},
		{`(?|(a)|(b))(c)`, "", "bc", 0, []int{0, 2, 0, 1, 1, 2}},
		{`(a)`, "n", "a", 0, []int{0, 1}},
		{`a b # c`, "x", "ab", 0, []int{0, 2}},
		{"é", "", "caf\xc3\xa9", 0, []int{3, 5}},
		{`\x{100}|z`, "", "\xc4\x80z", 0, []int{2, 3}},
	} {
		got, err := mustCompile(t, c.pattern, c.modifiers).Find([]byte(c.text), c.from, nil, nil)
		if err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%s on %q from %d: %v %v, want %v", c.pattern, c.text, c.from, got, err, c.want)
		}
	}
}

func TestNames(t *testing.T) {
	re := mustCompile(t, `(?<year>\d+)(x)(?'month'\d)(?P<day>.)`, "")
	if got := re.Names(); !slices.Equal(got, []string{"", "year", "", "month", "day"}) {
		t.Errorf("%q", got)
	}
}

// What is too large is refused before it takes memory, and so are modifiers that are not
// Perl's.
func TestTooLarge(t *testing.T) {
	for _, pattern := range []string{
		`(?:(?:(?:\w\d){1,60000}){1,60000})`, strings.Repeat("(?:", 240) + "a" + strings.Repeat("{9})", 240),
	} {
		if _, err := Compile(pattern, ""); err != nil && !strings.Contains(err.Error(), "instructions") {
			t.Errorf("%.40s: %v", pattern, err)
		}
	}
	var wrong *syntax.Error
	if _, err := Compile("a**", ""); !errors.As(err, &wrong) {
		t.Errorf("%v", err)
	}
	for _, m := range []string{"q", "e", "i-s", "^", "ad"} {
		if _, err := Compile("a", m); err == nil {
			t.Errorf("modifiers %q are accepted", m)
		}
	}
}

// Nothing is allocated once the pools are filled.
func TestAllocations(t *testing.T) {
	text := english()
	caps := make([]int, 0, 8)
	for _, pattern := range []string{`(\w+) (\w+) nothing`, `(?:a|b|\w)*(?:\w+)*!`, `(\w)\1\1\1`, `absent`, `thank you`} {
		re := mustCompile(t, pattern, "i")
		b := Budget{Steps: 1 << 50, PerMatch: 1 << 40}
		n := testing.AllocsPerRun(20, func() {
			if _, err := re.Match(text, &b); err != nil {
				t.Error(err)
			}
			if _, err := re.Find(text, 0, caps, &b); err != nil {
				t.Error(err)
			}
		})
		if n > 0.5 && !mtatest.Race {
			t.Errorf("%s: %v allocations", pattern, n)
		}
	}
}

// withMemo matches with a memo from the first step on, or without one.
func withMemo(re *Regexp, text []byte, memo bool) (string, bool) {
	m := new(machine)
	m.start(re.program(), text, 0, true, 3_000_000)
	switch {
	case !memo:
		m.memoAt = 1<<63 - 1
	case re.program().memos > 0:
		m.memoAt = 0
	}
	ok, err := re.search.run(m, 0)
	if err != nil {
		return "", false
	}
	if !ok {
		return "0", true
	}
	var caps []int
	for _, c := range m.caps {
		caps = append(caps, int(c))
	}
	return spans(caps), true
}

// The memo changes what a match costs, and nothing else.
func TestMemoChangesNothing(t *testing.T) {
	gen := newGenerator(3)
	compared := 0
	for range 4000 / scale {
		g := &grammar{generator: gen}
		pattern := g.alternation(3)
		re, err := Compile(pattern, g.pick([]string{"", "i", "s"}))
		if err != nil {
			continue // "(?x: +"
		}
		p, err := syntax.Parse(pattern, syntax.Flags{})
		if err != nil {
			t.Fatal(err)
		}
		for range 6 {
			s := g.mutated(g.text(p.Tree, nil))
			plain, ok := withMemo(re, s, false)
			if !ok {
				continue
			}
			compared++
			if got, ok := withMemo(re, s, true); !ok || got != plain {
				t.Errorf("%q on %q: %s with a memo, %s without", pattern, s, got, plain)
			}
		}
	}
	if compared < 20000/scale {
		t.Errorf("compared %d", compared)
	}
}

// Count counts what Find finds.
func TestCount(t *testing.T) {
	for _, tc := range []struct {
		pattern, text string
		most, want    int
		first         [2]int
	}{
		{"a", "banana", 10, 3, [2]int{1, 2}},
		{"a", "banana", 2, 2, [2]int{1, 2}},
		{"a?", "ba", 10, 3, [2]int{0, 0}},
		{"ana", "banana", 10, 1, [2]int{1, 4}},
		{"x", "banana", 10, 0, [2]int{}},
		{"^b", "bb", 10, 1, [2]int{0, 1}},
		{"$", "b", 10, 1, [2]int{1, 1}},
		{"(a)(?=n)", "banana", 10, 2, [2]int{1, 2}},
	} {
		re, text := mustCompile(t, tc.pattern, ""), []byte(tc.text)
		n, first, err := re.Count(text, tc.most, nil)
		if n != tc.want || err != nil || n > 0 && first != tc.first {
			t.Errorf("%s in %s: %d, %v, %v", tc.pattern, tc.text, n, first, err)
		}
	}
	if n, _, err := mustCompile(t, "a", "").Count(bytes.Repeat([]byte("a"), 100), 100, &Budget{Steps: 50}); n == 0 || n == 100 || !errors.Is(err, ErrBudget) {
		t.Errorf("%d, %v", n, err)
	}
}
