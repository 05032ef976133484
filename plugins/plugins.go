// Package plugins is the list of filter kinds that are built in. A new kind is a
// line here.
package plugins

import (
	"mtad/pipeline"
	"mtad/plugins/dkim"
	"mtad/plugins/external"
	"mtad/plugins/hygiene"
	"mtad/plugins/lua"
	"mtad/plugins/milter"
	"mtad/plugins/ratelimit"
	"mtad/plugins/rbl"
	"mtad/plugins/rewrite"
	"mtad/plugins/sieve"
	"mtad/plugins/spamscore"
	"mtad/plugins/spf"
	"mtad/plugins/thresholds"
	"mtad/spam"
)

// Deps is what kinds need from the rest of the house. Its zero value is enough
// to describe them and to check a configuration.
type Deps struct {
	Sieve sieve.Users // the users' Sieve scripts, state and folders
	Lua   lua.Users   // their Lua scripts and state
	Spam  spam.Learned

	SpamPreferences spamscore.Users
	SpamRules       *spam.Engines // nil: each filter has its own
}

// Kinds returns every kind of filter, in the order of the reference.
func Kinds(d Deps) []pipeline.Kind {
	return []pipeline.Kind{
		spf.Kind(),
		dkim.VerifyKind(),
		dkim.SignKind(),
		rbl.Kind(),
		ratelimit.Kind(),
		hygiene.Kind(),
		rewrite.Kind(),
		rewrite.BccKind(),
		milter.Kind(),
		external.Kind(),
		lua.Kind(d.Lua),
		sieve.Kind(d.Sieve),
		spamscore.Kind(d.Spam, d.SpamPreferences, d.SpamRules),
		thresholds.Kind(),
	}
}
