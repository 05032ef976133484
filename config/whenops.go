package config

import (
	"math"

	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// arithmetic and order are the operators on numbers.
var arithmetic = map[*hclsyntax.Operation]func(a, b float64) float64{
	hclsyntax.OpAdd:      func(a, b float64) float64 { return a + b },
	hclsyntax.OpSubtract: func(a, b float64) float64 { return a - b },
	hclsyntax.OpMultiply: func(a, b float64) float64 { return a * b },
	hclsyntax.OpDivide:   func(a, b float64) float64 { return a / b },
	hclsyntax.OpModulo:   math.Mod,
}

var order = map[*hclsyntax.Operation]func(a, b float64) bool{
	hclsyntax.OpLessThan:           func(a, b float64) bool { return a < b },
	hclsyntax.OpLessThanOrEqual:    func(a, b float64) bool { return a <= b },
	hclsyntax.OpGreaterThan:        func(a, b float64) bool { return a > b },
	hclsyntax.OpGreaterThanOrEqual: func(a, b float64) bool { return a >= b },
}

// want reports a code of the wrong type. It is silent about one that was
// refused before.
func (c *compiler[T]) want(k code[T], t ValueType) bool {
	if k.typ != 0 && k.typ != t {
		c.errorf(k.at, "%s is wanted here, but this is %s", t, k.typ)
	}
	return k.typ == t
}

func (c *compiler[T]) unary(e *hclsyntax.UnaryOpExpr) code[T] {
	v := c.compile(e.Val)
	switch {
	case e.Op == hclsyntax.OpLogicalNot && c.want(v, ValueBool):
		f := v.b
		return code[T]{typ: ValueBool, fixed: v.fixed, b: func(t T) bool { return !f(t) }}
	case e.Op == hclsyntax.OpNegate && c.want(v, ValueNumber):
		f := v.n
		return code[T]{typ: ValueNumber, fixed: v.fixed, n: func(t T) float64 { return -f(t) }}
	}
	return code[T]{}
}

func (c *compiler[T]) binary(e *hclsyntax.BinaryOpExpr) code[T] {
	a, b := c.compile(e.LHS), c.compile(e.RHS)
	switch e.Op {
	case hclsyntax.OpLogicalAnd, hclsyntax.OpLogicalOr:
		return c.logical(e.Op, a, b)
	case hclsyntax.OpEqual, hclsyntax.OpNotEqual:
		return c.equality(e, a, b)
	}
	left, right := c.want(a, ValueNumber), c.want(b, ValueNumber)
	if !left || !right {
		return code[T]{}
	}
	x, y, fixed := a.n, b.n, a.fixed && b.fixed
	if less, ok := order[e.Op]; ok {
		return code[T]{typ: ValueBool, fixed: fixed, b: func(t T) bool { return less(x(t), y(t)) }}
	}
	if zero, _ := b.constant(); b.fixed && zero == 0 && (e.Op == hclsyntax.OpDivide || e.Op == hclsyntax.OpModulo) {
		return c.errorf(b.at, "division by zero")
	}
	f, ok := arithmetic[e.Op]
	if !ok {
		return c.errorf(e.Range(), "this operator cannot stand in a condition")
	}
	return code[T]{typ: ValueNumber, fixed: fixed, n: func(t T) float64 { return f(x(t), y(t)) }}
}

// logical is && or ||; the right side is computed only when it matters.
func (c *compiler[T]) logical(op *hclsyntax.Operation, a, b code[T]) code[T] {
	left, right := c.want(a, ValueBool), c.want(b, ValueBool)
	if !left || !right {
		return code[T]{}
	}
	x, y := a.b, b.b
	out := code[T]{typ: ValueBool, fixed: a.fixed && b.fixed}
	if op == hclsyntax.OpLogicalAnd {
		out.b = func(t T) bool { return x(t) && y(t) }
	} else {
		out.b = func(t T) bool { return x(t) || y(t) }
	}
	return out
}

// equality is == or != of two values of one type. Strings compare octet for
// octet.
func (c *compiler[T]) equality(e *hclsyntax.BinaryOpExpr, a, b code[T]) code[T] {
	if a.typ == 0 || b.typ == 0 {
		return code[T]{}
	}
	if a.typ != b.typ {
		return c.errorf(e.Range(), "%s is compared with %s", a.typ, b.typ)
	}
	equal := true
	if e.Op == hclsyntax.OpNotEqual {
		equal = false
	}
	out := code[T]{typ: ValueBool, fixed: a.fixed && b.fixed}
	switch a.typ {
	case ValueBool:
		out.b = func(t T) bool { return (a.b(t) == b.b(t)) == equal }
	case ValueNumber:
		out.b = func(t T) bool { return (a.n(t) == b.n(t)) == equal }
	case ValueString:
		out.b = func(t T) bool { return (a.s(t) == b.s(t)) == equal }
	default:
		out = c.errorf(e.Range(), "lists cannot be compared")
		c.hint("contains(list, value) looks for one value, len(list) == 0 asks for an empty list")
	}
	return out
}

func (c *compiler[T]) conditional(e *hclsyntax.ConditionalExpr) code[T] {
	test, a, b := c.compile(e.Condition), c.compile(e.TrueResult), c.compile(e.FalseResult)
	if !c.want(test, ValueBool) || a.typ == 0 || !c.want(b, a.typ) {
		return code[T]{}
	}
	if a.nums != nil || b.nums != nil {
		return c.errorf(e.Range(), "a list of numbers cannot be chosen")
	}
	out := code[T]{typ: a.typ, fixed: test.fixed && a.fixed && b.fixed}
	switch a.typ {
	case ValueBool:
		out.b = choose(test.b, a.b, b.b)
	case ValueNumber:
		out.n = choose(test.b, a.n, b.n)
	case ValueString:
		out.s = choose(test.b, a.s, b.s)
	case ValueList:
		out.l = choose(test.b, a.l, b.l)
	}
	return out
}

func choose[T, V any](test func(T) bool, a, b func(T) V) func(T) V {
	return func(t T) V {
		if test(t) {
			return a(t)
		}
		return b(t)
	}
}

// list is a list of strings, or of numbers that are all fixed.
func (c *compiler[T]) list(e *hclsyntax.TupleConsExpr) code[T] {
	items := make([]code[T], 0, len(e.Exprs))
	for _, x := range e.Exprs {
		items = append(items, c.compile(x))
	}
	if len(items) == 0 {
		return code[T]{typ: ValueList, fixed: true, l: func(T) []string { return nil }}
	}
	out := code[T]{typ: ValueList, fixed: true}
	texts := make([]func(T) string, 0, len(items))
	for _, item := range items {
		if item.typ != ValueNumber || !item.fixed {
			if !c.want(item, ValueString) {
				return code[T]{}
			}
		}
		if item.typ != items[0].typ {
			return c.errorf(item.at, "a list holds either strings or numbers")
		}
		out.fixed = out.fixed && item.fixed
		if item.typ == ValueNumber {
			n, _ := item.constant()
			out.nums = append(out.nums, n)
		}
		texts = append(texts, item.s)
	}
	if out.nums == nil {
		out.l = func(t T) []string {
			list := make([]string, len(texts))
			for i, s := range texts {
				list[i] = s(t)
			}
			return list
		}
	}
	return out
}
