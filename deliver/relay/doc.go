// Package relay sends mail to other hosts over SMTP and LMTP.
//
// A [Client] takes a [Job] (one message, the recipients of one destination),
// finds the hosts that take it (MX records, or a configured route), and tries
// them in order over pooled connections. What a host is sent is the message
// byte for byte, dots stuffed and nothing else. Every recipient gets a [Result]
// with the remote's own words.
//
// It implements the client's side of RFC 5321 (choice of hosts: section 5), of
// LMTP (RFC 2033: each recipient has its own answer), of PIPELINING (RFC 2920),
// SIZE (RFC 1870), 8BITMIME (RFC 6152), STARTTLS (RFC 3207), AUTH PLAIN (RFC 4954),
// DSN (RFC 3461), SMTPUTF8 (RFC 6531), and the null MX of RFC 7505.
package relay
