package regex

import "testing"

// dialect is patterns for what Perl accepts, refuses and warns of.
var dialect = []string{
	`a{b`, `^{`, `{`, `({a)`, `a|{b`, `\d{x`, `(a){x`, `[a]{x`, `.{x`, `x*{`, `a{,3}`, `a{ 1, 3 }`, `a{}`, `a{,}`, `a{1`, `a{3,1}`, `a{3,1}b`, `{1}`, `({3})`,
	`a{65535}`, `a{65534}`, `^*`, `\b+`, `$*`, `(?=a)*`, `(?=a){2}`, `(?:)*`, `(?:a*)*`, `(a*)+`, `a**`, `a+*`, `a*+`, `a{2}+`, `a{2}{3}`, `*a`, `|*`,
	`(?i)*`, `[a-\d]`, `[z-a]`, `[[:foo:]]`, `[:alpha:]`, `[[.a.]]`, `[a`, `a)`, `(a`, `\Qa\E`, `\L`, `\y`, `[\y]`, `\_`, `\8`, `\1`, `(a)\2`, `\g`, `\g1`,
	`\g{-1}`, `(a)\g{-1}`, `(a)\g-1`, `\k<x>`, `(?<x>a)\k<x>\k{x}\k'x'\g{x}`, `\x`, `\xg`, `\x{zz}`, `\x{}`, `\o{12}`, `\o{9}`, `\o1`, `\c`, `\cA`, `\c1`, `\p{L}`,
	`\pL`, `\p{Foo}`, `\p{IsAlpha}`, `\p{Alpha}`, `\p{Script=Latin}`, `\p{^L}`, `\P{Lu}`, `\N{U+E9}`, `\N`, `\N{2}`, `\C`, `\X`, `\R`, `\G`, `(?g)a`, `(?o)a`, `(?p)a`,
	`(?c)`, `(?z)`, `(?aa)`, `(?aaa)`, `(?ad)`, `(?u)`, `(?i-i)`, `(?^i)a`, `(?^-i)a`, `(?-a)a`, `(?|(a)|(b))`, `(?|(a)|(b)(c)|d)(e)`, `(?<n>a)(?<n>b)`, `(?<1a>b)`,
	`(?P<n>a)(?P=n)`, `(?(1)a)`, `(?(0)a)`, `(?(01)a)(b)`, `(a)?(?(1)b|c)`, `(a)(?(1)b|c|d)`, `(?(?=a)ab|c)`, `(?(?!a)b|ac)`, `(?(?<=a)b|c)`, `(?<n>a)?(?(<n>)b|c)`, `(?(<n>)a)`, `(?1)`,
	`(?<=a*)`, `(?<=a{1,255})`, `(?<=a{1,256})`, `(?<!ab|c)`, `(?<=\R)`, `(?<=(?i)ss)`, `(*pla:a)b`, `(*nla:a)b`, `(*plb:a)b`, `(*negative_lookbehind:a)b`, `(*atomic:a)`,
	`a(*FAIL)|b`, `(*F)`, `(?`, `(?#abc`, `(?#abc)d`, `(?<`, `(?<a`, `(?x: a # b`, `[a-]`, `[a\-z]`, `[\d-z]`, `[--a]`, `[]a]`, `[]`, `[^]`, `[^]a]`, `[a[:digit:]-z]`,
	`[\N{U+41}]`, `[\R]`, `[\K]`, `a||b`, `(|a)`, `(?|)`, `(?(?!))`, `(?(?!)a|b)`, `(?!)|a`, `x{0}`, `x{0,0}`, `$*x`, `\z*`, `\K+`, `a\Kb`, `(?>a)+`, `(?i:a)++`, `\e\a\f\t`, `\E`, `\u`, `a{1,2`, `a}`, `a]`,
	`\x{100}`, `[\x{100}a]`, `[^\x{100}]`, `(?i)\x{3bc}`, `(?i)\x{178}`, `(?i)[\x{100}-\x{200}]`, `(?n)(a)`, `(?xx) [a b]`, `[a-\x{100}]`, `\777`, `\400`, `\08`, `\018`, `[\8]`,
	`(?@)`, `(?<=\Ka)`, `(?<=(?=a*)b)`, `(a)(?<=\1)`, `a{2}*`, `a{,5}?`, `a{0}*`, `(?:a?){3}`, `(?:a?)*`, `(?:^|a)*`, `(?=a)?`, `a{2} +`, `(?x)a +  +b`, `(?x)a {2} # c`,
	`(a)(b)(c)(d)(e)(f)(g)(h)(i)(j)\10`, `\10`, `(a)\11`, `\141`, `[\141-c]`, `\x41\x{42}`, `(?i)é`, `(?i)[é]`, `(?i)[^\xe9]`, `\w\xe9`, `(?u)\w`, `(?u)\xe9\b`, `(?a)\w`, `(?i)\xdf`,
	`[[:^alpha:]]`, `[[:upper:][:digit:]]`, `(?i)[[:upper:]]`, `(?i)\p{Lu}`, `[\s\S]`, `[^\W_]`, `\h\H\v\V`, `a.c`, `(?s)a.c`, `(?m)^b$`, `(?m)^\z`, `a$`, `a\Z`, `a\z`, `\Aa`, `\Ba\B`,
	`a(?i)b|c`, `(?:a(?i)b)c`, `((?i)a)b`, `(?i:a(?-i:b))`, `(?s-m:.^)`, `(a|ab)(c|bcd)(d*)`, `(?:(a)|b)*`, `(?:(a)|(b))*`, `(a*?)(a*)`, `a{2,3}?a`, `(?>a*)a`, `a*+b`, `(a+|b)*+c`,
	`(\w)\1`, `(?i)(\w)\1`, `(?i)(.)\g1`, `x(?=y)`, `x(?!y)`, `(?<!x)y`, `(?<=x|yz)w`, `(?<=a{1,3}b)c`, `(?=(a+))a*b\1`, `a|ab|abc`, `(?:|a)+`, `()`, `(a?)*?b`, `(?:a{0,2}){2}`,
}

