package lua

import (
	"strings"

	lua "github.com/yuin/gopher-lua"

	"mtad/message"
	"mtad/pipeline"
	"mtad/smtp"
)

// field is something a script reads: msg.name.
type field struct {
	name, doc string
	get       func(L *lua.LState, v *pipeline.View) lua.LValue
}

// method is something a script calls: msg:name(args).
type method struct {
	name, args, doc string
	call            func(L *lua.LState, c *call) int
}

// The API. README.md's reference lists the same, in the same order; a test
// holds them together.
var (
	fields = []field{
		{"id", "the transaction's ID, as replies and traces have it", func(_ *lua.LState, v *pipeline.View) lua.LValue { return text(v.ID().String()) }},
		{"client", "a table: addr, port, name (verified), reverse, helo, protocol, listener, trusted, early, user (logged in as), tls (version, or nil)", clientTable},
		{"sender", "the reverse-path; \"\" for bounces", func(_ *lua.LState, v *pipeline.View) lua.LValue { return text(v.Sender().String()) }},
		{"rcpts", "a list of the recipients' addresses", rcptList},
		{"rcpt", "at rcpt and deliver: the recipient", func(_ *lua.LState, v *pipeline.View) lua.LValue { return text(v.Rcpt().Addr.String()) }},
		{"mailbox", "at deliver: the address of the account", func(_ *lua.LState, v *pipeline.View) lua.LValue { return text(v.Mailbox().String()) }},
		{"command", "at unknown: the line", func(_ *lua.LState, v *pipeline.View) lua.LValue { return text(v.Command()) }},
		{"size", "octets of the message", messageSize},
		{"subject", "the decoded Subject; \"\" if there is none", func(_ *lua.LState, v *pipeline.View) lua.LValue { return text(header(v, "Subject")) }},
		{"from", "the address in From, in lower case", func(_ *lua.LState, v *pipeline.View) lua.LValue { return text(fromAddress(v)) }},
		{"score", "the points so far", func(_ *lua.LState, v *pipeline.View) lua.LValue { return lua.LNumber(v.Score()) }},
	}
	methods = []method{
		{"header", "name", "the decoded value of the first field of that name, or nil", getHeader},
		{"headers", "name", "a list of the decoded values of all fields of that name", getHeaders},
		{"body", "[limit]", "the text of the first text part, decoded; at most limit octets (65536)", getBody},
		{"parts", "", "a list of the MIME parts that are no multiparts: tables of type, filename, encoding, size (encoded octets)", getParts},
		{"tag", "name", "the value of a tag, \"\" if it has none, nil if it is not set", getTag},
		{"result", "method", "the result of an authentication method: \"pass\", \"fail\", ..., or nil", getResult},
		{"reject", "text [, code]", "refuse for good; code is 550, or an SMTP code from 500 to 599", func(L *lua.LState, c *call) int { return refuse(L, c, pipeline.Reject, 550) }},
		{"tempfail", "text [, code]", "refuse for now; code is 451, or one from 400 to 499", func(L *lua.LState, c *call) int { return refuse(L, c, pipeline.TempFail, 451) }},
		{"discard", "", "take the message and drop it", func(_ *lua.LState, c *call) int { c.verdict.Action = pipeline.Discard; return 0 }},
		{"done", "", "do not ask this filter again for this message (before mail: for this session)", func(_ *lua.LState, c *call) int { c.verdict.Action = pipeline.Done; return 0 }},
		{"note", "text", "say why, in the trace", func(L *lua.LState, c *call) int { c.verdict.Note = L.CheckString(2); return 0 }},
		{"add_score", "points, name [, detail]", "add points to the sum that filter \"thresholds\" judges", addScore},
		{"set_tag", "name [, value]", "leave a fact for later filters", setTag},
		{"add_header", "name, value", "add a field at the end of the header", addHeader},
		{"insert_header", "name, value", "add a field on top", insertHeader},
		{"set_header", "name, value", "change the first field of that name, or add one", setHeader},
		{"remove_header", "name", "remove every field of that name", removeHeader},
		{"set_sender", "address", "change the reverse-path", setSender},
		{"add_rcpt", "address", "add a recipient", addRcpt},
		{"remove_rcpt", "address", "remove a recipient", removeRcpt},
		{"hold", "reason", "keep the message in the queue until it is released", func(L *lua.LState, c *call) int { return mod(L, c, pipeline.Hold{Reason: L.CheckString(2)}) }},
		{"quarantine", "reason", "keep the message from its recipients", func(L *lua.LState, c *call) int { return mod(L, c, pipeline.Quarantine{Reason: L.CheckString(2)}) }},
		{"set_folder", "folder", "the folder of mail that nothing files elsewhere", func(L *lua.LState, c *call) int { return mod(L, c, pipeline.SetFolder{Folder: L.CheckString(2)}) }},
		{"fileinto", "folder [, flags]", "at deliver: store the message in a folder, made if it is missing, with a list of flags; not in INBOX then, unless keep is called", fileInto},
		{"keep", "[flags]", "at deliver: store the message in INBOX too", keep},
		{"redirect", "address", "at deliver: send the message on; it is not stored then, unless keep or fileinto is called", redirect},
		{"set_flags", "flags", "at deliver: the flags of the message in the folder where it goes by itself", func(L *lua.LState, c *call) int { return deliverOnly(L, c, pipeline.SetFlags{Flags: stringList(L, 2)}) }},
	}
)

