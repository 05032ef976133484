package config

import (
	"fmt"
	"reflect"
	"slices"

	"github.com/hashicorp/hcl/v2"
)

// Block is one block of a loaded configuration, or its root. The zero Block is
// empty: it has no options, and Decode accepts only structs without any.
type Block struct{ n *node }

// Type is the block's name as written: "filter". The root's is "".
func (b Block) Type() string { return b.node().typ.Name }

// Labels are the block's labels; one that was left out equals the one before.
func (b Block) Labels() []string { return slices.Clone(b.node().labels) }

// Name is the last label, the block's own name; "" if it has none.
func (b Block) Name() string { return b.node().name() }

// Key is the block's dotted path: "pipeline.inbound.filter.rbl".
func (b Block) Key() string { return b.node().key }

// Blocks are the blocks of one type directly inside, in written order; "" is
// every type.
func (b Block) Blocks(typ string) []Block {
	var out []Block
	for _, n := range b.node().blocks {
		if typ == "" || n.typ.Name == typ {
			out = append(out, Block{n})
		}
	}
	return out
}

// Block is the first block of a type directly inside, for types that occur at
// most once.
func (b Block) Block(typ string) (Block, bool) {
	for _, n := range b.node().blocks {
		if n.typ.Name == typ {
			return Block{n}, true
		}
	}
	return Block{}, false
}

// Has reports whether an option was written, with a value other than null.
func (b Block) Has(name string) bool {
	_, ok := b.node().settings[name]
	return ok
}

// Pos is where an option's value was written, or the block itself if the
// option was not written or name is "".
func (b Block) Pos(name string) Range {
	at, _ := b.node().place(name)
	return toRange(at)
}

// Errorf is an error about an option's value, or about the whole block if the
// option was not written or is "".
func (b Block) Errorf(option, format string, args ...any) error {
	return b.diag(option, fmt.Sprintf(format, args...))
}

// Unknown is the error for an option that names something there is none of:
// what says what ("route"), got is the name, known are those there are.
func (b Block) Unknown(option, what, got string, known []string) error {
	d := b.diag(option, fmt.Sprintf("unknown %s %q", what, got))
	d.Hint = didYouMean(got, known)
	return d
}

func (b Block) diag(option, message string) *Diagnostic {
	at, src := b.node().place(option)
	if src == nil {
		return &Diagnostic{Pos: toRange(at), Message: message}
	}
	if at.Start.Line == 0 {
		return &Diagnostic{Pos: Range{File: src.name}, Message: message}
	}
	return src.diag(at, "%s", message)
}

// Equal reports whether two blocks are configured identically: same type,
// labels, values (of defaults too) and inner blocks. Where they are written does
// not matter; contents of files that an option names are not compared.
func (b Block) Equal(other Block) bool { return equal(b.node(), other.node()) }

func equal(a, b *node) bool {
	if a.typ.Name != b.typ.Name || !slices.Equal(a.labels, b.labels) || len(a.typ.Options) != len(b.typ.Options) {
		return false
	}
	for i := range a.typ.Options {
		x, y := &a.typ.Options[i], &b.typ.Options[i]
		if x.Name != y.Name || !equalValues(a, x, b, y) {
			return false
		}
	}
	return slices.EqualFunc(a.blocks, b.blocks, equal)
}

func equalValues(a *node, x *Option, b *node, y *Option) bool {
	v, err := a.value(x)
	w, err2 := b.value(y)
	if err != nil || err2 != nil {
		return false
	}
	p, ok := v.(*When)
	q, ok2 := w.(*When)
	if ok && ok2 {
		return p.String() == q.String()
	}
	return reflect.DeepEqual(v, w)
}

// node is b's node, or an empty one for the zero Block.
func (b Block) node() *node {
	if b.n == nil {
		return &node{typ: &BlockType{}}
	}
	return b.n
}

// place is where an option was written, or the block's header.
func (n *node) place(option string) (hcl.Range, *source) {
	if s, ok := n.settings[option]; ok {
		return s.place, s.src
	}
	return n.header, n.src
}

// NeedsRestart lists the keys that differ between two configurations and whose
// options do not take effect on reload, in the order of after, then those that
// are gone.
func NeedsRestart(before, after *File) []string {
	old, now := before.entries(), after.entries()
	var keys []string
	for _, e := range now {
		if e.option.Reload {
			continue
		}
		i := slices.IndexFunc(old, func(o entry) bool { return o.key == e.key })
		if i < 0 || !equalValues(old[i].node, old[i].option, e.node, e.option) {
			keys = append(keys, e.key)
		}
	}
	for _, e := range old {
		gone := !slices.ContainsFunc(now, func(n entry) bool { return n.key == e.key })
		if gone && !e.option.Reload {
			keys = append(keys, e.key)
		}
	}
	return keys
}
