package regex

import (
	"slices"

	"mtad/spam/regex/syntax"
)

// opcode is what an instruction does.
type opcode uint8

const (
	opMatch opcode = iota
	opByte
	opSet
	opString
	opFold    // a string of lower case, whatever the case of the text's ASCII letters
	opAssert  // n: the assertion
	opSplit   // x first, then y
	opAlt     // the alternatives, in order, that can start with the next byte
	opJump    // x
	opOpen    // group n starts here
	opClose   // group n ends here
	opUnset   // group n has matched nothing
	opKeep    // the match starts here
	opRun     // set, min to max times
	opStart   // registers of counted loop n
	opLoop    // head of counted loop n: body x, exit y
	opBarrier // y: where to go on if what comes fails, or -1
	opBehind  // back by max, then less, down to min
	opCommit  // of barrier n; sub says what then
	opBackref // refs
	opCond    // group n: x if set, else y
	opFail
)

// What opCommit does when it has cut what could be tried again.
const (
	commitGo     = iota // go on: atomic
	commitReturn        // go on where the barrier was: lookahead
	commitBehind        // the same, if this is where the barrier was
	commitFail          // negative lookahead
	commitFailBehind
)

// inst is one instruction.
type inst struct {
	op       opcode
	mode     syntax.Mode
	sub      uint8
	c        byte
	latin    bool
	n, x, y  int32
	min, max int32
	memo     int32 // row of the memo; -1: none
	within   int32 // the register of the innermost loop around that may be empty; -1: none
	set      *syntax.Charset
	setY     *syntax.Charset
	text     string
	more     *more // opBackref, opCond, opAlt
}

// more is what few instructions have.
type more struct {
	refs     []int
	branches []branch
}

// branch is one of several alternatives: where it is, and what it can start
// with.
type branch struct {
	first first
	pc    int32
}

// program is a compiled pattern.
type program struct {
	code      []inst
	groups    int // with group 0
	registers int
	memos     int // rows
	backrefs  bool
}

// Limits of a program.
const (
	maxUnroll  = 120    // instructions that a repetition may become
	maxProgram = 100000 // instructions
)

// compiler writes a program.
type compiler struct {
	program
	barriers int
	unsound  int   // places around where a memo would be wrong
	within   int32 // register of the innermost loop around that may be empty
	tooLarge bool
}

func compile(n *syntax.Node, groups int) (*program, bool) {
	c := &compiler{within: -1}
	c.groups = groups + 1
	c.registers = c.groups // of each group: where it was opened
	c.backrefs = n.Any(func(n *syntax.Node) bool { return n.Op == syntax.OpBackref || n.Op == syntax.OpCond && n.N >= 0 })
	if c.backrefs {
		c.unsound++
	}
	c.node(n, anyFirst)
	c.emit(inst{op: opMatch})
	c.code = slices.Clone(c.code) // without room for more
	return &c.program, !c.tooLarge
}

func (c *compiler) emit(i inst) int {
	if len(c.code) >= maxProgram {
		c.tooLarge = true
		return 0
	}
	i.memo, i.within = -1, c.within
	memoizes := i.op == opSplit || i.op == opAlt || i.op == opRun || i.op == opLoop
	if memoizes && c.unsound == 0 {
		i.memo = int32(c.memos)
		c.memos++
	}
	c.code = append(c.code, i)
	return len(c.code) - 1
}

func (c *compiler) here() int32 { return int32(len(c.code)) }

// node writes what n does; follow is what can come behind it.
func (c *compiler) node(n *syntax.Node, follow first) {
	if c.tooLarge {
		return
	}
	switch n.Op {
	case syntax.OpSet:
		c.set(n.Set)
	case syntax.OpCat:
		c.sequence(n.Subs, follow)
	case syntax.OpAlt:
		c.alternatives(n.Subs, follow)
	case syntax.OpRepeat:
		c.repeat(n, follow)
	case syntax.OpGroup:
		c.emit(inst{op: opOpen, n: int32(n.N)})
		c.node(n.Subs[0], follow)
		c.emit(inst{op: opClose, n: int32(n.N)})
	case syntax.OpAtomic:
		c.atomic(func() { c.node(n.Subs[0], anyFirst) })
	case syntax.OpAhead, syntax.OpBehind:
		c.look(n)
	case syntax.OpBackref:
		c.emit(inst{op: opBackref, more: &more{refs: n.Refs}, sub: fold(n.Fold), latin: n.Latin})
	case syntax.OpAssert:
		c.emit(inst{op: opAssert, n: int32(n.Assert)})
	case syntax.OpCond:
		c.conditional(n, follow)
	case syntax.OpKeep:
		c.emit(inst{op: opKeep})
	case syntax.OpFail:
		c.emit(inst{op: opFail})
	}
}

func fold(on bool) uint8 {
	if on {
		return 1
	}
	return 0
}

func (c *compiler) set(s syntax.Charset) {
	if b, ok := s.Only(); ok {
		c.emit(inst{op: opByte, c: b})
		return
	}
	c.emit(inst{op: opSet, set: &s})
}

