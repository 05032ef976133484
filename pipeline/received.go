package pipeline

import (
	"fmt"
	"strings"
	"time"

	"mtad/message"
)

// Received builds the Received field of a message that came in this session (RFC
// 5321, 4.4). id is what the transaction is called. private leaves out the
// client's address and name: a user may be where nobody is to know.
func (v *View) Received(id string, date time.Time, private bool) []byte {
	cl := v.Client()
	var b strings.Builder
	from := "localhost"
	if !private {
		from = fmt.Sprintf("%s (%s)", cl.Helo, cl.origin())
	}
	fmt.Fprintf(&b, "Received: from %s\r\n\t", from)
	fmt.Fprintf(&b, "by %s (mtad) with %s id %s", cl.Hostname, cl.With(v.SenderParams().UTF8), id)
	if t := cl.TLS; t != nil {
		fmt.Fprintf(&b, "\r\n\t(%s, %s, %d bits)", t.Version, t.Cipher, t.Bits)
	}
	if rcpts := v.Rcpts(); len(rcpts) == 1 {
		fmt.Fprintf(&b, "\r\n\tfor %s", rcpts[0].Addr.Path())
	}
	fmt.Fprintf(&b, ";\r\n\t%s\r\n", date.Format(message.DateFormat))
	return []byte(b.String())
}

// origin is "name [address]", the name being "unknown" if it could not be
// verified.
func (c *Client) origin() string {
	name := c.Name
	if name == "" {
		name = "unknown"
	}
	addr := c.Addr.Addr()
	if addr.Is6() {
		return name + " [IPv6:" + addr.String() + "]"
	}
	return name + " [" + addr.String() + "]"
}

// With is the "with" keyword of Received (RFC 3848; RFC 6531, 4.3).
func (c *Client) With(utf8 bool) string {
	if !c.ESMTP {
		return "SMTP"
	}
	p := "ESMTP"
	if utf8 {
		p = "UTF8SMTP"
	}
	if c.TLS != nil {
		p += "S"
	}
	if c.Auth != nil {
		p += "A"
	}
	return p
}
