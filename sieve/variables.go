package sieve

import (
	"errors"
	"strconv"
	"strings"
	"unicode/utf8"
)

// variables is RFC 5229.
var variables = extension{
	name: capVariables, rfc: "5229",
	commands: []commandRow{{
		signature: signature{
			name:   "set",
			groups: []group{groupCase, groupFirst, groupQuote, groupEncode, groupLength},
			params: []param{{name: "name", kind: kindString, literal: true}, {name: "value", kind: kindString}},
		},
		build: buildSet,
	}},
	tests: []testRow{{
		signature: signature{name: "string", groups: []group{groupComparator, groupMatch}, params: namesAndKeys("source")},
		build:     buildString,
	}},
	tags: []tagRow{
		{name: "lower", group: groupCase},
		{name: "upper", group: groupCase},
		{name: "lowerfirst", group: groupFirst},
		{name: "upperfirst", group: groupFirst},
		{name: "quotewildcard", group: groupQuote},
		{name: "length", group: groupLength},
	},
}

// The modifiers of set by precedence; of one precedence only one may be given
// (RFC 5229, 4.1).
const (
	groupCase   group = "case"
	groupFirst  group = "case of the first letter"
	groupQuote  group = "quoting"
	groupLength group = "length"
)

// modifiers are what the tags of set do, the first applied first.
var modifiers = []struct {
	name   string
	change func(string) string
}{
	{"lower", asciiLower},
	{"upper", asciiUpper},
	{"lowerfirst", func(s string) string { return first(s, asciiLower) }},
	{"upperfirst", func(s string) string { return first(s, asciiUpper) }},
	{"quotewildcard", quoteWildcard},
	{"quoteregex", quoteRegex},
	{"encodeurl", encodeURL},
	{"length", func(s string) string { return strconv.Itoa(utf8.RuneCountInString(s)) }},
}

func first(s string, change func(string) string) string {
	if s == "" {
		return s
	}
	return change(s[:1]) + s[1:]
}

