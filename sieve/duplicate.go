package sieve

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"slices"
	"strings"
	"time"
)

// duplicate is the test of that name (RFC 7352).
var duplicate = extension{
	name: "duplicate", rfc: "7352",
	tests: []testRow{{signature: signature{name: "duplicate", groups: []group{groupUnique}}, build: buildDuplicate}},
	tags: []tagRow{
		{name: "header", group: groupUnique, takes: kindString, check: func(c *checker, v value) { c.checkNames(v) }},
		{name: "uniqueid", group: groupUnique, takes: kindString},
		{name: "handle", on: []string{"duplicate"}, takes: kindString},
		{name: "seconds", on: []string{"duplicate"}, takes: kindNumber},
		{name: "last", on: []string{"duplicate"}},
	},
}

const groupUnique group = "unique ID"

func buildDuplicate(c *checker, b *bound) test {
	last, keep := b.tag("last"), c.opts.Limits.DuplicateMax
	if t := b.option("seconds"); t != nil {
		keep = bounded(t.val.num, time.Second, keep)
	}
	return func(m *machine) (bool, error) {
		if err := m.atDelivery("duplicate"); err != nil {
			return false, err // RFC 7352, 3.4
		}
		f := filler{m: m, b: b}
		field, id, handle := f.text("header"), f.text("uniqueid"), f.text("handle")
		if f.err != nil {
			return false, f.err
		}
		if !b.tag("uniqueid") {
			if !b.tag("header") {
				field = "message-id"
			}
			values, err := m.header(field)
			if err != nil || len(values) == 0 {
				return false, err // RFC 7352, 3.1: nor is a name that no field can have an error
			}
			id = values[0].text
		}
		if keep == 0 {
			return false, nil // RFC 7352, 3.3
		}
		// Where the ID comes from makes no difference (RFC 7352, 3.2).
		mark := Mark{ID: Digest(handle, id), For: keep}
		seen := false
		if m.env.Seen != nil {
			var err error
			if seen, err = m.env.Seen(m.ctx, mark.ID); err != nil {
				return false, err
			}
		}
		// A mark that is there already keeps its time, but for :last.
		if (!seen || last) && !slices.ContainsFunc(m.marks, func(o Mark) bool { return o.ID == mark.ID }) {
			m.marks = append(m.marks, mark)
		}
		return seen, m.spend(64 + len(id)/8)
	}
}

// Digest is a short name for several strings: 32 hexadecimal digits.
func Digest(parts ...string) string {
	h := sha256.New()
	io.WriteString(h, strings.Join(parts, "\x00")) //nolint:errcheck // a hash takes everything
	return hex.EncodeToString(h.Sum(nil)[:16])
}
