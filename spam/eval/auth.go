package eval

import (
	"slices"
	"strings"

	"mtad/spam/conf"
	"mtad/spam/scan"
)

// authEval are the functions of SPF, DKIM and DMARC. They take the results that the
// server has found; without them they are unknown.
var authEval = withOldNames(map[string]Func{
	"check_for_spf_pass": spf(false, "pass"), "check_for_spf_neutral": spf(false, "neutral"), "check_for_spf_none": spf(false, "none"),
	"check_for_spf_fail": spf(false, "fail"), "check_for_spf_softfail": spf(false, "softfail"), "check_for_spf_permerror": spf(false, "permerror"),
	"check_for_spf_temperror": spf(false, "temperror"),
	"check_for_spf_helo_pass": spf(true, "pass"), "check_for_spf_helo_neutral": spf(true, "neutral"), "check_for_spf_helo_none": spf(true, "none"),
	"check_for_spf_helo_fail": spf(true, "fail"), "check_for_spf_helo_softfail": spf(true, "softfail"), "check_for_spf_helo_permerror": spf(true, "permerror"),
	"check_for_spf_helo_temperror": spf(true, "temperror"),
	"check_spf_skipped_noenvfrom": func(s *scan.Scan, _ *conf.Rule, _ []string) (float64, error) {
		_, ok := s.EnvelopeFrom()
		return hit(!ok)
	},
	"check_for_spf_welcomelist_from":     spfList("welcomelist_from_spf", "welcomelist_auth"),
	"check_for_def_spf_welcomelist_from": spfList("def_welcomelist_from_spf", "def_welcomelist_auth"),
	"check_dkim_signed":                  dkimSigned,
	"check_dkim_valid":                   func(s *scan.Scan, _ *conf.Rule, a []string) (float64, error) { return signedBy(s, true, false, a) },
	"check_dkim_verified":                func(s *scan.Scan, _ *conf.Rule, a []string) (float64, error) { return signedBy(s, true, false, a) },
	"check_dkim_valid_author_sig":        func(s *scan.Scan, _ *conf.Rule, a []string) (float64, error) { return signedBy(s, true, true, a) },
	"check_dkim_valid_envelopefrom":      signedByEnvelope,
	"check_dkim_dependable":              dependable,
	"check_dkim_testing": func(s *scan.Scan, _ *conf.Rule, _ []string) (float64, error) {
		return ofDKIM(s, func(d scan.Signature) bool { return d.Testing })
	},
	"check_dkim_signsome":                 func(*scan.Scan, *conf.Rule, []string) (float64, error) { return 0, nil },
	"check_for_dkim_welcomelist_from":     dkimList("welcomelist_from_dkim", "welcomelist_auth"),
	"check_for_def_dkim_welcomelist_from": dkimList("def_welcomelist_from_dkim", "def_welcomelist_auth"),
	"check_arc_signed":                    arc("pass", "fail"), "check_arc_valid": arc("pass"),
	"check_dmarc_pass":   dmarc("pass", "none", "quarantine", "reject"),
	"check_dmarc_reject": dmarc("fail", "reject"), "check_dmarc_quarantine": dmarc("fail", "quarantine"), "check_dmarc_none": dmarc("fail", "none"),
	"check_dmarc_missing": dmarcMissing,
})

const (
	noSPF   = Unknown("no SPF result is known")
	noDKIM  = Unknown("no DKIM result is known")
	noDMARC = Unknown("no DMARC result is known")
	noARC   = Unknown("no ARC result is known")
)

// without is the answer where the server has no result. Where tests over the network
// are off SpamAssassin has none either, and does not hit.
func without(s *scan.Scan, why Unknown) (float64, error) {
	if s.Local {
		return 0, nil
	}
	return 0, why
}

func spf(helo bool, result string) Func {
	return func(s *scan.Scan, _ *conf.Rule, _ []string) (float64, error) {
		f := s.Facts.SPF
		switch {
		case f == nil || helo && f.Helo == "":
			return without(s, noSPF)
		case helo:
			return hit(f.Helo == result)
		}
		return hit(f.MailFrom == result)
	}
}

// spfList: the sender is in one of the lists, and SPF says it is the sender.
func spfList(lists ...string) Func {
	return func(s *scan.Scan, _ *conf.Rule, _ []string) (float64, error) {
		from, ok := s.EnvelopeFrom()
		if !ok || from == "" || !slices.ContainsFunc(lists, func(l string) bool { _, ok := s.Rules.Addresses(l).Match(from); return ok }) {
			return 0, nil
		}
		if s.Facts.SPF == nil {
			return without(s, noSPF)
		}
		return hit(s.Facts.SPF.MailFrom == "pass")
	}
}

func ofDKIM(s *scan.Scan, test func(scan.Signature) bool) (float64, error) {
	if !s.Facts.DKIMChecked {
		return without(s, noDKIM)
	}
	return hit(slices.ContainsFunc(s.Facts.DKIM, test))
}

