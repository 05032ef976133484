// Package ask asks the DNS what rules want to know of one message: all questions at
// once and each once, while the rules that need no network run, and gathers the answers
// until a time that shrinks as they come in (Mail::SpamAssassin::AsyncLoop 4.0 and its
// rbl_timeout).
//
// An [Inquiry] is that of one message. A function asks it with [Inquiry.Ask], which never
// waits: a reply that is not there yet is Pending, and the function says so with
// ErrPending. It is called again when all that it has asked for is decided, and asks
// the same again, or what follows from the answers.
package ask
