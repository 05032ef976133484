package engine

import (
	"errors"
	"fmt"

	lua "github.com/yuin/gopher-lua"
	"github.com/yuin/gopher-lua/ast"
)

// Names of what rewritten scripts call. No script can write such a name.
const (
	meterConcat = "\x00concat"
	meterSet    = "\x00set"
	meterTable  = "\x00table"
	meterClose  = "\x00close"
	meterValue  = "\x00v" // locals of an assignment to several places
)

// What things cost, in octets: a little more than gopher-lua uses for them.
const (
	costEntry   = 100 // of a table
	costSlot    = 16  // of an array
	costTable   = 250
	costClosure = 300
)

// maxDepth bounds how deep a script's expressions and blocks are nested: the
// compiler calls itself for each.
const maxDepth = 1000

var errDepth = errors.New("the script is nested too deep")

// rewriter makes the parts of a script pay that take memory: a .. b becomes a
// call that counts the octets of the result, t[k] = v one that counts the entry,
// {...} one that counts the table, and a function or loop that makes closures
// begins with a call that counts them. It also collects every constant string.
type rewriter struct {
	depth    int
	closures int // made directly in the block at hand
	strings  map[string]bool
}

func rewrite(chunk []ast.Stmt) (out []ast.Stmt, constants map[string]bool, err error) {
	r := &rewriter{strings: map[string]bool{}}
	defer func() {
		if p := recover(); p != nil {
			if e, ok := p.(error); ok && errors.Is(e, errDepth) {
				err = e
				return
			}
			panic(p)
		}
	}()
	return r.block(chunk, 0), r.strings, nil
}

func (r *rewriter) enter(n ast.PositionHolder) func() {
	if r.depth++; r.depth > maxDepth {
		panic(fmt.Errorf("line %d: %w: more than %d levels", n.Line(), errDepth, maxDepth))
	}
	return func() { r.depth-- }
}

// block rewrites statements and puts what they pay for closures in front. line
// is where the block begins; zero for what runs once.
func (r *rewriter) block(stmts []ast.Stmt, line int) []ast.Stmt {
	outer := r.closures
	r.closures = 0
	out := make([]ast.Stmt, 0, len(stmts)+1)
	for _, s := range stmts {
		out = append(out, r.stmt(s))
	}
	if r.closures > 0 && line > 0 {
		pay := calling(line, meterClose, &ast.NumberExpr{Value: fmt.Sprint(r.closures * costClosure)})
		out = append([]ast.Stmt{statement(pay)}, out...)
		r.closures = 0
	}
	r.closures += outer // of a block that runs once, the block around it pays
	return out
}

func (r *rewriter) stmt(s ast.Stmt) ast.Stmt {
	defer r.enter(s)()
	switch s := s.(type) {
	case *ast.AssignStmt:
		return r.assign(s)
	case *ast.LocalAssignStmt:
		r.exprs(s.Exprs)
	case *ast.FuncCallStmt:
		s.Expr = r.expr(s.Expr)
	case *ast.DoBlockStmt:
		s.Stmts = r.block(s.Stmts, 0)
	case *ast.WhileStmt:
		s.Condition, s.Stmts = r.looped(s.Condition, &s.Stmts, s.Line())
	case *ast.RepeatStmt:
		s.Condition, s.Stmts = r.looped(s.Condition, &s.Stmts, s.Line())
	case *ast.IfStmt:
		s.Condition = r.expr(s.Condition)
		s.Then, s.Else = r.block(s.Then, 0), r.block(s.Else, 0)
	case *ast.NumberForStmt:
		s.Init, s.Limit, s.Step = r.expr(s.Init), r.expr(s.Limit), r.expr(s.Step)
		s.Stmts = r.block(s.Stmts, s.Line())
	case *ast.GenericForStmt:
		r.exprs(s.Exprs)
		s.Stmts = r.block(s.Stmts, s.Line())
	case *ast.FuncDefStmt:
		s.Func = r.expr(s.Func).(*ast.FunctionExpr)
		s.Name.Func, s.Name.Receiver = r.expr(s.Name.Func), r.expr(s.Name.Receiver)
		r.strings[s.Name.Method] = true
	case *ast.ReturnStmt:
		r.exprs(s.Exprs)
	}
	return s
}

// looped rewrites a loop whose condition is evaluated as often as its body: the
// body pays for the closures of both. A loop that only has a condition gets a
// body for it.
func (r *rewriter) looped(cond ast.Expr, stmts *[]ast.Stmt, line int) (ast.Expr, []ast.Stmt) {
	outer := r.closures
	r.closures = 0
	cond = r.expr(cond)
	n := r.closures
	r.closures = outer
	body := r.block(*stmts, line)
	if n > 0 {
		body = append([]ast.Stmt{statement(calling(line, meterClose, &ast.NumberExpr{Value: fmt.Sprint(n * costClosure)}))}, body...)
	}
	return cond, body
}

