package sieve

import (
	"strings"
)

// Options of Compile. The zero value offers every extension under DefaultLimits.
type Options struct {
	Without   []string // capabilities that are not offered
	Separator string   // between user and detail of a local-part; "" is "+"
	Limits    Limits
}

// Script is a compiled script. It is immutable.
type Script struct {
	body     block
	slots    int
	opts     Options
	requires []string
}

// Requires are the capabilities that the script requires, in its order.
func (s *Script) Requires() []string { return s.requires }

// Compile checks and compiles a script. It finds several errors at once; with
// any of them the Script is nil. Problems may hold warnings beside a Script.
func Compile(script string, opts Options) (*Script, Problems) {
	opts.Limits = opts.Limits.filled()
	if opts.Separator == "" {
		opts.Separator = "+"
	}
	r := &report{text: script}
	if len(script) > opts.Limits.Script {
		r.text = ""
		r.errorf(span{}, "the script has %d octets; at most %d are allowed", len(script), opts.Limits.Script)
		return nil, r.problems
	}
	// An editor's byte order mark is no part of the script.
	r.text = strings.TrimPrefix(script, "\uFEFF")
	s := &Script{opts: opts}
	reg := language()
	nodes := parse(r, reg, opts.Limits.Nesting)
	c := &checker{report: r, reg: reg, opts: &s.opts, required: map[string]bool{}, slots: map[string]int{}}
	s.body = c.commands(nodes)
	s.slots = len(c.slots)
	s.requires = c.requires
	if r.errors > 0 {
		s = nil
	}
	return s, r.sorted()
}
