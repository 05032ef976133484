// Package syntax reads Perl's regular expressions on bytes into trees.
//
// [Parse] reads a pattern; what of Perl it takes and refuses stands in package regex,
// which runs what comes of it. A tree has neither characters nor classes, cases nor
// modifiers any more: all of these are sets of bytes ([Charset]), and ^, $ and \b are
// conditions on a place ([Assertion]). Trees are their reader's, who may change them.
package syntax
