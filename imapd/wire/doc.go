// Package wire is the syntax of IMAP4rev1 as a server needs it: a [Reader] of
// commands and a [Writer] of responses over a connection. It knows tokens,
// literals, sequence sets, dates and mailbox names; it knows no command.
//
// A Reader takes one command at a time straight from the connection, without
// buffering it whole. Everything it takes into memory is bounded by [Limits]; a
// literal is measured before it is asked for. Its errors stick: after the
// first one every method returns zero values, so that a parser reads like the
// grammar and asks [Reader.End] once. Both give their buffers back to a
// [Buffers] while there is nothing to read or write, so that an idle connection
// holds none.
//
// RFC 3501 (IMAP4rev1), section 9 is the grammar; RFC 7888 the non-synchronising
// literals.
package wire
