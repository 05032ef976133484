package engine

import (
	"fmt"
	"slices"
	"strings"

	lua "github.com/yuin/gopher-lua"

	"mtad/pipeline"
)

// binding is one thing that scripts can name. The table of them is what is
// bound, what the reference is made of, and what a script is said to read and
// write.
type binding struct {
	lib   string // "msg", "dns"; "" for a function without one
	name  string
	args  string // of a function, as the reference shows them
	doc   string
	at    pipeline.Stages // where it can be called; 0 is everywhere
	facts access
	get   func(L *lua.LState, c *call) lua.LValue // of a field
	call  func(L *lua.LState, c *call) int        // of a function
}

// access is what a binding reads of a View and what it writes.
type access struct{ reads, writes pipeline.Facts }

func reads(f pipeline.Facts) access  { return access{reads: f} }
func writes(f pipeline.Facts) access { return access{writes: f} }

// Sets of stages for the table.
const (
	atDeliver  = pipeline.DeliveryStages
	withSender = pipeline.Stages(1<<pipeline.Mail | 1<<pipeline.Rcpt | 1<<pipeline.Data | 1<<pipeline.Message | 1<<pipeline.Queued)
	withText   = pipeline.Stages(1<<pipeline.Message | 1<<pipeline.Queued | 1<<pipeline.Deliver)
	beforeEnd  = pipeline.ListenerStages&^(1<<pipeline.Queued) | pipeline.DeliveryStages
)

// parts are the API's, in the order of the reference.
var parts = []struct {
	title string // "" for libraries, which have one each
	list  []binding
}{
	{"What `msg` has:", fieldsOf(readers)}, {"What `msg` can be asked:", callsOf(readers)},
	{"Verdicts:", verdicts}, {"Edits:", edits}, {"Delivery:", deliveries}, {"", libraries},
}

func fieldsOf(list []binding) []binding {
	return slices.DeleteFunc(slices.Clone(list), func(b binding) bool { return b.get == nil })
}

func callsOf(list []binding) []binding {
	return slices.DeleteFunc(slices.Clone(list), func(b binding) bool { return b.get != nil })
}

// bindings is the whole API.
func bindings() (out []binding) {
	for _, p := range parts {
		out = append(out, p.list...)
	}
	return out
}

// messages are what msg has, by name; functions is the rest.
var (
	messages  = index(func(b binding) bool { return b.lib == "msg" })
	functions = index(func(b binding) bool { return b.lib != "msg" })
)

func index(want func(binding) bool) map[string]binding {
	out := map[string]binding{}
	for _, b := range bindings() {
		if want(b) {
			out[strings.TrimPrefix(b.lib+"."+b.name, "msg.")] = b
		}
	}
	return out
}

// title is the binding as scripts write it.
func (b binding) title() string {
	switch {
	case b.get != nil:
		return b.lib + "." + b.name
	case b.lib == "msg":
		return "msg:" + b.name + "(" + b.args + ")"
	case b.lib == "":
		return b.name + "(" + b.args + ")"
	}
	return b.lib + "." + b.name + "(" + b.args + ")"
}

// usedBy reports whether a script whose strings are names can reach it.
func (b binding) usedBy(names map[string]bool) bool {
	return names[b.name] && (b.lib == "msg" || b.lib == "" || names[b.lib])
}

// factsOf is what a script may read and write that can name these.
func factsOf(names map[string]bool) (reads, writes pipeline.Facts) {
	for _, b := range bindings() {
		if b.usedBy(names) {
			reads |= b.facts.reads
			writes |= b.facts.writes
		}
	}
	return reads, writes
}

// function makes a binding's function for a state.
func (st *state) function(b binding) *lua.LFunction {
	return st.L.NewFunction(func(L *lua.LState) int {
		switch {
		case b.lib == "msg" && st.call.View == nil:
			L.RaiseError("%s: outside of a stage's function", b.title())
		case b.lib == "msg" && L.Get(1) != lua.LValue(st.msg):
			L.RaiseError("%s: call it with a colon, msg:%s", b.title(), b.name)
		case b.at != 0 && !b.at.Has(st.call.Stage):
			L.RaiseError("%s: only at %s", b.title(), b.at)
		}
		n := b.call(L, &st.call)
		st.pay(n)
		return n
	})
}

