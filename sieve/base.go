package sieve

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// base is RFC 5228 without its optional parts.
var base = extension{
	rfc: "5228",
	commands: []commandRow{
		{signature: signature{name: "require", params: []param{{name: "capabilities", kind: kindList, literal: true}}}, first: true, build: buildRequire},
		{signature: signature{name: "if", tests: oneTest, block: true}, build: buildIf},
		{signature: signature{name: "elsif", tests: oneTest, block: true}, after: true, build: buildElsif},
		{signature: signature{name: "else", block: true}, after: true, build: buildElse},
		{signature: signature{name: "stop"}, ends: true, build: buildStop},
		{signature: signature{name: "keep"}, build: buildKeep},
		{signature: signature{name: "discard"}, build: buildDiscard},
		{signature: signature{name: "redirect", params: []param{{name: "address", kind: kindString}}}, build: buildRedirect},
	},
	tests: []testRow{
		{signature: signature{name: "true"}, build: constant(true)},
		{signature: signature{name: "false"}, build: constant(false)},
		{signature: signature{name: "not", tests: oneTest}, build: buildNot},
		{signature: signature{name: "allof", tests: someTests}, build: until(false)},
		{signature: signature{name: "anyof", tests: someTests}, build: until(true)},
		{signature: signature{name: "exists", params: []param{{name: "header names", kind: kindList}}}, build: buildExists},
		{signature: signature{name: "size", groups: []group{groupSize}, params: []param{{name: "limit", kind: kindNumber}}}, build: buildSize},
		{signature: signature{name: "header", groups: []group{groupMIME, groupComparator, groupMatch}, params: namesAndKeys("header names")}, build: buildHeader},
		{signature: signature{name: "address", groups: []group{groupComparator, groupPart, groupMatch}, params: namesAndKeys("header list")}, build: buildAddress},
	},
	tags: append([]tagRow{
		{name: "is", group: groupMatch, match: &matchIs},
		{name: "contains", group: groupMatch, match: &matchContains},
		{name: "matches", group: groupMatch, match: &matchMatches},
		{name: "comparator", group: groupComparator, takes: kindString, check: checkComparator},
		{name: "over", group: groupSize},
		{name: "under", group: groupSize},
	}, addressTags...),
	compare: []comparator{octet, casemap},
}

func namesAndKeys(names string) []param {
	return []param{{name: names, kind: kindList}, {name: "keys", kind: kindList}}
}

// fileinto is the capability of that name (RFC 5228, 4.1).
var fileinto = extension{
	name: "fileinto", rfc: "5228",
	commands: []commandRow{
		{signature: signature{name: "fileinto", params: []param{{name: "mailbox", kind: kindString}}}, build: buildFileInto},
	},
}

// copying is the tag :copy (RFC 3894).
var copying = extension{
	name: "copy", rfc: "3894",
	tags: []tagRow{{name: "copy", on: []string{"fileinto", "redirect", "pipe"}, apply: func(_ *machine, _ value, a *Action) error {
		a.Copy = true
		return nil
	}}},
}

// buildRequire notes capabilities; it does nothing when run (RFC 5228, 3.2).
func buildRequire(c *checker, b *bound) action {
	for i, t := range b.vals[0].texts {
		if !slices.Contains(c.offers, t.lit) {
			c.errorf(b.args[0].list[i].at, "there is no extension %s here", quoted(t.lit)).Hint = c.nearest(t.lit, func() []string { return c.offers })
			continue
		}
		c.require(t.lit)
	}
	return nil
}

// brings are the capabilities that bring others along (RFC 6131, 2; RFC 5235,
// 3.2; spec-bosch-sieve-dovecot-environment, 5).
var brings = map[string]string{"vacation-seconds": "vacation", "spamtestplus": "spamtest", capDovecotEnvironment: capEnvironment}

// require notes that a capability may be used from here on. It returns what could
// not be used before.
func (c *checker) require(capability string) (fresh []string) {
	if other := brings[capability]; other != "" && !c.required[other] {
		c.required[other] = true
		fresh = append(fresh, other)
	}
	if !c.required[capability] {
		c.required[capability] = true
		c.requires = append(c.requires, capability)
		fresh = append(fresh, capability)
	}
	return fresh
}

