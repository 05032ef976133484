// Package crash names the moments at which a test kills the server with its own
// hand. Without the build tag crashpoints, and no release has it, Point is an
// empty function that the compiler takes out: nothing is read, nothing can be
// switched on. See docs/decisions/0005-crash-points.md.
package crash

// The points, in the order of a message's life.
const (
	Written  = "written"  // the journal has written a record and not synced it
	Synced   = "synced"   // it has synced it, and nobody has been told
	Accepted = "accepted" // the reply is under way, the mailbox transaction has not begun
	Filing   = "filing"   // inside that transaction: every row is there, no commit
	Relaying = "relaying" // the next host has taken the message, the queue does not know
	Copied   = "copied"   // a live record of an old segment has been copied to the end
	Moved    = "moved"    // all of them have, the rows say so, and the segment is still there
)

// Points are all of them.
func Points() []string {
	return []string{Written, Synced, Accepted, Filing, Relaying, Copied, Moved}
}
