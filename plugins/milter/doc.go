// Package milter lets a milter daemon judge mail: OpenDKIM, ClamAV, Rspamd,
// SpamAssassin through spamass-milter, and whatever else speaks Sendmail's milter
// protocol. It is the client's side of versions 2 to 6 of that protocol; code
// numbers and flags are those of emersion/go-milter.
//
// There is no RFC. What is not written down anywhere is done as Postfix does it
// (cleanup_milter.c, milter8.c), and checked against libmilter's state machine
// (engine.c), which ignores, without an answer, a command that it thinks out of
// place.
//
// A session (session.go) stands for one SMTP session. It does not follow the
// client's commands blindly: it notes what the milter has been told, and before
// each event tells it whatever is missing. So a milter that is asked for the
// first time when the message is there, because the mail was made here, because
// a condition did not hold before, or because the connection to it broke and was
// made anew, sees a whole SMTP session.
//
// Reading order: session.go, event.go, content.go, edit.go; wire.go and
// negotiate.go are what is below them.
package milter
