package engine

import (
	"strings"

	lua "github.com/yuin/gopher-lua"

	"mtad/message"
	"mtad/pipeline"
	"mtad/smtp"
)

// verdicts are what a script can say of the session, the message, a recipient.
var verdicts = []binding{
	{lib: "msg", name: "reject", args: "text [, code [, enhanced]]", doc: "refuse for good; code is 550, or one from 500 to 599, enhanced \"5.7.1\", or one of class 5. A refusal made last wins", at: beforeEnd,
		call: func(L *lua.LState, c *call) int { return refuse(L, c, pipeline.Reject, 550) }},
	{lib: "msg", name: "tempfail", args: "text [, code [, enhanced]]", doc: "refuse for now; code is 451, or one from 400 to 499, enhanced \"4.7.1\"", at: beforeEnd,
		call: func(L *lua.LState, c *call) int { return refuse(L, c, pipeline.TempFail, 451) }},
	{lib: "msg", name: "disconnect", args: "text", doc: "refuse with 421 and close the connection", at: beforeEnd,
		call: func(L *lua.LState, c *call) int { return refuse(L, c, pipeline.Disconnect, 421) }},
	{lib: "msg", name: "discard", doc: "take the message and drop it; at deliver for this recipient", at: withSender | atDeliver,
		call: func(_ *lua.LState, c *call) int { c.verdict.Action = pipeline.Discard; return 0 }},
	{lib: "msg", name: "done", doc: "do not ask this filter again for this message (before mail: for this session)",
		call: func(_ *lua.LState, c *call) int { c.verdict.Action = pipeline.Done; return 0 }},
	{lib: "msg", name: "reject_rcpt", args: "address, text [, code]", doc: "refuse the message for one recipient", at: pipeline.At(pipeline.Message), facts: reads(pipeline.Envelope),
		call: func(L *lua.LState, c *call) int { return oneRcpt(L, c, pipeline.Reject, 550) }},
	{lib: "msg", name: "tempfail_rcpt", args: "address, text [, code]", doc: "refuse it for now for one recipient", at: pipeline.At(pipeline.Message), facts: reads(pipeline.Envelope),
		call: func(L *lua.LState, c *call) int { return oneRcpt(L, c, pipeline.TempFail, 451) }},
	{lib: "msg", name: "discard_rcpt", args: "address", doc: "drop it for one recipient", at: pipeline.At(pipeline.Message, pipeline.Queued), facts: reads(pipeline.Envelope),
		call: func(L *lua.LState, c *call) int { return oneRcpt(L, c, pipeline.Discard, 0) }},
	{lib: "msg", name: "note", args: "text", doc: "say why, in the trace; at most 1000 octets",
		call: func(L *lua.LState, c *call) int { c.verdict.Note = oneLine(L.CheckString(2)); return 0 }},
}

