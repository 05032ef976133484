package lua

import (
	"fmt"
	"regexp"
	"strings"

	lua "github.com/yuin/gopher-lua"
)

// removed are the base functions that load code, reach outside, or let a script
// out of its environment.
var removed = []string{
	"dofile", "loadfile", "load", "loadstring", "require", "module", "collectgarbage", "print", "newproxy",
	"getfenv", "setfenv", "rawset", "_printregs", "_G",
}

// sandbox opens the libraries that are safe, and makes them so. It returns the
// table that the script's globals fall back on.
func sandbox(L *lua.LState, st *state) *lua.LTable {
	for _, lib := range []struct {
		name string
		open lua.LGFunction
	}{{lua.BaseLibName, lua.OpenBase}, {lua.TabLibName, lua.OpenTable}, {lua.StringLibName, lua.OpenString}, {lua.MathLibName, lua.OpenMath}} {
		L.Push(L.NewFunction(lib.open))
		L.Push(lua.LString(lib.name))
		L.Call(1, 0)
	}
	g := L.G.Global
	for _, name := range removed {
		g.RawSetString(name, lua.LNil)
	}
	boundLibraries(L, g)
	res := &regexps{compiled: map[string]*regexp.Regexp{}}
	re := L.NewTable()
	re.RawSetString("match", L.NewFunction(res.match))
	re.RawSetString("replace", L.NewFunction(res.replace))
	g.RawSetString("re", re)
	g.RawSetString("log", logLibrary(L, st))
	for _, name := range []string{"string", "table", "math", "re", "log"} {
		if lib, ok := g.RawGetString(name).(*lua.LTable); ok {
			g.RawSetString(name, readOnly(L, name, lib))
		}
	}
	if mt, ok := L.GetMetatable(lua.LString("")).(*lua.LTable); ok {
		mt.RawSetString("__metatable", lua.LString("string"))
	}
	return g
}

// readOnly stands for a library that no script may change: the next message
// would meet the change.
func readOnly(L *lua.LState, name string, lib *lua.LTable) *lua.LTable {
	meta := L.NewTable()
	meta.RawSetString("__index", lib)
	meta.RawSetString("__metatable", lua.LString(name))
	meta.RawSetString("__newindex", L.NewFunction(func(L *lua.LState) int {
		L.RaiseError("the library %s can't be changed", name)
		return 0
	}))
	proxy := L.NewTable()
	proxy.Metatable = meta
	return proxy
}

// boundLibraries replaces what has no bound.
func boundLibraries(L *lua.LState, g *lua.LTable) {
	str, ok := g.RawGetString("string").(*lua.LTable)
	if !ok {
		return
	}
	for name, f := range boundedStrings {
		str.RawSetString(name, L.NewFunction(f))
	}
	str.RawSetString("gfind", lua.LNil)
	str.RawSetString("dump", lua.LNil)
	if f, ok := str.RawGetString("format").(*lua.LFunction); ok && f.IsG {
		str.RawSetString("format", L.NewFunction(boundFormat(f.GFunction)))
	}
	if tab, ok := g.RawGetString("table").(*lua.LTable); ok {
		if f, ok := tab.RawGetString("concat").(*lua.LFunction); ok && f.IsG {
			tab.RawSetString("concat", L.NewFunction(boundConcat(f.GFunction)))
		}
	}
}

// boundConcat keeps table.concat to maxString octets.
func boundConcat(concat lua.LGFunction) lua.LGFunction {
	return func(L *lua.LState) int {
		t, sep := L.CheckTable(1), L.OptString(2, "")
		size := 0
		for i := 1; i <= t.Len() && size <= maxString; i++ {
			size += len(t.RawGetInt(i).String()) + len(sep)
		}
		if size > maxString {
			L.RaiseError("concat: result is longer than %d octets", maxString)
		}
		return concat(L)
	}
}

// logLibrary is log.info and its like; lines name the filter and the message.
func logLibrary(L *lua.LState, st *state) *lua.LTable {
	t := L.NewTable()
	line := func(L *lua.LState) string {
		var b strings.Builder
		for i := 1; i <= L.GetTop(); i++ {
			if i > 1 {
				b.WriteByte(' ')
			}
			b.WriteString(L.ToStringMeta(L.Get(i)).String())
		}
		return fmt.Sprintf("%.1000s", b.String())
	}
	t.RawSetString("debug", L.NewFunction(func(L *lua.LState) int { st.call.log.Debug(line(L), st.logID()...); return 0 }))
	t.RawSetString("info", L.NewFunction(func(L *lua.LState) int { st.call.log.Info(line(L), st.logID()...); return 0 }))
	t.RawSetString("warn", L.NewFunction(func(L *lua.LState) int { st.call.log.Warn(line(L), st.logID()...); return 0 }))
	return t
}

func (st *state) logID() []any {
	if st.call.view == nil {
		return nil
	}
	return []any{"id", st.call.view.ID().String(), "stage", st.call.stage.String()}
}
