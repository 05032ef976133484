// Package worker runs users' own scripts in processes apart: children of the
// server, of the same binary, that nobody's mail can make do anything else.
//
// A worker has an empty environment and one descriptor, the socket to its
// server. It may gain no privileges, and where the kernel has Landlock it sees
// no files but its program's, and no network. It is asked one call at a time and
// fetches over the socket what the script wants: its text, octets of the
// message, DNS, state. The server looks at its size while it runs, and kills it
// when it grows too large or falls silent: that call has failed then, and no
// other.
package worker
