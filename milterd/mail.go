package milterd

import (
	"context"
	"errors"
	"fmt"
	"strings"

	gomilter "github.com/emersion/go-milter"

	"mtad/message"
	"mtad/milterd/wire"
	"mtad/pipeline"
	"mtad/smtp"
)

// Replies to what can not be judged.
var (
	replyAddress = smtp.NewReply(553, 1, 7, "Address can not be understood here")
	replySize    = smtp.NewReply(552, 3, 4, "Message is too large")
	replyHeader  = smtp.NewReply(552, 3, 4, "Header is too large")
	replyRcpts   = smtp.NewReply(452, 5, 3, "Too many recipients")
	replySpool   = smtp.NewReply(452, 3, 1, "Can not store the message now")
	replyEdits   = smtp.NewReply(451, 3, 5, "Local configuration error, try again later")
)

// from begins a transaction. One that is under way has been refused by somebody
// else.
func (s *session) from(ctx context.Context) error {
	if err := s.inSession("MAIL"); err != nil {
		return err
	}
	macros := s.macros[gomilter.CodeMail] // which came before the event, and are its own
	s.end(ctx, pipeline.Aborted)
	s.macros[gomilter.CodeMail] = macros
	args := s.texts()
	fate := s.login(ctx)
	sender, _, err := smtp.ParsePath(args[0], true)
	if err != nil && args[0] != "<>" {
		s.broken = replyAddress
	}
	params, err := smtp.ParseMailParams(understood(args[1:], mailParam), anyParam)
	if err != nil {
		s.srv.cfg.Log.Debug("parameters of MAIL", "args", args[1:], "err", err)
	}
	s.mail = true
	s.flow.Begin(message.NewID(s.srv.cfg.Now()), sender, params)
	s.flow.Record(pipeline.Event{Kind: pipeline.EventMail, Note: "from " + sender.Path()})
	if !fate.Refused() {
		fate = s.run(ctx, pipeline.Mail)
	}
	return s.answer(gomilter.CodeMail, fate)
}

// understood keeps the ESMTP parameters that parse takes: one that is not understood
// was the mail server's to refuse.
func understood(params []string, parse func(string) error) string {
	var out []string
	for _, arg := range params {
		for p := range strings.FieldsSeq(arg) {
			if parse(p) == nil {
				out = append(out, p)
			}
		}
	}
	return strings.Join(out, " ")
}

func mailParam(s string) error {
	_, err := smtp.ParseMailParams(s, anyParam)
	return err
}

func rcptParam(s string) error {
	_, err := smtp.ParseRcptParams(s, anyParam)
	return err
}

func anyParam(string) bool { return true }

// rcpt adds a recipient. Filters have a look at one whom the mail server
// refuses too, as under smtpd.
func (s *session) rcpt(ctx context.Context) error {
	if !s.mail {
		return s.answer(gomilter.CodeRcpt, pipeline.Fate{})
	}
	args := s.texts()
	addr, _, err := smtp.ParsePath(args[0], true)
	class := classOf(s.macro("{rcpt_mailer}"))
	switch {
	case err != nil:
		return s.refuseRcpt(class, replyAddress)
	case len(s.flow.View().Rcpts()) >= s.srv.cfg.Limits.Recipients:
		return s.refuseRcpt(class, replyRcpts)
	}
	params, err := smtp.ParseRcptParams(understood(args[1:], rcptParam), anyParam)
	if err != nil {
		s.srv.cfg.Log.Debug("parameters of RCPT", "args", args[1:], "err", err)
	}
	s.flow.AddRcpt(pipeline.Recipient{Addr: addr, Params: params, Class: class, Exempt: exempt(addr, class)})
	fate := s.run(ctx, pipeline.Rcpt)
	if fate.Refused() || class == pipeline.NoSuch {
		s.flow.DropRcpt()
	}
	s.flow.Record(pipeline.Event{Kind: pipeline.EventMail, Rcpt: addr.String(), Reply: replyText(fate), Note: string(class)})
	return s.answer(gomilter.CodeRcpt, fate)
}

// refuseRcpt refuses a recipient that filters can not be shown. Where RCPT is not
// answered, that is the message's reply: nobody gets mail that was not judged for
// them.
func (s *session) refuseRcpt(class pipeline.Class, reply smtp.Reply) error {
	if class != pipeline.NoSuch && s.terms.Steps&wire.Events[gomilter.CodeRcpt].Mute != 0 {
		s.broken = reply
	}
	return s.answer(gomilter.CodeRcpt, refusal(reply))
}

// classOf reads the macro {rcpt_mailer}: the mailer of Sendmail, the transport of
// Postfix.
func classOf(mailer string) pipeline.Class {
	switch mailer {
	case "local", "virtual", "lmtp", "cyrus", "prog", "*file*", "*include*":
		return pipeline.Local
	case "error":
		return pipeline.NoSuch
	}
	return pipeline.Relayed
}

// exempt reports whether content refusals do not count for a recipient (RFC 5321,
// 4.5.1; RFC 2142).
func exempt(a smtp.Address, c pipeline.Class) bool {
	return c == pipeline.Local && (strings.EqualFold(a.Local, "postmaster") || strings.EqualFold(a.Local, "abuse"))
}

func refusal(r smtp.Reply) pipeline.Fate {
	return pipeline.Fate{Action: pipeline.Refuse(r).Action, Reply: r, Step: "milterd"}
}

// begin runs the stage Data.
func (s *session) begin(ctx context.Context) error {
	if !s.mail {
		return s.answer(gomilter.CodeData, pipeline.Fate{})
	}
	return s.answer(gomilter.CodeData, s.run(ctx, pipeline.Data))
}

