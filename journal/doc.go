// Package journal keeps accepted messages on disk: append-only segment files,
// one record a message. A record is the truth about a message; the database is
// its index.
//
// Append returns once the record is on disk. Everybody who waits at the same
// time shares one fdatasync, and the next batch is written while one sync runs.
// Records stand in the order in which they were written, and none is
// acknowledged before all those in front of it, so a crash can only cut the end
// off. A failed write or sync abandons the segment and fails its waiters: a
// sync that is tried again may report success for pages the kernel has already
// dropped.
//
// # Segments
//
// A segment file begins with a header of 64 octets: magic, format, sequence,
// a random salt, and how far the segment before it is good. The header is
// synced, and the directory too, before the first record is acknowledged.
// Records follow, each on a multiple of 8 octets: a header of 64 octets with
// its own CRC32C, meta octets, message octets. Every record repeats the salt,
// which no sender of mail can guess, so that octets inside a message are
// never taken for a record, and says how much of its segment was on disk when
// it was written, so that a torn tail is told from damage in the middle.
//
// # The backlog
//
// Every appended record is outstanding until Done is called for it, which
// package store does when the rows that follow from it are committed. Appending
// waits while too many octets are outstanding. Mark is the position from which
// a replay has to start.
package journal
