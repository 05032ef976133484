package txrep

import (
	"context"
	"fmt"
	"math"
	"strings"
	"testing"

	"mtad/spam/conf"
	"mtad/spam/regex"
	"mtad/spam/scan"
	"mtad/spam/spamtest"
)

func newTurn(t *testing.T, config, message string) *turn {
	rs := conf.Parse("test", config, conf.Options{})
	for _, p := range rs.Problems {
		t.Fatal(p)
	}
	return &turn{Scan: scan.New(context.Background(), &scan.Settings{Rules: rs}, []byte(message), scan.Facts{}, &regex.Budget{Steps: 1 << 20})}
}

// networks are what TxRep writes of addresses, with masks of so many bits.
var networks = []struct {
	ip        string
	four, six int
	want      string
}{
	{"192.0.2.7", 16, 48, "192.0"}, {"192.0.2.7", 32, 48, "192.0.2.7"}, {"192.0.2.7", 24, 48, "192.0.2"}, {"192.168.2.7", 20, 48, "192.168"}, {"10.1.2.3", 8, 48, "10"}, {"192.0.2.7", 25, 48, "192.0.2"}, {"192.0.2.129", 25, 48, "192.0.2.128"},
	{"10.0.0.0", 32, 48, "10.0.0.0"}, {"10.0.0.1", 24, 48, "10"},
	{"2001:db8:1:2::7", 16, 48, "2001:0db8:0001::"}, {"2001:db8:1:2::7", 16, 64, "2001:0db8:0001:0002::"}, {"2001:db8:1:2::7", 16, 128, "2001:0db8:0001:0002:0000:0000:0000:0007"}, {"2001:db8::", 16, 48, "2001:0db8::"}, {"::1", 16, 48, "0000::"},
	{"", 16, 48, "none"}, {"nonsense", 16, 48, "none"}, {"1.2.3", 16, 48, "none"},
}

// TestNetworks: under which network the reputation of an address is kept.
func TestNetworks(t *testing.T) {
	for _, c := range networks {
		turn := newTurn(t, fmt.Sprintf("loadplugin Mail::SpamAssassin::Plugin::TxRep\ntxrep_ipv4_mask_len %d\ntxrep_ipv6_mask_len %d\n", c.four, c.six), "Subject: x\n\nx\n")
		if got := turn.network(c.ip); got != c.want {
			t.Errorf("%s of %d and %d bits: %s, want %s", c.ip, c.four, c.six, got, c.want)
		}
	}
}

// TestNetworksAsPerl asks SpamAssassin, whose letters are large or small as NetAddr::IP has
// been told by others.
func TestNetworksAsPerl(t *testing.T) {
	o := spamtest.Start(t, "..", "../rules", spamtest.Site)
	for _, c := range networks {
		if got := o.Call(t, "network", c.ip, fmt.Sprint(c.four), fmt.Sprint(c.six)); len(got) != 1 || strings.ToLower(got[0]) != c.want {
			t.Errorf("SpamAssassin: %s of %d and %d bits: %q, want %s", c.ip, c.four, c.six, got, c.want)
		}
	}
}

// TestEntries: an entry draws a score to the mean of what came before, but not beyond what
// both say.
func TestEntries(t *testing.T) {
	points := func(v float64) *float64 { return &v }
	for _, c := range []struct {
		total  float64
		count  int64
		kind   string
		points *float64
		want   float64
	}{
		{0, 0, "EMAIL", points(5), 0},      // nothing is known
		{-10, 1, "EMAIL", points(5), -7.5}, // (-10 + 5) / 2 - 5
		{10, 4, "EMAIL", points(0), 2},
		{10, 4, "EMAIL", nil, 2},           // without a score of its own
		{10, 4, "EMAIL", points(20), 2},    // bad mail of bad senders is not made better
		{-10, 4, "EMAIL", points(-20), -2}, // nor good mail of good ones worse
		{9, 3, "MSG_ID", points(5), 3},     // what was learned of this message
		{0, 0, "MSG_ID", points(5), 0},
	} {
		e := &entry{}
		e.Total, e.Count = c.total, c.count
		if got := e.difference(c.kind, c.points); math.Abs(got-c.want) > 1e-9 {
			t.Errorf("%v of %d, %s: %v, want %v", c.total, c.count, c.kind, got, c.want)
		}
	}
	// What is forgotten takes its points and its message away, and one more.
	e := &entry{}
	for range 4 {
		e.add(2)
	}
	e.remove(2)
	if e.Count != 3 || e.Total != 6 {
		t.Errorf("%d, %v", e.Count, e.Total)
	}
	e = &entry{}
	e.add(2)
	e.remove(2)
	if e.Count != 1 || e.Total != 0 {
		t.Errorf("%d, %v", e.Count, e.Total)
	}
}
