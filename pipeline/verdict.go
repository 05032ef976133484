package pipeline

import (
	"strings"

	"mtad/smtp"
)

// Action is what a filter wants done.
type Action uint8

// The actions, in the order of their weight.
const (
	Continue   Action = iota
	Done              // this filter has no more to say: of the session before Mail, else of the transaction
	Discard           // accept and drop; not before Mail
	TempFail          // refuse for now, 4xx
	Reject            // refuse, 5xx
	Disconnect        // refuse with 421 and close
	actionCount
)

var actionNames = [actionCount]string{"continue", "done", "discard", "tempfail", "reject", "disconnect"}

// String is the action's name in traces.
func (a Action) String() string {
	if a < actionCount {
		return actionNames[a]
	}
	return "invalid"
}

// ParseAction finds the action of that name.
func ParseAction(name string) (Action, bool) {
	for a, n := range actionNames {
		if n == name {
			return Action(a), true
		}
	}
	return 0, false
}

// Refuses reports whether the action says no to the client.
func (a Action) Refuses() bool { return a >= TempFail && a < actionCount }

// Verdict is a filter's answer. Its zero value means continue.
type Verdict struct {
	Action Action
	Reply  smtp.Reply     // of a refusal; zero means the step's own words
	Mods   []Modification // applied in order; those of a refusal are recorded only
	Rcpts  []RcptVerdict  // at Message and Queued only
	Note   string         // one line for the trace: why
}

// RcptVerdict is an answer for a single recipient.
type RcptVerdict struct {
	Rcpt   RcptID
	Action Action // Continue, Discard, TempFail or Reject
	Reply  smtp.Reply
	Mods   []Modification // content edits fork the message for this recipient
}

// Refuse is the verdict of a refusal: 4xx is TempFail, 421 Disconnect, else Reject.
func Refuse(r smtp.Reply) Verdict {
	switch {
	case r.Code == 421:
		return Verdict{Action: Disconnect, Reply: r}
	case r.Temporary():
		return Verdict{Action: TempFail, Reply: r}
	}
	return Verdict{Action: Reject, Reply: r}
}

// String is how traces and golden files show a verdict:
// `reject 550 5.7.1 no; add-score rbl 4.0 "zen"`.
func (v Verdict) String() string {
	var b strings.Builder
	b.WriteString(v.Action.String())
	if !v.Reply.IsZero() {
		b.WriteString(" " + v.Reply.String())
	}
	for _, m := range v.Mods {
		b.WriteString("; " + m.String())
	}
	for _, r := range v.Rcpts {
		b.WriteString("; " + r.String())
	}
	return b.String()
}

// writes are the facts that the answer changes: what becomes of a recipient is
// part of the envelope.
func (r RcptVerdict) writes() (f Facts) {
	if r.Action == Discard || r.Action.Refuses() {
		f = Envelope
	}
	for _, m := range r.Mods {
		f |= m.writes()
	}
	return f
}

func (r RcptVerdict) String() string {
	s := "rcpt " + r.Rcpt.String() + " " + r.Action.String()
	if !r.Reply.IsZero() {
		s += " " + r.Reply.String()
	}
	for _, m := range r.Mods {
		s += ", " + m.String()
	}
	return s
}
