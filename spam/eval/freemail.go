package eval

import (
	"bytes"
	"regexp"
	"slices"
	"strings"

	"mtad/spam/conf"
	"mtad/spam/scan"
	"mtad/spam/uri"
)

// freemailEval are the functions of FreeMail.
var freemailEval = map[string]Func{
	"check_freemail_header":  freemailHeader,
	"check_freemail_body":    freemailBody,
	"check_freemail_from":    freemailFrom,
	"check_freemail_replyto": freemailReplyTo,
}

var (
	// Addresses that are no person's, whoever the provider is.
	roleAddress = regexp.MustCompile(`(?i)^(?:abuse|support|sales|info|helpdesk|contact|kontakt|(?:post|host|domain)master|undisclosed.*|request-[a-f0-9]{16}|bounced?-|[a-f0-9]{8}(?:\.[a-f0-9]{8}|-[a-f0-9]{4}-[a-f0-9]{4}-[a-f0-9]{4}-[a-f0-9]{12})|.+=.+=.+)@`)
	bulkSender  = regexp.MustCompile(`(?i)(?:^(?:post|host|domain)master|^double-bounce|^(?:sentto|owner|return|(?:gr)?bounced?)-.+|-(?:request|bounces?|admin|owner)|\b(?:do[._-t]?)?no[._-t]?repl(?:y|ies)|.+=.+)@`)
)

// freemail knows the providers.
type freemail struct {
	domains, welcome map[string]bool
	wild             []string
}

func freemailOf(s *scan.Scan) *freemail {
	return s.Once("freemail", func() any {
		f := &freemail{map[string]bool{}, map[string]bool{}, nil}
		for _, d := range s.Rules.Words("freemail_domains") {
			if d = strings.ToLower(d); strings.ContainsAny(d, "*?") {
				f.wild = append(f.wild, d)
			} else {
				f.domains[d] = true
			}
		}
		for _, d := range s.Rules.Words("freemail_welcomelist") {
			f.welcome[strings.ToLower(d)] = true
		}
		return f
	}).(*freemail)
}

// is reports whether an address, in small letters, is of a provider.
func (f *freemail) is(s *scan.Scan, email string) bool {
	domain := email[strings.LastIndexByte(email, '@')+1:]
	if !f.domains[domain] && !slices.ContainsFunc(f.wild, func(w string) bool { return globLabel(w, domain) }) {
		return false
	}
	if email == "" || f.welcome[email] || f.welcome[domain] || roleAddress.MatchString(email) {
		return false
	}
	for _, list := range []string{"welcomelist_auth", "def_welcomelist_auth"} {
		if s.Rules.Bool("freemail_import_" + list) {
			if _, ok := s.Rules.Addresses(list).Match(email); ok {
				return false
			}
		}
	}
	return true
}

// globLabel is Glob, but "*" does not go beyond a dot.
func globLabel(pattern, s string) bool {
	p, q := strings.Split(pattern, "."), strings.Split(s, ".")
	return slices.EqualFunc(p, q, conf.Glob)
}

func (f *freemail) describe(s *scan.Scan, r *conf.Rule, what string) (float64, error) {
	if s.Rules.Bool("freemail_add_describe_email") {
		s.Note(r.Name, strings.ReplaceAll(what, "@", "(at)"))
	}
	return 1, nil
}

// matching gives the first of addresses that is a provider's and matches a pattern.
func (f *freemail) matching(s *scan.Scan, addresses []string, pattern string) (string, error) {
	for _, a := range addresses {
		a = strings.ToLower(a)
		if !f.is(s, a) {
			continue
		}
		if pattern != "" {
			re, err := compiled(s, pattern)
			if err != nil {
				return "", err
			}
			if ok, err := re.Match([]byte(a), s.Budget); err != nil || !ok {
				if err != nil {
					return "", err
				}
				continue
			}
		}
		return a, nil
	}
	return "", nil
}

func (f *freemail) test(s *scan.Scan, r *conf.Rule, addresses []string, pattern string) (float64, error) {
	a, err := f.matching(s, addresses, pattern)
	if a == "" || err != nil {
		return 0, err
	}
	return f.describe(s, r, a)
}

func freemailHeader(s *scan.Scan, r *conf.Rule, a []string) (float64, error) {
	return freemailOf(s).test(s, r, s.Get(arg(a, 0)+":addr"), arg(a, 1))
}

func freemailFrom(s *scan.Scan, r *conf.Rule, a []string) (float64, error) {
	return freemailOf(s).test(s, r, s.AllFrom(), arg(a, 0))
}

func freemailBody(s *scan.Scan, r *conf.Rule, a []string) (float64, error) {
	list, ok := freemailInBody(s)
	if !ok {
		return 0, nil
	}
	return freemailOf(s).test(s, r, list, arg(a, 0))
}

var (
	linkWithAt = regexp.MustCompile(`<?[Hh][Tt][Tt][Pp][Ss]?://\S{0,255}(?:@|%40)\S{0,255}`)
	quotedFrom = regexp.MustCompile(`^(?:>|\s{1,10}([A-Za-z]{2,11}):)`)
	contactWay = regexp.MustCompile(`(?i)^(?:fa(?:x|csi)|tel|phone|e?-?mail)`)
	// Without (?i), which would take the signs of Kelvin and the long s for letters of ASCII.
	emailForm = regexp.MustCompile("[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,59}[A-Za-z0-9])?\\.){1,4}[A-Za-z0-9-]+")
)

