package pipeline

import (
	"encoding/json"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"mtad/message"
	"mtad/smtp"
)

// View is one immutable revision of session, envelope, message and facts. A
// filter that declared its reads sees no others: the accessors of a hidden fact
// return their zero value.
type View struct {
	state *state
	reads Facts
}

// Client is the session: who is connected, and how.
type Client struct {
	Session  string         `json:"session"` // names the session in logs
	Listener string         `json:"listener,omitempty"`
	Protocol string         `json:"protocol"`            // "smtp", "lmtp", "local" (made here)
	Hostname string         `json:"hostname"`            // ours, as in the banner
	Addr     netip.AddrPort `json:"addr"`                // invalid for mail made here
	Local    netip.AddrPort `json:"local"`               // our end
	Name     string         `json:"name,omitempty"`      // the address's name, where name and address agree
	Reverse  string         `json:"reverse,omitempty"`   // the name the address gives itself
	NameTemp bool           `json:"name_temp,omitempty"` // the look-up failed for now
	Helo     string         `json:"helo,omitempty"`
	ESMTP    bool           `json:"esmtp,omitempty"` // EHLO or LHLO
	TLS      *TLS           `json:"tls,omitempty"`
	Auth     *Login         `json:"auth,omitempty"`
	Trusted  bool           `json:"trusted,omitempty"` // in mynetworks
	Early    bool           `json:"early,omitempty"`   // talked before the greeting
	EarlyTwo bool           `json:"early2,omitempty"`  // pipelined before EHLO was answered
}

// TLS describes an encrypted connection.
type TLS struct {
	Version     string `json:"version"` // "TLSv1.3"
	Cipher      string `json:"cipher"`
	Bits        int    `json:"bits"`
	ServerName  string `json:"sni,omitempty"`
	PeerSubject string `json:"subject,omitempty"`
	PeerIssuer  string `json:"issuer,omitempty"`
	Verified    bool   `json:"verified,omitempty"` // the peer's certificate
}

// Login is an authenticated client.
type Login struct {
	Mechanism string `json:"mechanism"`
	User      string `json:"user"` // the account's address
}

// RcptID names a recipient through AddRecipient and alias expansion.
type RcptID uint32

// String is the number.
func (id RcptID) String() string { return strconv.FormatUint(uint64(id), 10) }

// Class is what the router says a recipient is.
type Class string

// The classes of recipients.
const (
	Local     Class = "local"
	Alias     Class = "alias"
	Relayed   Class = "relay"
	NoSuch    Class = "unknown"
	RelayDeny Class = "denied"
)

// Recipient is one of the envelope's recipients.
type Recipient struct {
	ID     RcptID          `json:"id"`
	Addr   smtp.Address    `json:"addr"`
	Params smtp.RcptParams `json:"params"`
	Class  Class           `json:"class"`
	Added  bool            `json:"added,omitempty"`  // by a filter
	Exempt bool            `json:"exempt,omitempty"` // postmaster or abuse: content refusals do not count
	Drop   bool            `json:"drop,omitempty"`   // discarded for this recipient

	Refusal smtp.Reply `json:"refusal,omitzero"` // the content was refused for this recipient
}

// Mailing is the envelope: what MAIL and RCPT said, and what became of it.
type Mailing struct {
	ID         message.ID      `json:"id"`
	Time       time.Time       `json:"time"` // of MAIL
	Sender     smtp.Address    `json:"sender"`
	Params     smtp.MailParams `json:"params"`
	Rcpts      []Recipient     `json:"rcpts"`
	Hold       string          `json:"hold,omitempty"`       // why it is held
	Quarantine string          `json:"quarantine,omitempty"` // why it is kept from its recipients
	Discard    string          `json:"discard,omitempty"`    // the step that dropped it
}

// AuthResult is the outcome of one authentication method (RFC 8601, 2.2).
type AuthResult struct {
	Method string     `json:"method"` // "spf", "dkim"
	Result string     `json:"result"` // "pass", "fail", ...
	Reason string     `json:"reason,omitempty"`
	Props  []AuthProp `json:"props,omitempty"`
	Step   string     `json:"step,omitempty"` // who said so; set by the loop
	_      struct{}   // name the fields
}

