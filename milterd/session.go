package milterd

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"sync"
	"time"

	gomilter "github.com/emersion/go-milter"

	"mtad/message"
	"mtad/milterd/wire"
	"mtad/pipeline"
	"mtad/smtp"
)

// maxPacket is the longest packet taken from a mail server: what SMFIP_MDS_1M
// allows, and its code.
const maxPacket = 1 << 20

// session is one connection of a mail server. It serves one SMTP session, or
// several one after the other where the mail server says QUIT_NC.
type session struct {
	srv  *Server
	conn net.Conn
	in   *bufio.Reader
	data []byte // of the last packet
	out  []byte // of the next reply

	terms    wire.Terms // agreed; Version is 0 before the negotiation
	pipeline *pipeline.Pipeline
	stages   pipeline.Stages // that a filter of the pipeline has
	leave    func()          // the pipeline
	macros   map[gomilter.Code]map[string]string

	flow    *pipeline.Flow // nil outside an SMTP session
	refused bool           // the SMTP session was, before a transaction
	mail    bool           // a transaction is under way
	spool   *message.Spool // its message, nil before
	broken  smtp.Reply     // why it can't be judged, said at the next answer

	mu       sync.Mutex
	busy     bool // a transaction or an answer is under way
	hurrying bool
}

func newSession(srv *Server, c net.Conn) *session {
	return &session{srv: srv, conn: c, in: bufio.NewReaderSize(c, 16<<10), macros: map[gomilter.Code]map[string]string{}}
}

// Ends of a session.
var (
	errQuit  = errors.New("the mail server said QUIT")
	errHurry = errors.New("the server is stopping")
)

// serve answers packets until the mail server leaves.
func (s *session) serve(ctx context.Context) {
	var err error
	for err == nil {
		err = s.next(ctx)
	}
	s.conn.Close()
	s.closeFlow()
	log := s.srv.cfg.Log.With("listener", s.srv.cfg.Name, "peer", s.conn.RemoteAddr().String())
	switch {
	case errors.Is(err, wire.ErrProtocol):
		log.Warn("the mail server broke the milter protocol", "err", err)
	case errors.Is(err, errQuit), errors.Is(err, errHurry), errors.Is(err, wire.ErrHungUp):
		log.Debug("milter session over", "err", err)
	default:
		log.Info("milter session broken off", "err", err)
	}
}

// next reads one packet and answers it.
func (s *session) next(ctx context.Context) error {
	code, err := s.read()
	if err != nil {
		return err
	}
	if s.terms.Version == 0 && code != gomilter.CodeOptNeg {
		return fmt.Errorf("%w: %q before the negotiation", wire.ErrProtocol, byte(code))
	}
	handle := handlers[code]
	if handle == nil {
		return fmt.Errorf("%w: command %q", wire.ErrProtocol, byte(code))
	}
	if err := handle(s, ctx); err != nil {
		return err
	}
	return s.flush()
}

// read waits for the next packet; between transactions no longer once the
// server is stopping.
func (s *session) read() (gomilter.Code, error) {
	if err := s.rest(); err != nil {
		return 0, err
	}
	if _, err := s.in.Peek(1); err != nil {
		if s.isHurrying() && errors.Is(err, os.ErrDeadlineExceeded) {
			return 0, errHurry
		}
		return 0, s.ended(err)
	}
	s.mu.Lock()
	s.busy = true
	s.mu.Unlock()
	if err := s.conn.SetReadDeadline(time.Now().Add(s.srv.cfg.Limits.Packet)); err != nil {
		return 0, err
	}
	if cap(s.data) > 2*gomilter.MaxBodyChunk {
		s.data = nil
	}
	code, data, err := wire.Read(s.in, s.data[:0], maxPacket)
	s.data = data
	return gomilter.Code(code), s.ended(err)
}

func (s *session) ended(err error) error {
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("the mail server said nothing in time: %w", err)
	case err != nil && !errors.Is(err, wire.ErrProtocol):
		return fmt.Errorf("%w: %w", wire.ErrHungUp, err)
	}
	return err
}

// rest sets how long the next packet may be waited for.
func (s *session) rest() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.busy = s.mail
	if s.hurrying && !s.busy {
		return errHurry
	}
	return s.conn.SetReadDeadline(time.Now().Add(s.srv.cfg.Limits.Idle))
}

// hurry ends the session as soon as no transaction is under way.
func (s *session) hurry() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hurrying = true
	if !s.busy {
		s.conn.SetReadDeadline(time.Unix(1, 0))
	}
}

func (s *session) isHurrying() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.hurrying
}

// flush writes what has gathered.
func (s *session) flush() error {
	if len(s.out) == 0 {
		return nil
	}
	if err := s.conn.SetWriteDeadline(time.Now().Add(s.srv.cfg.Limits.Packet)); err != nil {
		return err
	}
	_, err := s.conn.Write(s.out)
	if cap(s.out) > 2*gomilter.MaxBodyChunk {
		s.out = nil
	}
	s.out = s.out[:0]
	return err
}

