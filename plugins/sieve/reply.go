package sieve

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"mime"
	"mime/quotedprintable"
	"net/url"
	"slices"
	"strings"
	"time"

	"mtad/autoreply"
	"mtad/message"
	"mtad/pipeline"
	lang "mtad/sieve"
	"mtad/smtp"
)

// own are the addresses of the account, beside those that a script names.
func (r *job) own(more []string) []string {
	return append([]string{r.view.Mailbox().String(), r.view.Rcpt().Addr.String()}, more...)
}

// host is what stands in Message-IDs that are made here.
func (r *job) host() string {
	if h := r.view.Client().Hostname; h != "" {
		return h
	}
	return r.view.Mailbox().Domain
}

// maxBody bounds the octets of a body that a script sends.
const maxBody = 32 << 10

// vacation answers the sender (RFC 5230). It returns why it does not.
func (p *planner) vacation(ctx context.Context, a lang.Action, add func(pipeline.Modification)) string {
	v := p.view
	if why := autoreply.Refuse(v.Message().Header(), v.Sender(), p.own(a.Vacation.Addresses)); why != "" {
		return why
	}
	from := a.Vacation.From
	if from == "" {
		from = v.Mailbox().Path()
	}
	answer := autoreply.Reply{
		From: from, To: v.Sender(), Subject: a.Vacation.Subject, Body: a.Vacation.Reason[:min(len(a.Vacation.Reason), maxBody)],
		MIME: a.Vacation.MIME, About: v.Message().Header(), Host: p.host(), Kind: "vacation", Now: p.now(),
	}
	re := pipeline.Respond{To: answer.To, Data: answer.Bytes(), Why: "vacation", Fcc: p.copyOf(ctx, a)}
	if a.Vacation.Interval > 0 {
		re.Once, re.For = "v"+lang.Digest(v.Sender().Key(), a.Vacation.Handle), a.Vacation.Interval
	}
	add(re)
	return ""
}

// copyOf is where a copy of what is sent is kept (RFC 8580); nil for nowhere.
func (p *planner) copyOf(ctx context.Context, a lang.Action) *pipeline.FileInto {
	if a.Mailbox == "" {
		return nil
	}
	name, err := p.folder(ctx, a)
	if err != nil {
		name = inbox(a.Mailbox)
	}
	return &pipeline.FileInto{Folder: name, Flags: a.Flags}
}

// Notifier knows the method mailto (RFC 5436).
type Notifier struct{}

// Valid reports whether a notification can be sent to a URI.
func (Notifier) Valid(uri string) bool {
	_, err := parseMailto(uri)
	return err == nil
}

// Capability knows that copies are kept, and that nobody knows who is online.
func (Notifier) Capability(_ context.Context, uri, name string) (string, bool) {
	switch _, ok := cutFold(uri, "mailto:"); {
	case ok && name == "fcc":
		return "yes", true // RFC 8580, 6.1
	case name == "online" && (Notifier{}).Valid(uri):
		return "maybe", true // RFC 5436, 2.2
	}
	return "", false
}

// maxNotified bounds the addresses of one notification.
const maxNotified = 5

// mailto is what a URI says: who the mail goes to, and the fields it is to have.
type mailto struct {
	to, cc []smtp.Address
	fields url.Values
}

var errMailto = errors.New("not a mailto URI with addresses that mail can be sent to")

// parseMailto reads a URI (RFC 6068).
func parseMailto(uri string) (m mailto, err error) {
	rest, ok := cutFold(uri, "mailto:")
	if !ok {
		return m, errMailto
	}
	path, query, _ := strings.Cut(rest, "?")
	m.fields = url.Values{}
	for pair := range strings.SplitSeq(query, "&") {
		name, value, _ := strings.Cut(pair, "=")
		name, err1 := url.PathUnescape(name)
		value, err2 := url.PathUnescape(value)
		if err1 != nil || err2 != nil {
			return m, errMailto
		}
		if strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r >= 0x7f || r == ':' }) {
			return m, errMailto
		}
		if name != "" {
			m.fields.Add(strings.ToLower(name), value)
		}
	}
	var lists []string
	for one := range strings.SplitSeq(path, ",") {
		if one, err = url.PathUnescape(one); err != nil {
			return m, errMailto
		}
		lists = append(lists, one)
	}
	if m.to, ok = m.add(nil, append(lists, m.fields["to"]...)); !ok {
		return m, errMailto
	}
	if m.cc, ok = m.add(nil, m.fields["cc"]); !ok {
		return m, errMailto
	}
	if n := len(m.to) + len(m.cc); n == 0 || n > maxNotified {
		return m, errMailto
	}
	return m, nil
}

