package milter

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	gomilter "github.com/emersion/go-milter"

	"mtad/message"
	"mtad/milterd/wire"
	"mtad/pipeline"
)

// session is one SMTP session with a milter.
type session struct {
	f       *filter
	link    *link           // nil: there is none, or it broke
	was     pipeline.Stages // those of the last one, where nothing was wrong with it
	told    told
	owed    []gomilter.Code // events that the milter has been told of and not answered
	ahead   bool            // it may be told of the next event before it answers
	early   pipeline.Verdict
	timeout time.Duration     // of the event under way
	about   about             // what the macros of the event under way are about
	final   *pipeline.Verdict // of the whole connection
	asked   bool              // the milter was, in the last call
	past    mailing           // what it knew of the transaction before that
	redo    bool              // it has forgotten the transaction, and is to be told again
	bodies  []*message.Spool  // put in place of a message's own, until its end
}

// told is what the milter at the other end of the link knows.
type told struct {
	connect  bool
	greeting greeting
	ready    bool // for QUIT_NC: the last thing it did was to let a message pass
	mailing
}

// greeting is the HELO that the client gave, zero for none; TLS makes it another.
type greeting struct{ name, tls string }

// mailing is what it knows of the transaction.
type mailing struct {
	mail    bool
	data    bool
	rcpts   []pipeline.RcptID // ascending
	script  []line            // all of it, if it is pure
	skipped []gomilter.Code
	final   *pipeline.Verdict      // of the transaction
	late    []pipeline.RcptVerdict // of recipients it learnt of too late for RCPT
}

// line is an event of the transaction as the milter was told of it.
type line struct {
	octets   []byte
	answered bool
}

func (m *mailing) knows(id pipeline.RcptID) bool {
	_, found := slices.BinarySearch(m.rcpts, id)
	return found
}

func (m *mailing) learn(id pipeline.RcptID) {
	at, _ := slices.BinarySearch(m.rcpts, id)
	if at < len(m.rcpts) {
		m.rcpts = slices.Clone(m.rcpts) // what is in past stays
	}
	m.rcpts = slices.Insert(m.rcpts, at, id)
}

func (m *mailing) skip(c gomilter.Code) { m.skipped = append(m.skipped, c) }

func (m *mailing) skips(c gomilter.Code) bool {
	for _, s := range m.skipped {
		if s == c {
			return true
		}
	}
	return false
}

// open gets a connection, one that was used before if there is.
func (s *session) open(ctx context.Context) error {
	known := mailing{late: s.told.late}
	if s.redo {
		known = s.told.mailing
	}
	s.told = told{mailing: known}
	s.owed = s.owed[:0]
	if s.link = s.f.pool.get(); s.link != nil {
		return nil
	}
	var err error
	s.link, err = s.f.dial(ctx)
	return err
}

// wanted are the stages and the events that they are.
var wanted = []struct {
	stage pipeline.Stage
	code  gomilter.Code
}{
	{pipeline.Connect, gomilter.CodeConn},
	{pipeline.Helo, gomilter.CodeHelo},
	{pipeline.Unknown, wire.CodeUnknown},
	{pipeline.Mail, gomilter.CodeMail},
	{pipeline.Rcpt, gomilter.CodeRcpt},
	{pipeline.Data, gomilter.CodeData},
	{pipeline.Message, gomilter.CodeEOB},
}

// stagesOf are the stages whose events a milter wants.
func stagesOf(t *wire.Terms) (set pipeline.Stages) {
	for _, w := range wanted {
		if t.Wants(w.code) {
			set |= pipeline.At(w.stage)
		}
	}
	return set
}

// Stages are those whose events the milter wants. Macros of the others reach it
// before the next event that it does want.
func (s *session) Stages() pipeline.Stages {
	switch {
	case s.link != nil:
		return s.link.stages
	case s.was != 0:
		return s.was
	}
	return stages
}

// edits maps what a milter may do to the facts that it writes.
var edits = []struct {
	actions gomilter.OptAction
	facts   pipeline.Facts
}{
	{gomilter.OptAddHeader | gomilter.OptChangeHeader, pipeline.Header},
	{gomilter.OptChangeBody, pipeline.Body},
	{gomilter.OptAddRcpt | gomilter.OptAddRcptWithArgs | gomilter.OptRemoveRcpt | gomilter.OptChangeFrom | gomilter.OptQuarantine, pipeline.Envelope},
}

