package smtpd

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"mtad/message"
	"mtad/pipeline"
	"mtad/smtp"
)

// A verb is one row of the command table.
type verb struct {
	run  func(*conn, context.Context, string) error
	help string // its line of HELP; "" is not listed
}

// verbs are the commands (RFC 5321, 4.1.1). A conn method returns an error only
// to end the session.
var verbs = map[string]verb{
	"HELO":     {(*conn).helo, "HELO domain"},
	"EHLO":     {(*conn).ehlo, "EHLO domain"},
	"LHLO":     {(*conn).ehlo, "LHLO domain"},
	"STARTTLS": {(*conn).starttls, "STARTTLS"},
	"AUTH":     {(*conn).auth, "AUTH mechanism [initial-response]"},
	"MAIL":     {(*conn).mailFrom, "MAIL FROM:<address> [parameters]"},
	"RCPT":     {(*conn).rcptTo, "RCPT TO:<address> [parameters]"},
	"DATA":     {(*conn).data, "DATA"},
	"BDAT":     {(*conn).bdat, "BDAT size [LAST]"},
	"RSET":     {(*conn).rset, "RSET"},
	"NOOP":     {(*conn).noop, "NOOP"},
	"VRFY":     {(*conn).vrfy, "VRFY address"},
	"EXPN":     {(*conn).expn, ""},
	"XCLIENT":  {(*conn).xclient, ""},
	"HELP":     {nil, "HELP"}, // see command: its row can't name this table
	"QUIT":     {(*conn).quit, "QUIT"},
}

// helpOrder is the order of HELP's lines.
var helpOrder = []string{
	"HELO", "EHLO", "LHLO", "STARTTLS", "AUTH", "MAIL", "RCPT", "DATA", "BDAT", "RSET", "NOOP", "VRFY", "HELP", "QUIT",
}

// webVerbs begin what a browser that was lured here sends: no mail client does,
// and what follows may be an attempt to make one send mail.
var webVerbs = map[string]bool{"GET": true, "POST": true, "PUT": true, "CONNECT": true, "HEAD": true, "OPTIONS": true}

// command runs one line.
func (c *conn) command(ctx context.Context, raw []byte) error {
	line := strings.TrimRight(string(raw), " \t")
	if c.lenient {
		line = strings.TrimLeft(line, " \t")
	}
	name, arg, _ := strings.Cut(line, " ")
	name = strings.ToUpper(name)
	before := c.errors
	err := c.obey(ctx, line, name, arg)
	c.seen.count(name, c.errors > before)
	return err
}

// obey runs one command.
func (c *conn) obey(ctx context.Context, line, name, arg string) error {
	switch {
	case webVerbs[name]:
		c.reply(smtp.NewReply(421, 7, 0, c.cfg.Hostname+" This is not a web server"))
		return errQuit
	case strings.IndexFunc(line, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) >= 0:
		return c.refuse(ctx, smtp.NewReply(500, 5, 2, "Control characters in a command"))
	case c.chunk != nil && name != "BDAT" && name != "RSET" && name != "NOOP" && name != "QUIT":
		// RFC 3030, 2: only BDAT may come between chunks.
		return c.refuse(ctx, smtp.NewReply(503, 5, 1, "Send the next chunk, or RSET"))
	case name == "HELP":
		return c.help(ctx, arg)
	}
	v, ok := c.verbFor(name)
	if !ok {
		return c.unknown(ctx, line, smtp.NewReply(500, 5, 2, "Command not recognized"))
	}
	return v.run(c, ctx, strings.TrimSpace(arg))
}

// unknown asks the filters about a line that starts nothing, and refuses it.
func (c *conn) unknown(ctx context.Context, line string, r smtp.Reply) error {
	if fate := c.ask(ctx, pipeline.Unknown, line); fate.Refused() {
		r = c.traced(fate.Reply)
	}
	return c.refuse(ctx, r)
}

func (c *conn) ask(ctx context.Context, s pipeline.Stage, line string) pipeline.Fate {
	c.flow.SetCommand(line)
	return c.flow.Run(ctx, s)
}

func (c *conn) helo(ctx context.Context, arg string) error { return c.hello(ctx, arg, false) }
func (c *conn) ehlo(ctx context.Context, arg string) error { return c.hello(ctx, arg, true) }

