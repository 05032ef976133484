package sieve

import (
	"fmt"
	"slices"
	"strconv"
)

// checker binds a syntax tree to the tables of the language and compiles it.
type checker struct {
	*report
	*linker
	offers   []string // capabilities that can be required
	required map[string]bool
	requires []string
	begun    bool            // a command other than require was seen
	slots    map[string]int  // of variables
	shared   map[string]bool // names that "global" has declared
	loops    []loop          // the foreverypart around what is checked
	tested   map[string]bool // capabilities that only ihave has named
	uses     []string        // of them, those that the command or test at hand needs
}

// statement is a compiled command.
type statement struct {
	line  int32
	run   action
	name  string
	shown []text // arguments, for traces
}

type block []statement

// bound is a command or test whose arguments fit its row.
type bound struct {
	*node
	sig   *signature
	vals  []value // one for each param; kindNone where it was left out
	tags  []boundTag
	tests []test
	block block
	uses  []string // capabilities that need their ihave first
}

type boundTag struct {
	row *tagRow
	at  span
	val value
}

// value is a checked argument.
type value struct {
	kind  kind
	at    span
	num   int64
	texts []text
}

// given reports whether the argument was written.
func (v value) given() bool { return v.kind != kindNone }

// constant is a string argument without variables.
func (v value) constant() (string, bool) {
	if len(v.texts) == 1 && v.texts[0].parts == nil {
		return v.texts[0].lit, true
	}
	return "", false
}

// commands checks the commands of a block.
func (c *checker) commands(nodes []*node) block {
	out := make(block, 0, len(nodes))
	ended, warned := "", false
	var before *commandRow
	for _, n := range nodes {
		if ended != "" && !warned {
			c.warnf(n.at, "this is never reached: it follows %s", ended)
			warned = true
		}
		row := c.reg.commands[n.name]
		run, shown := c.governed(n, row, before)
		if run != nil {
			out = append(out, statement{line: int32(c.line(n.at.start)), run: run, name: n.name, shown: shown})
		}
		if row != nil && row.ends {
			ended = n.name
		}
		before = row
	}
	return out
}

// governed checks a command. Where ihave has named an extension that there is
// none of, what does not compile is an error only if it is reached (RFC 5463, 4).
func (c *checker) governed(n *node, row, before *commandRow) (action, []text) {
	errors, problems := c.errors, len(c.problems)
	run, shown := c.command(n, row, before)
	if !c.unsure || c.errors == errors {
		return run, shown
	}
	err := fmt.Errorf("%s can not run here", n.name)
	if problems < len(c.problems) {
		err = fmt.Errorf("%s can not run here: %s", n.name, c.problems[problems].Message)
	}
	c.errors, c.problems = errors, c.problems[:problems]
	return func(*machine) error { return err }, nil
}

// command checks and compiles one command; nil if it has an error, or does
// nothing when run.
func (c *checker) command(n *node, row, before *commandRow) (action, []text) {
	if row == nil {
		c.unknownCommand(n)
		c.inside(n)
		return nil, nil
	}
	switch {
	case row.first && c.begun:
		c.errorf(n.at, "%s stands behind other commands", n.name).Hint = "move it to the top of the script" // RFC 5228, 3.2
	case row.after && (before == nil || !before.block || before.name == "else"):
		c.errorf(n.at, "%s without an if before it", n.name) // RFC 5228, 3.1
	}
	c.begun = c.begun || !row.first
	c.uses = nil
	usable := c.has(n.at, row.ext, n.name)
	if row.loop {
		c.loops = append(c.loops, loop{name: loopName(n)})
	}
	b, ok := c.bind(n, &row.signature)
	if row.loop {
		defer func() { c.loops = c.loops[:len(c.loops)-1] }()
	}
	if !ok || !usable {
		return nil, nil
	}
	run := row.build(c, b)
	if run == nil || len(b.uses) == 0 {
		return run, b.shown()
	}
	return func(m *machine) error {
		if err := m.ungranted(b.uses); err != nil {
			return err
		}
		return run(m)
	}, b.shown()
}

