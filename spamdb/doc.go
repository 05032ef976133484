// Package spamdb is what the filter of spam remembers, in the server's database: what
// Bayes has learned, for the site or for one account. Nothing in the server opens it yet:
// rules that ask Bayes do not run.
//
// It is the place where mtad/spam, which knows nothing of the server, meets the store.
package spamdb
