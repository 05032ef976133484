package config

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// Word is a setting of another server, and what it is here.
type Word struct {
	Theirs string // the name there
	Ours   string // the key here, or "" where there is no single one
	Text   string // what to know
}

// Dictionary writes a Markdown page for people who know Postfix and Dovecot: each
// name of theirs that an option has, and more words that are written by hand, in
// the order of the alphabet.
func Dictionary(w io.Writer, s Schema, postfix, dovecot []Word) error {
	for _, d := range s.describe() {
		if d.option == nil || d.common {
			continue
		}
		text := firstSentence(d.option.Doc)
		if p := d.option.Postfix; p != "" {
			postfix = append(postfix, Word{p, d.path, text})
		}
		if v := d.option.Dovecot; v != "" {
			dovecot = append(dovecot, Word{v, d.path, text})
		}
	}
	var b strings.Builder
	b.WriteString("# Postfix and Dovecot in mtad's words\n\nGenerated from the option registry. `mtad config explain NAME` knows these names too, `postconf -n` and `doveconf -n` of\n`mtad compat` print what is in force under them.\n")
	for _, part := range []struct {
		title string
		words []Word
	}{{"Postfix", postfix}, {"Dovecot", dovecot}} {
		slices.SortStableFunc(part.words, func(a, b Word) int {
			if c := strings.Compare(a.Theirs, b.Theirs); c != 0 {
				return c
			}
			return strings.Compare(a.Ours, b.Ours)
		})
		fmt.Fprintf(&b, "\n## %s\n\n| %s | here | |\n|---|---|---|\n", part.title, part.title)
		for _, w := range part.words {
			ours := "-"
			if w.Ours != "" {
				ours = "`" + w.Ours + "`"
			}
			fmt.Fprintf(&b, "| `%s` | %s | %s |\n", w.Theirs, ours, strings.ReplaceAll(w.Text, "|", `\|`))
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// Setting is one option by another server's name.
type Setting struct {
	Name    string // Postfix's or Dovecot's
	Key     string
	Value   string // as that server writes it; secrets are hidden
	Default string // what it would be if nothing were written
	Written bool   // it is not what it would be
}

// Foreign finds the options that have a name of Postfix's or Dovecot's, by name; of
// several of one name the first, which is the most general, counts.
func Foreign(f *File, dovecot bool) []Setting {
	var out []Setting
	for _, e := range f.entries() {
		name := e.option.Postfix
		if dovecot {
			name = e.option.Dovecot
		}
		if name == "" || slices.ContainsFunc(out, func(s Setting) bool { return s.Name == name }) {
			continue
		}
		out = append(out, Setting{name, e.key, e.plain(e.node), e.plain(&node{typ: e.node.typ}), !e.isDefault()})
	}
	slices.SortFunc(out, func(a, b Setting) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// plain is an option's value in a block as main.cf has it: no quotes, commas
// between elements, yes and no, sizes in octets.
func (e entry) plain(n *node) string {
	if e.option.IsSecret() {
		return redacted
	}
	v, err := n.value(e.option)
	if err != nil {
		return ""
	}
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	case bool:
		return map[bool]string{true: "yes", false: "no"}[v]
	case Size:
		return fmt.Sprint(int64(v))
	case time.Duration:
		return FormatDuration(v)
	case []string:
		return strings.Join(v, ", ")
	case Source:
		return strings.Join(v.texts(), ", ")
	}
	return renderValue(v)
}