func buildIf(_ *checker, b *bound) action {
	condition, body := b.tests[0], b.block
	return func(m *machine) error {
		m.taken = false
		return m.branch(condition, body)
	}
}

func buildElsif(_ *checker, b *bound) action {
	condition, body := b.tests[0], b.block
	return func(m *machine) error {
		if m.taken {
			return nil
		}
		return m.branch(condition, body)
	}
}

func buildElse(_ *checker, b *bound) action {
	body := b.block
	return func(m *machine) error {
		if m.taken {
			return nil
		}
		return m.run(body)
	}
}

// branch runs body if the condition holds. taken is set behind body, whose own
// branches have used it.
func (m *machine) branch(condition test, body block) error {
	ok, err := condition(m)
	if err != nil || !ok {
		return err
	}
	err = m.run(body)
	m.taken = true
	return err
}

func buildStop(*checker, *bound) action {
	return func(*machine) error { return errStop }
}

func buildKeep(_ *checker, b *bound) action {
	return func(m *machine) error { return b.perform(m, Action{Kind: Keep}) }
}

func buildDiscard(_ *checker, b *bound) action {
	return func(m *machine) error { return b.perform(m, Action{Kind: Discard}) }
}

func buildRedirect(c *checker, b *bound) action {
	to := b.vals[0].texts[0]
	if b.tag("list") {
		return func(m *machine) error {
			s, err := to.value(m)
			if err != nil {
				return err
			}
			name := listName(s)
			if m.env.Lists == nil || !m.env.Lists.Valid(name) {
				return fmt.Errorf("redirect: there is no list %s", quoted(s))
			}
			return b.perform(m, Action{Kind: Redirect, List: name})
		}
	}
	if s, ok := b.vals[0].constant(); ok {
		a, err := parseOutbound(s)
		if err != nil {
			c.errorf(b.vals[0].at, "%s is %v", quoted(s), err).Hint = `write "user@example.org"`
		}
		return func(m *machine) error { return b.perform(m, Action{Kind: Redirect, Address: a}) }
	}
	return func(m *machine) error {
		s, err := to.value(m)
		if err != nil {
			return err
		}
		a, err := parseOutbound(s)
		if err != nil {
			return fmt.Errorf("redirect: %s is %w", quoted(s), err)
		}
		return b.perform(m, Action{Kind: Redirect, Address: a})
	}
}

var errMailbox = errors.New("not the name of a mailbox")

// checkMailbox finds names that no mailbox can have.
func checkMailbox(s string) error {
	if s == "" || len(s) > 1000 || !utf8.ValidString(s) || strings.ContainsFunc(s, unicode.IsControl) {
		return errMailbox
	}
	return nil
}

func buildFileInto(c *checker, b *bound) action {
	to := b.vals[0].texts[0]
	if s, ok := b.vals[0].constant(); ok {
		if err := checkMailbox(s); err != nil {
			c.errorf(b.vals[0].at, "%s is %v", quoted(s), err)
		}
	}
	return func(m *machine) error {
		s, err := to.value(m)
		if err != nil {
			return err
		}
		if err := checkMailbox(s); err != nil {
			return fmt.Errorf("fileinto: %s is %w", quoted(s), err)
		}
		return b.perform(m, Action{Kind: FileInto, Mailbox: s})
	}
}

// checkComparator finds comparators that do not exist, or were not required
// (RFC 5228, 2.7.3).
func checkComparator(c *checker, v value) {
	name, ok := v.constant()
	if !ok {
		c.errorf(v.at, "the name of a comparator can not hold variables")
		return
	}
	row := c.reg.comparators[name]
	if row == nil {
		names := make([]string, 0, 3)
		for n := range c.reg.comparators {
			names = append(names, n)
		}
		slices.Sort(names)
		c.errorf(v.at, "unknown comparator %s", quoted(name)).Hint = didYouMean(name, names)
		return
	}
	c.has(v.at, row.ext, "the comparator "+name)
}
