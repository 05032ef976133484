package spf

import (
	"net/netip"
	"testing"

	"mtad/dns"
	"mtad/pipeline"
	"mtad/smtp"
)

// TestPrefetch checks that what is asked ahead is the first thing that is asked.
func TestPrefetch(t *testing.T) {
	f := build(t, "").(*filter)
	f.dns = dns.Recorded{Resolver: f.dns}
	for sender, want := range map[string]string{"ann@good.test": "good.test", "ann@bücher.test": "xn--bcher-kva.test", "": "helo.test"} {
		var a smtp.Address
		if sender != "" {
			a, _ = smtp.ParseAddress(sender)
		}
		c := pipeline.Client{Addr: netip.MustParseAddrPort("192.0.2.1:1"), Helo: "helo.test"}
		v := pipeline.NewView(c, pipeline.Mailing{Sender: a}, nil)
		r := &dns.Recorder{}
		if _, err := f.Filter(dns.WithRecorder(t.Context(), r), pipeline.Mail, v); err != nil {
			t.Fatal(err)
		}
		ahead, asked := f.Prefetch(pipeline.Mail, v), r.Asked()
		if len(ahead) != 1 || ahead[0] != (dns.Question{Name: want, Type: dns.TXT}) || asked[0].Name != want || asked[0].Type != "TXT" {
			t.Errorf("%s: ahead %v, then %v", sender, ahead, asked)
		}
		c.Trusted = true
		if more := f.Prefetch(pipeline.Mail, pipeline.NewView(c, pipeline.Mailing{Sender: a}, nil)); more != nil {
			t.Errorf("%s: of a trusted client %v", sender, more)
		}
	}
}
