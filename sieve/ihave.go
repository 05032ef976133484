package sieve

import (
	"errors"
	"fmt"
	"slices"
)

// ihave is the test of that name and the command error (RFC 5463).
var ihave = extension{
	name: "ihave", rfc: "5463",
	tests:    []testRow{{signature: signature{name: "ihave", params: []param{{name: "capabilities", kind: kindList, literal: true}}}, build: buildIHave}},
	commands: []commandRow{{signature: signature{name: "error", params: []param{{name: "message", kind: kindString}}}, ends: true, build: buildError}},
}

// buildIHave is decided now, all of its names or none. What the script may use
// behind it needs no require, once the test was made; and if something is not
// there, what follows is judged when it is reached (RFC 5463, 4).
func buildIHave(c *checker, b *bound) test {
	for _, t := range b.vals[0].texts {
		if c.text(phrase{text: t.lit, at: b.vals[0].at}).parts != nil {
			c.errorf(b.vals[0].at, "the names of extensions can not hold variables")
		}
	}
	for _, t := range b.vals[0].texts {
		if !slices.Contains(c.offers, t.lit) || changesReading(t.lit) {
			c.unsure = true
			return constant(false)(c, b)
		}
	}
	var granted []string
	for _, t := range b.vals[0].texts {
		for _, name := range c.require(t.lit) {
			c.tested[name] = true
		}
		for _, name := range []string{t.lit, brings[t.lit]} {
			if c.tested[name] {
				granted = append(granted, name)
			}
		}
	}
	return func(m *machine) (bool, error) {
		for _, name := range granted {
			if !slices.Contains(m.granted, name) {
				m.granted = append(m.granted, name)
			}
		}
		return true, nil
	}
}

// granted is a test that needs the ihave of some extensions first.
func granted(uses []string, made test) test {
	return func(m *machine) (bool, error) {
		if err := m.ungranted(uses); err != nil {
			return false, err
		}
		return made(m)
	}
}

// ungranted finds an extension among those that a command or test uses whose
// ihave was not made yet.
func (m *machine) ungranted(uses []string) error {
	for _, name := range uses {
		if !slices.Contains(m.granted, name) {
			return fmt.Errorf("the extension %s is used before ihave has found it", name)
		}
	}
	return nil
}

// changesReading reports whether a capability changes how the text of a script is
// read: ihave must say no and not switch it on (RFC 5463, 4).
func changesReading(capability string) bool {
	return capability == capEncoded || capability == capVariables
}

func buildError(_ *checker, b *bound) action {
	message := b.vals[0].texts[0]
	return func(m *machine) error {
		s, err := message.value(m)
		if err != nil {
			return err
		}
		return errors.New(s)
	}
}
