package conf

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
)

// maxDepth bounds how deep a meta's parentheses may be nested.
const maxDepth = 200

// maxNodes bounds the parts of an expression.
const maxNodes = 20_000

// Expr is the expression of a meta rule, with the operators and precedence of Perl.
type Expr struct {
	nodes []exprNode // each before its operands
	rules []string   // the names of the rules, each once, in order
}

// exprNode is a part of an expression. Its first operand follows it.
type exprNode struct {
	op            exprOp
	slot          int32 // of a rule: its place in the expression's rules
	second, third int32 // where the other operands are
	num           float64
}

// exprTree is an expression as it is read.
type exprTree struct {
	op   exprOp
	num  float64
	slot int
	args []*exprTree
}

// lay puts a tree behind what the expression has; false if that is too much.
func (e *Expr) lay(t *exprTree) bool {
	at := len(e.nodes)
	if at >= maxNodes {
		return false
	}
	e.nodes = append(e.nodes, exprNode{op: t.op, num: t.num, slot: int32(t.slot)})
	for i, a := range t.args {
		switch i {
		case 1:
			e.nodes[at].second = int32(len(e.nodes))
		case 2:
			e.nodes[at].third = int32(len(e.nodes))
		}
		if !e.lay(a) {
			return false
		}
	}
	return true
}

// exprOp is what an expression is: a number, a rule's value, or an operator.
type exprOp uint8

const (
	opNumber exprOp = iota
	opRule
	opNot
	opMinus
	opAnd
	opOr
	opChoose
	opBitOr
	opBitXor
	opBitAnd
	opEqual
	opUnequal
	opLess
	opGreater
	opAtMost
	opAtLeast
	opAdd
	opSubtract
	opMultiply
	opDivide
)

// Span is a value of which only bounds may be known: Lo equals Hi if it is known.
type Span struct{ Lo, Hi float64 }

// undefined is the value of an expression that divides by zero, or may do so. Perl ends the
// rule there, without a hit: so nothing that is built on it is known either.
var undefined = Span{math.NaN(), math.NaN()}

// Undefined reports whether there may be no value at all.
func (s Span) Undefined() bool { return math.IsNaN(s.Lo) }

// Known is a span of one value.
func Known(v float64) Span { return Span{v, v} }

// Known reports whether there is one value only.
func (s Span) Known() bool { return s.Lo == s.Hi }

// True and False say that every value in the span is other than zero, or is zero.
func (s Span) True() bool  { return s.Lo > 0 || s.Hi < 0 }
func (s Span) False() bool { return s.Lo == 0 && s.Hi == 0 }

// Rules are the names of the rules in the expression, each once, in order. The slice
// must not be changed.
func (e *Expr) Rules() []string { return e.rules }

// Mentions are the names of rules as often as the expression has them.
func (e *Expr) Mentions() []string {
	var out []string
	for _, n := range e.nodes {
		if n.op == opRule {
			out = append(out, e.rules[n.slot])
		}
	}
	return out
}

// Eval finds the expression's value from those of rules, by their place in Rules.
func (e *Expr) Eval(value func(slot int) Span) Span { return e.eval(0, value) }

func (e *Expr) eval(at int32, value func(slot int) Span) Span {
	n := &e.nodes[at]
	switch n.op {
	case opNumber:
		return Known(n.num)
	case opRule:
		return value(int(n.slot))
	}
	a := e.eval(at+1, value)
	switch n.op {
	case opNot:
		return truth(a).not()
	case opMinus:
		return Span{-a.Hi, -a.Lo}
	case opAnd:
		return e.and(a, n, value)
	case opOr:
		return e.or(a, n, value)
	case opChoose:
		return e.choose(a, n, value)
	}
	return binary(n.op, a, e.eval(n.second, value))
}

// and is the first operand if that is false, else the second.
func (e *Expr) and(a Span, n *exprNode, value func(int) Span) Span {
	if a.False() || a.Undefined() {
		return a
	}
	b := e.eval(n.second, value)
	switch {
	case a.True(), b.False():
		return b
	}
	return join(b, Known(0))
}

// or is the first operand if that is true, else the second.
func (e *Expr) or(a Span, n *exprNode, value func(int) Span) Span {
	if a.True() || a.Undefined() {
		return a
	}
	b := e.eval(n.second, value)
	if a.False() {
		return b
	}
	if b.Lo > 0 && a.Lo >= 0 { // true whatever a is
		return Span{math.SmallestNonzeroFloat64, math.Max(a.Hi, b.Hi)}
	}
	return join(a, b)
}

