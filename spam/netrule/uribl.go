package netrule

import (
	"maps"
	"slices"
	"strings"

	"mtad/spam/ask"
	"mtad/spam/conf"
	"mtad/spam/eval"
	"mtad/spam/relay"
	"mtad/spam/scan"
	"mtad/spam/uri"
)

// uriDNSEval is the function of URIDNSBL: lists of the hosts and domains of links.
var uriDNSEval = map[string]eval.Func{"check_uridnsbl": uriList}

// askedHost is a host that is asked about, with its registered domain.
type askedHost struct{ host, domain string }

// rank says how soon the hosts of a link are taken: what a reader can click first.
func rank(d *uri.Detail) int {
	switch {
	case d.Types["a"]:
		if slices.ContainsFunc(d.Text, func(t string) bool { return t != "" }) {
			return 0
		}
		return 5
	case d.Types["form"]:
		return 1
	case d.Types["img"]:
		return 2
	case d.Types["parsed"] && len(d.Types) == 1:
		return 4
	}
	return 3
}

// linkHosts are the hosts of the message's links, no more than uridnsbl_max_domains.
func linkHosts(s *scan.Scan) []askedHost {
	if l, ok := s.Keep["uridnsbl"].([]askedHost); ok {
		return l
	}
	skip := skippedDomains(s)
	var ranks [6]map[string]string
	for u, d := range s.Links().Details {
		if s.Rules.Bool("uridnsbl_skip_mailto") && len(u) > 6 && strings.EqualFold(u[:7], "mailto:") {
			continue
		}
		for host, domain := range d.Hosts {
			if skip[domain] || skip[host] {
				continue
			}
			k := rank(d)
			if ranks[k] == nil {
				ranks[k] = map[string]string{}
			}
			ranks[k][host] = domain
		}
	}
	most := s.Rules.Count("uridnsbl_max_domains")
	var out []askedHost
	seen := map[string]bool{}
	for _, m := range ranks {
		for _, host := range slices.Sorted(maps.Keys(m)) {
			switch {
			case seen[host]:
			case len(out) >= most:
				s.Cut("hosts of links: %d looked up", most)
			default:
				seen[host] = true
				out = append(out, askedHost{host, m[host]})
			}
		}
	}
	slices.SortFunc(out, func(a, b askedHost) int { return strings.Compare(a.host, b.host) })
	var hosts, domains []string
	for _, h := range out {
		hosts = append(hosts, h.host)
		if !slices.Contains(domains, h.domain) {
			domains = append(domains, h.domain)
		}
	}
	slices.Sort(domains)
	s.SetTag("URIHOSTS", hosts...)
	s.SetTag("URIDOMAINS", domains...)
	s.Keep["uridnsbl"] = out
	return out
}

// skippedDomains are those that uridnsbl_skip_domain names.
func skippedDomains(s *scan.Scan) map[string]bool {
	return s.Once("uridnsbl_skip_domain", func() any {
		out := map[string]bool{}
		for _, d := range s.Rules.Words("uridnsbl_skip_domain") {
			out[strings.ToLower(d)] = true
		}
		return out
	}).(map[string]bool)
}

// uriBL is one call for one list.
type uriBL struct {
	inquirer
	rule  *conf.Rule
	list  conf.URIList
	test  *subtest
	seen  map[string]bool
	found []finding
}

func uriList(s *scan.Scan, r *conf.Rule, _ []string) (float64, error) {
	list, ok := s.Rules.URIList(r.Name)
	if s.Ask == nil || s.Rules.Bool("skip_uribl_checks") || !ok {
		return 0, nil
	}
	b := &uriBL{inquirer: inquirer{s: s}, rule: r, list: list, test: &subtest{any: true}, seen: map[string]bool{}}
	if strings.HasSuffix(list.Command, "sub") {
		if b.test, ok = numbers(list.Answer); !ok {
			return 0, eval.Unknown("the answer " + list.Answer + " can not be read: want a number, a range, a mask or an address")
		}
	}
	for _, h := range linkHosts(s) {
		if err := b.host(strings.ToLower(h.host), strings.ToLower(h.domain)); err != nil {
			return 0, err
		}
	}
	return b.tell(b.found)
}

