package conf

import (
	"net/netip"
	"strings"
	"testing"
)

// TestNestedNets: of internal_networks and msa_networks only what is trusted counts.
func TestNestedNets(t *testing.T) {
	for _, c := range []struct {
		text, list, in, out string
		problem             string
	}{
		{"trusted_networks 192.0.2.0/24\ninternal_networks 192.0.2.0/28 198.51.100.0/24", "internal_networks", "192.0.2.1", "198.51.100.1", "198.51.100.0/24 of internal_networks is not in trusted_networks"},
		{"internal_networks 10/8\nmsa_networks 10.1.2.3 192.0.2.1", "msa_networks", "10.1.2.3", "192.0.2.1", "192.0.2.1/32 of msa_networks is not in internal_networks"},
		{"trusted_networks !192.0.2.7 192.0.2.0/24\nmsa_networks 192.0.2.8 192.0.2.7", "msa_networks", "192.0.2.8", "192.0.2.7", "192.0.2.7/32 of msa_networks"},
		{"msa_networks 192.0.2.1", "msa_networks", "192.0.2.1", "192.0.2.2", ""},
	} {
		s := Parse("test", c.text, Options{})
		n := s.Nets(c.list)
		if !n.Contains(netip.MustParseAddr(c.in)) || n.Contains(netip.MustParseAddr(c.out)) {
			t.Errorf("%q: %s %v, %s %v", c.text, c.in, n.Contains(netip.MustParseAddr(c.in)), c.out, n.Contains(netip.MustParseAddr(c.out)))
		}
		var problems strings.Builder
		for _, p := range s.Problems {
			problems.WriteString(p.String() + "\n")
		}
		if !strings.Contains(problems.String(), c.problem) || c.problem == "" && problems.Len() > 0 {
			t.Errorf("%q: problems %q, want %q", c.text, problems.String(), c.problem)
		}
	}
}