// handlers answer the packets; the data are in s.data.
var handlers = map[gomilter.Code]func(*session, context.Context) error{
	gomilter.CodeOptNeg: (*session).negotiate,
	gomilter.CodeMacro:  (*session).define,
	gomilter.CodeConn:   (*session).connect,
	gomilter.CodeHelo:   (*session).helo,
	gomilter.CodeMail:   (*session).from,
	gomilter.CodeRcpt:   (*session).rcpt,
	gomilter.CodeData:   (*session).begin,
	wire.CodeUnknown:    (*session).unknown,
	gomilter.CodeHeader: (*session).header,
	gomilter.CodeEOH:    (*session).endOfHeader,
	gomilter.CodeBody:   (*session).body,
	gomilter.CodeEOB:    (*session).endOfMessage,
	gomilter.CodeAbort:  (*session).abort,
	gomilter.CodeQuit:   func(*session, context.Context) error { return errQuit },

	gomilter.CodeQuitNewConn: (*session).another,
}

// texts splits the packet into strings with a NUL after each.
func (s *session) texts() []string {
	data := bytes.TrimSuffix(s.data, []byte{0})
	var out []string
	for part := range bytes.SplitSeq(data, []byte{0}) {
		out = append(out, string(part))
	}
	return out
}

// define takes a packet of macros: those of an event, which come before it.
func (s *session) define(context.Context) error {
	if len(s.data) == 0 {
		return fmt.Errorf("%w: macros of no event", wire.ErrProtocol)
	}
	code := gomilter.Code(s.data[0])
	if !slices.Contains(macroOrder, code) {
		return nil // of an event that has none of interest; they are not kept
	}
	s.data = s.data[1:]
	texts := s.texts()
	set := make(map[string]string, len(texts)/2)
	for i := 0; i+1 < len(texts); i += 2 {
		for _, name := range wire.MacroNames(texts[i]) {
			set[name] = texts[i+1]
		}
	}
	s.macros[code] = set
	return nil
}

// macroOrder is where a macro is looked for: a later event's value covers an
// earlier one's.
var macroOrder = []gomilter.Code{
	gomilter.CodeEOB, gomilter.CodeEOH, gomilter.CodeData, gomilter.CodeRcpt, gomilter.CodeMail, gomilter.CodeHelo, gomilter.CodeConn,
}

func (s *session) macro(name string) string {
	for _, code := range macroOrder {
		if v, ok := s.macros[code][name]; ok {
			return v
		}
	}
	return ""
}

// another ends the SMTP session; the mail server has one more for this
// connection.
func (s *session) another(context.Context) error {
	stages := s.stages
	s.closeFlow()
	s.openPipeline()
	if s.stages&^stages != 0 {
		return errors.New("the pipeline has changed: a new negotiation is needed")
	}
	return nil
}

// closeFlow ends the SMTP session.
func (s *session) closeFlow() {
	if s.flow != nil {
		s.end(context.Background(), pipeline.Aborted)
		s.report()
		s.flow.Close()
		s.flow, s.refused = nil, false
	}
	if s.leave != nil {
		s.leave()
		s.leave = nil
	}
	clear(s.macros)
}

// report keeps the trace of a session that was refused before a transaction.
func (s *session) report() {
	id, err := message.ParseID(s.flow.Client().Session)
	if s.srv.cfg.Trace == nil || err != nil || !s.refused {
		return
	}
	t := s.flow.Trace()
	t.ID = id
	s.srv.cfg.Trace(t)
}

// run runs a stage of the pipeline under its deadline.
func (s *session) run(ctx context.Context, stage pipeline.Stage) pipeline.Fate {
	limit := s.srv.cfg.Limits.Command
	if stage == pipeline.Message {
		limit = s.srv.cfg.Limits.Message
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return s.flow.Run(ctx, stage)
}

// end ends the transaction, if one is under way.
func (s *session) end(ctx context.Context, o pipeline.Outcome) {
	s.broken = smtp.Reply{}
	if s.spool != nil {
		if err := s.spool.Close(); err != nil {
			s.srv.cfg.Log.Error("spool", "err", err)
		}
		s.spool = nil
	}
	for _, code := range macroOrder[:len(macroOrder)-2] {
		delete(s.macros, code)
	}
	if !s.mail {
		return
	}
	s.mail = false
	ctx, cancel := context.WithTimeout(ctx, s.srv.cfg.Limits.Command)
	defer cancel()
	t := s.flow.End(ctx, o)
	if s.srv.cfg.Trace != nil {
		s.srv.cfg.Trace(t)
	}
}

func (s *session) abort(ctx context.Context) error {
	s.end(ctx, pipeline.Aborted)
	return nil
}