// Access is what the milter negotiated: only at the end of the message may it
// change anything.
func (s *session) Access(stage pipeline.Stage) (reads, writes pipeline.Facts) {
	reads, writes = s.f.Access(stage)
	if stage != pipeline.Message || s.link == nil {
		return reads, writes
	}
	writes &= pipeline.Effects
	if len(s.told.rcpts) == 0 || len(s.told.late) > 0 { // it may refuse recipients too late
		writes |= pipeline.Envelope
	}
	for _, e := range edits {
		if s.link.Actions&e.actions != 0 {
			writes |= e.facts
		}
	}
	return reads, writes
}

// Filter tells the milter of the stage, after all that it has missed.
func (s *session) Filter(ctx context.Context, stage pipeline.Stage, v *pipeline.View) (pipeline.Verdict, error) {
	done := s.decided()
	if s.asked = done == nil; !s.asked {
		return *done, nil
	}
	s.past = s.told.mailing
	if s.link == nil {
		if err := s.open(ctx); err != nil {
			return pipeline.Verdict{}, err
		}
	}
	stop := s.link.watch(ctx)
	verdict, err := s.tell(ctx, stage, v)
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		return pipeline.Verdict{}, s.fail(ctx, err)
	}
	if stage == pipeline.Message && !verdict.Action.Refuses() {
		verdict.Rcpts = s.told.late
	}
	return verdict, nil
}

// fail gives up the connection: something is wrong with it, or it had to be left
// in the middle.
func (s *session) fail(ctx context.Context, err error) error {
	var was pipeline.Stages
	if cause := context.Cause(ctx); errors.Is(cause, context.Canceled) {
		err, was = cause, s.was // if it has been given up already
		if s.link != nil {
			was = s.link.stages
		}
	}
	s.drop()
	s.was = was
	return s.f.errorf("%w", err)
}

// decided is the verdict that the milter has given once for all.
func (s *session) decided() *pipeline.Verdict {
	if s.final != nil {
		return s.final
	}
	return s.told.final
}

// drop gives up the connection, if there is one; the next event makes another.
func (s *session) drop() {
	if s.link != nil {
		s.link.conn.Close()
		s.link, s.was = nil, 0
	}
}

// retract makes the milter forget a stage that it should not have known of: the
// transaction is told anew at the next event, without it. It is pure, and says the
// same.
func (s *session) retract(ctx context.Context, stage pipeline.Stage) error {
	if !s.asked {
		return nil
	}
	if stage < pipeline.Mail {
		s.final = nil
		s.leave()
		return nil
	}
	known := s.past
	err := s.End(ctx, pipeline.Aborted)
	s.told.mailing, s.redo = known, len(known.script) > 0
	return err
}