func text(s string) lua.LValue { return lua.LString(s) }

// messageType is the metatable of the msg argument.
func messageType(L *lua.LState, st *state) *lua.LTable {
	byName := make(map[string]func(*lua.LState) lua.LValue, len(fields)+len(methods))
	for _, f := range fields {
		byName[f.name] = func(L *lua.LState) lua.LValue { return f.get(L, st.call.view) }
	}
	for _, m := range methods {
		fn := L.NewFunction(func(L *lua.LState) int {
			if st.call.view == nil || L.Get(1) != lua.LValue(st.msg) {
				L.RaiseError("msg:%s(%s): call it with a colon, inside a stage's function", m.name, m.args)
			}
			return m.call(L, &st.call)
		})
		byName[m.name] = func(*lua.LState) lua.LValue { return fn }
	}
	t := L.NewTable()
	t.RawSetString("__index", L.NewFunction(func(L *lua.LState) int {
		name := L.CheckString(2)
		get, ok := byName[name]
		if !ok {
			L.RaiseError("msg has no field or method %q", name)
		}
		if st.call.view == nil {
			L.RaiseError("msg.%s outside a stage's function", name)
		}
		L.Push(get(L))
		return 1
	}))
	t.RawSetString("__newindex", L.NewFunction(func(L *lua.LState) int {
		L.RaiseError("msg.%s can't be set: use a method such as msg:set_header", L.CheckString(2))
		return 0
	}))
	t.RawSetString("__metatable", lua.LString("message"))
	return t
}

func clientTable(L *lua.LState, v *pipeline.View) lua.LValue {
	c := v.Client()
	t := L.NewTable()
	if c.Addr.IsValid() {
		t.RawSetString("addr", text(c.Addr.Addr().String()))
		t.RawSetString("port", lua.LNumber(c.Addr.Port()))
	}
	for _, p := range [][2]string{{"name", c.Name}, {"reverse", c.Reverse}, {"helo", c.Helo}, {"protocol", c.Protocol}, {"listener", c.Listener}} {
		t.RawSetString(p[0], text(p[1]))
	}
	t.RawSetString("trusted", lua.LBool(c.Trusted))
	t.RawSetString("early", lua.LBool(c.Early))
	if c.Auth != nil {
		t.RawSetString("user", text(c.Auth.User))
	}
	if c.TLS != nil {
		t.RawSetString("tls", text(c.TLS.Version))
	}
	return t
}

