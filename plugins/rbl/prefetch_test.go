package rbl

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"mtad/dns"
	"mtad/pipeline"
)

// TestPrefetch checks that what is asked ahead is what is asked.
func TestPrefetch(t *testing.T) {
	f, err := build(`zones = { "bl.test" = 4, "white.test" = -2 }`)
	if err != nil {
		t.Fatal(err)
	}
	rbl := f.(*filter)
	rbl.dns = dns.Recorded{Resolver: rbl.dns}
	for _, c := range []struct {
		client pipeline.Client
		want   int
	}{
		{pipeline.Client{Addr: netip.MustParseAddrPort("198.51.100.7:25")}, 2},
		{pipeline.Client{Addr: netip.MustParseAddrPort("[2606:4700::1]:25")}, 2},
		{pipeline.Client{Addr: netip.MustParseAddrPort("10.0.2.1:25")}, 0},
		{pipeline.Client{Addr: netip.MustParseAddrPort("198.51.100.7:25"), Trusted: true}, 0},
		{pipeline.Client{}, 0},
	} {
		v := pipeline.NewView(c.client, pipeline.Mailing{}, nil)
		r := &dns.Recorder{}
		if _, err := rbl.Filter(dns.WithRecorder(t.Context(), r), pipeline.Mail, v); err != nil {
			t.Fatal(err)
		}
		var ahead, asked []string
		for _, q := range rbl.Prefetch(pipeline.Connect, v) {
			ahead = append(ahead, fmt.Sprint(q.Name, " ", q.Type))
		}
		for _, a := range r.Asked() {
			asked = append(asked, fmt.Sprint(a.Name, " ", a.Type))
		}
		slices.Sort(asked)
		if len(ahead) != c.want || !slices.Equal(ahead, asked) {
			t.Errorf("%v: ahead %v, then %v", c.client.Addr, ahead, asked)
		}
		if again := rbl.Prefetch(pipeline.Mail, v); again != nil {
			t.Errorf("asked again: %v", again)
		}
	}
}
