package engine

import (
	"regexp"
	"strings"

	lua "github.com/yuin/gopher-lua"
)

// maxString bounds what one string function may build, in octets.
const maxString = 8 << 20

// boundedStrings replaces the functions of the string library whose work or
// result has no bound.
var boundedStrings = map[string]lua.LGFunction{
	"find":   func(L *lua.LState) int { return find(L, true) },
	"match":  func(L *lua.LState) int { return find(L, false) },
	"gmatch": gmatch,
	"gsub":   gsub,
	"rep":    rep,
}

// pattern reads a pattern's anchor.
func anchor(pat string) (rest int, anchored bool) {
	if strings.HasPrefix(pat, "^") {
		return 1, true
	}
	return 0, false
}

// search looks for the first match from init on.
func search(m *matcher, init int) (start, end int) {
	p, anchored := anchor(m.pat)
	for s := init; s <= len(m.src); s++ {
		if e := m.try(s, p); e >= 0 {
			return s, e
		}
		if anchored || m.err != nil {
			break
		}
		m.budget--
	}
	return -1, -1
}

// find is string.find and string.match.
func find(L *lua.LState, positions bool) int {
	src, pat := L.CheckString(1), L.CheckString(2)
	init := start(L.OptInt(3, 1), len(src))
	if init > len(src) {
		L.Push(lua.LNil)
		return 1
	}
	if positions && (L.ToBool(4) || !strings.ContainsAny(pat, "^$*+?.([%-")) {
		i := strings.Index(src[init:], pat)
		if i < 0 {
			L.Push(lua.LNil)
			return 1
		}
		L.Push(lua.LNumber(init + i + 1))
		L.Push(lua.LNumber(init + i + len(pat)))
		return 2
	}
	m := newMatcher(src, pat)
	s, e := search(m, init)
	if m.err != nil {
		L.RaiseError("%v", m.err)
	}
	if s < 0 {
		L.Push(lua.LNil)
		return 1
	}
	if !positions {
		return pushCaptures(L, m, s, e, true)
	}
	L.Push(lua.LNumber(s + 1))
	L.Push(lua.LNumber(e))
	return 2 + pushCaptures(L, m, s, e, false)
}

// start turns a position as Lua counts, from 1 or from the end, into an offset.
func start(i, n int) int {
	switch {
	case i > 0:
		return i - 1
	case i == 0:
		return 0
	}
	return max(n+i, 0)
}

// pushCaptures pushes what was captured; the whole match if nothing was and
// whole is set.
func pushCaptures(L *lua.LState, m *matcher, s, e int, whole bool) int {
	if len(m.captures) == 0 && whole {
		L.Push(lua.LString(m.src[s:e]))
		return 1
	}
	for i := range m.captures {
		L.Push(captured(L, m, i))
	}
	return len(m.captures)
}

func captured(L *lua.LState, m *matcher, i int) lua.LValue {
	c := m.captures[i]
	switch c.length {
	case capturePosition:
		return lua.LNumber(c.start + 1)
	case captureOpen:
		L.RaiseError("unfinished capture")
	}
	return lua.LString(m.src[c.start : c.start+c.length])
}

func gmatch(L *lua.LState) int {
	m := newMatcher(L.CheckString(1), L.CheckString(2))
	at := 0
	L.Push(L.NewFunction(func(L *lua.LState) int {
		for at <= len(m.src) {
			s := at
			e := m.try(s, 0)
			if m.err != nil {
				L.RaiseError("%v", m.err)
			}
			m.budget--
			if e < 0 {
				at++
				continue
			}
			at = e
			if e == s {
				at++
			}
			return pushCaptures(L, m, s, e, true)
		}
		return 0
	}))
	return 1
}

