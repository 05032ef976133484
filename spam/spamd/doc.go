// Package spamd serves SpamAssassin's spamd protocol, 1.0 to 1.5, so that spamc, Exim
// and whoever else speaks it can have messages judged by package spam.
//
// Answers are those of spamd to the octet, its flaws included where clients may see
// them: a message is read by lines, so one with a Content-length and no line end after
// it needs the client to close its side. Beyond spamd there are limits: of the length
// of lines and messages, packed or not, of connections, and of the time of each.
package spamd
