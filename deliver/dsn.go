package deliver

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"time"

	gosmtp "github.com/emersion/go-smtp"

	"mtad/message"
	"mtad/smtp"
)

// dsnAction is the Action field of a delivery status (RFC 3464, 2.3.3).
type dsnAction string

const (
	dsnFailed    dsnAction = "failed"
	dsnDelayed   dsnAction = "delayed"
	dsnDelivered dsnAction = "delivered"
	dsnRelayed   dsnAction = "relayed"
	dsnExpanded  dsnAction = "expanded"

	// Of a probe, as Postfix calls them.
	dsnDeliverable   dsnAction = "deliverable"
	dsnUndeliverable dsnAction = "undeliverable"
)

// dsnRcpt is one recipient of a report.
type dsnRcpt struct {
	addr   smtp.Address
	params smtp.RcptParams
	action dsnAction
	reply  string // "550 5.1.1 no such user"
	host   string
	until  time.Time // of delayed: when it is given up
}

// dsn is a report to the sender of a message.
type dsn struct {
	id       message.ID // of the report
	hostname string
	now      time.Time
	to       smtp.Address
	envID    string
	full     bool // RET=FULL
	global   bool // the message came by SMTPUTF8
	arrived  time.Time
	rcpts    []dsnRcpt
	original *message.Message
	probe    bool // nothing was sent: it tells what would become of mail
}

// maxReturned is the size up to which a report carries the whole message.
const maxReturned = 50 << 10

// wants reports whether the sender asked to be told (RFC 3461, 4.1). Nothing
// asked means failures and delays.
func wants(p smtp.RcptParams, a dsnAction) bool {
	if len(p.Notify) == 0 {
		return a == dsnFailed || a == dsnDelayed
	}
	want := map[dsnAction]gosmtp.DSNNotify{
		dsnFailed: gosmtp.DSNNotifyFailure, dsnDelayed: gosmtp.DSNNotifyDelayed,
		dsnDelivered: gosmtp.DSNNotifySuccess, dsnRelayed: gosmtp.DSNNotifySuccess,
		dsnExpanded: gosmtp.DSNNotifySuccess,
	}[a]
	for _, n := range p.Notify {
		if n == want {
			return true
		}
	}
	return false
}

// subjects are what a report of the action is about.
var subjects = map[dsnAction]string{
	dsnFailed:    "Undelivered mail returned to sender",
	dsnDelayed:   "Delayed mail (still being retried)",
	dsnDelivered: "Successful mail delivery report",
	dsnRelayed:   "Successful mail delivery report",
	dsnExpanded:  "Successful mail delivery report",

	dsnDeliverable:   "Mail Delivery Status Report",
	dsnUndeliverable: "Mail Delivery Status Report",
}

// build writes the report: a multipart/report of text, status and the message
// or its header (RFC 6522, 3; RFC 3464, 2).
func (d *dsn) build() ([]byte, error) {
	var b, head bytes.Buffer
	bound := "report." + d.id.String()
	utf8 := !d.to.ASCII()
	for _, r := range d.rcpts {
		utf8 = utf8 || !r.addr.ASCII() || r.params.OriginalRecipientType == gosmtp.DSNAddressTypeUTF8
	}
	field := func(name, value string) { head.Write(message.FormatField(name, value)) }
	field("From", fmt.Sprintf("Mail Delivery System <MAILER-DAEMON@%s>", d.hostname))
	field("To", d.to.Path())
	field("Subject", subjects[d.rcpts[0].action])
	field("Date", d.now.Format(message.DateFormat))
	field("Message-ID", fmt.Sprintf("<%s@%s>", d.id, d.hostname))
	field("Auto-Submitted", "auto-replied") // RFC 3834, 5
	field("MIME-Version", "1.0")
	field("Content-Type", "multipart/report; report-type=delivery-status; boundary=\""+bound+"\"")
	b.WriteString("\r\nThis is a report in MIME format (RFC 6522).\r\n")
	d.part(&b, bound, "text/plain; charset=utf-8", []byte(d.text()))
	status := "delivery-status"
	if utf8 {
		status = "global-delivery-status" // RFC 6533, 3
	}
	d.part(&b, bound, "message/"+status, d.status(utf8))
	if err := d.returned(&b, bound); err != nil {
		return nil, err
	}
	fmt.Fprintf(&b, "\r\n--%s--\r\n", bound)
	head.WriteString(encoding(b.Bytes()))
	return append(head.Bytes(), b.Bytes()...), nil
}

// distinct names a recipient once for each thing that was said of it: who an
// alias leads to is not the sender's business.
func distinct(rcpts []dsnRcpt) []dsnRcpt {
	var out []dsnRcpt
	for _, r := range rcpts {
		same := func(o dsnRcpt) bool { return o.addr.Equal(r.addr) && o.reply == r.reply && o.host == r.host }
		if !slices.ContainsFunc(out, same) {
			out = append(out, r)
		}
	}
	return out
}

