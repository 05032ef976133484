package lookup

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"mtad/internal/logical"
)

// rule is one line of a table of patterns. For an if, skip is how many rules
// follow until after its endif.
type rule struct {
	matches matcher
	negated bool
	value   template
	skip    int
	isIf    bool
}

// matcher matches a key against a pattern; groups are the parts of it. verdict is
// foreign where the pattern does not speak of such keys at all: an IPv4 network
// of an IPv6 address. Then the rule does not match, negated or not.
type matcher func(key string) (groups []string, verdict verdict)

type verdict uint8

const (
	differs verdict = iota
	fits
	foreign
)

// pattern reads what stands in front of a value, and returns the rest. groups is
// how many "$n" there are; below 0 a dollar is a dollar.
type pattern func(text string) (match matcher, groups int, rest string, err error)

// rules is a table that is tried from the top (regexp_table(5), cidr_table(5)).
type rules []rule

// find is the value of the first rule that matches.
func (rs rules) find(key string) (string, bool) {
	for i := 0; i < len(rs); i++ {
		r := &rs[i]
		groups, v := r.matches(key)
		hit := v != foreign && (v == fits) != r.negated
		switch {
		case r.isIf && !hit:
			i += r.skip
		case !r.isIf && hit:
			return r.value.expand(groups), true
		}
	}
	return "", false
}

// parseRules reads the lines of a table of patterns.
func parseRules(path, text string, read pattern) (rules, error) {
	var out rules
	var open []int // ifs
	for _, line := range logical.Lines(text, "") {
		r, end, err := parseRule(line.Text, read)
		switch {
		case err != nil:
		case !end:
			if out = append(out, r); r.isIf {
				open = append(open, len(out)-1)
			}
		case len(open) == 0:
			err = errors.New("endif without if")
		default:
			last := open[len(open)-1]
			open = open[:len(open)-1]
			out[last].skip = len(out) - 1 - last
		}
		if err != nil {
			return nil, &LineError{path, line.Number, err}
		}
	}
	if len(open) > 0 {
		return nil, fmt.Errorf("%s: %d if without endif", path, len(open))
	}
	return out, nil
}

func parseRule(text string, read pattern) (r rule, end bool, err error) {
	word, rest, _ := strings.Cut(text, " ")
	switch strings.ToLower(strings.TrimSpace(word)) {
	case "endif":
		if strings.TrimSpace(rest) != "" {
			return r, false, fmt.Errorf("%q behind endif", strings.TrimSpace(rest))
		}
		return r, true, nil
	case "if":
		r.isIf, text = true, strings.TrimLeft(rest, " \t")
	}
	if text, r.negated = strings.CutPrefix(text, "!"); r.negated {
		text = strings.TrimLeft(text, " \t")
	}
	match, groups, rest, err := read(text)
	if err != nil {
		return r, false, err
	}
	r.matches = match
	rest = strings.TrimSpace(rest)
	switch {
	case r.isIf && rest != "":
		return r, false, fmt.Errorf("%q behind the pattern of an if", rest)
	case r.isIf:
		return r, false, nil
	case rest == "":
		return r, false, errors.New("the value is missing")
	case r.negated:
		groups = 0 // what did not match has no parts
	}
	r.value, err = parseTemplate(rest, groups)
	return r, false, err
}

// template is a value with parts of the match in it: $1, ${1}, $(1), and $$.
type template []piece

type piece struct {
	text  string
	group int // 0: text
}

func parseTemplate(text string, groups int) (template, error) {
	var out template
	for text != "" {
		i := strings.IndexByte(text, '$')
		if groups < 0 || i < 0 {
			return append(out, piece{text: text}), nil
		}
		if i > 0 {
			out = append(out, piece{text: text[:i]})
		}
		n, length := reference(text[i:])
		switch {
		case length == 0:
			return nil, fmt.Errorf("%q: a dollar is written $$, a part $1", text[i:])
		case n > groups:
			return nil, fmt.Errorf("$%d: the pattern has %d parts in parentheses", n, groups)
		case n == 0:
			out = append(out, piece{text: "$"})
		default:
			out = append(out, piece{group: n})
		}
		text = text[i+length:]
	}
	return out, nil
}

// reference reads $$, $1, ${1} or $(1); length is 0 if it is none of them. A
// reference to 0 is the dollar.
func reference(text string) (n, length int) {
	if strings.HasPrefix(text, "$$") {
		return 0, 2
	}
	digits := text[1:]
	closing := ""
	if digits != "" && (digits[0] == '{' || digits[0] == '(') {
		closing = map[byte]string{'{': "}", '(': ")"}[digits[0]]
		digits = digits[1:]
	}
	i := 0
	for i < len(digits) && digits[i] >= '0' && digits[i] <= '9' && n < 100 {
		n = n*10 + int(digits[i]-'0')
		i++
	}
	if n == 0 || !strings.HasPrefix(digits[i:], closing) {
		return 0, 0
	}
	return n, 1 + i + 2*len(closing)
}

func (t template) expand(groups []string) string {
	var b strings.Builder
	for _, p := range t {
		if p.group > 0 {
			b.WriteString(groups[p.group])
			continue
		}
		b.WriteString(p.text)
	}
	return b.String()
}

// patterns is a file of rules.
type patterns struct{ *Watched[rules] }

func openPatterns(path string, o Options, parse func(text string) (rules, error)) (Table, error) {
	s, err := Watch(path, o, parse)
	if err != nil {
		return nil, err
	}
	return patterns{s}, nil
}

// Lookup finds the first rule that matches.
func (p patterns) Lookup(_ context.Context, key string) (string, bool, error) {
	value, ok := p.Current().find(key)
	return value, ok, nil
}

// Whole is true.
func (p patterns) Whole() bool { return true }

// Close does nothing.
func (p patterns) Close() error { return nil }