// inEmail are the octets that emailForm may match.
var inEmail = func() (t [256]bool) {
	for c := range t {
		t[c] = c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("!#$%&'*+/=?^_`{|}~-.@", byte(c)) >= 0
	}
	return t
}()

// emailsIn is emailForm.FindAllStringIndex: it looks around each "@" alone.
func emailsIn(text string, most int) (out [][]int) {
	for from := 0; len(out) < most; {
		at := strings.IndexByte(text[from:], '@')
		if at < 0 {
			return out
		}
		start, end := from+at, from+at+1
		for start > from && inEmail[text[start-1]] {
			start--
		}
		for end < len(text) && inEmail[text[end]] {
			end++
		}
		for _, m := range emailForm.FindAllStringIndex(text[start:end], most-len(out)) {
			out = append(out, []int{start + m[0], start + m[1]})
		}
		from = end
	}
	return out
}

// freemailInBody are the providers' addresses in the text; ok is false if there are too
// many addresses for one to mean something.
func freemailInBody(s *scan.Scan) (list []string, ok bool) {
	if v, done := s.Keep["freemailBody"].([]string); done {
		return v, v != nil
	}
	emails := bodyAddresses(s)
	f := freemailOf(s)
	list = []string{}
	most, mostFree := s.Rules.Count("freemail_max_body_emails"), s.Rules.Count("freemail_max_body_freemails")
	skip := s.Rules.Bool("freemail_skip_when_over_max")
	free := 0
	for i, e := range emails {
		if skip && i+1 == most {
			list = nil
			break
		}
		if !f.is(s, e) {
			continue
		}
		if free++; skip && free == mostFree {
			list = nil
			break
		}
		list = append(list, e)
	}
	s.Keep["freemailBody"] = list
	return list, list != nil
}

// bodyAddresses are the addresses in links of mail and in the text, each once.
func bodyAddresses(s *scan.Scan) []string {
	var out []string
	add := func(e string) {
		if e = strings.ToLower(e); !slices.Contains(out, e) && len(out) < 40 {
			out = append(out, e)
		}
	}
	for u, d := range s.Links().Details {
		if d.Types["a"] && !d.Types["parsed"] && strings.HasPrefix(strings.ToLower(u), "mailto:") {
			if m := emailForm.FindStringIndex(u[7:]); m != nil && m[0] == 0 && s.Rules.Domains().Valid(domainPart(u[7:7+m[1]])) {
				add(u[7 : 7+m[1]])
			}
		}
	}
	for _, line := range s.Body() {
		if bytes.IndexByte(line, '@') < 0 {
			continue
		}
		t := string(line)
		if strings.Contains(t, "://") {
			t = linkWithAt.ReplaceAllString(t, " ")
		}
		for _, m := range emailsIn(t, 200) {
			rest := t[m[1]:]
			q := quotedFrom.FindStringSubmatch(rest)
			quoted := q != nil && !strings.HasSuffix(strings.ToLower(t[:m[0]]), "mailto:") && !contactWay.MatchString(q[1])
			if !quoted && s.Rules.Domains().Valid(domainPart(t[m[0]:m[1]])) {
				add(t[m[0]:m[1]])
			}
		}
	}
	return out
}

func domainPart(addr string) string { return uri.ASCII(addr[strings.LastIndexByte(addr, '@')+1:]) }

func lower(in []string) []string {
	out := make([]string, len(in))
	for i, s := range in {
		out[i] = strings.ToLower(s)
	}
	return out
}

// freemailReplyTo: answers would go to another provider's address than the message
// comes from.
func freemailReplyTo(s *scan.Scan, r *conf.Rule, a []string) (float64, error) {
	f := freemailOf(s)
	if from := s.First("EnvelopeFrom"); s.Rules.Bool("freemail_skip_bulk_envfrom") && bulkSender.MatchString(from) {
		return 0, nil
	}
	from, reply := lower(s.Get("From:addr")), lower(s.Get("Reply-To:addr"))
	free := func(list []string) bool { return slices.ContainsFunc(list, func(e string) bool { return f.is(s, e) }) }
	fromFree, replyFree := free(from), free(reply)
	same := slices.ContainsFunc(from, func(e string) bool { return slices.Contains(reply, e) })
	if fromFree && replyFree && !same {
		return f.describe(s, r, strings.Join(from, ",")+" -> "+strings.Join(reply, ","))
	}
	answers := reply
	if arg(a, 0) == "reply" {
		if len(reply) > 0 && !replyFree || !fromFree {
			return 0, nil
		}
		if !replyFree {
			answers = from
		}
	} else if !replyFree {
		return 0, nil
	}
	list, ok := freemailInBody(s)
	if !ok {
		return 0, nil
	}
	for _, e := range list {
		for _, to := range answers {
			if e != to {
				return f.describe(s, r, to+", "+e)
			}
		}
	}
	return 0, nil
}
