package eval

import (
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"mtad/spam/conf"
	"mtad/spam/relay"
	"mtad/spam/scan"
)

// listEval are the functions of WLBLEval and WelcomeListSubject; the words whitelist
// and blacklist are the old names of welcomelist and blocklist.
var listEval = withOldNames(map[string]Func{
	"check_from_in_blocklist":           fromIn("blocklist_from"),
	"check_to_in_blocklist":             toIn("blocklist_to"),
	"check_to_in_welcomelist":           toIn("welcomelist_to"),
	"check_to_in_more_spam":             toIn("more_spam_to"),
	"check_to_in_all_spam":              toIn("all_spam_to"),
	"check_from_in_list":                func(s *scan.Scan, r *conf.Rule, a []string) (float64, error) { return fromIn(arg(a, 0))(s, r, a) },
	"check_to_in_list":                  func(s *scan.Scan, r *conf.Rule, a []string) (float64, error) { return toIn(arg(a, 0))(s, r, a) },
	"check_replyto_in_list":             replyToIn,
	"check_from_in_welcomelist":         func(s *scan.Scan, _ *conf.Rule, _ []string) (float64, error) { return hit(welcome(s) > 0) },
	"check_from_in_default_welcomelist": func(s *scan.Scan, _ *conf.Rule, _ []string) (float64, error) { return hit(defaultWelcome(s) > 0) },
	"check_forged_in_welcomelist": func(s *scan.Scan, _ *conf.Rule, _ []string) (float64, error) {
		return hit(welcome(s) < 0 && defaultWelcome(s) == 0)
	},
	"check_forged_in_default_welcomelist": func(s *scan.Scan, _ *conf.Rule, _ []string) (float64, error) {
		return hit(defaultWelcome(s) < 0 && welcome(s) == 0)
	},
	"check_mailfrom_matches_rcvd":   senderMatchesRelay,
	"check_uri_host_listed":         func(s *scan.Scan, r *conf.Rule, a []string) (float64, error) { return hostListed(s, r, arg(a, 0)) },
	"check_uri_host_in_blocklist":   func(s *scan.Scan, r *conf.Rule, _ []string) (float64, error) { return hostListed(s, r, "BLOCK") },
	"check_uri_host_in_welcomelist": func(s *scan.Scan, r *conf.Rule, _ []string) (float64, error) { return hostListed(s, r, "WELCOME") },
	"check_subject_in_welcomelist":  subjectIn("welcomelist_subject"),
	"check_subject_in_blocklist":    subjectIn("blocklist_subject"),
})

func withOldNames(in map[string]Func) map[string]Func {
	old := strings.NewReplacer("welcomelist", "whitelist", "blocklist", "blacklist")
	out := map[string]Func{}
	for name, f := range in {
		out[name] = f
		out[old.Replace(name)] = f
	}
	return out
}

func anyIn(l conf.AddressList, addresses []string) (float64, error) {
	return hit(slices.ContainsFunc(addresses, func(a string) bool { _, ok := l.Match(a); return ok }))
}

func fromIn(list string) Func {
	return func(s *scan.Scan, _ *conf.Rule, _ []string) (float64, error) {
		return anyIn(s.Rules.Addresses(list), s.AllFrom())
	}
}

func toIn(list string) Func {
	return func(s *scan.Scan, _ *conf.Rule, _ []string) (float64, error) {
		return anyIn(s.Rules.Addresses(list), s.AllTo())
	}
}

func replyToIn(s *scan.Scan, _ *conf.Rule, args []string) (float64, error) {
	a := s.First("Reply-To:addr")
	if a == "" {
		return 0, nil
	}
	return anyIn(s.Rules.Addresses(arg(args, 0)), []string{a})
}

// subjectIn looks for a pattern anywhere in the subject.
func subjectIn(list string) Func {
	return func(s *scan.Scan, _ *conf.Rule, _ []string) (float64, error) {
		subject := strings.TrimSuffix(text(s, "Subject"), "\n")
		return hit(subject != "" && s.Rules.Addresses(list).Find(subject))
	}
}

// welcome is 1 for a sender who is welcome, -1 for one who says so from elsewhere.
func welcome(s *scan.Scan) int {
	return keptInt(s, "welcome", func() int {
		for _, a := range s.AllFrom() {
			if _, ok := s.Rules.Addresses("welcomelist_from").Match(a); ok {
				return 1
			}
		}
		return viaRelays(s, "welcomelist_from_rcvd")
	})
}

