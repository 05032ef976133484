package smtpd

import (
	"context"

	"mtad/pipeline"
	"mtad/smtp"
)

// LMTP (RFC 2033) is SMTP for who keeps the queue himself: LHLO in place of EHLO,
// and a reply for each recipient behind the message.

// given is a recipient that is to be answered behind the message.
type given struct {
	id   pipeline.RcptID
	addr smtp.Address
}

// verbFor finds the row of a command. Of the three greetings a protocol has its
// own (RFC 2033, 4.1).
func (c *conn) verbFor(name string) (verb, bool) {
	switch name {
	case "HELO", "EHLO":
		if c.cfg.LMTP {
			return verb{}, false
		}
	case "LHLO":
		if !c.cfg.LMTP {
			return verb{}, false
		}
	}
	v, ok := verbs[name]
	return v, ok
}

// greeting is the command that begins a session.
func (c *conn) greeting() string {
	if c.cfg.LMTP {
		return "LHLO"
	}
	return "HELO or EHLO"
}

// greetedBy is the command that began this session.
func (c *conn) greetedBy(esmtp bool) string {
	switch {
	case c.cfg.LMTP:
		return "LHLO"
	case esmtp:
		return "EHLO"
	}
	return "HELO"
}

// protocol is what is spoken, as Client.Protocol has it.
func (c *Config) protocol() string {
	if c.LMTP {
		return "lmtp"
	}
	return "smtp"
}

// local reports whether the client is on this machine: on a socket with a path, or
// on loopback.
func (c *conn) local() bool {
	a := addressOf(c.raw.RemoteAddr()).Addr()
	return !a.IsValid() || a.IsLoopback()
}

// answersEach reports whether each recipient is answered behind the message.
func (c *conn) answersEach() bool {
	return c.cfg.LMTP || c.flow.View().SenderParams().PRDR
}

// finals sends the reply for each recipient, in the order of their RCPT (RFC 2033,
// 4.2): their own, or the one that the message came to.
func (c *conn) finals(r smtp.Reply, refused map[pipeline.RcptID]smtp.Reply, step string) {
	for _, g := range c.given {
		own, ok := refused[g.id]
		if !ok {
			own = r
		}
		own = c.traced(own.Prefixed(g.addr.Path() + " "))
		c.flow.Record(pipeline.Event{Kind: pipeline.EventReply, Step: step, Rcpt: g.addr.String(), Reply: own.String()})
		c.reply(own)
	}
}

// refuseChunk answers a chunk that is not taken. The last one of a transaction by
// LMTP is answered for each recipient.
func (c *conn) refuseChunk(ctx context.Context, r smtp.Reply, last bool) error {
	if !c.cfg.LMTP || !last || len(c.given) == 0 {
		return c.refuse(ctx, r)
	}
	for range c.given[1:] {
		c.reply(r)
	}
	return c.refuse(ctx, r)
}
