// Package spam judges messages by SpamAssassin's rules: it reads the rules as they are
// (package conf), takes messages apart as SpamAssassin does (mail, uri, relay), and
// finds the same hits and the same score, in a fraction of the time.
//
// What makes it fast: every pattern must contain certain octets to match, and one pass
// over a text finds of all patterns the few that can (regex.Filter); only those run, on
// bytes, with a budget of steps. Metas are a graph in the order of their needs.
//
// What can not be known counts as unknown, never as zero: a function that is not
// offered, a pattern that ran out of steps, a question that had no answer in time. A
// meta that depends on such a rule is unknown too, unless the rest of it decides.
//
// The package knows nothing of the server around it.
package spam
