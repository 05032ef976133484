package sieve

import (
	"slices"
	"strings"
)

// imap4flags is RFC 5232.
var imap4flags = extension{
	name: "imap4flags", rfc: "5232",
	commands: []commandRow{
		{signature: flagCommand("setflag"), build: changeFlags(func(_, list []string) []string { return list })},
		{signature: flagCommand("addflag"), build: changeFlags(addFlags)},
		{signature: flagCommand("removeflag"), build: changeFlags(removeFlags)},
	},
	tests: []testRow{{
		signature: signature{
			name: "hasflag", groups: []group{groupComparator, groupMatch},
			params: []param{
				{name: "variables", kind: kindList, literal: true, optional: true, needs: capVariables},
				{name: "flags", kind: kindList},
			},
		},
		build: buildHasFlag,
	}},
	tags: []tagRow{{name: "flags", on: []string{"keep", "fileinto", "vacation", "notify"}, takes: kindList, apply: func(m *machine, v value, a *Action) error {
		list, err := values(m, v.texts)
		if err != nil {
			return err
		}
		a.Flags = parseFlags(list)
		return nil
	}}},
}

func flagCommand(name string) signature {
	return signature{name: name, params: []param{
		{name: "variable", kind: kindString, literal: true, optional: true, needs: capVariables},
		{name: "flags", kind: kindList},
	}}
}

// Bounds on flags: how many a message can be given, and octets of one.
const (
	maxFlags = 100
	maxFlag  = 200
)

// systemFlags are those that can be set (RFC 9051, 2.3.2); \Recent can not.
var systemFlags = []string{`\Answered`, `\Flagged`, `\Deleted`, `\Seen`, `\Draft`}

// parseFlags reads lists of flags: white space separates, invalid ones are
// ignored, each is taken once (RFC 5232, 2). The result is never nil.
func parseFlags(list []string) []string { return addFlags([]string{}, flagWords(list)) }

// flagWords are the valid flags in a list of strings.
func flagWords(list []string) []string {
	var out []string
	for _, s := range list {
		for word := range strings.FieldsSeq(s) {
			if flag := canonicalFlag(word); flag != "" && len(out) < maxFlags {
				out = append(out, flag)
			}
		}
	}
	return out
}

// canonicalFlag is the flag with a system flag's case mended, "" if it is none.
func canonicalFlag(s string) string {
	if strings.HasPrefix(s, `\`) {
		i := slices.IndexFunc(systemFlags, func(f string) bool { return strings.EqualFold(f, s) })
		if i < 0 {
			return ""
		}
		return systemFlags[i]
	}
	if len(s) > maxFlag || strings.ContainsFunc(s, func(r rune) bool {
		return r <= ' ' || r >= 0x7f || strings.ContainsRune(`(){%*"\]`, r) // RFC 9051, 9: atom
	}) {
		return ""
	}
	return s
}

func hasFlag(list []string, flag string) bool {
	return slices.ContainsFunc(list, func(f string) bool { return strings.EqualFold(f, flag) })
}

// addFlags and removeFlags return a new list.
func addFlags(old, more []string) []string {
	out := slices.Clone(old)
	for _, f := range more {
		if len(out) < maxFlags && !hasFlag(out, f) {
			out = append(out, f)
		}
	}
	return out
}

func removeFlags(old, less []string) []string {
	out := make([]string, 0, len(old))
	for _, f := range old {
		if !hasFlag(less, f) {
			out = append(out, f)
		}
	}
	return out
}

// changeFlags is setflag, addflag and removeflag: on a variable, or on the
// internal one if none is named (RFC 5232, 3).
func changeFlags(change func(old, list []string) []string) func(*checker, *bound) action {
	return func(c *checker, b *bound) action {
		var at storage // the internal variable
		if v := b.vals[0]; v.given() {
			var ok bool
			if at, ok = c.variable(v); !ok {
				return nil
			}
		}
		list := b.vals[1].texts
		return func(m *machine) error {
			given, err := values(m, list)
			if err != nil {
				return err
			}
			old, list := m.flagsIn(at), parseFlags(given)
			if err := m.spendFlags(len(old) + len(list)); err != nil {
				return err
			}
			flags := change(old, list)
			if at.from == fromLiteral {
				m.flags = flags
				return nil
			}
			m.set(at, clip(strings.Join(flags, " "), m.limits.VariableSize))
			return nil
		}
	}
}

// spendFlags charges the work on n flags, of which each is compared with each.
func (m *machine) spendFlags(n int) error { return m.spend(64 + 8*n*n) }

// flagsIn are the flags in a variable; the zero storage is the internal one.
func (m *machine) flagsIn(at storage) []string {
	if at.from == fromLiteral {
		return m.flags
	}
	return parseFlags([]string{m.get(at)})
}

// buildHasFlag compares every flag of the variables with every flag of the list
// (RFC 5232, 4).
func buildHasFlag(c *checker, b *bound) test {
	places := []storage{{}}
	if v := b.vals[0]; v.given() {
		places = places[:0]
		for _, t := range v.texts {
			p, ok := c.variable(value{kind: kindString, at: v.at, texts: []text{t}})
			if !ok {
				return nil
			}
			places = append(places, p)
		}
	}
	q := c.matcher(b, b.vals[1])
	if !q.how.count {
		q.split()
	}
	flags := func(m *machine, to *seeker) error {
		for _, p := range places {
			list, n := m.subjects(m.flagsIn(p))
			if err := m.spendFlags(n); err != nil {
				return err
			}
			if err := to.take(list); err != nil {
				return err
			}
		}
		return nil
	}
	return func(m *machine) (bool, error) {
		q, err := q.words(m)
		if err != nil {
			return false, err
		}
		return q.seek(m, flags)
	}
}

// split makes a key of each flag in the keys. One with variables in it stays
// whole: what it holds is known only later.
func (q *matcher) split() {
	var out []key
	for _, k := range q.keys {
		if k.text.parts != nil {
			out = append(out, k)
			continue
		}
		for word := range strings.FieldsSeq(k.value) {
			one := key{text: text{lit: word}}
			if one.prepare(q, word) == nil { // else said already, and it matches nothing
				out = append(out, one)
			}
		}
	}
	q.keys = out
}

// words is the matcher with the keys that have variables filled in and split.
func (q *matcher) words(m *machine) (*matcher, error) {
	if q.how.count || !slices.ContainsFunc(q.keys, func(k key) bool { return k.text.parts != nil }) {
		return q, nil
	}
	filled := *q
	filled.keys = slices.Clone(q.keys)
	for i, k := range filled.keys {
		s, err := k.text.value(m)
		if err != nil {
			return nil, err
		}
		filled.keys[i] = key{text: text{lit: s}, value: s}
	}
	filled.split()
	return &filled, nil
}
