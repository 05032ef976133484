package lookup

import (
	"fmt"
	"net/netip"
	"strings"
)

func openCIDR(path string, o Options) (Table, error) {
	return openPatterns(path, o, func(text string) (rules, error) { return parseRules(path, text, cidrPattern) })
}

// cidrPattern reads a network, with or without brackets around IPv6.
func cidrPattern(text string) (match matcher, groups int, rest string, err error) {
	word, rest := text, ""
	if i := strings.IndexAny(text, " \t"); i >= 0 {
		word, rest = text[:i], text[i:]
	}
	network, err := ParseNetwork(word)
	if err != nil {
		return nil, 0, "", err
	}
	match = func(key string) ([]string, verdict) {
		a, err := netip.ParseAddr(strings.Trim(key, "[]"))
		a = a.Unmap().WithZone("")
		switch {
		case err != nil || a.Is4() != network.Addr().Is4():
			return nil, foreign
		case network.Contains(a):
			return nil, fits
		}
		return nil, differs
	}
	return match, -1, rest, nil // $ stands for itself
}

// ParseNetwork reads a network as Postfix writes it: brackets around IPv6, the
// prefix length optional. An address with bits behind its prefix is an error.
func ParseNetwork(s string) (netip.Prefix, error) {
	bare := strings.NewReplacer("[", "", "]", "").Replace(s)
	if a, err := netip.ParseAddr(bare); err == nil {
		return netip.PrefixFrom(a.Unmap(), a.Unmap().BitLen()), nil
	}
	p, err := netip.ParsePrefix(bare)
	switch {
	case err != nil:
		return p, fmt.Errorf("%q is no network: want 192.0.2.0/24 or [2001:db8::]/32", s)
	case p.Masked() != p:
		return p, fmt.Errorf("%q has bits behind its prefix: want %s", s, p.Masked())
	}
	return p, nil
}
