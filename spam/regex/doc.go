// Package regex is Perl's regular expressions on bytes, for an engine that runs
// the rules of SpamAssassin.
//
// # What it reads
//
// A pattern means what Perl 5.36 makes of it in qr//, given as a string at run
// time: so \Q, \L and variables are no part of it. Supported is what perlre has:
// greedy, lazy and possessive repetitions up to 65534, atomic groups, lookahead,
// lookbehind up to 255 bytes, of variable length too, back references by number,
// relative and by name, named groups, branch reset, conditionals, inline
// modifiers, /x and /xx, POSIX classes, \h \v \R \N \X \K \G, \x{} \o{} \c,
// \N{U+}, and \p{} for general categories, scripts and POSIX names.
//
// Refused with a *syntax.Error that says where: recursion, (?{code}), verbs such as
// (*ACCEPT), \b{wb}, (?[sets]), \N{names}, /l. [Regexp.Warnings] has what Perl warns
// of; SpamAssassin refuses a rule for that, and so does [CompileRule].
//
// # Bytes
//
// Texts are bytes, as Perl's are without the UTF-8 flag, and so are patterns: a
// letter in UTF-8 is two bytes or more. A character above \xFF matches nothing.
// Without other modifiers only ASCII has letters and cases. SpamAssassin compiles
// with /aa, where classes are ASCII and folding is Latin-1's: \xE9 under /i
// matches \xC9. Of /u the folding of one character to several (ß to ss) is missing.
//
// Where Perl 5.36 does not do what perlre says this package does what perlre
// says: a group in a turn of a repetition that failed, or in a failed (?!), is as
// it was before.
//
// # Cost
//
// A match backtracks, on a stack that is kept for the next match; nothing is
// allocated. [Budget] bounds the steps, which are the same on every machine. When a
// match takes many, places of program and text that failed are remembered and not
// tried again, which makes what is regular polynomial; back references, insides
// of lookarounds and of atomic groups, and of repetitions that are counted, are
// left to the budget.
//
// [Regexp.Needs] is the literals that a match contains, [Set] finds many literals
// at once, and [Filter] makes of both the list of the patterns that can match a
// text. Those without literals share automata, which accept at least what they do:
// lookarounds and \b of /u are taken to hold, back references to be anything, many
// turns of a repetition to be any number. Patterns of many instructions have an
// automaton of their own, for texts that have their literals. The states of automata
// are made as texts need them, within the bounds of a [Cache] and, for one
// [Candidates], of work. Where these end a text is taken to match: so what a filter
// says may depend on what it has seen, and what patterns say never does.
package regex
