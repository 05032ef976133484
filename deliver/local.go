package deliver

import (
	"context"
	"errors"
	"fmt"
	"mime"
	"strings"
	"time"

	gosmtp "github.com/emersion/go-smtp"

	"mtad/deliver/route"
	"mtad/message"
	"mtad/pipeline"
	"mtad/smtp"
)

// Local is mail that a program on this machine hands in.
type Local struct {
	Sender  smtp.Address // zero: nobody is told of failures
	Params  smtp.MailParams
	Rcpts   []pipeline.Recipient // addresses and parameters
	Key     string               // names this handing in, as in Once
	By      string               // who handed it in: "userid 1000"
	Name    string               // the person's, for From where it is missing
	Message *message.Message
}

// localListener marks a flow as one of Submit.
const localListener = "sendmail"

// handedIn reports whether a message was handed in by a program on this machine:
// whom it can not reach is the sender's to hear of, by mail.
func handedIn(v *pipeline.View) bool {
	c := v.Client()
	return c.Protocol == "local" && c.Listener == localListener
}

var replyUnknown = smtp.NewReply(550, 1, 1, "User unknown")

// unknown is what is said of a recipient who is nobody.
func unknown(r pipeline.Recipient) smtp.Reply {
	if r.Refusal.IsZero() {
		return replyUnknown
	}
	return r.Refusal
}

// PutOff reports whether an error of Submit is one that passes.
func PutOff(err error) bool { return err != nil && !errors.Is(err, errRefused) }

// Submit takes mail of a program on this machine, through the pipeline "generated".
// When it returns nil the mail is durable. Recipients who are nobody, and refusals of
// filters, are a bounce to the sender; an error that is not PutOff is one of mail
// without a sender, whom nobody can tell.
func (a *Agent) Submit(ctx context.Context, l Local) (message.ID, error) {
	now := a.cfg.Now()
	id := message.NewID(now)
	for i := range l.Rcpts {
		r := &l.Rcpts[i]
		r.ID = pipeline.RcptID(i + 1)
		res, err := a.cfg.Router.Resolve(ctx, r.Addr, true)
		if err != nil {
			return id, err
		}
		r.Class, r.Exempt = res.Class, res.Exempt
		if len(res.Targets) > 0 {
			continue
		}
		r.Refusal = res.Reply
		r.Refusal = unknown(*r)
	}
	client := pipeline.Client{Session: l.Key, Listener: localListener, Protocol: "local", Hostname: a.cfg.Hostname, Trusted: true}
	env := pipeline.Mailing{ID: id, Time: now, Sender: l.Sender, Params: l.Params, Rcpts: l.Rcpts}
	v := pipeline.NewView(client, env, l.complete(id, a.cfg.Hostname, now))
	err := a.submit(ctx, v, fmt.Sprintf("handed in by %s, from %s", l.By, l.Sender.Path()))
	if !errors.Is(err, errRefused) || l.Sender.IsZero() {
		return id, err
	}
	var rcpts []dsnRcpt
	for _, r := range l.Rcpts {
		if wants(r.Params, dsnFailed) {
			rcpts = append(rcpts, dsnRcpt{addr: r.Addr, params: r.Params, action: dsnFailed, reply: refusalOf(err)})
		}
	}
	if len(rcpts) == 0 {
		return id, nil
	}
	return id, a.report(ctx, v, v.Message().Bytes(), rcpts)
}

// refusalOf is the reply in a refusal.
func refusalOf(err error) string {
	return strings.TrimSpace(strings.TrimPrefix(err.Error(), errRefused.Error()+":"))
}

// private are fields that go no further: of blind copies, and of a mailbox.
func private(f message.Field) bool {
	return f.Is("Bcc") || f.Is("Resent-Bcc") || f.Is("Return-Path") || f.Is("Content-Length")
}

// complete adds what a message must have and takes out what it must not, as
// Postfix's cleanup(8) does for local mail.
func (l *Local) complete(id message.ID, hostname string, now time.Time) *message.Message {
	h := l.Message.Header().Without(private)
	resent := ""
	for _, f := range h.Fields() {
		if len(f.Name) > 7 && strings.EqualFold(f.Name[:7], "Resent-") {
			resent = "Resent-"
		}
	}
	date := now.Format(message.DateFormat)
	fields := [][]byte{[]byte(fmt.Sprintf("Received: by %s (mtad, from %s)\r\n\tid %s; %s\r\n", hostname, l.By, id, date))}
	missing := func(name, value string) {
		if _, ok := h.First(resent + name); !ok {
			fields = append(fields, message.FormatField(resent+name, value))
		}
	}
	missing("Message-ID", fmt.Sprintf("<%s@%s>", id, hostname))
	missing("Date", date)
	missing("From", l.author(hostname))
	for i := len(fields) - 1; i >= 0; i-- {
		h, _ = h.Insert(0, fields[i])
	}
	return l.Message.WithHeader(h)
}

// author is a From field's value.
func (l *Local) author(hostname string) string {
	addr, name := l.Sender, l.Name
	if addr.IsZero() {
		addr, name = smtp.Address{Local: "MAILER-DAEMON", Domain: hostname}, "Mail Delivery System"
	}
	if name == "" {
		return addr.String()
	}
	return phrase(name) + " " + addr.Path()
}