// edits change message, envelope and facts.
var edits = []binding{
	{lib: "msg", name: "add_score", args: "points, name [, detail]", doc: "add points to the sum that filter \"thresholds\" judges", facts: writes(pipeline.Scores), call: addScore},
	{lib: "msg", name: "set_tag", args: "name [, value]", doc: "leave a fact for later filters", facts: writes(pipeline.Tags), call: setTag},
	{lib: "msg", name: "add_result", args: "method, result [, reason]", doc: "add an authentication result, which Authentication-Results will show", at: beforeEnd &^ atDeliver, facts: writes(pipeline.AuthResults), call: addResult},
	{lib: "msg", name: "add_header", args: "name, value", doc: "add a field at the end of the header", at: withText, facts: access{pipeline.Header, pipeline.Header},
		call: func(L *lua.LState, c *call) int {
			return mod(L, c, pipeline.AddHeader{Name: fieldName(L), Value: fieldValue(L)})
		}},
	{lib: "msg", name: "insert_header", args: "name, value", doc: "add a field on top", at: withText, facts: access{pipeline.Header, pipeline.Header},
		call: func(L *lua.LState, c *call) int {
			return mod(L, c, pipeline.InsertHeader{Name: fieldName(L), Value: fieldValue(L)})
		}},
	{lib: "msg", name: "set_header", args: "name, value", doc: "change the first field of that name, or add one", at: withText, facts: access{pipeline.Header, pipeline.Header},
		call: func(L *lua.LState, c *call) int {
			return mod(L, c, pipeline.SetHeader{Name: fieldName(L), Value: fieldValue(L)})
		}},
	{lib: "msg", name: "remove_header", args: "name", doc: "remove every field of that name", at: withText, facts: access{pipeline.Header, pipeline.Header},
		call: func(L *lua.LState, c *call) int { return mod(L, c, pipeline.RemoveHeader{Name: fieldName(L)}) }},
	{lib: "msg", name: "replace_body", args: "octets", doc: "put another body, encoded as the header says, in place of all after the header; at most 1 MiB. Signatures break", at: withText, facts: access{pipeline.Body, pipeline.Body}, call: replaceBody},
	{lib: "msg", name: "set_sender", args: "address", doc: "change the reverse-path; \"\" is the null one", at: withSender, facts: writes(pipeline.Envelope), call: setSender},
	{lib: "msg", name: "add_rcpt", args: "address", doc: "add a recipient", at: withSender, facts: writes(pipeline.Envelope),
		call: func(L *lua.LState, c *call) int { return mod(L, c, pipeline.AddRecipient{Addr: address(L, 2)}) }},
	{lib: "msg", name: "remove_rcpt", args: "address", doc: "remove a recipient", at: withSender, facts: writes(pipeline.Envelope),
		call: func(L *lua.LState, c *call) int { return mod(L, c, pipeline.RemoveRecipient{Addr: address(L, 2)}) }},
	{lib: "msg", name: "hold", args: "reason", doc: "keep the message in the queue until it is released", at: withSender, facts: writes(pipeline.Envelope),
		call: func(L *lua.LState, c *call) int {
			return mod(L, c, pipeline.Hold{Reason: oneLine(L.CheckString(2))})
		}},
	{lib: "msg", name: "quarantine", args: "reason", doc: "keep the message from its recipients, for people to look at", at: withSender, facts: writes(pipeline.Envelope),
		call: func(L *lua.LState, c *call) int {
			return mod(L, c, pipeline.Quarantine{Reason: oneLine(L.CheckString(2))})
		}},
	{lib: "msg", name: "set_folder", args: "folder", doc: "the folder of mail that nothing files elsewhere", at: withSender | atDeliver, facts: writes(pipeline.Tags),
		call: func(L *lua.LState, c *call) int { return mod(L, c, pipeline.SetFolder{Folder: folder(L)}) }},
}

// maxReply is how much text a refusal has.
const maxReply = 400

func reply(L *lua.LState, n, class, def int) smtp.Reply {
	code := L.OptInt(n+1, def)
	if code/100 != class {
		L.ArgError(n+1, "the code must be one of class "+lua.LNumber(class).String())
	}
	why := oneLine(L.CheckString(n))
	for len(why) > maxReply || !printable(why) {
		why = shorten(why)
	}
	r := smtp.NewReply(code, 7, 1, why)
	if e := L.OptString(n+2, ""); e != "" {
		enhanced, ok := smtp.ParseCode(e)
		if !ok || enhanced[0] != class {
			L.ArgError(n+2, "not an enhanced status code of class "+lua.LNumber(class).String()+": "+e)
		}
		r.Enhanced = enhanced
	}
	return r
}

// printable reports whether a text can be said in a reply (RFC 5321, 4.2).
func printable(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' })
}

// shorten makes a text fit for a reply.
func shorten(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	return strings.TrimSpace(s[:min(len(s), maxReply)])
}

func oneLine(s string) string {
	return strings.Join(strings.Fields(s[:min(len(s), 1000)]), " ")
}

// refuse sets the verdict. What the script does afterwards changes nothing.
func refuse(L *lua.LState, c *call, a pipeline.Action, def int) int {
	c.verdict.Action, c.verdict.Reply = a, reply(L, 2, def/100, def)
	return 0
}

