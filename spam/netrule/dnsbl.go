package netrule

import (
	"net/netip"
	"regexp"
	"slices"
	"sort"
	"strconv"
	"strings"

	"mtad/spam/ask"
	"mtad/spam/conf"
	"mtad/spam/eval"
	"mtad/spam/relay"
	"mtad/spam/scan"
	"mtad/spam/uri"
)

// dnsEval are the functions of DNSEval: lists of addresses and of domains.
var dnsEval = map[string]eval.Func{
	"check_rbl": skipRBL(listed4("A")), "check_rbl_txt": skipRBL(listed4("TXT")), "check_rbl_accreditor": skipRBL(listed4("A")),
	"check_rbl_from_host": skipRBL(listed4("A")), "check_rbl_from_domain": skipRBL(listed4("A")), "check_rbl_envfrom": skipRBL(listed4("A")),
	"check_rbl_headers": skipRBL(listed4("A")), "check_rbl_rcvd": skipRBL(listed4("A")), "check_rbl_ns_from": skipRBL(listed4("A")),
	"check_rbl_sub": skipRBL(rblSub),
	// SpamAssassin 4.0 looks for an answer with records that says that there is no such
	// name: the rule never hits there, and must not here.
	"check_dns_sender": func(*scan.Scan, *conf.Rule, []string) (float64, error) { return 0, nil },
}

// maxRelays is how many addresses of a message are looked up.
const maxRelays = 9

// listed4 asks a list, by addresses (check_rbl) or by what the function of the rule says.
func listed4(typ string) eval.Func {
	return func(s *scan.Scan, r *conf.Rule, args []string) (float64, error) {
		i := 2
		if len(args) <= i {
			return rblAnswers(s, r, typ, "", false)
		}
		return rblAnswers(s, r, typ, args[i], true)
	}
}

func rblAnswers(s *scan.Scan, r *conf.Rule, typ, want string, has bool) (float64, error) {
	t := &subtest{any: true}
	if has {
		var err error
		if t, err = rblSubtest(s, want); err != nil {
			return 0, err
		}
	}
	a := &inquirer{s: s}
	found, err := a.search(r.Name, []*conf.Rule{r}, typ, t)
	if err != nil {
		return 0, err
	}
	return a.tell(found)
}

// rblSub looks at the answers to the questions of the rules with the same set.
func rblSub(s *scan.Scan, r *conf.Rule, args []string) (float64, error) {
	t, err := rblSubtest(s, eval.Arg(args, 1))
	if err != nil {
		return 0, err
	}
	a := &inquirer{s: s}
	found, err := a.search(r.Name, rblSets(s)[eval.Arg(args, 0)], "", t)
	if err != nil {
		return 0, err
	}
	return a.tell(found[:min(1, len(found))])
}

// rblSets are the rules that ask lists by the names of their sets.
func rblSets(s *scan.Scan) map[string][]*conf.Rule {
	return s.Once(ofScores{"rbl sets", s.Set}, func() any {
		out := map[string][]*conf.Rule{}
		for _, r := range s.Rules.Rules() {
			if r.Type == conf.RBLEval && r.Call.Func != "check_rbl_sub" && len(r.Call.Args) > 0 && active(s, r.Name) {
				out[r.Call.Args[0]] = append(out[r.Call.Args[0]], r)
			}
		}
		return out
	}).(map[string][]*conf.Rule)
}

var plainSubtest = regexp.MustCompile(`^\d+(?:\.\d+\.\d+\.\d+)?$`)

// rblSubtest reads a subtest of check_rbl: a mask, an address, or else a pattern.
func rblSubtest(s *scan.Scan, text string) (*subtest, error) {
	if strings.HasPrefix(text, "sb:") {
		return nil, eval.Unknown("SenderBase is no more")
	}
	if plainSubtest.MatchString(text) {
		if n, err := strconv.ParseUint(text, 10, 32); err == nil {
			return &subtest{numeric: true, n1: uint32(n)}, nil
		}
		return &subtest{text: text}, nil
	}
	re, err := eval.Pattern(s, text)
	return &subtest{re: re}, err
}

