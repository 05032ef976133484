package config

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// root builds the tree of all files' bodies taken as one.
func (l *loader) root(t *BlockType, parts []part) *node {
	n := &node{typ: t, settings: map[string]setting{}}
	if len(parts) > 0 {
		n.src = parts[0].src
		n.header = hcl.Range{Filename: n.src.name}
	}
	l.fill(n, parts)
	return n
}

// fill reads the options and blocks of n.
func (l *loader) fill(n *node, parts []part) {
	for _, p := range parts {
		for _, a := range attributes(p.body) {
			l.attribute(n, p, a)
		}
		for _, b := range p.body.Blocks {
			l.block(n, p, b)
		}
	}
	for i := range n.typ.Options {
		o := &n.typ.Options[i]
		if _, ok := n.settings[o.Name]; o.Required && !ok {
			l.add(n.src.diag(n.header, "%s needs %s, %s", n.title(), o.Name, o.Type.info().want), "")
		}
	}
}

// attributes are the attributes of a body in written order.
func attributes(b *hclsyntax.Body) []*hclsyntax.Attribute {
	out := make([]*hclsyntax.Attribute, 0, len(b.Attributes))
	for _, a := range b.Attributes {
		out = append(out, a)
	}
	slices.SortFunc(out, func(a, b *hclsyntax.Attribute) int { return a.SrcRange.Start.Byte - b.SrcRange.Start.Byte })
	return out
}

func (l *loader) add(d *Diagnostic, hint string) {
	d.Hint = hint
	l.diags = append(l.diags, d)
}

// attribute reads one option.
func (l *loader) attribute(n *node, p part, a *hclsyntax.Attribute) {
	o := n.typ.option(a.Name)
	if o == nil {
		l.unknownOption(n, p, a)
		return
	}
	if first, ok := n.settings[a.Name]; ok {
		l.add(p.src.diag(a.NameRange, "%s is already set at %s", a.Name, toRange(first.place)), "")
		return
	}
	s := setting{place: a.Expr.Range(), whole: a.SrcRange, src: p.src}
	s.text = string(s.place.SliceBytes(p.src.text))
	errs := len(l.diags)
	if o.Type == TypeWhen {
		s.value = &When{expr: a.Expr, src: p.src, text: s.text}
	} else {
		l.evaluate(o, p, a.Expr, &s)
	}
	if null := s.value == nil && len(l.diags) == errs; !null {
		n.settings[a.Name] = s
	}
}

func (l *loader) unknownOption(n *node, p part, a *hclsyntax.Attribute) {
	hint := didYouMean(a.Name, n.typ.optionNames())
	if n.typ.block(a.Name) != nil {
		hint = fmt.Sprintf("%s is a block: %s { ... }", a.Name, a.Name)
	}
	where := ""
	if n.typ.Name != "" {
		where = " in " + n.title()
	}
	l.add(p.src.diag(a.NameRange, "unknown option %q%s", a.Name, where), hint)
}

// evaluate fills in the value of s. It stays nil if it is wrong, which is
// reported, or if null was written.
func (l *loader) evaluate(o *Option, p part, expr hclsyntax.Expression, s *setting) {
	if !l.vet(o, p.src, expr) {
		return
	}
	v, diags := expr.Value(p.ctx)
	if diags.HasErrors() {
		l.add(evalError(p.src, diags, expr), "")
		return
	}
	s.outside = v.ContainsMarked()
	v, _ = v.UnmarkDeep()
	if v.IsNull() {
		return
	}
	value, err := fromCty(o, v, p.dir)
	if err != nil {
		l.refuse(o, p.src, s, err)
		return
	}
	s.value = value
}

