package regex

import (
	"slices"
	"sync"

	"mtad/spam/regex/syntax"
)

// frame is something to go back to, or to undo on the way back.
type frame struct {
	kind   uint8
	pc     int32
	pos    int32
	a      int32
	parked int32 // the old value, of what is undone
}

const (
	fTry     = iota // go on at pc, pos
	fCap            // caps[a] was parked
	fReg            // regs[a] was parked
	fAlt            // alternatives at pc from number a on
	fRun            // greedy run at pc: one less, down to a
	fMore           // lazy run at pc: one more
	fBody           // lazy loop at pc: the body after all
	fBarrier        // of number a
	fBehind         // lookbehind at pc: a less
)

// machine runs a program on a text. It holds no memory of one run that another
// would see.
type machine struct {
	prog    *program
	text    []byte
	from    int32 // \G
	keep    bool  // captures are wanted
	caps    []int32
	regs    []int32
	stack   []frame
	steps   int64
	limit   int64 // steps that this match may have
	memoAt  int64 // steps after which the memo is kept
	visited []uint64
	stride  int
}

var machines = sync.Pool{New: func() any { return new(machine) }}

// maxStack is how many frames a match may keep: 20 MiB.
const maxStack = 1 << 20

// maxMemo is the greatest size of a memo, in words of 64 bits.
const maxMemo = 1 << 17

func (m *machine) start(p *program, text []byte, from int, keep bool, limit int64) {
	m.prog, m.text, m.from = p, text, int32(from)
	m.keep = keep || p.backrefs
	m.caps = slices.Grow(m.caps[:0], 2*p.groups)[:2*p.groups]
	m.regs = slices.Grow(m.regs[:0], p.registers)[:p.registers]
	m.stack = m.stack[:0]
	m.steps, m.limit = 0, limit
	m.stride = len(text) + 1
	m.visited = m.visited[:0]
	m.memoAt = int64(len(text))*8 + 1000
	if p.memos == 0 || p.memos*m.stride > maxMemo*64 {
		m.memoAt = 1<<63 - 1
	}
}

// release forgets the text, and gives the machine back.
func (m *machine) release() {
	m.prog, m.text = nil, nil
	if cap(m.stack) > 1<<16 {
		m.stack = nil
	}
	machines.Put(m)
}

// seen marks a place of the program and the text, and says whether it was
// marked before: what failed once fails again. While the body of a loop has
// matched nothing yet, the loop's end depends on more than the place.
func (m *machine) seen(i *inst, pos int32) bool {
	if i.within >= 0 && m.regs[i.within] >= pos {
		return false
	}
	if len(m.visited) == 0 {
		words := (m.prog.memos*m.stride + 63) / 64
		m.visited = slices.Grow(m.visited, words)[:words]
		clear(m.visited)
	}
	at := int(i.memo)*m.stride + int(pos)
	bit := uint64(1) << (at & 63)
	was := m.visited[at>>6]&bit != 0
	m.visited[at>>6] |= bit
	return was
}

func (m *machine) push(kind uint8, pc, pos, a int32) {
	m.stack = append(m.stack, frame{kind: kind, pc: pc, pos: pos, a: a})
}

func (m *machine) setCap(n, to int32) {
	m.stack = append(m.stack, frame{kind: fCap, a: n, parked: m.caps[n]})
	m.caps[n] = to
}

func (m *machine) setReg(n, to int32) {
	m.stack = append(m.stack, frame{kind: fReg, a: n, parked: m.regs[n]})
	m.regs[n] = to
}

// at tries a match that starts at pos.
func (m *machine) at(pos int) (bool, error) {
	if m.keep {
		for i := range m.caps {
			m.caps[i] = -1
		}
	}
	m.caps[0] = int32(pos)
	m.stack = m.stack[:0]
	return m.run(int32(pos))
}

