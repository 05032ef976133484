package conf

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Timeout is how long answers are waited for: Max at most, and not less than Min.
type Timeout struct{ Max, Min time.Duration }

var timeoutForm = regexp.MustCompile(`(?i)^(\+?\d+(?:\.\d*)?[smhdw]?)(?:\s+(\+?\d+(?:\.\d*)?[smhdw]?))?(?:\s+(\S*[a-z]))?$`)

// rblTimeout reads "time [least time] [zone]".
func (p *parser) rblTimeout(value string) error {
	m := timeoutForm.FindStringSubmatch(value)
	switch {
	case value == "":
		return errMissing
	case m == nil:
		return errors.New("want seconds, perhaps the least, and perhaps a zone")
	case p.user:
		return errors.New("rbl_timeout is the administrator's, not for users' preferences")
	}
	return p.gather("rbl_timeout", values, "."+strings.ToLower(strings.Trim(m[3], "."))+" "+m[1]+" "+m[2])
}

// Timeouts are those of rbl_timeout by zone; that of "" is for all others.
func (s *Ruleset) Timeouts() map[string]Timeout {
	out := map[string]Timeout{"": {15 * time.Second, 3 * time.Second}}
	for zone, text := range s.pairs["rbl_timeout"] {
		f := strings.Fields(text)
		t := Timeout{Max: toDuration(f[0])}
		t.Min = t.Max / 5
		if len(f) > 1 {
			t.Min = toDuration(f[1])
		}
		out[strings.TrimPrefix(zone, ".")] = t
	}
	return out
}

func toDuration(s string) time.Duration {
	seconds, _ := readDuration(strings.ToLower(strings.TrimPrefix(strings.TrimSuffix(s, "."), "+")))
	return time.Duration(min(seconds, 86400) * float64(time.Second))
}

// restrict reads "allow" or "deny" and zones.
func (p *parser) restrict(value string) error {
	word, rest := cut(value)
	if word = strings.ToLower(word); word != "allow" && word != "deny" {
		return errors.New("want allow or deny, and zones")
	}
	for _, zone := range strings.Fields(strings.ToLower(rest)) {
		if err := p.gather("dns_query_restriction", values, strings.Trim(zone, ".")+" "+word); err != nil {
			return err
		}
	}
	return nil
}

var zoneForm = regexp.MustCompile(`^[a-z0-9_.-]+$`)

// blockRule reads a rule's name and the zones that are not asked for a while when it
// has hit.
func (p *parser) blockRule(value string) error {
	rule, rest := cut(value)
	switch {
	case rest == "":
		return errors.New("want a rule's name and zones")
	case p.user:
		return errors.New("dns_block_rule is the administrator's, not for users' preferences")
	}
	zones := strings.Fields(p.pairs["dns_block_rule"][rule])
	for _, zone := range strings.Fields(strings.ToLower(rest)) {
		if zone = strings.Trim(zone, "."); !zoneForm.MatchString(zone) {
			return fmt.Errorf("%q is no zone", zone)
		}
		if !slices.Contains(zones, zone) {
			zones = append(zones, zone)
		}
	}
	return p.gather("dns_block_rule", values, rule+" "+strings.Join(zones, " "))
}

// restriction finds what dns_query_restriction says of a name: that of the closest zone.
func (s *Ruleset) restriction(name string) string {
	for zone := name; zone != ""; _, zone, _ = strings.Cut(zone, ".") {
		if word, ok := s.pairs["dns_query_restriction"][zone]; ok {
			return word
		}
	}
	return s.pairs["dns_query_restriction"]["*"]
}

// Denied reports whether dns_query_restriction forbids to ask for a name.
func (s *Ruleset) Denied(name string) bool { return s.restriction(name) == "deny" }

// ASNLookup is a zone that tells whose an address is, and the tags for it.
type ASNLookup struct{ Zone, Tag, RouteTag string }

var asnForm = regexp.MustCompile(`^(\S+?)\.?(?:\s+_(\S+)_\s+_(\S+)_)?$`)

