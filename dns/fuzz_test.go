package dns

import (
	"net/netip"
	"testing"
	"time"

	mdns "github.com/miekg/dns"
)

// FuzzAnswer reads what a name server may send. An answer has records of the
// type that was asked for, addresses are addresses, and no time to live is out
// of bounds.
func FuzzAnswer(f *testing.F) {
	for _, lines := range [][]string{
		{"a.test. 60 A 192.0.2.1", "a.test. 60 AAAA 2001:db8::1"}, {"a.test. 0 MX 0 .", "a.test. 9999999 MX 10 mx.a.test."},
		{`a.test. 1 TXT "v=spf1 " "\195\164\"\\ -all"`, "a.test. 1 CNAME b.test."},
		{"a.test. 1 TLSA 3 1 1 00ff", "a.test. 1 PTR x.test.", "a.test. 1 NS ns.test."},
		{"a.test. 1 SOA ns.test. h.test. 1 2 3 4 4294967295"}, {},
	} {
		m := new(mdns.Msg)
		m.SetQuestion("a.test.", uint16(A))
		m.Response = true
		for _, l := range lines {
			rr, err := mdns.NewRR(l)
			if err != nil {
				f.Fatal(err)
			}
			m.Answer = append(m.Answer, rr)
			if rr.Header().Rrtype == uint16(SOA) {
				m.Ns = append(m.Ns, rr)
			}
		}
		b, err := m.Pack()
		if err != nil {
			f.Fatal(err)
		}
		for _, t := range []Type{A, AAAA, MX, TXT, TLSA} {
			f.Add(b, uint16(t))
		}
	}
	f.Fuzz(func(t *testing.T, b []byte, typ uint16) {
		in := new(mdns.Msg)
		if in.Unpack(b) != nil {
			return
		}
		ans, ttl, err := read(in, Question{"a.test", Type(typ)})
		if err != nil {
			if len(ans.Records) > 0 || NotFound(err) && (ttl < minTTL || ttl > maxTTL) {
				t.Errorf("%v, %v with %v", ans, ttl, err)
			}
			return
		}
		if len(ans.Records) == 0 || ttl < time.Second || ttl > time.Hour {
			t.Errorf("%d records for %v", len(ans.Records), ttl)
		}
		for _, r := range ans.Records {
			_, err := netip.ParseAddr(r.Text)
			if r.Type != Type(typ) || (r.Type == A || r.Type == AAAA) && err != nil {
				t.Errorf("record %+v, asked for %d", r, typ)
			}
		}
	})
}
