// Package trace keeps what happened to messages: the events of
// [pipeline.Trace], by message ID, in a file of its own.
//
// It stands off the delivery path. [Log.Add] only puts a trace into a bounded
// queue; one goroutine writes what has gathered there. Traces are not mail: a
// full queue drops them and counts the drops, the file is not synced, it forgets
// the oldest when it reaches its size, and if it is damaged it is set aside and
// begun anew. Whoever reads sees everything that was added before.
package trace
