package sieve

import (
	"slices"
	"strings"
)

// Options of Compile. The zero value offers every extension under DefaultLimits.
type Options struct {
	Without   []string // capabilities that are not offered
	Separator string   // between user and detail of a local-part: each character is one; "" is "+"
	Limits    Limits
	// Include finds the text of another script (RFC 6609, 3.2). location is
	// "personal" or "global". It returns an error that wraps fs.ErrNotExist
	// if there is none. nil means that there are no other scripts.
	Include func(location, name string) (text string, err error)
	// Programs are the names that scripts may run by pipe, filter and
	// execute; nil means any name, which the host judges when it is run.
	Programs []string
	// Custom are commands and tests that the host adds to the language.
	Custom []Custom
}

// Script is a compiled script, with those that it includes. It is immutable.
type Script struct {
	unit
	globals int
	opts    Options
}

// unit is one script: the main one, or one that is included.
type unit struct {
	name     string // as traces show it; "" for the main script
	body     block
	slots    int
	requires []string
	delivery string // a capability of those that it requires which only a delivery has
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
	s := &Script{opts: opts}
	l := &linker{opts: &s.opts, reg: language(), globals: map[string]int{}, units: map[string]*unit{}}
	if len(opts.Custom) > 0 {
		l.reg = l.reg.with(opts.Custom)
	}
	problems, ok := l.compile(&s.unit, script)
	s.globals = len(l.globals)
	if !ok {
		return nil, problems
	}
	return s, problems
}

// linker compiles a script and those that it includes.
type linker struct {
	opts    *Options
	reg     *registry
	globals map[string]int // of variables that scripts share
	units   map[string]*unit
	open    []string // scripts that are being compiled
	octets  int
}

// compile compiles one script into u; false if it has errors.
func (l *linker) compile(u *unit, text string) (Problems, bool) {
	r := &report{text: text}
	if l.octets += len(text); l.octets > l.opts.Limits.Script {
		r.text = ""
		r.errorf(span{}, "the script has %d octets; at most %d are allowed", l.octets, l.opts.Limits.Script)
		return r.problems, false
	}
	// An editor's byte order mark is no part of the script.
	r.text = strings.TrimPrefix(text, "\uFEFF")
	nodes := parse(r, l.reg, l.opts.Limits.Nesting)
	c := &checker{report: r, linker: l, required: map[string]bool{}, tested: map[string]bool{}, slots: map[string]int{}}
	c.offers = slices.DeleteFunc(l.reg.names(), func(s string) bool { return slices.Contains(l.opts.Without, s) })
	u.body = c.commands(nodes)
	u.slots = len(c.slots)
	u.requires = c.requires
	if i := slices.IndexFunc(u.requires, func(s string) bool { return !c.tested[s] && slices.Contains(deliveryOnly, s) }); i >= 0 {
		u.delivery = u.requires[i]
	}
	return r.sorted(), r.errors == 0
}
