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
	names := upperNames(b.vals[0].texts)
	return func(m *machine) (bool, error) {
		for _, t := range names {
			name, err := t.value(m)
			if err != nil {
				return false, err
			}
			fields, err := m.header(name)
			if err != nil || len(fields) == 0 {
				return false, err
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

// buildSize compares the message's size (RFC 5228, 5.9).
func buildSize(c *checker, b *bound) test {
	limit := b.vals[0].num
	t := b.given(groupSize)
	switch {
	case t == nil:
		c.errorf(b.at, "size wants :over or :under").Hint = "size :over 100K"
		return nil
	case t.row.name == "over":
		return func(m *machine) (bool, error) { return m.env.Message.Size() > limit, nil }
	}
	return func(m *machine) (bool, error) { return m.env.Message.Size() < limit, nil }
}

// buildHeader compares header fields (RFC 5228, 5.7).
func buildHeader(c *checker, b *bound) test {
	c.checkNames(b.vals[0])
	names, q := upperNames(b.vals[0].texts), c.matcher(b, b.vals[1])
	return func(m *machine) (bool, error) {
		n := 0
		for _, t := range names {
			name, err := t.value(m)
			if err != nil {
				return false, err
			}
			fields, err := m.header(name)
			if err != nil {
				return false, err
			}
			if n += len(fields); q.how.count {
				continue
			}
			if ok, err := q.matchAny(m, fields); ok || err != nil {
				return ok, err
			}
		}
		return q.counted(m, n)
	}
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
	for _, t := range names {
		if t.parts == nil && !holdsAddresses(t.lit) {
			p := c.errorf(b.vals[0].at, "the field %s does not hold addresses", quoted(t.lit))
			if p.Hint = didYouMean(asciiLower(t.lit), addressFields); p.Hint == "" {
				p.Hint = "use the test header for it"
			}
		}
	}
	names = upperNames(names)
	return func(m *machine) (bool, error) {
		n := 0
		for _, t := range names {
			name, err := t.value(m)
			if err != nil {
				return false, err
			}
			if t.parts != nil && !holdsAddresses(name) {
				continue
			}
			list, err := m.mailboxes(name)
			if err != nil {
				return false, err
			}
			if n += len(list.values); q.how.count {
				continue
			}
			parts, err := list.of(m, part)
			if err != nil {
				return false, err
			}
			if ok, err := q.matchAny(m, parts); ok || err != nil {
				return ok, err
			}
		}
		return q.counted(m, n)
	}
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
}

func buildEnvelope(c *checker, b *bound) test {
	names, q, part := b.vals[0].texts, c.matcher(b, b.vals[1]), b.part()
	for _, t := range names {
		if t.parts == nil && envelopeParts[asciiLower(t.lit)] == nil {
			p := c.errorf(b.vals[0].at, "the envelope has no part %s", quoted(t.lit))
			p.Hint = `there are "from" and "to"`
		}
	}
	return func(m *machine) (bool, error) {
		n := 0
		for _, t := range names {
			name, err := t.value(m)
			if err != nil {
				return false, err
			}
			get := envelopeParts[asciiLower(name)]
			if get == nil {
				return false, fmt.Errorf("envelope: no part %s", quoted(name))
			}
			a := get(m.env.Envelope)
			ok := false
			switch {
			case a == (Address{}): // the empty string, whatever the part
				if !q.how.count {
					ok, err = q.match(m, &subject{})
				}
			case q.how.count:
				n++
			default:
				if value, has := part.part(a, &m.script.opts); has {
					ok, err = q.match(m, &subject{text: value})
				}
			}
			if ok || err != nil {
				return ok, err
			}
		}
		return q.counted(m, n)
	}
}
