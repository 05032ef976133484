package sieve

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"
)

// Result is what a script decided.
type Result struct {
	// Actions are in the order of the script. If nothing cancelled the
	// implicit keep it is the last one. The list is empty, or has only
	// Discard, where the message is to be dropped.
	Actions []Action
	// Marks are to be remembered once the actions are done: later runs ask
	// for them by Env.Seen (RFC 7352, 3.1). Those of vacation are in Actions.
	Marks []Mark
	Steps int64 // units of work done, see Limits
}

// Mark is a message that the test duplicate has seen.
type Mark struct {
	ID  string
	For time.Duration
}

// RunError is an error of running, with the line of the command that met it.
type RunError struct {
	Script string // the included one; "" for the main script
	Line   int
	Err    error
}

func (e *RunError) Error() string {
	at := "line " + strconv.Itoa(e.Line)
	if e.Script != "" {
		at = e.Script + ", " + at
	}
	return fmt.Sprintf("sieve: %s: %v", at, e.Err)
}

// Unwrap is the error itself.
func (e *RunError) Unwrap() error { return e.Err }

// What ends a run, or a part of it, without fault.
var (
	errStop   = errors.New("stop")
	errReturn = errors.New("return")
	errBreak  = errors.New("break")
)

var errString = fmt.Errorf("a string with variables is too long: %w", ErrLimit)

// machine is one run of a script.
type machine struct {
	ctx    context.Context
	env    Env
	unit   *unit // the script at hand, or one that it includes
	opts   *Options
	limits *Limits

	steps int64
	pause int64 // when to look at the context and the limit

	line      int32
	depth     int32
	taken     bool // a branch of the present if was taken
	cancelled bool // the implicit keep is off
	actions   []Action
	marks     []Mark

	message Message // as the script has changed it so far
	edits   int
	// What redirect sends once there was an enclose (RFC 5703, 6).
	enclosed  bool
	unwrapped Message
	within    Message // the MIME part that the script at hand takes for the message; nil for all of it
	part      Entity  // of the innermost foreverypart; nil outside
	root      Entity  // the whole message, for the outermost one
	loop      int32   // which foreverypart break is to end
	now       time.Time

	vars     []string
	globals  []string
	captures captures
	caught   [][2]int // room for the next captures
	flags    []string // the internal variable of imap4flags
	included []*unit  // those that :once is not to run again
	open     []*unit  // those that are running, but the main one
	granted  []string // extensions that ihave has found, in the script at hand

	headers   []header // of message
	addresses []addresses
	seeker    seeker
	single    [1]subject
	room      room
}

// room is where the first of what a run keeps is put, so that most runs need no
// more memory than their machine's.
type room struct {
	headers   [12]header
	addresses [4]addresses
	subjects  [16]subject
	taken     int // of subjects
}

// take is room for n subjects.
func (r *room) take(n int) []subject {
	if r.taken+n > len(r.subjects) {
		return make([]subject, n)
	}
	out := r.subjects[r.taken : r.taken+n : r.taken+n]
	r.taken += n
	return out
}

// header is a field's values, kept once asked for.
type header struct {
	name   string // in upper case
	values []subject
}

// addresses are a field's mailboxes, and the parts of them asked for so far.
type addresses struct {
	name   string
	values [][]Address
	parts  []addressParts
	room   [2]addressParts // for the first parts
}

type addressParts struct {
	part   *tagRow
	values []subject
}

// Run runs the script over a message. It may be called by many goroutines at
// once. An error means that running failed, and Result is then the implicit keep
// alone (RFC 5228, 2.10.6); it is a *RunError, and wraps ErrLimit or the
// context's error where those were the cause.
func (s *Script) Run(ctx context.Context, env Env) (Result, error) {
	m := &machine{ctx: ctx, env: env, unit: &s.unit, opts: &s.opts, limits: &s.opts.Limits, message: env.Message, flags: env.Flags}
	m.headers, m.addresses = m.room.headers[:0], m.room.addresses[:0]
	if s.slots > 0 {
		m.vars = make([]string, s.slots)
	}
	if s.globals > 0 {
		m.globals = make([]string, s.globals)
	}
	err := m.look()
	if err == nil {
		err = m.enter(&s.unit)
	}
	if err != nil && !errors.Is(err, errStop) && !errors.Is(err, errReturn) {
		return Result{Actions: []Action{{Kind: Keep, Implicit: true}}, Steps: m.steps}, &RunError{m.unit.name, int(m.line), err}
	}
	if !m.cancelled {
		m.actions = append(m.actions, Action{Kind: Keep, Implicit: true, Flags: slices.Clip(m.flags), Message: m.kept()})
	}
	return Result{Actions: m.actions, Marks: m.marks, Steps: m.steps}, nil
}

// edition is the message that an action takes now; nil if it is the one that
// came.
func (m *machine) edition() Message {
	if m.edits == 0 {
		return nil
	}
	return m.message
}

// kept is the message that a keep takes. At an event of IMAP it is there
// already, and can not be changed (RFC 6785, 3.1).
func (m *machine) kept() Message {
	if m.env.Event {
		return nil
	}
	return m.edition()
}

