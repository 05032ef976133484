package engine

import (
	"regexp"
	_ "time/tzdata" // a worker sees no files

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
	st.boundLibraries(g)
	st.bindFunctions(g)
	for _, name := range libraryNames() {
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

// boundLibraries replaces what has no bound, and makes pay what makes strings or
// fills tables.
func (st *state) boundLibraries(g *lua.LTable) {
	str, ok := g.RawGetString("string").(*lua.LTable)
	if !ok {
		return
	}
	for name, f := range boundedStrings {
		str.RawSetString(name, st.L.NewFunction(f))
	}
	str.RawSetString("gfind", lua.LNil)
	str.RawSetString("dump", lua.LNil)
	st.wrap(str, "format", boundFormat)
	for _, name := range []string{"rep", "gsub", "format", "lower", "upper", "reverse", "char"} {
		st.wrap(str, name, st.metered)
	}
	tab, ok := g.RawGetString("table").(*lua.LTable)
	if !ok {
		return
	}
	st.wrap(tab, "concat", boundConcat)
	st.wrap(tab, "concat", st.metered)
	st.wrap(tab, "insert", st.boundInsert)
	st.wrap(tab, "sort", boundSort)
}

// wrap puts another function in the place of a library's.
func (st *state) wrap(lib *lua.LTable, name string, with func(lua.LGFunction) lua.LGFunction) {
	if f, ok := lib.RawGetString(name).(*lua.LFunction); ok && f.IsG {
		lib.RawSetString(name, st.L.NewFunction(with(f.GFunction)))
	}
}

// metered charges for the strings that a function returns.
func (st *state) metered(f lua.LGFunction) lua.LGFunction {
	return func(L *lua.LState) int {
		n := f(L)
		st.pay(n)
		return n
	}
}

// boundInsert charges for the entry, and for the array up to it.
func (st *state) boundInsert(insert lua.LGFunction) lua.LGFunction {
	return func(L *lua.LState) int {
		k := lua.LNil
		if L.GetTop() > 2 {
			k = L.Get(2)
		}
		st.meter.charge(L, entryCost(L.CheckTable(1), k))
		return insert(L)
	}
}

// maxSort is how many entries a table has that can be sorted.
const maxSort = 100_000

func boundSort(sort lua.LGFunction) lua.LGFunction {
	return func(L *lua.LState) int {
		if n := L.CheckTable(1).Len(); n > maxSort {
			L.RaiseError("sort: more than %d entries", maxSort)
		}
		return sort(L)
	}
}

// boundConcat keeps table.concat to maxString octets.
func boundConcat(concat lua.LGFunction) lua.LGFunction {
	return func(L *lua.LState) int {
		t, sep := L.CheckTable(1), L.OptString(2, "")
		size := 0
		for i := max(L.OptInt(3, 1), 1); i <= min(L.OptInt(4, t.Len()), t.Len()) && size <= maxString; i++ {
			size += len(sep) + 24
			if s, ok := t.RawGetInt(i).(lua.LString); ok {
				size += len(s)
			}
		}
		if size > maxString || L.OptInt(4, t.Len()) > max(t.Len(), maxValues) {
			L.RaiseError("concat: result is longer than %d octets", maxString)
		}
		return concat(L)
	}
}

// linePrefix is how run-time errors begin.
var linePrefix = regexp.MustCompile(`^[^:\n]{1,200}:\d+:`)
