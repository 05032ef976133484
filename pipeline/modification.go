package pipeline

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"mtad/message"
	"mtad/smtp"
)

// Modification is one edit that a filter asks for. The set is closed. String is
// how traces and golden files show it. An edit whose target has vanished is
// recorded and does nothing.
type Modification interface {
	fmt.Stringer
	apply(*state) error
	writes() Facts
}

// Faults of modifications. errGone is none: the trace notes it.
var (
	errGone      = errors.New("pipeline: target is gone")
	errNoMessage = errors.New("pipeline: edit of a message before it is there")
	errField     = errors.New("pipeline: not a header field name")
)

// SetSender changes the reverse-path.
type SetSender struct {
	Addr   smtp.Address
	Params []string // ESMTP parameters, as a milter gives them
}

// AddRecipient adds a recipient, who is resolved like any other.
type AddRecipient struct {
	Addr   smtp.Address
	Params []string
}

// RemoveRecipient removes a recipient: the one with the ID, or, if that is
// zero, the ones with the address.
type RemoveRecipient struct {
	Rcpt RcptID
	Addr smtp.Address
}

// AddHeader adds a field at the end of the header.
type AddHeader struct {
	Name, Value string
	Raw         bool // Value brings its leading white space (milter protocol 6)
}

// InsertHeader adds a field before position At, 0 being the top.
type InsertHeader struct {
	At          int
	Name, Value string
	Raw         bool
}

// SetHeader changes a field's value: the one with the ID or, if that is zero,
// the Nth (from 1) of that Name. A field that does not exist is added at the end.
type SetHeader struct {
	Field message.FieldID
	Name  string
	Nth   int
	Value string
	Raw   bool
}

// RemoveHeader removes the field with the ID or, if that is zero, the Nth (from
// 1; 0 means all) of that Name.
type RemoveHeader struct {
	Field message.FieldID
	Name  string
	Nth   int
}

// ReplaceBody replaces everything after the blank line. The octets must stay
// valid until the message is stored.
type ReplaceBody struct{ Body message.Bytes }

// Hold keeps the message in the queue until an administrator releases it.
type Hold struct{ Reason string }

// Quarantine keeps the message from its recipients, for people to look at.
type Quarantine struct{ Reason string }

// AddScore adds points to the sum that the thresholds filter judges.
type AddScore struct {
	Name   string
	Points float64
	Detail string
}

// AddAuthResult adds an authentication result.
type AddAuthResult struct{ Result AuthResult }

// Tag leaves a fact for later filters.
type Tag struct{ Name, Value string }

// SetFolder names the folder of mail that nothing files elsewhere: the junk
// folder, say.
type SetFolder struct{ Folder string }

// FileInto stores the message in a folder of the recipient, at Deliver. Unless
// it is a Copy it cancels the implicit keep. Folder "" is INBOX; one that is
// missing is made.
type FileInto struct {
	Folder string   `json:"folder"`
	Flags  []string `json:"flags,omitempty"`
	Copy   bool     `json:"copy,omitempty"`
	Edition
}

// Edition is a message as it is for one action alone; the zero Edition is the
// recipient's own revision. A filter sets Message; what is kept of it is what
// differs from the message that is stored.
type Edition struct {
	Message *message.Message `json:"-"`
	Edited  []byte           `json:"edited,omitempty"` // octets in place of the first Skip
	Skip    int64            `json:"skip,omitempty"`   // octets of the message
}

// CancelKeep drops the implicit keep, at Deliver: what nothing files is dropped.
type CancelKeep struct{}

// SetFlags sets the flags of the implicit keep, at Deliver.
type SetFlags struct{ Flags []string }

// Redirect sends the message on to an address, at Deliver. Unless it is a Copy
// it cancels the implicit keep.
type Redirect struct {
	Addr smtp.Address `json:"addr"`
	Copy bool         `json:"copy,omitempty"`
	Edition
}

