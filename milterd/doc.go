// Package milterd serves a pipeline as a milter: Postfix or Sendmail keep the
// SMTP session and the queue, the filters of mtad judge. It is the milter's side
// of versions 2 to 6 of the protocol, whose other side is filter "milter".
//
// A Server accepts connections of mail servers. Each is a session (session.go),
// which turns what it is told into what package smtpd would tell a
// pipeline.Flow: the client and its TLS and login from macros (client.go), the
// envelope from MAIL and RCPT, the message from header and body events. At the
// end of the message the difference between what came and what the filters made
// of it goes back as edits (edits.go), the fate as a reply (reply.go).
//
// What this protocol can not say is not swallowed: a message whose verdict the
// mail server has not offered to carry out, such as a change of the sender in
// version 2, is put off with 451 and a line in the log. Filters see a Received
// field on top of the message, as they do under smtpd: the mail server's own,
// which milters are not shown, with what is known of it.
//
// The stages Deliver and Queued belong to the mail server and are not run.
//
// There is no RFC. What is not written down anywhere is done as libmilter does it.
package milterd
