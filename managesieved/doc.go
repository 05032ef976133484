// Package managesieved is the ManageSieve server: with it users' mail programs
// read, write and activate the Sieve scripts that run when their mail comes.
//
// Reading order: server.go is what it is made of, session.go runs a connection,
// command.go is the table of commands, login.go has those about who the client
// is, script.go those about scripts. A command is one row of the table. The
// syntax is that of IMAP, read by imapd/wire; connections are those of
// internal/endpoint.
//
// A script is checked as it will be compiled when it runs, with the same
// extensions and the same other scripts to include, and one that has errors is
// not stored. What RFC 5804 leaves open is done as Dovecot does it: SETACTIVE
// checks a script again, for what is offered may have changed since it came.
//
// RFC 5804 (ManageSieve), RFC 4616 (PLAIN).
package managesieved