// Respond sends a message of its own to an address with the null reverse-path,
// at Deliver: a vacation notice, a rejection that came too late to be a reply.
type Respond struct {
	To   smtp.Address `json:"to"`
	Data []byte       `json:"data"` // the whole message, at most 64 KiB
	Why  string       `json:"why"`  // "vacation", for the trace
	// Once, if it is not "", is a key of the account's state: the message is
	// sent only if none was under that key within For.
	Once string        `json:"once,omitempty"`
	For  time.Duration `json:"for,omitempty"`
	Fcc  *FileInto     `json:"fcc,omitempty"` // where the account keeps a copy (RFC 8580)
}

// Remember sets a key of the account's state, at Deliver, once the message is
// where the plan wants it: a delivery that fails leaves no mark.
type Remember struct {
	Key string        `json:"key"` // at most 512 octets
	For time.Duration `json:"for"`
}

func (m SetSender) String() string {
	return strings.TrimSpace("set-sender " + m.Addr.Path() + " " + strings.Join(m.Params, " "))
}

func (m AddRecipient) String() string {
	return strings.TrimSpace("add-rcpt " + m.Addr.Path() + " " + strings.Join(m.Params, " "))
}

func (m RemoveRecipient) String() string {
	if m.Rcpt != 0 {
		return "remove-rcpt #" + m.Rcpt.String()
	}
	return "remove-rcpt " + m.Addr.Path()
}

func (m AddHeader) String() string { return "add-header " + m.Name + ": " + brief(m.Value) }

func (m InsertHeader) String() string {
	return "insert-header " + strconv.Itoa(m.At) + " " + m.Name + ": " + brief(m.Value)
}

func (m SetHeader) String() string {
	return "set-header " + target(m.Field, m.Name, m.Nth) + ": " + brief(m.Value)
}

func (m RemoveHeader) String() string { return "remove-header " + target(m.Field, m.Name, m.Nth) }

func (m ReplaceBody) String() string {
	return "replace-body " + strconv.FormatInt(m.Body.Size(), 10) + " octets"
}

func (m Hold) String() string       { return "hold " + strconv.Quote(m.Reason) }
func (m Quarantine) String() string { return "quarantine " + strconv.Quote(m.Reason) }

func (m AddScore) String() string {
	s := "add-score " + m.Name + " " + FormatPoints(m.Points)
	if m.Detail != "" {
		s += " " + strconv.Quote(m.Detail)
	}
	return s
}

// FormatPoints writes points with at least one decimal: 4.0, 0.25.
func FormatPoints(p float64) string {
	s := strconv.FormatFloat(p, 'f', -1, 64)
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return s
}

func (m AddAuthResult) String() string { return "add-auth-result " + m.Result.String() }

// String is the result as a header would show it: spf=pass smtp.mailfrom=a@b.
func (a AuthResult) String() string {
	s := a.Method + "=" + a.Result
	if a.Reason != "" {
		s += " reason=" + strconv.Quote(a.Reason)
	}
	for _, p := range a.Props {
		s += " " + p.Type + "." + p.Name + "=" + p.Value
	}
	return s
}

func (m Tag) String() string {
	if m.Value == "" {
		return "tag " + m.Name
	}
	return "tag " + m.Name + "=" + m.Value
}

func (m SetFolder) String() string { return "set-folder " + strconv.Quote(m.Folder) }

func (m FileInto) String() string {
	return "file-into " + strconv.Quote(m.name()) + flagList(m.Flags) + copyMark(m.Copy) + m.mark()
}

func (e Edition) mark() string {
	if e.Message != nil || e.Edited != nil {
		return " edited"
	}
	return ""
}

func (m FileInto) name() string {
	if m.Folder == "" {
		return "INBOX"
	}
	return m.Folder
}

func (CancelKeep) String() string { return "cancel-keep" }
func (m SetFlags) String() string { return "set-flags" + flagList(m.Flags) }
func (m Redirect) String() string { return "redirect " + m.Addr.Path() + copyMark(m.Copy) + m.mark() }
func (m Remember) String() string { return "remember " + m.Key + " for " + m.For.String() }
func (m Respond) String() string  { return "respond " + m.Why + " to " + m.To.Path() }
func copyMark(on bool) string {
	if on {
		return " copy"
	}
	return ""
}