// search asks the questions of rules and gives the answers that the subtest wants.
func (a *inquirer) search(name string, rules []*conf.Rule, typ string, t *subtest) (found []finding, err error) {
	for _, r := range rules {
		ask := typ
		if ask == "" {
			ask = "A"
			if r.Call.Func == "check_rbl_txt" {
				ask = "TXT"
			}
		}
		for _, host := range a.rblNames(r) {
			reply, ok := a.ask(host, ask)
			if !ok {
				continue
			}
			for _, rec := range reply.Records {
				a.keepRBL(reply, rec.Text)
				if rec.Type != "A" && rec.Type != "TXT" || rec.Type == "A" && !strings.HasPrefix(rec.Text, "127.") {
					continue
				}
				hit, err := t.matches(a.s, rec.Type, rec.Text)
				if err != nil {
					return nil, err
				}
				if hit {
					found = append(found, finding{name, rblText(name, reply, rec)})
				}
			}
		}
	}
	return found, nil
}

// keepRBL keeps an answer for the tag RBL.
func (a *inquirer) keepRBL(r ask.Reply, text string) {
	all, _ := a.s.Keep["rbl"].(map[string][]string)
	if all == nil {
		all = map[string][]string{}
		a.s.Keep["rbl"] = all
	}
	key := "<dns:" + r.Name + ">"
	if r.Type != "A" {
		key = "<dns:" + r.Name + "?type=" + r.Type + ">"
	}
	if slices.Contains(all[key], text) {
		return
	}
	all[key] = append(all[key], text)
	var lines []string
	for k, v := range all {
		lines = append(lines, k+" ["+strings.Join(v, ", ")+"]")
	}
	sort.Strings(lines)
	a.s.SetTag("RBL", strings.Join(lines, "\n"))
}

var (
	link4    = regexp.MustCompile(`(?i)(^|[^<(\[])(https?://\S+)`)
	reversed = regexp.MustCompile(`^(\d+)\.(\d+)\.(\d+)\.(\d+)\.(.+)$`)
	nibbles  = regexp.MustCompile(`^((?:[0-9a-f]\.){32})(.+)$`)
	zeros    = regexp.MustCompile(`:0{1,3}`)
)

// rblText is what the report says of an answer.
func rblText(rule string, r ask.Reply, rec ask.Record) string {
	switch {
	case strings.HasPrefix(rule, "__"):
		return ""
	case rec.Type == "TXT":
		return link4.ReplaceAllString(rec.Text, "$1<$2>")
	}
	if m := nibbles.FindStringSubmatch(r.Name); m != nil {
		digits := strings.Split(strings.TrimSuffix(m[1], "."), ".")
		slices.Reverse(digits)
		var ip strings.Builder
		for i, d := range digits {
			if i > 0 && i%4 == 0 {
				ip.WriteByte(':')
			}
			ip.WriteString(d)
		}
		return zeros.ReplaceAllString(ip.String(), ":") + " listed in " + m[2]
	}
	if m := reversed.FindStringSubmatch(r.Name); m != nil {
		return m[4] + "." + m[3] + "." + m[2] + "." + m[1] + " listed in " + m[5]
	}
	return "listed in " + r.Name
}