// refuse reports a value that the option does not take.
func (l *loader) refuse(o *Option, src *source, s *setting, err error) {
	var word *wordError
	switch {
	case errors.As(err, &word) && (s.outside || o.IsSecret()):
		l.add(src.diag(s.place, "%s does not know this value; it knows %s", o.Name, quoteAll(word.values)), "")
	case errors.As(err, &word):
		l.add(src.diag(s.place, "%s %v", o.Name, err), didYouMean(word.word, word.values))
	case errors.Is(err, errWants):
		l.add(src.diag(s.place, "%s wants %s", o.Name, o.wants()), "")
	default:
		l.add(src.diag(s.place, "%s %v", o.Name, err), "")
	}
}

// wants says what to write for the option.
func (o *Option) wants() string {
	if len(o.Values) > 0 && o.Type == TypeString {
		return "one of " + quoteAll(o.Values)
	}
	return o.Type.info().want
}

// evalError is an error of evaluation, without the parser's preamble.
func evalError(src *source, diags hcl.Diagnostics, expr hclsyntax.Expression) *Diagnostic {
	for _, d := range diags {
		if d.Severity != hcl.DiagError {
			continue
		}
		at, text := expr.Range(), sentence(d)
		if d.Subject != nil {
			at = *d.Subject
		}
		if call, ok := hcl.DiagnosticExtra[hclsyntax.FunctionCallDiagExtra](d); ok && call.FunctionCallError() != nil {
			text = call.FunctionCallError().Error()
		}
		return src.diag(at, "%s", text)
	}
	return src.diag(expr.Range(), "not a value")
}

// block reads one block inside parent.
func (l *loader) block(parent *node, p part, b *hclsyntax.Block) {
	t := parent.typ.block(b.Type)
	if t == nil {
		l.unknownBlock(parent, p, b)
		return
	}
	n := &node{typ: t, header: b.TypeRange, src: p.src, settings: map[string]setting{}}
	if !l.label(n, p, b) || !l.resolve(n, p, b) {
		return
	}
	n.path = join(parent.path, t.Name)
	if t.Resolve != nil {
		n.path = join(n.path, n.labels[0])
	}
	if !l.unique(parent, n, p, b) {
		return
	}
	parent.blocks = append(parent.blocks, n)
	l.fill(n, []part{{b.Body, p.src, p.ctx, p.dir}})
}

func (l *loader) unknownBlock(n *node, p part, b *hclsyntax.Block) {
	hint := didYouMean(b.Type, n.typ.blockNames())
	if n.typ.option(b.Type) != nil {
		hint = fmt.Sprintf("%s is an option: %s = ...", b.Type, b.Type)
	}
	where := ""
	if n.typ.Name != "" {
		where = " in " + n.title()
	}
	l.add(p.src.diag(b.TypeRange, "unknown block %q%s", b.Type, where), hint)
}

// label checks the labels of a block and fills in those left out.
func (l *loader) label(n *node, p part, b *hclsyntax.Block) bool {
	t := n.typ
	if len(b.Labels) > len(t.Labels) || len(b.Labels) < len(t.Labels)-t.Optional {
		l.add(p.src.diag(b.TypeRange, "%s is written %s", t.Name, t.usage()), "")
		return false
	}
	for i, label := range b.Labels {
		if label == "" || strings.ContainsFunc(label, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			l.add(p.src.diag(b.LabelRanges[i], "%q is not a %s", label, t.Labels[i]), "")
			return false
		}
	}
	n.labels = slices.Clone(b.Labels)
	for len(n.labels) < len(t.Labels) {
		n.labels = append(n.labels, n.labels[len(n.labels)-1])
	}
	return true
}

// usage shows how the block is written: filter "TYPE" ["NAME"] { ... }.
func (t *BlockType) usage() string {
	out := t.Name
	for i, label := range t.Labels {
		word := strconv.Quote(strings.ToUpper(label))
		if i >= len(t.Labels)-t.Optional {
			word = "[" + word + "]"
		}
		out += " " + word
	}
	return out + " { ... }"
}

