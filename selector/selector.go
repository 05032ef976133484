package selector

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"time"

	"mtad/config"
	"mtad/message"
)

// Selector says what is chosen: what fits everything that is said. The zero
// Selector chooses all.
type Selector struct {
	IDs    []string  `json:"ids,omitempty"`    // of messages
	From   string    `json:"from,omitempty"`   // the sender: an address, @domain, or <> for the null sender
	To     string    `json:"to,omitempty"`     // the recipient: an address, or @domain
	Domain string    `json:"domain,omitempty"` // of the recipient
	Status string    `json:"status,omitempty"` // in the words of what is chosen from
	Reason string    `json:"reason,omitempty"` // a part of what keeps it there, in either case
	Before time.Time `json:"before,omitzero"`  // came before
	After  time.Time `json:"after,omitzero"`   // came after
	Filter string    `json:"filter,omitempty"` // a condition over Subject, in the words of `when`
}

// MaxIDs bounds the IDs of one Selector.
const MaxIDs = 100000

// Error is a Selector that makes no sense.
type Error struct{ text string }

func (e *Error) Error() string { return e.text }

// Errorf makes an Error.
func Errorf(format string, args ...any) error { return &Error{fmt.Sprintf(format, args...)} }

// IsZero reports whether everything is chosen.
func (s Selector) IsZero() bool { return reflect.ValueOf(s).IsZero() }

// Columns are a table's expressions in SQL for what may be asked of it. What is ""
// can not be.
type Columns struct {
	ID               string // the message's, as an integer
	From, FromDomain string // the domain in lower case
	To, Domain       string
	Reason           string // all that tells why, in lower case
	Created          string // unix milliseconds
	Status           map[string]string
	StatusWords      string // for people: "ready, deferred, held"
}

// SQL is the condition and its arguments. Values are arguments throughout, so that
// few texts of statements come about.
func (s Selector) SQL(c Columns) (where string, args []any, err error) {
	w := condition{}
	if err := s.ids(&w, c); err != nil {
		return "", nil, err
	}
	w.address("from", s.From, c.From, c.FromDomain)
	w.address("to", s.To, c.To, c.Domain)
	if s.Domain != "" {
		w.add("domain", c.Domain, " = ?", strings.ToLower(strings.TrimPrefix(s.Domain, "@")))
	}
	if s.Reason != "" {
		w.add("reason", c.Reason, " LIKE ? ESCAPE '\\'", "%"+escape(strings.ToLower(s.Reason))+"%")
	}
	if !s.Before.IsZero() {
		w.add("age", c.Created, " < ?", s.Before.UnixMilli())
	}
	if !s.After.IsZero() {
		w.add("age", c.Created, " > ?", s.After.UnixMilli())
	}
	if s.Status != "" {
		cond, ok := c.Status[s.Status]
		if !ok {
			return "", nil, Errorf("status is one of %s", c.StatusWords)
		}
		w.parts = append(w.parts, cond)
	}
	if w.err != nil {
		return "", nil, w.err
	}
	if len(w.parts) == 0 {
		return "1", nil, nil
	}
	return strings.Join(w.parts, " AND "), w.args, nil
}

// ids adds the condition on IDs.
func (s Selector) ids(w *condition, c Columns) error {
	if len(s.IDs) > MaxIDs {
		return Errorf("%d IDs at once; at most %d", len(s.IDs), MaxIDs)
	}
	if len(s.IDs) == 0 {
		return nil
	}
	ids := make([]int64, len(s.IDs))
	for i, text := range s.IDs {
		id, err := message.ParseID(text)
		if err != nil {
			return &Error{err.Error()}
		}
		ids[i] = int64(id)
	}
	list, err := json.Marshal(ids)
	if err != nil {
		return err
	}
	w.add("IDs", c.ID, " IN (SELECT value FROM json_each(?))", string(list))
	return nil
}

// condition is one that grows.
type condition struct {
	parts []string
	args  []any
	err   error
}

func (w *condition) add(what, column, test string, arg any) {
	if column == "" {
		w.err = Errorf("nothing here can be chosen by %s", what)
	}
	w.parts = append(w.parts, column+test)
	w.args = append(w.args, arg)
}

func (w *condition) address(what, want, column, domain string) {
	switch {
	case want == "":
	case want == "<>":
		w.add(what, column, " = ?", "")
	case strings.HasPrefix(want, "@"):
		w.add(what, domain, " = ?", strings.ToLower(want[1:]))
	default:
		want = strings.TrimSuffix(strings.TrimPrefix(want, "<"), ">")
		w.add(what, column, " = ? COLLATE NOCASE", want)
	}
}

// escape makes text stand for itself in LIKE.
func escape(s string) string { return strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`).Replace(s) }

// Subject is one thing that may be chosen, as Filter sees it.
type Subject struct {
	ID, From, To, Status, Reason, Dest, Host string
	Age                                      time.Duration
	Attempts                                 int
	Size                                     int64
}

// DomainOf is the domain of an address, in lower case: all of it if there is no @.
func DomainOf(addr string) string { return strings.ToLower(addr[strings.LastIndexByte(addr, '@')+1:]) }

// Variables are the names that a filter knows.
func Variables() []config.Variable[*Subject] {
	text := func(name, doc string, get func(*Subject) string) config.Variable[*Subject] {
		return config.Variable[*Subject]{
			Name: name, Type: config.ValueString, Doc: doc, Get: func(s *Subject) config.Value { return config.String(get(s)) },
		}
	}
	num := func(name, doc string, get func(*Subject) float64) config.Variable[*Subject] {
		return config.Variable[*Subject]{
			Name: name, Type: config.ValueNumber, Doc: doc, Get: func(s *Subject) config.Value { return config.Number(get(s)) },
		}
	}
	return []config.Variable[*Subject]{
		text("id", "the message's ID", func(s *Subject) string { return s.ID }),
		text("from", "the sender", func(s *Subject) string { return s.From }),
		text("from_domain", "the sender's domain, in lower case", func(s *Subject) string { return DomainOf(s.From) }),
		text("to", "the recipient", func(s *Subject) string { return s.To }),
		text("domain", "the recipient's domain, in lower case", func(s *Subject) string { return DomainOf(s.To) }),
		text("status", "as --status has it", func(s *Subject) string { return s.Status }),
		text("reason", "why it is held, or the last reply", func(s *Subject) string { return s.Reason }),
		text("dest", "the destination: a domain, a route", func(s *Subject) string { return s.Dest }),
		text("host", "the host that replied", func(s *Subject) string { return s.Host }),
		num("age", "seconds since it came", func(s *Subject) float64 { return s.Age.Seconds() }),
		num("attempts", "how often delivery was tried", func(s *Subject) float64 { return float64(s.Attempts) }),
		num("size", "octets", func(s *Subject) float64 { return float64(s.Size) }),
	}
}

// Filtered is Filter, compiled; nil is one that was not asked for.
func (s Selector) Filtered() (*config.Cond[*Subject], error) {
	if s.Filter == "" {
		return nil, nil
	}
	w, diags := config.ParseWhen(s.Filter)
	if len(diags) > 0 {
		return nil, Errorf("filter: %s", diags[0].Message)
	}
	cond, diags := config.CompileWhen(w, Variables())
	if len(diags) > 0 {
		text := diags[0].Message
		if diags[0].Hint != "" {
			text += "; " + diags[0].Hint
		}
		return nil, Errorf("filter: %s", text)
	}
	return cond, nil
}
