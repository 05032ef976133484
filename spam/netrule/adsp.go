package netrule

import (
	"regexp"
	"slices"
	"strings"

	"mtad/spam/conf"
	"mtad/spam/eval"
	"mtad/spam/scan"
	"mtad/spam/uri"
)

// adspEval are the functions of DKIM about what a domain says of its signatures (RFC
// 5617), or the administrator says for it (adsp_override).
var adspEval = map[string]eval.Func{
	"check_dkim_adsp":    adspRule,
	"check_dkim_signall": func(s *scan.Scan, r *conf.Rule, _ []string) (float64, error) { return adspRule(s, r, []string{"A"}) },
}

func adspRule(s *scan.Scan, _ *conf.Rule, args []string) (float64, error) {
	want := eval.Arg(args, 0)
	if want == "*" {
		want = "NAD123"
	}
	if s.Local {
		return 0, nil
	}
	if !s.Facts.DKIMChecked {
		return 0, eval.NoDKIM
	}
	a := &inquirer{s: s}
	authors := eval.AuthorDomains(s)
	found := false
	for _, d := range authors {
		if p := a.practice(d); p != "" && strings.Contains(want, p) {
			found = true
		}
	}
	if found && len(args) > 1 {
		found = slices.ContainsFunc(args[1:], func(list string) bool {
			return slices.ContainsFunc(authors, func(d string) bool { return eval.DomainListed(list, d) })
		})
	}
	return a.outcome(found)
}

var fullDomain = regexp.MustCompile(`(?i)^.+\.[a-z-]{2,}$`)

// practice is what is known of an author's domain: N no such domain, A all mail is
// signed, D and the rest can be discarded, U nothing, 1 to 3 as the administrator says.
// It is "" if an author's signature holds, or may.
func (a *inquirer) practice(domain string) string {
	if !fullDomain.MatchString(domain) {
		return ""
	}
	for _, d := range a.s.Facts.DKIM {
		if eval.Signer(d) == domain && (d.Result == "pass" || d.Result == "temperror") {
			return ""
		}
	}
	if p := a.s.Rules.Practice(domain); p != "" || a.s.Ask == nil {
		return p
	}
	name := uri.ASCII(domain)
	reply, ok := a.ask("_adsp._domainkey."+name, "TXT")
	for _, rec := range reply.Records {
		if p := adspRecord(rec.Text); ok && p != "" {
			return p
		}
	}
	reply, ok = a.ask(name, "MX")
	switch {
	case !ok:
		return ""
	case reply.Code == 3:
		return "N"
	}
	return "U"
}

// adspRecord reads "dkim=all".
func adspRecord(text string) string {
	for tag := range strings.SplitSeq(text, ";") {
		name, value, _ := strings.Cut(tag, "=")
		if strings.TrimSpace(name) == "dkim" {
			return map[string]string{"unknown": "U", "all": "A", "discardable": "D", "strict": "D"}[strings.TrimSpace(value)]
		}
	}
	return ""
}