// part writes one part of the report.
func (d *dsn) part(b *bytes.Buffer, bound, mediaType string, content []byte) {
	fmt.Fprintf(b, "\r\n--%s\r\nContent-Type: %s\r\n%s\r\n", bound, mediaType, encoding(content))
	b.Write(content)
}

// encoding is the field that 8-bit content needs (RFC 2045, 6).
func encoding(content []byte) string {
	if bytes.ContainsFunc(content, func(r rune) bool { return r >= 0x80 }) {
		return "Content-Transfer-Encoding: 8bit\r\n"
	}
	return ""
}

// text is the part for people.
func (d *dsn) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "This is the mail system at %s.\r\n\r\n", d.hostname)
	switch action := d.rcpts[0].action; {
	case d.probe:
		b.WriteString("Enclosed is the mail delivery report that you requested.\r\n")
	case action == dsnFailed:
		b.WriteString("Your message could not be delivered to one or more recipients.\r\nIt is attached below.\r\n")
	case action == dsnDelayed:
		b.WriteString("Your message has not been delivered yet. You need not send it again:\r\n" +
			"it is still being tried, and you will be told if it fails for good.\r\n")
	default:
		b.WriteString("Your message was delivered, or handed to a system that reports no further.\r\n")
	}
	for _, r := range d.rcpts {
		fmt.Fprintf(&b, "\r\n%s\r\n", r.addr.Path())
		if r.host != "" {
			fmt.Fprintf(&b, "    host %s said:\r\n", r.host)
		}
		for line := range strings.SplitSeq(r.reply, "\n") {
			fmt.Fprintf(&b, "    %s\r\n", line)
		}
		if !r.until.IsZero() {
			fmt.Fprintf(&b, "    will be tried until %s\r\n", r.until.Format(message.DateFormat))
		}
	}
	return b.String()
}

// status is the part for programs (RFC 3464, 2.2 and 2.3).
// Where no address needs UTF-8 it is US-ASCII, whatever a host said.
func (d *dsn) status(utf8 bool) []byte {
	var b bytes.Buffer
	field := func(name, value string) {
		if !utf8 {
			value = strings.Map(ascii, value)
		}
		if value != "" {
			b.Write(message.FormatField(name, value))
		}
	}
	field("Reporting-MTA", "dns; "+d.hostname)
	field("Original-Envelope-Id", d.envID)
	field("Arrival-Date", d.arrived.Format(message.DateFormat))
	for _, r := range d.rcpts {
		b.WriteString("\r\n")
		if r.params.OriginalRecipient != "" {
			field("Original-Recipient", strings.ToLower(string(r.params.OriginalRecipientType))+"; "+r.params.OriginalRecipient)
		}
		typ := "rfc822"
		if !r.addr.ASCII() {
			typ = "utf-8"
		}
		field("Final-Recipient", typ+"; "+r.addr.String())
		field("Action", string(r.action))
		field("Status", statusCode(r))
		if r.host != "" {
			name, _, _ := strings.Cut(r.host, " ")
			field("Remote-MTA", "dns; "+name)
		}
		if r.reply != "" && r.action != dsnDelivered && r.action != dsnExpanded {
			field("Diagnostic-Code", "smtp; "+strings.ReplaceAll(r.reply, "\n", " "))
		}
		if !r.until.IsZero() {
			field("Will-Retry-Until", r.until.Format(message.DateFormat))
		}
	}
	return b.Bytes()
}

func ascii(r rune) rune {
	if r >= 0x80 {
		return '?'
	}
	return r
}

// statusCode is the enhanced code of the reply, or a general one that fits the
// action.
func statusCode(r dsnRcpt) string {
	class := map[dsnAction]int{dsnFailed: 5, dsnDelayed: 4, dsnDelivered: 2, dsnRelayed: 2, dsnExpanded: 2, dsnDeliverable: 2, dsnUndeliverable: 5}[r.action]
	for w := range strings.FieldsSeq(r.reply) {
		if c, ok := smtp.ParseCode(w); ok {
			c[0] = class
			return smtp.FormatCode(c)
		}
	}
	return fmt.Sprintf("%d.0.0", class)
}

// returned is the message, or its header where that is asked for or the message
// is large (RFC 3461, 4.3).
func (d *dsn) returned(b *bytes.Buffer, bound string) error {
	failed := d.rcpts[0].action == dsnFailed
	if d.original == nil {
		return nil
	}
	mediaType, headers, size := "message/rfc822", "text/rfc822-headers", d.original.Size()
	head, err := message.ReadAll(message.Section(d.original.Bytes(), 0, d.original.HeaderSize()))
	if err != nil {
		return fmt.Errorf("deliver: read the header for a report: %w", err)
	}
	if d.global && encoding(head) != "" {
		mediaType, headers = "message/global", "message/global-headers" // RFC 6533, 5
	}
	if !failed || !d.full || size > maxReturned {
		mediaType, size = headers, min(d.original.Header().Size(), maxReturned)
	}
	content, err := message.ReadAll(message.Section(d.original.Bytes(), 0, size))
	if err != nil {
		return fmt.Errorf("deliver: read the message for a report: %w", err)
	}
	d.part(b, bound, mediaType, content)
	return nil
}
