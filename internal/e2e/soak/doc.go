// Package soak runs the mtad program under mixed load for a long time, and looks
// whether it stays as it was: 30 minutes with MTAD_LONG in the environment (`make
// test-long`), a quarter of a minute without (`make test`). The test has the
// build tag e2e.
//
// The load is in load_test.go and clients_test.go: SMTP with pipelining, BDAT,
// TLS, AUTH and big mail, sessions that break off, another host that puts mail
// off, IMAP clients that do everything, rules in Lua and Sieve, a process as a
// filter, a milter that is stopped for seconds, reloads every second for a part
// of the time, and the administrator's commands.
//
// What must hold:
//
//   - a message answered 250 is in each of its mailboxes once, whole, and came to
//     the other host at least once; one that was refused there is reported to
//     its sender once;
//   - memory, goroutines, descriptors, threads and files in spool do not grow:
//     the load pauses now and then, samples are taken, and the straight line
//     through those after the first tenth (least squares) does not rise by more
//     than the tolerance stated in sample_test.go;
//   - no ERROR is logged, and no WARN but of the stopped milter's step and of
//     logins that were wrong;
//   - the store, the journal and the folders agree, and `mtad stop` stops.
package soak