// shown are a command's arguments.
func (b *bound) shown() (out []text) {
	for _, t := range b.tags {
		out = append(out, text{lit: ":" + t.row.name})
		out = append(out, t.val.shown()...)
	}
	for _, v := range b.vals {
		out = append(out, v.shown()...)
	}
	return out
}

func (v value) shown() []text {
	if v.kind == kindNumber {
		return []text{{lit: strconv.FormatInt(v.num, 10)}}
	}
	return v.texts
}

// inside checks what an unknown command holds.
func (c *checker) inside(n *node) {
	for _, t := range n.tests {
		c.test(t)
	}
	c.commands(n.block)
}

func (c *checker) unknownCommand(n *node) {
	p := c.errorf(n.at, "unknown command %s", quoted(n.name))
	c.begun = true
	if c.reg.tests[n.name] != nil {
		p.Message = n.name + " is a test, not a command"
		p.Hint = "tests stand behind if: if " + n.name + " ... { ... }"
		return
	}
	p.Hint = c.nearest(n.name, c.reg.commandNames)
}

// test checks and compiles one test.
func (c *checker) test(n *node) test {
	row := c.reg.tests[n.name]
	if row == nil {
		p := c.errorf(n.at, "unknown test %s", quoted(n.name))
		if p.Hint = c.nearest(n.name, c.reg.testNames); c.reg.commands[n.name] != nil {
			p.Message = n.name + " is a command, not a test"
		}
		c.inside(n)
		return nil
	}
	c.uses = nil
	usable := c.has(n.at, row.ext, n.name)
	b, ok := c.bind(n, &row.signature)
	if !ok || !usable {
		return nil
	}
	made, name := row.build(c, b), n.name
	if made == nil {
		return nil
	}
	if len(b.uses) > 0 {
		made = granted(b.uses, made)
	}
	return func(m *machine) (bool, error) {
		if m.env.Trace != nil {
			return m.traced(name, made)
		}
		return made(m)
	}
}

// has reports whether a capability was required (RFC 5228, 2.10.5).
func (c *checker) has(at span, capability, what string) bool {
	if capability == "" || c.required[capability] {
		if c.tested[capability] {
			c.uses = append(c.uses, capability)
		}
		return true
	}
	p := c.errorf(at, "%s needs the extension %s", what, capability)
	if slices.Contains(c.offers, capability) {
		p.Hint = `add "` + capability + `" to require`
	} else {
		p.Hint = "it is switched off here"
	}
	return false
}

// bind fits what was written to the signature. It checks inner tests and blocks
// whatever else is wrong.
func (c *checker) bind(n *node, sig *signature) (*bound, bool) {
	b := &bound{node: n, sig: sig, vals: make([]value, len(sig.params))}
	before := c.errors
	if !n.bad {
		c.arguments(b)
	}
	b.uses, c.uses = c.uses, nil
	b.tests = c.tests(n, sig)
	switch {
	case n.bad:
	case sig.block && !n.open:
		c.errorf(n.at, "%s wants a block", n.name).Hint = sig.String()
	case !sig.block && n.open:
		c.errorf(n.at, "%s takes no block", n.name).Hint = "end it with a semicolon"
	}
	b.block = c.commands(n.block)
	return b, c.errors == before && !n.bad
}

func (c *checker) tests(n *node, sig *signature) []test {
	out := make([]test, len(n.tests))
	for i, t := range n.tests {
		out[i] = c.test(t)
	}
	switch {
	case n.bad:
	case sig.tests == noTests && (n.list || len(n.tests) > 0):
		c.errorf(n.at, "%s takes no test", n.name).Hint = sig.String()
	case sig.tests == oneTest && (n.list || len(n.tests) == 0):
		c.errorf(n.at, "%s wants one test", n.name).Hint = sig.String()
	case sig.tests == someTests && !n.list:
		c.errorf(n.at, "%s wants tests in parentheses", n.name).Hint = sig.String()
	}
	return out
}

// arguments sorts tagged and positional arguments.
func (c *checker) arguments(b *bound) {
	args := b.args
	for len(args) > 0 && args[0].kind == argTag {
		args = c.tag(b, args)
	}
	for i, a := range args {
		if a.kind == argTag {
			// RFC 5228, 2.6.2
			c.errorf(a.at, ":%s stands behind the positional arguments", a.text).Hint = "tags come first: " + b.sig.String()
			args = args[:i]
			break
		}
	}
	c.positional(b, args)
}

