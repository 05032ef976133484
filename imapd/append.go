package imapd

import (
	"bytes"
	"errors"
	"io"

	"mtad/imapd/wire"
	"mtad/mailbox"
	"mtad/message"
)

// append is APPEND (RFC 3501, 6.3.11). Everything that can refuse the message does so
// before the client is asked for it.
func (s *session) append() (reply, error) {
	s.r.SP()
	name := s.r.Mailbox()
	s.r.SP()
	var flags mailbox.Flags
	if s.r.Peek('(') {
		flags = toFlags(s.r.Flags())
		s.r.SP()
	}
	date := s.server.config.Now()
	if s.r.Peek('"') {
		date = s.r.DateTime()
		s.r.SP()
	}
	literal := s.r.Stream(s.server.config.MaxMessageSize)
	if literal == nil {
		return tooBig(s.r.Err())
	}
	folder, refused, err := s.destination(name)
	switch {
	case err != nil:
		return reply{}, err
	case refused != nil:
		return *refused, nil
	case literal.Size == 0:
		return no("", "Message is empty"), nil
	}
	spool := &message.Spool{Dir: s.server.config.SpoolDir, Limit: s.server.config.MaxMessageSize}
	defer spool.Close()
	if rep, err := s.take(literal, spool); err != nil || rep != nil {
		return orZero(rep), err
	}
	uid, err := s.store.Append(s.ctx, folder.ID, spool.Bytes(), flags, date)
	if err != nil {
		return reply{}, err
	}
	code := wire.AppendSet([]byte("APPENDUID "), []uint32{folder.UIDValidity})
	code = wire.AppendSet(append(code, ' '), []mailbox.UID{uid})
	return okCode(string(code), "APPEND completed"), nil // RFC 4315, 3
}

func orZero(rep *reply) reply {
	if rep == nil {
		return reply{}
	}
	return *rep
}

// tooBig makes NO of a literal over the limit: the command is well formed.
func tooBig(err error) (reply, error) {
	var syntax *wire.SyntaxError
	if errors.As(err, &syntax) && syntax.Code != "" {
		return no(syntax.Code, "Message is larger than this server takes"), nil
	}
	return reply{}, err
}

// take spools the literal and reads the command's end.
func (s *session) take(l *wire.Literal, spool *message.Spool) (*reply, error) {
	if err := l.Ask(); err != nil {
		return nil, err
	}
	_, err := l.WriteTo(withoutNUL{spool})
	if errors.Is(err, errNUL) {
		refused := no("", "Message holds a NUL octet")
		return &refused, nil
	}
	if err != nil {
		return nil, err
	}
	return nil, s.r.End()
}

var errNUL = errors.New("imapd: NUL in a message")

// withoutNUL refuses the octet a literal may not hold (RFC 3501, 9: CHAR8).
type withoutNUL struct{ io.Writer }

func (w withoutNUL) Write(p []byte) (int, error) {
	if bytes.IndexByte(p, 0) >= 0 {
		return 0, errNUL
	}
	return w.Writer.Write(p)
}
