// Package mail takes messages apart as SpamAssassin does (Mail::SpamAssassin::Message
// 4.0), whose rules depend on how it reads what is broken: headers without an end,
// parts without boundaries, charsets that lie. What is read here is what rules see:
// the text as a reader sees it, the decoded parts, the header as it stands.
//
// It reads anything: there is no message that it refuses. A Message holds on to the
// octets it was made from, and makes the renderings when they are asked for, once;
// it belongs to one goroutine.
package mail