// AuthProp is a property of a result: smtp.mailfrom=a@b.
type AuthProp struct {
	Type  string `json:"type"` // "smtp", "header", "policy"
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Prop returns the value of a property, "" if it is missing.
func (a AuthResult) Prop(typ, name string) string {
	for _, p := range a.Props {
		if p.Type == typ && p.Name == name {
			return p.Value
		}
	}
	return ""
}

// Score is points that a step gave.
type Score struct {
	Step   string  `json:"step"` // set by the loop
	Name   string  `json:"name"` // of the rule
	Points float64 `json:"points"`
	Detail string  `json:"detail,omitempty"`
}

// Tagged is a fact with a name that filters leave for later ones.
type Tagged struct {
	Name  string `json:"name"`
	Value string `json:"value,omitempty"`
}

// Client is the session. It must not be changed.
func (v *View) Client() *Client { return v.state.client }

// ID is the transaction's; zero before MAIL.
func (v *View) ID() message.ID { return v.state.env.ID }

// Time is when the transaction began.
func (v *View) Time() time.Time { return v.state.env.Time }

// Sender is the reverse-path; zero for "<>" and before MAIL.
func (v *View) Sender() smtp.Address {
	if v.reads&Envelope == 0 {
		return smtp.Address{}
	}
	return v.state.env.Sender
}

// SenderParams are the parameters of MAIL.
func (v *View) SenderParams() smtp.MailParams {
	if v.reads&Envelope == 0 {
		return smtp.MailParams{}
	}
	return v.state.env.Params
}

// Rcpts are the recipients accepted so far; at Rcpt with the one in question as
// the last. The slice is to be read only.
func (v *View) Rcpts() []Recipient {
	if v.reads&Envelope == 0 {
		return nil
	}
	return v.state.env.Rcpts
}

// Rcpt is the recipient in question: at Rcpt and Deliver, else the zero value.
func (v *View) Rcpt() Recipient {
	if v.reads&Envelope == 0 {
		return Recipient{}
	}
	i := v.state.env.find(v.state.rcpt)
	if i < 0 {
		return Recipient{}
	}
	return v.state.env.Rcpts[i]
}

func (e *Mailing) find(id RcptID) int {
	return slices.IndexFunc(e.Rcpts, func(r Recipient) bool { return r.ID == id })
}

// Mailbox is, at Deliver, the address of the account that the recipient leads
// to; aliases make it another than Rcpt.
func (v *View) Mailbox() smtp.Address { return v.state.mailbox }

// Message is this revision of the message; nil before Message, and for a filter
// that reads neither Header nor Body.
func (v *View) Message() *message.Message {
	if v.reads&(Header|Body) == 0 {
		return nil
	}
	return v.state.msg
}

// Forked reports whether a recipient gets a revision of its own.
func (v *View) Forked(id RcptID) bool { return v.state.forks[id] != nil }

// Original is the message as it came, with the fields that Message hides:
// signatures are checked against it.
func (v *View) Original() *message.Message {
	if v.reads&(Header|Body) == 0 {
		return nil
	}
	return v.state.original
}

// Command is the line in question at Unknown.
func (v *View) Command() string { return v.state.command }

// AuthResults are the results so far, in the order of the steps.
func (v *View) AuthResults() []AuthResult {
	if v.reads&AuthResults == 0 {
		return nil
	}
	return v.state.auth
}

// Scores are the points so far.
func (v *View) Scores() []Score {
	if v.reads&Scores == 0 {
		return nil
	}
	return v.state.scores
}

// Score is their sum.
func (v *View) Score() float64 {
	var sum float64
	for _, s := range v.Scores() {
		sum += s.Points
	}
	return sum
}

// Tags are the tags so far.
func (v *View) Tags() []Tagged {
	if v.reads&Tags == 0 {
		return nil
	}
	return v.state.tags
}

// Tag returns the value of the last tag of that name.
func (v *View) Tag(name string) (string, bool) {
	tags := v.Tags()
	for i := len(tags) - 1; i >= 0; i-- {
		if tags[i].Name == name {
			return tags[i].Value, true
		}
	}
	return "", false
}

// Held is why the message is held or quarantined, "" if it is neither.
func (v *View) Held() (hold, quarantine string) {
	if v.reads&Envelope == 0 {
		return "", ""
	}
	return v.state.env.Hold, v.state.env.Quarantine
}

// Discarded is the step that dropped the message, "".
func (v *View) Discarded() string {
	if v.reads&Envelope == 0 {
		return ""
	}
	return v.state.env.Discard
}

// Plan is, at and after Deliver, what is to be done for the recipient.
func (v *View) Plan() Plan {
	if v.reads&Effects == 0 {
		return Plan{}
	}
	return v.state.plan
}

// Folder is where mail goes that nothing filed elsewhere; "" is INBOX.
func (v *View) Folder() string {
	if v.reads&Tags == 0 {
		return ""
	}
	return v.state.folder
}

// masked is the View that a filter with these reads is given.
func (v *View) masked(reads Facts) *View {
	if reads == v.reads {
		return v
	}
	return &View{state: v.state, reads: reads}
}

// print is all that the View shows of facts, for the checks.
func (v *View) print() string {
	hold, quarantine := v.Held()
	b, err := json.Marshal([]any{
		v.Sender(), v.SenderParams(), v.Rcpts(), v.AuthResults(), v.Scores(), v.Tags(), hold, quarantine, v.Discarded(), v.Plan(), v.Folder(),
	})
	if err != nil {
		return err.Error()
	}
	if m := v.Message(); m != nil {
		for _, f := range m.Header().Fields() {
			b = append(b, f.Raw...)
		}
	}
	return string(b)
}

// Plan is what Deliver decided for one mailbox. It is stored with the message
// and never computed again.
type Plan struct {
	Files     []FileInto `json:"files,omitempty"`     // folders, in order; "" is INBOX
	Cancelled bool       `json:"cancelled,omitempty"` // the implicit keep is off (RFC 5228, 2.10.2)
	Flags     []string   `json:"flags,omitempty"`     // of the implicit keep
	Redirects []Redirect `json:"redirects,omitempty"`
	Responses []Respond  `json:"responses,omitempty"`
	Marks     []Remember `json:"marks,omitempty"` // set once the message is where it should be
}

// Keeps reports whether the message goes to the default folder besides what
// Files says.
func (p Plan) Keeps() bool { return !p.Cancelled }
