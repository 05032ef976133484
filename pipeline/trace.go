package pipeline

import (
	"time"

	"mtad/dns"
	"mtad/internal/jsonout"
	"mtad/message"
)

// Trace is what happened to one transaction, or to a session that never got to
// one. It grows by events; who stores it puts events of the same ID together.
type Trace struct {
	ID     message.ID `json:"id"`
	Events []Event    `json:"events"`
}

// Event is one thing that happened. Which fields are set depends on Kind.
type Event struct {
	Time   time.Time     `json:"time"`
	Kind   EventKind     `json:"kind"`
	Stage  string        `json:"stage,omitempty"`
	Step   string        `json:"step,omitempty"`   // the name in the configuration
	Filter string        `json:"filter,omitempty"` // its kind
	Action string        `json:"action,omitempty"`
	Reply  string        `json:"reply,omitempty"`
	Mods   []string      `json:"mods,omitempty"`
	Rcpt   string        `json:"rcpt,omitempty"`
	Host   string        `json:"host,omitempty"` // the peer of a delivery attempt
	Note   string        `json:"note,omitempty"`
	Err    string        `json:"err,omitempty"`
	Shadow bool          `json:"shadow,omitempty"` // recorded, not obeyed
	Masked bool          `json:"masked,omitempty"` // a refusal that postmaster's mail is spared
	Took   time.Duration `json:"took,omitempty"`   // nanoseconds
	Size   int64         `json:"size,omitempty"`   // of the message, octets
	DNS    []dns.Asked   `json:"dns,omitempty"`    // what the filter asked, and the answers
}

// WriteJSON writes the event as encoding/json would.
func (e *Event) WriteJSON(w *jsonout.Writer) {
	w.Open('{')
	w.Time("time", e.Time)
	w.String("kind", string(e.Kind))
	w.Text("stage", e.Stage)
	w.Text("step", e.Step)
	w.Text("filter", e.Filter)
	w.Text("action", e.Action)
	w.Text("reply", e.Reply)
	w.Texts("mods", e.Mods)
	w.Text("rcpt", e.Rcpt)
	w.Text("host", e.Host)
	w.Text("note", e.Note)
	w.Text("err", e.Err)
	w.Flag("shadow", e.Shadow)
	w.Flag("masked", e.Masked)
	if e.Took != 0 {
		w.Int("took", int64(e.Took))
	}
	if e.Size != 0 {
		w.Int("size", e.Size)
	}
	if len(e.DNS) > 0 {
		w.Any("dns", e.DNS)
	}
	w.Close('}')
}

// EventKind says what kind of thing happened.
type EventKind string

// The kinds of events.
const (
	EventSession EventKind = "session" // who connected; Note says how
	EventStep    EventKind = "step"    // a filter was asked
	EventMail    EventKind = "mail"    // MAIL or RCPT; Rcpt, Reply
	EventReply   EventKind = "reply"   // what the client was told in the end
	EventLogin   EventKind = "login"   // Stage has the protocol, Action "ok" or "failed", Note who by which mechanism
	EventTaken   EventKind = "taken"   // the message is on disk; Size, Note has its Message-ID
	EventQueue   EventKind = "queue"   // queued; with an Action held, released, requeued, deleted (Size recipients), expired
	EventDeliver EventKind = "deliver" // stored in a folder; with an Action redirected or discarded instead
	EventRelay   EventKind = "relay"   // an attempt at a remote host, or by what Stage names: lmtp, pipe, local, virtual, error, discard
	EventMade    EventKind = "made"    // another message was made of it; Note has its ID, Action what a report tells
)

// VerifiedName stands in the Note of a session's first event before the client's
// name, where its address and the name lead to each other.
const VerifiedName = ", which is "

// maxEvents bounds one transaction's trace; maxSessionEvents the session's part.
const (
	maxEvents        = 2000
	maxSessionEvents = 200
)

// log is a Trace in the making.
type log struct {
	events  []Event
	limit   int
	dropped int
}

// add leaves out what is too much, but neither what the client was told nor that the
// message was taken.
func (l *log) add(e Event) {
	if len(l.events) >= l.limit && e.Kind != EventTaken && e.Kind != EventReply {
		l.dropped++
		return
	}
	l.events = append(l.events, e)
}

// usualEvents is how many most transactions have.
const usualEvents = 8

// reserve makes room for a usual transaction.
func (l *log) reserve() {
	if l.events == nil {
		l.events = make([]Event, 0, usualEvents)
	}
}

// clear empties the log for the next transaction. What an unusual one took is
// given back.
func (l *log) clear() {
	clear(l.events)
	l.events, l.dropped = l.events[:0], 0
	if cap(l.events) > 2*usualEvents {
		l.events = nil
	}
}