// fourNumbers reports whether a name is four numbers with dots between them.
func fourNumbers(name string) bool {
	return strings.Trim(name, "0123456789.") == "" && strings.Count(name, ".") == 3 && !strings.Contains("."+name+".", "..")
}

// host asks about one host of a link.
func (b *uriBL) host(host, domain string) error {
	command, flags := strings.TrimSuffix(strings.TrimSuffix(b.list.Command, "bl"), "sub"), b.rule.Flags
	numeric := fourNumbers(host)
	if numeric || strings.HasPrefix(host, "[") {
		if command != "urirhs" || flags.DomainsOnly || !numeric || !eval.IsIPv4(host) || relay.Private(host) {
			return nil
		}
		return b.ask1(host, "")
	}
	switch command {
	case "urirhs":
		switch {
		case flags.IPsOnly:
			return nil
		case flags.NoTrim:
			return b.ask1(host, "")
		}
		return b.ask1(domain, "")
	case "urinsrhs", "urifullnsrhs":
		return b.nameServers(domain, func(ns string) error {
			if command == "urinsrhs" && !fourNumbers(ns) {
				_, ns = b.s.Rules.Domains().Split(ns)
			}
			return b.ask1(ns, "")
		})
	}
	// A list of addresses. Those of name servers belong to rules with the flag "a" too:
	// SpamAssassin 4.0 asks for them in their name, if any rule wants name servers.
	if !flags.A {
		return nil
	}
	if err := b.addresses(host); err != nil || !wantNameServers(b.s) {
		return err
	}
	return b.nameServers(domain, func(ns string) error {
		if fourNumbers(ns) {
			return nil
		}
		return b.addresses(ns)
	})
}

// wantNameServers reports whether there is a rule about the name servers of links.
func wantNameServers(s *scan.Scan) bool {
	return s.Once(ofScores{"uridnsbl name servers", s.Set}, func() any {
		for _, r := range s.Rules.Rules() {
			l, ok := s.Rules.URIList(r.Name)
			rhs := strings.HasPrefix(l.Command, "urirhs")
			plain := strings.HasPrefix(l.Command, "uridns")
			if ok && !rhs && (!plain || r.Flags.NS || !r.Flags.A) && active(s, r.Name) {
				return true
			}
		}
		return false
	}).(bool)
}

func (b *uriBL) nameServers(domain string, f func(ns string) error) error {
	reply, _ := b.ask(uri.ASCII(domain), "NS")
	for _, rec := range reply.Records {
		ns := strings.TrimSuffix(strings.ToLower(rec.Text), ".")
		if rec.Type != "NS" || strings.Contains(ns, ":") || fourNumbers(ns) && (!eval.IsIPv4(ns) || relay.Private(ns)) {
			continue
		}
		if err := f(ns); err != nil {
			return err
		}
	}
	return nil
}

func (b *uriBL) addresses(host string) error {
	host = uri.ASCII(host)
	reply, _ := b.ask(host, "A")
	for _, rec := range reply.Records {
		if rec.Type != "A" {
			continue
		}
		if err := b.ask1(rec.Text, host); err != nil {
			return err
		}
	}
	return nil
}

// ask1 asks the list about a name or an address; origin is the host that it is of.
func (b *uriBL) ask1(name, origin string) error {
	name = uri.ASCII(name)
	if b.seen[name] {
		return nil
	}
	b.seen[name] = true
	lookup := name
	if fourNumbers(name) {
		lookup = scan.Reverse(name)
	}
	reply, ok := b.ask(lookup+"."+b.list.Zone, b.list.Type)
	if !ok {
		return nil
	}
	for _, rec := range reply.Records {
		if hit, err := b.matches(rec); err != nil {
			return err
		} else if hit {
			if origin != "" {
				name = origin + "/" + name
			}
			b.found = append(b.found, finding{b.rule.Name, "URI: " + name})
			return nil
		}
	}
	return nil
}

func (b *uriBL) matches(rec ask.Record) (bool, error) {
	if rec.Type != "A" && rec.Type != "TXT" || b.test.any && rec.Type == "A" && !strings.HasPrefix(rec.Text, "127.") {
		return false, nil
	}
	return b.test.matches(b.s, rec.Type, rec.Text)
}
