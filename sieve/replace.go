package sieve

import (
	"mime/quotedprintable"
	"strings"
)

// replace puts something else in a part's place (RFC 5703, 5).
var replace = extension{
	name: "replace", rfc: "5703",
	commands: []commandRow{{signature: signature{name: "replace", params: []param{{name: "replacement", kind: kindString}}}, build: buildReplace}},
	tags: []tagRow{
		{name: "mime", on: []string{"replace"}},
		{name: "subject", on: []string{"replace"}, takes: kindString},
		{name: "from", on: []string{"replace"}, takes: kindString, check: checkFrom},
	},
}

// enclose makes the message an attachment of a new one (RFC 5703, 6).
var enclose = extension{
	name: "enclose", rfc: "5703",
	commands: []commandRow{{signature: signature{name: "enclose", params: []param{{name: "text", kind: kindString}}}, build: buildEnclose}},
	tags: []tagRow{
		{name: "subject", on: []string{"enclose"}, takes: kindString},
		{name: "headers", on: []string{"enclose"}, takes: kindList},
	},
}

func buildReplace(c *checker, b *bound) action {
	with, isMIME := b.vals[0].texts[0], b.tag("mime")
	subject, from := b.option("subject"), b.option("from")
	for _, t := range []*boundTag{subject, from} {
		if t != nil && isMIME {
			c.errorf(t.at, ":%s can not stand with :mime", t.row.name) // RFC 5703, 5
		}
	}
	return func(m *machine) error {
		s, err := with.value(m)
		if err != nil {
			return err
		}
		if !isMIME {
			s = textEntity(s)
		}
		e, err := m.editor()
		if err != nil {
			return err
		}
		part := m.part
		if part == nil || part == m.root {
			part = nil
			if m.within != nil {
				part = m.within
			}
		}
		changed, err := e.ReplacePart(part, []byte(s))
		if err != nil {
			return err
		}
		if part == nil {
			if changed, err = m.instead(changed, "Subject", subject); err == nil {
				changed, err = m.instead(changed, "From", from)
			}
		}
		if err != nil {
			return err
		}
		return m.change(changed)
	}
}

// instead gives a field another value and keeps the old one in the field
// Original-... (RFC 5703, 5).
func (m *machine) instead(msg Message, name string, to *boundTag) (Message, error) {
	e, ok := msg.(Editor)
	if to == nil || !ok {
		return msg, nil
	}
	s, err := to.val.texts[0].value(m)
	if err != nil {
		return nil, err
	}
	if name == "From" && checkSenders(s) != nil {
		return msg, nil // the sender of the message may be in it: no error (RFC 5703, 5)
	}
	old := msg.Header(name)
	for i := len(old) - 1; i >= 0; i-- {
		if msg, err = e.DeleteFields(name, []int{i}); err != nil {
			return nil, err
		}
		if e, ok = msg.(Editor); !ok {
			return nil, errEdit
		}
	}
	if len(old) > 0 {
		if msg, err = e.AddField("Original-"+name, old[0], false); err != nil {
			return nil, err
		}
		if e, ok = msg.(Editor); !ok {
			return nil, errEdit
		}
	}
	return e.AddField(name, strings.Join(strings.Fields(s), " "), false)
}

// textEntity is a MIME entity of plain text.
func textEntity(s string) string {
	var b strings.Builder
	b.WriteString("Content-Type: text/plain; charset=utf-8\r\n")
	if !strings.ContainsFunc(s, func(r rune) bool { return r >= 0x80 || r == 0 }) && shortLines(s) {
		return b.String() + "\r\n" + s
	}
	b.WriteString("Content-Transfer-Encoding: quoted-printable\r\n\r\n")
	w := quotedprintable.NewWriter(&b)
	w.Write([]byte(s)) //nolint:errcheck // a Builder takes everything
	w.Close()          //nolint:errcheck // likewise
	return b.String()
}

func shortLines(s string) bool {
	for line := range strings.Lines(s) {
		if len(line) > 998 {
			return false
		}
	}
	return true
}

func buildEnclose(_ *checker, b *bound) action {
	with, subject, headers := b.vals[0].texts[0], b.option("subject"), b.option("headers")
	return func(m *machine) error {
		s, err := with.value(m)
		if err != nil {
			return err
		}
		var title string
		var fields []string
		if subject != nil {
			if title, err = subject.val.texts[0].value(m); err != nil {
				return err
			}
		}
		if headers != nil {
			if fields, err = values(m, headers.val.texts); err != nil {
				return err
			}
		}
		e, err := m.editor()
		if err != nil {
			return err
		}
		if !m.enclosed {
			m.enclosed, m.unwrapped = true, m.edition()
		}
		changed, err := e.Enclose(strings.Join(strings.Fields(title), " "), fields, s)
		if err != nil {
			return err
		}
		return m.change(changed)
	}
}
