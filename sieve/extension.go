package sieve

import (
	"maps"
	"slices"
	"strings"
	"sync"
)

// extension is one capability and what it adds to the language. The base
// language is the extension without a name. To add one, write a table like
// those at the top of base.go or variables.go and name it in extensions.
type extension struct {
	name     string // for require; "" needs none
	rfc      string
	commands []commandRow
	tests    []testRow
	tags     []tagRow
	compare  []comparator
}

// extensions is the whole language.
func extensions() []extension {
	return []extension{
		base, fileinto, envelope, encodedCharacter, copying,
		numeric, octetRequired, casemapRequired,
		variables, relational, imap4flags, subaddress, reject, ereject,
		body, date, index, mime, foreverypart, extracttext, replace, enclose, editheader,
		vacation, vacationSeconds, enotify, fcc, duplicate, environment, ihave, include,
		mailbox, mboxmetadata, servermetadata, specialUse, mailboxID, extlists, regex, unicodeCasemap,
		spamtest, spamtestplus, virustest, imapSieve,
		dovecotPipe, dovecotFilter, dovecotExecute, dovecotEnvironment, dovecotDebug, dovecotReport,
	}
}

// signature is how a command or test is written.
type signature struct {
	name   string
	groups []group // tags of these groups may stand with it
	params []param
	tests  int  // none, one or some
	block  bool // it ends with a block
}

// How many tests a command or test takes.
const (
	noTests = iota
	oneTest
	someTests // in parentheses
)

// param is a positional argument.
type param struct {
	name     string
	kind     kind
	literal  bool   // no variables in it
	optional bool   // may be left out, if leading
	trailing bool   // may be left out, if last
	needs    string // capability without which it must be left out
}

// kind is the type of an argument.
type kind uint8

const (
	kindNone kind = iota
	kindNumber
	kindString
	kindList // or a single string
)

var kindNames = [...]string{"nothing", "a number", "a string", "a string or a list of strings"}

// group is a set of tags of which one may be given (RFC 5228, 2.6).
type group string

const (
	groupMatch      group = "match type"
	groupComparator group = "comparator"
	groupPart       group = "address part"
	groupSize       group = "relation"
)

// commandRow is a command. build returns what it does; it is called only if
// nothing is wrong with the arguments, and may report more.
type commandRow struct {
	signature
	first bool // only before other commands: require
	after bool // only behind if or elsif
	ends  bool // what follows is never reached
	loop  bool // its block can be left by break
	build func(c *checker, b *bound) action
	ext   string // set by the registry
}

// testRow is a test.
type testRow struct {
	signature
	build func(c *checker, b *bound) test
	ext   string
}

// tagRow is a tagged argument.
type tagRow struct {
	name  string
	group group    // where it may stand, and which others exclude it
	on    []string // the commands and tests it may stand with, beside those of the group
	takes kind
	// literal says that what it takes can hold no variables.
	literal bool

	match *matchType                                    // it is a match type
	part  func(a Address, opts *Options) (string, bool) // it is an address part
	apply func(m *machine, v value, a *Action) error    // it changes an action
	check func(c *checker, v value)                     // checks its argument
	ext   string
}

// action is a compiled command, test a compiled test. They are shared by all
// runs of a script and keep nothing.
type (
	action func(m *machine) error
	test   func(m *machine) (bool, error)
)

// registry finds the rows by name.
type registry struct {
	capabilities map[string]bool
	commands     map[string]*commandRow
	tests        map[string]*testRow
	tags         map[string][]*tagRow
	comparators  map[string]*comparator
}

// language is the registry of everything there is, made once.
var language = sync.OnceValue(newRegistry)

func newRegistry() *registry {
	r := &registry{
		capabilities: map[string]bool{}, commands: map[string]*commandRow{}, tests: map[string]*testRow{},
		tags: map[string][]*tagRow{}, comparators: map[string]*comparator{},
	}
	for _, e := range extensions() {
		if e.name != "" {
			r.capabilities[e.name] = true
		}
		for _, row := range e.commands {
			row.ext = e.name
			r.commands[row.name] = &row
		}
		for _, row := range e.tests {
			row.ext = e.name
			r.tests[row.name] = &row
		}
		for _, row := range e.tags {
			row.ext = e.name
			r.tags[row.name] = append(r.tags[row.name], &row)
		}
		for _, row := range e.compare {
			row.ext = e.name
			r.comparators[row.name] = &row
		}
	}
	return r
}

// Extensions are the capabilities that scripts may require, in order, as
// ManageSieve announces them (RFC 5804, 1.7).
func Extensions() []string { return language().names() }

func (r *registry) names() []string { return slices.Sorted(maps.Keys(r.capabilities)) }

// fits reports whether the tag may stand with a command or test.
func (t *tagRow) fits(s *signature) bool {
	return slices.Contains(t.on, s.name) || t.group != "" && slices.Contains(s.groups, t.group)
}

// excludes is what at most one tag may be given of.
func (t *tagRow) excludes() group {
	if t.group != "" {
		return t.group
	}
	return group(t.name)
}

// tag finds the tag of that name that may stand with s.
func (r *registry) tag(name string, s *signature) *tagRow {
	for _, t := range r.tags[name] {
		if t.fits(s) {
			return t
		}
	}
	return nil
}

// tagNames are the tags that may stand with s, with colons.
func (r *registry) tagNames(s *signature) []string {
	var out []string
	for name := range r.tags {
		if r.tag(name, s) != nil {
			out = append(out, ":"+name)
		}
	}
	slices.Sort(out)
	return out
}

// commandNames and testNames are for suggestions.
func (r *registry) commandNames() []string { return slices.Sorted(maps.Keys(r.commands)) }
func (r *registry) testNames() []string    { return slices.Sorted(maps.Keys(r.tests)) }

// String is how the command is written: `header [COMPARATOR] <names> <keys>`.
func (s *signature) String() string {
	var b strings.Builder
	b.WriteString(s.name)
	for _, g := range s.groups {
		b.WriteString(" [" + strings.ToUpper(string(g)) + "]")
	}
	for _, p := range s.params {
		if p.optional || p.trailing {
			b.WriteString(" [<" + p.name + ">]")
			continue
		}
		b.WriteString(" <" + p.name + ">")
	}
	b.WriteString([...]string{"", " <test>", " (<test>, ...)"}[s.tests])
	if s.block {
		b.WriteString(" { ... }")
	}
	return b.String()
}
