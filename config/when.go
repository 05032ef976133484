package config

import (
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// When is a condition as written. It does nothing until CompileWhen has typed
// it.
type When struct {
	expr hclsyntax.Expression
	src  *source
	text string
}

// String is the condition as written, on one line.
func (w *When) String() string {
	if w == nil {
		return "null"
	}
	return strings.Join(strings.Fields(w.text), " ")
}

// Pos is where the condition was written.
func (w *When) Pos() Range { return toRange(w.expr.Range()) }

// ParseWhen reads a condition that stands alone: a default, an argument of a
// command.
func ParseWhen(text string) (*When, Diagnostics) {
	src := &source{name: "when", text: []byte(text)}
	if len(text) > maxFile {
		return nil, Diagnostics{{Pos: Range{File: src.name}, Message: "too long"}}
	}
	tokens, diags := hclsyntax.LexExpression(src.text, src.name, hcl.InitialPos)
	if d := firstError(src, diags); d != nil {
		return nil, Diagnostics{d}
	}
	if d := checkDepth(src, tokens); d != nil {
		return nil, Diagnostics{d}
	}
	expr, diags := hclsyntax.ParseExpression(src.text, src.name, hcl.InitialPos)
	if d := firstError(src, diags); d != nil {
		return nil, Diagnostics{d}
	}
	return &When{expr: expr, src: src, text: text}, nil
}
