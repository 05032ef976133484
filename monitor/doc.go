// Package monitor separates privileges. A server that is started as root stays
// root in one small process, the monitor, and runs everything else as a user of
// its own in a child: whoever takes over the child by a defect of it has that
// user's rights, and what the monitor grants.
//
// [Run] is the monitor: it hands the child the sockets it bound, passes signals
// on, ends with the child's exit status, and answers calls of the child's
// [Client] over a private socket pair: run a program, add mail to a file or a
// Maildir, read a .forward file, each as the user that mail is for. The child is
// not trusted: a call is bounded in size and time, and a [Policy], which is root's,
// says what it means; it is done never as root, nor as the child's own user. The
// child gives the envelope; arguments, environment and names are made here.
//
// What is run has the environment of Postfix's local(8), no descriptors but
// standard input and output, the user's home directory, umask 077, a session of its
// own, and may gain no privileges (no_new_privs). When its time is up, the caller is gone, or
// it has ended itself, what is left of its process group is killed; so it is
// when the monitor ends.
//
// The protocol has two levels. On the channel, a pair of SOCK_SEQPACKET sockets,
// the child sends packets of two octets, version and kind: its state, or a call,
// with one end of a fresh stream socket pair. On that stream go a [Request], as
// many octets of mail as it says, and the [Answer] back; requests and answers
// are JSON after a length of four octets, big-endian.
package monitor
