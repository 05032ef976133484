package pipeline

import (
	"errors"
	"fmt"

	"mtad/message"
	"mtad/smtp"
)

// viewVersion is written into every marshalled View. A change that an older
// reader would misunderstand raises it.
const viewVersion = 1

// Stored is a View as the journal and the queue keep it, without the message,
// whose octets stand beside it, and without the forks of single recipients, which
// are messages of their own by then. It shares the View's memory. It is a plain
// struct so that it is encoded in one pass with what it stands in.
type Stored struct {
	Version int          `json:"v"`
	Client  *Client      `json:"client"`
	Mailing *Mailing     `json:"mailing"`
	Auth    []AuthResult `json:"auth,omitempty"`
	Scores  []Score      `json:"scores,omitempty"`
	Tags    []Tagged     `json:"tags,omitempty"`
	Folder  string       `json:"folder,omitempty"`
	Next    RcptID       `json:"next"`
}

// Stored is session, envelope and facts.
func (v *View) Stored() *Stored {
	s := v.state
	return &Stored{
		Version: viewVersion, Client: s.client, Mailing: s.env,
		Auth: s.auth, Scores: s.scores, Tags: s.tags, Folder: s.folder, Next: s.nextRcpt,
	}
}

// View makes it a View again. m is the message that belongs to it. A nil or
// incomplete one, or one of another version, is an error.
func (in *Stored) View(m *message.Message) (*View, error) {
	if in == nil || in.Client == nil || in.Mailing == nil {
		return nil, errors.New("pipeline: stored view without client or envelope")
	}
	if in.Version != viewVersion {
		return nil, fmt.Errorf("pipeline: stored view of version %d; this program reads %d", in.Version, viewVersion)
	}
	s := &state{
		client: in.Client, env: in.Mailing, original: m, msg: m,
		auth: in.Auth, scores: in.Scores, tags: in.Tags, folder: in.Folder, nextRcpt: in.Next,
	}
	return &View{state: s, reads: AllFacts}, nil
}

// NewView makes the View of mail made here: a bounce, a redirect, a message of
// the sendmail command.
func NewView(c Client, env Mailing, m *message.Message) *View {
	var next RcptID
	for _, r := range env.Rcpts {
		next = max(next, r.ID)
	}
	return &View{reads: AllFacts, state: &state{client: &c, env: &env, original: m, msg: m, nextRcpt: next}}
}

// ForkedRcpts are the recipients whose revision of the message differs from the
// others', in envelope order.
func (v *View) ForkedRcpts() []RcptID {
	var ids []RcptID
	for _, r := range v.state.env.Rcpts {
		if v.state.forks[r.ID] != nil {
			ids = append(ids, r.ID)
		}
	}
	return ids
}

// MessageFor is the revision that a recipient gets.
func (v *View) MessageFor(id RcptID) *message.Message { return v.state.messageFor(id) }

// WithRcpts is the View with other recipients and another message: what is
// stored of a transaction that was split.
func (v *View) WithRcpts(rcpts []Recipient, m *message.Message) *View {
	s := v.state.edit()
	s.envelope().Rcpts = rcpts
	s.msg, s.forks = m, nil
	return &View{state: s, reads: v.reads}
}

// WithSender is the View with another reverse-path.
func (v *View) WithSender(a smtp.Address, p smtp.MailParams) *View {
	s := v.state.edit()
	env := s.envelope()
	env.Sender, env.Params = a, p
	return &View{state: s, reads: v.reads}
}

// WithField is the View with a field on top of the message, and of each
// recipient's revision of it.
func (v *View) WithField(raw []byte) *View {
	s := v.state.edit()
	add := func(m *message.Message) (*message.Message, bool) {
		h, _ := m.Header().Insert(0, raw)
		return m.WithHeader(h), true
	}
	if err := s.eachMessage(add); err != nil {
		return v
	}
	return &View{state: s, reads: v.reads}
}

// AtRcpt is the View of one recipient at Deliver, who leads to a mailbox: its own
// revision of the message, nothing planned yet.
func (v *View) AtRcpt(id RcptID, mailbox smtp.Address) *View {
	s := v.state.edit()
	s.rcpt, s.mailbox, s.plan = id, mailbox, Plan{}
	s.msg, s.forks = s.messageFor(id), nil
	return &View{state: s, reads: v.reads}
}

// Sent is a View as another process is told it, the message apart.
type Sent struct {
	*Stored
	Rcpt    RcptID       `json:"rcpt,omitempty"`
	Mailbox smtp.Address `json:"mailbox,omitzero"`
	Command string       `json:"command,omitempty"`
	Plan    Plan         `json:"plan,omitzero"`
}

// Sent is what View makes a View of again.
func (v *View) Sent() *Sent {
	s := v.state
	return &Sent{v.Stored(), s.rcpt, s.mailbox, s.command, s.plan}
}

// View makes it a View again. m is the message that belongs to it; nil before
// there is one.
func (in *Sent) View(m *message.Message) (*View, error) {
	v, err := in.Stored.View(m)
	if err == nil {
		v.state.rcpt, v.state.mailbox, v.state.command, v.state.plan = in.Rcpt, in.Mailbox, in.Command, in.Plan
	}
	return v, err
}
