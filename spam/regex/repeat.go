package regex

// repeat writes a repetition.
func (c *compiler) repeat(n *node, follow first) {
	if n.mode == possessive && n.subs[0].kind != kSet {
		same := *n
		same.mode = greedy
		c.atomic(func() { c.repeat(&same, anyFirst) })
		return
	}
	body := n.subs[0]
	if g, ok := simpleGroup(body); ok {
		c.emit(inst{op: opUnset, n: int32(g)})
	}
	lo, _ := body.width()
	switch {
	case n.max == 0:
	case body.kind == kSet:
		c.run(n, follow)
	case lo == 0:
		c.counted(n, true)
	case n.min <= 1 && n.max == infinite || c.unrollable(n):
		c.unrolled(n, follow)
	default:
		c.counted(n, false)
	}
}

// simpleGroup finds the group which is all of a repetition's body and has a
// fixed width: Perl forgets what such a group matched before when the
// repetition is entered again.
func simpleGroup(body *node) (int, bool) {
	if body.kind != kGroup {
		return 0, false
	}
	lo, hi := body.width()
	nested := body.subs[0].any(func(n *node) bool { return n.kind == kGroup })
	return body.n, lo == hi && lo > 0 && !nested
}

func (c *compiler) run(n *node, follow first) {
	set, mode := n.subs[0].set, n.mode
	if follow.known && !set.intersects(follow.set) {
		mode = possessive // what follows cannot start with what would be given back
	}
	c.emit(inst{op: opRun, mode: mode, set: &set, setY: follow.pointer(), min: int32(n.min), max: int32(n.max)})
}

// size estimates the instructions that a node becomes.
func size(n *node) int {
	total := 1
	if n.kind == kGroup || n.kind == kAtomic || n.kind == kAhead || n.kind == kBehind {
		total = 3
	}
	body := 0
	for _, s := range n.subs {
		body += size(s)
	}
	if n.kind == kRepeat && n.subs[0].kind != kSet {
		if t := copies(n, body); t <= maxUnroll {
			return t
		}
	}
	return total + body
}

// copies is how many instructions a repetition is as copies of its body, which
// has size instructions.
func copies(n *node, size int) int {
	times := n.max
	if times == infinite {
		times = n.min + 1
	}
	return product(size+1, times)
}

func (c *compiler) unrollable(n *node) bool {
	return copies(n, size(n.subs[0])) <= maxUnroll
}

// unrolled writes the body as often as it must be there, and then a loop or as
// often as it may be. The body is never empty.
func (c *compiler) unrolled(n *node, follow first) {
	body := n.subs[0]
	again := firstOf(body, anyFirst)
	more := again.or(follow)
	least := n.min
	if n.max == infinite && least > 0 {
		least--
	}
	for i := range least {
		next := more
		if i+1 < n.min {
			next = again
		} else if n.max == n.min {
			next = follow
		}
		c.node(body, next)
	}
	switch {
	case n.max != infinite:
		c.optional(n, n.max-n.min, follow)
	case n.min > 0:
		head := c.here()
		c.node(body, more)
		split := c.choice(n.mode, again, follow)
		c.branch(split, n.mode, head, c.here())
	default:
		split := c.choice(n.mode, again, follow)
		head := c.here()
		c.node(body, more)
		c.emit(inst{op: opJump, x: int32(split)})
		c.branch(split, n.mode, head, c.here())
	}
}

// choice writes a split between the body, which starts with again, and what is
// behind it.
func (c *compiler) choice(m mode, again, follow first) int {
	if m == lazy {
		again, follow = follow, again
	}
	return c.emit(inst{op: opSplit, set: again.pointer(), setY: follow.pointer()})
}

func (c *compiler) branch(split int, m mode, body, exit int32) {
	if m == lazy {
		body, exit = exit, body
	}
	if c.tooLarge {
		return
	}
	c.code[split].x, c.code[split].y = body, exit
}

// optional writes the body times times, each of which may be the last.
func (c *compiler) optional(n *node, times int, follow first) {
	again := firstOf(n.subs[0], anyFirst)
	splits := make([]int, times)
	bodies := make([]int32, times)
	for i := range times {
		splits[i] = c.choice(n.mode, again, follow)
		bodies[i] = c.here()
		next := follow
		if i+1 < times {
			next = again.or(follow)
		}
		c.node(n.subs[0], next)
	}
	for i, s := range splits {
		c.branch(s, n.mode, bodies[i], c.here())
	}
}

// counted writes a loop that counts, and sees when its body was empty.
func (c *compiler) counted(n *node, nullable bool) {
	register := int32(c.registers)
	c.registers += 2
	c.emit(inst{op: opStart, n: register})
	// How often the loop went round decides what comes: no memo then.
	counts := n.min > 1 || n.max != infinite
	if counts {
		c.unsound++
	}
	outer := c.within
	if nullable {
		c.within = register + 1
	}
	head := c.emit(inst{op: opLoop, mode: n.mode, n: register, min: int32(n.min), max: int32(n.max)})
	c.code[head].x = c.here()
	c.node(n.subs[0], anyFirst)
	c.emit(inst{op: opJump, x: int32(head)})
	c.within = outer
	if counts {
		c.unsound--
	}
	c.code[head].y = c.here()
}
