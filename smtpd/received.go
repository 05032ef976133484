package smtpd

import (
	"fmt"

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
	from := "localhost"
	if !c.cfg.Submission {
		from = cl.Helo + " (" + clientName(cl) + ")"
	}
	field := "Received: from " + from + "\r\n\tby " + cl.Hostname + " (mtad) with " + protocol(cl, v.SenderParams().UTF8) + " id " + v.ID().String()
	if t := cl.TLS; t != nil {
		field += fmt.Sprintf("\r\n\t(%s, %s, %d bits)", t.Version, t.Cipher, t.Bits)
	}
	if rcpts := v.Rcpts(); len(rcpts) == 1 {
		field += "\r\n\tfor " + rcpts[0].Addr.Path()
	}
	return []byte(field + ";\r\n\t" + c.cfg.Now().Format(dateFormat) + "\r\n")
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
