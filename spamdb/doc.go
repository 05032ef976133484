// Package spamdb is what the filter of spam remembers, in the server's database: what
// Bayes has learned and what TxRep knows of senders, for the site or for one account. A Keeper gives it to filters, and
// writes for them in the background.
//
// It is the place where mtad/spam, which knows nothing of the server, meets the store.
package spamdb
