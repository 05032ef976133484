package sieve

import (
	"errors"
	"time"
)

// Limits bounds what a script can use. Zero fields mean DefaultLimits.
type Limits struct {
	Script       int   // octets of its text
	Scripts      int   // of all scripts that it includes, itself among them
	Nesting      int   // of blocks in blocks, of tests in tests, of includes; RFC 5228, 2.10.7 wants 15
	Actions      int   // taken on one message
	Redirects    int   // taken on one message
	Steps        int64 // work of one run; the default is one to three seconds of it
	Variables    int   // distinct ones; RFC 5229, 6 wants 128
	VariableSize int   // octets of one; RFC 5229, 6 wants 4,000
	StringSize   int   // octets of a string with variables in it
	Content      int   // octets that are looked at of a body or of a part's content; the rest is not seen
	Edits        int   // changes of the message, and parts replaced
	// VacationMin and VacationMax bound the time between two answers to one
	// sender, VacationDefault is what it is where the script does not say
	// (RFC 5230, 4.1); DuplicateMax bounds how long a mark is kept and is
	// also the default (RFC 7352, 3.3).
	VacationMin, VacationDefault, VacationMax time.Duration
	DuplicateMax                              time.Duration
}

// DefaultLimits are those of the server's defaults.
var DefaultLimits = Limits{
	Script: 1 << 20, Scripts: 255, Nesting: 32, Actions: 32, Redirects: 5, Steps: 500_000_000,
	Variables: 256, VariableSize: 16 << 10, StringSize: 64 << 10, Content: 4 << 20, Edits: 100,
	VacationMin: 24 * time.Hour, VacationDefault: 7 * 24 * time.Hour, VacationMax: 365 * 24 * time.Hour,
	DuplicateMax: 7 * 24 * time.Hour,
}

func (l Limits) filled() Limits {
	d := DefaultLimits
	return Limits{
		Script: or(l.Script, d.Script), Scripts: or(l.Scripts, d.Scripts), Nesting: or(l.Nesting, d.Nesting), Actions: or(l.Actions, d.Actions),
		Redirects: or(l.Redirects, d.Redirects), Steps: or(l.Steps, d.Steps), Variables: or(l.Variables, d.Variables),
		VariableSize: or(l.VariableSize, d.VariableSize), StringSize: or(l.StringSize, d.StringSize),
		Content: or(l.Content, d.Content), Edits: or(l.Edits, d.Edits),
		VacationMin: or(l.VacationMin, d.VacationMin), VacationDefault: or(l.VacationDefault, d.VacationDefault),
		VacationMax: or(l.VacationMax, d.VacationMax), DuplicateMax: or(l.DuplicateMax, d.DuplicateMax),
	}
}

func or[T int | int64 | time.Duration](n, fallback T) T {
	if n <= 0 {
		return fallback
	}
	return n
}

// ErrLimit is wrapped by every error of a script that passed one of its Limits.
var ErrLimit = errors.New("limit passed")