// whole is what the script at hand takes for the message.
func (m *machine) whole() Message {
	if m.within != nil {
		return m.within
	}
	return m.message
}

// presentPart makes the part of the loop around an include the whole message of
// the script that is included (RFC 6609, 3.5), and returns what undoes this.
func (m *machine) presentPart() func() {
	part, root, within := m.part, m.root, m.within
	if part == nil {
		return func() {}
	}
	if whole, ok := part.(Message); ok && part != root {
		m.within, m.headers, m.addresses = whole, nil, nil
	}
	m.part = nil
	return func() {
		m.part, m.root = part, root
		if m.within != within {
			m.within, m.headers, m.addresses = within, nil, nil
		}
	}
}

// change puts an edited message in the place of the one at hand.
func (m *machine) change(to Message) error {
	if m.edits++; m.edits > m.limits.Edits {
		return fmt.Errorf("more than %d changes of the message: %w", m.limits.Edits, ErrLimit)
	}
	m.message, m.headers, m.addresses = to, nil, nil
	return nil
}

// enter runs a script from its beginning.
func (m *machine) enter(u *unit) error {
	if u.delivery != "" {
		if err := m.atDelivery(u.delivery); err != nil {
			m.line = 1
			return err
		}
	}
	return m.run(u.body)
}

func (m *machine) run(b block) error {
	for i := range b {
		s := &b[i]
		m.line = s.line
		if err := m.spend(16); err != nil {
			return err
		}
		if m.env.Trace != nil {
			m.traceCommand(s)
		}
		if err := s.run(m); err != nil {
			return err
		}
	}
	return nil
}

// spend charges n steps.
func (m *machine) spend(n int) error {
	if m.steps += int64(n); m.steps < m.pause {
		return nil
	}
	return m.look()
}

// look checks the deadline and the budget, and says when to look again.
func (m *machine) look() error {
	if m.steps > m.limits.Steps {
		return fmt.Errorf("more than %d steps: %w", m.limits.Steps, ErrLimit)
	}
	if err := context.Cause(m.ctx); err != nil {
		return err
	}
	m.pause = min(m.steps+1<<18, m.limits.Steps+1)
	return nil
}

// clock is the time that the whole run has.
func (m *machine) clock() time.Time {
	if m.now.IsZero() {
		m.now = time.Now()
		if m.env.Now != nil {
			m.now = m.env.Now()
		}
	}
	return m.now
}

// header are the values of a field of the message.
func (m *machine) header(name string) ([]subject, error) {
	name = asciiUpper(name)
	for i := range m.headers {
		if m.headers[i].name == name {
			return m.headers[i].values, nil
		}
	}
	out, n := m.subjects(m.whole().Header(name))
	m.headers = append(m.headers, header{name, out})
	return out, m.spend(n)
}

// subjects are values ready to be compared; n is what making them costs.
func (m *machine) subjects(list []string) (out []subject, n int) {
	out = m.room.take(len(list))
	n = len(list)
	for i, s := range list {
		out[i].text = s
		n += len(s) / 16
	}
	return out, n
}

// mailboxes are the addresses of a field of the message.
func (m *machine) mailboxes(name string) (*addresses, error) {
	name = asciiUpper(name)
	for i := range m.addresses {
		if m.addresses[i].name == name {
			return &m.addresses[i], nil
		}
	}
	list := m.whole().Addresses(name)
	m.addresses = append(m.addresses, addresses{name: name, values: list})
	a := &m.addresses[len(m.addresses)-1]
	a.parts = a.room[:0]
	return a, m.spend(8 * count(list))
}

// count is how many addresses there are in several fields.
func count(list [][]Address) int {
	n := 0
	for _, field := range list {
		n += len(field)
	}
	return n
}

// of is the part of each address that has it.
func (a *addresses) of(m *machine, part *tagRow) ([]subject, error) {
	for _, p := range a.parts {
		if p.part == part {
			return p.values, nil
		}
	}
	out := m.partsOf(a.values, part)
	a.parts = append(a.parts, addressParts{part, out})
	return out, m.spend(8 * len(out))
}

func (m *machine) partsOf(fields [][]Address, part *tagRow) []subject {
	out := m.room.take(count(fields))[:0]
	for _, list := range fields {
		for _, one := range list {
			if s, ok := part.part(one, m.opts); ok {
				out = append(out, subject{text: s})
			}
		}
	}
	return out
}

// traceCommand shows a command before it runs.
func (m *machine) traceCommand(s *statement) {
	e := Event{Kind: EventCommand, Script: m.unit.name, Line: int(s.line), Depth: int(m.depth), Name: s.name}
	for _, t := range s.shown {
		v, err := t.value(m)
		if err != nil {
			v = err.Error()
		}
		e.Values = append(e.Values, v)
	}
	m.env.Trace(e)
}

// traced is a test that shows its outcome.
func (m *machine) traced(name string, t test) (bool, error) {
	m.depth++
	ok, err := t(m)
	m.depth--
	if err == nil {
		m.env.Trace(Event{Kind: EventTest, Script: m.unit.name, Line: int(m.line), Depth: int(m.depth) + 1, Name: name, Result: ok})
	}
	return ok, err
}
