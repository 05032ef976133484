package engine

import (
	"errors"
	"io"
	"strings"

	lua "github.com/yuin/gopher-lua"

	"mtad/message"
	"mtad/pipeline"
)

// readers are what msg has, and what it can be asked.
var readers = []binding{
	{lib: "msg", name: "id", doc: "the transaction's ID, as replies and traces have it", get: func(_ *lua.LState, c *call) lua.LValue { return text(c.View.ID().String()) }},
	{lib: "msg", name: "stage", doc: "the stage's name", get: func(_ *lua.LState, c *call) lua.LValue { return text(c.Stage.String()) }},
	{lib: "msg", name: "time", doc: "when the transaction began, in seconds since 1970; 0 before MAIL", get: sentTime},
	{lib: "msg", name: "client", doc: "a table: addr, port, name (verified), reverse, helo, esmtp, protocol, listener, hostname (ours), trusted, early", get: clientTable},
	{lib: "msg", name: "tls", doc: "nil, or a table: version, cipher, bits, server_name, subject, issuer, verified (the client's certificate)", get: tlsTable},
	{lib: "msg", name: "auth", doc: "nil, or a table: user (the account's address), mechanism", get: authTable},
	{lib: "msg", name: "sender", doc: "the reverse-path; \"\" for bounces", at: withSender | atDeliver, facts: reads(pipeline.Envelope), get: func(_ *lua.LState, c *call) lua.LValue { return text(c.View.Sender().String()) }},
	{lib: "msg", name: "params", doc: "of MAIL, a table: size, body, smtputf8, requiretls, envid, ret, and raw, the list as it came", at: withSender | atDeliver, facts: reads(pipeline.Envelope), get: paramTable},
	{lib: "msg", name: "rcpts", doc: "a list of the recipients' addresses", facts: reads(pipeline.Envelope), get: rcptList},
	{lib: "msg", name: "rcpt", doc: "the recipient in question", at: pipeline.At(pipeline.Rcpt, pipeline.Deliver), facts: reads(pipeline.Envelope), get: func(_ *lua.LState, c *call) lua.LValue { return text(c.View.Rcpt().Addr.String()) }},
	{lib: "msg", name: "detail", doc: "the recipient's detail, what follows \"+\"; \"\" if there is none", at: pipeline.At(pipeline.Rcpt, pipeline.Deliver), facts: reads(pipeline.Envelope), get: detail},
	{lib: "msg", name: "class", doc: "what the recipient is: local, alias, relay, unknown, denied", at: pipeline.At(pipeline.Rcpt, pipeline.Deliver), facts: reads(pipeline.Envelope), get: func(_ *lua.LState, c *call) lua.LValue { return text(string(c.View.Rcpt().Class)) }},
	{lib: "msg", name: "mailbox", doc: "the address of the account", at: atDeliver, get: func(_ *lua.LState, c *call) lua.LValue { return text(c.View.Mailbox().String()) }},
	{lib: "msg", name: "folder", doc: "where the message goes if nothing files it; \"\" is INBOX", at: withText, get: func(_ *lua.LState, c *call) lua.LValue { return text(c.View.Folder()) }},
	{lib: "msg", name: "command", doc: "the line", at: pipeline.At(pipeline.Unknown), get: func(_ *lua.LState, c *call) lua.LValue { return text(c.View.Command()) }},
	{lib: "msg", name: "size", doc: "octets of the message; before it is there, what MAIL announced", facts: reads(pipeline.Envelope | pipeline.Header | pipeline.Body), get: messageSize},
	{lib: "msg", name: "subject", doc: "the decoded Subject; \"\" if there is none", at: withText, facts: reads(pipeline.Header), get: func(_ *lua.LState, c *call) lua.LValue { return text(c.header("Subject")) }},
	{lib: "msg", name: "from", doc: "the address in From, in lower case; \"\" if there is none", at: withText, facts: reads(pipeline.Header), get: func(_ *lua.LState, c *call) lua.LValue { return text(c.fromAddress()) }},
	{lib: "msg", name: "score", doc: "the points so far", facts: reads(pipeline.Scores), get: func(_ *lua.LState, c *call) lua.LValue { return lua.LNumber(c.View.Score()) }},

	{lib: "msg", name: "header", args: "name", doc: "the decoded value of the first field of that name, or nil", at: withText, facts: reads(pipeline.Header), call: getHeader},
	{lib: "msg", name: "headers", args: "[name]", doc: "a list of the decoded values of all fields of that name; without one a list of tables with name and value", at: withText, facts: reads(pipeline.Header), call: getHeaders},
	{lib: "msg", name: "raw_header", args: "name", doc: "the first field of that name as it stands, folding and all, or nil", at: withText, facts: reads(pipeline.Header), call: rawHeader},
	{lib: "msg", name: "addresses", args: "name", doc: "the addresses in all fields of that name: a list of tables of address (lower case), name (decoded), local_part, domain", at: withText, facts: reads(pipeline.Header), call: getAddresses},
	{lib: "msg", name: "body", args: "[limit]", doc: "the text of the first text part in UTF-8; at most limit octets (65536; never more than 1 MiB)", at: withText, facts: reads(pipeline.Header | pipeline.Body), call: getBody},
	{lib: "msg", name: "raw_body", args: "[limit]", doc: "all after the header as it stands; at most limit octets (65536; never more than 1 MiB), and whether that is all", at: withText, facts: reads(pipeline.Body), call: rawBody},
	{lib: "msg", name: "parts", doc: "a list of the MIME parts that are no multiparts: tables of type, filename, disposition, charset, encoding, id, size (encoded octets)", at: withText, facts: reads(pipeline.Header | pipeline.Body), call: getParts},
	{lib: "msg", name: "part_text", args: "n [, limit]", doc: "the text of part n of that list in UTF-8; nil if it is no text; limits as body's", at: withText, facts: reads(pipeline.Header | pipeline.Body), call: partText},
	{lib: "msg", name: "part_data", args: "n [, limit]", doc: "the decoded octets of part n; limits as body's", at: withText, facts: reads(pipeline.Header | pipeline.Body), call: partData},
	{lib: "msg", name: "part_size", args: "n", doc: "how many octets part n has once decoded", at: withText, facts: reads(pipeline.Header | pipeline.Body), call: partSize},
	{lib: "msg", name: "result", args: "method", doc: "the result of an authentication method: \"pass\", \"fail\", ..., or nil; \"pass\" if any passed", facts: reads(pipeline.AuthResults), call: getResult},
	{lib: "msg", name: "results", doc: "a list of all results: tables of method, result, reason, step, props (a table such as { [\"header.d\"] = \"a.example\" })", facts: reads(pipeline.AuthResults), call: getResults},
	{lib: "msg", name: "scores", doc: "a list of the points so far: tables of step, name, points, detail", facts: reads(pipeline.Scores), call: getScores},
	{lib: "msg", name: "tag", args: "name", doc: "the value of a tag, \"\" if it has none, nil if it is not set", facts: reads(pipeline.Tags), call: getTag},
	{lib: "msg", name: "tags", doc: "a table of all tags", facts: reads(pipeline.Tags), call: getTags},
	{lib: "msg", name: "held", doc: "why the message is held, and why it is quarantined; nil for what it is not", call: getHeld},
}