func (e *Expr) choose(a Span, n *exprNode, value func(int) Span) Span {
	switch {
	case a.Undefined():
		return a
	case a.True():
		return e.eval(n.second, value)
	case a.False():
		return e.eval(n.third, value)
	}
	return join(e.eval(n.second, value), e.eval(n.third, value))
}

func join(a, b Span) Span { return Span{math.Min(a.Lo, b.Lo), math.Max(a.Hi, b.Hi)} }

// truth is 1, 0, or not known.
func truth(a Span) Span {
	switch {
	case a.Undefined():
		return a
	case a.True():
		return Known(1)
	case a.False():
		return Known(0)
	}
	return Span{0, 1}
}

func (s Span) not() Span { return Span{1 - s.Hi, 1 - s.Lo} }

func binary(op exprOp, a, b Span) Span {
	if a.Undefined() || b.Undefined() {
		return undefined
	}
	switch op {
	case opAdd:
		return Span{a.Lo + b.Lo, a.Hi + b.Hi}
	case opSubtract:
		return Span{a.Lo - b.Hi, a.Hi - b.Lo}
	case opMultiply, opDivide:
		return scale(op, a, b)
	case opGreater:
		return less(b, a, true)
	case opLess:
		return less(a, b, true)
	case opAtLeast:
		return less(b, a, false)
	case opAtMost:
		return less(a, b, false)
	case opEqual:
		return equal(a, b)
	case opUnequal:
		return equal(a, b).not()
	}
	return bits(op, a, b)
}

// scale multiplies or divides.
func scale(op exprOp, a, b Span) Span {
	if op == opDivide {
		if !b.True() {
			return undefined
		}
		b = Span{1 / b.Hi, 1 / b.Lo}
	}
	out := Known(a.Lo * b.Lo)
	for _, v := range []float64{a.Lo * b.Hi, a.Hi * b.Lo, a.Hi * b.Hi} {
		out = join(out, Known(v))
	}
	return out
}

// less compares; strict is "<", else "<=".
func less(a, b Span, strict bool) Span {
	switch {
	case a.Hi < b.Lo, !strict && a.Hi <= b.Lo:
		return Known(1)
	case a.Lo > b.Hi, strict && a.Lo >= b.Hi:
		return Known(0)
	}
	return Span{0, 1}
}

func equal(a, b Span) Span {
	switch {
	case a.Known() && b.Known() && a.Lo == b.Lo:
		return Known(1)
	case a.Hi < b.Lo, b.Hi < a.Lo:
		return Known(0)
	}
	return Span{0, 1}
}

func bits(op exprOp, a, b Span) Span {
	if !a.Known() || !b.Known() {
		return Span{0, math.Inf(1)}
	}
	x, y := uint64(math.Max(a.Lo, 0)), uint64(math.Max(b.Lo, 0))
	switch op {
	case opBitAnd:
		x &= y
	case opBitOr:
		x |= y
	case opBitXor:
		x ^= y
	}
	return Known(float64(x))
}

// operators are those of two operands, with their precedence in Perl (perlop).
var operators = map[string]struct {
	op         exprOp
	precedence int
}{
	"||": {opOr, 1}, "&&": {opAnd, 2}, "|": {opBitOr, 3}, "^": {opBitXor, 3}, "&": {opBitAnd, 4}, "==": {opEqual, 5}, "!=": {opUnequal, 5},
	"<": {opLess, 6}, ">": {opGreater, 6}, "<=": {opAtMost, 6}, ">=": {opAtLeast, 6}, "+": {opAdd, 7}, "-": {opSubtract, 7},
	"*": {opMultiply, 8}, "/": {opDivide, 8},
}

type exprParser struct {
	text  string
	depth int
	rules []string
	slots map[string]int
}

// ParseExpr reads a meta's expression; rules_matching(GLOB) must have been replaced.
func ParseExpr(text string) (*Expr, error) {
	p := &exprParser{text: text, slots: map[string]int{}}
	if strings.ReplaceAll(strings.ReplaceAll(text, " ", ""), "\t", "") == "()" {
		return &Expr{nodes: []exprNode{{}}}, nil // a name that others set
	}
	t, err := p.ternary()
	if err != nil {
		return nil, err
	}
	if p.skip(); p.text != "" {
		return nil, fmt.Errorf("%q does not belong here", short(p.text))
	}
	root := &Expr{rules: p.rules}
	if !root.lay(t) {
		return nil, fmt.Errorf("the expression has more than %d parts", maxNodes)
	}
	root.nodes = slices.Clip(root.nodes)
	return root, nil
}

