package syntax

import (
	"strings"
)

// group reads what stands behind an opening parenthesis, which is at at.
func (p *parser) group(at int) (*Node, error) {
	switch {
	case p.take("?"):
		return p.special(at)
	case p.take("*"):
		return p.verb(at)
	}
	if p.flags.noCapture {
		return p.inner(at, &Node{Op: OpCat})
	}
	return p.capture(at, "")
}

// capture reads a group that keeps what it matched.
func (p *parser) capture(at int, name string) (*Node, error) {
	p.groups++
	n := p.groups
	if name != "" {
		p.names[name] = append(p.names[name], n)
	}
	return p.inner(at, &Node{Op: OpGroup, N: n})
}

// inner reads the inside of a group up to its parenthesis, where the modifiers
// set within end.
func (p *parser) inner(at int, to *Node) (*Node, error) {
	saved := p.flags
	n, err := p.alternation()
	if err != nil {
		return nil, err
	}
	p.flags = saved
	if !p.take(")") {
		return nil, p.fail(at, "unmatched (")
	}
	to.Subs = append(to.Subs, n)
	if to.Op == OpCat {
		return n, nil
	}
	return to, nil
}

// looks are the lookarounds by what opens them.
var looks = []struct {
	open string
	kind Op
	not  bool
}{
	{"=", OpAhead, false}, {"!", OpAhead, true}, {"<=", OpBehind, false}, {"<!", OpBehind, true},
}

// special reads (?...
func (p *parser) special(at int) (*Node, error) {
	for _, l := range looks {
		if p.take(l.open) {
			return p.look(at, l.kind, l.not)
		}
	}
	switch {
	case p.pos == len(p.src):
		return nil, p.fail(at, "sequence (? incomplete")
	case p.take(">"):
		return p.inner(at, &Node{Op: OpAtomic})
	case p.take("|"):
		return p.branchReset(at)
	case p.take("("):
		return p.conditional(at)
	case p.take("P="):
		name, err := p.name(at, ')')
		return p.namedRef(at, name), err
	case p.take("P<"), p.take("<"):
		return p.named(at, '>')
	case p.take("'"):
		return p.named(at, '\'')
	case p.take("{"), p.take("?{"):
		return nil, p.fail(at, "code in a pattern is not allowed")
	}
	if c := p.src[p.pos]; strings.IndexByte("R0123456789+&", c) >= 0 || strings.HasPrefix(p.src[p.pos:], "P>") || c == '-' && p.pos+1 < len(p.src) && digits.Has(p.src[p.pos+1]) {
		return nil, p.fail(at, "recursion is not supported")
	}
	return p.modifiers(at)
}

func (p *parser) named(at int, end byte) (*Node, error) {
	name, err := p.name(at, end)
	if err != nil {
		return nil, err
	}
	return p.capture(at, name)
}

// name reads a group's name up to end.
func (p *parser) name(at int, end byte) (string, error) {
	i := strings.IndexByte(p.src[p.pos:], end)
	if i < 0 {
		return "", p.fail(at, "name of a group not terminated")
	}
	name := p.src[p.pos : p.pos+i]
	if end == '}' {
		name = strings.Trim(name, " \t")
	}
	for j := range len(name) {
		if !WordsASCII.Has(name[j]) || j == 0 && digits.Has(name[j]) {
			return "", p.fail(p.pos, "group name must be word characters that start with a non-digit")
		}
	}
	if name == "" {
		return "", p.fail(p.pos, "group name is empty")
	}
	p.pos += i + 1
	return name, nil
}

// look reads the inside of a lookaround.
func (p *parser) look(at int, k Op, not bool) (*Node, error) {
	p.behind++
	n, err := p.inner(at, &Node{Op: k, Not: not})
	p.behind--
	if err != nil {
		return nil, err
	}
	n.Min, n.Max = n.Subs[0].Width()
	if k == OpBehind && n.Max > maxBehind {
		return nil, p.fail(at, "lookbehind longer than %d is not possible", maxBehind)
	}
	return n, nil
}

// branchReset reads (?|...): every branch numbers its groups from the same.
func (p *parser) branchReset(at int) (*Node, error) {
	saved, first, most := p.flags, p.groups, p.groups
	alt := &Node{Op: OpAlt}
	for {
		p.groups = first
		b, err := p.branch()
		if err != nil {
			return nil, err
		}
		alt.Subs = append(alt.Subs, b)
		most = max(most, p.groups)
		if !p.take("|") {
			break
		}
	}
	p.groups, p.flags = most, saved
	if !p.take(")") {
		return nil, p.fail(at, "unmatched (")
	}
	if len(alt.Subs) == 1 {
		return alt.Subs[0], nil
	}
	return alt, nil
}

// conditional reads (?(condition)yes|no).
func (p *parser) conditional(at int) (*Node, error) {
	n := &Node{Op: OpCond}
	if err := p.condition(at, n); err != nil {
		return nil, err
	}
	saved := p.flags
	for {
		b, err := p.branch()
		if err != nil {
			return nil, err
		}
		n.Subs = append(n.Subs, b)
		if !p.take("|") {
			break
		}
	}
	p.flags = saved
	looks := 0
	if n.N < 0 {
		looks = 1
	}
	switch branches := len(n.Subs) - looks; {
	case !p.take(")"):
		return nil, p.fail(at, "unmatched (")
	case branches > 2:
		return nil, p.fail(at, "switch (?(condition)... contains too many branches")
	case branches == 1:
		n.Subs = append(n.Subs, &Node{Op: OpEmpty})
	}
	return n, nil
}