func text(s string) lua.LValue { return lua.LString(s) }

// fill sets the fields of a table whose values are not empty.
func fill(L *lua.LState, pairs ...any) *lua.LTable {
	t := L.NewTable()
	for i := 0; i < len(pairs); i += 2 {
		name := pairs[i].(string)
		switch v := pairs[i+1].(type) {
		case string:
			t.RawSetString(name, text(v))
		case bool:
			t.RawSetString(name, lua.LBool(v))
		case int:
			t.RawSetString(name, lua.LNumber(v))
		case int64:
			t.RawSetString(name, lua.LNumber(v))
		case float64:
			t.RawSetString(name, lua.LNumber(v))
		case lua.LValue:
			t.RawSetString(name, v)
		}
	}
	return t
}

func sentTime(_ *lua.LState, c *call) lua.LValue {
	if t := c.View.Time(); !t.IsZero() {
		return lua.LNumber(t.Unix())
	}
	return lua.LNumber(0)
}

func clientTable(L *lua.LState, c *call) lua.LValue {
	in := c.View.Client()
	t := fill(L, "name", in.Name, "reverse", in.Reverse, "helo", in.Helo, "esmtp", in.ESMTP, "protocol", in.Protocol,
		"listener", in.Listener, "hostname", in.Hostname, "trusted", in.Trusted, "early", in.Early)
	if in.Addr.IsValid() {
		t.RawSetString("addr", text(in.Addr.Addr().String()))
		t.RawSetString("port", lua.LNumber(in.Addr.Port()))
	}
	return t
}