// hello begins the session anew (RFC 5321, 4.1.1.1 and 4.1.4).
func (c *conn) hello(ctx context.Context, name string, esmtp bool) error {
	if !smtp.ValidHelo(name) {
		return c.refuse(ctx, smtp.NewReply(501, 5, 2, "That is no host name and no address literal"))
	}
	c.endTransaction(pipeline.Aborted)
	pipelined := c.r.Buffered() > 0 && c.flow.Client().Helo == "" && esmtp
	c.flow.SetClient(func(cl *pipeline.Client) {
		cl.Helo, cl.ESMTP = name, esmtp
		cl.EarlyTwo = cl.EarlyTwo || pipelined
	})
	if cl := c.flow.Client(); cl.Early && cl.EarlyTwo && !c.lenient {
		c.reply(c.traced(smtp.NewReply(554, 5, 1, "You talk before you are asked, twice")))
		return errQuit
	}
	c.flow.Record(pipeline.Event{Kind: pipeline.EventSession, Note: c.greetedBy(esmtp) + " " + name})
	fate := c.flow.Run(ctx, pipeline.Helo)
	c.flow.Settle(pipeline.Helo)
	if fate.Refused() {
		return c.refusal(ctx, fate)
	}
	if !esmtp {
		c.reply(smtp.Reply{Code: 250, Text: c.cfg.Hostname})
		return nil
	}
	c.reply(smtp.Reply{Code: 250, Text: strings.Join(c.extensions(), "\n")})
	return nil
}

// extensions are the lines of EHLO's answer.
func (c *conn) extensions() []string {
	lim := &c.cfg.Limits
	out := []string{
		c.cfg.Hostname, "PIPELINING", fmt.Sprintf("SIZE %d", lim.MessageSize),
		"8BITMIME", "CHUNKING", "ENHANCEDSTATUSCODES", fmt.Sprintf("LIMITS RCPTMAX=%d", lim.Recipients),
	}
	for _, k := range []string{"SMTPUTF8", "DSN", "PRDR"} {
		if c.offers(k) {
			out = append(out, k)
		}
	}
	if c.cfg.StartTLS != Never && c.flow.Client().TLS == nil {
		out = append(out, "STARTTLS")
	}
	if c.mayXClient() {
		out = append(out, "XCLIENT ADDR PORT NAME HELO")
	}
	if c.mayAuth() {
		out = append(out, "AUTH PLAIN LOGIN")
	}
	return out
}

// offers reports whether an ESMTP keyword may be used.
func (c *conn) offers(keyword string) bool {
	switch keyword {
	case "SIZE", "BODY":
		return true
	case "SMTPUTF8":
		return c.cfg.SMTPUTF8
	case "RET", "ENVID", "NOTIFY", "ORCPT", "DSN":
		return c.cfg.DSN
	case "PRDR":
		return c.cfg.PRDR && !c.cfg.LMTP // which answers each anyway
	case "AUTH":
		return c.cfg.Auth != Never
	}
	return false
}

// mailFrom begins a transaction (RFC 5321, 4.1.1.2).
func (c *conn) mailFrom(ctx context.Context, arg string) error {
	if reply := c.mayMail(); !reply.IsZero() {
		return c.refuse(ctx, reply)
	}
	rest, ok := cutWord(arg, "FROM:")
	if !ok {
		return c.refuse(ctx, smtp.NewReply(501, 5, 4, "Syntax: MAIL FROM:<address> [parameters]"))
	}
	sender, rest, err := smtp.ParsePath(rest, c.lenient)
	if err == nil && rest != "" && rest[0] != ' ' {
		err = smtp.ErrSyntax
	}
	if err == nil && sender.Domain == "" && !sender.IsZero() && !c.lenient {
		err = smtp.ErrSyntax
	}
	if err != nil {
		return c.refuse(ctx, badAddress(err, 1, 7))
	}
	params, err := smtp.ParseMailParams(rest, c.offers)
	if err != nil {
		return c.refuse(ctx, badParam(err))
	}
	switch {
	case params.Size > c.cfg.Limits.MessageSize:
		return c.refuse(ctx, tooLarge(c.cfg.Limits.MessageSize))
	case !sender.ASCII() && !params.UTF8:
		return c.refuse(ctx, smtp.NewReply(553, 6, 7, "Address needs SMTPUTF8"))
	}
	if no := c.mayUse(ctx, sender); !no.IsZero() {
		return c.refuse(ctx, no)
	}
	c.flow.Begin(message.NewID(c.cfg.Now()), sender, params)
	c.flow.Record(pipeline.Event{Kind: pipeline.EventMail, Note: "from " + sender.Path()})
	fate := c.flow.Run(ctx, pipeline.Mail)
	if fate.Refused() {
		err := c.refusal(ctx, fate)
		c.endTransaction(pipeline.Refused)
		return err
	}
	c.mail, c.rcpts, c.given = true, 0, nil
	c.reply(smtp.NewReply(250, 1, 0, "Sender ok"))
	return nil
}