func flagList(flags []string) string {
	if len(flags) == 0 {
		return ""
	}
	return " (" + strings.Join(flags, " ") + ")"
}

func target(id message.FieldID, name string, nth int) string {
	switch {
	case id != 0:
		return name + "#" + strconv.Itoa(int(id))
	case nth > 0:
		return name + "[" + strconv.Itoa(nth) + "]"
	}
	return name
}

// brief is a header value as one line of a trace.
func brief(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	if len(s) > 200 {
		s = s[:200] + "..."
	}
	return s
}

func (SetSender) writes() Facts       { return Envelope }
func (AddRecipient) writes() Facts    { return Envelope }
func (RemoveRecipient) writes() Facts { return Envelope }
func (AddHeader) writes() Facts       { return Header }
func (InsertHeader) writes() Facts    { return Header }
func (SetHeader) writes() Facts       { return Header }
func (RemoveHeader) writes() Facts    { return Header }
func (ReplaceBody) writes() Facts     { return Body }
func (Hold) writes() Facts            { return Envelope }
func (Quarantine) writes() Facts      { return Envelope }
func (AddScore) writes() Facts        { return Scores }
func (AddAuthResult) writes() Facts   { return AuthResults }
func (Tag) writes() Facts             { return Tags }
func (SetFolder) writes() Facts       { return Tags }
func (FileInto) writes() Facts        { return Effects }
func (CancelKeep) writes() Facts      { return Effects }
func (SetFlags) writes() Facts        { return Effects }
func (Redirect) writes() Facts        { return Effects }
func (Respond) writes() Facts         { return Effects }
func (Remember) writes() Facts        { return Effects }

func (m SetSender) apply(s *state) error {
	env := s.envelope()
	env.Sender = m.Addr
	if m.Params != nil {
		p, err := smtp.ParseMailParams(strings.Join(m.Params, " "), anyParam)
		if err != nil {
			return err
		}
		env.Params = p
	}
	return nil
}

func anyParam(string) bool { return true }

func (m AddRecipient) apply(s *state) error {
	p, err := smtp.ParseRcptParams(strings.Join(m.Params, " "), anyParam)
	if err != nil {
		return err
	}
	env := s.envelope()
	for _, r := range env.Rcpts {
		if r.Addr.Equal(m.Addr) {
			return nil
		}
	}
	s.nextRcpt++
	env.Rcpts = append(env.Rcpts, Recipient{ID: s.nextRcpt, Addr: m.Addr, Params: p, Added: true})
	return nil
}

func (m RemoveRecipient) apply(s *state) error {
	env := s.envelope()
	n := len(env.Rcpts)
	env.Rcpts = slices.DeleteFunc(env.Rcpts, func(r Recipient) bool {
		if m.Rcpt != 0 {
			return r.ID == m.Rcpt
		}
		return r.Addr.Equal(m.Addr)
	})
	if len(env.Rcpts) == n {
		return errGone
	}
	return nil
}

func (m AddHeader) apply(s *state) error { return s.insert(-1, m.Name, m.Value, m.Raw) }

func (m InsertHeader) apply(s *state) error { return s.insert(max(m.At, 0), m.Name, m.Value, m.Raw) }

// insert adds a field before position at; -1 is the end.
func (s *state) insert(at int, name, value string, raw bool) error {
	if !message.ValidFieldName(name) {
		return fmt.Errorf("%w: %q", errField, name)
	}
	field := format(name, value, raw)
	id := message.FieldID(0) // the base's; forks take the same
	return s.eachMessage(func(m *message.Message) (*message.Message, bool) {
		h := m.Header()
		to := at
		if to < 0 {
			to = h.Len()
		}
		if id == 0 {
			h, id = h.Insert(to, field)
		} else {
			h = h.InsertAs(to, field, id)
		}
		return m.WithHeader(h), true
	})
}