var dialectTexts = []string{"", "a", "b", "ab", "abc", "aab", "aaab", "bab", "ba", "A", "AB", "aB", "abcd", "x", "xy", "xyz", "y", "yzw", "\n", "a\n", "a\nb", "b\n", "\r\n", "aa", "aaa", "aaaa",
	"{", "{1}", "{3}", "a{b", "a{3,1}", "a{}", "{a", "-", "]", "\xe9", "\xc9", "\xff", "\xb5", "\xc3\xa9", "\xc3\x89", "\xdf", "ss", "1", "12", "a1", " ", "\t", "_", "é b", "abcdefghijj", "\x1b\x07\x0c\t", "#", "a b", "aXb"}

// What Perl accepts, refuses and warns of, and what it matches.
func TestDialectAsPerl(t *testing.T) {
	o := newOracle(t)
	var asked []*question
	for _, rule := range []bool{true, false} {
		for _, pattern := range dialect {
			q := &question{name: "dialect", pattern: pattern}
			if rule {
				q.re, q.err = compileRule(pattern, "aa")
			} else {
				q.re, q.err = Compile(pattern, "")
			}
			o.pattern(rule, pattern, "")
			if q.err == nil {
				q.warned = len(q.re.warnings) > 0
				for _, s := range dialectTexts {
					q.subjects = append(q.subjects, []byte(s))
					o.subject([]byte(s))
				}
			}
			asked = append(asked, q)
		}
	}
	lines := o.answers()
	var count tally
	for _, q := range asked {
		lines = q.compare(t, lines, &count)
	}
}

func TestFromRule(t *testing.T) {
	for _, c := range []struct{ text, pattern, modifiers string }{
		{`/a\/b/i`, `a\/b`, "aai"},
		{`m{a{2}}ix`, `a{2}`, "aaix"},
		{`m'it''s'`, "", ""},
		{`m'its'`, `its`, "aa"},
		{`m,a\,b,`, `a\,b`, "aa"},
		{`qr!x!s`, `x`, "aas"},
		{`m<a>`, `a`, "aa"},
		{`m(a(b))`, `a(b)`, "aa"},
		{`m[a]`, `a`, "aa"},
		{`//`, ``, "aa"},
		{`/a/b/`, "", ""},
		{`/a`, "", ""},
		{`/a/e`, "", ""},
		{`a`, "", ""},
		{`ma`, "", ""},
		{`m\a\`, "", ""},
		{`/(?{ x })/`, "", ""},
		{`/a\\/`, `a\\`, "aa"},
	} {
		pattern, modifiers, err := FromRule(c.text)
		if pattern != c.pattern || modifiers != c.modifiers || (err == nil) != (c.modifiers != "") {
			t.Errorf("%s: %q %q %v", c.text, pattern, modifiers, err)
		}
	}
}

// A rule is refused for what Perl only warns of.
func TestCompileRule(t *testing.T) {
	for _, text := range []string{`/a{b/`, `/\y/`, `/a/g`, `/(/`, `/a/q`, `a`} {
		if _, err := CompileRule(text); err == nil {
			t.Errorf("%s is accepted", text)
		}
	}
	re, err := CompileRule(`/caf\xe9/i`)
	if err != nil {
		t.Fatal(err)
	}
	if ok, err := re.Match([]byte("CAF\xc9"), nil); !ok || err != nil {
		t.Errorf("Latin-1 is not folded: %v", err)
	}
	if got := re.String(); got != `(?^aai:caf\xe9)` {
		t.Error(got)
	}
}

func TestAlwaysMatches(t *testing.T) {
	for pattern, want := range map[string]bool{"": true, "a||b": true, `a\||b`: false, "|a": true, "a|": true, `a\|`: false, "a|b": false, `a\|||b`: true} {
		if got := AlwaysMatches(pattern) != ""; got != want {
			t.Errorf("%q: %v", pattern, got)
		}
	}
}
