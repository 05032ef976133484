package conf

import (
	"net/netip"
	"slices"
	"strings"
)

// AddressList is a list of patterns of addresses: "*" stands for any number of
// letters, "?" for one.
type AddressList struct {
	exact    map[string]bool
	patterns []string
}

// Len is how many patterns there are.
func (l AddressList) Len() int { return len(l.exact) + len(l.patterns) }

// Match finds the first pattern that an address matches; letters count alike.
func (l AddressList) Match(address string) (pattern string, ok bool) {
	address = strings.ToLower(address)
	if l.exact[address] {
		return address, true
	}
	for _, p := range l.patterns {
		if Glob(p, address) {
			return p, true
		}
	}
	return "", false
}

// Find reports whether a text has a match of a pattern anywhere; letters count alike.
func (l AddressList) Find(text string) bool {
	text = strings.ToLower(text)
	for p := range l.exact {
		if strings.Contains(text, p) {
			return true
		}
	}
	return slices.ContainsFunc(l.patterns, func(p string) bool { return Glob("*"+p+"*", text) })
}

func (l *AddressList) add(pattern string) {
	pattern = strings.ToLower(pattern)
	if !strings.ContainsAny(pattern, "*?") {
		if l.exact == nil {
			l.exact = map[string]bool{}
		}
		l.exact[pattern] = true
		return
	}
	if !slices.Contains(l.patterns, pattern) {
		l.patterns = append(l.patterns, pattern)
	}
}

func (l *AddressList) remove(pattern string) {
	pattern = strings.ToLower(pattern)
	delete(l.exact, pattern)
	l.patterns = slices.DeleteFunc(l.patterns, func(p string) bool { return p == pattern })
}

// Glob reports whether the whole of s matches a pattern with "*" and "?". It takes
// time in proportion to both lengths' product at most.
func Glob(pattern, s string) bool {
	star, mark := -1, 0
	i, j := 0, 0
	for j < len(s) {
		switch {
		case i < len(pattern) && pattern[i] == '*':
			star, mark = i, j
			i++
		case i < len(pattern) && (pattern[i] == '?' || pattern[i] == s[j]):
			i++
			j++
		case star >= 0:
			mark++
			i, j = star+1, mark
		default:
			return false
		}
	}
	return strings.Trim(pattern[i:], "*") == ""
}

// Nets is a list of networks, some of them excluded. The one that stands first and
// contains an address decides.
type Nets struct {
	nets       []netip.Prefix
	excluded   []bool
	Configured bool // a file has named networks
}

// newNets begins a list; SpamAssassin trusts the machine itself always.
func newNets(loopback bool) *Nets {
	n := &Nets{}
	if loopback {
		n.add(netip.MustParsePrefix("127.0.0.0/8"), false)
		n.add(netip.MustParsePrefix("::1/128"), false)
	}
	return n
}

func (n *Nets) add(p netip.Prefix, excluded bool) {
	n.nets = append(n.nets, p)
	n.excluded = append(n.excluded, excluded)
}

// Contains reports whether the list has an address.
func (n *Nets) Contains(a netip.Addr) bool {
	if n == nil {
		return false
	}
	a = a.Unmap().WithZone("")
	for i, p := range n.nets {
		if p.Contains(a) {
			return !n.excluded[i]
		}
	}
	return false
}

// within reports whether the list has a whole network.
func (n *Nets) within(net netip.Prefix) bool {
	for i, p := range n.nets {
		if p.Bits() <= net.Bits() && p.Contains(net.Addr()) {
			return !n.excluded[i]
		}
	}
	return false
}

// keep takes from the list what is not within another one, and gives what it took.
func (n *Nets) keep(within *Nets) (taken []netip.Prefix) {
	kept := &Nets{}
	for i, p := range n.nets {
		if n.excluded[i] || within.within(p) {
			kept.add(p, n.excluded[i])
		} else {
			taken = append(taken, p)
		}
	}
	n.nets, n.excluded = kept.nets, kept.excluded
	return taken
}

// nestNets leaves in internal_networks and msa_networks only what is trusted.
func (p *parser) nestNets() {
	outer := "trusted_networks"
	if !p.nets[outer].Configured {
		outer = "internal_networks"
	}
	if !p.nets[outer].Configured {
		return
	}
	for _, name := range []string{"internal_networks", "msa_networks"} {
		if name == outer || !p.nets[name].Configured {
			continue
		}
		for _, net := range p.nets[name].keep(p.nets[outer]) {
			p.problem("", "%s of %s is not in %s: it does not count", net, name, outer)
		}
	}
}

// Len is how many networks there are.
func (n *Nets) Len() int { return len(n.nets) }

// readNet reads "[!]address[/bits]", "192.0.2." and "[2001:db8::]/32", "!" excluding.
func readNet(s string) (p netip.Prefix, excluded, ok bool) {
	s, excluded = strings.CutPrefix(s, "!")
	s = strings.NewReplacer("[", "", "]", "").Replace(s)
	s, _, _ = strings.Cut(s, "%")
	if strings.Contains(s, "/") {
		addr, bits, _ := strings.Cut(s, "/")
		a, full := readAddr(addr)
		p, err := a.Prefix(min(atoi(bits), a.BitLen()))
		return p, excluded, full > 0 && err == nil && bits != "" && strings.Trim(bits, "0123456789") == ""
	}
	a, full := readAddr(s)
	if full == 0 {
		return p, excluded, false
	}
	return netip.PrefixFrom(a, full), excluded, true
}

// readAddr reads an address, perhaps only the first numbers of it ("192.168."), and
// says how many bits it gives.
func readAddr(s string) (netip.Addr, int) {
	if a, err := netip.ParseAddr(s); err == nil {
		a = a.Unmap()
		return a, a.BitLen()
	}
	parts := strings.Split(strings.TrimSuffix(s, "."), ".")
	if n := len(parts); n < 4 {
		a, err := netip.ParseAddr(strings.Join(parts, ".") + strings.Repeat(".0", 4-n))
		if err == nil && a.Is4() {
			return a, 8 * n
		}
	}
	return netip.Addr{}, 0
}