// oneRcpt is a verdict for the recipients of one address.
func oneRcpt(L *lua.LState, c *call, a pipeline.Action, def int) int {
	who := address(L, 2)
	v := pipeline.RcptVerdict{Action: a}
	if def != 0 {
		v.Reply = reply(L, 3, def/100, def)
	}
	found := false
	for _, r := range c.View.Rcpts() {
		if r.Addr.Equal(who) {
			v.Rcpt, found = r.ID, true
			bound(L, len(c.verdict.Rcpts))
			c.verdict.Rcpts = append(c.verdict.Rcpts, v)
		}
	}
	L.Push(lua.LBool(found))
	return 1
}

// maxMods bounds the edits of one call.
const maxMods = 1000

func bound(L *lua.LState, n int) {
	if n >= maxMods {
		L.RaiseError("more than %d edits in one call", maxMods)
	}
}

func mod(L *lua.LState, c *call, m pipeline.Modification) int {
	bound(L, len(c.verdict.Mods))
	c.meter.charge(L, costTable+len(m.String()))
	c.verdict.Mods = append(c.verdict.Mods, m)
	return 0
}

func addScore(L *lua.LState, c *call) int {
	return mod(L, c, pipeline.AddScore{Points: float64(L.CheckNumber(2)), Name: oneLine(L.CheckString(3)), Detail: oneLine(L.OptString(4, ""))})
}

// maxTag bounds the name and the value of a tag.
const maxTag = 4096

func setTag(L *lua.LState, c *call) int {
	m := pipeline.Tag{Name: L.CheckString(2), Value: L.OptString(3, "")}
	if m.Name == "" || len(m.Name)+len(m.Value) > maxTag {
		L.RaiseError("msg:set_tag: a tag has a name, and at most %d octets", maxTag)
	}
	return mod(L, c, m)
}

func addResult(L *lua.LState, c *call) int {
	r := pipeline.AuthResult{Method: L.CheckString(2), Result: L.CheckString(3), Reason: oneLine(L.OptString(4, ""))}
	if !keyword(r.Method) || !keyword(r.Result) {
		L.RaiseError("msg:add_result: method and result are keywords (RFC 8601, 2.2): letters, digits, hyphens")
	}
	return mod(L, c, pipeline.AddAuthResult{Result: r})
}

// keyword reports whether s is a Keyword of SMTP, as methods and results are.
func keyword(s string) bool {
	return s != "" && len(s) <= 64 && !strings.ContainsFunc(s, func(r rune) bool {
		return r != '-' && (r < '0' || r > '9') && (r|0x20 < 'a' || r|0x20 > 'z')
	})
}

func fieldName(L *lua.LState) string {
	name := L.CheckString(2)
	if !message.ValidFieldName(name) {
		L.ArgError(2, "not a header field name: "+oneLine(name))
	}
	return name
}

// maxField bounds a field that a script writes.
const maxField = 64 << 10

func fieldValue(L *lua.LState) string {
	v := L.CheckString(3)
	if len(v) > maxField {
		L.ArgError(3, "a field of more than 64 KiB")
	}
	return v
}

func replaceBody(L *lua.LState, c *call) int {
	b := L.CheckString(2)
	if len(b) > maxBody {
		L.RaiseError("msg:replace_body: more than 1 MiB")
	}
	return mod(L, c, pipeline.ReplaceBody{Body: message.FromBytes([]byte(b))})
}

// address reads an argument that is an address.
func address(L *lua.LState, n int) smtp.Address {
	s := L.CheckString(n)
	a, err := smtp.ParseAddress(s)
	if err != nil || a.Local == "" {
		L.ArgError(n, "not an address: "+oneLine(s))
	}
	return a
}

func setSender(L *lua.LState, c *call) int {
	if L.CheckString(2) == "" {
		return mod(L, c, pipeline.SetSender{})
	}
	return mod(L, c, pipeline.SetSender{Addr: address(L, 2)})
}
