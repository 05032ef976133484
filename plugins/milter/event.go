package milter

import (
	"context"
	"errors"
	"fmt"
	"slices"

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
	start := len(s.link.out)
	s.putMacros(k.Macros, code)
	sent := s.link.Steps&k.Skip == 0 && !s.told.skips(code)
	if sent && len(data) > s.link.Limit {
		return reply{}, fmt.Errorf("%s: %d octets are more than the milter takes", k.Name, len(data))
	}
	if sent {
		s.link.put(code, data)
	}
	if s.f.Pure && s.told.mail && command(code) {
		s.told.script = append(s.told.script, line{slices.Clone(s.link.out[start:]), sent && s.link.Steps&k.Mute == 0})
	}
	if !sent {
		return goOn, nil
	}
	return s.answer(ctx, code)
}

// command reports whether an event is a command of a transaction.
func command(code gomilter.Code) bool {
	return code == gomilter.CodeMail || code == gomilter.CodeRcpt || code == gomilter.CodeData || code == wire.CodeUnknown
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
	if s.ahead && code != gomilter.CodeEOB && len(s.link.out) < flushAt && len(s.owed) < maxOwed {
		s.owed = append(s.owed, code)
		return goOn, nil
	}
	if err := s.send(ctx); err != nil {
		return reply{}, wrap(code, err)
	}
	if err := s.catchUp(ctx); err != nil {
		return reply{}, err
	}
	r, err := s.receive(ctx)
	return r, wrap(code, err)
}

// maxOwed bounds the replies that may be under way, so that none of them ever
// waits for us to read while we wait to write.
const maxOwed = 100

// errEarly says that the milter's word on an event came when it had been told of
// the next ones: it is in s.early, and what else comes over the link is not to be
// told apart.
var errEarly = errors.New("the milter has decided before the end of the message")

// catchUp reads the replies that are owed.
func (s *session) catchUp(ctx context.Context) error {
	for _, code := range s.owed {
		r, err := s.receive(ctx)
		if err != nil {
			return wrap(code, err)
		}
		if s.early, err = s.judge(code, r); err != nil {
			return err
		}
		if s.early.Action != pipeline.Continue {
			return errEarly
		}
	}
	s.owed = s.owed[:0]
	return nil
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
	s.link.armed = len(s.link.out) < atOnce
	return s.link.flush()
}

// atOnce is how much is written without waiting: the time-out of the reply may be
// that of the writing.
const atOnce = 4 << 10

// receive returns the next reply, within the time-out from when the last packet
// was sent or received: one that says that the milter is still at work only begins
// it anew.
func (s *session) receive(ctx context.Context) (reply, error) {
	for first := true; ; first = false {
		if !first || !s.link.armed {
			if err := s.link.arm(ctx, s.timeout); err != nil {
				return reply{}, err
			}
		}
		s.link.armed = false
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
