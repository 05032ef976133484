package engine

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"mime"
	"mime/quotedprintable"
	"strings"
	"time"

	lua "github.com/yuin/gopher-lua"

	"mtad/message"
	"mtad/pipeline"
	"mtad/smtp"
)

// Bounds of an automatic answer.
const (
	maxAnswer  = 32 << 10
	maxSubject = 500
)

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
	if why := c.noAnswer(own); why != "" {
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
	mod(L, c, pipeline.Respond{To: c.View.Sender(), Data: c.answer(from, string(subject), body), Why: "vacation"})
	L.Push(lua.LTrue)
	return 1
}

// noAnswer says why the message gets no automatic answer (RFC 3834, 2; RFC 5230,
// 4.5 and 4.6), "" if it may get one.
func (c *call) noAnswer(own []string) string {
	sender := c.View.Sender()
	local := strings.ToLower(sender.Local)
	switch {
	case local == "" || sender.Domain == "":
		return "there is nobody to answer"
	case local == "mailer-daemon" || local == "listserv" || local == "majordomo" ||
		strings.HasPrefix(local, "owner-") || strings.HasSuffix(local, "-request") || strings.HasSuffix(local, "-owner") ||
		strings.HasPrefix(local, "bounce") || strings.HasPrefix(local, "noreply") || strings.HasPrefix(local, "no-reply"):
		return "the sender is no person"
	}
	for _, o := range own {
		if strings.EqualFold(o, sender.String()) {
			return "it is one's own"
		}
	}
	for _, f := range []string{"List-Id", "List-Post", "List-Help", "List-Subscribe", "List-Unsubscribe", "List-Owner", "List-Archive"} {
		if len(c.fields(f)) > 0 {
			return "it came by a list"
		}
	}
	if v := c.header("Auto-Submitted"); v != "" && !strings.EqualFold(strings.TrimSpace(v), "no") {
		return "it is an automatic answer itself"
	}
	switch strings.ToLower(c.header("Precedence")) {
	case "bulk", "list", "junk":
		return "it is bulk mail"
	}
	for _, name := range []string{"To", "Cc", "Bcc", "Resent-To", "Resent-Cc", "Resent-Bcc"} {
		for _, v := range c.fields(name) {
			for _, a := range message.ParseAddressList(v) {
				for _, o := range own {
					if a.Mark == message.Mailbox && o != "" && strings.EqualFold(a.String(), o) {
						return ""
					}
				}
			}
		}
	}
	return "it is not addressed to this account"
}

// answer is the whole message.
func (c *call) answer(from smtp.Address, subject, body string) []byte {
	if subject == "" {
		subject = "Auto: " + c.header("Subject")
	}
	subject = oneLine(validUTF8(subject))
	if len(subject) > maxSubject {
		subject = validUTF8(subject[:maxSubject])
	}
	now := c.clockTime()
	host := c.View.Client().Hostname
	if host == "" {
		host = from.Domain
	}
	var b strings.Builder
	field := func(name, value string) { b.Write(message.FormatField(name, value)) }
	field("From", from.Path())
	field("To", c.View.Sender().Path())
	field("Subject", mime.QEncoding.Encode("utf-8", subject))
	field("Date", now.Format(time.RFC1123Z))
	field("Message-ID", fmt.Sprintf("<%s.vacation.%s@%s>", c.View.ID(), message.NewID(now), host))
	if id := oneLine(c.header("Message-ID")); strings.HasPrefix(id, "<") && printable(id) {
		field("In-Reply-To", id)
		field("References", id)
	}
	field("Auto-Submitted", "auto-replied (vacation)")
	field("MIME-Version", "1.0")
	field("Content-Type", "text/plain; charset=utf-8")
	field("Content-Transfer-Encoding", "quoted-printable")
	b.WriteString("\r\n")
	w := quotedprintable.NewWriter(&b)
	lines := strings.ReplaceAll(strings.ReplaceAll(validUTF8(body), "\r\n", "\n"), "\n", "\r\n")
	_, _ = w.Write([]byte(lines)) // a Builder takes everything
	_ = w.Close()
	b.WriteString("\r\n")
	return []byte(b.String())
}