func format(name, value string, raw bool) []byte {
	if raw {
		return message.FormatRawField(name, value)
	}
	return message.FormatField(name, value)
}

func (m SetHeader) apply(s *state) error {
	if !message.ValidFieldName(m.Name) {
		return fmt.Errorf("%w: %q", errField, m.Name)
	}
	field := format(m.Name, m.Value, m.Raw)
	err := s.eachMessage(func(msg *message.Message) (*message.Message, bool) {
		h, ok := msg.Header().Set(nth(msg, m.Field, m.Name, max(m.Nth, 1)), field)
		return msg.WithHeader(h), ok
	})
	if errors.Is(err, errGone) && m.Field == 0 {
		return s.insert(-1, m.Name, m.Value, m.Raw)
	}
	return err
}

func (m RemoveHeader) apply(s *state) error {
	return s.eachMessage(func(msg *message.Message) (*message.Message, bool) {
		h := msg.Header()
		if m.Field == 0 && m.Nth == 0 {
			rest := h.Without(func(f message.Field) bool { return f.Is(m.Name) })
			return msg.WithHeader(rest), rest != h
		}
		h, ok := h.Remove(nth(msg, m.Field, m.Name, m.Nth))
		return msg.WithHeader(h), ok
	})
}

// nth is the ID of the nth field of a name, 0 if there is none; id wins.
func nth(m *message.Message, id message.FieldID, name string, n int) message.FieldID {
	if id != 0 {
		return id
	}
	for _, f := range m.Header().Fields() {
		if f.Is(name) {
			if n--; n == 0 {
				return f.ID
			}
		}
	}
	return 0
}

func (m ReplaceBody) apply(s *state) error {
	return s.eachMessage(func(msg *message.Message) (*message.Message, bool) {
		return msg.WithBody(m.Body), true
	})
}

func (m Hold) apply(s *state) error {
	s.envelope().Hold = m.Reason
	return nil
}

func (m Quarantine) apply(s *state) error {
	s.envelope().Quarantine = m.Reason
	return nil
}

func (m AddScore) apply(s *state) error {
	s.scores = append(s.scores, Score{s.step, m.Name, m.Points, m.Detail})
	return nil
}

func (m AddAuthResult) apply(s *state) error {
	r := m.Result
	r.Step = s.step
	s.auth = append(s.auth, r)
	return nil
}

func (m Tag) apply(s *state) error {
	s.tags = append(s.tags, Tagged(m))
	return nil
}

func (m SetFolder) apply(s *state) error {
	s.folder = m.Folder
	return nil
}

func (m FileInto) apply(s *state) error {
	s.plan.Files = append(slices.Clip(s.plan.Files), m)
	s.plan.Cancelled = s.plan.Cancelled || !m.Copy
	return nil
}

func (CancelKeep) apply(s *state) error {
	s.plan.Cancelled = true
	return nil
}

func (m SetFlags) apply(s *state) error {
	s.plan.Flags = m.Flags
	return nil
}

func (m Redirect) apply(s *state) error {
	s.plan.Redirects = append(slices.Clip(s.plan.Redirects), m)
	s.plan.Cancelled = s.plan.Cancelled || !m.Copy
	return nil
}

func (m Respond) apply(s *state) error {
	if len(m.Data) > 64<<10 {
		return errors.New("pipeline: response of more than 64 KiB")
	}
	s.plan.Responses = append(slices.Clip(s.plan.Responses), m)
	return nil
}

func (m Remember) apply(s *state) error {
	if len(m.Key) > 512 || len(s.plan.Marks) >= maxMarks {
		return errors.New("pipeline: too many keys to remember, or too long a one")
	}
	s.plan.Marks = append(slices.Clip(s.plan.Marks), m)
	return nil
}

// maxMarks bounds what is to be remembered of one message.
const maxMarks = 32
