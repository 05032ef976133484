package config

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// described is one option or block type of a schema.
type described struct {
	path   string // "pipeline.filter.rbl.zones"
	typ    *BlockType
	option *Option // nil: the block type itself
	common bool    // an option that every variant of its block type has
}

// describe lists all of a schema.
func (s Schema) describe() []described {
	var out []described
	s.root().visit("", func(path string, t, base *BlockType) {
		if path != "" {
			out = append(out, described{path: path, typ: t})
		}
		for i := range t.Options {
			o := &t.Options[i]
			common := base != nil && base.option(o.Name) != nil
			out = append(out, described{join(path, o.Name), t, o, common})
		}
	})
	return out
}

// Explain describes what key names: its documentation, type, default, bounds,
// the name of the same thing in Postfix and Dovecot and, if f is not nil, what is
// in force and where it was set. The key is one of f's, such as
// pipeline.inbound.filter.rbl.timeout; a path of the schema or the end of one,
// such as filter.rbl.timeout or addr; or a name of Postfix or Dovecot.
func Explain(w io.Writer, s Schema, f *File, key string) error {
	all := s.describe()
	found := find(all, f, key)
	var b strings.Builder
	switch len(found) {
	case 0:
		return unknownKey(key, spellings(all))
	case 1:
		found[0].explain(&b, all, f)
	default:
		fmt.Fprintf(&b, "%s may be any of:\n", key)
		for _, d := range found {
			fmt.Fprintf(&b, "  %s\n", d.path)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// find is what a key names: exactly, else by the end of its path, else by a
// foreign name.
func find(all []described, f *File, key string) []described {
	path := schemaPath(f, key)
	exact := func(d described) bool { return d.path == path }
	suffix := func(d described) bool { return strings.HasSuffix(d.path, "."+key) && !d.common }
	variant := func(d described) bool { return strings.HasSuffix(d.path, "."+key) }
	foreign := func(d described) bool {
		return d.option != nil && !d.common && (d.option.Postfix == key || d.option.Dovecot == key)
	}
	for _, match := range []func(described) bool{exact, suffix, variant, foreign} {
		var found []described
		for _, d := range all {
			if match(d) {
				found = append(found, d)
			}
		}
		if len(found) > 0 {
			return found
		}
	}
	return nil
}

// schemaPath is the path in the schema of a key of f, or key itself.
func schemaPath(f *File, key string) string {
	if f == nil {
		return key
	}
	path := key
	f.root.walk(func(n *node) {
		if n.key == key && key != "" {
			path = n.path
		}
		name, ok := key, n.key == ""
		if !ok {
			name, ok = strings.CutPrefix(key, n.key+".")
		}
		if ok && n.typ.option(name) != nil {
			path = join(n.path, name)
		}
	})
	return path
}

// spellings are the words a misspelt key is compared with.
func spellings(all []described) []string {
	var out []string
	for _, d := range all {
		parts := strings.Split(d.path, ".")
		for i := range parts {
			out = append(out, strings.Join(parts[i:], "."))
		}
		if d.option != nil {
			out = append(out, d.option.Postfix, d.option.Dovecot)
		}
	}
	slices.Sort(out)
	return slices.DeleteFunc(slices.Compact(out), func(s string) bool { return s == "" })
}

func (d described) explain(b *strings.Builder, all []described, f *File) {
	if d.option == nil {
		d.explainBlock(b, all)
		return
	}
	fmt.Fprintf(b, "%s\n\n%s\n\n", d.path, indent(d.option.Doc))
	for _, row := range d.option.facts() {
		fmt.Fprintf(b, "  %-9s %s\n", row[0]+":", row[1])
	}
	if f == nil {
		return
	}
	for _, e := range f.entries() {
		if e.option.Name != d.option.Name || !d.covers(e.node) {
			continue
		}
		where := "default"
		if s, ok := e.node.settings[e.option.Name]; ok {
			where = toRange(s.place).String()
		}
		fmt.Fprintf(b, "  %-9s %s = %s (%s)\n", "Now:", e.key, e.render(), where)
	}
}

// covers reports whether d describes an option of this block: of its own type,
// or of what its type has in common with others.
func (d described) covers(n *node) bool {
	at := strings.TrimSuffix(strings.TrimSuffix(d.path, d.option.Name), ".")
	return n.path == at || d.typ.Resolve != nil && n.typ.Name == d.typ.Name && strings.HasPrefix(n.path, at+".")
}

// explainBlock describes a block type and lists what may stand in it.
func (d described) explainBlock(b *strings.Builder, all []described) {
	fmt.Fprintf(b, "%s\n\n%s\n\n", d.path, indent(d.typ.Doc))
	fmt.Fprintf(b, "  %-9s %s\n", "Written:", d.typ.usage())
	for _, o := range all {
		if rest, ok := strings.CutPrefix(o.path, d.path+"."); ok && !strings.Contains(rest, ".") {
			fmt.Fprintf(b, "  %-24s %s\n", rest, firstSentence(o.doc()))
		}
	}
}

func (d described) doc() string {
	if d.option == nil {
		return d.typ.Doc
	}
	return d.option.Doc
}

// facts are the option's properties as rows of a label and a text.
func (o *Option) facts() [][2]string {
	rows := [][2]string{{"Type", o.Type.String()}}
	add := func(label, text string) {
		if text != "" {
			rows = append(rows, [2]string{label, text})
		}
	}
	add("Default", o.defaultText())
	add("Unit", o.Unit)
	add("Bounds", o.bounds())
	add("Values", quoteAll(o.Values))
	add("Example", o.exampleText())
	add("Reload", o.reloadText())
	add("Postfix", o.foreign(o.Postfix, o.PostfixValues))
	add("Dovecot", o.foreign(o.Dovecot, o.DovecotValues))
	return rows
}

// foreign is another server's name of an option, and its words for the values.
func (o *Option) foreign(name string, words []string) string {
	if pairs := o.pairs(words); pairs != "" {
		return name + "; " + pairs
	}
	return name
}

// pairs says what another server's words are.
func (o *Option) pairs(words []string) string {
	var pairs []string
	for i, w := range words {
		if w != "" && w != o.Values[i] {
			pairs = append(pairs, fmt.Sprintf("%s is %q", w, o.Values[i]))
		}
	}
	return strings.Join(pairs, ", ")
}

func (o *Option) defaultText() string {
	switch {
	case o.Required:
		return "none, it must be set"
	case !o.HasDefault():
		return "not set"
	case o.IsSecret():
		return redacted
	}
	v, err := o.fallback()
	if err != nil {
		return fmt.Sprint(o.Default)
	}
	return renderValue(v)
}

func (o *Option) bounds() string {
	var parts []string
	if o.Min != nil {
		parts = append(parts, "at least "+o.render(o.Min))
	}
	if o.Max != nil {
		parts = append(parts, "at most "+o.render(o.Max))
	}
	return strings.Join(parts, ", ")
}

func (o *Option) exampleText() string {
	if o.Example == "" {
		return ""
	}
	return o.Name + " = " + o.Example
}

func (o *Option) reloadText() string {
	if o.Reload {
		return "a change takes effect on reload"
	}
	return "a change needs a restart"
}

func indent(text string) string {
	return "  " + strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n  ")
}

func firstSentence(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	if i := strings.Index(text, ". "); i >= 0 {
		return text[:i+1]
	}
	return text
}
