package syntax

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// An error says what and where.
func TestErrors(t *testing.T) {
	for _, c := range []struct {
		pattern string
		offset  int
		problem string
	}{
		{"ab(c", 2, "unmatched ("},
		{"ab)c", 2, "unmatched )"},
		{"x[a-", 1, "unmatched ["},
		{"a**", 2, "nested quantifiers"},
		{"(?{ die })", 0, "code in a pattern"},
		{"(a)(?1)", 3, "recursion is not supported"},
		{"(?R)", 0, "recursion is not supported"},
		{"a(*ACCEPT)", 1, "not supported"},
		{`\b{wb}`, 0, "not supported"},
		{`\p{Nonsense}`, 0, "Unicode property"},
		{`(a)\2`, 3, "nonexistent group 2"},
		{`(?<=a+)`, 0, "lookbehind longer"},
		{strings.Repeat("(", 300), 250, "nested deeper"},
	} {
		_, err := Parse(c.pattern, Flags{})
		var e *Error
		if !errors.As(err, &e) || e.Offset != c.offset || !strings.Contains(e.Problem, c.problem) {
			t.Errorf("%.40q: %v, want offset %d, %q", c.pattern, err, c.offset, c.problem)
		}
	}
}

// opNames are the operators as written by tree.
var opNames = []string{"empty", "set", "cat", "alt", "repeat", "group", "atomic", "ahead", "behind", "backref", "assert", "cond", "keep", "fail"}

// tree writes a tree in parentheses.
func tree(n *Node) string {
	out := opNames[n.Op]
	switch n.Op {
	case OpSet:
		n.Set.Each(func(c byte) {
			if n.Set.Size() < 5 {
				out += fmt.Sprintf(" %q", c)
			}
		})
		if n.Set.Size() >= 5 {
			out += fmt.Sprintf(" of %d", n.Set.Size())
		}
	case OpRepeat:
		out += fmt.Sprintf(" %d-%d by %d", n.Min, n.Max, n.Mode)
	case OpGroup, OpCond:
		out += fmt.Sprintf(" %d", n.N)
	case OpBackref:
		out += fmt.Sprintf(" %v %v", n.Refs, n.Fold)
	case OpAhead, OpBehind:
		out += fmt.Sprintf(" not %v", n.Not)
	case OpAssert:
		out += fmt.Sprintf(" %d", n.Assert)
	}
	for _, s := range n.Subs {
		out += " (" + tree(s) + ")"
	}
	return out
}

// Modifiers, classes and characters become sets, groups get their numbers.
func TestTrees(t *testing.T) {
	for _, c := range []struct{ pattern, modifiers, want string }{
		{"", "", "empty"},
		{"a|", "", "alt (set 'a') (empty)"},
		{"é", "", `cat (set 'Ã') (set '©')`},
		{`\x{100}?`, "", "repeat 0-1 by 0 (set)"},
		{"k", "iu", "set 'K' 'k'"},
		{`\w.`, "", "cat (set of 63) (set of 255)"},
		{`\w.`, "su", "cat (set of 128) (set of 256)"},
		{`\w`, "aai", "set of 63"},
		{" a # b", "x", "set 'a'"},
		{"(?i:a)b", "", "cat (set 'A' 'a') (set 'b')"},
		{"(?^:a)", "i", "set 'a'"},
		{"x{2,}?y++", "", "cat (repeat 2-2147483647 by 1 (set 'x')) (repeat 1-2147483647 by 2 (set 'y'))"},
		{"(a)(?:b)(?<n>c)", "", "cat (group 1 (set 'a')) (set 'b') (group 2 (set 'c'))"},
		{"(a)(?:b)(?<n>c)", "n", "cat (set 'a') (set 'b') (group 1 (set 'c'))"},
		{"(?|(a)|(b)(c))(d)", "", "cat (alt (group 1 (set 'a')) (cat (group 1 (set 'b')) (group 2 (set 'c')))) (group 3 (set 'd'))"},
		{`(?<n>a)(?<n>b)\k<n>\g{-1}`, "i", "cat (group 1 (set 'A' 'a')) (group 2 (set 'B' 'b')) (backref [1 2] true) (backref [2] true)"},
		{`(a)?(?(1)b|c)`, "", "cat (repeat 0-1 by 0 (group 1 (set 'a'))) (cond 1 (set 'b') (set 'c'))"},
		{`(?(?!a)b)`, "", "cond -1 (ahead not true (set 'a')) (set 'b') (empty)"},
		{`(?<!x)(?>y)\K`, "", "cat (behind not true (set 'x')) (atomic (set 'y')) (keep)"},
		{`^$`, "m", fmt.Sprintf("cat (assert %d) (assert %d)", LineStart, LineEnd)},
		{`^$`, "", fmt.Sprintf("cat (assert %d) (assert %d)", TextStart, LastEnd)},
		{`(*F)|a{3,2}`, "", "alt (fail) (fail)"},
	} {
		f, _, err := ParseModifiers(Flags{}, c.modifiers)
		if err != nil {
			t.Fatal(err)
		}
		p, err := Parse(c.pattern, f)
		if err != nil {
			t.Errorf("%q: %v", c.pattern, err)
		} else if got := tree(p.Tree); got != c.want {
			t.Errorf("%q with %q:\n%s, want\n%s", c.pattern, c.modifiers, got, c.want)
		}
	}
}

