// Package smtp holds the words of SMTP that both ends of a connection, and
// everything between them, share: addresses and paths, replies, enhanced status
// codes, ESMTP parameters. It does no I/O.
//
// It implements the grammar of RFC 5321 (SMTP), RFC 3463 (enhanced status codes), RFC 1870 (SIZE), RFC 6152
// (8BITMIME), RFC 3461 (DSN), RFC 4954 (AUTH=), RFC 6531 (SMTPUTF8) and RFC 8689 (REQUIRETLS). The types of ESMTP
// parameters and of status codes are those of emersion/go-smtp.
package smtp
