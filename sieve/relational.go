package sieve

import (
	"strconv"
	"strings"
)

// relational is the match types :value and :count (RFC 5231).
var relational = extension{
	name: "relational", rfc: "5231",
	tags: []tagRow{
		{name: "value", group: groupMatch, takes: kindString, match: &matchValue, check: checkRelation},
		{name: "count", group: groupMatch, takes: kindString, match: &matchCount, check: checkRelation},
	},
}

var (
	matchValue = matchType{name: "value", relation: true, match: relates}
	matchCount = matchType{name: "count", relation: true, count: true, match: relates}
)

// relation judges the outcome of a comparison.
type relation func(order int) bool

var relations = map[string]relation{
	"gt": func(n int) bool { return n > 0 },
	"ge": func(n int) bool { return n >= 0 },
	"lt": func(n int) bool { return n < 0 },
	"le": func(n int) bool { return n <= 0 },
	"eq": func(n int) bool { return n == 0 },
	"ne": func(n int) bool { return n != 0 },
}

func checkRelation(c *checker, v value) {
	name, ok := v.constant()
	if !ok || relations[asciiLower(name)] == nil {
		c.errorf(v.at, "%s is no relation", quoted(name)).Hint = "the relations are gt, ge, lt, le, eq and ne"
	}
}

func relates(_ *machine, q *matcher, k *key, s *subject) (bool, error) {
	if q.by.fold == nil {
		return q.relation(q.by.order(s.text, k.value)), nil
	}
	return q.relation(strings.Compare(s.fold(q.by), k.folded)), nil
}

// counted compares the number of values, if that was asked for (RFC 5231, 4.2).
func (q *matcher) counted(m *machine, n int) (bool, error) {
	if !q.how.count {
		return false, nil
	}
	return q.match(m, &subject{text: strconv.Itoa(n)})
}