// tag binds the tag at the start of args and returns what follows it.
func (c *checker) tag(b *bound, args []arg) []arg {
	a, rest := args[0], args[1:]
	row := c.reg.tag(a.text, b.sig)
	if row == nil {
		p := c.errorf(a.at, "%s takes no tag :%s", b.name, a.text)
		p.Hint = c.nearest(":"+a.text, func() []string { return c.reg.tagNames(b.sig) })
		return b.sig.skipValue(rest)
	}
	usable := c.has(a.at, row.ext, ":"+a.text)
	for _, t := range b.tags {
		if t.row == row {
			c.errorf(a.at, ":%s is given twice", a.text)
		} else if t.row.excludes() == row.excludes() {
			c.errorf(a.at, ":%s can not stand with :%s", a.text, t.row.name)
		}
	}
	t := boundTag{row: row, at: a.at}
	if row.takes != kindNone {
		if len(rest) == 0 || !fits(rest[0], row.takes) {
			c.errorf(a.at, ":%s wants %s behind it", a.text, kindNames[row.takes])
			return b.sig.skipValue(rest)
		}
		t.val, rest = c.value(rest[0], row.takes, row.literal), rest[1:]
		if row.check != nil && usable {
			row.check(c, t.val)
		}
	}
	b.tags = append(b.tags, t)
	return rest
}

// skipValue passes over what was meant as the value of a tag that has none, or
// has another: it is there if a tag follows it, or more than can be positional.
func (s *signature) skipValue(rest []arg) []arg {
	if len(rest) == 0 || rest[0].kind == argTag {
		return rest
	}
	if len(rest) > len(s.params) || slices.ContainsFunc(rest[1:], func(a arg) bool { return a.kind == argTag }) {
		return rest[1:]
	}
	return rest
}

// positional binds the arguments behind the tags. Optional ones lead.
func (c *checker) positional(b *bound, args []arg) {
	params := b.sig.params
	skip := 0
	for skip < len(params) && params[skip].optional && len(args) < len(params)-skip {
		skip++
	}
	for i, p := range params[skip:] {
		if i >= len(args) && p.trailing {
			continue
		}
		if i >= len(args) {
			c.errorf(b.at, "%s wants <%s>, %s", b.name, p.name, kindNames[p.kind]).Hint = b.sig.String()
			return
		}
		if !fits(args[i], p.kind) {
			c.errorf(args[i].at, "%s wants %s as <%s>", b.name, kindNames[p.kind], p.name).Hint = b.sig.String()
			continue
		}
		if p.needs != "" && !c.has(args[i].at, p.needs, "<"+p.name+">") {
			continue
		}
		b.vals[skip+i] = c.value(args[i], p.kind, p.literal)
	}
	if extra := len(params) - skip; len(args) > extra {
		c.errorf(args[extra].at, "%s takes no more arguments than %d", b.name, extra).Hint = b.sig.String()
	}
}

func fits(a arg, k kind) bool {
	switch k {
	case kindNumber:
		return a.kind == argNumber
	case kindString:
		return a.kind == argString
	case kindList:
		return a.kind == argString || a.kind == argList
	}
	return false
}

// value checks an argument's strings.
func (c *checker) value(a arg, k kind, literal bool) value {
	v := value{kind: k, at: a.at, num: a.num}
	if len(a.list) > 0 {
		v.texts = make([]text, len(a.list))
	}
	for i, s := range a.list {
		if literal {
			v.texts[i] = text{lit: c.decoded(s)}
			continue
		}
		v.texts[i] = c.text(s)
	}
	return v
}

// tag reports whether a tag was written.
func (b *bound) tag(name string) bool { return b.option(name) != nil }

// option finds a tag by name; nil if it was not written.
func (b *bound) option(name string) *boundTag {
	for i := range b.tags {
		if b.tags[i].row.name == name {
			return &b.tags[i]
		}
	}
	return nil
}

// given finds the tag of a group that was written.
func (b *bound) given(g group) *boundTag {
	for i := range b.tags {
		if b.tags[i].row.excludes() == g {
			return &b.tags[i]
		}
	}
	return nil
}
