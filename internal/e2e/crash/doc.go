// Package crash kills the mtad program itself, under load, and looks at what is
// left. The tests have the build tag e2e; `make test` runs the short form,
//
//	make crash N=200
//
// the long one. Each kill goes like this: the server is started with an order to
// die at a point (internal/crash), or is killed from outside, while senders and
// smtp-source fill it and an IMAP client writes down the UIDs it sees; a copy of
// the store is checked (mtad db check); the server is started again, within
// a deadline, and the mailbox is read.
//
// What must hold, and does for every kill or the test fails:
//
//   - a message answered 250 is in its local mailbox exactly once, and came to
//     the other host at least once (again if its answer was lost: RFC 1047);
//   - no message at all, answered or not, is in the mailbox twice;
//   - a UID that was seen stays with its message, and UIDVALIDITY stays.
//
// Point "checkpoint" needs nothing in the program: in WAL mode SQLite writes to
// the database file only in a checkpoint, so the kill comes upon a write to that
// file, and the wal-index says afterwards whether the checkpoint was under way.
package crash