// run is the loop over instructions. Every case either goes on with the next
// turn of the loop, or leaves the switch, which means: back to what was pushed.
func (m *machine) run(pos int32) (bool, error) {
	var pc int32
	code, text := m.prog.code, m.text
	end := int32(len(text))
	for {
		if m.steps++; len(m.stack) > maxStack {
			return false, ErrBudget
		}
		i := &code[pc]
		ok := true
		switch i.op {
		case opByte:
			ok = pos < end && text[pos] == i.c
			pos++
			pc++
		case opSet:
			ok = pos < end && i.set.Has(text[pos])
			pos++
			pc++
		case opString:
			n := int32(len(i.text))
			ok = end-pos >= n && string(text[pos:pos+n]) == i.text
			pos += n
			pc++
		case opFold:
			n := int32(len(i.text))
			ok = end-pos >= n && equalFold(text[pos:pos+n], i.text)
			pos += n
			pc++
		case opAssert:
			ok = m.holds(syntax.Assertion(i.n), pos)
			pc++
		case opJump:
			pc = i.x
		case opSplit:
			pc, ok = m.split(i, pos)
		case opAlt:
			if m.steps > m.memoAt && i.memo >= 0 && m.seen(i, pos) {
				ok = false
				break
			}
			pc, ok = m.choose(i, pc, pos, 0)
		case opRun:
			pos, ok = m.span(i, pc, pos)
			pc++
		case opMatch:
			m.caps[1] = pos
			return true, nil
		default:
			pc, pos, ok = m.rare(i, pc, pos)
		}
		if ok {
			continue
		}
		if m.steps > m.limit {
			return false, ErrBudget
		}
		if pc, pos, ok = m.back(); !ok {
			return false, nil
		}
	}
}

// equalFold compares with a string of lower case.
func equalFold(text []byte, lower string) bool {
	for i := range len(lower) {
		if c := text[i]; c != lower[i] && (c^0x20 != lower[i] || lower[i]-'a' >= 26) {
			return false
		}
	}
	return true
}

// split chooses a branch; what cannot start with the next byte is not tried.
func (m *machine) split(i *inst, pos int32) (int32, bool) {
	if m.steps > m.memoAt && i.memo >= 0 && m.seen(i, pos) {
		return 0, false
	}
	var x, y bool
	if int(pos) < len(m.text) {
		c := m.text[pos]
		x = i.set == nil || i.set.Has(c)
		y = i.setY == nil || i.setY.Has(c)
	} else {
		x, y = i.set == nil, i.setY == nil
	}
	switch {
	case x && y:
		m.push(fTry, i.y, pos, 0)
		return i.x, true
	case x:
		return i.x, true
	}
	return i.y, y
}

// choose takes the first of the alternatives from number k on that can start
// with the next byte, and keeps the next such one for later.
func (m *machine) choose(i *inst, pc, pos, k int32) (int32, bool) {
	n := int32(len(i.more.branches))
	if k = i.possible(m.text, pos, k); k == n {
		return 0, false
	}
	if next := i.possible(m.text, pos, k+1); next < n {
		m.push(fAlt, pc, pos, next)
	}
	return i.more.branches[k].pc, true
}

// possible is the number of the next alternative, from k on, that can start at
// pos.
func (i *inst) possible(text []byte, pos, k int32) int32 {
	branches := i.more.branches
	for ; int(k) < len(branches); k++ {
		f := &branches[k].first
		if !f.known || int(pos) < len(text) && f.set.Has(text[pos]) {
			break
		}
	}
	return k
}

// span matches a repetition of one set. Not ok, it may have pushed what it
// found.
func (m *machine) span(i *inst, pc, pos int32) (int32, bool) {
	if m.steps > m.memoAt && i.memo >= 0 && m.seen(i, pos) {
		return 0, false
	}
	left := int32(len(m.text)) - pos
	if left < i.min {
		return 0, false
	}
	most := min(left, i.max)
	if i.mode == syntax.Lazy {
		most = i.min
	}
	set, text := i.set, m.text[pos:pos+most]
	n := 0
	for n < len(text) && set.Has(text[n]) {
		n++
	}
	m.steps += int64(n >> 4)
	to := pos + int32(n)
	switch {
	case int32(n) < i.min:
		return 0, false
	case i.mode == syntax.Lazy && i.min < i.max:
		m.push(fMore, pc, to, pos+min(left, i.max))
		return to, m.mayFollow(i, to)
	case i.mode == syntax.Greedy && int32(n) > i.min:
		m.push(fRun, pc, to+1, pos+i.min)
		return 0, false
	}
	return to, true
}

