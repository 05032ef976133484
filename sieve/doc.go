// Package sieve is the Sieve language: it checks scripts, compiles them, and
// runs them over messages. It stands alone: what it knows of a message comes
// through the interface [Message], of the rest of the world through [Env], where
// what is missing is nil; and what a script decides comes back
// as a list of [Action]s that the caller carries out.
//
//	script, problems := sieve.Compile(text, sieve.Options{})
//	if script == nil {
//		fmt.Print(problems) // line, column, the line itself, a suggestion
//	}
//	result, err := script.Run(ctx, sieve.Env{Message: m, Envelope: e})
//
// Nothing is asked of a message that the script does not look at: one that tests
// the header never touches the body.
//
// It implements RFC 5228 and every extension that [Extensions] names; each file
// says in its first lines which RFC it is.
//
// A script with an error is refused by [Compile] and never runs. What only
// running can show, such as a limit, ends the run: the result is then the
// implicit keep alone, and the error says which line (RFC 5228, 2.10.6).
// Everything a script can make grow is bounded by [Limits].
//
// Reading order: extension.go (the tables of the language), check.go (a syntax
// tree is bound to the tables and becomes closures), machine.go (they run).
// DESIGN.md says why, and how to add an extension.
package sieve
