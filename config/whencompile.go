package config

import (
	"fmt"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
)

// Cond is a condition compiled to closures. It is safe for concurrent use. A
// nil Cond is true.
type Cond[T any] struct {
	eval  func(T) bool
	reads uint16
}

// Eval is the condition for t.
func (c *Cond[T]) Eval(t T) bool { return c == nil || c.eval(t) }

// Reads is the union of the Reads of all variables in the condition.
func (c *Cond[T]) Reads() uint16 {
	if c == nil {
		return 0
	}
	return c.reads
}

// CompileWhen checks a condition's names and types and compiles it. A nil
// condition, one that was not written, compiles to the nil Cond.
func CompileWhen[T any](w *When, vars []Variable[T]) (*Cond[T], Diagnostics) {
	if w == nil {
		return nil, nil
	}
	c := &compiler[T]{src: w.src, vars: make(map[string]Variable[T], len(vars))}
	for _, v := range vars {
		c.vars[v.Name] = v
		c.names = append(c.names, v.Name)
	}
	code := c.compile(w.expr)
	if code.typ != 0 && code.typ != ValueBool {
		c.errorf(w.expr.Range(), "when wants a condition, but this is %s", code.typ)
	}
	if len(c.diags) > 0 {
		return nil, c.diags
	}
	return &Cond[T]{eval: code.b, reads: c.reads}, nil
}

// code computes one subexpression. Its type says which of the functions is
// set; type 0 is one that was refused, about which nothing more is said.
type code[T any] struct {
	typ   ValueType
	fixed bool // depends on no variable
	at    hcl.Range
	b     func(T) bool
	n     func(T) float64
	s     func(T) string
	l     func(T) []string
	nums  []float64 // a list of numbers, which has no l
}

type compiler[T any] struct {
	src   *source
	vars  map[string]Variable[T]
	names []string
	reads uint16
	diags Diagnostics
}

func (c *compiler[T]) errorf(at hcl.Range, format string, args ...any) code[T] {
	c.diags = append(c.diags, c.src.diag(at, format, args...))
	return code[T]{}
}

func (c *compiler[T]) hint(format string, args ...any) {
	c.diags[len(c.diags)-1].Hint = fmt.Sprintf(format, args...)
}

// compile compiles one node and everything below it.
func (c *compiler[T]) compile(e hclsyntax.Expression) code[T] {
	var out code[T]
	switch e := e.(type) {
	case *hclsyntax.ParenthesesExpr:
		out = c.compile(e.Expression)
	case *hclsyntax.LiteralValueExpr:
		out = c.literal(e)
	case *hclsyntax.TemplateExpr:
		out = c.text(e)
	case *hclsyntax.TemplateWrapExpr:
		return c.errorf(e.Range(), "${ } cannot stand in a condition")
	case *hclsyntax.ScopeTraversalExpr:
		out = c.variable(e)
	case *hclsyntax.UnaryOpExpr:
		out = c.unary(e)
	case *hclsyntax.BinaryOpExpr:
		out = c.binary(e)
	case *hclsyntax.ConditionalExpr:
		out = c.conditional(e)
	case *hclsyntax.FunctionCallExpr:
		out = c.call(e)
	case *hclsyntax.TupleConsExpr:
		out = c.list(e)
	default:
		return c.errorf(e.Range(), "this cannot stand in a condition")
	}
	out.at = e.Range()
	return out.fold()
}

// fold computes what depends on no variable once, now.
func (k code[T]) fold() code[T] {
	if !k.fixed {
		return k
	}
	var zero T
	switch k.typ {
	case ValueBool:
		v := k.b(zero)
		k.b = func(T) bool { return v }
	case ValueNumber:
		v := k.n(zero)
		k.n = func(T) float64 { return v }
	case ValueString:
		v := k.s(zero)
		k.s = func(T) string { return v }
	case ValueList:
		if k.l != nil {
			v := k.l(zero)
			k.l = func(T) []string { return v }
		}
	}
	return k
}

