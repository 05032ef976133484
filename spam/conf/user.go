package conf

import (
	"maps"
	"slices"
)

// WithUser gives a ruleset on which a user's preferences are laid; the old one stays
// as it is. What only administrators may set is a Problem.
func (s *Ruleset) WithUser(name, text string, o Options) *Ruleset {
	p := newParser(o)
	p.user = true
	p.Ruleset = s.clone()
	p.Problems = nil
	p.read(name, text)
	p.finish()
	return p.Ruleset
}

// clone copies what a line may change.
func (s *Ruleset) clone() *Ruleset {
	c := *s
	c.files = nil
	c.rules, c.scores, c.describe, c.prefixes = maps.Clone(s.rules), maps.Clone(s.scores), maps.Clone(s.describe), maps.Clone(s.prefixes)
	c.settings, c.uriLists, c.updates, c.Rewrite = maps.Clone(s.settings), maps.Clone(s.uriLists), maps.Clone(s.updates), maps.Clone(s.Rewrite)
	c.Ham, c.Spam = slices.Clone(s.Ham), slices.Clone(s.Spam)
	c.lists = make(map[string]AddressList, len(s.lists))
	for k, l := range s.lists {
		c.lists[k] = AddressList{maps.Clone(l.exact), slices.Clone(l.patterns)}
	}
	c.rcvd = make(map[string][]Pair, len(s.rcvd))
	for k, v := range s.rcvd {
		c.rcvd[k] = slices.Clone(v)
	}
	c.hosts = make(map[string]map[string]bool, len(s.hosts))
	for k, v := range s.hosts {
		c.hosts[k] = maps.Clone(v)
	}
	c.nets = make(map[string]*Nets, len(s.nets))
	for k, n := range s.nets {
		c.nets[k] = &Nets{slices.Clone(n.nets), slices.Clone(n.excluded), n.Configured}
	}
	c.words = make(map[string][]string, len(s.words))
	for k, v := range s.words {
		c.words[k] = slices.Clip(v)
	}
	c.pairs = make(map[string]map[string]string, len(s.pairs))
	for k, v := range s.pairs {
		c.pairs[k] = maps.Clone(v)
	}
	return &c
}
