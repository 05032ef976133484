package engine

import (
	"regexp"
	"regexp/syntax"
	"strings"

	lua "github.com/yuin/gopher-lua"
)

// Bounds of the library re: expressions in time linear in the text (RE2), if
// there is one match to be found.
const (
	maxRegexp  = 1000 // octets of an expression
	maxRegexps = 200  // kept by a state
	// Steps of one match: instructions of the expression times octets of the text.
	maxSteps = 50_000_000
	// All matches together can take that times their number. From so many steps
	// on they are looked for once under the eyes of the clock.
	manySteps  = 10_000_000
	maxMatches = 1000
)

// expression is a compiled one and how many instructions it has.
type expression struct {
	*regexp.Regexp
	size int
}

// expression compiles the argument n, for the text that is argument 1.
func (c *call) expression(L *lua.LState, n int) (string, expression) {
	in, expr := L.CheckString(1), L.CheckString(n)
	re, ok := c.compiled[expr]
	if !ok {
		re = compileExpression(L, expr)
		if len(c.compiled) >= maxRegexps {
			clear(c.compiled)
		}
		if c.compiled == nil {
			c.compiled = map[string]expression{}
		}
		c.compiled[expr] = re
	}
	if re.size*len(in) > maxSteps {
		L.RaiseError("re: this expression is too much work for a text of %d octets", len(in))
	}
	return in, re
}

func compileExpression(L *lua.LState, expr string) expression {
	if len(expr) > maxRegexp {
		L.RaiseError("re: expression is longer than %d octets", maxRegexp)
	}
	re, err := regexp.Compile(expr)
	if err != nil {
		L.RaiseError("re: %s", strings.TrimPrefix(err.Error(), "error parsing regexp: "))
	}
	size := len(expr)
	if p, err := syntax.Parse(expr, syntax.Perl); err == nil {
		if prog, err := syntax.Compile(p.Simplify()); err == nil {
			size = len(prog.Inst)
		}
	}
	return expression{re, size}
}

// rehearse finds all matches once and looks at the clock at each: what follows
// takes as long again, which no clock could stop.
func (c *call) rehearse(L *lua.LState, in string, re expression) {
	if re.size*len(in) < manySteps/max(len(in), 1) {
		return
	}
	re.ReplaceAllStringFunc(in, func(string) string {
		if c.clock.ctx != nil && c.clock.ctx.Err() != nil {
			L.RaiseError("re: %v", c.clock.ctx.Err())
		}
		return ""
	})
}

func reMatch(L *lua.LState, c *call) int {
	in, re := c.expression(L, 2)
	m := re.FindStringSubmatchIndex(in)
	if m == nil {
		L.Push(lua.LNil)
		return 1
	}
	if len(m) > 2 {
		m = m[2:]
	}
	if len(m)/2 > patternCaptures {
		L.RaiseError("re: more than %d captures", patternCaptures)
	}
	for i := 0; i < len(m); i += 2 {
		s := ""
		if m[i] >= 0 {
			s = in[m[i]:m[i+1]]
		}
		L.Push(text(s))
	}
	return len(m) / 2
}

func reFind(L *lua.LState, c *call) int {
	in, re := c.expression(L, 2)
	m := re.FindStringIndex(in)
	if m == nil {
		L.Push(lua.LNil)
		return 1
	}
	L.Push(lua.LNumber(m[0] + 1))
	L.Push(lua.LNumber(m[1]))
	return 2
}

func reAll(L *lua.LState, c *call) int {
	in, re := c.expression(L, 2)
	n := min(max(L.OptInt(3, maxMatches), 0), maxMatches)
	c.rehearse(L, in, re)
	t := L.NewTable()
	for _, m := range re.FindAllStringSubmatch(in, n) {
		t.Append(text(m[min(1, len(m)-1)]))
	}
	L.Push(t)
	return 1
}

func reReplace(L *lua.LState, c *call) int {
	in, re := c.expression(L, 2)
	with := L.CheckString(3)
	c.rehearse(L, in, re)
	refs := strings.Count(with, "$")
	most := maxString / max(len(with), 32*(re.NumSubexp()+1))
	found := re.FindAllStringSubmatchIndex(in, most+1)
	if len(found) > most {
		L.RaiseError("re: more than %d matches", most)
	}
	var out []byte
	at := 0
	for _, m := range found {
		// No capture is longer than what was matched.
		if len(out)+m[0]-at+len(with)+refs*(m[1]-m[0]) > maxString {
			L.RaiseError("re: result is longer than %d octets", maxString)
		}
		out = re.ExpandString(append(out, in[at:m[0]]...), with, in, m)
		at = m[1]
	}
	if len(out)+len(in)-at > maxString {
		L.RaiseError("re: result is longer than %d octets", maxString)
	}
	L.Push(text(string(append(out, in[at:]...))))
	return 1
}

func reQuote(L *lua.LState, _ *call) int {
	L.Push(text(regexp.QuoteMeta(L.CheckString(1))))
	return 1
}