// add adds the addresses of lists, each once; false if one is none.
func (m *mailto) add(out []smtp.Address, lists []string) ([]smtp.Address, bool) {
	for _, list := range lists {
		more, ok := addressesIn(list)
		if !ok {
			return nil, false
		}
		for _, a := range more {
			same := func(b smtp.Address) bool { return a.Key() == b.Key() }
			if !slices.ContainsFunc(out, same) && !slices.ContainsFunc(m.to, same) {
				out = append(out, a)
			}
		}
	}
	return out, true
}

// paths are addresses as a field holds them.
func paths(list []smtp.Address) string {
	out := make([]string, len(list))
	for i, a := range list {
		out[i] = a.Path()
	}
	return strings.Join(out, ", ")
}

// addressesIn reads an address, or some as in a To field: encoded, a comma may be
// part of an address, or stand between two, as older URIs have it.
func addressesIn(list string) (out []smtp.Address, ok bool) {
	if a, err := smtp.ParseAddress(strings.TrimSpace(list)); err == nil && a.Domain != "" {
		return []smtp.Address{a}, true
	}
	for _, one := range message.ParseAddressList(list) {
		a, err := smtp.ParseAddress(one.Local + "@" + one.Domain)
		if err != nil || one.Mark != message.Mailbox {
			return nil, false
		}
		out = append(out, a)
	}
	return out, true
}

func cutFold(s, prefix string) (string, bool) {
	if len(s) < len(prefix) || !strings.EqualFold(s[:len(prefix)], prefix) {
		return s, false
	}
	return s[len(prefix):], true
}

// notify tells somebody of the message by mail (RFC 5435; RFC 5436). Messages
// that a program made are not told of, nor reported, so that two accounts that
// tell each other do not go on for ever (RFC 5436, 2.7).
func (p *planner) notify(ctx context.Context, a lang.Action, add func(pipeline.Modification)) error {
	n, v := a.Notification, p.view
	uri, err := parseMailto(n.Method)
	if err != nil {
		return fmt.Errorf("notify: %q is %w", n.Method, err)
	}
	if p.byProgram() {
		p.out.Note = "no notification: the message was made by a program"
		return nil
	}
	about := v.Message().Header()
	subject := n.Message
	if subject == "" {
		subject = uri.fields.Get("subject")
	}
	if subject == "" {
		s, _ := about.Get("Subject")
		subject = message.DecodeText(s)
	}
	body := uri.fields.Get("body")
	if body == "" {
		body = p.summary()
	}
	from := n.From
	if a, err := smtp.ParseAddress(strings.Trim(from, "<> ")); from == "" || err != nil || a.Domain == "" {
		from = v.Mailbox().Path()
	}
	for i, rcpt := range append(slices.Clip(uri.to), uri.cc...) {
		var b bytes.Buffer
		field := func(name, value string) { b.Write(message.FormatField(name, value)) }
		field("From", from)
		if len(uri.to) > 0 {
			field("To", paths(uri.to))
		}
		if len(uri.cc) > 0 {
			field("Cc", paths(uri.cc))
		}
		field("Subject", mime.QEncoding.Encode("utf-8", oneLine(subject)))
		field("Date", p.now().Format(time.RFC1123Z))
		field("Message-ID", "<"+message.NewID(p.now()).String()+".notify@"+p.host()+">")
		field("Auto-Submitted", `auto-notified; owner-email="`+v.Mailbox().String()+`"`) // RFC 5436, 2.7.1
		if n.Importance != 2 {
			field("Importance", map[int]string{1: "high", 3: "low"}[n.Importance])
			field("X-Priority", map[int]string{1: "1", 3: "5"}[n.Importance])
		}
		text(&b, body)
		re := pipeline.Respond{To: rcpt, Data: b.Bytes(), Why: "notification"}
		if i == 0 {
			re.Fcc = p.copyOf(ctx, a)
		}
		add(re)
	}
	return nil
}

// byProgram reports whether the message says that a program made it.
func (p *planner) byProgram() bool { return autoreply.Automatic(p.view.Message().Header()) }

