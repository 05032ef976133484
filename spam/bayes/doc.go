// Package bayes learns from mail that people have called spam or ham, and says how
// likely new mail is spam: SpamAssassin's Bayes (Mail::SpamAssassin::Plugin::Bayes 4.0),
// with its tokens, its arithmetic, its expiry and its form of backup, so that what was
// learned there counts here, and the other way.
//
// A message goes through in three steps: Settings.Tokens makes tokens of an Input, Learn
// counts them in a Store, and Settings.Score finds the probability from what a Store has
// counted. AutoLearner decides whether a message is clear enough to learn from unasked.
//
// The package knows of no scan: an Input carries the fields, texts, links and relays.
// What SpamAssassin leaves to chance is fixed here: the order of tokens that count the
// same, and which of more than 10,000 tokens of a header are left out.
package bayes
