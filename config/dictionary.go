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
	postfix, dovecot = s.words(postfix, false), s.words(dovecot, true)
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

// words are the settings of one server that options have, and more.
func (s Schema) words(more []Word, dovecot bool) []Word {
	for _, d := range s.describe() {
		if d.option == nil || d.common {
			continue
		}
		name, text := d.option.Postfix, firstSentence(d.option.Doc)
		if dovecot {
			name = d.option.Dovecot
		}
		if pairs := d.option.pairs(d.option.theirs(dovecot)); pairs != "" {
			text += " Its " + pairs + "."
		}
		if name != "" {
			more = append(more, Word{name, d.path, text})
		}
	}
	return more
}

// Meaning says in a line what a setting of another server is here, by what the
// dictionary has of it; "" if it has nothing.
func Meaning(s Schema, words []Word, dovecot bool, name string) string {
	var out []string
	for _, w := range s.words(words, dovecot) {
		switch {
		case w.Theirs != name:
		case w.Ours == "":
			out = append(out, w.Text)
		default:
			out = append(out, w.Ours+": "+w.Text)
		}
	}
	return strings.Join(out, "; ")
}

// Setting is one option by another server's name.
type Setting struct {
	Name    string // Postfix's or Dovecot's
	Key     string
	Value   string // as that server writes it; secrets are hidden
	Default string // what it would be if nothing were written
	Written bool   // it is not what it would be

	option  *Option
	dovecot bool
}

// Ours is a value that is written for the setting in our words.
func (s Setting) Ours(value string) string {
	if s.option == nil {
		return value
	}
	return s.option.inOurs(value, s.dovecot)
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
		out = append(out, Setting{
			Name: name, Key: e.key, Value: e.plain(e.node, dovecot), Default: e.plain(&node{typ: e.node.typ}, dovecot), Written: !e.isDefault(),
			option: e.option, dovecot: dovecot,
		})
	}
	slices.SortFunc(out, func(a, b Setting) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// plain is an option's value in a block as main.cf has it: no quotes, commas
// between elements, yes and no, sizes in octets, that server's words.
func (e entry) plain(n *node, dovecot bool) string {
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
		return e.option.inTheirs(v, dovecot)
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
