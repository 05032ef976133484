package sieve

import (
	"fmt"
	"time"

	"mtad/message"
	"mtad/pipeline"
	lang "mtad/sieve"
	"mtad/smtp"
)

// errCPU is a run that took too long.
type errCPU struct{ limit time.Duration }

func (e errCPU) Error() string { return fmt.Sprintf("ran longer than %v", e.limit) }

// Is makes it one of the limits.
func (errCPU) Is(target error) bool { return target == lang.ErrLimit }

// mail is a message as scripts see it.
type mail struct {
	header *message.Header
	size   int64
}

func newMail(m *message.Message) mail { return mail{m.Header(), m.Size()} }

// Header decodes the fields of that name.
func (m mail) Header(name string) []string {
	values := m.header.Values(name)
	for i, v := range values {
		values[i] = message.DecodeText(v)
	}
	return values
}

// Addresses reads the fields of that name. An address without a domain is not
// valid (RFC 5322, 3.4.1).
func (m mail) Addresses(name string) []lang.Address {
	var out []lang.Address
	for _, v := range m.header.Values(name) {
		for _, a := range message.ParseAddressList(v) {
			switch {
			case a.Mark != message.Mailbox:
			case a.Local == "" || a.Domain == "":
				out = append(out, lang.Address{Invalid: a.String()})
			default:
				out = append(out, lang.Address{Local: a.Local, Domain: a.Domain})
			}
		}
	}
	return out
}

// Size is that of this revision.
func (m mail) Size() int64 { return m.size }

// envelope is the envelope as far as the script's owner may know it. At Message
// there is a recipient only if there is only one (RFC 5231, 10).
func envelope(s pipeline.Stage, v *pipeline.View) lang.Envelope {
	e := lang.Envelope{From: address(v.Sender())}
	switch {
	case s == pipeline.Deliver:
		e.To = address(v.Rcpt().Addr)
	case len(v.Rcpts()) == 1:
		e.To = address(v.Rcpts()[0].Addr)
	}
	return e
}

func address(a smtp.Address) lang.Address { return lang.Address{Local: a.Local, Domain: a.Domain} }
