package regex

import "mtad/spam/regex/syntax"

// repeat writes a repetition.
func (c *compiler) repeat(n *syntax.Node, follow first) {
	if n.Mode == syntax.Possessive && n.Subs[0].Op != syntax.OpSet {
		same := *n
		same.Mode = syntax.Greedy
		c.atomic(func() { c.repeat(&same, anyFirst) })
		return
	}
	body := n.Subs[0]
	if g, ok := simpleGroup(body); ok {
		c.emit(inst{op: opUnset, n: int32(g)})
	}
	lo, _ := body.Width()
	switch {
	case n.Max == 0:
	case body.Op == syntax.OpSet:
		c.run(n, follow)
	case lo == 0:
		c.counted(n, true)
	case n.Min <= 1 && n.Max == syntax.Infinite || c.unrollable(n):
		c.unrolled(n, follow)
	default:
		c.counted(n, false)
	}
}

// simpleGroup finds the group which is all of a repetition's body and has a
// fixed width: Perl forgets what such a group matched before when the
// repetition is entered again.
func simpleGroup(body *syntax.Node) (int, bool) {
	if body.Op != syntax.OpGroup {
		return 0, false
	}
	lo, hi := body.Width()
	nested := body.Subs[0].Any(func(n *syntax.Node) bool { return n.Op == syntax.OpGroup })
	return body.N, lo == hi && lo > 0 && !nested
}

func (c *compiler) run(n *syntax.Node, follow first) {
	set, mode := n.Subs[0].Set, n.Mode
	if follow.known && !set.Intersects(follow.set) {
		mode = syntax.Possessive // what follows cannot start with what would be given back
	}
	c.emit(inst{op: opRun, mode: mode, set: &set, setY: follow.pointer(), min: int32(n.Min), max: int32(n.Max)})
}

// size estimates the instructions that a node becomes.
func size(n *syntax.Node) int {
	total := 1
	if n.Op == syntax.OpGroup || n.Op == syntax.OpAtomic || n.Op == syntax.OpAhead || n.Op == syntax.OpBehind {
		total = 3
	}
	body := 0
	for _, s := range n.Subs {
		body += size(s)
	}
	if n.Op == syntax.OpRepeat && n.Subs[0].Op != syntax.OpSet {
		if t := copies(n, body); t <= maxUnroll {
			return t
		}
	}
	return total + body
}

// copies is how many instructions a repetition is as copies of its body, which
// has size instructions.
func copies(n *syntax.Node, size int) int {
	times := n.Max
	if times == syntax.Infinite {
		times = n.Min + 1
	}
	return syntax.Product(size+1, times)
}

func (c *compiler) unrollable(n *syntax.Node) bool {
	return copies(n, size(n.Subs[0])) <= maxUnroll
}

// unrolled writes the body as often as it must be there, and then a loop or as
// often as it may be. The body is never empty.
func (c *compiler) unrolled(n *syntax.Node, follow first) {
	body := n.Subs[0]
	again := firstOf(body, anyFirst)
	more := again.or(follow)
	least := n.Min
	if n.Max == syntax.Infinite && least > 0 {
		least--
	}
	for i := range least {
		next := more
		if i+1 < n.Min {
			next = again
		} else if n.Max == n.Min {
			next = follow
		}
		c.node(body, next)
	}
	switch {
	case n.Max != syntax.Infinite:
		c.optional(n, n.Max-n.Min, follow)
	case n.Min > 0:
		head := c.here()
		c.node(body, more)
		split := c.choice(n.Mode, again, follow)
		c.branch(split, n.Mode, head, c.here())
	default:
		split := c.choice(n.Mode, again, follow)
		head := c.here()
		c.node(body, more)
		c.emit(inst{op: opJump, x: int32(split)})
		c.branch(split, n.Mode, head, c.here())
	}
}

// choice writes a split between the body, which starts with again, and what is
// behind it.
func (c *compiler) choice(m syntax.Mode, again, follow first) int {
	if m == syntax.Lazy {
		again, follow = follow, again
	}
	return c.emit(inst{op: opSplit, set: again.pointer(), setY: follow.pointer()})
}

func (c *compiler) branch(split int, m syntax.Mode, body, exit int32) {
	if m == syntax.Lazy {
		body, exit = exit, body
	}
	if c.tooLarge {
		return
	}
	c.code[split].x, c.code[split].y = body, exit
}

// optional writes the body times times, each of which may be the last.
func (c *compiler) optional(n *syntax.Node, times int, follow first) {
	again := firstOf(n.Subs[0], anyFirst)
	splits := make([]int, times)
	bodies := make([]int32, times)
	for i := range times {
		splits[i] = c.choice(n.Mode, again, follow)
		bodies[i] = c.here()
		next := follow
		if i+1 < times {
			next = again.or(follow)
		}
		c.node(n.Subs[0], next)
	}
	for i, s := range splits {
		c.branch(s, n.Mode, bodies[i], c.here())
	}
}

// counted writes a loop that counts, and sees when its body was empty.
func (c *compiler) counted(n *syntax.Node, nullable bool) {
	register := int32(c.registers)
	c.registers += 2
	c.emit(inst{op: opStart, n: register})
	// How often the loop went round decides what comes: no memo then.
	counts := n.Min > 1 || n.Max != syntax.Infinite
	if counts {
		c.unsound++
	}
	outer := c.within
	if nullable {
		c.within = register + 1
	}
	head := c.emit(inst{op: opLoop, mode: n.Mode, n: register, min: int32(n.Min), max: int32(n.Max)})
	c.code[head].x = c.here()
	c.node(n.Subs[0], anyFirst)
	c.emit(inst{op: opJump, x: int32(head)})
	c.within = outer
	if counts {
		c.unsound--
	}
	c.code[head].y = c.here()
}
