package engine

import (
	"crypto/sha256"
	"encoding/hex"
	"time"

	lua "github.com/yuin/gopher-lua"

	"mtad/autoreply"
	"mtad/pipeline"
	"mtad/smtp"
)

// maxAnswer bounds the text of an automatic answer, in octets.
const maxAnswer = 32 << 10

// vacation answers the sender of the message as RFC 3834 and RFC 5230 have it.
func vacation(L *lua.LState, c *call) int {
	if c.answers++; c.answers > 1 {
		L.RaiseError("msg:vacation: one answer is enough")
	}
	body := L.CheckString(2)
	opts := L.OptTable(3, L.NewTable())
	if body == "" || len(body) > maxAnswer {
		L.ArgError(2, "a text of at most 32 KiB wanted")
	}
	days := 7
	if v, ok := opts.RawGetString("days").(lua.LNumber); ok {
		days = int(min(max(v, 1), 365))
	}
	own := []string{c.View.Mailbox().String(), c.View.Rcpt().Addr.String()}
	L.Push(opts.RawGetString("addresses"))
	own = append(own, stringList(L, L.GetTop())...)
	L.Pop(1)
	if why := autoreply.Refuse(c.View.Message().Header(), c.View.Sender(), own); why != "" {
		L.Push(lua.LFalse)
		L.Push(text(why))
		return 2
	}
	sum := sha256.Sum256([]byte(body))
	k := shortKey("v", c.View.Mailbox().Key(), c.View.Sender().Key(), hex.EncodeToString(sum[:8]))
	if c.add(L, k, 1, time.Duration(days)*24*time.Hour) > 1 {
		L.Push(lua.LFalse)
		L.Push(text("the sender had this answer already"))
		return 2
	}
	from := c.View.Mailbox()
	if s, ok := opts.RawGetString("from").(lua.LString); ok {
		a, err := smtp.ParseAddress(string(s))
		if err != nil || a.Domain == "" {
			L.ArgError(3, "from is not an address: "+oneLine(string(s)))
		}
		from = a
	}
	subject, _ := opts.RawGetString("subject").(lua.LString)
	host := c.View.Client().Hostname
	if host == "" {
		host = from.Domain
	}
	answer := autoreply.Reply{
		From: from.Path(), To: c.View.Sender(), Subject: string(subject), Body: body,
		About: c.View.Message().Header(), Host: host, Kind: "vacation", Now: c.clockTime(),
	}
	mod(L, c, pipeline.Respond{To: answer.To, Data: answer.Bytes(), Why: "vacation"})
	L.Push(lua.LTrue)
	return 1
}
