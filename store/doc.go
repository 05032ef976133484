// Package store is the database of one mtad process: SQLite in WAL mode with
// synchronous=FULL, and the journal whose index it is.
//
// Update is the only way to write. One goroutine runs the waiting functions in
// savepoints of one transaction and commits once, so that many writers share
// one sync. View reads from a pool of connections.
//
// A function given to Update touches only its Tx, may run twice, and does no
// input or output of its own. A function given to View collects what it needs
// and returns; it never spans a write to a network peer.
//
// # Messages
//
// The table message maps a message ID to its place in the journal and counts
// how many rows refer to it. Whoever follows up a journal record calls, in one
// transaction, Tx.Place with the record's place, Tx.Ref for each row that
// refers to it, and Tx.Applied. The position up to which everything is applied
// is stored in the same transaction; after a crash Replay presents what is
// behind it and was not applied.
package store