// assign rewrites t[k] = v. With several places the values are computed first,
// into locals.
func (r *rewriter) assign(s *ast.AssignStmt) ast.Stmt {
	r.exprs(s.Rhs)
	places := 0
	for i, l := range s.Lhs {
		if g, ok := l.(*ast.AttrGetExpr); ok {
			g.Object, g.Key = r.expr(g.Object), r.expr(g.Key)
			places++
		} else {
			s.Lhs[i] = r.expr(l)
		}
	}
	if places == 0 {
		return s
	}
	if len(s.Lhs) == 1 && len(s.Rhs) == 1 {
		g := s.Lhs[0].(*ast.AttrGetExpr)
		return statement(calling(s.Line(), meterSet, g.Object, g.Key, single(s.Rhs[0])))
	}
	var names []string
	var values []ast.Expr
	name := func(kind string, i int) string { return fmt.Sprintf("%s%s%d", meterValue, kind, i) }
	var sets []ast.Stmt
	for i, l := range s.Lhs {
		value := ident(s.Line(), name("v", i))
		if g, ok := l.(*ast.AttrGetExpr); ok {
			names = append(names, name("t", i), name("k", i))
			values = append(values, single(g.Object), single(g.Key))
			sets = append(sets, statement(calling(s.Line(), meterSet, ident(s.Line(), name("t", i)), ident(s.Line(), name("k", i)), value)))
			continue
		}
		set := &ast.AssignStmt{Lhs: []ast.Expr{l}, Rhs: []ast.Expr{value}}
		at(set, s.Line())
		sets = append(sets, set)
	}
	for i := range s.Lhs {
		names = append(names, name("v", i))
	}
	local := &ast.LocalAssignStmt{Names: names, Exprs: append(values, s.Rhs...)}
	at(local, s.Line())
	do := &ast.DoBlockStmt{Stmts: append([]ast.Stmt{local}, sets...)}
	at(do, s.Line())
	return do
}

func (r *rewriter) exprs(list []ast.Expr) {
	for i, e := range list {
		list[i] = r.expr(e)
	}
}

func (r *rewriter) expr(e ast.Expr) ast.Expr {
	if e == nil {
		return nil
	}
	defer r.enter(e)()
	switch e := e.(type) {
	case *ast.StringExpr:
		r.strings[e.Value] = true
	case *ast.IdentExpr:
		r.strings[e.Value] = true
	case *ast.AttrGetExpr:
		e.Object, e.Key = r.expr(e.Object), r.expr(e.Key)
	case *ast.TableExpr:
		for _, f := range e.Fields {
			f.Key, f.Value = r.expr(f.Key), r.expr(f.Value)
		}
		return calling(e.Line(), meterTable, e)
	case *ast.FuncCallExpr:
		e.Func, e.Receiver = r.expr(e.Func), r.expr(e.Receiver)
		r.strings[e.Method] = true
		r.exprs(e.Args)
	case *ast.LogicalOpExpr:
		e.Lhs, e.Rhs = r.expr(e.Lhs), r.expr(e.Rhs)
	case *ast.RelationalOpExpr:
		e.Lhs, e.Rhs = r.expr(e.Lhs), r.expr(e.Rhs)
	case *ast.ArithmeticOpExpr:
		e.Lhs, e.Rhs = r.expr(e.Lhs), r.expr(e.Rhs)
	case *ast.StringConcatOpExpr:
		return r.concat(e)
	case *ast.UnaryMinusOpExpr:
		e.Expr = r.expr(e.Expr)
	case *ast.UnaryNotOpExpr:
		e.Expr = r.expr(e.Expr)
	case *ast.UnaryLenOpExpr:
		e.Expr = r.expr(e.Expr)
	case *ast.FunctionExpr:
		outer := r.closures
		r.closures = 0
		e.Stmts = r.block(e.Stmts, max(e.Line(), 1))
		r.closures = outer + 1
	}
	return e
}

// maxOperands is how many operands one call joins; a longer chain is several.
const maxOperands = 50

// concat makes one call of a chain a .. b .. c.
func (r *rewriter) concat(e *ast.StringConcatOpExpr) ast.Expr {
	var args []ast.Expr
	var rest ast.Expr = e
	for len(args) < maxOperands {
		c, ok := rest.(*ast.StringConcatOpExpr)
		if !ok {
			break
		}
		args = append(args, single(r.expr(c.Lhs)))
		rest = c.Rhs
	}
	return calling(e.Line(), meterConcat, append(args, single(r.expr(rest)))...)
}

// single cuts what an expression yields to one value.
func single(e ast.Expr) ast.Expr {
	switch e := e.(type) {
	case *ast.FuncCallExpr:
		e.AdjustRet = true
	case *ast.Comma3Expr:
		e.AdjustRet = true
	}
	return e
}

func at(n ast.PositionHolder, line int) {
	n.SetLine(line)
	n.SetLastLine(line)
}

func ident(line int, name string) *ast.IdentExpr {
	e := &ast.IdentExpr{Value: name}
	at(e, line)
	return e
}

