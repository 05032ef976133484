package spam

import (
	"cmp"
	"slices"
	"strings"

	"mtad/spam/conf"
	"mtad/spam/scan"
)

// What a server says of a message is in the words of package scan.
type (
	Facts     = scan.Facts
	SPF       = scan.SPF
	Signature = scan.Signature
	DMARC     = scan.DMARC
)

// Open reads rules as LoadRules does, and makes them ready.
func Open(paths []string, o Options) (*Engine, error) {
	rs, err := LoadRules(paths, conf.Options{Local: !o.Net})
	if err != nil {
		return nil, err
	}
	return New(rs, o), nil
}

// Faults are the lines of files that can not be obeyed, and the rules in them that can not
// run, each file's by their lines.
func (e *Engine) Faults(file func(name string) bool) (out []conf.Problem) {
	rs := e.settings.Rules
	for _, p := range rs.Problems {
		if file(p.File) {
			out = append(out, p)
		}
	}
	for _, r := range rs.Rules() {
		if state, why := e.State(r.Name); state == Cannot && file(r.File) {
			out = append(out, conf.Problem{File: r.File, Line: r.Line, Rule: r.Name, Text: "can not run: " + why})
		}
	}
	slices.SortStableFunc(out, func(a, b conf.Problem) int { return cmp.Or(strings.Compare(a.File, b.File), a.Line-b.Line) })
	return out
}

// Problems are the lines of the rules that can not be obeyed.
func (e *Engine) Problems() []conf.Problem { return e.settings.Rules.Problems }
