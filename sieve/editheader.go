package sieve

import (
	"errors"
	"fmt"
	"strings"
)

// editheader is addheader and deleteheader (RFC 5293).
var editheader = extension{
	name: "editheader", rfc: "5293",
	commands: []commandRow{
		{signature: signature{name: "addheader", params: []param{{name: "field name", kind: kindString}, {name: "value", kind: kindString}}}, build: buildAddHeader},
		{signature: signature{
			name: "deleteheader", groups: []group{groupComparator, groupMatch},
			params: []param{{name: "field name", kind: kindString}, {name: "patterns", kind: kindList, trailing: true}},
		}, build: buildDeleteHeader},
	},
	tags: []tagRow{
		{name: "last", on: []string{"addheader", "deleteheader"}},
		{name: "index", on: []string{"deleteheader"}, takes: kindNumber, check: checkIndex},
	},
}

// keptFields are those that no script may remove: they stop loops (RFC 5293, 6),
// or say what replace has changed (RFC 5703, 5).
var keptFields = []string{"received", "auto-submitted", "original-subject", "original-from"}

var errEdit = errors.New("this message can not be changed here")

// editor is the message as one that can be changed.
func (m *machine) editor() (Editor, error) {
	if e, ok := m.message.(Editor); ok {
		return e, nil
	}
	return nil, errEdit
}

func checkFieldName(s string) error {
	if s == "" || len(s) > 76 || strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r >= 0x7f || r == ':' }) {
		return fmt.Errorf("no field is named %s", quoted(s))
	}
	return nil
}

// fieldName is the text of an argument that names a field; what is constant is
// checked now.
func (c *checker) fieldName(v value) func(m *machine) (string, error) {
	if s, ok := v.constant(); ok {
		if err := checkFieldName(s); err != nil {
			c.errorf(v.at, "%v", err)
		}
		return func(*machine) (string, error) { return s, nil }
	}
	name := v.texts[0]
	return func(m *machine) (string, error) {
		s, err := name.value(m)
		if err == nil {
			err = checkFieldName(s)
		}
		return s, err
	}
}

// oneLine joins lines by a space: lines of the script are folded lines of the
// field, and the white space around a line's end belongs to the fold.
func oneLine(s string) string {
	if !strings.ContainsAny(s, "\r\n") {
		return strings.TrimSpace(s)
	}
	var lines []string
	for line := range strings.FieldsFuncSeq(s, func(r rune) bool { return r == '\r' || r == '\n' }) {
		if line = strings.Trim(line, " \t"); line != "" {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, " ")
}

func buildAddHeader(c *checker, b *bound) action {
	name, value, last := c.fieldName(b.vals[0]), b.vals[1].texts[0], b.tag("last")
	return func(m *machine) error {
		field, err := name(m)
		if err != nil {
			return err
		}
		s, err := value.value(m)
		if err != nil {
			return err
		}
		e, err := m.editor()
		if err != nil {
			return err
		}
		s = oneLine(s)
		// What no field can hold may come from the message itself: whoever
		// sent it must not be able to make the script fail.
		s = strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
		changed, err := e.AddField(field, s, last)
		if err != nil {
			return err
		}
		return m.change(changed)
	}
}

func buildDeleteHeader(c *checker, b *bound) action {
	name, at := c.fieldName(b.vals[0]), c.index(b)
	var q *matcher
	if b.vals[1].given() {
		q = c.matcher(b, b.vals[1])
		if q.how.count {
			c.errorf(b.given(groupMatch).at, ":count can not be used here") // RFC 5293, 5
		}
	} // else the match type says nothing (RFC 5293, 5)
	if s, ok := b.vals[0].constant(); ok && kept(s) {
		c.warnf(b.vals[0].at, "the field %s stays: no script can remove it", s)
	}
	return func(m *machine) error {
		field, err := name(m)
		if err != nil || kept(field) {
			return err
		}
		fields, err := m.header(field)
		if err != nil {
			return err
		}
		var gone []int
		for i := range fields {
			if at.n != 0 && at.place(len(fields)) != i {
				continue
			}
			ok := q == nil
			if q != nil {
				if ok, err = q.match(m, &fields[i]); err != nil {
					return err
				}
			}
			if ok {
				gone = append(gone, i)
			}
		}
		if len(gone) == 0 {
			return nil
		}
		e, err := m.editor()
		if err != nil {
			return err
		}
		changed, err := e.DeleteFields(field, gone)
		if err != nil {
			return err
		}
		return m.change(changed)
	}
}

func kept(name string) bool {
	for _, f := range keptFields {
		if strings.EqualFold(f, name) {
			return true
		}
	}
	return false
}