// sequence writes nodes one after the other; runs of characters become
// strings.
func (c *compiler) sequence(subs []*syntax.Node, follow first) {
	after := follows(subs, follow)
	for i := 0; i < len(subs); {
		if text, op := stringOf(subs[i:]); len(text) > 1 {
			c.emit(inst{op: op, text: text})
			i += len(text)
			continue
		}
		c.node(subs[i], after[i])
		i++
	}
}

// stringOf is the longest string that nodes begin with: exact, or with letters
// of either case.
func stringOf(subs []*syntax.Node) (string, opcode) {
	var exact, either []byte
	for _, s := range subs {
		b, ok := byte(0), s.Op == syntax.OpSet
		if ok {
			b, ok = s.Set.Only()
		}
		if !ok {
			break
		}
		exact = append(exact, b)
	}
	for _, s := range subs {
		b, ok := eitherCase(s)
		if !ok {
			break
		}
		either = append(either, b)
	}
	if len(exact) >= len(either) {
		return string(exact), opString
	}
	return string(either), opFold
}

// eitherCase is the letter whose two cases are the node, or the byte that it
// is, if that is no letter.
func eitherCase(n *syntax.Node) (byte, bool) {
	if n.Op != syntax.OpSet {
		return 0, false
	}
	if b, ok := n.Set.Only(); ok {
		return b, syntax.SwapCase(b, false) == b
	}
	if n.Set.Size() != 2 {
		return 0, false
	}
	var b byte
	n.Set.Each(func(c byte) { b = c })
	return b, b != syntax.SwapCase(b, false) && b < 0x80 && n.Set.Has(syntax.SwapCase(b, false))
}

func (c *compiler) alternatives(subs []*syntax.Node, follow first) {
	if len(subs) > 2 {
		c.branches(subs, follow)
		return
	}
	split := c.emit(inst{op: opSplit, set: firstOf(subs[0], follow).pointer(), setY: firstOf(subs[1], follow).pointer()})
	c.code[split].x = c.here()
	c.node(subs[0], follow)
	end := c.emit(inst{op: opJump})
	c.code[split].y = c.here()
	c.node(subs[1], follow)
	c.code[end].x = c.here()
}

func (c *compiler) branches(subs []*syntax.Node, follow first) {
	alt := c.emit(inst{op: opAlt})
	branches := make([]branch, len(subs))
	ends := make([]int, len(subs))
	for i, s := range subs {
		branches[i] = branch{firstOf(s, follow), c.here()}
		c.node(s, follow)
		ends[i] = c.emit(inst{op: opJump})
	}
	c.code[alt].more = &more{branches: branches}
	for _, e := range ends {
		c.code[e].x = c.here()
	}
}

// atomic writes a body that is not tried again once it has matched.
func (c *compiler) atomic(body func()) {
	c.barriers++
	id := int32(c.barriers)
	c.emit(inst{op: opBarrier, n: id, y: -1})
	c.unsound++ // a place that led out once does so again, and then ends all within
	body()
	c.unsound--
	c.emit(inst{op: opCommit, n: id, sub: commitGo})
}

func (c *compiler) look(n *syntax.Node) {
	sub := uint8(commitReturn)
	switch {
	case n.Op == syntax.OpBehind && n.Not:
		sub = commitFailBehind
	case n.Op == syntax.OpBehind:
		sub = commitBehind
	case n.Not:
		sub = commitFail
	}
	barrier := c.lookBody(n, sub)
	if n.Not {
		c.code[barrier].y = c.here()
	}
}

// lookBody writes barrier, body and commit, and says where the barrier is.
func (c *compiler) lookBody(n *syntax.Node, sub uint8) int {
	c.barriers++
	id := int32(c.barriers)
	barrier := c.emit(inst{op: opBarrier, n: id, y: -1})
	c.unsound++
	if n.Op == syntax.OpBehind {
		c.emit(inst{op: opBehind, n: id, min: int32(n.Min), max: int32(n.Max)})
	}
	c.node(n.Subs[0], anyFirst)
	c.unsound--
	c.emit(inst{op: opCommit, n: id, sub: sub})
	return barrier
}

func (c *compiler) conditional(n *syntax.Node, follow first) {
	yes, no := n.Subs[len(n.Subs)-2], n.Subs[len(n.Subs)-1]
	var choose int
	if n.N >= 0 {
		choose = c.emit(inst{op: opCond, more: &more{refs: n.Refs}})
		c.code[choose].x = c.here()
	} else {
		look := n.Subs[0]
		if look.Not {
			yes, no = no, yes
		}
		sub := uint8(commitReturn)
		if look.Op == syntax.OpBehind {
			sub = commitBehind
		}
		choose = c.lookBody(look, sub)
	}
	c.node(yes, follow)
	end := c.emit(inst{op: opJump})
	c.code[choose].y = c.here()
	c.node(no, follow)
	c.code[end].x = c.here()
}