// phrase is a name as it may stand before an address (RFC 5322, 3.2.5; RFC 2047, 5).
func phrase(s string) string {
	if strings.ContainsFunc(s, func(r rune) bool { return r >= 0x80 }) {
		return mime.BEncoding.Encode("utf-8", s)
	}
	plain := func(r rune) bool {
		return r == ' ' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || strings.ContainsRune("!#$%&'*+-/=?^_`{|}~", r)
	}
	if strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0 {
		return s
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

// Verify mails to, who asked, what would become of mail for addresses, as
// `sendmail -bv` does. Other hosts are not asked.
func (a *Agent) Verify(ctx context.Context, to smtp.Address, rcpts []smtp.Address) error {
	now := a.cfg.Now()
	d := dsn{id: message.NewID(now), hostname: a.cfg.Hostname, now: now, to: to, arrived: now, probe: true}
	var err error
	if d.original, err = a.probe(to, rcpts, now); err != nil {
		return err
	}
	for _, addr := range rcpts {
		fate, err := a.fate(ctx, to, addr)
		if err != nil {
			return err
		}
		d.rcpts = append(d.rcpts, fate...)
	}
	b, err := d.build()
	if err != nil {
		return err
	}
	return a.tell(ctx, d.id, to, b, "report of where mail would go")
}

// Notice mails a user of this machine lines of text.
func (a *Agent) Notice(ctx context.Context, to smtp.Address, subject, text string) error {
	now := a.cfg.Now()
	id := message.NewID(now)
	var b []byte
	for _, f := range [][2]string{
		{"From", fmt.Sprintf("Mail Delivery System <MAILER-DAEMON@%s>", a.cfg.Hostname)}, {"To", to.Path()}, {"Subject", subject},
		{"Date", now.Format(message.DateFormat)}, {"Message-ID", fmt.Sprintf("<%s@%s>", id, a.cfg.Hostname)}, {"Auto-Submitted", "auto-generated"},
		{"MIME-Version", "1.0"}, {"Content-Type", "text/plain; charset=utf-8"}, {"Content-Transfer-Encoding", "8bit"},
	} {
		b = append(b, message.FormatField(f[0], f[1])...)
	}
	return a.tell(ctx, id, to, append(b, "\r\n"+text...), "notice")
}

// tell mails octets to a user of this machine, from nobody.
func (a *Agent) tell(ctx context.Context, id message.ID, to smtp.Address, octets []byte, what string) error {
	m, err := a.parse(message.FromBytes(octets))
	if err != nil {
		return err
	}
	client := pipeline.Client{Session: id.String(), Protocol: "local", Hostname: a.cfg.Hostname, Trusted: true}
	env := pipeline.Mailing{ID: id, Time: id.Time(), Rcpts: []pipeline.Recipient{{ID: 1, Addr: to}}}
	return a.submit(ctx, pipeline.NewView(client, env, m), "made here: "+what+", to "+to.Path())
}

// probe is the message that a Verify stands for; its header is in the report.
func (a *Agent) probe(from smtp.Address, rcpts []smtp.Address, now time.Time) (*message.Message, error) {
	var list []string
	for _, r := range rcpts {
		list = append(list, r.String())
	}
	var head []byte
	for _, f := range [][2]string{{"From", from.String()}, {"Subject", "probe"}, {"To", strings.Join(list, ", ")}, {"Date", now.Format(message.DateFormat)}} {
		head = append(head, message.FormatField(f[0], f[1])...)
	}
	return a.parse(message.FromBytes(append(head, "\r\n"...)))
}

// fate is what would become of mail for one address.
func (a *Agent) fate(ctx context.Context, sender, addr smtp.Address) ([]dsnRcpt, error) {
	res, err := a.cfg.Router.Resolve(ctx, addr, true)
	if err != nil {
		return nil, err
	}
	asked := dsnRcpt{addr: addr, action: dsnDeliverable}
	asked.params.OriginalRecipientType, asked.params.OriginalRecipient = gosmtp.DSNAddressTypeRFC822, addr.String()
	if !addr.ASCII() {
		asked.params.OriginalRecipientType = gosmtp.DSNAddressTypeUTF8
	}
	if len(res.Targets) == 0 {
		reply := res.Reply
		if reply.IsZero() {
			reply = replyUnknown
		}
		asked.action, asked.reply = dsnUndeliverable, reply.String()
		return []dsnRcpt{asked}, nil
	}
	var out []dsnRcpt
	for _, t := range res.Targets {
		r := asked
		switch t.Kind {
		case route.File:
			r.reply = "250 2.0.0 delivers to file: " + t.Text
			if t.Text == "" {
				r.reply = "250 2.0.0 delivers to mailbox of " + t.User
			}
		case route.Command:
			r.reply = "250 2.0.0 delivers to command: " + t.Text
		case route.Remote:
			way, err := a.cfg.Router.Way(ctx, sender, t.Addr)
			if err != nil {
				return nil, err
			}
			r.addr, r.reply = t.Addr, "250 2.0.0 sends on: "+way.Key()
			if way.Via == route.ViaError {
				r.action, r.reply = dsnUndeliverable, way.Refusal().String()
			}
		default:
			r.addr, r.reply = t.Addr, "250 2.0.0 delivers to mailbox"
		}
		out = append(out, r)
	}
	return out, nil
}