func TestModifiers(t *testing.T) {
	for modifiers, want := range map[string]bool{"": true, "imsxxnp": true, "aa": true, "u": true, "q": false, "l": false, "ad": false, "aaa": false} {
		if _, _, err := ParseModifiers(Flags{}, modifiers); (err == nil) != want {
			t.Errorf("%q: %v", modifiers, err)
		}
	}
	if _, warnings, err := ParseModifiers(Flags{}, "go"); err != nil || len(warnings) != 2 {
		t.Errorf("%v, %v", warnings, err)
	}
}

// A tree is whole: whoever walks it need not look whether what it refers to is there.
func FuzzParse(f *testing.F) {
	for _, s := range []string{`(a)(?(1)b|c)\1`, `(?|(a)|(?<n>b))\k<n>`, `(?<=a{1,3}|b)[^\W\x{100}]+?`, "(?xi) a # b\n {2}", `(?(?=a)b)\b\K(*F)`} {
		f.Add(s, "i")
	}
	f.Fuzz(func(t *testing.T, src, modifiers string) {
		if len(src) > 500 {
			return
		}
		flags, _, err := ParseModifiers(Flags{}, modifiers)
		if err != nil {
			return
		}
		p, err := Parse(src, flags)
		var e *Error
		if err != nil {
			if !errors.As(err, &e) || e.Offset < 0 || e.Offset > len(src) || e.Problem == "" {
				t.Fatalf("%q: %v", src, err)
			}
			return
		}
		p.Tree.Any(func(n *Node) bool {
			if !whole(n, p.Groups) {
				t.Fatalf("%q: %s", src, tree(n))
			}
			if lo, hi := n.Width(); lo < 0 || lo > hi && lo != Infinite {
				t.Fatalf("%q: %s: %d to %d", src, tree(n), lo, hi)
			}
			return false
		})
	})
}

// whole reports whether a node has what its operator says.
func whole(n *Node, groups int) bool {
	one := map[Op]bool{OpRepeat: true, OpGroup: true, OpAtomic: true, OpAhead: true, OpBehind: true}
	for _, r := range n.Refs {
		if r < 1 || r > groups && n.Op != OpCond {
			return false
		}
	}
	switch {
	case one[n.Op] && len(n.Subs) != 1:
		return false
	case n.Op == OpRepeat:
		return 0 <= n.Min && n.Min <= n.Max
	case n.Op == OpGroup:
		return 1 <= n.N && n.N <= groups
	case n.Op == OpBackref:
		return len(n.Refs) > 0
	case n.Op == OpCond && n.N < 0:
		return len(n.Subs) == 3
	case n.Op == OpCond:
		return len(n.Subs) == 2 && n.N > 0
	}
	return true
}
