package conf

import (
	"maps"
	"slices"
	"strings"
)

// WithUser gives a ruleset on which a user's preferences are laid; the old one stays
// as it is. What only administrators may set is a Problem. What the preferences do not
// name is shared.
func (s *Ruleset) WithUser(name, text string, o Options) *Ruleset {
	c := *s
	c.under, c.touched, c.whole, c.files, c.Problems, c.Notes = s, nil, false, nil, nil, nil
	c.scores, c.settings, c.lists, c.describe = map[string][4]float64{}, map[string]setting{}, map[string]AddressList{}, map[string]string{}
	p := parserInto(&c, o)
	p.user = true
	p.read(name, text)
	p.finish()
	return p.Ruleset
}

// own copies what a line of preferences may change.
func (p *parser) own(key string) {
	p.touched = append(p.touched, key)
	o, known := options[key]
	switch {
	case p.whole || key == "score" || key == "describe" || key == "add_header" || key == "remove_header" || key == "clear_headers" || key == "report_safe":
	case strings.HasPrefix(key, "unwelcomelist_") || strings.HasPrefix(key, "unblocklist_"):
		name := strings.TrimPrefix(key, "un")
		for _, list := range []string{name, "def_" + name} {
			p.ownList(list)
			p.ownPairs(list)
		}
	case key == "rewrite_header":
		p.Rewrite = maps.Clone(p.Rewrite)
	case known && o.kind <= template:
	case known && o.kind == addresses:
		p.ownList(key)
	case known && o.kind == paired:
		p.ownPairs(key)
	default:
		p.ownAll()
	}
}

func (p *parser) ownList(name string) {
	if _, own := p.lists[name]; !own {
		l := p.under.Addresses(name)
		p.lists[name] = AddressList{maps.Clone(l.exact), slices.Clone(l.patterns)}
	}
}

func (p *parser) ownPairs(name string) {
	if p.first("pairs") {
		p.rcvd = maps.Clone(p.rcvd)
	}
	if !p.first("pairs of " + name) {
		return
	}
	list := slices.Clone(p.rcvd[name])
	for i := range list {
		list[i].Domains = slices.Clone(list[i].Domains)
	}
	p.rcvd[name] = list
}

// first reports whether something was not copied before.
func (p *parser) first(what string) bool {
	was := p.owned[what]
	if p.owned == nil {
		p.owned = map[string]bool{}
	}
	p.owned[what] = true
	return !was
}

// ownAll copies all but rules themselves, scores, descriptions and settings.
func (p *parser) ownAll() {
	s := p.Ruleset
	s.whole = true
	s.rules, s.prefixes = maps.Clone(s.rules), maps.Clone(s.prefixes)
	s.uriLists, s.updates, s.Rewrite = maps.Clone(s.uriLists), maps.Clone(s.updates), maps.Clone(s.Rewrite)
	s.Ham, s.Spam = slices.Clone(s.Ham), slices.Clone(s.Spam)
	for _, name := range s.Lists("") {
		p.ownList(name)
	}
	for name := range s.rcvd {
		p.ownPairs(name)
	}
	s.hosts = cloneEach(s.hosts, maps.Clone)
	s.nets = cloneEach(s.nets, func(n *Nets) *Nets { return &Nets{slices.Clone(n.nets), slices.Clone(n.excluded), n.Configured} })
	s.words = cloneEach(s.words, slices.Clip)
	s.pairs = cloneEach(s.pairs, maps.Clone)
	d := *s.domains
	s.domains = &Domains{maps.Clone(d.tld), maps.Clone(d.second), maps.Clone(d.third)}
}

func cloneEach[V any](m map[string]V, clone func(V) V) map[string]V {
	out := make(map[string]V, len(m))
	for k, v := range m {
		out[k] = clone(v)
	}
	return out
}

// scoresOf are a rule's scores, of the user or else of the site.
func (s *Ruleset) scoresOf(name string) (scores [4]float64, ok bool) {
	for ; s != nil && !ok; s = s.under {
		scores, ok = s.scores[name]
	}
	return scores, ok
}

// HasScore reports whether a line gives a score to a name.
func (s *Ruleset) HasScore(name string) bool {
	_, ok := s.scoresOf(name)
	return ok
}

// Description is a rule's, "" if it has none.
func (s *Ruleset) Description(name string) (text string) {
	ok := false
	for ; s != nil && !ok; s = s.under {
		text, ok = s.describe[name]
	}
	return text
}

func (s *Ruleset) setting(name string) (v setting) {
	ok := false
	for ; s != nil && !ok; s = s.under {
		v, ok = s.settings[name]
	}
	return v
}

// OwnScores are the rules to which a user's preferences give a score, sorted.
func (s *Ruleset) OwnScores() []string { return slices.Sorted(maps.Keys(s.scores)) }

// Touches reports whether a user's preferences name an option that begins so.
func (s *Ruleset) Touches(prefix string) bool {
	return slices.ContainsFunc(s.touched, func(key string) bool { return strings.HasPrefix(key, prefix) })
}

// Whole reports whether a user's preferences have changed more than scores, settings,
// descriptions and lists of addresses.
func (s *Ruleset) Whole() bool { return s.whole }

// SameRules reports whether two rulesets have the same rules, whatever they score.
func (s *Ruleset) SameRules(o *Ruleset) bool {
	if !s.whole && s.under == o {
		return true
	}
	return maps.Equal(s.rules, o.rules)
}
