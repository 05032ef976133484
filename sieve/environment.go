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

func buildEnvironment(c *checker, b *bound) test {
	item, q := b.vals[0].texts[0], c.matcher(b, b.vals[1])
	return q.test(func(m *machine, to *seeker) error {
		name, err := item.value(m)
		if err != nil {
			return err
		}
		if s, ok := m.environment(name); ok {
			return to.one(subject{text: s})
		}
		return nil
	})
}