func gsub(L *lua.LState) int {
	src, pat := L.CheckString(1), L.CheckString(2)
	repl := L.CheckAny(3)
	limit := L.OptInt(4, len(src)+1)
	m := newMatcher(src, pat)
	p, anchored := anchor(pat)
	var b strings.Builder
	n, s := 0, 0
	for n < limit {
		e := m.try(s, p)
		if m.err != nil {
			L.RaiseError("%v", m.err)
		}
		m.budget--
		if e >= 0 {
			n++
			b.WriteString(replacement(L, m, repl, s, e))
		}
		switch {
		case e > s:
			s = e
		case s < len(src):
			b.WriteByte(src[s])
			s++
		default:
			s++
		}
		if b.Len() > maxString {
			L.RaiseError("gsub: result is longer than %d octets", maxString)
		}
		if s > len(src) || anchored {
			break
		}
	}
	if s < len(src) {
		b.WriteString(src[s:])
	}
	L.Push(lua.LString(b.String()))
	L.Push(lua.LNumber(n))
	return 2
}

// replacement is what takes the place of one match.
func replacement(L *lua.LState, m *matcher, repl lua.LValue, s, e int) string {
	var v lua.LValue
	switch r := repl.(type) {
	case lua.LString:
		return expand(L, m, string(r), s, e)
	case lua.LNumber:
		return r.String()
	case *lua.LTable:
		v = L.GetTable(r, first(L, m, s, e))
	case *lua.LFunction:
		L.Push(r)
		n := pushCaptures(L, m, s, e, true)
		saved := append([]capture(nil), m.captures...)
		L.Call(n, 1)
		m.captures = saved
		v = L.Get(-1)
		L.Pop(1)
	default:
		L.ArgError(3, "string, table or function wanted")
	}
	if lua.LVIsFalse(v) {
		return m.src[s:e]
	}
	if !lua.LVCanConvToString(v) {
		L.RaiseError("invalid replacement value (a %s)", v.Type())
	}
	return v.String()
}

func first(L *lua.LState, m *matcher, s, e int) lua.LValue {
	if len(m.captures) == 0 {
		return lua.LString(m.src[s:e])
	}
	return captured(L, m, 0)
}

// expand puts captures in place of %0 to %9.
func expand(L *lua.LState, m *matcher, r string, s, e int) string {
	if strings.IndexByte(r, '%') < 0 {
		return r
	}
	var b strings.Builder
	for i := 0; i < len(r); i++ {
		if b.Len() > maxString {
			L.RaiseError("gsub: result is longer than %d octets", maxString)
		}
		if r[i] != '%' || i+1 == len(r) {
			b.WriteByte(r[i])
			continue
		}
		i++
		switch d := int(r[i] - '0'); {
		case !isDigit(r[i]):
			b.WriteByte(r[i])
		case d == 0 || d == 1 && len(m.captures) == 0:
			b.WriteString(m.src[s:e])
		case d <= len(m.captures):
			b.WriteString(captured(L, m, d-1).String())
		default:
			L.RaiseError("invalid capture index %%%d", d)
		}
	}
	return b.String()
}

func rep(L *lua.LState) int {
	s, n := L.CheckString(1), L.CheckInt(2)
	if n > 0 && len(s) > maxString/n {
		L.RaiseError("rep: result is longer than %d octets", maxString)
	}
	L.Push(lua.LString(strings.Repeat(s, max(n, 0))))
	return 1
}

// boundFormat keeps string.format to what Lua 5.1 takes: gopher-lua hands the
// format to Go's fmt, which can name an argument again and again (%[1]s) and
// take a width from one (%*d).
func boundFormat(format lua.LGFunction) lua.LGFunction {
	return func(L *lua.LState) int {
		f := L.CheckString(1)
		size := len(f)
		for i := 0; i < len(f); i++ {
			if f[i] != '%' {
				continue
			}
			verb := formatVerb.FindString(f[i:min(len(f), i+12)])
			if verb == "" {
				L.RaiseError("format: invalid option near %q", f[i:min(len(f), i+6)])
			}
			i += len(verb) - 1
			size += 120
		}
		for i := 2; i <= L.GetTop(); i++ {
			if s, ok := L.Get(i).(lua.LString); ok {
				size += 4 * len(s) // as %q may have it
			}
		}
		if size > 4*maxString {
			L.RaiseError("format: result is longer than %d octets", maxString)
		}
		return format(L)
	}
}

var formatVerb = regexp.MustCompile(`^%(?:%|[-+ #0]{0,5}[0-9]{0,2}(?:\.[0-9]{0,2})?[cdiouxXeEfgGqs])`)
