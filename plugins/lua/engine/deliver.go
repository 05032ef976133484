package engine

import (
	"context"
	"strings"

	lua "github.com/yuin/gopher-lua"

	"mtad/pipeline"
)

// deliveries are delivery rules.
var deliveries = []binding{
	{lib: "msg", name: "fileinto", args: "folder [, flags]", doc: "store the message in a folder, made if it is missing, with a list of flags; not in INBOX then, unless keep is called", at: atDeliver, facts: writes(pipeline.Effects), call: fileInto},
	{lib: "msg", name: "copy", args: "folder [, flags]", doc: "the same, and what else happens to the message is as if it were not there", at: atDeliver, facts: writes(pipeline.Effects), call: copyInto},
	{lib: "msg", name: "keep", args: "[flags]", doc: "store the message in INBOX too", at: atDeliver, facts: writes(pipeline.Effects),
		call: func(L *lua.LState, c *call) int { return mod(L, c, pipeline.FileInto{Flags: flags(L, 2)}) }},
	{lib: "msg", name: "redirect", args: "address [, copy]", doc: "send the message on; it is not stored then, unless copy is true, or keep or fileinto is called", at: atDeliver, facts: writes(pipeline.Effects), call: redirect},
	{lib: "msg", name: "set_flags", args: "flags", doc: "the flags of the message in the folder where it goes by itself", at: atDeliver, facts: writes(pipeline.Effects),
		call: func(L *lua.LState, c *call) int { return mod(L, c, pipeline.SetFlags{Flags: flags(L, 2)}) }},
	{lib: "msg", name: "vacation", args: "text [, options]", doc: "answer the sender, once in options.days (7; 1 to 365) for each text; options also has subject, from, and addresses, a list of further addresses that are yours. Returns whether an answer goes out, and if not, why: bulk mail, lists, other automata, mail that is not addressed to you get none (RFC 3834)", at: atDeliver,
		facts: access{pipeline.Envelope | pipeline.Header, pipeline.Effects}, call: vacation},
	{lib: "msg", name: "pipe", args: "command", doc: "give the message to a command that the option `commands` names, now, before the reply; returns its exit status and what it printed", at: withText,
		facts: access{pipeline.Header | pipeline.Body, pipeline.Effects}, call: pipe},
}

// maxFolder is as long as the name of a folder may be.
const maxFolder = 1000

// folder reads a folder's name. INBOX is "" to the pipeline.
func folder(L *lua.LState) string {
	name := L.CheckString(2)
	switch {
	case name == "" || badFolder(name):
		L.ArgError(2, "not a folder's name")
	case strings.EqualFold(name, "INBOX"):
		return ""
	}
	return name
}

// Bounds of a list of flags.
const (
	maxFlags = 100
	maxFlag  = 200 // octets
)

// flags reads an optional argument that is a string or a list of them.
func flags(L *lua.LState, n int) []string {
	list := stringList(L, n)
	if len(list) > maxFlags {
		L.ArgError(n, "more than 100 flags")
	}
	for _, f := range list {
		if badFlag(f) {
			L.ArgError(n, "not a flag: "+oneLine(f))
		}
	}
	return list
}

// stringList reads an argument that is missing, a string or a list of them.
func stringList(L *lua.LState, n int) []string {
	switch v := L.Get(n).(type) {
	case lua.LString:
		return []string{string(v)}
	case *lua.LTable:
		var out []string
		for i := 1; i <= min(v.Len(), maxMods); i++ {
			s, ok := v.RawGetInt(i).(lua.LString)
			if !ok {
				L.ArgError(n, "a string or a list of strings wanted")
			}
			out = append(out, string(s))
		}
		return out
	case *lua.LNilType:
		return nil
	}
	L.ArgError(n, "a string or a list of strings wanted")
	return nil
}

func fileInto(L *lua.LState, c *call) int {
	return mod(L, c, pipeline.FileInto{Folder: folder(L), Flags: flags(L, 3)})
}

func copyInto(L *lua.LState, c *call) int {
	return mod(L, c, pipeline.FileInto{Folder: folder(L), Flags: flags(L, 3), Copy: true})
}

func redirect(L *lua.LState, c *call) int {
	if c.redirects++; c.redirects > c.Limits.Redirects {
		L.RaiseError("msg:redirect: more than %d addresses", c.Limits.Redirects)
	}
	a := address(L, 2)
	if a.Domain == "" {
		L.ArgError(2, "an address without a domain: "+a.String())
	}
	return mod(L, c, pipeline.Redirect{Addr: a, Copy: L.OptBool(3, false)})
}

func pipe(L *lua.LState, c *call) int {
	name := L.CheckString(2)
	m := c.View.Message()
	if c.Host.Pipe == nil || m == nil {
		L.RaiseError("msg:pipe: there are no commands here: the option `commands` names them")
	}
	var out Output
	var err error
	c.outside(L, reachPipe, func(ctx context.Context) { out, err = c.Host.Pipe(ctx, name, m.Bytes()) })
	if err != nil {
		L.RaiseError("msg:pipe: %s: %v", name, err)
	}
	L.Push(lua.LNumber(out.Status))
	L.Push(text(out.Text))
	return 2
}
