// Package pipeline runs a message through one ordered list of filters.
//
// A [Filter] judges: it sees an immutable [View] of the session, the envelope
// and the message, and returns a [Verdict] with [Modification]s. It never
// changes anything itself. The loop in run.go calls the steps of a [Pipeline] in
// the order of the configuration, applies what they return, enforces what is
// configured for each step (condition, time-out, what a fault means, shadow
// mode), and records it all in a [Trace].
//
// Milter daemons, go-plugin processes, Lua scripts and Sieve scripts are
// adapters that are filters; there is no second way in.
//
// A [Flow] is one connection's way through a pipeline: the server opens it,
// tells it what the client says ([Flow.Begin], [Flow.AddRcpt],
// [Flow.SetMessage]), runs the stage that belongs to it ([Flow.Run]) and obeys
// the [Fate] that comes back. Policy answers are verdicts and faults are
// errors; the two never share a value.
//
// Reading order: filter.go, verdict.go, run.go.
package pipeline
