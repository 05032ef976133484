package sieve

import (
	"fmt"
	"slices"
	"strings"
)

func constant(result bool) func(*checker, *bound) test {
	return func(*checker, *bound) test {
		return func(*machine) (bool, error) { return result, nil }
	}
}

func buildNot(_ *checker, b *bound) test {
	inner := b.tests[0]
	return func(m *machine) (bool, error) {
		ok, err := inner(m)
		return !ok && err == nil, err
	}
}

// until is anyof and allof: the first test that is decisive ends it, and no test
// behind it is made (RFC 5229, 3.2).
func until(decisive bool) func(*checker, *bound) test {
	return func(_ *checker, b *bound) test {
		tests := b.tests
		return func(m *machine) (bool, error) {
			for _, t := range tests {
				if err := m.spend(1); err != nil {
					return false, err
				}
				if ok, err := t(m); err != nil || ok == decisive {
					return ok, err
				}
			}
			return !decisive, nil
		}
	}
}

func buildExists(c *checker, b *bound) test {
	c.checkNames(b.vals[0])
	names, scope := upperNames(b.vals[0].texts), c.scope(b)
	return func(m *machine) (bool, error) {
		for _, t := range names {
			name, err := t.value(m)
			if err != nil {
				return false, err
			}
			entities, err := scope.entities(m)
			if err != nil {
				return false, err
			}
			there := false
			for _, e := range entities {
				fields, err := m.fields(e, name)
				if err != nil {
					return false, err
				}
				there = there || len(fields) > 0
			}
			if !there {
				return false, nil
			}
		}
		return true, nil
	}
}

// checkNames warns of header names that no field can have. They are no error
// (RFC 5228, 2.4.2.2).
func (c *checker) checkNames(names value) {
	for _, t := range names.texts {
		switch {
		case t.parts != nil:
		case strings.HasSuffix(t.lit, ":"):
			c.warnf(names.at, "no field is named %s", quoted(t.lit)).Hint = "leave out the colon"
		case t.lit == "" || strings.ContainsFunc(t.lit, func(r rune) bool { return r <= ' ' || r >= 0x7f || r == ':' }):
			c.warnf(names.at, "no field is named %s", quoted(t.lit))
		}
	}
}

// upperNames are header names as the machine keeps them, which spares it the
// work on constants.
func upperNames(list []text) []text {
	out := slices.Clone(list)
	for i := range out {
		out[i].lit = asciiUpper(out[i].lit)
	}
	return out
}

// buildSize compares the message's size (RFC 5228, 5.9), as the script has edited
// it.
func buildSize(c *checker, b *bound) test {
	limit := b.vals[0].num
	t := b.given(groupSize)
	switch {
	case t == nil:
		c.errorf(b.at, "size wants :over or :under").Hint = "size :over 100K"
		return nil
	case t.row.name == "over":
		return func(m *machine) (bool, error) { return m.size() > limit, nil }
	}
	return func(m *machine) (bool, error) { return m.size() < limit, nil }
}

// size is that of the message as it is now, or of the part that stands for it.
func (m *machine) size() int64 {
	if m.within != nil {
		return m.within.Size()
	}
	return m.message.Size()
}

// buildHeader compares header fields (RFC 5228, 5.7; RFC 5703, 4.1).
func buildHeader(c *checker, b *bound) test {
	c.checkNames(b.vals[0])
	names, q, at, scope := upperNames(b.vals[0].texts), c.matcher(b, b.vals[1]), c.index(b), c.scope(b)
	view := c.mimeView(b)
	return q.test(func(m *machine, to *seeker) error {
		entities, err := scope.entities(m)
		if err != nil {
			return err
		}
		counted := gather[subject]{at: at}
		for _, t := range names {
			name, err := t.value(m)
			if err != nil {
				return err
			}
			for i, e := range entities {
				fields, err := m.view(e, name, view)
				if err != nil {
					return err
				}
				if counted.add(i, fields) {
					continue
				}
				if err := to.take(fields); err != nil {
					return err
				}
			}
		}
		for _, list := range counted.lists {
			if err := to.take(pick(list, at)); err != nil {
				return err
			}
		}
		return nil
	})
}

// fields are the values of a field of the message, or of a part of it.
func (m *machine) fields(e Entity, name string) ([]subject, error) {
	if e == nil {
		return m.header(name)
	}
	out, n := m.subjects(e.Header(name))
	return out, m.spend(64 + 32*n)
}

