package conf

import (
	"strings"

	"golang.org/x/net/idna"
)

// Domains knows which names are registered under which: top-level domains and the
// second and third levels that registries keep (util_rb_tld, _2tld, _3tld).
type Domains struct {
	tld, second, third map[string]bool
}

func (d *Domains) level(command string) *map[string]bool {
	switch command {
	case "util_rb_2tld":
		return &d.second
	case "util_rb_3tld":
		return &d.third
	}
	return &d.tld
}

func (d *Domains) add(command, name string) {
	m := d.level(command)
	if *m == nil {
		*m = map[string]bool{}
	}
	name = strings.ToLower(name)
	if ascii, err := idna.Punycode.ToASCII(name); err == nil {
		name = ascii
	}
	(*m)[name] = true
}

// TLD reports whether a name is a top-level domain.
func (d *Domains) TLD(name string) bool { return d.tld[strings.ToLower(name)] }

// Known reports whether there are top-level domains at all.
func (d *Domains) Known() bool { return len(d.tld) > 0 }

// Split parts a name into what stands before the registered domain ("www") and that
// domain ("example.co.uk"): one name more than what a registry keeps.
func (d *Domains) Split(name string) (host, domain string) {
	parts := strings.FieldsFunc(strings.ToLower(name), func(r rune) bool { return r == '.' })
	k := 0
	for k < len(parts)-1 && !d.registry(parts[k:]) {
		k++
	}
	k = max(k-1, 0)
	return strings.Join(parts[:k], "."), strings.Join(parts[k:], ".")
}

// registry reports whether names are registered under these two to four parts.
func (d *Domains) registry(parts []string) bool {
	switch n := len(parts); {
	case n == 2:
		return d.second[strings.Join(parts, ".")]
	case n == 3 && parts[2] == "us":
		return usState(parts[1])
	case n == 3:
		return d.third[strings.Join(parts, ".")]
	case n == 4 && parts[3] == "us": // RFC 1480
		return (parts[0] == "pvt" && parts[1] == "k12" || parts[0] == "ci" || parts[0] == "co") && usState(parts[2])
	}
	return false
}

const states = " ak al ar az ca co ct dc de fl ga gu hi ia id il in ks ky la ma md me mi mn mo ms mt" +
	" nc nd ne nh nj nm nv ny oh ok or pa pr ri sc sd tn tx ut va vi vt wa wi wv wy "

func usState(s string) bool { return len(s) == 2 && strings.Contains(states, " "+s+" ") }

// Valid reports whether a name has a dot and ends in a known top-level domain.
func (d *Domains) Valid(name string) bool {
	i := strings.LastIndexByte(name, '.')
	return i >= 0 && !strings.ContainsAny(name, " \t\r\n") && d.tld[strings.ToLower(name[i+1:])]
}