// pay charges for the strings and tables that a function returns.
func (st *state) pay(n int) {
	for i := range n {
		switch v := st.L.Get(-1 - i).(type) {
		case lua.LString:
			st.meter.charge(st.L, len(v))
		case *lua.LTable:
			st.meter.charge(st.L, treeSize(v, 4))
		}
	}
}

// treeSize is what a table with all in it takes, as deep as the API makes them.
func treeSize(t *lua.LTable, depth int) int {
	n := costTable
	t.ForEach(func(_, v lua.LValue) {
		n += costEntry
		switch v := v.(type) {
		case lua.LString:
			n += len(v)
		case *lua.LTable:
			if depth > 0 {
				n += treeSize(v, depth-1)
			}
		}
	})
	return n
}

// messageType is the metatable of the msg argument.
func messageType(L *lua.LState, st *state) *lua.LTable {
	methods := map[string]*lua.LFunction{}
	for name, b := range messages {
		if b.call != nil && b.usedBy(st.prog.names) {
			methods[name] = st.function(b)
		}
	}
	t := L.NewTable()
	t.RawSetString("__index", L.NewFunction(func(L *lua.LState) int {
		name := L.CheckString(2)
		if fn := methods[name]; fn != nil {
			L.Push(fn)
			return 1
		}
		b, ok := messages[name]
		switch {
		case !ok:
			L.RaiseError("msg has no field or method %q%s", name, nearest(name))
		case !b.usedBy(st.prog.names):
			L.RaiseError("msg.%s by a computed name: write it out, so that what the script reads is known", name)
		case st.call.View == nil:
			L.RaiseError("msg.%s outside of a stage's function", name)
		case b.at != 0 && !b.at.Has(st.call.Stage):
			L.RaiseError("msg.%s: only at %s", name, b.at)
		}
		L.Push(b.get(L, &st.call))
		st.pay(1)
		return 1
	}))
	t.RawSetString("__newindex", L.NewFunction(func(L *lua.LState) int {
		L.RaiseError("msg.%s can't be set: use a method such as msg:set_header", L.CheckString(2))
		return 0
	}))
	t.RawSetString("__metatable", lua.LString("message"))
	return t
}

// nearest is a hint at a name that may be meant.
func nearest(name string) string {
	for _, b := range bindings() {
		if b.lib == "msg" && len(name) > 3 && distance(b.name, name) <= 2 {
			return fmt.Sprintf("; did you mean %s?", b.title())
		}
	}
	return ""
}

// distance is how many letters differ (Levenshtein).
func distance(a, b string) int {
	if len(b) > 40 {
		return len(b)
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		last := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := last
			if a[i] != b[j] {
				cost++
			}
			last = row[j+1]
			row[j+1] = min(cost, row[j]+1, last+1)
		}
	}
	return row[len(b)]
}

// bindFunctions puts the API's libraries into the globals of a state, as far as
// the script can name them.
func (st *state) bindFunctions(g *lua.LTable) {
	for _, b := range functions {
		if !b.usedBy(st.prog.names) {
			continue
		}
		if b.lib == "" {
			g.RawSetString(b.name, st.function(b))
			continue
		}
		lib, ok := g.RawGetString(b.lib).(*lua.LTable)
		if !ok {
			lib = st.L.NewTable()
			g.RawSetString(b.lib, lib)
		}
		lib.RawSetString(b.name, st.function(b))
	}
}

// libraryNames are the tables that hold functions.
func libraryNames() []string {
	names := []string{"string", "table", "math"}
	for _, b := range libraries {
		if b.lib != "" && !slices.Contains(names, b.lib) {
			names = append(names, b.lib)
		}
	}
	return names
}

// Reference is the API as Markdown: a table for each part.
func Reference() string {
	var out strings.Builder
	for _, p := range parts {
		title := ""
		for _, b := range p.list {
			t := p.title
			switch {
			case t == "" && b.lib == "":
				t = "Recipes:"
			case t == "":
				t = "Library `" + b.lib + "`:"
			}
			if t != title {
				fmt.Fprintf(&out, "\n%s\n\n| | at | |\n|---|---|---|\n", t)
				title = t
			}
			at := b.at.String()
			if b.at == 0 {
				at = "all"
			}
			fmt.Fprintf(&out, "| `%s` | %s | %s |\n", b.title(), at, strings.ReplaceAll(b.doc, "|", `\|`))
		}
	}
	return strings.TrimPrefix(out.String(), "\n")
}