// addressFields are the fields that hold addresses (RFC 5228, 5.1): those of the
// message format, and others in use.
var addressFields = []string{
	"from", "to", "cc", "bcc", "sender", "reply-to",
	"resent-from", "resent-to", "resent-cc", "resent-bcc", "resent-sender", "resent-reply-to",
	"return-path", "delivered-to", "envelope-to", "x-envelope-to", "x-original-to", "apparently-to",
	"mail-followup-to", "mail-reply-to", "errors-to", "disposition-notification-to", "return-receipt-to",
}

func holdsAddresses(name string) bool {
	return slices.ContainsFunc(addressFields, func(s string) bool { return strings.EqualFold(s, name) })
}

// buildAddress compares addresses in header fields (RFC 5228, 5.1).
func buildAddress(c *checker, b *bound) test {
	names, q, part := b.vals[0].texts, c.matcher(b, b.vals[1]), b.part()
	at, scope := c.index(b), c.scope(b)
	for _, t := range names {
		// With :mime it is any field (RFC 5703, 4.2: "Content-From").
		if t.parts == nil && !scope.mime && !holdsAddresses(t.lit) {
			p := c.errorf(b.vals[0].at, "the field %s does not hold addresses", quoted(t.lit))
			if p.Hint = didYouMean(asciiLower(t.lit), addressFields); p.Hint == "" {
				p.Hint = "use the test header for it"
			}
		}
	}
	names = upperNames(names)
	return q.test(func(m *machine, to *seeker) error {
		entities, err := scope.entities(m)
		if err != nil {
			return err
		}
		counted := gather[[]Address]{at: at}
		for _, t := range names {
			name, err := t.value(m)
			if err != nil {
				return err
			}
			if t.parts != nil && !scope.mime && !holdsAddresses(name) {
				continue
			}
			for i, e := range entities {
				list, err := m.fieldAddresses(e, name)
				if err != nil {
					return err
				}
				if counted.add(i, list.values) {
					continue
				}
				parts, err := list.of(m, part)
				if err != nil {
					return err
				}
				if err := to.take(parts); err != nil {
					return err
				}
			}
		}
		for _, fields := range counted.lists {
			if err := to.take(m.partsOf(pick(fields, at), part)); err != nil {
				return err
			}
		}
		return nil
	})
}

// fieldAddresses are the addresses in the fields of a name of the message, or of
// a part of it.
func (m *machine) fieldAddresses(e Entity, name string) (*addresses, error) {
	if e == nil {
		return m.mailboxes(name)
	}
	for _, value := range e.Header(name) {
		if err := m.spend(16 * len(value)); err != nil {
			return nil, err
		}
	}
	list := &addresses{name: name, values: e.Addresses(name)}
	return list, m.spend(16 + 8*count(list.values))
}

// part is the address part that a test asks for; the whole if it does not say.
func (b *bound) part() *tagRow {
	if t := b.given(groupPart); t != nil {
		return t.row
	}
	return &addressTags[0]
}

// envelope is the capability of that name (RFC 5228, 5.4).
var envelope = extension{
	name: "envelope", rfc: "5228",
	tests: []testRow{{
		signature: signature{name: "envelope", groups: []group{groupComparator, groupPart, groupMatch}, params: namesAndKeys("envelope parts")},
		build:     buildEnvelope,
	}},
}

// envelopeParts finds the parts by name.
var envelopeParts = map[string]func(Envelope) Address{
	"from": func(e Envelope) Address { return e.From },
	"to":   func(e Envelope) Address { return e.To },
	"auth": func(e Envelope) Address { return wholeAddress(e.Auth) },
}

// wholeAddress is a name that need not be an address; it has all parts if it is
// one.
func wholeAddress(s string) Address {
	a, err := parseOutbound(s)
	if err != nil {
		return Address{Local: s}
	}
	return a
}

func buildEnvelope(c *checker, b *bound) test {
	names, q, part := b.vals[0].texts, c.matcher(b, b.vals[1]), b.part()
	for _, t := range names {
		if t.parts == nil && envelopeParts[asciiLower(t.lit)] == nil {
			p := c.errorf(b.vals[0].at, "the envelope has no part %s", quoted(t.lit))
			p.Hint = `there are "from", "to" and "auth"`
		}
	}
	return q.test(func(m *machine, to *seeker) error {
		if m.env.Event {
			return errNoEnvelope
		}
		for _, t := range names {
			name, err := t.value(m)
			if err != nil {
				return err
			}
			get := envelopeParts[asciiLower(name)]
			if get == nil {
				return fmt.Errorf("envelope: no part %s", quoted(name))
			}
			value, has := "", true
			a := get(m.env.Envelope)
			if a != (Address{}) { // else the empty string, whatever the part
				value, has = part.part(a, m.opts)
			}
			if !has {
				continue
			}
			if err := to.one(subject{text: value, empty: a == (Address{})}); err != nil {
				return err
			}
		}
		return nil
	})
}
