package regex

import (
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
)

func compileAll(tb testing.TB, modifiers string, patterns ...string) (out []*Regexp) {
	tb.Helper()
	for _, p := range patterns {
		out = append(out, mustCompile(tb, p, modifiers))
	}
	return out
}

func numbers(n int) []int32 {
	out := make([]int32, n)
	for i := range out {
		out[i] = int32(i)
	}
	return out
}

// may says which patterns of an automaton can match a text.
func (d *dfa) may(text []byte) []bool {
	c := Candidates{set: make([]uint64, len(d.ids)/64+1)}
	d.scan(text, &c)
	out := make([]bool, len(d.ids))
	c.Each(func(i int) bool { out[i] = true; return true })
	return out
}

// neverDenies fails if an automaton of patterns rules out a text for one that matches
// it, and counts what it rules out.
func neverDenies(tb testing.TB, cache *Cache, modifiers string, patterns []string, texts ...[]byte) (denied int) {
	tb.Helper()
	res := compileAll(tb, modifiers, patterns...)
	d := newDFA(res, numbers(len(res)), cache)
	for _, text := range texts {
		for i, may := range d.may(text) {
			if may {
				continue
			}
			denied++
			if ok, err := res[i].Match(text, &Budget{Steps: 200_000}); ok && err == nil {
				tb.Fatalf("%q matches %q, and the automaton says it does not", patterns[i], text)
			}
		}
	}
	return denied
}

func TestDFANeverDeniesRandom(t *testing.T) {
	gen := newGenerator(7)
	denied := 0
	small := NewCache(30_000)
	for turn := range 1500 / scale {
		g := &grammar{generator: gen}
		modifiers := g.pick([]string{"", "i", "s", "m", "ims", "x", "aai"})
		var patterns []string
		for len(patterns) <= turn%4 {
			g := &grammar{generator: gen}
			if p := g.alternation(3); compiles(p, modifiers) {
				patterns = append(patterns, p)
			}
		}
		var texts [][]byte
		for range 10 {
			var b strings.Builder
			for range gen.IntN(12) {
				b.WriteString(g.pick([]string{"a", "b", "c", "A", "é", "\xe9", "0", " ", "\n", "\r", "-", ".", "_"}))
			}
			texts = append(texts, []byte(b.String()))
		}
		cache := NewCache(0)
		if turn%3 == 0 {
			cache = small
		}
		denied += neverDenies(t, cache, modifiers, patterns, texts...)
	}
	if denied < 1000/scale {
		t.Errorf("only %d texts were ruled out", denied)
	}
}

func compiles(pattern, modifiers string) bool {
	_, err := Compile(pattern, modifiers)
	return err == nil
}

func TestDFADenies(t *testing.T) {
	for _, c := range []struct {
		pattern, text string
		may           bool
	}{
		{`(?:a|b){3}c`, "ab abc aabd", false},
		{`(?:a|b){3}c`, "ab abc aabc", true},
		{`(?:a|b){30}c`, strings.Repeat("ab", 20), false},
		{`(\w)x\1`, "ax-bx", true},
		{`(?=z)[ab]`, "a", true},
		{`[ab](?!)`, "ab", true},
		{`x*`, "", true},
		{`\bab\b`, "xab ab", true},
		{`\bab\b`, "xab abx ab_", false},
		{`a\Bb`, "ab", true},
		{`a\B-`, "a-", false},
		{`^ab`, "xab\nab", false},
		{`(?m)^ab`, "xab\nab", true},
		{`ab$`, "ab\n", true},
		{`ab$`, "ab c", false},
		{`ab\z`, "ab\n", false},
		{`\A(?:a|b)+\z`, "abab", true},
		{`\A(?:a|b)+\z`, "abcab", false},
	} {
		if got := newDFA(compileAll(t, "", c.pattern), numbers(1), NewCache(0)).may([]byte(c.text)); got[0] != c.may {
			t.Errorf("%s on %q: %v", c.pattern, c.text, got)
		}
	}
}

// Automata of very many states keep to their memory together, whoever asks, and to
// the work that is allowed.
func TestDFAMemoryIsBounded(t *testing.T) {
	const limit = 1 << 20
	cache := NewCache(limit)
	var patterns []string
	for i := range 3 {
		patterns = append(patterns, fmt.Sprintf("(?:a|b)*a[ab]{8}%s[ab]{3}[cd]", strings.Repeat("[ab]", i)))
	}
	gen := newGenerator(3)
	text := make([]byte, 20_000)
	for i := range text {
		text[i] = "ab"[gen.IntN(2)]
	}
	var automata []*dfa
	for _, p := range patterns {
		automata = append(automata, newDFA(compileAll(t, "", p), numbers(1), cache))
	}
	matching := append(text[:len(text):len(text)], strings.Repeat("a", 40)+"c"...)
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for _, d := range automata {
				c := Candidates{set: make([]uint64, 1)}
				d.scan(text, &c)
				if c.set[0] != 0 && c.work <= maxEffort {
					t.Error("a text without c or d may match")
				}
				if !d.may(matching)[0] {
					t.Error("a text that matches is ruled out")
				}
				if used := cache.Used(); used > limit+limit/4 {
					t.Errorf("%d bytes are in use", used)
				}
			}
		})
	}
	all.Wait()
}

// What has been spent on states is spent: a text whose states are not made may match.
func TestDFAWorkIsBounded(t *testing.T) {
	d := newDFA(compileAll(t, "", `x[ab]c`), numbers(1), NewCache(0))
	c := Candidates{set: make([]uint64, 1), work: maxEffort + 1}
	if d.scan([]byte("aaa"), &c); c.set[0] != 1 {
		t.Error("a text is ruled out without work")
	}
	c.set[0] = 0
	c.Renew()
	if d.scan([]byte("aaa"), &c); c.set[0] != 0 {
		t.Error("a text that can not match is not ruled out")
	}
}

func TestWild(t *testing.T) {
	for _, c := range []struct {
		pattern      string
		wild, common bool
	}{
		{`\b(?:[a-z]{8,}[\s.]+){6}`, true, false},
		{`\s[A-Z]?[a-z]{1,15}\s`, true, false},
		{`e`, false, true},
		{`(?:v|\\/)[i1!]agra`, false, false},
		{`\$[0-9.]{2,10} ?m`, false, false},
	} {
		tree := mustCompile(t, c.pattern, "").tree()
		if wild, common := isWild(tree), isCommon(tree); wild != c.wild || common != c.common {
			t.Errorf("%s: wild %v, common %v", c.pattern, wild, common)
		}
	}
}

// A cache does not hold the automata of filters that are gone.
func TestCacheLetsGo(t *testing.T) {
	cache := NewCache(0)
	kept := NewFilter([]*Regexp{mustCompile(t, `[ab]+[cd]+`, "")}, cache)
	most := 0
	for range 2000 {
		f := NewFilter([]*Regexp{mustCompile(t, `[ab]+[cd]+`, "")}, cache)
		f.Scan([]byte("xxabcd"), &Candidates{})
		if most = max(most, len(cache.members)); len(cache.members)%50 == 0 {
			runtime.GC()
		}
	}
	if most > 400 {
		t.Errorf("%d automata are held", most)
	}
	cache.clear()
	runtime.KeepAlive(kept)
}
