package pipeline

import (
	"encoding/json"
	"slices"

	"mtad/internal/invariants"
	"mtad/message"
	"mtad/smtp"
)

// state is what a View shows. A state that a View points to is never changed:
// the loop edits a copy (see edit) and shows that.
type state struct {
	client   *Client
	env      *Mailing
	original *message.Message
	msg      *message.Message
	forks    map[RcptID]*message.Message // revisions for single recipients
	auth     []AuthResult
	scores   []Score
	tags     []Tagged
	base     base // lengths of auth, scores and tags that the session set
	rcpt     RcptID
	mailbox  smtp.Address
	command  string
	folder   string
	plan     Plan
	nextRcpt RcptID
	step     string // whose edits are being applied
}

// base is how much of the facts was there before the transaction began.
type base struct{ auth, scores, tags int }

// span is the facts between two lengths.
type span struct{ from, to base }

// edit returns a copy whose slices may be appended to without others seeing it.
func (s *state) edit() *state {
	c := *s
	c.auth, c.scores, c.tags = slices.Clip(c.auth), slices.Clip(c.scores), slices.Clip(c.tags)
	return &c
}

// print is all that a View of this state shows, for the checks.
func (s *state) print() string {
	b, err := json.Marshal([]any{s.client, s.env, s.auth, s.scores, s.tags, s.plan, s.folder, s.mailbox, s.rcpt, len(s.forks)})
	if err != nil {
		return err.Error()
	}
	for _, m := range []*message.Message{s.msg, s.original} {
		if m != nil {
			for _, f := range m.Header().Fields() {
				b = append(b, f.Raw...)
			}
		}
	}
	return string(b)
}

// same checks that the state is what print gave: filters may hold a View of it.
func (s *state) same(before string) {
	if now := s.print(); now != before {
		invariants.Broken("pipeline: a revision was changed after it was shown:\n%s\n%s", before, now)
	}
}

// envelope returns a copy of the envelope to change. The state must be an edit.
func (s *state) envelope() *Mailing {
	env := *s.env
	env.Rcpts = slices.Clone(env.Rcpts)
	s.env = &env
	return s.env
}

// eachMessage applies f to the message and to every fork. f reports false if
// its target is gone.
func (s *state) eachMessage(f func(*message.Message) (*message.Message, bool)) error {
	if s.msg == nil {
		return errNoMessage
	}
	var ok bool
	if s.msg, ok = f(s.msg); !ok {
		return errGone
	}
	if len(s.forks) == 0 {
		return nil
	}
	forks := make(map[RcptID]*message.Message, len(s.forks))
	for id, m := range s.forks {
		forks[id], _ = f(m)
	}
	s.forks = forks
	return nil
}

// messageFor is the revision that one recipient gets.
func (s *state) messageFor(id RcptID) *message.Message {
	if m := s.forks[id]; m != nil {
		return m
	}
	return s.msg
}

// forkIDs is the room for field IDs that each fork has to itself.
const forkIDs = 1 << 16

// editFork applies a content edit to one recipient's revision, making it first
// if need be.
func (s *state) editFork(id RcptID, m Modification) error {
	one := *s
	one.forks = nil
	one.msg = s.forks[id]
	if one.msg == nil && s.msg != nil {
		h := s.msg.Header().Reserve(message.FieldID(forkIDs * (len(s.forks) + 1)))
		one.msg = s.msg.WithHeader(h)
	}
	if err := m.apply(&one); err != nil {
		return err
	}
	s.setFork(id, one.msg)
	return nil
}

func (s *state) setFork(id RcptID, m *message.Message) {
	forks := make(map[RcptID]*message.Message, len(s.forks)+1)
	for k, v := range s.forks {
		forks[k] = v
	}
	forks[id] = m
	s.forks = forks
}

// reset drops everything of the transaction; facts that the session set stay.
func (s *state) reset() *state {
	c := s.edit()
	c.env = &Mailing{}
	c.original, c.msg, c.forks = nil, nil, nil
	c.auth, c.scores, c.tags = c.auth[:c.base.auth:c.base.auth], c.scores[:c.base.scores:c.base.scores], c.tags[:c.base.tags:c.base.tags]
	c.rcpt, c.nextRcpt, c.mailbox, c.command, c.folder, c.plan = 0, 0, smtp.Address{}, "", "", Plan{}
	return c
}
