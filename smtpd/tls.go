package smtpd

import (
	"context"

	"mtad/pipeline"
	"mtad/smtp"
)

// starttls makes the connection TLS. Octets that came behind the command would
// be read as if they had been encrypted: a client that sends some is cut off
// (RFC 3207, 4.2 and CVE-2011-0411).
func (c *conn) starttls(ctx context.Context, arg string) error {
	switch {
	case arg != "":
		return c.refuse(ctx, smtp.NewReply(501, 5, 4, "STARTTLS takes no parameters"))
	case c.cfg.StartTLS == Never:
		return c.refuse(ctx, smtp.NewReply(502, 5, 1, "STARTTLS is not offered"))
	case c.flow.Client().TLS != nil:
		return c.refuse(ctx, smtp.NewReply(503, 5, 1, "TLS is already active"))
	case c.mail:
		return c.refuse(ctx, smtp.NewReply(503, 5, 1, "Not inside a transaction"))
	case c.r.Buffered() > 0:
		c.reply(smtp.NewReply(554, 5, 1, "Nothing may follow STARTTLS before the handshake"))
		return errQuit
	}
	c.reply(smtp.NewReply(220, 0, 0, "Ready for the handshake"))
	if err := c.flush(); err != nil {
		return err
	}
	if err := c.handshake(ctx); err != nil {
		c.log().Info("TLS handshake", "err", err)
		return err
	}
	// What was said in the clear is forgotten (RFC 3207, 4.2).
	c.flow.Forget()
	info := c.tlsInfo()
	c.flow.SetClient(func(cl *pipeline.Client) {
		cl.TLS, cl.Helo, cl.ESMTP, cl.Auth = info, "", false, nil
	})
	c.flow.Record(pipeline.Event{Kind: pipeline.EventSession, Note: info.Version + " " + info.Cipher})
	return nil
}
