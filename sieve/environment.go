package sieve

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

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
var imapSieve = extension{name: capIMAPSieve, rfc: "6785"}

// eventItems are empty where no event, or none that they belong to, has run the
// script (RFC 6785, 4.2 and 4.5).
var eventItems = []string{"imap.user", "imap.email", "imap.changedflags"}

// deliveryOnly are capabilities that a script which an event of IMAP runs can
// not require (RFC 6785, 3.11; RFC 7352, 3.4).
var deliveryOnly = []string{"reject", "ereject", "vacation", "vacation-seconds", "duplicate"}

var errNoEnvelope = errors.New("envelope: at an event of IMAP there is none") // RFC 6785, 4.6

// atDelivery is the error of using what only a delivery has; nil at one.
func (m *machine) atDelivery(what string) error {
	if !m.env.Event {
		return nil
	}
	return fmt.Errorf("%s can not be used at an event of IMAP", what)
}

// dovecotEnvironment brings variables env.*.
var dovecotEnvironment = extension{name: capDovecotEnvironment, rfc: "spec-bosch-sieve-dovecot-environment"}

const (
	capEnvironment        = "environment"
	capIMAPSieve          = "imapsieve"
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
	item, q, events := b.vals[0].texts[0], c.matcher(b, b.vals[1]), c.required[capIMAPSieve]
	return func(m *machine) (bool, error) {
		name, err := item.value(m)
		if err != nil {
			return false, err
		}
		s, ok := m.environment(name)
		if !ok && !(events && slices.Contains(eventItems, asciiLower(name))) {
			return false, nil
		}
		return q.seek(m, func(_ *machine, to *seeker) error { return to.one(subject{text: s, empty: s == ""}) })
	}
}
