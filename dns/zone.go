package dns

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	mdns "github.com/miekg/dns"
)

// Zone answers from a list of records and knows nothing else: every other name
// does not exist. It is the fake of tests and dev mode. A name with the record
// type FAIL answers ErrTemporary.
type Zone struct {
	records map[string][]Record
	fail    map[string]bool
}

// ParseZone reads lines of the form
//
//	good.test.  TXT  "v=spf1 ip4:192.0.2.1 -all"
//
// a name (a final dot is optional), a type, and the data as in a master file
// (RFC 1035, 5). A ; begins a comment. Names under a wildcard *.x are not
// special. Errors name the line.
func ParseZone(r io.Reader) (*Zone, error) {
	z := &Zone{records: map[string][]Record{}, fail: map[string]bool{}}
	sc := bufio.NewScanner(r)
	sc.Buffer(nil, 64<<10)
	for n := 1; sc.Scan(); n++ {
		line := strings.TrimSpace(stripComment(sc.Text()))
		if line == "" {
			continue
		}
		if err := z.add(line); err != nil {
			return nil, fmt.Errorf("dns: zone line %d: %w", n, err)
		}
	}
	return z, sc.Err()
}

// ReadZone reads a zone file.
func ReadZone(path string) (*Zone, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("dns: zone: %w", err)
	}
	defer f.Close()
	z, err := ParseZone(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return z, nil
}

// stripComment drops a ; that is in no quotes, and what follows.
func stripComment(s string) string {
	quoted := false
	for i := range len(s) {
		switch s[i] {
		case '"':
			quoted = !quoted
		case ';':
			if !quoted {
				return s[:i]
			}
		}
	}
	return s
}

func (z *Zone) add(line string) error {
	fields := strings.Fields(line)
	name := canonical(fields[0])
	if len(fields) == 2 && fields[1] == "FAIL" {
		z.fail[name] = true
		return nil
	}
	if len(fields) < 3 {
		return fmt.Errorf("want a name, a type and data, got %q", line)
	}
	data := strings.TrimSpace(line[len(fields[0]):])
	rr, err := mdns.NewRR(name + ". 3600 IN " + data)
	if err != nil {
		return fmt.Errorf("%q is no record: %w", line, err)
	}
	if rr == nil {
		return fmt.Errorf("%q is no record", line)
	}
	rec, ok := convert(rr)
	if !ok {
		return fmt.Errorf("type of %q is not known here", line)
	}
	z.records[name] = append(z.records[name], rec)
	return nil
}

// maxAliases bounds a chain of CNAMEs.
const maxAliases = 8

// Lookup answers from the records.
func (z *Zone) Lookup(_ context.Context, name string, t Type) (Answer, error) {
	name = canonical(name)
	for range maxAliases {
		if z.fail[name] {
			return Answer{}, fmt.Errorf("%w: %s %s", ErrTemporary, name, t)
		}
		recs, ok := z.records[name]
		if !ok {
			return Answer{}, fmt.Errorf("%w: %s", ErrNoName, name)
		}
		var ans Answer
		alias := ""
		for _, r := range recs {
			if r.Type == t {
				ans.Records = append(ans.Records, r)
			}
			if r.Type == CNAME {
				alias = canonical(r.Text)
			}
		}
		switch {
		case len(ans.Records) > 0:
			return ans, nil
		case alias == "":
			return Answer{}, fmt.Errorf("%w: %s %s", ErrNoData, name, t)
		}
		name = alias
	}
	return Answer{}, fmt.Errorf("%w: %s: too many aliases", ErrTemporary, name)
}

// canonical is a name in lower case without its final dot.
func canonical(name string) string { return strings.ToLower(strings.TrimSuffix(name, ".")) }

// String is the type's mnemonic.
func (t Type) String() string {
	if s, ok := mdns.TypeToString[uint16(t)]; ok {
		return s
	}
	return "TYPE" + strconv.Itoa(int(t))
}

func rcodeName(code int) string {
	if s, ok := mdns.RcodeToString[code]; ok {
		return s
	}
	return "code " + strconv.Itoa(code)
}

// unescape undoes the master file form in which miekg/dns keeps strings: \" and
// \DDD (RFC 1035, 5.1).
func unescape(s string) string {
	if strings.IndexByte(s, '\\') < 0 {
		return s
	}
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 == len(s) {
			out = append(out, s[i])
			continue
		}
		i++
		if i+2 < len(s) {
			if n, err := strconv.ParseUint(s[i:i+3], 10, 8); err == nil {
				out = append(out, byte(n))
				i += 2
				continue
			}
		}
		out = append(out, s[i])
	}
	return string(out)
}

// convert takes a record of miekg/dns.
func convert(rr mdns.RR) (Record, bool) {
	h := rr.Header()
	r := Record{Type: Type(h.Rrtype), TTL: time.Duration(h.Ttl) * time.Second}
	// A record may come without data (RDLENGTH 0). Even the root has a name,
	// so that nothing is not taken for a null MX (RFC 7505, 3).
	var data bool
	name := func(s string) { r.Text, data = strings.TrimSuffix(s, "."), s != "" }
	switch v := rr.(type) {
	case *mdns.A:
		r.Text, data = v.A.String(), len(v.A) > 0
	case *mdns.AAAA:
		r.Text, data = v.AAAA.String(), len(v.AAAA) > 0
	case *mdns.MX:
		name(v.Mx)
		r.Pref = v.Preference
	case *mdns.TXT:
		r.Text, data = unescape(strings.Join(v.Txt, "")), len(v.Txt) > 0
		for i := 0; i < len(v.Txt) && len(v.Txt) > 1; i++ {
			r.Strings = append(r.Strings, unescape(v.Txt[i]))
		}
	case *mdns.PTR:
		name(v.Ptr)
	case *mdns.NS:
		name(v.Ns)
	case *mdns.CNAME:
		name(v.Target)
	case *mdns.SOA:
		name(v.Ns)
	case *mdns.TLSA:
		r.Text, data = fmt.Sprintf("%d %d %d %s", v.Usage, v.Selector, v.MatchingType, v.Certificate), v.Certificate != ""
	}
	return r, data
}
