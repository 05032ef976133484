package smtpd

import (
	"fmt"

	"mtad/message"
)

// traceFields are the fields that go on top of a message: Received (RFC 5321,
// 4.4), and on submission the Date and Message-ID that it lacks (RFC 6409, 8).
// On submission Received tells neither the client's address nor its name.
func (c *conn) traceFields(m *message.Message) [][]byte {
	v := c.flow.View()
	fields := [][]byte{v.Received(v.ID().String(), c.cfg.Now(), c.cfg.Submission)}
	if !c.cfg.Submission {
		return fields
	}
	h := m.Header()
	if _, ok := h.First("Date"); !ok {
		fields = append(fields, message.FormatField("Date", v.Time().Format(message.DateFormat)))
	}
	if _, ok := h.First("Message-ID"); !ok {
		fields = append(fields, message.FormatField("Message-ID", fmt.Sprintf("<%s@%s>", v.ID(), c.cfg.Hostname)))
	}
	return fields
}
