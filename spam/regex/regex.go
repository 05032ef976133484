package regex

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"

	"mtad/spam/regex/syntax"
)

// Regexp is a compiled pattern. It is immutable, and can be used by several
// goroutines at once.
type Regexp struct {
	pattern   string
	modifiers string
	groups    int
	prog      atomic.Pointer[program] // nil if it has many instructions and has not been run
	names     []string
	warnings  []syntax.Error
	need      Condition
	search    search
	flags     syntax.Flags
	shape     shape
}

// shape is what filters want to know of a pattern.
type shape struct {
	wild, common bool // of a pattern without literals
	heavy        bool // it has many instructions
}

// program is what runs. A large one is made when it is first wanted: texts that can
// match are rare.
func (re *Regexp) program() *program {
	p := re.prog.Load()
	if p == nil {
		p, _ = compile(re.tree(), re.groups)
		re.prog.Store(p)
	}
	return p
}

// tree reads the pattern again: trees are large, and seldom wanted.
func (re *Regexp) tree() *syntax.Node {
	p, err := syntax.Parse(re.pattern, re.flags)
	if err != nil { // it was read before
		return &syntax.Node{Op: syntax.OpRepeat, Subs: []*syntax.Node{{Op: syntax.OpSet, Set: syntax.AllBytes}}, Max: syntax.Infinite}
	}
	return simplify(p.Tree)
}

// ErrBudget is returned for a match that took more steps than it may take, or
// had more to come back to than may be kept (a million places).
var ErrBudget = errors.New("regex: the budget of steps is used up")

// Budget bounds the work of matches. A step is about one instruction: between
// one and ten nanoseconds. The same pattern and text cost the same number of
// steps everywhere. A Budget belongs to one goroutine at a time.
type Budget struct {
	Steps    int64 // what is left for all matches together
	PerMatch int64 // what one call may take of it; 0: DefaultPerMatch
}

// DefaultPerMatch is the most steps of one call without a budget of its own.
const DefaultPerMatch = 10_000_000

// limit is how many steps the next call may take.
func (b *Budget) limit() int64 {
	if b == nil {
		return DefaultPerMatch
	}
	if b.PerMatch > 0 {
		return min(b.Steps, b.PerMatch)
	}
	return min(b.Steps, DefaultPerMatch)
}

// Compile reads a pattern as Perl's qr// does at run time (\Q, \L and variables
// are no part of it then), with the modifiers that stand behind it: any of
// "imsxnpadu". An error is a *syntax.Error.
func Compile(pattern, modifiers string) (*Regexp, error) {
	f, _, err := syntax.ParseModifiers(syntax.Flags{}, modifiers)
	if err != nil || strings.ContainsAny(modifiers, "^-") {
		return nil, fmt.Errorf("regex: modifiers %q of %q are not Perl's", modifiers, pattern)
	}
	return compileFlags(pattern, modifiers, f)
}

func compileFlags(pattern, modifiers string, f syntax.Flags) (*Regexp, error) {
	p, err := syntax.Parse(pattern, f)
	if err != nil {
		return nil, err
	}
	n := simplify(p.Tree)
	prog, ok := compile(n, p.Groups)
	if !ok {
		return nil, &syntax.Error{Pattern: pattern, Problem: fmt.Sprintf("the pattern becomes more than %d instructions", maxProgram)}
	}
	re := &Regexp{pattern: pattern, modifiers: modifiers, groups: p.Groups, warnings: p.Warnings, flags: f}
	re.names = make([]string, prog.groups)
	for name, groups := range p.Names {
		for _, g := range groups {
			re.names[g] = name
		}
	}
	re.need = needs(n)
	re.search = newSearch(n, re.need)
	if re.shape.heavy = len(prog.code) > maxLight; !re.shape.heavy {
		re.prog.Store(prog)
	}
	if len(re.need.All) == 0 {
		re.shape.wild, re.shape.common = isWild(n), isCommon(n)
	}
	return re, nil
}

// maxLight is how many instructions a program may have to be run whenever its literals
// are there; of others filters look closer first.
const maxLight = 64