// mayMail says what must come before MAIL; zero if nothing is missing.
func (c *conn) mayMail() smtp.Reply {
	cl := c.flow.Client()
	switch {
	case c.mail:
		return smtp.NewReply(503, 5, 1, "One transaction at a time; RSET ends it")
	case cl.Helo == "":
		return smtp.NewReply(503, 5, 1, "Say "+c.greeting()+" first")
	case c.cfg.StartTLS == Required && cl.TLS == nil:
		return smtp.NewReply(530, 7, 0, "Use STARTTLS first") // RFC 3207, 4
	case c.cfg.Auth == Required && cl.Auth == nil && !(c.cfg.LMTP && c.local()):
		return smtp.NewReply(530, 7, 0, "Log in first") // RFC 4954, 6
	}
	return smtp.Reply{}
}

// rcptTo adds a recipient (RFC 5321, 4.1.1.3).
func (c *conn) rcptTo(ctx context.Context, arg string) error {
	if !c.mail {
		return c.refuse(ctx, smtp.NewReply(503, 5, 1, "MAIL comes first"))
	}
	rest, ok := cutWord(arg, "TO:")
	if !ok {
		return c.refuse(ctx, smtp.NewReply(501, 5, 4, "Syntax: RCPT TO:<address> [parameters]"))
	}
	addr, rest, err := smtp.ParsePath(rest, c.lenient)
	if err == nil && (addr.IsZero() || rest != "" && rest[0] != ' ') {
		err = smtp.ErrSyntax
	}
	// Of unqualified names only postmaster's is everywhere (RFC 5321, 4.5.1).
	if err == nil && addr.Domain == "" && !strings.EqualFold(addr.Local, "postmaster") && !c.lenient {
		err = smtp.ErrSyntax
	}
	if err != nil {
		return c.refuse(ctx, badAddress(err, 1, 3))
	}
	params, err := smtp.ParseRcptParams(rest, c.offers)
	switch {
	case err != nil:
		return c.refuse(ctx, badParam(err))
	case c.rcpts >= c.cfg.Limits.Recipients:
		return c.refuse(ctx, smtp.NewReply(452, 5, 3, "Too many recipients")) // RFC 5321, 4.5.3.1.10
	case !addr.ASCII() && !c.flow.View().SenderParams().UTF8:
		return c.refuse(ctx, smtp.NewReply(553, 6, 7, "Address needs SMTPUTF8"))
	}
	return c.addRcpt(ctx, addr, params)
}

// addRcpt asks the router, the filters, and takes the recipient if both agree.
func (c *conn) addRcpt(ctx context.Context, addr smtp.Address, params smtp.RcptParams) error {
	route := c.cfg.Route(ctx, c.flow.View(), addr)
	id := c.flow.AddRcpt(pipeline.Recipient{Addr: addr, Params: params, Class: route.Class, Exempt: route.Exempt})
	fate := c.flow.Run(ctx, pipeline.Rcpt)
	reply := route.Reply
	if fate.Refused() {
		reply = fate.Reply
	}
	if !reply.IsZero() {
		c.flow.DropRcpt()
		why := string(route.Class)
		if fate.Refused() {
			why = ""
		}
		reply = c.traced(reply)
		c.flow.Record(pipeline.Event{Kind: pipeline.EventMail, Rcpt: addr.String(), Reply: reply.String(), Note: why})
		return c.refuse(ctx, reply)
	}
	c.rcpts++
	if c.answersEach() {
		c.given = append(c.given, given{id, addr})
	}
	c.flow.Record(pipeline.Event{Kind: pipeline.EventMail, Rcpt: addr.String(), Reply: "250", Note: string(route.Class)})
	c.reply(smtp.NewReply(250, 1, 5, "Recipient ok"))
	return nil
}