// mayFollow says whether what follows a run can start at pos.
func (m *machine) mayFollow(i *inst, pos int32) bool {
	return i.setY == nil || int(pos) < len(m.text) && i.setY.Has(m.text[pos])
}

// back goes back to what was pushed last and can be tried; not ok: nothing is
// left.
func (m *machine) back() (pc, pos int32, ok bool) {
	for n := len(m.stack) - 1; n >= 0; n = len(m.stack) - 1 {
		m.steps++
		f := &m.stack[n]
		switch f.kind {
		case fCap:
			m.caps[f.a] = f.parked
		case fReg:
			m.regs[f.a] = f.parked
		case fTry:
			m.stack = m.stack[:n]
			return f.pc, f.pos, true
		case fAlt:
			i, pc, pos, k := &m.prog.code[f.pc], f.pc, f.pos, f.a
			m.stack = m.stack[:n]
			pc, ok := m.choose(i, pc, pos, k)
			return pc, pos, ok
		case fRun:
			if pos, ok := m.less(f, n); ok {
				return f.pc + 1, pos, true
			}
			continue
		case fMore:
			if m.more(f) {
				return f.pc + 1, f.pos, true
			}
		case fBehind:
			f.a--
			if f.a >= m.prog.code[f.pc].min {
				return f.pc + 1, f.pos - f.a, true
			}
		case fBody:
			m.stack = m.stack[:n]
			i, pos := &m.prog.code[f.pc], f.pos
			m.enter(i, pos) // overwrites f
			return i.x, pos, true
		case fBarrier:
			if y := m.prog.code[f.pc].y; y >= 0 {
				m.stack = m.stack[:n]
				return y, f.pos, true
			}
		}
		m.stack = m.stack[:n]
	}
	return 0, 0, false
}

// less gives back a byte of a greedy run, or more until what follows can match;
// the frame goes when nothing is left to give.
func (m *machine) less(f *frame, n int) (int32, bool) {
	i := &m.prog.code[f.pc]
	pos, least := f.pos-1, f.a
	if set := i.setY; set != nil {
		text := m.text
		if pos == int32(len(text)) {
			pos--
		}
		for pos >= least && !set.Has(text[pos]) {
			pos--
		}
		m.steps += int64(f.pos-pos) >> 4
	}
	f.pos = pos
	if pos <= least {
		m.stack = m.stack[:n]
	}
	return pos, pos >= least
}

// more takes one byte into a lazy run, or more until what follows can match.
func (m *machine) more(f *frame) bool {
	i := &m.prog.code[f.pc]
	for pos := f.pos; pos < f.a && i.set.Has(m.text[pos]); {
		pos++
		if m.mayFollow(i, pos) {
			m.steps += int64(pos-f.pos) >> 4
			f.pos = pos
			return true
		}
	}
	m.steps += int64(f.a-f.pos) >> 4
	return false
}

// enter begins one more turn of a counted loop.
func (m *machine) enter(i *inst, pos int32) {
	m.setReg(i.n, m.regs[i.n]+1)
	m.setReg(i.n+1, pos)
}

// loop decides at the head of a counted loop. A turn that matched nothing is
// the last.
func (m *machine) loop(i *inst, pc, pos int32) (int32, bool) {
	count, last := m.regs[i.n], m.regs[i.n+1]
	switch {
	case count < i.min:
		m.enter(i, pos)
		return i.x, true
	case m.steps > m.memoAt && i.memo >= 0 && m.seen(i, pos):
		return 0, false
	case last == pos || count >= i.max:
		return i.y, true
	case i.mode == syntax.Lazy:
		m.push(fBody, pc, pos, 0)
		return i.y, true
	}
	m.push(fTry, i.y, pos, 0)
	m.enter(i, pos)
	return i.x, true
}

