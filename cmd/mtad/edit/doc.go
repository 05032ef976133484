// Package edit is what `mtad config` does that changes files: set, unset, edit,
// fmt, and the history that diff and rollback look into.
//
// Nothing is written that the server could not start with. Every change is made
// to a copy in memory, checked as `mtad config check` does, and put in the file's
// place at once; what was there before goes into the history, a folder beside the
// main file that its owner alone can read: a configuration has passwords.
package edit
