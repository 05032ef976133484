package deliver

import (
	"encoding/json"
	"fmt"

	"mtad/journal"
	"mtad/message"
	"mtad/pipeline"
	"mtad/smtp"
)

// KindMessage marks a journal record whose meta is a record of this package.
const KindMessage journal.Kind = 1

// recordVersion is raised by a change that an older reader would misunderstand.
const recordVersion = 1

// record is what the journal keeps of a message besides its octets.
type record struct {
	Version int              `json:"v"`
	View    *pipeline.Stored `json:"view"`
	Acts    []act            `json:"acts"`
}

// actKind is what is to be done for a recipient.
type actKind string

const (
	actFile  actKind = "file"  // store in folders, as planned
	actRelay actKind = "relay" // send to another host
	actLater actKind = "later" // run the Deliver stage from the queue
	actSend  actKind = "send"  // a redirect, response or report that could not be made at once
	actHand  actKind = "hand"  // to a program or file of the system
)

// act is one thing to do. It stands in the record, and, where it is not done at
// once, in the queue item.
type act struct {
	Kind    actKind         `json:"kind"`
	Rcpt    smtp.Address    `json:"rcpt"`              // as in the envelope
	ID      pipeline.RcptID `json:"id"`                // of the envelope's recipient
	Params  smtp.RcptParams `json:"params"`            // of RCPT
	Account int64           `json:"account,omitempty"` // of a local mailbox
	Mailbox smtp.Address    `json:"mailbox"`           // its address; of relay: where to
	Plan    pipeline.Plan   `json:"plan"`              // of file
	Folder  string          `json:"folder,omitempty"`  // of the implicit keep
	Edited  []byte          `json:"edited,omitempty"`  // octets for this recipient alone, in place of the first Skip
	Skip    int64           `json:"skip,omitempty"`    // octets of the message
	Hold    string          `json:"hold,omitempty"`    // why it waits for an administrator
	Bounce  smtp.Reply      `json:"bounce,omitzero"`   // refused after all: the sender is told
	Dest    string          `json:"dest,omitempty"`    // of relay: the destination, as the queue knows it
	Owner   smtp.Address    `json:"owner,omitzero"`    // who sends it on, if not the sender: the owner of a list
	Hand    *hand           `json:"hand,omitempty"`    // of hand
	// Expands has the parameters of an alias whose sender is told that it was
	// expanded; those in Params are for this target.
	Expands *smtp.RcptParams `json:"expands,omitempty"`

	// Override says that the recipient's rules refused, and that a release
	// by an administrator is to deliver all the same.
	Override bool `json:"override,omitempty"`

	planned bool              // Bounce is the word of the recipient's rules
	also    []pipeline.RcptID // other recipients that lead to the same
}

// hand is a program or file of the system that an alias or a .forward names.
type hand struct {
	Command bool   `json:"command,omitempty"` // else a file
	Text    string `json:"text"`              // the command line, or the path
	User    string `json:"user,omitempty"`    // as whom; "": nobody in particular
}

// sender is who an act's mail comes from. The null sender stays: what is sent to
// nobody's account must not come back.
func (act *act) sender(v *pipeline.View) smtp.Address {
	if act.Owner.IsZero() || v.Sender().IsZero() {
		return v.Sender()
	}
	return act.Owner
}

// mailParams are the parameters of MAIL that go with an act's mail. The owner of a
// list asked for nothing.
func (act *act) mailParams(v *pipeline.View) smtp.MailParams {
	p := v.SenderParams()
	if act.sender(v) != v.Sender() {
		p.Return, p.EnvelopeID = "", ""
	}
	return p
}

// queued is what a queue item's Data holds.
type queued struct {
	Act    act              `json:"act"`
	Sender smtp.Address     `json:"sender"`
	Params smtp.MailParams  `json:"params"`
	View   *pipeline.Stored `json:"view,omitempty"`   // of later
	Client *Brought         `json:"client,omitempty"` // of hand, and of relay to a program or file
	Local  bool             `json:"local"`            // the message was submitted by a user of ours
	Proven bool             `json:"proven"`           // the sender is who the message says
}

func encodeRecord(v *pipeline.View, acts []act) ([]byte, error) {
	b, err := json.Marshal(record{recordVersion, v.Stored(), acts})
	if err != nil {
		return nil, fmt.Errorf("deliver: write record: %w", err)
	}
	return b, nil
}

func decodeRecord(b []byte, m *message.Message) (*pipeline.View, []act, error) {
	var r record
	if err := json.Unmarshal(b, &r); err != nil {
		return nil, nil, fmt.Errorf("deliver: read record: %w", err)
	}
	if r.Version != recordVersion {
		return nil, nil, fmt.Errorf("deliver: record of version %d; this program reads %d", r.Version, recordVersion)
	}
	v, err := r.View.View(m)
	return v, r.Acts, err
}
