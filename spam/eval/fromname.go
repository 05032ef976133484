package eval

import (
	"regexp"
	"slices"
	"strings"

	"mtad/spam/conf"
	"mtad/spam/scan"
	"mtad/spam/uri"
)

// fromnameEval are the functions of FromNameSpoof: a name that is another's address.
var fromnameEval = map[string]Func{
	"check_fromname_spoof": func(s *scan.Scan, _ *conf.Rule, a []string) (float64, error) {
		n := nameOf(s)
		level := arg(a, 0)
		if level != "0" && level != "1" && level != "2" {
			level = string(rune('0' + int(s.Rules.Number("fns_check"))))
		}
		return hit(n.address && (level == "0" || level == "1" && n.owner || level == "2" && n.domain))
	},
	"check_fromname_different":      func(s *scan.Scan, _ *conf.Rule, _ []string) (float64, error) { return hit(nameOf(s).address) },
	"check_fromname_domain_differ":  func(s *scan.Scan, _ *conf.Rule, _ []string) (float64, error) { return hit(nameOf(s).domain) },
	"check_fromname_owners_differ":  func(s *scan.Scan, _ *conf.Rule, _ []string) (float64, error) { return hit(nameOf(s).owner) },
	"check_fromname_contains_email": func(s *scan.Scan, _ *conf.Rule, _ []string) (float64, error) { return hit(nameOf(s).email) },
	"check_fromname_equals_to":      func(s *scan.Scan, _ *conf.Rule, _ []string) (float64, error) { return hit(nameOf(s).to) },
	"check_fromname_equals_replyto": func(s *scan.Scan, _ *conf.Rule, _ []string) (float64, error) { return hit(nameOf(s).replyTo) },
}

// fromName says how the address in a sender's name differs from the sender's.
type fromName struct{ email, address, domain, owner, to, replyTo bool }

func nameOf(s *scan.Scan) fromName {
	if n, ok := s.Keep["fromname"].(fromName); ok {
		return n
	}
	n := findName(s)
	s.Keep["fromname"] = n
	return n
}

var nameAddress = regexp.MustCompile("\\b([\\w.!#$%&'*+/=?^`{|}~-]+@\\w[\\w-]*\\.\\w[\\w.-]*\\w)\\b")

func notAlnum(s string) (n int) {
	for i := range len(s) {
		if !(s[i] >= 'a' && s[i] <= 'z' || s[i] >= '0' && s[i] <= '9') {
			n++
		}
	}
	return n
}

func findName(s *scan.Scan) (n fromName) {
	for _, d := range strings.Fields(strings.Join(s.Tag("DKIMDOMAIN"), " ")) {
		if slices.Contains(lower(s.Rules.Words("fns_ignore_dkim")), strings.ToLower(d)) {
			return n
		}
	}
	for _, h := range s.Rules.Words("fns_ignore_headers") {
		if text(s, h) != "" {
			return n
		}
	}
	from := strings.ToLower(s.First("From:addr"))
	fromDomain, _ := uri.Domain("mailto:"+from, s.Rules.Domains())
	name := strings.ToLower(s.First("From:name"))
	m := nameAddress.FindStringSubmatch(name)
	if fromDomain == "" || m == nil {
		return n
	}
	addr := m[1]
	domain, _ := uri.Domain("mailto:"+addr, s.Rules.Domains())
	if domain == "" {
		return n
	}
	n.email = true
	if len(name)+notAlnum(name)-notAlnum(addr)-len(addr) > int(s.Rules.Number("fns_extrachars")) {
		return n
	}
	n.address = addr != from
	n.domain = domain != fromDomain
	n.owner = owner(s, addr, domain) != owner(s, from, fromDomain)
	n.replyTo = addr == strings.ToLower(s.First("Reply-To:addr"))
	n.to = slices.Contains(s.AllTo(), addr)
	return n
}

// owner is whose an address is: that of a list of addresses that one owner has, or the
// first label of the domain.
func owner(s *scan.Scan, addr, domain string) string {
	user, host, _ := strings.Cut(addr, "@")
	for _, a := range []string{addr, user + "@" + domain} {
		for _, list := range s.Rules.Lists("FNS_") {
			if _, ok := s.Rules.Addresses(list).Match(a); ok {
				return strings.TrimPrefix(list, "FNS_")
			}
		}
		if host == domain {
			break
		}
	}
	first, _, _ := strings.Cut(domain, ".")
	return first
}
