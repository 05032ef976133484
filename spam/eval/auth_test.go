package eval_test

import (
	"context"
	"maps"
	"slices"
	"strings"
	"testing"

	"mtad/spam"
	"mtad/spam/conf"
	"mtad/spam/scan"
)

const authRules = `
welcomelist_from_spf *@list.example.org
welcomelist_auth *@both.example.org
welcomelist_from_dkim *@list.example.org
welcomelist_from_dkim *@third.example.org signer.example.com
def_welcomelist_from_dkim *@sub.example.net .example.net
dkim_minimum_key_bits 1024
header SPF_PASS eval:check_for_spf_pass()
header SPF_FAIL eval:check_for_spf_fail()
header HELO_NONE eval:check_for_spf_helo_none()
header SPF_LIST eval:check_for_spf_welcomelist_from()
header NO_ENV eval:check_spf_skipped_noenvfrom()
header SIGNED eval:check_dkim_signed()
header SIGNED_BY eval:check_dkim_signed('.example.com')
header VALID eval:check_dkim_valid()
header VALID_BY eval:check_dkim_valid('signer.example.com','*.example.net')
header AUTHOR eval:check_dkim_valid_author_sig()
header ENV eval:check_dkim_valid_envelopefrom()
header DKIM_LIST eval:check_for_dkim_welcomelist_from()
header DKIM_DEF eval:check_for_def_dkim_welcomelist_from()
header TESTING eval:check_dkim_testing()
header DEPENDABLE eval:check_dkim_dependable()
header ARC_SIGNED eval:check_arc_signed()
header ARC_VALID eval:check_arc_valid()
header DMARC_PASS eval:check_dmarc_pass()
header DMARC_REJECT eval:check_dmarc_reject()
header DMARC_NONE eval:check_dmarc_none()
header DMARC_MISSING eval:check_dmarc_missing()
`

// TestAuth: what the server has found is what rules about SPF, DKIM, DMARC and ARC tell;
// what it has not found is unknown.
func TestAuth(t *testing.T) {
	e := spam.New(conf.Parse("auth", authRules, conf.Options{}), spam.Options{Net: true})
	signed := func(result, domain string, bits int) scan.Facts {
		return scan.Facts{DKIMChecked: true, DKIM: []scan.Signature{{Domain: domain, Selector: "s", Result: result, KeyBits: bits}}}
	}
	const of = "From: a@"
	for _, x := range []struct {
		name, text    string
		facts         scan.Facts
		hits, unknown string
	}{
		{"nothing is known", of + "example.com", scan.Facts{}, "NO_ENV", "ARC_SIGNED ARC_VALID AUTHOR DEPENDABLE DMARC_MISSING DMARC_NONE DMARC_PASS DMARC_REJECT HELO_NONE SIGNED_BY SPF_FAIL SPF_PASS TESTING VALID VALID_BY"},
		{"a list's author, of whom nothing is known", of + "list.example.org", scan.Facts{HasEnvelope: true, EnvelopeFrom: "a@list.example.org"}, "",
			"ARC_SIGNED ARC_VALID AUTHOR DEPENDABLE DKIM_LIST DMARC_MISSING DMARC_NONE DMARC_PASS DMARC_REJECT ENV HELO_NONE SIGNED_BY SPF_FAIL SPF_LIST SPF_PASS TESTING VALID VALID_BY"},
		{"SPF passes", of + "list.example.org", scan.Facts{SPF: &scan.SPF{MailFrom: "pass", Helo: "none"}, HasEnvelope: true, EnvelopeFrom: "a@list.example.org", DKIMChecked: true, DMARC: &scan.DMARC{Result: "none"}, ARC: "none"},
			"DEPENDABLE DMARC_MISSING HELO_NONE SPF_LIST SPF_PASS", ""},
		{"SPF fails", of + "both.example.org", scan.Facts{SPF: &scan.SPF{MailFrom: "fail"}, HasEnvelope: true, EnvelopeFrom: "a@both.example.org", DKIMChecked: true, DMARC: &scan.DMARC{Result: "fail", Policy: "reject"}, ARC: "pass"},
			"ARC_SIGNED ARC_VALID DEPENDABLE DMARC_REJECT SPF_FAIL", "HELO_NONE"},
		{"the author's signature", of + "list.example.org", with(signed("pass", "list.example.org", 2048)), "AUTHOR DEPENDABLE DKIM_LIST DMARC_PASS VALID", ""},
		{"a key that is too short", of + "list.example.org", with(signed("pass", "list.example.org", 512)), "DEPENDABLE DMARC_PASS", ""},
		{"a signature that fails", of + "list.example.org", with(signed("fail", "list.example.org", 2048)), "DEPENDABLE DMARC_PASS", ""},
		{"another's signature", of + "third.example.org", with(signed("pass", "signer.example.com", 0)), "DEPENDABLE DKIM_LIST DMARC_PASS SIGNED_BY VALID VALID_BY", ""},
		{"another's signature, where the author's is wanted", of + "list.example.org", with(signed("pass", "signer.example.com", 0)), "DEPENDABLE DMARC_PASS SIGNED_BY VALID VALID_BY", ""},
		{"a domain above", of + "sub.example.net", with(signed("pass", "mx.example.net", 0)), "DEPENDABLE DKIM_DEF DMARC_PASS VALID VALID_BY", ""},
	} {
		r := e.Check(context.Background(), []byte(x.text+"\n\nx\n"), x.facts)
		unknown := map[string]bool{}
		for _, u := range r.Unknown {
			unknown[u.Rule] = true
		}
		if got := strings.Join(r.Names(), " "); got != x.hits {
			t.Errorf("%s: %s hit, want %s", x.name, got, x.hits)
		}
		if got := strings.Join(slices.Sorted(maps.Keys(unknown)), " "); got != x.unknown {
			t.Errorf("%s: %s unknown, want %s", x.name, got, x.unknown)
		}
	}
}

// with adds what else is known.
func with(f scan.Facts) scan.Facts {
	f.SPF, f.HasEnvelope, f.DMARC, f.ARC = &scan.SPF{MailFrom: "none", Helo: "pass"}, true, &scan.DMARC{Result: "pass", Policy: "none"}, "none"
	return f
}
