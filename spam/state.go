package spam

import "mtad/spam/conf"

// State says whether a rule runs.
type State string

// The states of rules.
const (
	Runs   State = "runs"
	Off    State = "off" // it has no score, or the options leave it out
	Cannot State = "cannot run"
)

// State says whether a rule runs, and else why not.
func (e *Engine) State(name string) (s State, why string) {
	if e.taught != nil {
		e = e.taught
	}
	r := e.byName[name]
	switch {
	case r == nil:
		return Off, "there is no such rule"
	case e.cannot[name] != "":
		return Cannot, e.cannot[name]
	case e.score(r) == 0:
		return Off, "its score is 0"
	case !e.runs(r) && r.Flags.Net:
		return Off, "it needs the network"
	case !e.runs(r):
		return Off, "it needs Bayes"
	case r.Type == conf.Meta && e.dead.has(r.id):
		return Off, "it depends on a meta that has no score"
	}
	return Runs, ""
}