func (c *conn) rset(_ context.Context, _ string) error {
	c.endTransaction(pipeline.Aborted)
	c.reply(smtp.NewReply(250, 0, 0, "Ok"))
	return nil
}

func (c *conn) noop(_ context.Context, _ string) error {
	c.reply(smtp.NewReply(250, 0, 0, "Ok"))
	return nil
}

func (c *conn) quit(_ context.Context, _ string) error {
	c.reply(smtp.NewReply(221, 0, 0, c.cfg.Hostname+" Bye"))
	return errQuit
}

// vrfy tells nobody who exists (RFC 5321, 7.3).
func (c *conn) vrfy(ctx context.Context, arg string) error {
	if arg == "" {
		return c.refuse(ctx, smtp.NewReply(501, 5, 4, "Syntax: VRFY address"))
	}
	if fate := c.ask(ctx, pipeline.Unknown, "VRFY "+arg); fate.Refused() {
		return c.refusal(ctx, fate)
	}
	c.reply(smtp.NewReply(252, 1, 5, "Send mail, and you will see"))
	return nil
}

func (c *conn) expn(ctx context.Context, arg string) error {
	return c.unknown(ctx, "EXPN "+arg, smtp.NewReply(502, 5, 1, "EXPN is not offered"))
}

func (c *conn) help(_ context.Context, _ string) error {
	lines := make([]string, 0, len(helpOrder)+1)
	for _, name := range helpOrder {
		if v, ok := c.verbFor(name); ok || name == "HELP" {
			lines = append(lines, v.help)
		}
	}
	c.reply(smtp.NewReply(214, 0, 0, strings.Join(lines, "\n")))
	return nil
}

// refusal tells the client a pipeline's no.
func (c *conn) refusal(ctx context.Context, fate pipeline.Fate) error {
	r := c.traced(fate.Reply)
	c.flow.Record(pipeline.Event{Kind: pipeline.EventReply, Step: fate.Step, Reply: r.String()})
	if !c.mail && c.flow.View().ID() == 0 {
		c.traceSession()
	}
	return c.refuse(ctx, r)
}

// endTransaction drops what MAIL began, and hands its trace on.
func (c *conn) endTransaction(o pipeline.Outcome) {
	c.mail, c.rcpts, c.given = false, 0, nil
	if c.chunk != nil {
		c.chunk.spool.Close()
		c.chunk = nil
	}
	t := c.flow.End(context.Background(), o)
	if c.cfg.Trace != nil && t.ID != 0 {
		c.cfg.Trace(t)
	}
}

// traceSession hands on the trace of a session that never got to MAIL.
func (c *conn) traceSession() {
	if c.cfg.Trace == nil {
		return
	}
	t := c.flow.Trace()
	if id, err := message.ParseID(c.flow.Client().Session); err == nil {
		t.ID = id
		c.cfg.Trace(t)
	}
}

// cutWord removes a keyword in any case. White space may follow it: RFC 5321,
// 3.3 forbids that, and clients do it.
func cutWord(s, word string) (string, bool) {
	if len(s) < len(word) || !strings.EqualFold(s[:len(word)], word) {
		return s, false
	}
	return strings.TrimLeft(s[len(word):], " \t"), true
}

func badAddress(err error, subject, detail int) smtp.Reply {
	if errors.Is(err, smtp.ErrLength) {
		return smtp.NewReply(501, subject, detail, "Address too long")
	}
	return smtp.NewReply(501, subject, detail, "Bad address syntax")
}

func badParam(err error) smtp.Reply {
	var p *smtp.ParamError
	if !errors.As(err, &p) {
		return smtp.NewReply(501, 5, 4, "Bad parameters")
	}
	if p.Unknown {
		return smtp.NewReply(555, 5, 4, "Parameter "+p.Param+" is not offered")
	}
	return smtp.NewReply(501, 5, 4, "Parameter "+p.Param+" "+p.Why)
}

func tooLarge(limit int64) smtp.Reply {
	return smtp.NewReply(552, 3, 4, fmt.Sprintf("Message is larger than %d octets", limit))
}
