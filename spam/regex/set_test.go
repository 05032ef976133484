package regex

import (
	"bytes"
	"slices"
	"testing"

	"mtad/spam/regex/syntax"
)

// The automaton finds what looking for each literal finds.
func TestSetFindsEverything(t *testing.T) {
	g := newGenerator(5)
	alphabet := []byte("abAB \xe9\xc9\xc3\xe3")
	word := func(most int) []byte {
		out := make([]byte, 1+g.IntN(most))
		for i := range out {
			out[i] = alphabet[g.IntN(len(alphabet))]
		}
		return out
	}
	for range 300 {
		var literals []Literal
		for range 1 + g.IntN(20) {
			l := Literal{Text: string(word(5)), Fold: g.IntN(2) == 0}
			if l.Fold {
				l.Text = lowerText(l.Text)
			}
			literals = append(literals, l)
		}
		s := NewSet(literals)
		text := word(60)
		got := make([]int, len(literals))
		s.Scan(text, func(id int) { got[id]++ })
		for id, l := range literals {
			want := 0
			for i := 0; i+len(l.Text) <= len(text); i++ {
				if l.at(text[i:]) {
					want++
				}
			}
			if got[id] != want {
				t.Fatalf("%v in %q: found %d times, is there %d times", l, text, got[id], want)
			}
		}
	}
	NewSet(nil).Scan([]byte("abc"), func(int) { t.Error("found nothing's literal") })
}

// A filter never leaves out a pattern that matches.
func TestFilterLeavesNothingOut(t *testing.T) {
	var patterns []*Regexp
	var trees []*syntax.Node
	for _, r := range stockRules(t) {
		pattern, modifiers, err := FromRule(r.text)
		if err != nil {
			t.Fatal(err)
		}
		re, err := compileRule(pattern, modifiers)
		if err != nil {
			t.Fatal(err)
		}
		f, _, _ := syntax.ParseModifiers(syntax.Flags{Rules: syntax.RulesAA}, modifiers[2:])
		p, err := syntax.Parse(pattern, f)
		if err != nil {
			t.Fatal(err)
		}
		patterns, trees = append(patterns, re), append(trees, p.Tree)
	}
	f := NewFilter(patterns, NewCache(0))
	if f.Size() > 10<<20 {
		t.Errorf("the filter of all stock rules takes %d KiB", f.Size()>>10)
	}
	g := newGenerator(8)
	var c Candidates
	matches := 0
	for id, re := range patterns {
		for range 20 {
			text := slices.Concat([]byte("Hello "), g.mutated(g.text(trees[id], nil)), []byte(" and more"))
			if g.IntN(2) == 0 {
				text = g.mutated(g.text(trees[id], nil))
			}
			if ok, err := re.Match(text, nil); err != nil || !ok {
				continue
			}
			matches++
			f.Scan(text, &c)
			found := false
			c.Each(func(i int) bool {
				found = i == id
				return !found && i <= id
			})
			if !found {
				t.Errorf("%s matches %q, and is no candidate", re, text)
			}
		}
	}
	if matches < 5000 {
		t.Errorf("%d matches", matches)
	}
}

func TestFilterAllocatesNothing(t *testing.T) {
	f := NewFilter([]*Regexp{mustCompile(t, "thank you", "i"), mustCompile(t, `\d{4}`, ""), mustCompile(t, `.`, "")}, NewCache(0))
	var c Candidates
	text := english()
	f.Scan(text, &c)
	if n := testing.AllocsPerRun(10, func() { f.Scan(text, &c) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
	var got []int
	c.Each(func(i int) bool { got = append(got, i); return true })
	if !slices.Equal(got, []int{0, 1, 2}) {
		t.Errorf("candidates %v", got)
	}
	f.Scan([]byte("x"), &c)
	got = got[:0]
	c.Each(func(i int) bool { got = append(got, i); return true })
	if !slices.Equal(got, []int{2}) {
		t.Errorf("candidates %v", got)
	}
}

func TestNeeds(t *testing.T) {
	for _, c := range []struct{ pattern, modifiers, yes, no string }{
		{`viagra`, "i", "buy ViAgra", "buy viagr"},
		{`foo\d+bar`, "", "foo bar", "foo ba"},
		{`(?:lottery|inherit)ance?`, "i", "INHERITANC", "lottery"},
		{`x?million (?:dollars|euros)`, "", "million euros", "million pounds"},
		{`(?=.*secret)the`, "", "the secret", "the"},
	} {
		need := mustCompile(t, c.pattern, c.modifiers).Needs()
		if !need.Holds([]byte(c.yes)) || need.Holds([]byte(c.no)) {
			t.Errorf("%s: %v", c.pattern, need)
		}
	}
	for _, pattern := range []string{`.`, `[a-z]+`, `(?:viagra)?`, `viagra|`, `(?!viagra)`, `e`, `a|viagra`} {
		if need := mustCompile(t, pattern, "").Needs(); len(need.All) > 0 {
			t.Errorf("%s needs %v", pattern, need)
		}
	}
}

// shorterThan keeps inputs of fuzzers small.
func shorterThan(n int, texts ...[]byte) bool {
	return !slices.ContainsFunc(texts, func(b []byte) bool { return len(b) > n })
}

func FuzzCompile(f *testing.F) {
	for _, s := range dialect {
		f.Add([]byte(s), "i")
	}
	f.Fuzz(func(t *testing.T, pattern []byte, modifiers string) {
		if !shorterThan(500, pattern) || len(modifiers) > 10 {
			return
		}
		re, err := Compile(string(pattern), modifiers)
		if (re == nil) == (err == nil) {
			t.Fatalf("%v, %v", re, err)
		}
		if _, err := CompileRule(string(pattern)); err == nil {
			if _, _, err := FromRule(string(pattern)); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func FuzzMatch(f *testing.F) {
	for _, s := range dialect {
		f.Add([]byte(s), []byte("ab a\r\nb aab 12 \xe9 AB"))
	}
	f.Fuzz(func(t *testing.T, pattern, text []byte) {
		if !shorterThan(120, pattern) || !shorterThan(2000, text) {
			return
		}
		re, err := Compile(string(pattern), "ai")
		if err != nil {
			return
		}
		b := Budget{Steps: 200_000}
		caps, err := re.Find(text, 0, nil, &b)
		if err != nil {
			return
		}
		for i := 0; i+1 < len(caps); i += 2 {
			if lo, hi := caps[i], caps[i+1]; lo > hi && i > 0 || hi > len(text) || (lo < 0) != (hi < 0) {
				t.Fatalf("%q on %q: %v", pattern, text, caps)
			}
		}
		if ok, err := re.Match(text, nil); err == nil && ok != (caps != nil) {
			t.Fatalf("%q on %q: Match %v, Find %v", pattern, text, ok, caps)
		}
		if caps == nil {
			return
		}
		neverDenies(t, NewCache(0), "ai", []string{string(pattern)}, text)
		if !re.Needs().Holds(text) {
			t.Fatalf("%q on %q: needs %v", pattern, text, re.Needs())
		}
		var c Candidates
		NewFilter([]*Regexp{re}, NewCache(0)).Scan(text, &c)
		if !bytes.Equal(binary(c.set), []byte{1}) {
			t.Fatalf("%q on %q is no candidate", pattern, text)
		}
	})
}

func binary(words []uint64) []byte {
	var out []byte
	for _, w := range words {
		out = append(out, byte(w))
	}
	return out
}
