package sieve

import (
	"fmt"
	"net/url"
	"strings"
)

// extlists are lists that are kept outside of scripts (RFC 6134).
var extlists = extension{
	name: "extlists", rfc: "6134",
	tests: []testRow{{signature: signature{name: "valid_ext_list", params: []param{{name: "list names", kind: kindList}}}, build: buildValidList}},
	tags: []tagRow{
		{name: "list", group: groupMatch, match: &matchList},
		{name: "list", on: []string{"redirect"}},
	},
}

var matchList = matchType{name: "list", list: true, match: func(m *machine, q *matcher, k *key, s *subject) (bool, error) {
	name := listName(k.value)
	if !m.validList(name) {
		return false, fmt.Errorf("there is no list %s", quoted(k.value)) // RFC 6134, 2.2
	}
	if m.env.Lists == nil {
		return false, nil
	}
	ok, err := m.asked(m.env.Lists.Contains(m.ctx, name, s.text))
	if ok && err == nil && !q.silent {
		m.captures = captures{value: s.text} // RFC 6134, 2.2
	}
	return ok, err
}}

// The space of names of lists, and the list of it that is always there: without
// an address book nothing is in it (RFC 6134, 2.5).
const (
	listSpace   = "urn:ietf:params:sieve:"
	addressBook = ":addrbook:"
	defaultBook = addressBook + "default"
)

// listName is the name of a list as hosts know it, whatever way a script spells
// it (RFC 6134, 2.5).
func listName(s string) string {
	if hasFold(s, listSpace) {
		s = s[len(listSpace)-1:]
	}
	if !hasFold(s, addressBook) {
		return s
	}
	book, err := url.PathUnescape(s[len(addressBook):])
	switch {
	case err != nil:
		return s
	case strings.EqualFold(addressBook+book, defaultBook):
		return defaultBook
	}
	return addressBook + book
}

// validList reports whether a list can be asked.
func (m *machine) validList(name string) bool {
	return name == defaultBook || m.env.Lists != nil && m.env.Lists.Valid(name)
}

func buildValidList(_ *checker, b *bound) test {
	list := b.vals[0].texts
	return func(m *machine) (bool, error) {
		names, err := values(m, list)
		if err != nil {
			return false, err
		}
		for _, name := range names {
			if !m.validList(listName(name)) {
				return false, nil
			}
		}
		return true, nil
	}
}
