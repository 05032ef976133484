package scan

import (
	"maps"
	"slices"

	"mtad/spam/bayes"
	"mtad/spam/relay"
	"mtad/spam/uri"
)

// BayesSettings are those of the rules, made once.
func (s *Settings) BayesSettings() *bayes.Settings {
	return s.Once(bayesKey{}, func() any { return bayes.NewSettings(s.Rules) }).(*bayes.Settings)
}

type bayesKey struct{}

// BayesInput is what Bayes makes tokens of. A message that was looked at by rules has
// more metadata than one that is only learned: the domains of sender and author.
func (c *Scan) BayesInput(s *bayes.Settings, checked bool) *bayes.Input {
	in := s.Input(c.Mail)
	in.Metadata = c.metadata(checked)
	in.Addresses, in.Cut = fieldAddresses, c.Cut
	if s.URI {
		in.URIs, in.HTMLURIs = c.Links().Found()
	}
	return in
}

// BayesIgnores reports whether the message is from or to somebody whose mail Bayes does
// not look at.
func (c *Scan) BayesIgnores() bool {
	in := func(list string, addresses []string) bool {
		l := c.Rules.Addresses(list)
		return slices.ContainsFunc(addresses, func(a string) bool { _, ok := l.Match(a); return ok })
	}
	return in("bayes_ignore_from", c.AllFrom()) || in("bayes_ignore_to", c.AllTo())
}

func (c *Scan) metadata(checked bool) []bayes.Metadata {
	all := map[string]string{
		"x-spam-relays-trusted": relay.Join(c.Path.Trusted), "x-spam-relays-untrusted": relay.Join(c.Path.Untrusted),
		"x-spam-relays-internal": relay.Join(c.Path.Internal), "x-spam-relays-external": relay.Join(c.Path.External),
	}
	for name, value := range c.meta {
		if checked || name != "x-senderdomain" && name != "x-authordomain" {
			all[name] = value
		}
	}
	var out []bayes.Metadata
	for _, name := range slices.Sorted(maps.Keys(all)) {
		out = append(out, bayes.Metadata{Name: name, Value: all[name]})
	}
	return out
}

// fieldAddresses takes a field with addresses apart for Bayes.
func fieldAddresses(value string) []bayes.Address {
	var out []bayes.Address
	for _, a := range uri.Addresses(value) {
		out = append(out, bayes.Address{Phrase: a.Phrase, Address: a.Address})
	}
	return out
}