// asnLookup reads "zone [_ASN_ _ASNCIDR_]".
func (p *parser) asnLookup(key, value string) error {
	m := asnForm.FindStringSubmatch(value)
	if m == nil {
		return errors.New("want a zone, and two tags or none")
	}
	if m[2] == "" {
		m[2], m[3] = "ASN", "ASNCIDR"
	}
	p.words[key] = append(p.words[key], m[1], m[2], m[3])
	return nil
}

// ASNLookups are those of asn_lookup, or asn_lookup_ipv6.
func (s *Ruleset) ASNLookups(key string) (out []ASNLookup) {
	for w := range slices.Chunk(s.words[key], 3) {
		out = append(out, ASNLookup{w[0], w[1], w[2]})
	}
	return out
}

// skipDomain removes hosts from uridnsbl_skip_domain, all if none is named.
func (p *parser) unskipDomain(value string) error {
	gone := strings.Fields(strings.ToLower(value))
	p.words["uridnsbl_skip_domain"] = slices.DeleteFunc(slices.Clone(p.words["uridnsbl_skip_domain"]), func(d string) bool {
		return gone == nil || slices.Contains(gone, strings.ToLower(d))
	})
	return nil
}

// domainAlias reads a domain of addresses, and others that are the same.
func (p *parser) domainAlias(value string) error {
	f := strings.Fields(strings.ToLower(value))
	if len(f) < 2 || strings.Contains(value, "@") {
		return errors.New("want a domain and its other names")
	}
	for _, alias := range f[1:] {
		if err := p.gather("hashbl_email_domain_alias", values, alias+" "+f[0]); err != nil {
			return err
		}
	}
	return nil
}

var practiceForm = regexp.MustCompile(`(?i)^@?([*a-z0-9._-]+)(?:\s+(nxdomain|unknown|all|discardable|custom_low|custom_med|custom_high))?$`)

// practice reads adsp_override: a domain and what is to be thought of its mail without
// a signature.
func (p *parser) practice(value string) error {
	m := practiceForm.FindStringSubmatch(value)
	if m == nil {
		return errors.New("want a domain, and nxdomain, unknown, all, discardable, custom_low, custom_med or custom_high")
	}
	word := strings.ToLower(m[2])
	letter := map[string]string{"custom_low": "1", "custom_med": "2", "custom_high": "3", "": "D"}[word]
	if letter == "" {
		letter = strings.ToUpper(word[:1])
	}
	return p.gather("adsp_override", values, strings.ToLower(m[1])+" "+letter)
}

// Practice is what adsp_override says of a domain: N, U, A, D, 1, 2 or 3, "" if nothing.
func (s *Ruleset) Practice(domain string) string {
	all := s.pairs["adsp_override"]
	if p := all[domain]; p != "" {
		return p
	}
	for rest := domain; rest != ""; {
		_, rest, _ = strings.Cut(rest, ".")
		if p := all["*."+rest]; rest != "" && p != "" {
			return p
		}
	}
	return all["*"]
}

// netCommand gives the function of a command about questions to the DNS.
func (p *parser) netCommand(key string) func(string) error {
	switch key {
	case "rbl_timeout":
		return p.rblTimeout
	case "dns_query_restriction":
		return p.restrict
	case "clear_dns_query_restriction", "clear_dns_query_restrictions":
		return func(string) error { delete(p.pairs, "dns_query_restriction"); return nil }
	case "clear_dns_servers":
		return func(string) error { delete(p.words, "dns_server"); return nil }
	case "dns_block_rule":
		return p.blockRule
	case "asn_lookup", "asn_lookup_ipv6":
		return func(v string) error { return p.asnLookup(key, v) }
	case "clear_asn_lookups":
		return func(string) error {
			delete(p.words, "asn_lookup")
			delete(p.words, "asn_lookup_ipv6")
			return nil
		}
	case "clear_uridnsbl_skip_domain":
		return p.unskipDomain
	case "adsp_override":
		return p.practice
	case "hashbl_email_domain_alias":
		return p.domainAlias
	}
	if strings.HasPrefix(key, "hashbl_acl_") {
		return func(v string) error { return p.gather(key, words, v) }
	}
	return nil
}