// resolve replaces the block's type by what its first label stands for.
func (l *loader) resolve(n *node, p part, b *hclsyntax.Block) bool {
	if n.typ.Resolve == nil || len(n.labels) == 0 {
		return true
	}
	whole, known := n.typ.resolved(n.labels[0])
	if whole == nil {
		d := p.src.diag(b.LabelRanges[0], "unknown %s %s %q", n.typ.Name, n.typ.Labels[0], n.labels[0])
		l.add(d, didYouMean(n.labels[0], known))
		return false
	}
	n.typ = whole
	return true
}

// unique gives n its key, unless another block has it.
func (l *loader) unique(parent, n *node, p part, b *hclsyntax.Block) bool {
	key := join(parent.key, n.typ.Name)
	if name := n.name(); name != "" {
		key = join(key, name)
	} else if n.typ.Repeat {
		key = join(key, strconv.Itoa(1+countBlocks(parent, n.typ.Name)))
	}
	for _, other := range parent.blocks {
		if other.typ.Name != n.typ.Name || other.key != key && n.typ.Repeat {
			continue
		}
		hint := ""
		if n.typ.Optional > 0 && n.typ.Repeat {
			hint = fmt.Sprintf(`give it a name of its own: %s %q "NAME"`, n.typ.Name, n.labels[0])
		}
		l.add(p.src.diag(b.TypeRange, "%s is already written at %s", n.title(), toRange(other.header)), hint)
		return false
	}
	n.key = key
	return true
}

func countBlocks(n *node, typ string) int {
	count := 0
	for _, b := range n.blocks {
		if b.typ.Name == typ {
			count++
		}
	}
	return count
}

// vet refuses expressions that configuration has no use for, and explains
// unknown names better than the evaluator would.
func (l *loader) vet(o *Option, src *source, expr hclsyntax.Expression) bool {
	if at, ok := findLoop(expr); ok {
		l.add(src.diag(at, "loops and indexes are not part of this configuration"), "")
		return false
	}
	before := len(l.diags)
	_ = hclsyntax.VisitAll(expr, func(n hclsyntax.Node) hcl.Diagnostics {
		switch n := n.(type) {
		case *hclsyntax.ScopeTraversalExpr:
			l.vetName(o, src, n)
		case *hclsyntax.FunctionCallExpr:
			if !isFunction(n.Name) && o.IsSecret() {
				l.add(src.diag(n.NameRange, "unknown function"), "a secret is written in quotes")
			} else if !isFunction(n.Name) {
				l.add(src.diag(n.NameRange, "unknown function %q", n.Name), didYouMean(n.Name, functionNames))
			}
		}
		return nil
	})
	return len(l.diags) == before
}

// findLoop finds the first expression whose evaluation could take longer than
// its text.
func findLoop(expr hclsyntax.Expression) (at hcl.Range, found bool) {
	_ = hclsyntax.VisitAll(expr, func(n hclsyntax.Node) hcl.Diagnostics {
		switch n.(type) {
		case *hclsyntax.ForExpr, *hclsyntax.SplatExpr, *hclsyntax.IndexExpr, *hclsyntax.RelativeTraversalExpr:
			if !found {
				at, found = n.Range(), true
			}
		}
		return nil
	})
	return at, found
}

func (l *loader) vetName(o *Option, src *source, n *hclsyntax.ScopeTraversalExpr) {
	name := n.Traversal.RootName()
	if _, ok := units[name]; ok && len(n.Traversal) == 1 {
		return
	}
	if o.IsSecret() {
		l.add(src.diag(n.SrcRange, "unknown name"), "a secret is written in quotes, and $${ for ${ in it")
		return
	}
	text := string(n.SrcRange.SliceBytes(src.text))
	hint := didYouMean(name, unitNames)
	if hint == "" {
		hint = "text is written in quotes: " + strconv.Quote(text)
	}
	if s := suggest(text, o.Values); s != "" {
		hint = "did you mean " + strconv.Quote(s) + ", in quotes?"
	}
	l.add(src.diag(n.SrcRange, "unknown name %s", text), hint)
}