// summary is what a notification says of the message.
func (p *planner) summary() string {
	h := p.view.Message().Header()
	var b strings.Builder
	b.WriteString("New mail:\n\n")
	for _, name := range []string{"From", "To", "Subject", "Date"} {
		if s, ok := h.Get(name); ok {
			b.WriteString(name + ": " + oneLine(message.DecodeText(s)) + "\n")
		}
	}
	return b.String()
}

// oneLine is a text as a header can hold it.
func oneLine(s string) string {
	s = strings.Join(strings.Fields(message.ToUTF8("", s)), " ")
	return strings.ToValidUTF8(s[:min(len(s), autoreply.MaxSubject)], "")
}

// text ends a header, and writes a body of text.
func text(b *bytes.Buffer, s string) {
	b.WriteString("MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n")
	w := quotedprintable.NewWriter(b)
	s = message.ToUTF8("", s[:min(len(s), maxBody)])
	_, _ = w.Write([]byte(strings.ReplaceAll(strings.ReplaceAll(s, "\r\n", "\n"), "\n", "\r\n"))) // a Buffer takes everything
	_ = w.Close()
	b.WriteString("\r\n")
}

// maxReported bounds the octets of a message that a report holds; of a larger
// one it has the header.
const maxReported = 40 << 10

// report is a report of abuse (RFC 5965).
func (p *planner) report(a lang.Action) pipeline.Respond {
	v, boundary := p.view, rand.Text()
	var b bytes.Buffer
	field := func(name, value string) { b.Write(message.FormatField(name, value)) }
	field("From", v.Mailbox().Path())
	field("To", a.Address.String())
	field("Subject", "Report: "+oneLine(a.Report.Feedback))
	field("Date", p.now().Format(time.RFC1123Z))
	field("Message-ID", "<"+message.NewID(p.now()).String()+".report@"+p.host()+">")
	field("Auto-Submitted", "auto-generated (report)")
	field("MIME-Version", "1.0")
	field("Content-Type", `multipart/report; report-type=feedback-report; boundary="`+boundary+`"`)
	part := func() { b.WriteString("\r\n--" + boundary + "\r\n") }
	part()
	text(&b, a.Report.Message)
	part()
	b.WriteString("Content-Type: message/feedback-report\r\n\r\nVersion: 1\r\nUser-Agent: mtad\r\n")
	field("Feedback-Type", a.Report.Feedback)
	field("Original-Mail-From", v.Sender().Path())
	field("Original-Rcpt-To", v.Rcpt().Addr.Path())
	field("Arrival-Date", v.Time().Format(time.RFC1123Z))
	if addr := v.Client().Addr; addr.IsValid() {
		field("Source-IP", addr.Addr().Unmap().String())
	}
	part()
	m := v.Message()
	if kind, octets := "message/rfc822", m.Bytes(); a.Report.HeadersOnly || m.Size() > maxReported {
		kind, octets = "text/rfc822-headers", message.Section(m.Bytes(), 0, min(m.HeaderSize(), maxReported))
		writePart(&b, kind, octets)
	} else {
		writePart(&b, kind, octets)
	}
	b.WriteString("\r\n--" + boundary + "--\r\n")
	return pipeline.Respond{To: outbound(a.Address), Data: b.Bytes(), Why: "report of abuse"}
}

func writePart(b *bytes.Buffer, kind string, octets message.Bytes) {
	b.WriteString("Content-Type: " + kind + "\r\nContent-Disposition: inline\r\n\r\n")
	if _, err := message.Copy(b, octets); err != nil {
		b.WriteString("\r\n")
	}
}

// errorNote tells the owner of a script what is wrong with it.
func (r *job) errorNote(err error) []byte {
	var b bytes.Buffer
	to := r.view.Mailbox()
	field := func(name, value string) { b.Write(message.FormatField(name, value)) }
	field("From", (smtp.Address{Local: "postmaster", Domain: to.Domain}).Path())
	field("To", to.Path())
	field("Subject", "Your Sieve script has failed")
	field("Date", r.now().Format(time.RFC1123Z))
	field("Message-ID", "<"+message.NewID(r.now()).String()+".sieve@"+r.host()+">")
	field("Auto-Submitted", "auto-generated (sieve error)")
	subject, _ := r.view.Message().Header().Get("Subject")
	text(&b, fmt.Sprintf("Your Sieve script has failed for a message. The message was kept, as if there were no script.\n\n"+
		"%v\n\nThe message: from <%s>, subject %q.\n\nYou are told of this error once a day.\n",
		err, r.view.Sender(), oneLine(message.DecodeText(subject))))
	return b.Bytes()
}
