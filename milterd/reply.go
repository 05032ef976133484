package milterd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	gomilter "github.com/emersion/go-milter"

	"mtad/milterd/wire"
	"mtad/pipeline"
	"mtad/smtp"
)

// answer says what becomes of an event, unless it is one that is not answered.
func (s *session) answer(code gomilter.Code, fate pipeline.Fate) error {
	if s.terms.Steps&wire.Events[code].Mute != 0 {
		return nil
	}
	if !s.broken.IsZero() && !fate.Refused() {
		fate = refusal(s.broken)
	}
	if s.flow != nil && fate.Action != pipeline.Continue {
		if !fate.Reply.IsZero() {
			fate.Reply = fate.Reply.Suffixed(" [" + s.flow.TraceID() + "]") // what `mtad trace` finds it by
		}
		s.flow.Record(pipeline.Event{Kind: pipeline.EventReply, Step: fate.Step, Action: fate.Action.String(), Reply: replyText(fate)})
		s.refused = s.refused || !s.mail
	}
	switch {
	case fate.Refused():
		s.out = wire.Append(s.out, byte(gomilter.ActReplyCode), replyData(fate.Reply)...)
	case fate.Action == pipeline.Discard:
		s.out = wire.Append(s.out, byte(gomilter.ActDiscard))
	default:
		s.out = wire.Append(s.out, byte(gomilter.ActContinue))
	}
	return nil
}

// replyText is a fate's reply in traces and logs, "" for none.
func replyText(f pipeline.Fate) string {
	if f.Reply.IsZero() {
		return ""
	}
	return f.Reply.String()
}

// replyData is a reply as the protocol has it: "550 5.7.1 text" and a NUL; CR LF
// between several lines. Mail servers take the text for a format, so that a per
// cent sign is doubled.
func replyData(r smtp.Reply) []byte {
	lines := strings.Split(strings.TrimSuffix(string(r.Append(nil)), "\r\n"), "\r\n")
	text := strings.ReplaceAll(strings.Join(lines, "\r\n"), "%", "%%")
	return append([]byte(strings.ReplaceAll(text, "\x00", "")), 0)
}

// progressTime is how often the mail server is told that a message takes time.
const progressTime = 10 * time.Second

// watch tells the mail server, while a message is judged, that something is being
// done, and cancels the context when it leaves. stop ends that, and says what
// became of the connection.
func (s *session) watch(ctx context.Context) (watched context.Context, stop func() error) {
	watched, cancel := context.WithCancelCause(ctx)
	if err := s.conn.SetReadDeadline(time.Time{}); err != nil {
		cancel(err)
	}
	gone, ticked := make(chan error, 1), make(chan error, 1)
	go func() {
		_, err := s.in.Peek(1)
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			cancel(fmt.Errorf("the mail server has left: %w", err))
		}
		gone <- err
	}()
	done := make(chan struct{})
	go func() { ticked <- s.progress(done) }()
	return watched, func() error {
		close(done)
		err := <-ticked
		s.conn.SetReadDeadline(time.Unix(1, 0))
		if left := <-gone; left != nil && !errors.Is(left, os.ErrDeadlineExceeded) {
			err = errors.Join(err, s.ended(left))
		}
		cancel(nil)
		return err
	}
}

// progress sends a sign of life now and then until done.
func (s *session) progress(done <-chan struct{}) error {
	t := time.NewTicker(progressTime)
	defer t.Stop()
	for {
		select {
		case <-done:
			return nil
		case <-t.C:
		}
		if err := s.conn.SetWriteDeadline(time.Now().Add(s.srv.cfg.Limits.Packet)); err != nil {
			return err
		}
		if _, err := s.conn.Write(wire.Append(nil, byte(wire.ActProgress))); err != nil {
			return err
		}
	}
}
