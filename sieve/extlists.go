package sieve

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
	if m.env.Lists == nil {
		return false, nil
	}
	ok, err := m.asked(m.env.Lists.Contains(m.ctx, k.value, s.text))
	if ok && err == nil && !q.silent {
		m.captures = captures{value: s.text} // RFC 6134, 2.4
	}
	return ok, err
}}

func buildValidList(_ *checker, b *bound) test {
	list := b.vals[0].texts
	return func(m *machine) (bool, error) {
		names, err := values(m, list)
		if err != nil || m.env.Lists == nil {
			return false, err
		}
		for _, name := range names {
			if !m.env.Lists.Valid(name) {
				return false, nil
			}
		}
		return true, nil
	}
}