func rcptList(L *lua.LState, v *pipeline.View) lua.LValue {
	t := L.CreateTable(len(v.Rcpts()), 0)
	for _, r := range v.Rcpts() {
		t.Append(text(r.Addr.String()))
	}
	return t
}

func messageSize(_ *lua.LState, v *pipeline.View) lua.LValue {
	if m := v.Message(); m != nil {
		return lua.LNumber(m.Size())
	}
	return lua.LNumber(v.SenderParams().Size)
}

// header is the decoded value of a field, "" before there is a message.
func header(v *pipeline.View, name string) string {
	if m := v.Message(); m != nil {
		value, _ := m.Header().Get(name)
		return message.DecodeText(value)
	}
	return ""
}

func fromAddress(v *pipeline.View) string {
	m := v.Message()
	if m == nil {
		return ""
	}
	value, _ := m.Header().Get("From")
	for _, a := range message.ParseAddressList(value) {
		if a.Mark == message.Mailbox {
			return strings.ToLower(a.String())
		}
	}
	return ""
}

func getHeader(L *lua.LState, c *call) int {
	name := L.CheckString(2)
	if m := c.view.Message(); m != nil {
		if value, ok := m.Header().Get(name); ok {
			L.Push(text(message.DecodeText(value)))
			return 1
		}
	}
	L.Push(lua.LNil)
	return 1
}

func getHeaders(L *lua.LState, c *call) int {
	name := L.CheckString(2)
	t := L.NewTable()
	if m := c.view.Message(); m != nil {
		for _, value := range m.Header().Values(name) {
			t.Append(text(message.DecodeText(value)))
		}
	}
	L.Push(t)
	return 1
}

// eachPart calls f for the leaves of the MIME tree until it returns false.
func eachPart(L *lua.LState, m *message.Message, f func(*message.Part) bool) {
	if m == nil {
		return
	}
	root, err := m.Structure()
	if err != nil {
		L.RaiseError("the message can not be read: %v", err)
	}
	root.Walk(func(p *message.Part) bool {
		if p.Type == "multipart" || p.Embedded != nil {
			return true
		}
		return f(p)
	})
}

// maxBody bounds what body returns.
const maxBody = 1 << 20

func getBody(L *lua.LState, c *call) int {
	limit := int64(min(max(L.OptInt(2, 64<<10), 0), maxBody))
	m := c.view.Message()
	out := ""
	eachPart(L, m, func(p *message.Part) bool {
		if p.Type != "text" {
			return true
		}
		var err error
		if out, err = m.Text(p, limit); err != nil {
			L.RaiseError("the message can not be read: %v", err)
		}
		return false
	})
	L.Push(text(out))
	return 1
}

func getParts(L *lua.LState, c *call) int {
	t := L.NewTable()
	eachPart(L, c.view.Message(), func(p *message.Part) bool {
		row := L.NewTable()
		row.RawSetString("type", text(p.Type+"/"+p.Subtype))
		row.RawSetString("filename", text(p.Filename()))
		row.RawSetString("encoding", text(p.Encoding))
		row.RawSetString("size", lua.LNumber(p.BodySize))
		t.Append(row)
		return true
	})
	L.Push(t)
	return 1
}

func getTag(L *lua.LState, c *call) int {
	if value, ok := c.view.Tag(L.CheckString(2)); ok {
		L.Push(text(value))
	} else {
		L.Push(lua.LNil)
	}
	return 1
}

func getResult(L *lua.LState, c *call) int {
	name := L.CheckString(2)
	var result lua.LValue = lua.LNil
	for _, r := range c.view.AuthResults() {
		if r.Method == name && (result == lua.LNil || r.Result == "pass") {
			result = text(r.Result)
		}
	}
	L.Push(result)
	return 1
}

