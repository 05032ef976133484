package regex

import (
	"math"
	"slices"
	"sort"
	"strings"

	"mtad/spam/regex/syntax"
)

// Literal is a string that a text contains.
type Literal struct {
	Text string
	Fold bool // whatever the case of its letters, Latin-1's too; Text is lower case
}

// In says whether a text contains the literal.
func (l Literal) In(text []byte) bool {
	for i := 0; i+len(l.Text) <= len(text); i++ {
		if l.at(text[i:]) {
			return true
		}
	}
	return false
}

// at says whether a text, which is long enough, starts with the literal.
func (l Literal) at(text []byte) bool {
	for i := range len(l.Text) {
		if c := text[i]; c != l.Text[i] && (!l.Fold || syntax.LowerLatin(c) != l.Text[i]) {
			return false
		}
	}
	return true
}

// Condition is what must hold for a text that a pattern matches: of every
// element of All, at least one literal is in the text. Without elements it says
// nothing.
type Condition struct {
	All [][]Literal
}

// Holds says whether a text fulfils the condition.
func (c Condition) Holds(text []byte) bool {
	for _, clause := range c.All {
		if !slices.ContainsFunc(clause, func(l Literal) bool { return l.In(text) }) {
			return false
		}
	}
	return true
}

// Limits of what is kept of a pattern's literals.
const (
	maxClauses  = 3
	maxLiterals = 150 // of a clause
	maxCross    = 32  // strings of a part of a pattern
	maxLength   = 9   // bytes that are looked for of a longer string
	maxString   = 60  // bytes
	maxChoices  = 6   // bytes of a set that is taken for that many strings
	minBits     = 10  // how rare a clause must be: one byte of text in 2^minBits
)

// needs finds the literals of a pattern.
func needs(n *syntax.Node) Condition {
	clauses := clausesOf(n)
	clauses = slices.DeleteFunc(clauses, func(c []Literal) bool { return rarity(c) < minBits })
	sort.SliceStable(clauses, func(i, j int) bool { return rarity(clauses[i]) > rarity(clauses[j]) })
	return Condition{clauses[:min(len(clauses), maxClauses)]}
}

// clausesOf is what must be in a match of n.
func clausesOf(n *syntax.Node) [][]Literal {
	if e, ok := exact(n); ok {
		return clause(e)
	}
	switch n.Op {
	case syntax.OpCat:
		return clausesOfSequence(n.Subs)
	case syntax.OpAlt:
		return clausesOfAny(n.Subs)
	case syntax.OpCond:
		return clausesOfAny(n.Subs[len(n.Subs)-2:])
	case syntax.OpRepeat:
		if n.Min > 0 {
			return clausesOf(n.Subs[0])
		}
	case syntax.OpGroup, syntax.OpAtomic:
		return clausesOf(n.Subs[0])
	case syntax.OpAhead:
		if !n.Not {
			return clausesOf(n.Subs[0])
		}
	}
	return nil
}

// clausesOfAny joins the best clause of each alternative.
func clausesOfAny(subs []*syntax.Node) [][]Literal {
	var all []Literal
	for _, s := range subs {
		var best []Literal
		for _, c := range clausesOf(s) {
			if best == nil || rarity(c) > rarity(best) {
				best = c
			}
		}
		if best == nil {
			return nil
		}
		all = append(all, best...)
	}
	return clause(all)
}

// clausesOfSequence joins neighbours that are exact to longer strings.
func clausesOfSequence(subs []*syntax.Node) [][]Literal {
	var out [][]Literal
	now := []Literal{{}}
	for _, s := range subs {
		if s.Op == syntax.OpAhead {
			out = append(out, clausesOf(s)...)
			continue
		}
		e, ok := exact(s)
		if ok {
			if joined, ok := cross(now, e); ok {
				now = joined
				continue
			}
			out = append(out, clause(now)...)
			now = e
			continue
		}
		before, after := ends(s)
		if joined, ok := cross(now, before); ok {
			now = joined
		} else {
			out = append(out, clause(before)...)
		}
		out = append(out, clause(now)...)
		out = append(out, clausesOf(s)...)
		now = after
	}
	return append(out, clause(now)...)
}

// ends is what a repetition starts and ends with: its body, if that must be
// there.
func ends(n *syntax.Node) (before, after []Literal) {
	if n.Op == syntax.OpGroup || n.Op == syntax.OpAtomic {
		return ends(n.Subs[0])
	}
	if n.Op == syntax.OpRepeat && n.Min > 0 {
		if e, ok := exact(n.Subs[0]); ok {
			return e, e
		}
	}
	return []Literal{{}}, []Literal{{}}
}

// clause drops what says nothing: a set of strings with an empty one, and
// strings that contain another of the set.
func clause(ls []Literal) [][]Literal {
	if len(ls) == 0 || len(ls) > maxLiterals {
		return nil
	}
	var out []Literal
	sorted := slices.Clone(ls)
	sort.SliceStable(sorted, func(i, j int) bool { return len(sorted[i].Text) < len(sorted[j].Text) })
	for _, l := range sorted {
		if l.Text == "" {
			return nil
		}
		l = l.rarest()
		if !slices.ContainsFunc(out, func(k Literal) bool { return k.within(l) }) {
			out = append(out, l)
		}
	}
	return [][]Literal{out}
}

// rarest is the part of a long literal that is rarest.
func (l Literal) rarest() Literal {
	best := Literal{l.Text[:min(len(l.Text), maxLength)], l.Fold}
	for i := 1; i+maxLength <= len(l.Text); i++ {
		if part := (Literal{l.Text[i : i+maxLength], l.Fold}); part.bits() > best.bits() {
			best = part
		}
	}
	return best
}

