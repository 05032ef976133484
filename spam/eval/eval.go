// Package eval has the functions that rules call: "eval:check_for_mime('...')", as
// SpamAssassin's plugins have them (Mail::SpamAssassin::Plugin::HeaderEval and so on,
// 4.0). A file here is a plugin there.
package eval

import (
	"mtad/spam/conf"
	"mtad/spam/scan"
)

// Func answers a rule: 0 is no hit, more is one (and what metas count). An error says
// why the answer can not be known; then the rule, and every meta that depends on it, is
// unknown.
type Func func(s *scan.Scan, r *conf.Rule, args []string) (float64, error)

// Unknown is why a question has no answer.
type Unknown string

func (u Unknown) Error() string { return string(u) }

// hit is what a condition counts.
func hit(b bool) (float64, error) {
	if b {
		return 1, nil
	}
	return 0, nil
}

// Functions are all functions by their names. The map must not be changed.
func Functions() map[string]Func {
	out := map[string]Func{}
	for _, table := range []map[string]Func{headerEval, relayEval, htmlEval, mimeEval, bodyEval, listEval, freemailEval, fromnameEval, bounceEval, imageEval, authEval, bayesEval} {
		for name, f := range table {
			out[name] = f
		}
	}
	return out
}