// refuse sets the verdict. What the script does afterwards changes nothing.
func refuse(L *lua.LState, c *call, a pipeline.Action, def int) int {
	why, code := L.CheckString(2), L.OptInt(3, def)
	if code/100 != def/100 {
		L.ArgError(3, "the code must be of the class of "+lua.LNumber(def).String())
	}
	why = strings.Join(strings.Fields(why), " ")
	c.verdict.Action, c.verdict.Reply = a, smtp.NewReply(code, 7, 1, why)
	return 0
}

// maxMods bounds the edits of one call.
const maxMods = 1000

func mod(L *lua.LState, c *call, m pipeline.Modification) int {
	if len(c.verdict.Mods) >= maxMods {
		L.RaiseError("more than %d edits in one call", maxMods)
	}
	c.verdict.Mods = append(c.verdict.Mods, m)
	return 0
}

// deliverOnly is mod for what makes sense for a single recipient only.
func deliverOnly(L *lua.LState, c *call, m pipeline.Modification) int {
	if c.stage != pipeline.Deliver {
		L.RaiseError("%s: only at deliver, in the pipeline of local delivery", m)
	}
	return mod(L, c, m)
}

func addScore(L *lua.LState, c *call) int {
	return mod(L, c, pipeline.AddScore{Points: float64(L.CheckNumber(2)), Name: L.CheckString(3), Detail: L.OptString(4, "")})
}

func setTag(L *lua.LState, c *call) int {
	return mod(L, c, pipeline.Tag{Name: L.CheckString(2), Value: L.OptString(3, "")})
}

func fieldName(L *lua.LState) string {
	name := L.CheckString(2)
	if !message.ValidFieldName(name) {
		L.ArgError(1, "not a header field name: "+name)
	}
	return name
}

func addHeader(L *lua.LState, c *call) int {
	return mod(L, c, pipeline.AddHeader{Name: fieldName(L), Value: L.CheckString(3)})
}

func insertHeader(L *lua.LState, c *call) int {
	return mod(L, c, pipeline.InsertHeader{Name: fieldName(L), Value: L.CheckString(3)})
}

func setHeader(L *lua.LState, c *call) int {
	return mod(L, c, pipeline.SetHeader{Name: fieldName(L), Value: L.CheckString(3)})
}

func removeHeader(L *lua.LState, c *call) int {
	return mod(L, c, pipeline.RemoveHeader{Name: fieldName(L)})
}

// address reads an argument that is an address.
func address(L *lua.LState) smtp.Address {
	s := L.CheckString(2)
	a, err := smtp.ParseAddress(s)
	if err != nil {
		L.ArgError(1, "not an address: "+s)
	}
	return a
}

func setSender(L *lua.LState, c *call) int {
	if L.CheckString(2) == "" {
		return mod(L, c, pipeline.SetSender{})
	}
	return mod(L, c, pipeline.SetSender{Addr: address(L)})
}

func addRcpt(L *lua.LState, c *call) int { return mod(L, c, pipeline.AddRecipient{Addr: address(L)}) }

func removeRcpt(L *lua.LState, c *call) int {
	return mod(L, c, pipeline.RemoveRecipient{Addr: address(L)})
}

// stringList reads an optional argument that is a string or a list of them.
func stringList(L *lua.LState, n int) []string {
	switch v := L.Get(n).(type) {
	case lua.LString:
		return []string{string(v)}
	case *lua.LTable:
		var out []string
		v.ForEach(func(_, s lua.LValue) {
			if len(out) < 100 {
				out = append(out, s.String())
			}
		})
		return out
	case *lua.LNilType:
		return nil
	}
	L.ArgError(n-1, "a string or a list of strings wanted")
	return nil
}

func fileInto(L *lua.LState, c *call) int {
	return deliverOnly(L, c, pipeline.FileInto{Folder: L.CheckString(2), Flags: stringList(L, 3)})
}

func keep(L *lua.LState, c *call) int {
	return deliverOnly(L, c, pipeline.FileInto{Flags: stringList(L, 2)})
}

func redirect(L *lua.LState, c *call) int {
	return deliverOnly(L, c, pipeline.Redirect{Addr: address(L)})
}
