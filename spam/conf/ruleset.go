package conf

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// Version is the release of SpamAssassin whose configuration is understood, as
// "if (version >= 4.000000)" compares it.
const Version = 4.000001

// ScoreSet says which of a rule's four scores counts: those with tests over the
// network and those with Bayes are apart.
type ScoreSet int

// Bits of a ScoreSet.
const (
	WithNet   ScoreSet = 1
	WithBayes ScoreSet = 2
)

// Problem is a line that can not be obeyed, or a rule that can not run.
type Problem struct {
	File string
	Line int    // 1 is the first; 0 if it concerns the file
	Rule string // "" if the line is none of a rule
	Text string // what is wrong, and what to do
}

func (p Problem) String() string {
	s := p.Text
	if p.Rule != "" {
		s = p.Rule + ": " + s
	}
	if p.Line > 0 {
		return fmt.Sprintf("%s:%d: %s", p.File, p.Line, s)
	}
	return fmt.Sprintf("%s: %s", p.File, s)
}

// Ruleset is what a set of files says. Load makes it; it is not changed afterwards
// and may be shared between goroutines.
type Ruleset struct {
	Problems []Problem
	Notes    []Problem       // lines that are obeyed, but do not do what somebody may think
	Plugins  map[string]bool // "Mail::SpamAssassin::Plugin::DKIM" and its like that were loaded

	rules    map[string]*Rule
	sorted   []*Rule // the same, by name
	scores   map[string][4]float64
	describe map[string]string
	prefixes map[string]string // subjprefix

	settings map[string]setting
	lists    map[string]AddressList
	rcvd     map[string][]Pair
	uriLists map[string]URIList
	hosts    map[string]map[string]bool // enlist_uri_host: list, host, true or (with "!") false
	nets     map[string]*Nets
	words    map[string][]string // options that gather words
	pairs    map[string]map[string]string

	// Headers to add to ham and to spam, in order: name (without "X-Spam-") and template.
	Ham, Spam []Field
	// Rewrite are rewrite_header's texts by "Subject", "From" and "To".
	Rewrite map[string]string

	under   *Ruleset // of a user's: what counts where this one says nothing of a score, a setting, a description, a list of addresses
	touched []string // options that a user's preferences name
	whole   bool     // they have changed more than scores, settings, descriptions and lists of addresses

	domains *Domains
	dirs    []string          // where the rules are
	updates map[string]string // "# UPDATE version" of each file
	files   map[string]version
}

// Field is a header field to add.
type Field struct{ Name, Template string }

// Pair is an address pattern with domains that vouch for it.
type Pair struct {
	Pattern string
	Domains []string
}

// Rule finds a rule by its name, nil if there is none.
func (s *Ruleset) Rule(name string) *Rule { return s.rules[name] }

// Rules are all rules, sorted by name. The list is not to be changed.
func (s *Ruleset) Rules() []*Rule { return s.sorted }

// Score is what a hit of a rule counts. A rule without a score line has 1, or 0.01 if
// its name begins with "T_"; less than nothing if it is nice.
func (s *Ruleset) Score(name string, set ScoreSet) float64 {
	if scores, ok := s.scoresOf(name); ok {
		return scores[set]
	}
	score := 1.0
	if strings.HasPrefix(name, "T_") {
		score = 0.01
	}
	if r := s.rules[name]; r != nil && r.Flags.Nice {
		score = -score
	}
	return score
}

// SubjectPrefix is what a hit puts before the subject.
func (s *Ruleset) SubjectPrefix(name string) string { return s.prefixes[name] }

// Number, Bool and String are settings: their defaults if no file has them.
func (s *Ruleset) Number(name string) float64 { return s.setting(name).number }

// Count is a number of things: from 0 to 2,147,483,647, whatever the option says.
func (s *Ruleset) Count(name string) int {
	return int(min(max(s.Number(name), 0), math.MaxInt32))
}

// Bool is a yes or no.
func (s *Ruleset) Bool(name string) bool { return s.setting(name).number != 0 }

// String is a text, or a template of several lines.
func (s *Ruleset) String(name string) string { return s.setting(name).text }

// Addresses are a list of address patterns, by the name of its option
// ("welcomelist_from") or its own (enlist_addrlist).
func (s *Ruleset) Addresses(name string) AddressList {
	for ; s != nil; s = s.under {
		if l, ok := s.lists[name]; ok {
			return l
		}
	}
	return AddressList{}
}

// Lists are the names of address lists that begin with a prefix, sorted.
func (s *Ruleset) Lists(prefix string) []string {
	var out []string
	for ; s != nil; s = s.under {
		for name := range s.lists {
			if strings.HasPrefix(name, prefix) {
				out = append(out, name)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// Pairs are lists such as welcomelist_from_rcvd and welcomelist_from_dkim.
func (s *Ruleset) Pairs(name string) []Pair { return s.rcvd[name] }

// URIList is the list in the DNS that a rule's check_uridnsbl asks.
func (s *Ruleset) URIList(rule string) (URIList, bool) {
	l, ok := s.uriLists[rule]
	return l, ok
}

// Hosts is a list of enlist_uri_host: "BLOCK", "WELCOME" or any other.
func (s *Ruleset) Hosts(name string) map[string]bool { return s.hosts[name] }

// Nets is trusted_networks, internal_networks or msa_networks.
func (s *Ruleset) Nets(name string) *Nets { return s.nets[name] }

// Words are the words that an option has gathered, in order.
func (s *Ruleset) Words(name string) []string { return s.words[name] }

// Values are the names and values that an option has gathered.
func (s *Ruleset) Values(name string) map[string]string { return s.pairs[name] }

// Domains tells registered domains from what stands before them.
func (s *Ruleset) Domains() *Domains { return s.domains }

// Update is the newest version that the files of sa-update name, "" if none does.
func (s *Ruleset) Update() string {
	var out string
	for _, v := range s.updates {
		if len(v) > len(out) || len(v) == len(out) && v > out {
			out = v
		}
	}
	return out
}
