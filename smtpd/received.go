package smtpd

import (
	"fmt"
	"strings"

	"mtad/message"
	"mtad/pipeline"
)

// dateFormat is that of RFC 5322, 3.3.
const dateFormat = "Mon, 2 Jan 2006 15:04:05 -0700"

// traceFields are the fields that go on top of a message: Received (RFC 5321,
// 4.4), and on submission the Date and Message-ID that it lacks (RFC 6409, 8).
func (c *conn) traceFields(m *message.Message) [][]byte {
	fields := [][]byte{c.received()}
	if !c.cfg.Submission {
		return fields
	}
	v := c.flow.View()
	h := m.Header()
	if _, ok := h.First("Date"); !ok {
		fields = append(fields, message.FormatField("Date", v.Time().Format(dateFormat)))
	}
	if _, ok := h.First("Message-ID"); !ok {
		fields = append(fields, message.FormatField("Message-ID", fmt.Sprintf("<%s@%s>", v.ID(), c.cfg.Hostname)))
	}
	return fields
}

// received builds the Received field. On submission it tells neither the
// client's address nor its name: a user may be where nobody is to know.
func (c *conn) received() []byte {
	v := c.flow.View()
	cl := v.Client()
	var b strings.Builder
	from := "localhost"
	if !c.cfg.Submission {
		from = fmt.Sprintf("%s (%s)", cl.Helo, clientName(cl))
	}
	fmt.Fprintf(&b, "Received: from %s\r\n\t", from)
	fmt.Fprintf(&b, "by %s (mtad) with %s id %s", cl.Hostname, protocol(cl, v.SenderParams().UTF8), v.ID())
	if t := cl.TLS; t != nil {
		fmt.Fprintf(&b, "\r\n\t(%s, %s, %d bits)", t.Version, t.Cipher, t.Bits)
	}
	if rcpts := v.Rcpts(); len(rcpts) == 1 {
		fmt.Fprintf(&b, "\r\n\tfor %s", rcpts[0].Addr.Path())
	}
	fmt.Fprintf(&b, ";\r\n\t%s\r\n", c.cfg.Now().Format(dateFormat))
	return []byte(b.String())
}

// clientName is "name [address]", the name being "unknown" if it could not be
// verified.
func clientName(cl *pipeline.Client) string {
	name := cl.Name
	if name == "" {
		name = "unknown"
	}
	addr := cl.Addr.Addr()
	if addr.Is6() {
		return name + " [IPv6:" + addr.String() + "]"
	}
	return name + " [" + addr.String() + "]"
}

// protocol is the "with" keyword (RFC 3848; RFC 6531, 4.3).
func protocol(cl *pipeline.Client, utf8 bool) string {
	if !cl.ESMTP {
		return "SMTP"
	}
	p := "ESMTP"
	if utf8 {
		p = "UTF8SMTP"
	}
	if cl.TLS != nil {
		p += "S"
	}
	if cl.Auth != nil {
		p += "A"
	}
	return p
}
