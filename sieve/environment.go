package sieve

import "strings"

// environment is RFC 5183.
var environment = extension{
	name: capEnvironment, rfc: "5183",
	tests: []testRow{{
		signature: signature{name: "environment", groups: []group{groupComparator, groupMatch}, params: []param{{name: "item", kind: kindString}, {name: "keys", kind: kindList}}},
		build:     buildEnvironment,
	}},
}

// imapSieve marks scripts that IMAP events run (RFC 6785); what it brings are
// items of the environment.
var imapSieve = extension{name: "imapsieve", rfc: "6785"}

// dovecotEnvironment brings variables env.*.
var dovecotEnvironment = extension{name: capDovecotEnvironment, rfc: "spec-bosch-sieve-dovecot-environment"}

const (
	capEnvironment        = "environment"
	capDovecotEnvironment = "vnd.dovecot.environment"
)

// environment is the value of an item.
func (m *machine) environment(item string) (string, bool) {
	if m.env.Environment == nil {
		return "", false
	}
	s, ok := m.env.Environment(asciiLower(item))
	return strings.ToValidUTF8(s, "\uFFFD"), ok
}

// environmentVariable is the value of a variable env.*, in whose name "_" stands
// for "-" (spec-bosch-sieve-dovecot-environment, 4).
func (m *machine) environmentVariable(name string) string {
	s, ok := m.environment(strings.ReplaceAll(name, "_", "-"))
	if !ok {
		s, _ = m.environment(name)
	}
	return s
}

// buildEnvironment compares an item. One that is not known makes the test fail,
// whatever the match type (RFC 5183, 4).
func buildEnvironment(c *checker, b *bound) test {
	item, q := b.vals[0].texts[0], c.matcher(b, b.vals[1])
	return func(m *machine) (bool, error) {
		name, err := item.value(m)
		if err != nil {
			return false, err
		}
		s, ok := m.environment(name)
		if !ok {
			return false, nil
		}
		return q.seek(m, func(_ *machine, to *seeker) error { return to.one(subject{text: s}) })
	}
}
