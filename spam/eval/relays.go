package eval

import (
	"net/netip"
	"regexp"
	"strings"

	"mtad/spam/conf"
	"mtad/spam/relay"
	"mtad/spam/scan"
)

// relayEval are the functions of RelayEval.
var relayEval = map[string]Func{
	"check_for_numeric_helo": numericHelo,
	"check_for_illegal_ip":   func(*scan.Scan, *conf.Rule, []string) (float64, error) { return 0, nil },
	"helo_ip_mismatch":       heloMismatch,
	"check_all_trusted": func(s *scan.Scan, _ *conf.Rule, _ []string) (float64, error) {
		p := s.Path
		return hit(len(p.Trusted) > 0 && len(p.Untrusted) == 0 && p.Unparseable == 0)
	},
	"check_no_relays": func(s *scan.Scan, _ *conf.Rule, _ []string) (float64, error) {
		p := s.Path
		return hit(len(p.Trusted)+len(p.Untrusted)+p.Unparseable == 0)
	},
	"check_relays_unparseable": func(s *scan.Scan, _ *conf.Rule, _ []string) (float64, error) { return hit(s.Path.Unparseable > 0) },
	"check_for_sender_no_reverse": func(s *scan.Scan, _ *conf.Rule, _ []string) (float64, error) {
		n := len(s.Path.Untrusted)
		return hit(n > 0 && strings.Contains(s.Path.Untrusted[n-1].RDNS, ".") && !s.Path.Untrusted[n-1].Private)
	},
	"check_for_from_domain_in_received_headers": fromDomainInReceived,
	"check_for_no_rdns_dotcom_helo":             dotcomHelo,
	"check_for_forged_received_trail":           func(s *scan.Scan, _ *conf.Rule, _ []string) (float64, error) { f, _ := trail(s); return hit(f > 1) },
	"check_for_forged_received_ip_helo":         func(s *scan.Scan, _ *conf.Rule, _ []string) (float64, error) { _, h := trail(s); return hit(h > 0) },
}

var heloIP = regexp.MustCompile(`(?i)\bhelo=(\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3})(?:[\x00- ,;\[()<>]|$)`)

func isIPv4(s string) bool {
	a, err := netip.ParseAddr(s)
	return err == nil && a.Is4()
}

// numericHelo: private addresses count too. SpamAssassin means to leave them out, but Perl
// (5.36) never finds that its $1 there is one.
func numericHelo(s *scan.Scan, _ *conf.Rule, _ []string) (float64, error) {
	m := heloIP.FindStringSubmatch(relay.Join(s.Path.Untrusted))
	return hit(m != nil && isIPv4(m[1]))
}

func heloMismatch(s *scan.Scan, _ *conf.Rule, _ []string) (float64, error) {
	for _, r := range s.Path.Untrusted {
		if !isIPv4(r.Helo) || relay.Private(r.Helo) || !isIPv4(r.IP) || relay.Private(r.IP) || r.Helo == r.IP {
			continue
		}
		if !strings.HasPrefix(r.IP, r.Helo[:strings.LastIndexByte(r.Helo, '.')+1]) {
			return 1, nil
		}
	}
	return 0, nil
}

func fromDomainInReceived(s *scan.Scan, _ *conf.Rule, args []string) (float64, error) {
	domain, want := regexp.QuoteMeta(arg(args, 0)), arg(args, 1) == "true"
	if !regexp.MustCompile(`(?i)\b` + domain).MatchString(s.First("From:addr")) {
		return 0, nil
	}
	r := relay.Join(s.Path.Trusted) + "\n" + relay.Join(s.Path.Untrusted)
	found := regexp.MustCompile(` rdns=\S*\b` + domain + ` [^\]]*by=\S*\b` + domain + ` `).MatchString(r)
	return hit(found == want)
}

var dotcom = regexp.MustCompile(`(?i)(?:\.|^)(?:lycos\.com|lycos\.co\.uk|hotmail\.com|localhost\.com|excite\.com|caramail\.com|cs\.com|aol\.com|msn\.com|yahoo\.com|drizzle\.com)$`)

func dotcomHelo(s *scan.Scan, _ *conf.Rule, _ []string) (float64, error) {
	found := false
	for _, r := range s.Path.Untrusted {
		if !r.Private {
			found = dotcom.MatchString(r.Helo) && r.NoReverse
		}
	}
	return hit(found)
}

var fullName = regexp.MustCompile(`^\w+(?:[\w.-]+\.)+\w+$`)

// wideTLD are the top-level domains under which names are registered directly.
var wideTLD = regexp.MustCompile(`\S{3,}|ie|fr|de`)

// domainOf gives the domain of a host, roughly: two labels, or three under most
// countries.
func domainOf(host string) string {
	host = strings.ToLower(host)
	p := strings.Split(host, ".")
	n := len(p)
	switch {
	case !strings.ContainsAny(host, "abcdefghijklmnopqrstuvwxyz"):
		return host
	case n > 1 && wideTLD.MatchString(p[n-1]):
		return strings.Join(p[n-2:], ".")
	case n > 2:
		return strings.Join(p[n-3:], ".")
	}
	return host
}

// trail counts the relays whose names do not fit the next hop's.
func trail(s *scan.Scan) (names, helos int) {
	prev := ""
	for i, r := range s.Path.Untrusted {
		by, from, helo := domainOf(r.By), domainOf(r.RDNS), domainOf(r.Helo)
		if (from == "localhost" || from == "localhost.localdomain") && r.IP == "127.0.0.1" {
			from = ""
		}
		before := prev
		prev = from
		if !fullName.MatchString(by) {
			continue
		}
		if isIPv4(helo) && isIPv4(r.IP) && helo != r.IP && classB(helo) != classB(r.IP) && !relay.Private(helo) {
			helos++
		}
		if i > 0 && fullName.MatchString(before) && by != before && !(by == "msn.com" && before == "hotmail.com") {
			names++
		}
	}
	return names, helos
}

func classB(ip string) string {
	p := strings.SplitN(ip, ".", 3)
	return p[0] + "." + p[1]
}
