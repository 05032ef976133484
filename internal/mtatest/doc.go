// Package mtatest is what the tests of several rooms share: running programs
// that other people wrote and finding ports for them, private instances of
// Postfix, OpenDKIM and SpamAssassin, a host that takes mail, a clock that tests
// move, and the checks of a plugin's README.
//
// Everything is on loopback, in a directory of its own, and ends with the test,
// by its process. A program that is not installed skips the test and is named.
// Nothing but tests may import it.
package mtatest