func (p *parser) condition(at int, n *Node) error {
	var name string
	var err error
	switch {
	case p.take("?"):
		n.N = -1
		for _, l := range looks {
			if p.take(l.open) {
				look, err := p.look(at, l.kind, l.not)
				n.Subs = append(n.Subs, look)
				return err
			}
		}
		return p.fail(at, "unknown switch condition (?(...))")
	case p.take("<"):
		name, err = p.name(at, '>')
	case p.take("'"):
		name, err = p.name(at, '\'')
	default:
		return p.conditionNumber(at, n)
	}
	if err != nil {
		return err
	}
	if !p.take(")") {
		return p.fail(at, "switch condition not terminated")
	}
	p.refs = append(p.refs, reference{at: at, name: name, to: n})
	return nil
}

func (p *parser) conditionNumber(at int, n *Node) error {
	start := p.pos
	for p.pos < len(p.src) && digits.Has(p.src[p.pos]) {
		p.pos++
	}
	if start == p.pos || p.src[start] == '0' {
		return p.fail(at, "unknown switch condition (?(...))")
	}
	n.N = number(p.src[start:p.pos])
	n.Refs = []int{n.N}
	if !p.take(")") {
		return p.fail(at, "switch condition not terminated")
	}
	return nil
}

// modifiers reads (?^imsx-i) and (?i:...).
func (p *parser) modifiers(at int) (*Node, error) {
	saved := p.flags
	end := strings.IndexAny(p.src[p.pos:], ":)")
	if end < 0 {
		return nil, p.fail(at, "sequence (?... not terminated")
	}
	f, err := p.setFlags(p.flags, p.src[p.pos:p.pos+end], p.pos)
	if err != nil {
		return nil, err
	}
	p.flags = f
	p.pos += end + 1
	if p.src[p.pos-1] == ')' {
		return nil, nil
	}
	n, err := p.inner(at, &Node{Op: OpCat})
	p.flags = saved
	return n, err
}

// setFlags applies modifiers as they stand behind (?.
func (p *parser) setFlags(f Flags, s string, at int) (Flags, error) {
	on, charsets := true, ""
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '^' && i == 0:
			f = Flags{}
			if p.wide {
				f.Rules = RulesU
			}
		case c == '-' && on && s[0] != '^':
			on = false
		case c == 'x':
			f.xx = on && i+1 < len(s) && s[i+1] == 'x'
			f.extended = on
			if f.xx {
				i++
			}
		case strings.IndexByte("adul", c) >= 0:
			if !on || c == 'l' {
				return f, p.fail(at+i, "modifier %q cannot stand here", c)
			}
			if charsets += string(c); charsets != "aa" && len(charsets) > 1 {
				return f, p.fail(at+i, "modifiers %q exclude each other", charsets)
			}
			f.Rules = map[string]Rules{"d": RulesD, "u": RulesU, "a": RulesA, "aa": RulesAA}[charsets]
			if p.wide && f.Rules == RulesD {
				f.Rules = RulesU
			}
		case strings.IndexByte("goc", c) >= 0:
			p.warn(at+i, "useless (?%c)", c)
		case !f.set(c, on):
			return f, p.fail(at+i, "sequence (?%s not recognized", s)
		}
	}
	return f, nil
}

// ParseModifiers applies the modifiers that stand behind a pattern, any of "imsxnpadu", to
// those that are in force anyway. The warnings are what Perl has of them; an error is an
// *Error.
func ParseModifiers(f Flags, s string) (Flags, []Error, error) {
	p := &parser{src: s}
	f, err := p.setFlags(f, s, 0)
	return f, p.warnings, err
}

// set switches one of the modifiers that are on or off.
func (f *Flags) set(c byte, on bool) bool {
	switch c {
	case 'i':
		f.fold = on
	case 'm':
		f.multi = on
	case 's':
		f.dot = on
	case 'n':
		f.noCapture = on
	case 'p':
	default:
		return false
	}
	return true
}

// verb reads (*...: the assertions that have names; the rest steers
// backtracking, and is refused.
func (p *parser) verb(at int) (*Node, error) {
	for _, v := range []struct {
		names string
		kind  Op
		not   bool
	}{
		{"pla positive_lookahead", OpAhead, false}, {"nla negative_lookahead", OpAhead, true},
		{"plb positive_lookbehind", OpBehind, false}, {"nlb negative_lookbehind", OpBehind, true},
	} {
		for _, name := range strings.Fields(v.names) {
			if p.take(name + ":") {
				return p.look(at, v.kind, v.not)
			}
		}
	}
	switch {
	case p.take("atomic:"):
		return p.inner(at, &Node{Op: OpAtomic})
	case p.take("FAIL)"), p.take("F)"):
		return &Node{Op: OpFail}, nil
	}
	return nil, p.fail(at, "verb or construct (*...) is not supported")
}
