package config

import (
	"strconv"

	"github.com/hashicorp/hcl/v2"
)

// node is one block as written, checked against its type.
type node struct {
	typ      *BlockType // with what its first label resolves to
	key      string     // "pipeline.inbound.filter.rbl"; "" is the root
	path     string     // "pipeline.filter.rbl", as in the schema
	labels   []string   // all of them, left-out ones filled in
	header   hcl.Range
	src      *source // of header; nil for a root of no file
	settings map[string]setting
	blocks   []*node // in written order
}

// setting is one option as written.
type setting struct {
	value   any       // of the Go type of the option's Type
	place   hcl.Range // of the expression
	whole   hcl.Range // of name and expression
	src     *source
	text    string // the expression, as written
	outside bool   // from the environment or a file
}

// name is the block's own name: its last label.
func (n *node) name() string {
	if len(n.labels) == 0 {
		return ""
	}
	return n.labels[len(n.labels)-1]
}

// title is the block as an error message names it: filter "rbl".
func (n *node) title() string {
	if n.typ.Name == "" {
		return "the configuration"
	}
	out := n.typ.Name
	for i, label := range n.labels {
		if i > 0 && label == n.labels[i-1] {
			continue
		}
		out += " " + strconv.Quote(label)
	}
	return out
}

// walk calls f for n and every block below it, in written order.
func (n *node) walk(f func(*node)) {
	f(n)
	for _, b := range n.blocks {
		b.walk(f)
	}
}

// value is what is in force for an option: as written, or its default.
func (n *node) value(o *Option) (any, error) {
	if s, ok := n.settings[o.Name]; ok {
		return s.value, nil
	}
	return o.fallback()
}
