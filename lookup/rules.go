package lookup

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// rule is one line of a table of patterns. For an if, skip is how many rules
// follow until after its endif.
type rule struct {
	matches func(key string) (groups []string, ok bool)
	negated bool
	value   template
	skip    int
	isIf    bool
}

// rules is a table that is tried from the top (regexp_table(5), cidr_table(5)).
type rules []rule

// find is the value of the first rule that matches.
func (rs rules) find(key string) (string, bool) {
	for i := 0; i < len(rs); i++ {
		r := &rs[i]
		groups, ok := r.matches(key)
		switch {
		case r.isIf && ok == r.negated:
			i += r.skip
		case !r.isIf && ok != r.negated:
			return r.value.expand(groups), true
		}
	}
	return "", false
}

// parseRules reads the lines of a table of patterns. pattern reads what stands in
// front of the value, and returns the rest; groups is how many "$n" there are.
func parseRules(path, text string, pattern func(text string) (match func(string) ([]string, bool), groups int, rest string, err error)) (rules, error) {
	var out rules
	var open []int // ifs
	for _, line := range Lines(text) {
		r, end, err := parseRule(line.Text, pattern)
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

func parseRule(text string, pattern func(string) (func(string) ([]string, bool), int, string, error)) (r rule, end bool, err error) {
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
	match, groups, rest, err := pattern(text)
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
