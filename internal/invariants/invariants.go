// Package invariants has checks of what must hold whatever a peer, a user or a
// disk does: a mail is lost or doubled when it does not. Only tests have them, by
// the build tag invariants; in a release Enabled is a constant that is false, and
// the compiler takes out what it guards:
//
//	if invariants.Enabled && len(q.loaded) > q.cfg.Memory {
//		invariants.Broken("queue: %d items in memory", len(q.loaded))
//	}
//
// A check may look things up but changes nothing, and what a disk or a peer can
// cause is never one: that is an error.
package invariants

import "fmt"

// Violation is what Broken panics with.
type Violation string

// Broken panics. The text says what was found.
func Broken(format string, args ...any) {
	panic(Violation("invariant: " + fmt.Sprintf(format, args...)))
}
