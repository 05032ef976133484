// Package queue decides what to try next, when, and how many at once.
//
// An [Item] is one recipient of one message that is not done with: on its way to
// another host, put off, or held. Items are rows beside the journal that holds
// the message. A [Queue] keeps the due ones in memory, in a line for each
// destination, and hands them in jobs (one message, one destination) to the
// function that attempts delivery; what it answers becomes the row's next state.
//
// An attempt that a crash interrupts is made again: mail to other hosts goes out
// at least once. Retries come after 5, 10, 20 and 40 minutes, then 1, 2 and 4
// hours, each up to a fifth sooner or later, until the item expires (RFC 5321,
// 4.5.4.1).
package queue