// rblNames are the names that a rule asks for.
func (a *inquirer) rblNames(r *conf.Rule) []string {
	s, args := a.s, r.Call.Args
	zone := "." + strings.TrimRight(eval.Arg(args, 1), ".")
	var hosts []string
	switch r.Call.Func {
	case "check_rbl", "check_rbl_txt":
		hosts = rblAddresses(s, r, eval.Arg(args, 0))
	case "check_rbl_accreditor":
		if accredited(s, eval.Arg(args, 3)) {
			hosts = rblAddresses(s, r, eval.Arg(args, 0))
		}
	case "check_rbl_from_host":
		hosts = addressHosts(s, r, s.AllFrom())
	case "check_rbl_from_domain":
		for _, d := range s.FromDomains() {
			hosts = append(hosts, addressHosts(s, r, []string{"x@" + d})...)
		}
	case "check_rbl_envfrom":
		hosts = addressHosts(s, r, s.Get("EnvelopeFrom:addr")[:min(1, len(s.Get("EnvelopeFrom:addr")))])
	case "check_rbl_headers":
		hosts = headerHosts(s, r, eval.Arg(args, 3))
	case "check_rbl_rcvd":
		hosts = rcvdHosts(s, r)
	case "check_rbl_ns_from":
		hosts = a.nameServers()
	}
	out := make([]string, len(hosts))
	for i, h := range hosts {
		out[i] = uri.ASCII(h) + zone
	}
	return out
}

// public are addresses of the Internet, each once.
func public(list []string) (out []string) {
	for _, ip := range list {
		if ip != "" && !relay.Private(ip) && !slices.Contains(out, ip) {
			out = append(out, ip)
		}
	}
	return out
}

func ips(relays []*relay.Relay) (out []string) {
	for _, r := range relays {
		out = append(out, r.IP)
	}
	return out
}

// originating are the addresses in the fields that originating_ip_headers names.
func originating(s *scan.Scan) (out []string) {
	for _, name := range s.Rules.Words("originating_ip_headers") {
		rest, _ := s.Joined(name)
		for {
			ip := relay.FindIP(rest)
			if ip == "" {
				break
			}
			out = append(out, ip)
			rest = rest[strings.Index(rest, ip)+len(ip):]
		}
	}
	return out
}

func trusted(s *scan.Scan, ip string) bool {
	a, err := netip.ParseAddr(ip)
	return err == nil && s.Rules.Nets("trusted_networks").Contains(a)
}

// setEnds are the ends of sets' names that say which addresses are asked about.
var setEnds = []string{"-notfirsthop", "-lastexternal", "-firsttrusted", "-untrusted"}

// rblAddresses are the addresses that a list is asked about, reversed: by the end of the
// set's name those of the first trusted relay and so on, else all.
func rblAddresses(s *scan.Scan, r *conf.Rule, set string) []string {
	type key struct {
		end  string
		nice bool
	}
	k := key{nice: r.Flags.Nice}
	for _, end := range setEnds {
		if strings.HasSuffix(set, end) {
			k.end = end
		}
	}
	all, _ := s.Keep["rbl addresses"].(map[key][]string)
	if all == nil {
		all = map[key][]string{}
		s.Keep["rbl addresses"] = all
	}
	list, ok := all[k]
	if !ok {
		list = findAddresses(s, k.end, k.nice)
		all[k] = list
	}
	return list
}

func findAddresses(s *scan.Scan, end string, nice bool) []string {
	from := originating(s)
	list := public(ips(s.Path.Untrusted))
	if len(list)+len(from) == 0 {
		return nil // all relays are trusted
	}
	from = slices.DeleteFunc(from, func(ip string) bool { return trusted(s, ip) })
	switch end {
	case "-notfirsthop", "-lastexternal":
		var outside []string
		for _, hop := range s.Path.Trusted {
			if !hop.Internal {
				outside = append(outside, hop.IP)
			}
		}
		list = public(append(outside, ips(s.Path.Untrusted)...))
		if end == "-lastexternal" {
			list = list[:min(1, len(list))]
		} else if len(list) > 1 {
			list = list[:len(list)-1]
		}
	case "-firsttrusted":
		list = public(append(list, from...))
		list = list[:min(1, len(list))]
	case "-untrusted":
		list = public(append(list, from...))
		list = list[min(1, len(list)):]
	default:
		list = public(append(list, from...))
		slices.Reverse(list)
	}
	if len(list) > maxRelays {
		s.Cut("relays: %d looked up", maxRelays)
		list = list[:maxRelays]
	}
	for !nice && len(list) > 0 && trusted(s, list[0]) {
		list = list[1:]
	}
	var out []string
	for _, ip := range list {
		if rev := scan.Reverse(strings.TrimPrefix(ip, "IPv6:")); rev != "" {
			out = append(out, rev)
		}
	}
	return out
}