// constant is the value of a code that is fixed.
func (k code[T]) constant() (num float64, text string) {
	var zero T
	switch {
	case k.fixed && k.typ == ValueNumber:
		return k.n(zero), ""
	case k.fixed && k.typ == ValueString:
		return 0, k.s(zero)
	}
	return 0, ""
}

func fixedNumber[T any](f float64) code[T] {
	return code[T]{typ: ValueNumber, fixed: true, n: func(T) float64 { return f }}
}

func fixedText[T any](s string) code[T] {
	return code[T]{typ: ValueString, fixed: true, s: func(T) string { return s }}
}

func (c *compiler[T]) literal(e *hclsyntax.LiteralValueExpr) code[T] {
	v := e.Val
	switch {
	case v.IsNull() || !v.IsKnown():
	case v.Type() == cty.Bool:
		b := v.True()
		return code[T]{typ: ValueBool, fixed: true, b: func(T) bool { return b }}
	case v.Type() == cty.Number:
		f, _ := v.AsBigFloat().Float64()
		return fixedNumber[T](f)
	case v.Type() == cty.String:
		return fixedText[T](v.AsString())
	}
	return c.errorf(e.Range(), "null cannot stand in a condition")
}

// text is a string in quotes, which holds no ${}.
func (c *compiler[T]) text(e *hclsyntax.TemplateExpr) code[T] {
	for _, p := range e.Parts {
		if _, ok := p.(*hclsyntax.LiteralValueExpr); !ok {
			return c.errorf(p.Range(), "${ } cannot stand in a condition")
		}
	}
	v, diags := e.Value(nil)
	if diags.HasErrors() || v.Type() != cty.String || v.IsNull() || !v.IsKnown() {
		return c.errorf(e.Range(), "not a string")
	}
	return fixedText[T](v.AsString())
}

func (c *compiler[T]) variable(e *hclsyntax.ScopeTraversalExpr) code[T] {
	name := dotted(e.Traversal)
	if size, ok := units[name]; ok {
		return fixedNumber[T](float64(size))
	}
	v, ok := c.vars[name]
	if !ok {
		return c.unknown(e, name)
	}
	c.reads |= v.Reads
	get := v.Get
	switch v.Type {
	case ValueBool:
		return code[T]{typ: v.Type, b: func(t T) bool { return get(t).num != 0 }}
	case ValueNumber:
		return code[T]{typ: v.Type, n: func(t T) float64 { return get(t).num }}
	case ValueString:
		return code[T]{typ: v.Type, s: func(t T) string { return get(t).str }}
	case ValueList:
		return code[T]{typ: v.Type, l: func(t T) []string { return get(t).list }}
	}
	return c.errorf(e.Range(), "variable %s has no type", name)
}

// dotted is a traversal as the name of a variable; "" if it has an index.
func dotted(t hcl.Traversal) string {
	name := t.RootName()
	for _, step := range t[1:] {
		attr, ok := step.(hcl.TraverseAttr)
		if !ok {
			return ""
		}
		name += "." + attr.Name
	}
	return name
}

// unknown explains a name that is no variable.
func (c *compiler[T]) unknown(e *hclsyntax.ScopeTraversalExpr, name string) code[T] {
	out := c.errorf(e.Range(), "unknown name %s", e.Range().SliceBytes(c.src.text))
	var below []string
	for _, n := range c.names {
		if strings.HasPrefix(n, name+".") {
			below = append(below, n)
		}
	}
	head, _, dash := strings.Cut(name, "-")
	_, known := c.vars[head]
	switch best := suggest(name, append(unitNames, c.names...)); {
	case dash && known:
		c.hint("spaces around - make it a subtraction")
	case len(below) > 0:
		c.hint("there is %s", strings.Join(below, ", "))
	case best != "":
		c.hint("did you mean %q?", best)
	default:
		c.hint("text is written in quotes")
	}
	return out
}
