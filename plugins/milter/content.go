package milter

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	gomilter "github.com/emersion/go-milter"

	"mtad/message"
	"mtad/pipeline"
)

// content replays the message: header, body, end; the milter's edits come
// before its answer to the last.
func (s *session) content(ctx context.Context, _ pipeline.Stage, v *pipeline.View) (pipeline.Verdict, error) {
	m := v.Message()
	if m == nil {
		return pipeline.Verdict{}, errors.New("there is no message")
	}
	s.timeout = s.f.ContentTimeout
	s.ahead = s.f.Pure && s.f.lockstep.Load() <= 0
	defer func() { s.ahead = false }()
	if s.f.Pure && !s.ahead {
		s.f.lockstep.Add(-1)
	}
	s.macrosOf(v, pipeline.Recipient{})
	d := newDraft(m, v.Original(), s.link.Steps&gomilter.OptHeaderLeadingSpace != 0)
	for _, part := range []func(context.Context, *message.Message, *draft) (pipeline.Verdict, error){
		s.header, s.endOfHeader, s.body,
	} {
		verdict, err := part(ctx, m, d)
		if errors.Is(err, errEarly) {
			return s.stopEarly()
		}
		if err != nil || verdict.Action != pipeline.Continue {
			return s.decide(verdict, err)
		}
	}
	verdict, err := s.endOfMessage(ctx, d)
	if errors.Is(err, errEarly) {
		return s.stopEarly()
	}
	return verdict, err
}

// stopEarly takes a verdict on the middle of a message that the milter has been
// told more of. One that does this once may do it often: each time costs a
// connection, so that the next messages are told event by event.
func (s *session) stopEarly() (pipeline.Verdict, error) {
	s.f.lockstep.Store(lockstepFor)
	s.leave()
	return s.decide(s.early, nil)
}

// lockstepFor is for how many messages.
const lockstepFor = 100

func (s *session) header(ctx context.Context, m *message.Message, d *draft) (pipeline.Verdict, error) {
	if !s.link.Wants(gomilter.CodeHeader) {
		return pipeline.Verdict{}, nil
	}
	for i, f := range m.Header().Fields() {
		if d.fields[i].hidden {
			continue
		}
		verdict, err := s.ask(ctx, gomilter.CodeHeader, fieldData(f, d.spaces, s.link.Limit))
		if err != nil || verdict.Action != pipeline.Continue {
			return verdict, err
		}
	}
	return pipeline.Verdict{}, nil
}

// fieldData is a field as a milter gets it: lines end in LF, and the first space
// is only there if both sides said so. What does not fit a packet is cut off.
func fieldData(f message.Field, spaces bool, limit int) []byte {
	value := strings.ReplaceAll(f.RawValue(), "\r\n", "\n")
	if !spaces {
		value = strings.TrimPrefix(value, " ")
	}
	data := terminated(f.Name, value)
	if len(data) > limit {
		data = data[:limit]
		data[limit-1] = 0
	}
	return data
}

func (s *session) endOfHeader(ctx context.Context, _ *message.Message, _ *draft) (pipeline.Verdict, error) {
	return s.ask(ctx, gomilter.CodeEOH, nil)
}

// body sends the body in pieces as large as the milter takes, read straight into
// the packet.
func (s *session) body(ctx context.Context, m *message.Message, _ *draft) (pipeline.Verdict, error) {
	if !s.link.Wants(gomilter.CodeBody) {
		return pipeline.Verdict{}, nil
	}
	body, l := m.Body(), s.link
	for off := int64(0); off < body.Size() && !s.told.skips(gomilter.CodeBody); {
		n := int(min(int64(l.Limit), body.Size()-off))
		start := l.begin(gomilter.CodeBody)
		at := len(l.out)
		l.out = append(l.out, make([]byte, n)...)
		if got, err := body.ReadAt(l.out[at:], off); got < n {
			return pipeline.Verdict{}, fmt.Errorf("read the body: %w", short(err))
		}
		l.end(start)
		off += int64(n)
		r, err := s.answer(ctx, gomilter.CodeBody)
		if err != nil {
			return pipeline.Verdict{}, err
		}
		verdict, err := s.judge(gomilter.CodeBody, r)
		if err != nil || verdict.Action != pipeline.Continue {
			return verdict, err
		}
	}
	return pipeline.Verdict{}, nil
}

func short(err error) error {
	if err == nil || errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// endOfMessage collects the edits. After its answer the milter is done with the
// transaction: no ABORT may follow, and nobody may ask it about it again.
func (s *session) endOfMessage(ctx context.Context, d *draft) (pipeline.Verdict, error) {
	d.actions = s.link.Actions
	d.body.Limit = int64(s.f.BodyLimit)
	defer func() {
		if d.replaced {
			s.bodies = append(s.bodies, &d.body)
		}
	}()
	r, err := s.event(ctx, gomilter.CodeEOB, nil)
	for err == nil {
		edit := draftEdits[gomilter.ModifyActCode(r.code)]
		if edit == nil {
			break
		}
		if err = edit(d, r.data); err == nil {
			r, err = s.receive(ctx)
		}
		err = wrap(gomilter.CodeEOB, err)
	}
	if err != nil {
		return pipeline.Verdict{}, err
	}
	verdict, err := s.judge(gomilter.CodeEOB, r)
	if err != nil {
		return verdict, err
	}
	s.told.mail = false
	s.told.ready = r.code == gomilter.ActContinue
	s.told.final = &pipeline.Verdict{Action: pipeline.Done}
	if verdict.Mods, err = d.finish(); err != nil {
		return pipeline.Verdict{}, wrap(gomilter.CodeEOB, err)
	}
	return verdict, nil
}