// calling calls a function for one value.
func calling(line int, name string, args ...ast.Expr) *ast.FuncCallExpr {
	for _, a := range args {
		if a.Line() == 0 {
			at(a, line)
		}
	}
	c := &ast.FuncCallExpr{Func: ident(line, name), Args: args, AdjustRet: true}
	at(c, line)
	return c
}

func statement(c *ast.FuncCallExpr) ast.Stmt {
	s := &ast.FuncCallStmt{Expr: c}
	at(s, c.Line())
	return s
}

// meter counts the octets that a call has made. What it has dropped since
// counts too.
type meter struct {
	left  int64
	limit int64
	kept  int64 // charged since the state was made: at most so much can be kept
}

func (m *meter) reset(limit int64) { m.left, m.limit = limit, limit }

func (m *meter) charge(L *lua.LState, octets int) {
	m.left -= int64(octets)
	m.kept += int64(octets)
	if m.left < 0 {
		L.RaiseError("memory: more than %s in one call", size(m.limit))
	}
}

// size writes a number of octets as people do.
func size(n int64) string {
	if n >= 1<<20 {
		return fmt.Sprintf("%d MB", n>>20)
	}
	return fmt.Sprintf("%d KB", n>>10)
}

// bind puts the functions into the environment of a script.
func (m *meter) bind(L *lua.LState, env *lua.LTable) {
	env.RawSetString(meterConcat, L.NewFunction(m.concat))
	env.RawSetString(meterSet, L.NewFunction(m.set))
	env.RawSetString(meterTable, L.NewFunction(m.table))
	env.RawSetString(meterClose, L.NewFunction(func(L *lua.LState) int {
		m.charge(L, int(lua.LVAsNumber(L.Get(1))))
		return 0
	}))
}

func (m *meter) concat(L *lua.LState) int {
	n := 0
	for i := 1; i <= L.GetTop(); i++ {
		switch v := L.Get(i).(type) {
		case lua.LString:
			n += len(v)
		case lua.LNumber:
			n += 24
		}
	}
	if n > maxString {
		L.RaiseError("..: result is longer than %d octets", maxString)
	}
	m.charge(L, n+costSlot)
	values := make([]lua.LValue, L.GetTop())
	for i := range values {
		values[i] = L.Get(i + 1)
	}
	L.Push(joined(L, values))
	return 1
}

// joined is a .. b .. c, with metamethods where a script has made some.
func joined(L *lua.LState, values []lua.LValue) lua.LValue {
	out := values[len(values)-1]
	for i := len(values) - 2; i >= 0; i-- {
		if lua.LVCanConvToString(out) {
			j := i
			for j >= 0 && lua.LVCanConvToString(values[j]) {
				j--
			}
			if j < i {
				out = lua.LString(L.Concat(append(values[j+1:i+1:i+1], out)...))
				i = j + 1
				continue
			}
		}
		out = metaConcat(L, values[i], out)
	}
	return out
}

func metaConcat(L *lua.LState, a, b lua.LValue) lua.LValue {
	op := L.GetMetaField(a, "__concat")
	if op.Type() != lua.LTFunction {
		op = L.GetMetaField(b, "__concat")
	}
	if op.Type() != lua.LTFunction {
		bad := a
		if lua.LVCanConvToString(a) {
			bad = b
		}
		L.RaiseError("attempt to concatenate a %s value", bad.Type())
	}
	L.Push(op)
	L.Push(a)
	L.Push(b)
	L.Call(2, 1)
	v := L.Get(-1)
	L.Pop(1)
	return v
}

// set is t[k] = v.
func (m *meter) set(L *lua.LState) int {
	t, k, v := L.Get(1), L.Get(2), L.Get(3)
	tab, ok := t.(*lua.LTable)
	if !ok {
		if t.Type() != lua.LTUserData {
			L.RaiseError("attempt to index a %s value", t.Type())
		}
		L.SetTable(t, k, v)
		return 0
	}
	m.charge(L, entryCost(tab, k))
	if tab.Metatable != lua.LNil {
		L.SetTable(tab, k, v)
		return 0
	}
	switch {
	case k == lua.LNil:
		L.RaiseError("table index is nil")
	case k.Type() == lua.LTNumber && k.(lua.LNumber) != k.(lua.LNumber):
		L.RaiseError("table index is NaN")
	}
	tab.RawSet(k, v)
	return 0
}

// entryCost is what an assignment takes: gopher-lua fills an array up to its
// index.
func entryCost(t *lua.LTable, k lua.LValue) int {
	n, ok := k.(lua.LNumber)
	if !ok || n < 1 || n >= maxArray {
		return costEntry
	}
	if gap := int(n) - t.MaxN(); gap > 1 {
		return costEntry + gap*costSlot
	}
	return costEntry
}

func (m *meter) table(L *lua.LState) int {
	t := L.CheckTable(1)
	m.charge(L, costTable+tableSize(t)*costEntry)
	L.Push(t)
	return 1
}

// tableSize is how many entries a table has that was just made.
func tableSize(t *lua.LTable) int {
	n := 0
	t.ForEach(func(lua.LValue, lua.LValue) { n++ })
	return n
}
