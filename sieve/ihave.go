package sieve

import (
	"errors"
	"slices"
)

// ihave is the test of that name and the command error (RFC 5463).
var ihave = extension{
	name: "ihave", rfc: "5463",
	tests:    []testRow{{signature: signature{name: "ihave", params: []param{{name: "capabilities", kind: kindList, literal: true}}}, build: buildIHave}},
	commands: []commandRow{{signature: signature{name: "error", params: []param{{name: "message", kind: kindString}}}, ends: true, build: buildError}},
}

// buildIHave is decided now. What the script may use behind it needs no require;
// and if something is not there, what follows is judged when it is reached
// (RFC 5463, 4).
func buildIHave(c *checker, b *bound) test {
	all := true
	for _, t := range b.vals[0].texts {
		if slices.Contains(c.offers, t.lit) && !changesReading(t.lit) {
			c.require(t.lit)
			continue
		}
		all = false
		c.unsure = true
	}
	return constant(all)(c, b)
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