func defaultWelcome(s *scan.Scan) int {
	return keptInt(s, "defaultWelcome", func() int { return viaRelays(s, "def_welcomelist_from_rcvd") })
}

// viaRelays looks every author up in a list of pairs: 1 if one came through the relay that
// it must come through, -1 if authors are listed and none did.
func viaRelays(s *scan.Scan, list string) int {
	found := 0
	for _, a := range s.AllFrom() {
		switch v := viaRelay(s, s.Rules.Pairs(list), a); v {
		case 1:
			return 1
		case -1:
			found = -1
		}
	}
	return found
}

func keptInt(s *scan.Scan, key string, find func() int) int {
	if v, ok := s.Keep[key].(int); ok {
		return v
	}
	v := find()
	s.Keep[key] = v
	return v
}

// lastRelays are those whose names vouch for a sender: the last that is not trusted,
// or all if all are.
func lastRelays(s *scan.Scan) []*relay.Relay {
	if len(s.Path.Untrusted) > 0 {
		return s.Path.Untrusted[:1]
	}
	return s.Path.Trusted
}

// viaRelay reports whether an address is in a list with the domain of a relay: 1; or
// with others only: -1.
func viaRelay(s *scan.Scan, list []conf.Pair, addr string) int {
	relays := lastRelays(s)
	addr = strings.ToLower(addr)
	forged := 0
	for _, p := range list {
		if len(relays) == 0 || !conf.Glob(p.Pattern, addr) {
			continue
		}
		for _, d := range p.Domains {
			if slices.ContainsFunc(relays, func(r *relay.Relay) bool { return vouches(d, r) }) {
				return 1
			}
			forged = -1
		}
	}
	if _, ok := s.Rules.Addresses("welcomelist_allows_relays").Match(addr); ok {
		return 0
	}
	return forged
}

var bracketForm = regexp.MustCompile(`^\[(.*)\](/\d{1,3})?$`)

// vouches reports whether a relay is of a domain, or of a network in brackets.
func vouches(domain string, r *relay.Relay) bool {
	m := bracketForm.FindStringSubmatch(domain)
	if m == nil {
		name := strings.ToLower(r.RDNS)
		return name == domain || strings.HasSuffix(name, "."+domain)
	}
	net := m[1] + m[2]
	if p, err := netip.ParsePrefix(net); err == nil {
		a, err := netip.ParseAddr(r.IP)
		return err == nil && p.Contains(a.Unmap())
	}
	if strings.Trim(net, "0123456789.") == "" && strings.Count(net, ".") < 3 || strings.HasSuffix(net, ".") {
		return strings.HasPrefix(r.IP, strings.TrimRight(net, ".")+".")
	}
	return net == r.IP
}

// senderMatchesRelay: the last relay's name is of the sender's domain.
func senderMatchesRelay(s *scan.Scan, _ *conf.Rule, _ []string) (float64, error) {
	addr := s.First("EnvelopeFrom:addr")
	d := strings.ToLower(addr[strings.LastIndexByte(addr, '@')+1:])
	if !strings.Contains(addr, "@") || !strings.Contains(strings.Trim(d, "."), ".") {
		return 0, nil
	}
	_, own := s.Rules.Domains().Split(d)
	for _, r := range lastRelays(s) {
		if r.RDNS != "" {
			if _, theirs := s.Rules.Domains().Split(r.RDNS); theirs == own {
				return 1, nil
			}
		}
	}
	return 0, nil
}

// hostListed looks for the hosts of links, and for the domains that they are in.
func hostListed(s *scan.Scan, r *conf.Rule, list string) (float64, error) {
	hosts := s.Rules.Hosts(list)
	if len(hosts) == 0 {
		return 0, nil
	}
	found := ""
	for u, d := range s.Links().Details {
		if strings.HasPrefix(strings.ToLower(u), "mailto:") {
			continue
		}
		for host := range d.Hosts {
			key, listed := search(hosts, host)
			if listed {
				if found = host; key != host {
					found = host + " (" + key + ")"
				}
			}
		}
	}
	if found == "" {
		return 0, nil
	}
	s.Note(r.Name, "URI: "+found)
	return 1, nil
}

func search(hosts map[string]bool, host string) (key string, listed bool) {
	for key = host; key != ""; _, key, _ = strings.Cut(key, ".") {
		if v, ok := hosts[key]; ok {
			return key, v
		}
		if isIPv4(host) {
			break
		}
	}
	return "", false
}
