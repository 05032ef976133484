package sieve

import (
	"fmt"
	"regexp"
	"regexp/syntax"
	"strings"
)

// regex is the match type :regex (draft-ietf-sieve-regex): POSIX extended
// expressions, leftmost-longest, in time linear in the value. There are no
// references back to groups, which POSIX does not have either.
var regex = extension{
	name: "regex", rfc: "draft-ietf-sieve-regex",
	tags: []tagRow{
		{name: "regex", group: groupMatch, match: &matchRegex},
		{name: "quoteregex", group: groupQuote},
	},
}

var matchRegex = matchType{name: "regex", substring: true, regex: true, match: matchesRegex}

// Bounds of an expression: octets, and instructions of the program that it is
// compiled to, which repetitions make long.
const (
	maxRegex        = 4 << 10
	maxInstructions = 20_000
)

// compileRegex compiles an expression, without regard to case where the
// comparator has none. cost is the number of its instructions: each may be
// tried at each octet of a value.
func compileRegex(s string, by *comparator) (re *regexp.Regexp, cost int, err error) {
	flags := syntax.POSIX
	if by != &octet && by.name != octet.name {
		flags |= syntax.FoldCase
	}
	if len(s) > maxRegex {
		return nil, 0, fmt.Errorf("a regular expression of %d octets; at most %d are allowed: %w", len(s), maxRegex, ErrLimit)
	}
	tree, err := syntax.Parse(s, flags)
	if err != nil {
		reason := strings.TrimPrefix(err.Error(), "error parsing regexp: ")
		return nil, 0, fmt.Errorf("%s is no regular expression: %s", quoted(s), reason)
	}
	program, err := syntax.Compile(tree.Simplify())
	if err == nil && len(program.Inst) > maxInstructions {
		return nil, 0, fmt.Errorf("the regular expression %s repeats too much: %w", quoted(s), ErrLimit)
	}
	if err == nil {
		re, err = regexp.Compile(tree.String())
	}
	if err != nil {
		return nil, 0, fmt.Errorf("%s is no regular expression here", quoted(s))
	}
	re.Longest()
	return re, len(program.Inst), nil
}

func matchesRegex(m *machine, q *matcher, k *key, s *subject) (bool, error) {
	if err := m.spend(16 + 2*len(s.text)*(1+k.cost)); err != nil {
		return false, err
	}
	if q.silent {
		return k.regex.MatchString(s.text), nil
	}
	at := k.regex.FindStringSubmatchIndex(s.text)
	if at == nil {
		return false, nil
	}
	c := captures{value: s.text[at[0]:at[1]]}
	for i := 2; i < len(at) && i/2 <= maxMatchVariable; i += 2 {
		from, to := at[i]-at[0], at[i+1]-at[0]
		if at[i] < 0 {
			from, to = 0, 0
		}
		c.at = append(c.at, [2]int{from, to})
	}
	m.captures = c
	return true, nil
}

// quoteRegex takes the meaning from what has one in an expression.
func quoteRegex(s string) string { return regexp.QuoteMeta(s) }