// valid: a signature that holds, with a key that is long enough.
func valid(s *scan.Scan, d scan.Signature) bool {
	return d.Result == "pass" && (d.KeyBits == 0 || float64(d.KeyBits) >= s.Rules.Number("dkim_minimum_key_bits"))
}

func dkimSigned(s *scan.Scan, _ *conf.Rule, domains []string) (float64, error) {
	if len(domains) > 0 {
		return signedBy(s, false, false, domains)
	}
	if !s.Has("DKIM-Signature") && !s.Has("DomainKey-Signature") {
		return 0, nil
	}
	return 1, nil
}

// signer is who a signature says it is of: the domain of i=, or d=.
func signer(d scan.Signature) string {
	if i := strings.LastIndexByte(d.Identity, '@'); i >= 0 {
		return strings.ToLower(d.Identity[i+1:])
	}
	return strings.ToLower(d.Domain)
}

func authorDomains(s *scan.Scan) []string {
	var out []string
	for _, a := range s.Get("From:addr") {
		if i := strings.LastIndexByte(a, '@'); i >= 0 {
			out = append(out, strings.ToLower(a[i+1:]))
		}
	}
	return out
}

// signedBy looks for a signature of one of the domains; with author only of the author's.
func signedBy(s *scan.Scan, mustHold, author bool, domains []string) (float64, error) {
	return ofDKIM(s, func(d scan.Signature) bool {
		by := signer(d)
		return (!mustHold || valid(s, d)) && (!author || slices.Contains(authorDomains(s), by)) && (len(domains) == 0 || slices.ContainsFunc(domains, func(want string) bool { return sdid(want, by) }))
	})
}

// sdid compares a signer with a domain; "*.example.com" and ".example.com" are what is
// below it.
func sdid(want, by string) bool {
	want = strings.ToLower(want)
	if below, ok := strings.CutPrefix(strings.TrimPrefix(want, "*"), "."); ok {
		return by == below || strings.HasSuffix(by, "."+below)
	}
	return by == want
}

func signedByEnvelope(s *scan.Scan, _ *conf.Rule, _ []string) (float64, error) {
	from := s.First("EnvelopeFrom:addr")
	i := strings.LastIndexByte(from, '@')
	if i < 0 {
		return 0, nil
	}
	return signedBy(s, true, false, []string{from[i+1:]})
}

func dependable(s *scan.Scan, _ *conf.Rule, _ []string) (float64, error) {
	if !s.Facts.DKIMChecked {
		return without(s, noDKIM)
	}
	return 1, nil
}

// dkimList: the author is in a list, with the domain whose signature holds.
func dkimList(withDomain, ofAuthor string) Func {
	return func(s *scan.Scan, _ *conf.Rule, _ []string) (float64, error) {
		wants := dkimWants(s, withDomain, ofAuthor)
		if wants == nil {
			return 0, nil
		}
		return ofDKIM(s, func(d scan.Signature) bool {
			by := signer(d)
			return d.Selector != "" && valid(s, d) && slices.ContainsFunc(wants, func(w string) bool { return listed(w, by) })
		})
	}
}

// listed compares as sdid, but ".example.com" is only what is below it.
func listed(want, by string) bool {
	if below, ok := strings.CutPrefix(strings.TrimPrefix(want, "*"), "."); ok {
		return strings.HasSuffix(by, "."+below)
	}
	return by == want
}

// dkimWants are the signers that would vouch for an author.
func dkimWants(s *scan.Scan, withDomain, ofAuthor string) []string {
	var out []string
	for _, a := range s.Get("From:addr") {
		a = strings.ToLower(a)
		own := a[strings.LastIndexByte(a, '@')+1:]
		for _, p := range s.Rules.Pairs(withDomain) {
			if !conf.Glob(p.Pattern, a) {
				continue
			}
			for _, d := range p.Domains {
				if d == "" {
					d = own
				}
				out = append(out, strings.ToLower(d[strings.LastIndexByte(d, '@')+1:]))
			}
		}
		if _, ok := s.Rules.Addresses(ofAuthor).Match(a); ok {
			out = append(out, own)
		}
	}
	return out
}

func arc(results ...string) Func {
	return func(s *scan.Scan, _ *conf.Rule, domains []string) (float64, error) {
		if s.Facts.ARC == "" {
			return without(s, noARC)
		}
		return hit(len(domains) == 0 && slices.Contains(results, s.Facts.ARC))
	}
}

func dmarc(result string, policies ...string) Func {
	return func(s *scan.Scan, _ *conf.Rule, _ []string) (float64, error) {
		d := s.Facts.DMARC
		if d == nil {
			return without(s, noDMARC)
		}
		return hit(d.Result == result && slices.Contains(policies, d.Policy))
	}
}

func dmarcMissing(s *scan.Scan, _ *conf.Rule, _ []string) (float64, error) {
	if s.Facts.DMARC == nil {
		return without(s, noDMARC)
	}
	return hit(s.Facts.DMARC.Policy == "")
}