// again tells the milter of the transaction as it was told before.
func (s *session) again(ctx context.Context) error {
	if !s.redo {
		return nil
	}
	s.redo = false
	owed := 0
	for i, e := range s.told.script {
		s.link.out = append(s.link.out, e.octets...)
		if e.answered {
			owed++
		}
		if owed < maxOwed && i < len(s.told.script)-1 {
			continue
		}
		if err := s.send(ctx); err != nil {
			return err
		}
		for ; owed > 0; owed-- {
			if _, err := s.receive(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// leave ends the connection in order; the next event makes another.
func (s *session) leave() {
	if l := s.link; l != nil {
		s.was, s.link = l.stages, nil
		l.out = l.out[:0]
		l.quit()
	}
}

// course is the events of a session in their order.
var course = []struct {
	from pipeline.Stage // the first stage that needs it
	tell func(*session, context.Context, pipeline.Stage, *pipeline.View) (pipeline.Verdict, error)
}{
	{pipeline.Connect, (*session).connect},
	{pipeline.Helo, (*session).helo},
	{pipeline.Mail, (*session).mail},
	{pipeline.Rcpt, (*session).rcpts},
	{pipeline.Data, (*session).data},
	{pipeline.Message, (*session).content},
}

// tell runs through the events of a session in their order, up to the one that
// the stage is about. The first verdict that is not "continue" ends it.
func (s *session) tell(ctx context.Context, stage pipeline.Stage, v *pipeline.View) (pipeline.Verdict, error) {
	s.timeout = s.f.CommandTimeout
	for _, step := range course {
		if stage < step.from {
			break
		}
		verdict, err := step.tell(s, ctx, stage, v)
		if err != nil || verdict.Action != pipeline.Continue || step.from == pipeline.Message {
			return verdict, err
		}
	}
	if stage == pipeline.Unknown {
		return s.unknown(ctx, v)
	}
	return pipeline.Verdict{}, nil
}

// ask is event and judge in one.
func (s *session) ask(ctx context.Context, code gomilter.Code, data []byte) (pipeline.Verdict, error) {
	s.told.ready = false
	r, err := s.event(ctx, code, data)
	if err != nil {
		return pipeline.Verdict{}, err
	}
	return s.judge(code, r)
}

func (s *session) connect(ctx context.Context, _ pipeline.Stage, v *pipeline.View) (pipeline.Verdict, error) {
	if s.told.connect {
		return pipeline.Verdict{}, nil
	}
	s.told.connect = true
	name, addr, port := clientOf(v)
	data := append([]byte(name), 0)
	family := gomilter.FamilyInet
	if addr.Is6() {
		family = gomilter.FamilyInet6
	}
	data = append(data, byte(family))
	data = binary.BigEndian.AppendUint16(data, port)
	data = append(append(data, addr.String()...), 0)
	s.macrosOf(v, pipeline.Recipient{})
	return s.settle(s.ask(ctx, gomilter.CodeConn, data))
}

// settle notes a verdict that holds for the whole connection.
func (s *session) settle(v pipeline.Verdict, err error) (pipeline.Verdict, error) {
	if err == nil && v.Action != pipeline.Continue {
		s.final = &v
	}
	return v, err
}

func (s *session) helo(ctx context.Context, stage pipeline.Stage, v *pipeline.View) (pipeline.Verdict, error) {
	name := heloOf(v)
	greeting := greeting{name, tlsOf(about{v: v}).Version}
	if stage != pipeline.Helo && (name == "" || s.told.greeting == greeting) {
		return pipeline.Verdict{}, nil
	}
	s.told.greeting = greeting
	s.macrosOf(v, pipeline.Recipient{})
	return s.settle(s.ask(ctx, gomilter.CodeHelo, terminated(name)))
}

// terminated is the strings with a NUL after each; a NUL inside would end one
// early, and is left out.
func terminated(parts ...string) []byte {
	n := 0
	for _, p := range parts {
		n += len(p) + 1
	}
	out := make([]byte, 0, n)
	for _, p := range parts {
		out = appendText(out, p)
	}
	return out
}

func appendText(out []byte, s string) []byte {
	return append(append(out, strings.ReplaceAll(s, "\x00", "")...), 0)
}

func (s *session) unknown(ctx context.Context, v *pipeline.View) (pipeline.Verdict, error) {
	if err := s.again(ctx); err != nil {
		return pipeline.Verdict{}, err
	}
	verdict, err := s.ask(ctx, wire.CodeUnknown, terminated(v.Command()))
	if err != nil || verdict.Action != pipeline.Done {
		return verdict, err
	}
	if s.told.mail {
		return s.decide(verdict, nil)
	}
	return pipeline.Verdict{}, nil
}

func (s *session) mail(ctx context.Context, _ pipeline.Stage, v *pipeline.View) (pipeline.Verdict, error) {
	if err := s.again(ctx); err != nil || s.told.mail {
		return pipeline.Verdict{}, err
	}
	s.told.mail = true
	args := append([]string{v.Sender().Path()}, v.SenderParams().Raw...)
	s.macrosOf(v, pipeline.Recipient{})
	return s.decide(s.ask(ctx, gomilter.CodeMail, terminated(args...)))
}

// decide notes a verdict that holds for the whole transaction.
func (s *session) decide(v pipeline.Verdict, err error) (pipeline.Verdict, error) {
	if err == nil && v.Action != pipeline.Continue {
		s.told.final = &v
	}
	return v, err
}

// rcpts tells of the recipients that the milter has not heard of.
func (s *session) rcpts(ctx context.Context, stage pipeline.Stage, v *pipeline.View) (pipeline.Verdict, error) {
	current := pipeline.RcptID(0)
	if stage == pipeline.Rcpt {
		current = v.Rcpt().ID
	}
	// As in Postfix, a recipient that another filter added is not shown. But
	// libmilter does not take a message without any.
	added := stage == pipeline.Message && len(s.told.rcpts) == 0 && allAdded(v.Rcpts())
	for _, r := range v.Rcpts() {
		if s.told.knows(r.ID) || r.Added && !added {
			continue
		}
		verdict, err := s.rcpt(ctx, v, r)
		switch {
		case err != nil:
			return verdict, err
		case verdict.Action == pipeline.Done || verdict.Action == pipeline.Discard:
			return s.decide(verdict, nil)
		case verdict.Action == pipeline.Continue:
		case r.ID == current || verdict.Action == pipeline.Disconnect:
			return verdict, nil
		default:
			s.told.late = append(s.told.late, pipeline.RcptVerdict{Rcpt: r.ID, Action: verdict.Action, Reply: verdict.Reply})
		}
	}
	return pipeline.Verdict{}, nil
}

func allAdded(rcpts []pipeline.Recipient) bool {
	for _, r := range rcpts {
		if !r.Added {
			return false
		}
	}
	return true
}

// rcpt tells of one recipient. Of one whom the server refuses anyway, the milter
// hears only if it asked for that, and what it answers does not matter.
func (s *session) rcpt(ctx context.Context, v *pipeline.View, r pipeline.Recipient) (pipeline.Verdict, error) {
	refused := r.Class == pipeline.NoSuch || r.Class == pipeline.RelayDeny
	if refused && s.link.Steps&gomilter.OptRcptRej == 0 {
		return pipeline.Verdict{}, nil
	}
	s.macrosOf(v, r)
	args := append([]string{r.Addr.Path()}, r.Params.Raw...)
	verdict, err := s.ask(ctx, gomilter.CodeRcpt, terminated(args...))
	if refused {
		return pipeline.Verdict{}, err
	}
	s.told.learn(r.ID)
	return verdict, err
}

func (s *session) data(ctx context.Context, _ pipeline.Stage, v *pipeline.View) (pipeline.Verdict, error) {
	if s.told.data {
		return pipeline.Verdict{}, nil
	}
	s.told.data = true
	s.macrosOf(v, pipeline.Recipient{})
	return s.decide(s.ask(ctx, gomilter.CodeData, nil))
}

// End tells the milter that a transaction is over which it has not seen to its
// end, and frees what that has taken.
func (s *session) End(ctx context.Context, _ pipeline.Outcome) error {
	open := s.told.mail && !s.redo
	s.told.mailing, s.redo = mailing{}, false
	if s.link != nil {
		s.link.trim()
	}
	err := s.free()
	if s.link == nil || !open {
		return err
	}
	s.told.ready = false
	s.link.put(gomilter.CodeAbort, nil)
	s.timeout = s.f.CommandTimeout
	if sent := s.send(ctx); sent != nil {
		s.drop()
		err = errors.Join(err, s.f.errorf("ABORT: %w", sent))
	}
	return err
}

func (s *session) free() error {
	var errs []error
	for _, b := range s.bodies {
		errs = append(errs, b.Close())
	}
	s.bodies = nil
	return errors.Join(errs...)
}

// Close ends the session. The connection is kept for another if it can be.
func (s *session) Close() error {
	err := s.free()
	l := s.link
	if l == nil {
		return err
	}
	s.link = nil
	if s.reusable(l) {
		l.put(gomilter.CodeQuitNewConn, nil)
		l.conn.SetDeadline(time.Now().Add(quitTimeout))
		if l.flush() == nil {
			l.conn.SetDeadline(time.Time{})
			if s.f.pool.put(l) {
				return err
			}
		}
		return errors.Join(err, l.conn.Close())
	}
	if quit := l.quit(); quit != nil {
		err = errors.Join(err, fmt.Errorf("milter: %s: %w", s.f.endpoint, quit))
	}
	return err
}

// reusable reports whether the milter will understand QUIT_NC. libmilter does
// only right after an end of message that it answered with "continue"; anywhere
// else it passes over the command, and over the CONNECT that follows.
func (s *session) reusable(l *link) bool {
	return s.f.Idle > 0 && l.Version >= 6 && s.told.ready && !s.told.mail && len(l.out) == 0
}
