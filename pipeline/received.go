package pipeline

import (
	"fmt"
	"net/netip"
	"time"

	"mtad/message"
)

// Received builds the Received field of a message that came in this session (RFC
// 5321, 4.4). id is what the transaction is called. private leaves out the
// client's address and name: a user may be where nobody is to know.
func (v *View) Received(id string, date time.Time, private bool) []byte {
	cl := v.Client()
	from := "localhost"
	if !private {
		from = cl.Helo + " (" + cl.origin() + ")"
	}
	field := "Received: from " + from + "\r\n\tby " + cl.Hostname + " (mtad) with " + cl.With(v.SenderParams().UTF8) + " id " + id
	if t := cl.TLS; t != nil {
		field += fmt.Sprintf("\r\n\t(%s, %s, %d bits)", t.Version, t.Cipher, t.Bits)
	}
	if rcpts := v.Rcpts(); len(rcpts) == 1 {
		field += "\r\n\tfor " + rcpts[0].Addr.Path()
	}
	return []byte(field + ";\r\n\t" + date.Format(message.DateFormat) + "\r\n")
}

// Peer is an address for people; a client without one is on a socket with a path.
func Peer(a netip.AddrPort) string {
	if !a.IsValid() {
		return "a local socket"
	}
	return a.String()
}

// Peer is where the client is, for people.
func (c *Client) Peer() string { return Peer(c.Addr) }

// origin is "name [address]", the name being "unknown" if it could not be
// verified.
func (c *Client) origin() string {
	if !c.Addr.IsValid() {
		return "local socket"
	}
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
	switch lmtp := c.Protocol == "lmtp"; {
	case lmtp && utf8:
		p = "UTF8LMTP"
	case lmtp:
		p = "LMTP"
	case utf8:
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