func tlsTable(L *lua.LState, c *call) lua.LValue {
	t := c.View.Client().TLS
	if t == nil {
		return lua.LNil
	}
	return fill(L, "version", t.Version, "cipher", t.Cipher, "bits", t.Bits, "server_name", t.ServerName,
		"subject", t.PeerSubject, "issuer", t.PeerIssuer, "verified", t.Verified)
}

func authTable(L *lua.LState, c *call) lua.LValue {
	a := c.View.Client().Auth
	if a == nil {
		return lua.LNil
	}
	return fill(L, "user", a.User, "mechanism", a.Mechanism)
}

func paramTable(L *lua.LState, c *call) lua.LValue {
	p := c.View.SenderParams()
	raw := L.NewTable()
	for _, s := range p.Raw {
		raw.Append(text(s))
	}
	return fill(L, "size", p.Size, "body", string(p.Body), "smtputf8", p.UTF8, "requiretls", p.RequireTLS,
		"envid", p.EnvelopeID, "ret", string(p.Return), "raw", raw)
}

func rcptList(L *lua.LState, c *call) lua.LValue {
	t := L.CreateTable(len(c.View.Rcpts()), 0)
	for _, r := range c.View.Rcpts() {
		t.Append(text(r.Addr.String()))
	}
	return t
}

func detail(_ *lua.LState, c *call) lua.LValue {
	_, d, _ := strings.Cut(c.View.Rcpt().Addr.Local, "+")
	return text(d)
}

func messageSize(_ *lua.LState, c *call) lua.LValue {
	if m := c.View.Message(); m != nil {
		return lua.LNumber(m.Size())
	}
	return lua.LNumber(c.View.SenderParams().Size)
}

// header is the decoded value of a field, "" if there is none.
func (c *call) header(name string) string {
	if m := c.View.Message(); m != nil {
		value, _ := m.Header().Get(name)
		return message.DecodeText(value)
	}
	return ""
}

// fields are the undecoded values of all fields of a name.
func (c *call) fields(name string) []string {
	if m := c.View.Message(); m != nil {
		return m.Header().Values(name)
	}
	return nil
}

func (c *call) fromAddress() string {
	for _, v := range c.fields("From") {
		for _, a := range message.ParseAddressList(v) {
			if a.Mark == message.Mailbox {
				return strings.ToLower(a.String())
			}
		}
	}
	return ""
}

func getHeader(L *lua.LState, c *call) int {
	if values := c.fields(L.CheckString(2)); len(values) > 0 {
		L.Push(text(message.DecodeText(values[0])))
	} else {
		L.Push(lua.LNil)
	}
	return 1
}

func getHeaders(L *lua.LState, c *call) int {
	name := L.OptString(2, "")
	t := L.NewTable()
	if m := c.View.Message(); m != nil && name == "" {
		for _, f := range m.Header().Fields() {
			t.Append(fill(L, "name", f.Name, "value", message.DecodeText(f.Value())))
		}
	}
	if name != "" {
		for _, value := range c.fields(name) {
			t.Append(text(message.DecodeText(value)))
		}
	}
	L.Push(t)
	return 1
}

func rawHeader(L *lua.LState, c *call) int {
	L.Push(lua.LNil)
	if m := c.View.Message(); m != nil {
		if f, ok := m.Header().First(L.CheckString(2)); ok {
			L.Pop(1)
			L.Push(text(string(f.Raw)))
		}
	}
	return 1
}

