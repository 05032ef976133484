// Package smtpd is mtad's SMTP and LMTP server engine: the protocol and nothing but.
//
// A [Server] accepts connections of one listener, keeps the state of RFC 5321,
// and asks others at every stage: the listener's pipeline of filters (before the
// banner, at HELO, AUTH, MAIL, RCPT, DATA and on the whole message), the router
// who says what a recipient is, and the function that takes a message for good.
// It decides nothing itself but what the protocol and its limits demand.
//
// It implements RFC 5321 with the extensions PIPELINING (RFC 2920), SIZE
// (RFC 1870), 8BITMIME (RFC 6152), CHUNKING (RFC 3030), ENHANCEDSTATUSCODES
// (RFC 2034), STARTTLS (RFC 3207), AUTH (RFC 4954), LIMITS (RFC 9422) and PRDR
// (draft-hall-prdr).
// SMTPUTF8 (RFC 6531) and DSN (RFC 3461) are parsed, and offered when the
// configuration says that relay and delivery honour them. With [Config.LMTP] it
// speaks LMTP (RFC 2033): LHLO, and a reply for each recipient behind the message.
//
// Octets that came before STARTTLS are never read as commands after
// it, and the end of data is CR LF . CR LF and nothing else.
package smtpd
