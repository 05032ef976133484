package milter

import (
	"context"
	"fmt"

	gomilter "github.com/emersion/go-milter"

	"mtad/milterd/wire"
	"mtad/pipeline"
	"mtad/smtp"
)

// reply is a milter's answer to an event.
type reply struct {
	code gomilter.ActionCode
	data []byte // valid until the next event
}

var goOn = reply{code: gomilter.ActContinue}

// event tells the milter of something and returns its answer: "continue" where
// it does not want to know or does not answer.
func (s *session) event(ctx context.Context, code gomilter.Code, data []byte) (reply, error) {
	k := wire.Events[code]
	if s.link.Version < k.Since {
		return goOn, nil
	}
	// Macros are sent even for an event that is not: they are all that a
	// milter learns of it then.
	s.putMacros(k.Macros, code)
	if s.link.Steps&k.Skip != 0 || s.told.skips(code) {
		return goOn, nil
	}
	if len(data) > s.link.Limit {
		return reply{}, fmt.Errorf("%s: %d octets are more than the milter takes", k.Name, len(data))
	}
	s.link.put(code, data)
	return s.answer(ctx, code)
}

// answer waits for the reply to the event just put, if there is to be one.
func (s *session) answer(ctx context.Context, code gomilter.Code) (reply, error) {
	k := wire.Events[code]
	if s.link.Steps&k.Mute != 0 {
		if len(s.link.out) < flushAt {
			return goOn, nil
		}
		return goOn, wrap(code, s.send(ctx))
	}
	if err := s.send(ctx); err != nil {
		return reply{}, wrap(code, err)
	}
	r, err := s.receive(ctx)
	return r, wrap(code, err)
}

// wrap names the event in an error.
func wrap(code gomilter.Code, err error) error {
	if err != nil {
		return fmt.Errorf("%s: %w", wire.Events[code].Name, err)
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
		if gomilter.ActionCode(code) != wire.ActProgress {
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
	wire.ActShutdown:     {Action: pipeline.Disconnect, Reply: replyShutdown},
}

// judge is what a reply to an event means.
func (s *session) judge(code gomilter.Code, r reply) (pipeline.Verdict, error) {
	k := wire.Events[code]
	switch r.code {
	case gomilter.ActReplyCode:
		text, err := parseReply(r.data)
		return pipeline.Refuse(text), wrap(code, err)
	case gomilter.ActSkip:
		// Sendmail allows it for the body alone, Postfix for any event.
		if s.link.Version < 6 || len(r.data) > 0 {
			break
		}
		s.told.skip(code)
		return pipeline.Verdict{}, nil
	case gomilter.ActDiscard:
		if code == gomilter.CodeConn || code == gomilter.CodeHelo || code == wire.CodeUnknown {
			return pipeline.Verdict{}, fmt.Errorf("%s: %w: discard, where there is no message", k.Name, wire.ErrProtocol)
		}
	case wire.ActConnFail:
		return pipeline.Verdict{}, fmt.Errorf("%s: the milter reports a connection failure", k.Name)
	}
	v, ok := verdicts[r.code]
	if !ok || len(r.data) > 0 {
		return v, fmt.Errorf("%s: %w: reply %q with %d octets", k.Name, wire.ErrProtocol, byte(r.code), len(r.data))
	}
	return v, nil
}
