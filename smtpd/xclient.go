package smtpd

import (
	"context"
	"net/netip"
	"strconv"
	"strings"

	"mtad/pipeline"
	"mtad/smtp"
)

// mayXClient reports whether this client may say that it is another. What counts
// is where the connection comes from, not what an earlier XCLIENT said.
func (c *conn) mayXClient() bool {
	return c.cfg.XClient != nil && c.cfg.XClient(addressOf(c.raw.RemoteAddr()).Addr())
}

// xclient begins the session anew as another client (Postfix's XCLIENT_README):
// what a proxy in front of the server knows, or what someone tries out.
func (c *conn) xclient(ctx context.Context, arg string) error {
	if !c.mayXClient() {
		return c.refuse(ctx, smtp.NewReply(550, 7, 0, "XCLIENT is not for you"))
	}
	if c.mail {
		return c.refuse(ctx, smtp.NewReply(503, 5, 1, "Not inside a transaction"))
	}
	next := *c.flow.Client()
	next.Helo, next.ESMTP, next.Auth = "", false, nil
	if err := readXClient(&next, arg); err != nil {
		return c.refuse(ctx, smtp.NewReply(501, 5, 4, "Syntax: XCLIENT ADDR=address [PORT=n] [NAME=name] [HELO=name]"))
	}
	if next.Name == "" && next.Reverse == "" && !next.NameTemp && c.cfg.Names != nil {
		next.Name, next.Reverse, next.NameTemp = c.cfg.Names(ctx, next.Addr.Addr())
	}
	next.Trusted = c.cfg.Trusted(next.Addr.Addr())
	c.lenient = c.cfg.lenient(next.Addr.Addr())
	c.close()
	c.enter(next)
	if !c.greet(ctx) {
		return errQuit
	}
	return nil
}

// readXClient reads the attributes.
func readXClient(cl *pipeline.Client, arg string) error {
	addr, port := cl.Addr.Addr(), cl.Addr.Port()
	for _, a := range strings.Fields(arg) {
		name, value, ok := strings.Cut(a, "=")
		value, err := smtp.DecodeXtext(value)
		// What is said here goes into Received.
		if !ok || err != nil || strings.ContainsFunc(value, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
			return smtp.ErrSyntax
		}
		known := value != "[UNAVAILABLE]" && value != "[TEMPUNAVAIL]"
		switch strings.ToUpper(name) {
		case "ADDR":
			if len(value) > 5 && strings.EqualFold(value[:5], "IPV6:") {
				value = value[5:]
			}
			if addr, err = netip.ParseAddr(value); err != nil {
				return smtp.ErrSyntax
			}
			addr = addr.Unmap()
			cl.Name, cl.Reverse, cl.NameTemp = "", "", false
		case "PORT":
			n, err := strconv.ParseUint(value, 10, 16)
			if err != nil {
				return smtp.ErrSyntax
			}
			port = uint16(n)
		case "NAME":
			cl.NameTemp = value == "[TEMPUNAVAIL]"
			cl.Name = ""
			if known {
				cl.Name, cl.Reverse = value, value
			}
		case "HELO":
			if known {
				cl.Helo = value
			}
		default:
			return smtp.ErrSyntax
		}
	}
	cl.Addr = netip.AddrPortFrom(addr, port)
	return nil
}
