package sieve

import (
	"context"
	"fmt"
	"strings"
)

// mailbox is mailboxexists and fileinto :create (RFC 5490, 3.1 and 3.2).
var mailbox = extension{
	name: "mailbox", rfc: "5490",
	tests: []testRow{{signature: signature{name: "mailboxexists", params: []param{{name: "mailboxes", kind: kindList}}}, build: everyMailbox(
		func(ctx context.Context, m Mailboxes, name string) (bool, error) { return m.Exists(ctx, name) })}},
	tags: []tagRow{{name: "create", on: []string{"fileinto", "vacation", "notify"}, apply: func(_ *machine, _ value, a *Action) error {
		a.Create = true
		return nil
	}}},
}

// groupFound are the ways to find a folder but by its name; only one may be given
// (RFC 9042, 4.2 and 5).
const groupFound group = "way to find the folder"

// mailboxID is RFC 9042.
var mailboxID = extension{
	name: "mailboxid", rfc: "9042",
	tests: []testRow{{signature: signature{name: "mailboxidexists", params: []param{{name: "mailbox IDs", kind: kindList}}}, build: everyMailbox(
		func(ctx context.Context, m Mailboxes, id string) (bool, error) {
			_, ok, err := m.ByID(ctx, id)
			return ok, err
		})}},
	tags: []tagRow{{name: "mailboxid", group: groupFound, on: []string{"fileinto", "vacation", "notify"}, takes: kindString, apply: func(m *machine, v value, a *Action) (err error) {
		a.MailboxID, err = v.texts[0].value(m)
		return err
	}}},
}

// specialUse is RFC 8579.
var specialUse = extension{
	name: "special-use", rfc: "8579",
	tests: []testRow{{
		signature: signature{name: "specialuse_exists", params: []param{{name: "mailbox", kind: kindString, optional: true}, {name: "special uses", kind: kindList}}},
		build:     buildSpecialUseExists,
	}},
	tags: []tagRow{{name: "specialuse", group: groupFound, on: []string{"fileinto", "vacation", "notify"}, takes: kindString, check: func(c *checker, v value) {
		if s, ok := v.constant(); ok && !isSpecialUse(s) {
			c.errorf(v.at, "%s is no special use", quoted(s)).Hint = `write "\\Junk"`
		}
	}, apply: func(m *machine, v value, a *Action) (err error) {
		if a.SpecialUse, err = v.texts[0].value(m); err == nil && !isSpecialUse(a.SpecialUse) {
			err = fmt.Errorf("%s is no special use", quoted(a.SpecialUse)) // as a name that no folder can have (RFC 8579, 4)
		}
		return err
	}}},
}

func isSpecialUse(s string) bool {
	return len(s) > 1 && s[0] == '\\' && !strings.ContainsFunc(s[1:], func(r rune) bool {
		return r <= ' ' || r >= 0x7f || strings.ContainsRune(`(){%*"\]`, r)
	})
}

// everyMailbox is a test that holds if something holds of every string.
func everyMailbox(holds func(context.Context, Mailboxes, string) (bool, error)) func(*checker, *bound) test {
	return func(_ *checker, b *bound) test {
		list := b.vals[0].texts
		return func(m *machine) (bool, error) {
			names, err := values(m, list)
			if err != nil || m.env.Mailboxes == nil {
				return false, err
			}
			for _, name := range names {
				if ok, err := m.asked(holds(m.ctx, m.env.Mailboxes, name)); err != nil || !ok {
					return false, err
				}
			}
			return true, nil
		}
	}
}

// asked charges a question to the host.
func (m *machine) asked(ok bool, err error) (bool, error) {
	if err != nil {
		return false, err
	}
	return ok, m.spend(1000)
}

func buildSpecialUseExists(_ *checker, b *bound) test {
	in, uses := b.vals[0], b.vals[1].texts
	return func(m *machine) (bool, error) {
		mailbox := ""
		if in.given() {
			s, err := in.texts[0].value(m)
			if err != nil {
				return false, err
			}
			mailbox = s
		}
		list, err := values(m, uses)
		if err != nil || m.env.Mailboxes == nil {
			return false, err
		}
		for _, use := range list {
			_, has, err := m.env.Mailboxes.Special(m.ctx, mailbox, use)
			if ok, err := m.asked(has, err); err != nil || !ok {
				return false, err
			}
		}
		return true, nil
	}
}

// mboxmetadata and servermetadata are RFC 5490, 3.3 to 4.2.
var (
	mboxmetadata = extension{
		name: "mboxmetadata", rfc: "5490",
		tests: []testRow{
			{signature: signature{
				name: "metadata", groups: []group{groupComparator, groupMatch},
				params: []param{{name: "mailbox", kind: kindString}, {name: "annotation", kind: kindString}, {name: "keys", kind: kindList}},
			}, build: func(c *checker, b *bound) test {
				return buildMetadata(b.vals[0].texts[0], b.vals[1].texts[0], c.matcher(b, b.vals[2]))
			}},
			{signature: signature{name: "metadataexists", params: []param{{name: "mailbox", kind: kindString}, {name: "annotations", kind: kindList}}}, build: func(_ *checker, b *bound) test {
				return buildMetadataExists(b.vals[0].texts[0], b.vals[1].texts)
			}},
		},
	}
	servermetadata = extension{
		name: "servermetadata", rfc: "5490",
		tests: []testRow{
			{signature: signature{
				name: "servermetadata", groups: []group{groupComparator, groupMatch},
				params: []param{{name: "annotation", kind: kindString}, {name: "keys", kind: kindList}},
			}, build: func(c *checker, b *bound) test {
				return buildMetadata(text{}, b.vals[0].texts[0], c.matcher(b, b.vals[1]))
			}},
			{signature: signature{name: "servermetadataexists", params: []param{{name: "annotations", kind: kindList}}}, build: func(_ *checker, b *bound) test {
				return buildMetadataExists(text{}, b.vals[0].texts)
			}},
		},
	}
)

// annotation asks for the annotation of a mailbox, of the server if it is "".
func (m *machine) annotation(mailbox, name string) (string, bool, error) {
	if m.env.Mailboxes == nil {
		return "", false, nil
	}
	s, ok, err := m.env.Mailboxes.Annotation(m.ctx, mailbox, name)
	ok, err = m.asked(ok, err)
	return s, ok, err
}

func buildMetadata(mailbox, name text, q *matcher) test {
	return q.test(func(m *machine, to *seeker) error {
		in, err := mailbox.value(m)
		if err != nil {
			return err
		}
		annotation, err := name.value(m)
		if err != nil {
			return err
		}
		s, ok, err := m.annotation(in, annotation)
		if err != nil || !ok {
			return err
		}
		return to.one(subject{text: s})
	})
}

func buildMetadataExists(mailbox text, names []text) test {
	return func(m *machine) (bool, error) {
		in, err := mailbox.value(m)
		if err != nil {
			return false, err
		}
		list, err := values(m, names)
		if err != nil {
			return false, err
		}
		for _, name := range list {
			if _, ok, err := m.annotation(in, name); err != nil || !ok {
				return false, err
			}
		}
		return true, nil
	}
}