var accreditor = regexp.MustCompile(`(?i)[@.]a--([a-z0-9]{3,})\.`)

// accredited reports whether a sender says that somebody vouches for it.
func accredited(s *scan.Scan, who string) bool {
	if m := accreditor.FindStringSubmatch(eval.Text(s, "EnvelopeFrom:addr")); m != nil && strings.ToLower(m[1]) == who {
		return true
	}
	for part := range strings.SplitSeq(eval.Text(s, "Accreditor"), ",") {
		if f := strings.Fields(part); len(f) > 0 && strings.ToLower(f[0]) == who {
			return true
		}
	}
	return false
}

// wantedHost is a host as a list is asked for it, "" if the rule does not want it.
func wantedHost(s *scan.Scan, r *conf.Rule, host string) string {
	switch {
	case uri.IsIP(host):
		if r.Flags.DomainsOnly {
			return ""
		}
		return scan.Reverse(host)
	case r.Flags.IPsOnly, !uri.ValidHost(uri.ASCII(host)), !s.Rules.Domains().Valid(uri.ASCII(host)):
		return ""
	}
	return host
}

var (
	atHost = regexp.MustCompile(`@([^@\s]+)`)
	dots   = regexp.MustCompile(`\.{2,}`)
)

// addressHosts are the hosts of mail addresses, each once.
func addressHosts(s *scan.Scan, r *conf.Rule, addresses []string) (out []string) {
	for _, a := range addresses {
		m := atHost.FindStringSubmatch(a)
		if m == nil {
			continue
		}
		host := strings.ToLower(dots.ReplaceAllString(strings.Trim(m[1], "."), "."))
		if !strings.Contains(host, ".") {
			continue
		}
		if host = wantedHost(s, r, host); host != "" && !slices.Contains(out, host) {
			out = append(out, host)
		}
	}
	return out
}

// headerHosts are the hosts in fields: of addresses, or names and addresses of IP.
func headerHosts(s *scan.Scan, r *conf.Rule, fields string) (out []string) {
	if fields == "" {
		fields = s.Rules.String("rbl_headers")
	}
	for name := range strings.SplitSeq(fields, ",") {
		if addr, ok := s.Joined(name + ":addr"); ok && atHost.MatchString(addr) {
			out = append(out, addressHosts(s, r, []string{addr})...)
			continue
		}
		for host := range strings.SplitSeq(strings.TrimSuffix(eval.Text(s, name), "\n"), "\n") {
			if host = wantedHost(s, r, host); host != "" {
				out = append(out, host)
			}
		}
	}
	return out
}

// rcvdHosts are what the oldest untrusted field says of its relay.
func rcvdHosts(s *scan.Scan, r *conf.Rule) (out []string) {
	n := len(s.Path.Untrusted)
	if n == 0 {
		return nil
	}
	hop := s.Path.Untrusted[n-1]
	seen := map[string]bool{"": true}
	for _, host := range []string{hop.IP, hop.By, hop.Helo, hop.RDNS} {
		if seen[host] {
			continue
		}
		seen[host] = true
		if host = wantedHost(s, r, strings.TrimSuffix(host, ".")); host != "" {
			out = append(out, host)
		}
	}
	return out
}

// nameServers are those of the sender's domain.
func (a *inquirer) nameServers() (out []string) {
	for _, from := range a.s.Get("EnvelopeFrom:addr") {
		m := atHost.FindStringSubmatch(dots.ReplaceAllString(from, "."))
		if m == nil || !strings.Contains(m[1], ".") {
			continue
		}
		reply, _ := a.ask(uri.ASCII(strings.ToLower(m[1])), "NS")
		for _, rec := range reply.Records {
			if ns := strings.TrimSuffix(strings.ToLower(rec.Text), "."); rec.Type == "NS" && uri.ValidHost(ns) {
				out = append(out, ns)
			}
		}
		return out
	}
	return nil
}
