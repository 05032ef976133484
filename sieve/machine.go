package sieve

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// Message is what a script sees of a message. Neither method touches the body.
// What they return is read only and must stay valid during the run. Names of
// fields come in any case.
type Message interface {
	// Header returns the values of every field of that name, in order:
	// unfolded, white space at the ends removed, encoded words decoded to
	// UTF-8 (RFC 5228, 2.7.2).
	Header(name string) []string
	// Addresses returns the mailboxes in every field of that name, those in
	// groups too (RFC 5228, 5.1).
	Addresses(name string) []Address
	// Size is the octets of the message.
	Size() int64
}

// Envelope is the SMTP envelope as far as it concerns the script's owner.
type Envelope struct {
	From Address // the reverse-path; zero for "<>"
	To   Address // the recipient that led here
}

// Env is what a run sees from outside.
type Env struct {
	Message  Message
	Envelope Envelope
}

// Result is what a script decided.
type Result struct {
	// Actions are in the order of the script. If nothing cancelled the
	// implicit keep it is the last one. The list is empty, or has only
	// Discard, where the message is to be dropped.
	Actions []Action
	Steps   int64 // units of work done, see Limits
}

// Limits bounds what a script can use. Zero fields mean DefaultLimits.
type Limits struct {
	Script       int   // octets of its text
	Nesting      int   // of blocks in blocks, and of tests in tests; RFC 5228, 2.10.7 wants 15
	Actions      int   // taken on one message
	Redirects    int   // taken on one message
	Steps        int64 // work of one run; the default is one to three seconds of it
	Variables    int   // distinct ones; RFC 5229, 6 wants 128
	VariableSize int   // octets of one; RFC 5229, 6 wants 4,000
	StringSize   int   // octets of a string with variables in it
}

// DefaultLimits are those of the server's defaults.
var DefaultLimits = Limits{
	Script: 1 << 20, Nesting: 32, Actions: 32, Redirects: 5, Steps: 500_000_000,
	Variables: 256, VariableSize: 16 << 10, StringSize: 64 << 10,
}

func (l Limits) filled() Limits {
	d := DefaultLimits
	return Limits{
		Script: or(l.Script, d.Script), Nesting: or(l.Nesting, d.Nesting), Actions: or(l.Actions, d.Actions),
		Redirects: or(l.Redirects, d.Redirects), Steps: or(l.Steps, d.Steps), Variables: or(l.Variables, d.Variables),
		VariableSize: or(l.VariableSize, d.VariableSize), StringSize: or(l.StringSize, d.StringSize),
	}
}

func or[T int | int64](n, fallback T) T {
	if n <= 0 {
		return fallback
	}
	return n
}

// ErrLimit is wrapped by every error of a script that passed one of its Limits.
var ErrLimit = errors.New("limit passed")

// RunError is an error of running, with the line of the command that met it.
type RunError struct {
	Line int
	Err  error
}

func (e *RunError) Error() string { return fmt.Sprintf("sieve: line %d: %v", e.Line, e.Err) }

// Unwrap is the error itself.
func (e *RunError) Unwrap() error { return e.Err }

// errStop ends a run without fault.
var errStop = errors.New("stop")

var errString = fmt.Errorf("a string with variables is too long: %w", ErrLimit)

// machine is one run of a script.
type machine struct {
	ctx    context.Context
	env    Env
	script *Script
	limits *Limits

	steps int64
	pause int64 // when to look at the context and the limit

	line      int32
	taken     bool // a branch of the present if was taken
	cancelled bool // the implicit keep is off
	actions   []Action

	vars     []string
	captures captures
	caught   [][2]int // room for the next captures
	flags    []string // the internal variable of imap4flags

	headers   []header
	addresses []addresses
}

// header is a field's values, kept once asked for.
type header struct {
	name   string // in upper case
	values []subject
}

// addresses are a field's mailboxes, and the parts of them asked for so far.
type addresses struct {
	name   string
	values []Address
	parts  []addressParts
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
	m := &machine{ctx: ctx, env: env, script: s, limits: &s.opts.Limits}
	if s.slots > 0 {
		m.vars = make([]string, s.slots)
	}
	err := m.look()
	if err == nil {
		err = m.run(s.body)
	}
	if err != nil && !errors.Is(err, errStop) {
		return Result{Actions: []Action{{Kind: Keep, Implicit: true}}, Steps: m.steps}, &RunError{int(m.line), err}
	}
	if !m.cancelled {
		m.actions = append(m.actions, Action{Kind: Keep, Implicit: true, Flags: slices.Clip(m.flags)})
	}
	return Result{Actions: m.actions, Steps: m.steps}, nil
}

func (m *machine) run(b block) error {
	for i := range b {
		m.line = b[i].line
		if err := m.spend(1); err != nil {
			return err
		}
		if err := b[i].run(m); err != nil {
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

// header are the values of a field.
func (m *machine) header(name string) ([]subject, error) {
	name = asciiUpper(name)
	for i := range m.headers {
		if m.headers[i].name == name {
			return m.headers[i].values, nil
		}
	}
	list := m.env.Message.Header(name)
	out := make([]subject, len(list))
	n := len(list)
	for i, s := range list {
		out[i].text = s
		n += len(s) / 16
	}
	m.headers = append(m.headers, header{name, out})
	return out, m.spend(n)
}

// mailboxes are the addresses of a field.
func (m *machine) mailboxes(name string) (*addresses, error) {
	name = asciiUpper(name)
	for i := range m.addresses {
		if m.addresses[i].name == name {
			return &m.addresses[i], nil
		}
	}
	list := m.env.Message.Addresses(name)
	m.addresses = append(m.addresses, addresses{name: name, values: list})
	return &m.addresses[len(m.addresses)-1], m.spend(8 * len(list))
}

// of is the part of each address that has it.
func (a *addresses) of(m *machine, part *tagRow) ([]subject, error) {
	for _, p := range a.parts {
		if p.part == part {
			return p.values, nil
		}
	}
	out := make([]subject, 0, len(a.values))
	for _, one := range a.values {
		if s, ok := part.part(one, &m.script.opts); ok {
			out = append(out, subject{text: s})
		}
	}
	a.parts = append(a.parts, addressParts{part, out})
	return out, m.spend(8 * len(out))
}