func getAddresses(L *lua.LState, c *call) int {
	t := L.NewTable()
	for _, value := range c.fields(L.CheckString(2)) {
		for _, a := range message.ParseAddressList(value) {
			if a.Mark == message.Mailbox {
				t.Append(fill(L, "address", strings.ToLower(a.String()), "name", message.DecodeText(a.Name), "local_part", a.Local, "domain", strings.ToLower(a.Domain)))
			}
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
		unreadable(L, err)
	}
	root.Walk(func(p *message.Part) bool {
		if p.Type == "multipart" || p.Embedded != nil {
			return true
		}
		return f(p)
	})
}

func unreadable(L *lua.LState, err error) { L.RaiseError("the message can not be read: %v", err) }

// maxBody bounds what body and its like return.
const maxBody = 1 << 20

func limit(L *lua.LState, n int) int64 {
	return int64(min(max(L.OptInt(n, 64<<10), 0), maxBody))
}

func getBody(L *lua.LState, c *call) int {
	n, out := limit(L, 2), ""
	m := c.View.Message()
	eachPart(L, m, func(p *message.Part) bool {
		if p.Type != "text" {
			return true
		}
		out = decodedText(L, m, p, n)
		return false
	})
	L.Push(text(out))
	return 1
}

func decodedText(L *lua.LState, m *message.Message, p *message.Part, n int64) string {
	out, err := m.Text(p, n)
	if err != nil {
		unreadable(L, err)
	}
	return out
}

func rawBody(L *lua.LState, c *call) int {
	n := limit(L, 2)
	m := c.View.Message()
	if m == nil {
		L.Push(text(""))
		L.Push(lua.LTrue)
		return 2
	}
	b := m.Body()
	data, err := message.ReadAll(message.Section(b, 0, n))
	if err != nil {
		unreadable(L, err)
	}
	L.Push(text(string(data)))
	L.Push(lua.LBool(b.Size() <= n))
	return 2
}

func getParts(L *lua.LState, c *call) int {
	t := L.NewTable()
	eachPart(L, c.View.Message(), func(p *message.Part) bool {
		charset := ""
		for _, q := range p.Params {
			if q.Name == "charset" {
				charset = q.Value
			}
		}
		t.Append(fill(L, "type", p.Type+"/"+p.Subtype, "filename", p.Filename(), "disposition", p.Disposition,
			"charset", strings.ToLower(charset), "encoding", p.Encoding, "id", p.ID, "size", p.BodySize))
		return true
	})
	L.Push(t)
	return 1
}

// part is the nth of the list that parts returns.
func part(L *lua.LState, c *call) (*message.Message, *message.Part) {
	n := L.CheckInt(2)
	left, found := n, (*message.Part)(nil)
	m := c.View.Message()
	eachPart(L, m, func(p *message.Part) bool {
		if left--; left == 0 {
			found = p
		}
		return left > 0
	})
	if found == nil {
		L.RaiseError("the message has no part %d", n)
	}
	return m, found
}

func partText(L *lua.LState, c *call) int {
	m, p := part(L, c)
	if p.Type != "text" {
		L.Push(lua.LNil)
		return 1
	}
	L.Push(text(decodedText(L, m, p, limit(L, 3))))
	return 1
}

func partData(L *lua.LState, c *call) int {
	m, p := part(L, c)
	data, err := io.ReadAll(io.LimitReader(m.Decoded(p), limit(L, 3)))
	if err != nil {
		unreadable(L, err)
	}
	L.Push(text(string(data)))
	return 1
}

// partSize reads the part to its end, unless the script's time is over before.
func partSize(L *lua.LState, c *call) int {
	m, p := part(L, c)
	r := m.Decoded(p)
	var n int64
	for {
		k, err := io.CopyN(io.Discard, r, 1<<20)
		n += k
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			unreadable(L, err)
		}
		if err := c.clock.ctx.Err(); err != nil {
			L.RaiseError("%v", err)
		}
	}
	L.Push(lua.LNumber(n))
	return 1
}

func getResult(L *lua.LState, c *call) int {
	name := L.CheckString(2)
	var result lua.LValue = lua.LNil
	for _, r := range c.View.AuthResults() {
		if r.Method == name && (result == lua.LNil || r.Result == "pass") {
			result = text(r.Result)
		}
	}
	L.Push(result)
	return 1
}

func getResults(L *lua.LState, c *call) int {
	t := L.NewTable()
	for _, r := range c.View.AuthResults() {
		props := L.NewTable()
		for _, p := range r.Props {
			props.RawSetString(p.Type+"."+p.Name, text(p.Value))
		}
		t.Append(fill(L, "method", r.Method, "result", r.Result, "reason", r.Reason, "step", r.Step, "props", props))
	}
	L.Push(t)
	return 1
}

func getScores(L *lua.LState, c *call) int {
	t := L.NewTable()
	for _, s := range c.View.Scores() {
		t.Append(fill(L, "step", s.Step, "name", s.Name, "points", s.Points, "detail", s.Detail))
	}
	L.Push(t)
	return 1
}

func getTag(L *lua.LState, c *call) int {
	if value, ok := c.View.Tag(L.CheckString(2)); ok {
		L.Push(text(value))
	} else {
		L.Push(lua.LNil)
	}
	return 1
}

func getTags(L *lua.LState, c *call) int {
	t := L.NewTable()
	for _, tag := range c.View.Tags() {
		t.RawSetString(tag.Name, text(tag.Value))
	}
	L.Push(t)
	return 1
}

func getHeld(L *lua.LState, c *call) int {
	hold, quarantine := c.View.Held()
	for _, s := range []string{hold, quarantine} {
		if s == "" {
			L.Push(lua.LNil)
		} else {
			L.Push(text(s))
		}
	}
	return 2
}
