package sieve

import "fmt"

// node is a command or a test with what stands behind it. The grammar does not
// tell commands from tests, nor how many arguments each takes (RFC 5228, 8.2);
// the checker does.
type node struct {
	name  string
	at    span // of the name
	args  []arg
	list  bool // tests stood in parentheses
	tests []*node
	block []*node
	open  bool // a block was there, if only an empty one
	bad   bool // something of it is missing; said already
}

type argKind uint8

const (
	argString argKind = iota
	argList
	argNumber
	argTag
)

// arg is one argument as written.
type arg struct {
	kind argKind
	at   span
	text string   // a tag's name
	list []phrase // the strings of a list, or the one string
	num  int64
}

// phrase is a string of the script before variables are looked at.
type phrase struct {
	text string
	at   span
}

// parser reads tokens into nodes. After an error it goes on behind the next
// semicolon or block, so that one check finds several.
type parser struct {
	*report
	lex   lexer
	tok   token
	last  span // of the token before
	reg   *registry
	limit int // of nesting
}

func parse(r *report, reg *registry, nesting int) []*node {
	p := &parser{report: r, lex: lexer{report: r, text: r.text}, reg: reg, limit: nesting}
	p.advance()
	var out []*node
	for {
		out = append(out, p.commands(1)...)
		if p.tok.kind == tokenEnd {
			return out
		}
		p.errorf(p.tok.at, "this } closes nothing")
		p.advance()
	}
}

func (p *parser) advance() {
	p.last = p.tok.at
	p.tok = p.lex.next()
}

func (p *parser) is(mark byte) bool { return p.tok.kind == tokenMark && p.tok.mark == mark }

func (p *parser) take(mark byte) bool {
	if !p.is(mark) {
		return false
	}
	p.advance()
	return true
}

// commands reads up to a } or the end.
func (p *parser) commands(depth int) []*node {
	var out []*node
	for p.tok.kind != tokenEnd && !p.is('}') {
		if p.take(';') {
			p.warnf(p.last, "a semicolon with no command before it")
			continue
		}
		if p.tok.kind != tokenName {
			p.errorf(p.tok.at, "expected a command, found %s", p.found())
			p.recover()
			continue
		}
		out = append(out, p.command(depth))
	}
	return out
}

// command reads a command.
func (p *parser) command(depth int) *node {
	n := &node{name: p.tok.text, at: p.tok.at}
	p.advance()
	if !p.arguments(n, 1) {
		n.bad = true
		p.recover()
		return n
	}
	switch {
	case p.take(';'):
		return n
	case p.is('{'):
		return p.body(n, depth)
	}
	if p.lex.cut {
		n.bad = true
		return n // the string that does not end was reported
	}
	behind := span{p.last.end, p.last.end}
	if row := p.reg.commands[n.name]; row != nil && row.block {
		p.errorf(behind, "%s wants a block here", n.name).Hint = "write { ... }"
		n.bad = true
	} else {
		p.errorf(behind, "a semicolon is missing after %s", n.name).Hint = "add ;"
	}
	if p.tok.kind != tokenName {
		p.recover()
	}
	return n
}

// body reads the block of a command.
func (p *parser) body(n *node, depth int) *node {
	open := p.tok.at
	if depth > p.limit {
		p.errorf(open, "blocks are nested more than %d deep", p.limit)
		n.bad = true
		p.recover()
		return n
	}
	p.advance()
	n.open = true
	n.block = p.commands(depth + 1)
	if !p.take('}') && !p.lex.cut {
		p.errorf(open, "this block does not end").Hint = "add }"
		return n
	}
	return n
}

