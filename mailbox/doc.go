// Package mailbox keeps the folders of accounts: which messages are in them,
// their UIDs, flags and modification sequences (RFC 3501, RFC 7162), and who
// waits for changes.
//
// The rows are an index. Message bytes are in the journal and are stored once,
// however many folders hold them; an Entry is a short prefix of its own
// followed by the journalled message from some octet on. Beside it may lie a
// Summary, which a reader made of the message and wants to find again.
//
// Whatever a Store answers is committed: UIDs and mod-sequences once shown
// never change. A mod-sequence grows by one with each change to a folder.
package mailbox