// simplify merges alternatives of one byte each into a set.
func simplify(n *syntax.Node) *syntax.Node {
	for i, s := range n.Subs {
		n.Subs[i] = simplify(s)
	}
	if n.Op != syntax.OpAlt {
		return n
	}
	var set syntax.Charset
	for _, s := range n.Subs {
		if s.Op != syntax.OpSet {
			return n
		}
		set.Union(s.Set)
	}
	return &syntax.Node{Op: syntax.OpSet, Set: set}
}

// String is the pattern as Perl prints it.
func (re *Regexp) String() string { return "(?^" + re.modifiers + ":" + re.pattern + ")" }

// Names are the names of the groups by number, "" for one without; the first is
// that of group 0.
func (re *Regexp) Names() []string { return re.names }

// Warnings are what Perl warns of when it compiles the pattern. SpamAssassin
// refuses a rule for them.
func (re *Regexp) Warnings() []syntax.Error { return re.warnings }

// Needs is what every text that matches contains.
func (re *Regexp) Needs() Condition { return re.need }

// Match says whether the pattern matches anywhere in text.
func (re *Regexp) Match(text []byte, b *Budget) (bool, error) {
	m, ok, err := re.find(text, 0, false, b)
	if m != nil {
		m.release()
	}
	return ok, err
}

// Find looks for the first match at from or later, and returns the offsets of
// its groups in pairs, -1 for one that has matched nothing; nil if there is no
// match. It uses the memory of caps if that is enough. \G is from.
func (re *Regexp) Find(text []byte, from int, caps []int, b *Budget) ([]int, error) {
	if from < 0 || from > len(text) {
		return nil, nil
	}
	m, ok, err := re.find(text, from, true, b)
	if m == nil {
		return nil, err
	}
	defer m.release()
	if !ok {
		return nil, err
	}
	caps = caps[:0]
	for i := 0; i < len(m.caps); i += 2 {
		a, b := m.caps[i], m.caps[i+1]
		if b < 0 {
			a = -1
		}
		caps = append(caps, int(a), int(b))
	}
	return caps, nil
}

// Count counts the matches that follow each other, as Find finds them: at most as many
// as most. first are the offsets of the first of them.
func (re *Regexp) Count(text []byte, most int, b *Budget) (n int, first [2]int, err error) {
	m, ok, err := re.find(text, 0, false, b)
	if m == nil {
		return 0, first, err
	}
	defer m.release()
	first = [2]int{int(m.caps[0]), int(m.caps[1])}
	for ok {
		n++
		at := int(m.caps[1])
		if m.caps[0] == m.caps[1] {
			at++
		}
		if n >= most || at > len(text) {
			break
		}
		limit := b.limit()
		if limit <= 0 {
			return n, first, ErrBudget
		}
		m.start(m.prog, text, at, false, limit)
		ok, err = re.search.run(m, at)
		if spent := b.spend(m.steps); err == nil && !ok {
			err = spent
		}
		if err != nil {
			break
		}
	}
	return n, first, err
}

// maxText is the longest text: offsets are 32 bits.
const maxText = 1 << 30

// find runs the search; the machine it returns is the caller's to release.
func (re *Regexp) find(text []byte, from int, keep bool, b *Budget) (*machine, bool, error) {
	limit := b.limit()
	if limit <= 0 {
		return nil, false, ErrBudget
	}
	if len(text) > maxText {
		return nil, false, fmt.Errorf("regex: a text of %d bytes is too long", len(text))
	}
	s := &re.search
	if len(s.required) > 0 && !bytes.Contains(text[from:], s.required) {
		return nil, false, b.spend(int64(len(text)) >> 6)
	}
	m := machines.Get().(*machine)
	m.start(re.program(), text, from, keep, limit)
	ok, err := s.run(m, from)
	if spent := b.spend(m.steps); err == nil && !ok {
		err = spent
	}
	return m, ok, err
}

// spend takes steps from the budget.
func (b *Budget) spend(steps int64) error {
	if b == nil {
		return nil
	}
	if b.Steps -= steps + 1; b.Steps < 0 {
		b.Steps = 0
		return ErrBudget
	}
	return nil
}