// rare are the instructions that run less often.
func (m *machine) rare(i *inst, pc, pos int32) (int32, int32, bool) {
	switch i.op {
	case opOpen:
		if m.keep {
			m.setReg(i.n, pos)
		}
	case opClose:
		if m.keep {
			m.setCap(2*i.n, m.regs[i.n])
			m.setCap(2*i.n+1, pos)
		}
	case opUnset:
		if m.keep && m.caps[2*i.n+1] >= 0 {
			m.setCap(2*i.n, -1)
			m.setCap(2*i.n+1, -1)
		}
	case opKeep:
		m.setCap(0, pos)
	case opStart:
		m.setReg(i.n, 0)
		m.setReg(i.n+1, -1)
	case opLoop:
		pc, ok := m.loop(i, pc, pos)
		return pc, pos, ok
	case opBarrier:
		m.push(fBarrier, pc, pos, i.n)
	case opBehind:
		m.push(fBehind, pc, pos, min(i.max, pos)+1)
		return 0, 0, false
	case opCommit:
		pos, ok := m.commit(i, pos)
		return pc + 1, pos, ok
	case opBackref:
		pos, ok := m.backref(i, pos)
		return pc + 1, pos, ok
	case opCond:
		if m.anySet(i.more.refs) {
			return i.x, pos, true
		}
		return i.y, pos, true
	default:
		return 0, 0, false
	}
	return pc + 1, pos, true
}

// commit drops what could be tried again since the barrier. What must be undone
// on the way back stays.
func (m *machine) commit(i *inst, pos int32) (int32, bool) {
	b := len(m.stack) - 1
	for m.stack[b].kind != fBarrier || m.stack[b].a != i.n {
		b--
	}
	m.steps += int64(len(m.stack)-b) >> 2
	start := m.stack[b].pos
	if (i.sub == commitBehind || i.sub == commitFailBehind) && pos != start {
		return 0, false
	}
	if i.sub == commitFail || i.sub == commitFailBehind {
		m.undo(b)
		return 0, false
	}
	kept := m.stack[:b]
	for _, f := range m.stack[b+1:] {
		if f.kind == fCap || f.kind == fReg {
			kept = append(kept, f)
		}
	}
	m.stack = kept
	if i.sub == commitGo {
		return pos, true
	}
	return start, true
}

// undo takes the stack back to n frames without trying anything.
func (m *machine) undo(n int) {
	for j := len(m.stack) - 1; j >= n; j-- {
		switch f := &m.stack[j]; f.kind {
		case fCap:
			m.caps[f.a] = f.parked
		case fReg:
			m.regs[f.a] = f.parked
		}
	}
	m.stack = m.stack[:n]
}

func (m *machine) anySet(groups []int) bool {
	for _, g := range groups {
		if g < m.prog.groups && m.caps[2*g+1] >= 0 {
			return true
		}
	}
	return false
}

// backref matches what a group matched; of groups with one name the first that
// is set.
func (m *machine) backref(i *inst, pos int32) (int32, bool) {
	for _, g := range i.more.refs {
		a, b := m.caps[2*g], m.caps[2*g+1]
		if b < 0 {
			continue
		}
		if int(b-a) > len(m.text)-int(pos) {
			return 0, false
		}
		m.steps += int64(b-a) >> 4
		was, is := m.text[a:b], m.text[pos:pos+b-a]
		for j := range was {
			if was[j] != is[j] && (i.sub == 0 || syntax.SwapCase(was[j], i.latin) != is[j]) {
				return 0, false
			}
		}
		return pos + b - a, true
	}
	return 0, false
}

// holds says whether an assertion holds at pos.
func (m *machine) holds(a syntax.Assertion, pos int32) bool {
	text, end := m.text, int32(len(m.text))
	switch a {
	case syntax.TextStart:
		return pos == 0
	case syntax.LineStart:
		return pos == 0 || pos < end && text[pos-1] == '\n'
	case syntax.TextEnd:
		return pos == end
	case syntax.LastEnd:
		return pos == end || pos == end-1 && text[pos] == '\n'
	case syntax.LineEnd:
		return pos == end || text[pos] == '\n'
	case syntax.From:
		return pos == m.from
	case syntax.LatinBoundary, syntax.LatinNoBoundary:
		return m.boundary(&wordsLatin, pos) == (a == syntax.LatinBoundary)
	}
	return m.boundary(&syntax.WordsASCII, pos) == (a == syntax.Boundary)
}

var wordsLatin = syntax.Words(syntax.RulesU)

func (m *machine) boundary(word *syntax.Charset, pos int32) bool {
	before := pos > 0 && word.Has(m.text[pos-1])
	after := int(pos) < len(m.text) && word.Has(m.text[pos])
	return before != after
}
