package conf

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"mtad/spam/regex"
)

var (
	detailForm = regexp.MustCompile(`\b(\w+)\b\s*([=!]~)\s*`)
	detailKeys = []string{"raw", "type", "cleaned", "text", "domain", "host"}
	modifiers  = regexp.MustCompile(`^[imsx]*(?:\s|$)`)
)

// uriDetail reads "key =~ /pattern/ key !~ m,pattern," of which all must hold.
func uriDetail(r *Rule) error {
	for rest := r.Text; ; {
		m := detailForm.FindStringSubmatchIndex(rest)
		if m == nil {
			break
		}
		t := PartTest{Key: rest[m[2]:m[3]], Negate: rest[m[4]:m[5]] == "!~"}
		n, err := delimited(rest[m[1]:])
		if err != nil {
			return err
		}
		text := rest[m[1] : m[1]+n]
		rest = rest[m[1]+n:]
		if !slices.Contains(detailKeys, t.Key) {
			return fmt.Errorf("%q is no part of a link: want %s", t.Key, strings.Join(detailKeys, ", "))
		}
		if t.Pattern, t.Modifiers, err = regex.FromRule(text); err != nil {
			return err
		}
		if err = regex.Check(t.Pattern, t.Modifiers); err != nil {
			return err
		}
		// The last test of a key is the one that counts.
		r.Detail = append(slices.DeleteFunc(r.Detail, func(o PartTest) bool { return o.Key == t.Key }), t)
	}
	if r.Detail == nil {
		return errors.New("want key =~ /pattern/")
	}
	return nil
}

// delimited says where "/pattern/i" or "m,pattern,i" ends: at the first delimiter
// that letters of modifiers and white space follow.
func delimited(s string) (int, error) {
	start := 0
	if strings.HasPrefix(s, "m") {
		start = 1
	}
	if len(s) <= start+1 {
		return 0, errors.New("a pattern is missing")
	}
	delim := s[start]
	for i := start + 1; i < len(s); i++ {
		if s[i] == delim {
			if m := modifiers.FindString(s[i+1:]); m != "" || i+1 == len(s) {
				return i + 1 + len(strings.TrimRight(m, space)), nil
			}
		}
	}
	return 0, fmt.Errorf("the pattern has no end: %q", short(s))
}

var askForm = regexp.MustCompile(`^(\S+)(?:\s+([A-Za-z0-9,]+)(?:\s+(.*?))?)?\s*$`)

const recordTypes = ` ANY A AAAA MX TXT PTR NAPTR NS SOA CERT CNAME DNAME DHCID HINFO MINFO RP HIP IPSECKEY KX LOC GPOS SRV OPENPGPKEY SSHFP SPF TLSA URI CAA CSYNC `

func askDNS(r *Rule) error {
	m := askForm.FindStringSubmatch(r.Text)
	if m == nil {
		return errors.New("want a name, types of records and what to look for")
	}
	r.DNS = Question{Name: m[1], Types: []string{"A"}, Answer: m[3]}
	if m[2] != "" {
		r.DNS.Types = strings.Split(strings.ToUpper(m[2]), ",")
	}
	for _, t := range r.DNS.Types {
		if !strings.Contains(recordTypes, " "+t+" ") {
			return fmt.Errorf("%q is no type of DNS records", t)
		}
	}
	return nil
}

// uriList reads the lists of URIDNSBL. The rule itself is another line: a body rule
// that calls check_uridnsbl.
func (p *parser) uriList(command string) func(string) error {
	return func(value string) error {
		f := strings.Fields(value)
		sub := strings.HasSuffix(command, "sub")
		if len(f) != 3 && !sub || sub && len(f) < 4 {
			return errors.New("want a rule's name, a zone, A or TXT, and with ...sub what to look for")
		}
		p.uriLists[f[0]] = URIList{Command: command, Zone: strings.TrimSuffix(f[1], "."), Type: f[2], Answer: strings.Join(f[3:], " ")}
		return nil
	}
}
