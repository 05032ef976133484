// Package sieve runs Sieve scripts (RFC 5228) as a filter: each recipient's own
// at Deliver, or one for all at Deliver or Message. The language is in
// mtad/sieve; here its actions become a plan or a verdict.
package sieve
