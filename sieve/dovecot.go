package sieve

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// pipe, filter and execute run programs that the host allows
// (spec-bosch-sieve-extprograms).
var (
	dovecotPipe = extension{
		name: "vnd.dovecot.pipe", rfc: extprograms,
		commands: []commandRow{{signature: programSignature("pipe"), build: buildPipe}},
		tags: []tagRow{
			{name: "try", on: []string{"pipe"}},
		},
	}
	dovecotFilter = extension{
		name: "vnd.dovecot.filter", rfc: extprograms,
		commands: []commandRow{{signature: programSignature("filter"), build: asCommand(buildFilter)}},
		tests:    []testRow{{signature: programSignature("filter"), build: buildFilter}},
	}
	dovecotExecute = extension{
		name: "vnd.dovecot.execute", rfc: extprograms,
		commands: []commandRow{{signature: programSignature("execute", groupInput), build: asCommand(buildExecute)}},
		tests:    []testRow{{signature: programSignature("execute", groupInput), build: buildExecute}},
		tags: []tagRow{
			{name: "input", group: groupInput, takes: kindString},
			{name: "pipe", group: groupInput},
			{name: "output", on: []string{"execute"}, takes: kindString, literal: true},
		},
	}
)

const (
	extprograms       = "spec-bosch-sieve-extprograms"
	groupInput  group = "input"
)

// dovecotDebug writes to the host's log (spec-bosch-sieve-debug).
var dovecotDebug = extension{
	name: "vnd.dovecot.debug", rfc: "spec-bosch-sieve-debug",
	commands: []commandRow{{signature: signature{name: "debug_log", params: []param{{name: "message", kind: kindString}}}, build: buildDebugLog}},
}

// dovecotReport sends a report about the message (spec-bosch-sieve-report;
// RFC 5965).
var dovecotReport = extension{
	name: "vnd.dovecot.report", rfc: "spec-bosch-sieve-report",
	commands: []commandRow{{
		signature: signature{name: "report", params: []param{{name: "feedback type", kind: kindString}, {name: "message", kind: kindString}, {name: "address", kind: kindString}}},
		build:     buildReport,
	}},
	tags: []tagRow{{name: "headers_only", on: []string{"report"}}},
}

func programSignature(name string, groups ...group) signature {
	return signature{name: name, groups: groups, params: []param{{name: "program", kind: kindString}, {name: "arguments", kind: kindList, trailing: true}}}
}

// Program is a program that gets the message.
type Program struct {
	Name string
	Args []string
	Try  bool // that it fails is no failure of delivery
}

// Report is an abuse report in the format of RFC 5965.
type Report struct {
	Feedback    string // "abuse", "fraud", ...
	Message     string
	HeadersOnly bool
}

// Bounds on what a program is given.
const (
	maxProgramArgs = 32
	maxProgramArg  = 1024 // octets
)

var errProgramName = errors.New("not the name of a program")

// program reads the arguments that name a program. The name holds no variables
// (spec-bosch-sieve-extprograms, 3).
func (c *checker) program(b *bound) func(m *machine) (*Program, error) {
	name, ok := b.vals[0].constant()
	args := b.vals[1].texts
	if !ok {
		c.errorf(b.vals[0].at, "the name of a program can not hold variables")
	} else if err := checkProgram(name); err != nil {
		c.errorf(b.vals[0].at, "%s is %v", quoted(name), err)
	} else if c.opts.Programs != nil && !slices.Contains(c.opts.Programs, name) {
		c.errorf(b.vals[0].at, "there is no program %s here", quoted(name)).Hint = didYouMean(name, c.opts.Programs)
	}
	if len(args) > maxProgramArgs {
		c.errorf(b.vals[1].at, "more than %d arguments", maxProgramArgs)
	}
	return func(m *machine) (*Program, error) {
		list, err := values(m, args)
		if err != nil {
			return nil, err
		}
		for _, a := range list {
			if len(a) > maxProgramArg || strings.ContainsAny(a, "\x00\r\n") {
				return nil, fmt.Errorf("an argument of %s is too long or has more than one line", quoted(name))
			}
		}
		return &Program{Name: name, Args: list}, nil
	}
}

