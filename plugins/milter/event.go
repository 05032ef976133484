package milter

import (
	"context"
	"fmt"

	gomilter "github.com/emersion/go-milter"

	"mtad/pipeline"
	"mtad/smtp"
)

// kind is what there is to know of one kind of event.
type kind struct {
	name   string
	macros gomilter.Stage       // noMacros: none are sent
	skip   gomilter.OptProtocol // the milter does not want it
	mute   gomilter.OptProtocol // it is not answered
	since  uint32               // the first version that has it
}

const noMacros gomilter.Stage = ^gomilter.Stage(0)

var kinds = map[gomilter.Code]kind{
	gomilter.CodeConn:   {"CONNECT", gomilter.StageConnect, gomilter.OptNoConnect, gomilter.OptNoConnReply, 2},
	gomilter.CodeHelo:   {"HELO", gomilter.StageHelo, gomilter.OptNoHelo, gomilter.OptNoHeloReply, 2},
	gomilter.CodeMail:   {"MAIL", gomilter.StageMailFrom, gomilter.OptNoMailFrom, gomilter.OptNoMailReply, 2},
	gomilter.CodeRcpt:   {"RCPT", gomilter.StageRcptTo, gomilter.OptNoRcptTo, gomilter.OptNoRcptReply, 2},
	gomilter.CodeData:   {"DATA", gomilter.StageData, gomilter.OptNoData, gomilter.OptNoDataReply, 4},
	codeUnknown:         {"UNKNOWN", noMacros, gomilter.OptNoUnknown, gomilter.OptNoUnknownReply, 3},
	gomilter.CodeHeader: {"HEADER", noMacros, gomilter.OptNoHeaders, gomilter.OptNoHeaderReply, 2},
	gomilter.CodeEOH:    {"end of header", gomilter.StageEOH, gomilter.OptNoEOH, gomilter.OptNoEOHReply, 2},
	gomilter.CodeBody:   {"BODY", noMacros, gomilter.OptNoBody, gomilter.OptNoBodyReply, 2},
	gomilter.CodeEOB:    {"end of message", gomilter.StageEOM, 0, 0, 2},
}

// wants reports whether the milter is to be told of such events.
func (t *terms) wants(code gomilter.Code) bool {
	k := kinds[code]
	return t.version >= k.since && t.steps&k.skip == 0
}

// reply is a milter's answer to an event.
type reply struct {
	code gomilter.ActionCode
	data []byte // valid until the next event
}

var goOn = reply{code: gomilter.ActContinue}

// event tells the milter of something and returns its answer: "continue" where
// it does not want to know or does not answer.
func (s *session) event(ctx context.Context, code gomilter.Code, data []byte) (reply, error) {
	k := kinds[code]
	if s.link.version < k.since {
		return goOn, nil
	}
	// Macros are sent even for an event that is not: they are all that a
	// milter learns of it then.
	s.putMacros(k.macros, code)
	if s.link.steps&k.skip != 0 || s.told.skips(code) {
		return goOn, nil
	}
	if len(data) > s.link.limit {
		return reply{}, fmt.Errorf("%s: %d octets are more than the milter takes", k.name, len(data))
	}
	s.link.put(code, data)
	return s.answer(ctx, code)
}

// answer waits for the reply to the event just put, if there is to be one.
func (s *session) answer(ctx context.Context, code gomilter.Code) (reply, error) {
	k := kinds[code]
	if s.link.steps&k.mute != 0 {
		if len(s.link.out) < flushAt {
			return goOn, nil
		}
		return goOn, k.wrap(s.send(ctx))
	}
	if err := s.send(ctx); err != nil {
		return reply{}, k.wrap(err)
	}
	r, err := s.receive(ctx)
	return r, k.wrap(err)
}

// wrap names the event in an error.
func (k kind) wrap(err error) error {
	if err != nil {
		return fmt.Errorf("%s: %w", k.name, err)
	}
	return nil
}

// send writes what has gathered.
func (s *session) send(ctx context.Context) error {
	if err := s.link.arm(ctx, s.timeout); err != nil {
		return err
	}
	return s.link.flush()
}

// receive returns the next reply. One that says that the milter is still at
// work only begins the time-out anew.
func (s *session) receive(ctx context.Context) (reply, error) {
	for {
		if err := s.link.arm(ctx, s.timeout); err != nil {
			return reply{}, err
		}
		code, data, err := s.link.read()
		if err != nil {
			return reply{}, err
		}
		if gomilter.ActionCode(code) != actProgress {
			return reply{gomilter.ActionCode(code), data}, nil
		}
	}
}

// What the client is told where the milter does not say (Postfix's words).
var (
	replyReject   = smtp.NewReply(550, 7, 1, "Command rejected")
	replyTempFail = smtp.NewReply(451, 7, 1, "Service unavailable - try again later")
	replyShutdown = smtp.NewReply(421, 7, 0, "Closing the connection")
)

// verdicts are the replies that mean the same at every event.
var verdicts = map[gomilter.ActionCode]pipeline.Verdict{
	gomilter.ActContinue: {},
	gomilter.ActAccept:   {Action: pipeline.Done},
	gomilter.ActDiscard:  {Action: pipeline.Discard},
	gomilter.ActReject:   {Action: pipeline.Reject, Reply: replyReject},
	gomilter.ActTempFail: {Action: pipeline.TempFail, Reply: replyTempFail},
	actShutdown:          {Action: pipeline.Disconnect, Reply: replyShutdown},
}

// judge is what a reply to an event means.
func (s *session) judge(code gomilter.Code, r reply) (pipeline.Verdict, error) {
	k := kinds[code]
	switch r.code {
	case gomilter.ActReplyCode:
		text, err := parseReply(r.data)
		return pipeline.Refuse(text), k.wrap(err)
	case gomilter.ActSkip:
		// Sendmail allows it for the body alone, Postfix for any event.
		if s.link.version < 6 || len(r.data) > 0 {
			break
		}
		s.told.skip(code)
		return pipeline.Verdict{}, nil
	case gomilter.ActDiscard:
		if code == gomilter.CodeConn || code == gomilter.CodeHelo || code == codeUnknown {
			return pipeline.Verdict{}, fmt.Errorf("%s: %w: discard, where there is no message", k.name, ErrProtocol)
		}
	case actConnFail:
		return pipeline.Verdict{}, fmt.Errorf("%s: the milter reports a connection failure", k.name)
	}
	v, ok := verdicts[r.code]
	if !ok || len(r.data) > 0 {
		return v, fmt.Errorf("%s: %w: reply %q with %d octets", k.name, ErrProtocol, byte(r.code), len(r.data))
	}
	return v, nil
}
