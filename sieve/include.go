package sieve

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"unicode"
)

// include is RFC 6609.
var include = extension{
	name: capInclude, rfc: "6609",
	commands: []commandRow{
		{signature: signature{name: "include", groups: []group{groupLocation}, params: []param{{name: "script", kind: kindString, literal: true}}}, build: buildInclude},
		{signature: signature{name: "return"}, ends: true, build: func(*checker, *bound) action {
			return func(*machine) error { return errReturn }
		}},
		{signature: signature{name: "global", params: []param{{name: "variables", kind: kindList, literal: true, needs: capVariables}}}, build: buildGlobal},
	},
	tags: []tagRow{
		{name: "personal", group: groupLocation},
		{name: "global", group: groupLocation},
		{name: "once", on: []string{"include"}},
		{name: "optional", on: []string{"include"}},
	},
}

const (
	capInclude          = "include"
	groupLocation group = "location"
)

// buildInclude compiles the other script into this one.
func buildInclude(c *checker, b *bound) action {
	location, name := "personal", b.vals[0].texts[0].lit
	if t := b.given(groupLocation); t != nil {
		location = t.row.name
	}
	if badScriptName(name) {
		c.errorf(b.vals[0].at, "%s can not be the name of a script", quoted(name)) // RFC 6609, 3.2; RFC 5804, 1.6
		return nil
	}
	once := b.tag("once")
	u, err := c.include(location, name)
	var broken brokenScript
	switch {
	case errors.Is(err, fs.ErrNotExist) && b.tag("optional"):
		return nil
	case errors.Is(err, fs.ErrNotExist):
		// It may be put there later (RFC 6609, 3.2).
		c.warnf(b.vals[0].at, "there is no %s script %s", location, quoted(name)).Hint = "running this is an error as long as that is so"
		return func(*machine) error { return fmt.Errorf("there is no %s script %s", location, quoted(name)) }
	case errors.As(err, &broken):
		c.errorf(b.vals[0].at, "the script %s can not run: %v", quoted(name), err)
		return nil
	case err != nil:
		c.errorf(b.vals[0].at, "the script %s can not be included: %v", quoted(name), err)
		return nil
	}
	return func(m *machine) error { return m.include(u, once) }
}

func badScriptName(s string) bool {
	return s == "" || strings.ContainsFunc(s, func(r rune) bool { return r == '/' || unicode.In(r, unicode.Cc, unicode.Zl, unicode.Zp) })
}

type brokenScript struct{ problems Problems }

func (b brokenScript) Error() string {
	return strings.TrimPrefix(b.problems.Err().Error(), "sieve: ")
}

// include finds and compiles a script, once for all that include it.
func (l *linker) include(location, name string) (*unit, error) {
	key := location + "/" + name
	switch {
	case l.units[key] != nil:
		return l.units[key], nil // perhaps one that is being compiled: see machine.include
	case len(l.open) >= l.opts.Limits.Nesting:
		return nil, fmt.Errorf("scripts are included more than %d deep", l.opts.Limits.Nesting)
	case len(l.units)+1 >= l.opts.Limits.Scripts:
		return nil, fmt.Errorf("more than %d scripts", l.opts.Limits.Scripts)
	case l.opts.Include == nil:
		return nil, fs.ErrNotExist
	}
	text, err := l.opts.Include(location, name)
	if err != nil {
		return nil, err
	}
	u := &unit{name: name}
	l.units[key] = u
	l.open = append(l.open, key)
	problems, ok := l.compile(u, text)
	l.open = l.open[:len(l.open)-1]
	if !ok {
		delete(l.units, key)
		return nil, brokenScript{problems}
	}
	return u, nil
}

// include runs another script: with variables of its own, but for global ones
// (RFC 6609, 3.2 and 3.4). Actions, flags and edits are those of one run.
func (m *machine) include(u *unit, once bool) error {
	if once && slices.Contains(m.included, u) {
		return nil
	}
	if slices.Contains(m.open, u) {
		return fmt.Errorf("the script %s includes itself", quoted(u.name)) // RFC 6609, 3.1: only when it is run
	}
	if !slices.Contains(m.included, u) {
		m.included = append(m.included, u)
	}
	m.open = append(m.open, u)
	outer, vars, line, granted := m.unit, m.vars, m.line, m.granted
	m.unit, m.vars, m.granted = u, make([]string, u.slots), nil
	back := m.presentPart()
	m.depth++
	if err := m.spend(16 + u.slots); err != nil {
		return err
	}
	if err := m.enter(u); err != nil && !errors.Is(err, errReturn) {
		return err // what failed, failed there
	}
	m.depth--
	m.open = m.open[:len(m.open)-1]
	back()
	m.unit, m.vars, m.line, m.granted, m.taken = outer, vars, line, granted, false
	return nil
}

// buildGlobal makes names stand for variables that all scripts share.
func buildGlobal(c *checker, b *bound) action {
	for _, t := range b.vals[0].texts { // RFC 6609, 3.4.1
		name := asciiLower(t.lit)
		_, used := c.slots[name]
		switch {
		case !isIdentifier(name):
			c.errorf(b.vals[0].at, "%s is not the name of a variable", quoted(t.lit))
		case used:
			c.errorf(b.vals[0].at, "the variable %s was used before it is made global", quoted(t.lit)) // RFC 6609, 3.4.1
		default:
			if c.shared == nil {
				c.shared = map[string]bool{}
			}
			c.shared[name] = true
			c.global(name, b.vals[0].at)
		}
	}
	return nil
}

// global is the slot of a variable that all scripts share.
func (c *checker) global(name string, at span) (storage, bool) {
	n, ok := c.globals[name]
	if !ok {
		if len(c.globals) >= c.opts.Limits.Variables {
			c.errorf(at, "more than %d global variables", c.opts.Limits.Variables)
			return storage{}, false
		}
		n = len(c.globals)
		c.globals[name] = n
	}
	return storage{fromGlobal, n}, true
}
