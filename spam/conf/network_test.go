package conf

import (
	"fmt"
	"testing"
	"time"
)

func TestNetwork(t *testing.T) {
	rs := Parse("x.cf", `loadplugin Mail::SpamAssassin::Plugin::ASN
loadplugin Mail::SpamAssassin::Plugin::DKIM
loadplugin Mail::SpamAssassin::Plugin::HashBL
loadplugin Mail::SpamAssassin::Plugin::Shortcircuit
loadplugin Mail::SpamAssassin::Plugin::URIDNSBL
rbl_timeout 20
rbl_timeout 10 2 slow.test
rbl_timeout 1m 5s .Other.Test
dns_query_restriction deny bl.test *
dns_query_restriction allow good.bl.test
dns_block_rule BLOCKED list.test .b.test
dns_block_rule BLOCKED c.test.
asn_lookup asn.test. _A_ _B_
asn_lookup other.test
uridnsbl_skip_domain a.test b.test
clear_uridnsbl_skip_domain a.test
hashbl_email_domain_alias gmail.com googlemail.com
hashbl_acl_free gmail.com !yahoo.com
adsp_override *.example.com all
adsp_override example.org custom_low
dns_server 192.0.2.1
shortcircuit A spam
priority B -5
shortcircuit B ham
header A exists:A
header B exists:B
`, Options{})
	if len(rs.Problems) > 0 {
		t.Fatal(rs.Problems)
	}
	for zone, want := range map[string]Timeout{"": {20 * time.Second, 4 * time.Second}, "slow.test": {10 * time.Second, 2 * time.Second}, "other.test": {time.Minute, 5 * time.Second}} {
		if got := rs.Timeouts()[zone]; got != want {
			t.Errorf("%q: %v", zone, got)
		}
	}
	for name, want := range map[string]bool{"x.bl.test": true, "x.good.bl.test": false, "elsewhere.test": true} {
		if rs.Denied(name) != want {
			t.Errorf("%s is denied: not %v", name, want)
		}
	}
	for _, c := range []struct{ got, want any }{
		{rs.Values("dns_block_rule")["BLOCKED"], "list.test b.test c.test"}, {rs.ASNLookups("asn_lookup"), []ASNLookup{{"asn.test", "A", "B"}, {"other.test", "ASN", "ASNCIDR"}}},
		{rs.Words("uridnsbl_skip_domain"), []string{"b.test"}}, {rs.Values("hashbl_email_domain_alias")["googlemail.com"], "gmail.com"}, {rs.Words("hashbl_acl_free"), []string{"gmail.com", "!yahoo.com"}},
		{rs.Practice("a.b.example.com"), "A"}, {rs.Practice("example.com"), ""}, {rs.Practice("example.org"), "1"}, {rs.Words("dns_server"), []string{"192.0.2.1"}},
		{rs.Rule("A").Priority, -200}, {rs.Rule("B").Priority, -5}, {rs.Rule("B").Flags.Nice, true}, {rs.Rule("A").Flags.NoAutoLearn, true},
	} {
		if fmt.Sprint(c.got) != fmt.Sprint(c.want) {
			t.Errorf("%v, want %v", c.got, c.want)
		}
	}
	for _, line := range []string{"rbl_timeout", "rbl_timeout x", "dns_query_restriction forbid x", "dns_block_rule A", "dns_block_rule A a/b", "asn_lookup a _B_", "hashbl_email_domain_alias a", "adsp_override a never", "shortcircuit A maybe", "loadplugin Mail::SpamAssassin::Plugin::RelayCountry"} {
		if rs := Parse("x.cf", line+"\n", Options{}); len(rs.Problems) != 1 {
			t.Errorf("%s: %v", line, rs.Problems)
		}
	}
	u := rs.WithUser("user", "rbl_timeout 1\ndns_block_rule A b\nadsp_override example.org unknown\n", Options{})
	if len(u.Problems) != 2 || u.Practice("example.org") != "U" || rs.Practice("example.org") != "1" {
		t.Errorf("%v %s %s", u.Problems, u.Practice("example.org"), rs.Practice("example.org"))
	}
}