// within says whether a text with l always has k too.
func (k Literal) within(l Literal) bool {
	if k.Fold {
		return strings.Contains(lowerText(l.Text), k.Text)
	}
	return !l.Fold && strings.Contains(l.Text, k.Text)
}

func lowerText(s string) string {
	b := []byte(s)
	for i := range b {
		b[i] = syntax.LowerLatin(b[i])
	}
	return string(b)
}

// exact is all the strings that n matches, if they are few. What has no width
// matches the empty one.
func exact(n *syntax.Node) ([]Literal, bool) {
	switch n.Op {
	case syntax.OpSet:
		return choices(n.Set)
	case syntax.OpCat:
		out := []Literal{{}}
		for _, s := range n.Subs {
			e, ok := exact(s)
			if !ok {
				return nil, false
			}
			if out, ok = cross(out, e); !ok {
				return nil, false
			}
		}
		return out, true
	case syntax.OpAlt:
		var out []Literal
		for _, s := range n.Subs {
			e, ok := exact(s)
			if !ok || len(out)+len(e) > maxCross {
				return nil, false
			}
			out = append(out, e...)
		}
		return out, true
	case syntax.OpRepeat:
		return exactRepeat(n)
	case syntax.OpGroup, syntax.OpAtomic:
		return exact(n.Subs[0])
	case syntax.OpBackref, syntax.OpCond, syntax.OpFail:
		return nil, false
	case syntax.OpAhead:
		return []Literal{{}}, n.Not
	}
	return []Literal{{}}, true
}

func exactRepeat(n *syntax.Node) ([]Literal, bool) {
	e, ok := exact(n.Subs[0])
	if !ok || n.Max > maxCross {
		return nil, false
	}
	out := []Literal{}
	power := []Literal{{}}
	for i := range n.Max + 1 {
		if i >= n.Min {
			out = append(out, power...)
		}
		if i == n.Max {
			break
		}
		if power, ok = cross(power, e); !ok {
			return nil, false
		}
	}
	return out, len(out) <= maxCross
}

// choices is the bytes of a small set; two cases of a letter are one.
func choices(s syntax.Charset) ([]Literal, bool) {
	if s.Size() > 2*maxChoices {
		return nil, false
	}
	var out []Literal
	s.Each(func(c byte) {
		other := syntax.SwapCase(c, true)
		switch both := other != c && s.Has(other); {
		case !both:
			out = append(out, Literal{Text: string([]byte{c})})
		case syntax.LowerLatin(c) == c:
			out = append(out, Literal{Text: string([]byte{c}), Fold: true})
		}
	})
	return out, len(out) > 0 && len(out) <= maxChoices
}

// cross joins every string of a with every one of b.
func cross(a, b []Literal) ([]Literal, bool) {
	if len(a)*len(b) > maxCross {
		return nil, false
	}
	out := make([]Literal, 0, len(a)*len(b))
	for _, x := range a {
		for _, y := range b {
			if len(x.Text)+len(y.Text) > maxString {
				return nil, false
			}
			l := Literal{x.Text + y.Text, x.Fold || y.Fold}
			if l.Fold {
				l.Text = lowerText(l.Text)
			}
			out = append(out, l)
		}
	}
	return out, true
}

// rarity is how rare the strings are in text, in bits: the higher the better a
// filter they make.
func rarity(ls []Literal) float64 {
	p := 0.0
	for _, l := range ls {
		p += math.Exp2(-l.bits())
	}
	return -math.Log2(p)
}

func (l Literal) bits() float64 {
	table := &byteBits
	if l.Fold {
		table = &foldBits
	}
	total := 0.0
	for i := range len(l.Text) {
		total += table[l.Text[i]]
	}
	return total
}

// byteBits and foldBits are how rare each byte is, and each in either case.
var byteBits, foldBits = bitsOfBytes(false), bitsOfBytes(true)

func bitsOfBytes(fold bool) (out [256]float64) {
	for c := range 256 {
		set := syntax.Single(byte(c))
		if fold {
			set = set.Folded(syntax.RulesU)
		}
		out[c] = bitsOf(set)
	}
	return out
}

// letterShare is how many of a million bytes of text are which letter.
var letterShare = [26]float64{64000, 12000, 22000, 33000, 98000, 18000, 16000, 46000, 55000, 1500, 7000, 32000, 20000,
	55000, 59000, 15000, 1000, 47000, 50000, 71000, 22000, 8000, 18000, 2000, 16000, 1000}

// share is how many of a million bytes of text are c, about.
func share(c byte) float64 {
	switch {
	case 'a' <= c && c <= 'z':
		return letterShare[c-'a']
	case 'A' <= c && c <= 'Z':
		return letterShare[c-'A']/25 + 300
	case c == ' ':
		return 160000
	case '0' <= c && c <= '9', c == '.', c == ',', c == '\n', c == '-', c == '/', c == '=':
		return 5000
	case c > ' ' && c < 0x7F:
		return 1000
	}
	return 300
}

// shares is share of every byte.
var shares = func() (out [256]float64) {
	for c := range out {
		out[c] = share(byte(c))
	}
	return out
}()

// bitsOf is how rare a byte of the set is in text.
func bitsOf(s syntax.Charset) float64 {
	total := 0.0
	s.Each(func(c byte) { total += shares[c] })
	return -math.Log2(min(total, 1e6) / 1e6)
}
