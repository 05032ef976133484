// Package aliases reads files that say where mail for a name goes: aliases(5),
// the files that ":include:" names, and users' ".forward".
//
//	postmaster: root
//	root:       alice, bob@example.org
//	archive:    /var/mail/archive          a file; with a slash at the end a Maildir
//	tickets:    "|/usr/bin/rt-mailgate"    a program, which reads the message
//	staff:      :include:/etc/mail/staff   whatever that file lists
//	owner-staff: alice                     who hears of failures of staff
//	bob:        \bob, bob@example.net      \ ends the expansion: the user, whatever aliases say
//
// It knows the forms, not what is allowed, nor who is there.
package aliases
