// Package selector chooses what a command is about: messages of a sender, for a
// domain, older than two hours. The queue, traces and quarantine share it.
//
// A [Selector] is what a person asks for, on the command line ([Flags]) and on the
// wire. A room that keeps what is chosen says with [Columns] how its table
// answers, and gets a condition in SQL; what SQL does not express, a condition in
// the words of `when`, is asked of each row that is left ([Selector.Filtered]).
package selector