// checkProgram finds names that could lead out of the host's directory.
func checkProgram(s string) error {
	if s == "" || len(s) > 128 || s[0] == '.' || strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r == '/' || r == '\\' || r == 0x7f }) {
		return errProgramName
	}
	return nil
}

func buildPipe(c *checker, b *bound) action {
	program, try := c.program(b), b.tag("try")
	return func(m *machine) error {
		p, err := program(m)
		if err != nil {
			return err
		}
		p.Try = try
		return b.perform(m, Action{Kind: Pipe, Program: p})
	}
}

// asCommand makes a command of a test, whose outcome nobody asks for.
func asCommand(build func(*checker, *bound) test) func(*checker, *bound) action {
	return func(c *checker, b *bound) action {
		t := build(c, b)
		return func(m *machine) error {
			_, err := t(m)
			return err
		}
	}
}

func buildFilter(c *checker, b *bound) test {
	program := c.program(b)
	return func(m *machine) (bool, error) {
		p, err := program(m)
		if err != nil {
			return false, err
		}
		if m.env.Programs == nil {
			return false, nil
		}
		changed, ok, err := m.env.Programs.Filter(m.ctx, m.message, p.Name, p.Args)
		if ok, err = m.asked(ok, err); err != nil || !ok {
			return false, err
		}
		return true, m.change(changed)
	}
}

func buildExecute(c *checker, b *bound) test {
	program, input, whole := c.program(b), b.option("input"), b.tag("pipe")
	var to storage
	out := b.option("output")
	if out != nil {
		if !c.has(out.at, capVariables, ":output") {
			return nil
		}
		var ok bool
		if to, ok = c.variable(out.val); !ok {
			return nil
		}
	}
	return func(m *machine) (bool, error) {
		p, err := program(m)
		if err != nil {
			return false, err
		}
		var in Input
		switch {
		case input != nil:
			if in.Text, err = input.val.texts[0].value(m); err != nil {
				return false, err
			}
		case whole:
			in.Message = m.message
		}
		if m.env.Programs == nil {
			return false, nil
		}
		got, ok, err := m.env.Programs.Execute(m.ctx, in, p.Name, p.Args)
		if ok, err = m.asked(ok, err); err != nil || !ok {
			return false, err
		}
		if out != nil {
			m.set(to, clip(strings.ToValidUTF8(string(got), "\uFFFD"), m.limits.VariableSize))
		}
		return true, nil
	}
}

func buildDebugLog(_ *checker, b *bound) action {
	message := b.vals[0].texts[0]
	return func(m *machine) error {
		s, err := message.value(m)
		if err != nil || m.env.Log == nil {
			return err
		}
		m.env.Log(int(m.line), s)
		return m.spend(1000)
	}
}

func buildReport(c *checker, b *bound) action {
	kind, message, to, short := b.vals[0].texts[0], b.vals[1].texts[0], b.vals[2].texts[0], b.tag("headers_only")
	if s, ok := b.vals[2].constant(); ok {
		if _, err := parseOutbound(s); err != nil {
			c.errorf(b.vals[2].at, "%s is %v", quoted(s), err)
		}
	}
	if s, ok := b.vals[0].constant(); ok && !isFeedback(s) {
		c.errorf(b.vals[0].at, "%s is no feedback type", quoted(s)).Hint = `write "abuse", "fraud", "virus" or "not-spam"`
	}
	return func(m *machine) error {
		var got [3]string
		for i, t := range []text{kind, message, to} {
			s, err := t.value(m)
			if err != nil {
				return err
			}
			got[i] = s
		}
		if !isFeedback(got[0]) {
			return fmt.Errorf("report: %s is no feedback type", quoted(got[0]))
		}
		a, err := parseOutbound(got[2])
		if err != nil {
			return fmt.Errorf("report: %s is %w", quoted(got[2]), err)
		}
		return b.perform(m, Action{Kind: SendReport, Address: a, Report: &Report{got[0], got[1], short}})
	}
}

// isFeedback reports whether s can be a feedback type (RFC 5965, 3.1).
func isFeedback(s string) bool { return s != "" && !strings.ContainsFunc(s, notLabel) }
