package sieve

import (
	"context"
	"errors"
	"maps"
	"slices"
)

// Custom is a command or a test that the host adds to the language, by
// Options.Custom.
type Custom struct {
	Extension string // the capability that a script must require
	Name      string
	Test      bool // a test; else a command
	Tags      []CustomTag
	Params    []CustomParam
	Block     bool // a command with a block, which runs when Run says so
	// Match says that the last parameter are keys, which Call.Match compares
	// values with; match type and comparator can be given as tags.
	Match bool
	// Run does it. A test's result is the first return value. It is called
	// by every run of the script, and must keep nothing but in its own place.
	Run func(ctx context.Context, call *Call) (bool, error)
}

// CustomTag is a tagged argument of a Custom.
type CustomTag struct {
	Name  string
	Takes ArgKind
}

// CustomParam is a positional argument of a Custom. Those that are Optional
// come first.
type CustomParam struct {
	Name     string
	Kind     ArgKind
	Optional bool
}

// ArgKind is the type of an argument.
type ArgKind = kind

// The kinds of arguments.
const (
	NoArg      ArgKind = kindNone
	NumberArg  ArgKind = kindNumber
	StringArg  ArgKind = kindString
	StringsArg ArgKind = kindList
)

// Call is a Custom that runs. It is valid until Run returns.
type Call struct {
	m *machine
	b *bound
	q *matcher
}

// Given reports whether the i-th argument, from 0, was written.
func (c *Call) Given(i int) bool { return c.b.vals[i].given() }

// Number is the i-th argument, from 0.
func (c *Call) Number(i int) int64 { return c.b.vals[i].num }

// Strings are those of the i-th argument, from 0, their variables filled in.
func (c *Call) Strings(i int) ([]string, error) { return values(c.m, c.b.vals[i].texts) }

// Tag is what stands behind a tag.
func (c *Call) Tag(name string) (number int64, list []string, given bool, err error) {
	t := c.b.option(name)
	if t == nil {
		return 0, nil, false, nil
	}
	list, err = values(c.m, t.val.texts)
	return t.val.num, list, true, err
}

// Block runs the block; stop ends it, not the script.
func (c *Call) Block() error {
	depth, part := c.m.depth, c.m.part
	err := c.m.run(c.b.block)
	c.m.depth, c.m.part, c.m.taken = depth, part, false
	if errors.Is(err, errStop) {
		return nil
	}
	return err
}

// Match compares values with the keys.
func (c *Call) Match(list []string) (bool, error) {
	return c.q.seek(c.m, func(_ *machine, s *seeker) error {
		for _, v := range list {
			if err := s.one(subject{text: v}); err != nil {
				return err
			}
		}
		return nil
	})
}

// Line is where in the script the call stands.
func (c *Call) Line() int { return int(c.m.line) }

// Env is what the run sees from outside. Change makes what was changed of it
// known.
func (c *Call) Env() *Env { return &c.m.env }

// Change starts anew with the message that Env has: what was decided about the
// one before is forgotten.
func (c *Call) Change() {
	m := c.m
	m.message, m.headers, m.addresses, m.edits = m.env.Message, nil, nil, 0
	m.actions, m.cancelled, m.flags, m.marks = nil, false, m.env.Flags, nil
}

// Take is what was decided so far, as if the script ended here. It is decided no
// more; what was changed of the message, and its flags, stay.
func (c *Call) Take() Result {
	m := c.m
	defer func() { m.actions, m.cancelled, m.marks = nil, false, nil }()
	r := Result{Actions: slices.Clone(m.actions), Marks: slices.Clone(m.marks), Steps: m.steps}
	if !m.cancelled {
		r.Actions = append(r.Actions, Action{Kind: Keep, Implicit: true, Flags: slices.Clip(m.flags), Message: m.edition()})
	}
	return r
}

// with is the registry with more commands and tests.
func (r *registry) with(list []Custom) *registry {
	out := &registry{
		capabilities: maps.Clone(r.capabilities), commands: maps.Clone(r.commands), tests: maps.Clone(r.tests),
		tags: maps.Clone(r.tags), comparators: r.comparators,
	}
	for _, c := range list {
		out.capabilities[c.Extension] = true
		sig := signature{name: c.Name, block: c.Block}
		for _, p := range c.Params {
			sig.params = append(sig.params, param{name: p.Name, kind: p.Kind, optional: p.Optional})
		}
		if c.Match {
			sig.groups = []group{groupComparator, groupMatch}
		}
		for _, t := range c.Tags {
			row := &tagRow{name: t.Name, on: []string{c.Name}, takes: t.Takes, ext: c.Extension}
			out.tags[t.Name] = append(slices.Clip(out.tags[t.Name]), row)
		}
		if c.Test {
			out.tests[c.Name] = &testRow{signature: sig, ext: c.Extension, build: c.build}
			continue
		}
		out.commands[c.Name] = &commandRow{signature: sig, ext: c.Extension, build: asCommand(c.build)}
	}
	return out
}

func (c Custom) build(ch *checker, b *bound) test {
	var q *matcher
	if c.Match {
		q = ch.matcher(b, b.vals[len(b.vals)-1])
	}
	return func(m *machine) (bool, error) {
		if err := m.spend(16); err != nil {
			return false, err
		}
		return c.Run(m.ctx, &Call{m, b, q})
	}
}