var wildcards = strings.NewReplacer(`*`, `\*`, `?`, `\?`, `\`, `\\`)

func quoteWildcard(s string) string { return wildcards.Replace(s) }

// maxMatchVariable is the highest match variable; RFC 5229, 6 wants 9.
const maxMatchVariable = 99

// references finds the variables in a string. What is no reference stays as it
// is (RFC 5229, 3).
func (c *checker) references(s string, at span) text {
	var parts []textPart
	done, i := 0, 0 // what is in parts; where to look on
	for {
		n := strings.Index(s[i:], "${")
		if n < 0 {
			break
		}
		start := i + n
		i = start + 2
		end := i
		for end < len(s) && (isNameStart(s[end]) || isDigit(s[end]) || s[end] == '.') {
			end++
		}
		if end == len(s) || s[end] != '}' {
			continue
		}
		part, ok := c.reference(s[i:end], at)
		if !ok {
			continue
		}
		if start > done {
			parts = append(parts, textPart{lit: s[done:start]})
		}
		parts = append(parts, part)
		i = end + 1
		done = i
	}
	if len(parts) == 0 {
		return text{lit: s}
	}
	if done < len(s) {
		parts = append(parts, textPart{lit: s[done:]})
	}
	return text{parts: parts}
}

// reference resolves the name in ${name}; false if it is none.
func (c *checker) reference(name string, at span) (textPart, bool) {
	if name != "" && strings.Trim(name, "0123456789") == "" {
		n, err := strconv.Atoi(name)
		if err != nil || n > maxMatchVariable {
			c.errorf(at, "there is no match variable %s", quoted(name)).Hint = "the last one is ${" + strconv.Itoa(maxMatchVariable) + "}"
			return textPart{}, false
		}
		return textPart{storage: storage{fromMatch, n}}, true
	}
	words := strings.Split(name, ".")
	for i, w := range words {
		if !isIdentifier(w) && (i == 0 || w == "" || strings.Trim(w, "0123456789") != "") {
			return textPart{}, false
		}
	}
	if len(words) > 1 && asciiLower(words[0]) == "env" && c.required[capEnvironment] && c.required[capDovecotEnvironment] {
		return textPart{storage: storage{from: fromEnv}, lit: asciiLower(strings.Join(words[1:], "."))}, true
	}
	at1, ok := c.place(name, at)
	return textPart{storage: at1}, ok
}

func isIdentifier(s string) bool {
	for i := range len(s) {
		if !isNameStart(s[i]) && (i == 0 || !isDigit(s[i])) {
			return false
		}
	}
	return s != ""
}

// storage is where a variable is kept.
type storage struct {
	from source // fromSlot or fromGlobal
	n    int
}

func (m *machine) get(p storage) string {
	if p.from == fromGlobal {
		return m.globals[p.n]
	}
	return m.vars[p.n]
}

func (m *machine) set(p storage, s string) {
	if p.from == fromGlobal {
		m.globals[p.n] = s
		return
	}
	m.vars[p.n] = s
}

// place finds the place of a variable; false if it can not have one.
func (c *checker) place(name string, at span) (storage, bool) {
	name = asciiLower(name)
	space, rest, inside := strings.Cut(name, ".")
	switch {
	case inside && space == "global" && isIdentifier(rest) && c.required[capInclude]:
		return c.global(rest, at) // RFC 6609, 3.4.2
	case inside && isIdentifier(space):
		c.errorf(at, "there are no variables %s.*", clip(space, maxQuoted)).Hint = "no extension that was required brings them"
		return storage{}, false
	case !isIdentifier(name):
		return storage{}, false
	case c.shared[name]:
		return c.global(name, at)
	}
	slot, ok := c.slots[name]
	if !ok {
		if len(c.slots) >= c.opts.Limits.Variables {
			c.errorf(at, "more than %d variables", c.opts.Limits.Variables)
			return storage{}, false
		}
		slot = len(c.slots)
		c.slots[name] = slot
	}
	return storage{fromSlot, slot}, true
}

// variable is the place of a variable that an argument names.
func (c *checker) variable(v value) (storage, bool) {
	name := v.texts[0].lit
	before := c.errors
	p, ok := c.place(name, v.at)
	if !ok && c.errors == before {
		c.errorf(v.at, "%s is not the name of a variable", quoted(name)).Hint = "names are made of letters, digits and _, and do not begin with a digit"
	}
	return p, ok
}

var errCut = errors.New("cut short")

// buildSet stores a value; one that is too long is cut short (RFC 5229, 6).
func buildSet(c *checker, b *bound) action {
	to, ok := c.variable(b.vals[0])
	if !ok {
		return nil
	}
	changes := b.modifiers()
	from, limit := b.vals[1].texts[0], c.opts.Limits.VariableSize
	if s, ok := b.vals[1].constant(); ok && len(s) > limit {
		c.warnf(b.vals[1].at, "the value is cut to %d octets", limit)
	}
	return func(m *machine) error {
		s, err := from.expand(m, limit, errCut)
		if err != nil && !errors.Is(err, errCut) {
			return err
		}
		return m.assign(to, clip(s, limit), changes)
	}
}

// modifiers are what the tags of set do, in their order.
func (b *bound) modifiers() (changes []func(string) string) {
	for _, m := range modifiers {
		if b.tag(m.name) {
			changes = append(changes, m.change)
		}
	}
	return changes
}

// assign changes a value and keeps it in a variable.
func (m *machine) assign(to storage, s string, changes []func(string) string) error {
	for _, change := range changes {
		if err := m.spend(len(s)); err != nil {
			return err
		}
		s = clip(change(s), m.limits.VariableSize)
	}
	m.set(to, s)
	return nil
}

// buildString compares strings of the script (RFC 5229, 5).
func buildString(c *checker, b *bound) test {
	list, q := b.vals[0].texts, c.matcher(b, b.vals[1])
	return q.test(func(m *machine, to *seeker) error {
		for _, t := range list {
			s, err := t.value(m)
			if err != nil {
				return err
			}
			if err := to.one(subject{text: s, empty: s == ""}); err != nil {
				return err
			}
		}
		return nil
	})
}