// arguments reads arguments, then a test or a list of tests. It reports false
// after an error.
func (p *parser) arguments(n *node, depth int) bool {
	for {
		switch {
		case p.tok.kind == tokenName && p.begins():
			return true // the command before it has lost its semicolon
		case p.tok.kind == tokenName:
			t, ok := p.test(depth)
			n.tests = append(n.tests, t)
			return ok
		case p.is('('):
			return p.testList(n, depth)
		case p.tok.kind == tokenEnd || p.is(';') || p.is('{') || p.is('}') || p.is(')') || p.is(','):
			return true
		}
		a, ok := p.argument()
		if !ok {
			return false
		}
		n.args = append(n.args, a)
	}
}

// begins reports whether the name at hand can only begin a command.
func (p *parser) begins() bool {
	return p.reg.commands[p.tok.text] != nil && p.reg.tests[p.tok.text] == nil
}

func (p *parser) test(depth int) (*node, bool) {
	n := &node{name: p.tok.text, at: p.tok.at}
	if depth > p.limit {
		p.errorf(n.at, "tests are nested more than %d deep", p.limit)
		n.bad = true
		return n, false
	}
	p.advance()
	n.bad = !p.arguments(n, depth+1)
	return n, !n.bad
}

// testList reads tests in parentheses.
func (p *parser) testList(n *node, depth int) bool {
	open := p.tok.at
	p.advance()
	n.list = true
	if p.take(')') {
		p.warnf(span{open.start, p.last.end}, "an empty list of tests").Hint = "allof () is always true, anyof () always false"
		return true
	}
	for {
		if p.tok.kind != tokenName {
			p.errorf(p.tok.at, "expected a test, found %s", p.found())
			return false
		}
		t, ok := p.test(depth)
		n.tests = append(n.tests, t)
		switch {
		case !ok:
			return false
		case p.take(','):
		case p.take(')'):
			return true
		default:
			p.errorf(p.tok.at, "expected , or ) in a list of tests, found %s", p.found())
			return false
		}
	}
}

func (p *parser) argument() (a arg, ok bool) {
	t := p.tok
	a.at = t.at
	switch {
	case t.kind == tokenNumber:
		a.kind, a.num = argNumber, t.num
	case t.kind == tokenTag:
		a.kind, a.text = argTag, t.text
	case t.kind == tokenString:
		a.kind, a.list = argString, []phrase{{t.text, t.at}}
	case p.is('['):
		return p.stringList()
	default:
		p.errorf(t.at, "expected an argument, found %s", p.found())
		return a, false
	}
	p.advance()
	return a, true
}

func (p *parser) stringList() (a arg, ok bool) {
	a = arg{kind: argList, at: p.tok.at}
	p.advance()
	if p.take(']') {
		a.at.end = p.last.end
		p.warnf(a.at, "an empty list of strings matches nothing")
		return a, true
	}
	for {
		if p.tok.kind != tokenString {
			p.errorf(p.tok.at, "expected a string in the list, found %s", p.found())
			return a, false
		}
		a.list = append(a.list, phrase{p.tok.text, p.tok.at})
		p.advance()
		switch {
		case p.take(','):
		case p.take(']'):
			a.at.end = p.last.end
			return a, true
		default:
			p.errorf(p.tok.at, "expected , or ] in a list of strings, found %s", p.found())
			return a, false
		}
	}
}

// recover skips to behind the next semicolon or block, or before the } that
// closes the block at hand.
func (p *parser) recover() {
	for depth := 0; p.tok.kind != tokenEnd; p.advance() {
		switch {
		case p.is(';') && depth == 0:
			p.advance()
			return
		case p.is('{'):
			depth++
		case p.is('}') && depth == 0:
			return
		case p.is('}'):
			if depth--; depth == 0 {
				p.advance()
				return
			}
		}
	}
}

// found names the token at hand.
func (p *parser) found() string {
	switch p.tok.kind {
	case tokenEnd:
		return "the end of the script"
	case tokenName:
		return quoted(p.tok.text)
	case tokenTag:
		return ":" + p.tok.text
	case tokenNumber:
		return "a number"
	case tokenString:
		return "a string"
	}
	return fmt.Sprintf("%q", string(p.tok.mark))
}