// unknown runs the stage Unknown on a command that the mail server does not know.
func (s *session) unknown(ctx context.Context) error {
	if err := s.inSession("UNKNOWN"); err != nil {
		return err
	}
	s.flow.SetCommand(s.texts()[0])
	return s.answer(wire.CodeUnknown, s.run(ctx, pipeline.Unknown))
}

// header takes a field. Its lines end in LF here, in CR LF in a message.
func (s *session) header(context.Context) error {
	texts := s.texts()
	if len(texts) != 2 || texts[0] == "" {
		return fmt.Errorf("%w: a field of %d strings", wire.ErrProtocol, len(texts))
	}
	value := strings.ReplaceAll(strings.ReplaceAll(texts[1], "\r\n", "\n"), "\n", "\r\n")
	if s.terms.Steps&gomilter.OptHeaderLeadingSpace == 0 {
		value = " " + value
	}
	s.store([]byte(texts[0] + ":" + value + "\r\n"))
	return s.answer(gomilter.CodeHeader, pipeline.Fate{})
}

func (s *session) endOfHeader(context.Context) error {
	s.store([]byte("\r\n"))
	return s.answer(gomilter.CodeEOH, pipeline.Fate{})
}

func (s *session) body(context.Context) error {
	s.store(s.data)
	return s.answer(gomilter.CodeBody, pipeline.Fate{})
}

// store spools octets of the message; a message that can not be stored is
// answered for at its end.
func (s *session) store(p []byte) {
	if !s.mail || !s.broken.IsZero() {
		return
	}
	if s.spool == nil {
		s.spool = &message.Spool{Dir: s.srv.cfg.SpoolDir, Limit: s.srv.cfg.Limits.MessageSize}
	}
	_, err := s.spool.Write(p)
	switch {
	case errors.Is(err, message.ErrTooLarge):
		s.broken = replySize
	case err != nil:
		s.srv.cfg.Log.Error("spool", "err", err)
		s.broken = replySpool
	}
}

// endOfMessage judges the message, and tells the edits before the fate.
func (s *session) endOfMessage(ctx context.Context) error {
	if len(s.data) > 0 {
		s.store(s.data) // the last piece of the body may come with the end
	}
	if !s.mail || s.stages&pipeline.At(pipeline.Message) == 0 && s.broken.IsZero() {
		return s.final(ctx, pipeline.Fate{})
	}
	ctx, stop := s.watch(ctx)
	fate := s.judge(ctx)
	if err := stop(); err != nil {
		return err
	}
	return s.final(ctx, fate)
}

// judge runs the stage Message and gathers the edits.
func (s *session) judge(ctx context.Context) pipeline.Fate {
	if !s.broken.IsZero() {
		return refusal(s.broken)
	}
	s.store(nil) // a message may be empty
	m, err := message.ParseLimited(s.spool.Bytes(), s.srv.cfg.Limits.Header)
	if err != nil {
		s.srv.cfg.Log.Error("spool", "err", err)
		return refusal(replySpool)
	}
	if m.Oversize() != nil {
		return refusal(replyHeader)
	}
	s.flow.SetMessage(m, [][]byte{s.received()}, s.srv.cfg.Hide)
	before := s.flow.View()
	fate := s.run(ctx, pipeline.Message)
	if fate.Action != pipeline.Continue {
		return fate
	}
	after := s.flow.View()
	if reply := refusedAlone(after); !reply.IsZero() {
		return refusal(reply)
	}
	if s.srv.cfg.Finish != nil {
		after = s.srv.cfg.Finish(after)
	}
	start := len(s.out)
	e := edits{terms: &s.terms, out: s.out}
	err = e.all(before, after)
	if s.out = e.out; err == nil {
		return fate
	}
	s.out = s.out[:start]
	s.srv.cfg.Log.Error("a verdict can not be passed on; the message is put off", "listener", s.srv.cfg.Name,
		"id", after.ID(), "queue_id", s.macro("i"), "err", err)
	s.flow.Record(pipeline.Event{Kind: pipeline.EventSession, Err: err.Error()})
	return refusal(replyEdits)
}

// refusedAlone is the reply that some recipient's copy was refused with. The
// protocol has no reply for one recipient once the message is there, and no other
// way to let the sender know: it becomes that of all.
func refusedAlone(v *pipeline.View) smtp.Reply {
	for _, r := range v.Rcpts() {
		if !r.Refusal.IsZero() {
			return r.Refusal.Prefixed(r.Addr.Path() + ": ")
		}
	}
	return smtp.Reply{}
}

// received is the field that the mail server puts on top and does not show.
func (s *session) received() []byte {
	v := s.flow.View()
	id := s.macro("i")
	if id == "" {
		id = v.ID().String()
	}
	return v.Received(id, s.srv.cfg.Now(), !v.Client().Addr.IsValid())
}

// final answers the end of a message, and ends the transaction.
func (s *session) final(ctx context.Context, fate pipeline.Fate) error {
	if s.mail {
		s.flow.Record(pipeline.Event{Kind: pipeline.EventMail, Note: "queue ID " + s.macro("i") + " at " + s.flow.Client().Hostname})
	}
	s.broken = smtp.Reply{}
	err := s.answer(gomilter.CodeEOB, fate)
	outcome := pipeline.Accepted
	if fate.Refused() {
		outcome = pipeline.Refused
	}
	s.log(fate)
	s.end(ctx, outcome)
	return err
}

// log says what became of a message.
func (s *session) log(fate pipeline.Fate) {
	if !s.mail {
		return
	}
	v := s.flow.View()
	s.srv.cfg.Log.Info("judged", "listener", s.srv.cfg.Name, "id", v.ID(), "queue_id", s.macro("i"),
		"from", v.Sender().String(), "rcpts", len(v.Rcpts()), "action", fate.Action.String(), "step", fate.Step, "reply", replyText(fate))
}
