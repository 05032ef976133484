package external

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"mtad/message"
	"mtad/pipeline"
	"mtad/sdk/mtadpb"
)

// session is one SMTP session's stream to the program. If the program dies the
// next call begins a new stream with the program that took its place.
type session struct {
	filter *filter
	run    *run
	stream mtadpb.Filter_SessionClient
	cancel context.CancelFunc
}

// connect begins a stream that lives until Close.
func (s *session) connect(ctx context.Context) error {
	r, err := s.filter.proc.running(ctx)
	if err != nil {
		return err
	}
	sctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stream, err := r.service.Session(sctx)
	if err != nil {
		cancel()
		return fmt.Errorf("external: %s: %w", s.filter.name, err)
	}
	r.enter()
	s.run, s.stream, s.cancel = r, stream, cancel
	return nil
}

// Stages are those of the manifest.
func (s *session) Stages() pipeline.Stages { return s.filter.Stages() }

// Access is what the manifest declares.
func (s *session) Access(st pipeline.Stage) (reads, writes pipeline.Facts) {
	return s.filter.Access(st)
}

// Filter asks the program and hands it octets until it has a verdict.
func (s *session) Filter(ctx context.Context, st pipeline.Stage, v *pipeline.View) (pipeline.Verdict, error) {
	if s.stream == nil {
		if err := s.connect(ctx); err != nil {
			return pipeline.Verdict{}, err
		}
	}
	stop := context.AfterFunc(ctx, s.cancel)
	verdict, err := s.exchange(st, v)
	if !stop() || err != nil {
		s.drop() // the stream is at no known place
	}
	switch {
	case err == nil:
		m := s.filter.proc.manifest.Load()
		if err := m.check(verdict); err != nil {
			s.filter.proc.log.Warn("plugin refused", "err", err)
			return pipeline.Verdict{}, fmt.Errorf("external: %s: %w", s.filter.name, err)
		}
		return verdict, nil
	case ctx.Err() != nil:
		err = ctx.Err()
	}
	return pipeline.Verdict{}, fmt.Errorf("external: %s: %w", s.filter.name, err)
}

// errEnded says that the program closed the stream.
var errEnded = errors.New("the program ended the session")

func (s *session) exchange(st pipeline.Stage, v *pipeline.View) (pipeline.Verdict, error) {
	reads := s.filter.proc.manifest.Load().reads
	begin, err := beginning(v.Message(), reads)
	if err != nil {
		return pipeline.Verdict{}, err
	}
	ask := &mtadpb.ToPlugin{Kind: &mtadpb.ToPlugin_Ask{Ask: &mtadpb.Ask{Stage: st.String(), View: viewOut(v, reads), Start: begin}}}
	if err := s.stream.Send(ask); err != nil {
		return pipeline.Verdict{}, s.cause(err)
	}
	for {
		in, err := s.stream.Recv()
		if err != nil {
			return pipeline.Verdict{}, s.cause(err)
		}
		switch k := in.GetKind().(type) {
		case *mtadpb.FromPlugin_Verdict:
			return verdictIn(k.Verdict)
		case *mtadpb.FromPlugin_Pull:
			out := &mtadpb.ToPlugin{Kind: &mtadpb.ToPlugin_Chunk{Chunk: chunk(v.Message(), reads, k.Pull)}}
			if err := s.stream.Send(out); err != nil {
				return pipeline.Verdict{}, s.cause(err)
			}
		default:
			return pipeline.Verdict{}, errors.New("neither a verdict nor a pull")
		}
	}
}

// maxStart is how much of a message is sent unasked.
const maxStart = 32 << 10

// octets are the facts that a filter must read to be sent the message as it is.
const octets = pipeline.Header | pipeline.Body

// beginning is what a filter that reads the message need not ask for.
func beginning(m *message.Message, reads pipeline.Facts) ([]byte, error) {
	if m == nil || reads&octets != octets {
		return nil, nil
	}
	return message.ReadAll(message.Section(m.Bytes(), 0, maxStart))
}

// cause finds out why a stream broke: Send says only EOF.
func (s *session) cause(err error) error {
	if !errors.Is(err, io.EOF) {
		return err
	}
	if _, rerr := s.stream.Recv(); rerr != nil && !errors.Is(rerr, io.EOF) {
		return rerr
	}
	return errEnded
}

// maxChunk is the most that one pull is answered with.
const maxChunk = 256 << 10

// chunk is octets of the message as the filter may see it.
func chunk(m *message.Message, reads pipeline.Facts, p *mtadpb.Pull) *mtadpb.Chunk {
	switch {
	case m == nil:
		return &mtadpb.Chunk{Error: "there is no message, or the manifest does not declare that it reads header or body"}
	case reads&pipeline.Body == 0:
		return &mtadpb.Chunk{Error: "the manifest does not declare that it reads body"}
	case reads&pipeline.Header == 0 && p.GetOffset() < m.HeaderSize():
		return &mtadpb.Chunk{Error: "the manifest does not declare that it reads header"}
	}
	b := m.Bytes()
	if p.GetOffset() < 0 || p.GetOffset() > b.Size() {
		return &mtadpb.Chunk{Error: "offset outside the message"}
	}
	part := message.Section(b, p.GetOffset(), min(max(p.GetLength(), 1), maxChunk))
	data, err := message.ReadAll(part)
	if err != nil {
		return &mtadpb.Chunk{Error: "the message can not be read"}
	}
	return &mtadpb.Chunk{Data: data, Eof: p.GetOffset()+int64(len(data)) >= b.Size()}
}

// endTime is how long a program has to take the news of a transaction's end.
const endTime = time.Second

// End tells the program how the transaction ended.
func (s *session) End(_ context.Context, o pipeline.Outcome) error {
	switch {
	case s.stream == nil:
		return nil
	case s.run.replaced():
		defer s.drop() // the next transaction begins a stream with the run in force
	}
	if !s.filter.proc.manifest.Load().ends {
		return nil
	}
	// It waits for a program that does not read, but not long.
	defer time.AfterFunc(endTime, s.cancel).Stop()
	err := s.stream.Send(&mtadpb.ToPlugin{Kind: &mtadpb.ToPlugin_End{End: &mtadpb.End{Outcome: o.String()}}})
	if err != nil {
		s.drop()
	}
	return nil // a program that died since has nothing to be told
}

// Close ends the session.
func (s *session) Close() error {
	if s.stream != nil {
		s.stream.CloseSend()
		s.drop()
	}
	return nil
}

func (s *session) drop() {
	if s.cancel != nil {
		s.cancel()
		s.run.leave()
	}
	s.run, s.stream, s.cancel = nil, nil, nil
}