func short(s string) string {
	if len(s) > 20 {
		s = s[:20] + "..."
	}
	return s
}

func (p *exprParser) skip() { p.text = strings.TrimLeft(p.text, " \t") }

// operator takes the next operator if it is one of two operands.
func (p *exprParser) operator() string {
	p.skip()
	for n := 2; n > 0; n-- {
		if len(p.text) >= n && operators[p.text[:n]].precedence > 0 {
			return p.text[:n]
		}
	}
	return ""
}

func (p *exprParser) ternary() (*exprTree, error) {
	if p.depth++; p.depth > maxDepth {
		return nil, fmt.Errorf("parentheses are nested more than %d deep", maxDepth)
	}
	defer func() { p.depth-- }()
	cond, err := p.binary(1)
	if err != nil {
		return nil, err
	}
	if p.skip(); !strings.HasPrefix(p.text, "?") {
		return cond, nil
	}
	p.text = p.text[1:]
	yes, err := p.ternary()
	if err != nil {
		return nil, err
	}
	if p.skip(); !strings.HasPrefix(p.text, ":") {
		return nil, errors.New(`there is "?" without ":"`)
	}
	p.text = p.text[1:]
	no, err := p.ternary()
	if err != nil {
		return nil, err
	}
	return &exprTree{op: opChoose, args: []*exprTree{cond, yes, no}}, nil
}

func (p *exprParser) binary(least int) (*exprTree, error) {
	left, err := p.unary()
	if err != nil {
		return nil, err
	}
	var last *exprTree // the right operand of a comparison that may be the first of a chain
	for chained := 0; ; {
		text := p.operator()
		o := operators[text]
		if text == "" || o.precedence < least {
			return left, nil
		}
		if o.precedence != chained {
			last, chained = nil, 0
		}
		p.text = p.text[len(text):]
		right, err := p.binary(o.precedence + 1)
		if err != nil {
			return nil, err
		}
		if last != nil { // "a < b < c" is "a < b && b < c" (perlop, since Perl 5.32)
			left = &exprTree{op: opAnd, args: []*exprTree{left, {op: o.op, args: []*exprTree{last, right}}}}
		} else {
			left = &exprTree{op: o.op, args: []*exprTree{left, right}}
		}
		if o.precedence == operators["=="].precedence || o.precedence == operators["<"].precedence {
			last, chained = right, o.precedence
		}
	}
}

func (p *exprParser) unary() (*exprTree, error) {
	p.skip()
	if p.text == "" {
		return nil, errors.New("the expression ends too early")
	}
	switch c := p.text[0]; {
	case c == '!' || c == '-' || c == '+':
		return p.sign(c)
	case c == '(':
		return p.parenthesis()
	case c >= '0' && c <= '9' || c == '.':
		return p.number()
	case wordByte(c):
		n := 1
		for n < len(p.text) && (wordByte(p.text[n])) {
			n++
		}
		name := p.text[:n]
		p.text = p.text[n:]
		return &exprTree{op: opRule, slot: p.slot(name)}, nil
	}
	return nil, fmt.Errorf("%q is no rule, number or operator", short(p.text))
}

func (p *exprParser) slot(name string) int {
	n, ok := p.slots[name]
	if !ok {
		n = len(p.rules)
		p.slots[name] = n
		p.rules = append(p.rules, name)
	}
	return n
}

func (p *exprParser) sign(c byte) (*exprTree, error) {
	if p.depth++; p.depth > maxDepth {
		return nil, fmt.Errorf("operators are nested more than %d deep", maxDepth)
	}
	defer func() { p.depth-- }()
	p.text = p.text[1:]
	a, err := p.unary()
	if err != nil || c == '+' {
		return a, err
	}
	op := opNot
	if c == '-' {
		op = opMinus
	}
	return &exprTree{op: op, args: []*exprTree{a}}, nil
}

func (p *exprParser) parenthesis() (*exprTree, error) {
	p.text = p.text[1:]
	e, err := p.ternary()
	if err != nil {
		return nil, err
	}
	if p.skip(); !strings.HasPrefix(p.text, ")") {
		return nil, errors.New(`a ")" is missing`)
	}
	p.text = p.text[1:]
	return e, nil
}

func (p *exprParser) number() (*exprTree, error) {
	n := len(p.text) - len(strings.TrimLeft(p.text, "0123456789."))
	v, ok := readNumber(p.text[:n])
	if !ok {
		return nil, fmt.Errorf("%q is no number", p.text[:n])
	}
	p.text = p.text[n:]
	return &exprTree{num: v}, nil
}
