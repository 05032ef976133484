package inspect

import (
	"regexp"
	"slices"
	"strconv"
	"strings"

	"mtad/spam/conf"
	"mtad/spam/eval"
	"mtad/spam/scan"
)

// authresEval is the function of AuthRes: what Authentication-Results fields (RFC 8601)
// of servers that are believed say.
var authresEval = map[string]eval.Func{"check_authres_result": func(s *scan.Scan, _ *conf.Rule, args []string) (float64, error) {
	got, ok := authresOf(s)[eval.Arg(args, 0)]
	if want := strings.ToLower(eval.Arg(args, 1)); want != "missing" {
		return hit(ok && got == want)
	}
	return hit(!ok)
}}

// authMethods are the methods that are understood, with their results and the
// properties that may stand with them.
var authMethods = map[string]struct{ results, properties string }{
	"arc":        {"fail none pass", "smtp.remote-ip header.oldest-pass arc.chain"},
	"auth":       {"fail none pass permerror temperror", "smtp.auth smtp.mailfrom"},
	"dkim":       {"fail neutral none pass permerror policy temperror", "header.d header.i header.b header.a header.s"},
	"dkim-adsp":  {"discard fail none nxdomain pass permerror temperror unknown", "header.from"},
	"dkim-atps":  {"fail none pass permerror temperror neutral", "header.from"},
	"dmarc":      {"bestguesspass fail none pass permerror temperror", "header.from policy.dmarc"},
	"dnswl":      {"none pass permerror temperror", "dns.zone dns.sec policy.ip policy.txt"},
	"domainkeys": {"fail neutral none permerror policy pass temperror", "header.d header.from header.sender"},
	"iprev":      {"fail pass permerror temperror", "policy.iprev"},
	"rrvs":       {"fail none pass permerror temperror unknown", "smtp.rcptto"},
	"sender-id":  {"fail hardfail neutral none pass permerror policy softfail temperror", "header.*"},
	"smime":      {"fail neutral none pass permerror policy temperror", "body.smime-part body.smime-identifier body.smime-serial body.smime-issuer"},
	"spf":        {"fail hardfail neutral none pass permerror policy softfail temperror", "smtp.mailfrom smtp.mfrom smtp.helo smtp.rcpttodomain"},
	"vbr":        {"fail none pass permerror temperror", "header.md header.mv"},
}

func word(list, w string) bool { return slices.Contains(strings.Fields(list), w) }

var authField = regexp.MustCompile(`(?i)^((?:arc-)?authentication-results):\s*(.+)`)

// authresOf gives the result of each method: pass if one field says so, else the first.
func authresOf(s *scan.Scan) map[string]string {
	if m, ok := s.Keep["authres"].(map[string]string); ok {
		return m
	}
	out := map[string]string{}
	s.Keep["authres"] = out
	from := map[string]string{"all": "ALL", "trusted": "ALL-TRUSTED"}[strings.ToLower(s.Rules.String("authres_networks"))]
	if from == "" {
		from = "ALL-INTERNAL"
	}
	for _, line := range s.Get(from) {
		m := authField.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		results, ok := parseAuthres(m[2], strings.EqualFold(m[1][:4], "arc-"), func(server string) bool {
			trusted := lower(s.Rules.Words("authres_trusted_authserv"))
			return (len(trusted) == 0 || slices.Contains(trusted, server)) && !slices.Contains(lower(s.Rules.Words("authres_ignored_authserv")), server)
		})
		if !ok {
			continue // a field that can not be read counts for nothing
		}
		for _, r := range results {
			if out[r.method] == "" || r.result == "pass" {
				out[r.method] = r.result
			}
		}
	}
	return out
}

func lower(in []string) []string { return eval.Lower(in) }

type authResult struct{ method, result string }

// authParser reads a field; bad is set at the first fault.
type authParser struct {
	s   string
	i   int
	bad bool
}

// parseAuthres reads one field. believe says whose fields count; ok is false for those
// that do not, and for what is no such field.
func parseAuthres(text string, arc bool, believe func(server string) bool) (out []authResult, ok bool) {
	p := &authParser{s: text}
	if arc {
		p.arcIndex()
	}
	server := strings.ToLower(p.need(authToken))
	if p.skip("=") || p.bad || !believe(server) {
		return nil, false
	}
	p.space()
	if p.take(authDigits) != "" {
		p.space()
	}
	p.must(";")
	p.space()
	for p.i < len(p.s) && !p.bad {
		out = append(out, p.result(server))
	}
	return out, !p.bad
}

var (
	authToken  = regexp.MustCompile(`^[^\s\x00-\x1f\x80-\xff()<>@,;:/\[\]?="]+`)
	authDigits = regexp.MustCompile(`^[0-9]+`)
	authName   = regexp.MustCompile(`^[A-Za-z0-9_-]+`)
	authWord   = regexp.MustCompile(`^[A-Za-z0-9_]+`)
	authAtoms  = regexp.MustCompile("^[a-zA-Z0-9@!#$%&\\\\'*+\\-/=?^_`{|}~]+(?:\\.[a-zA-Z0-9@!#$%&\\\\'*+\\-/=?^_`{|}~]+)*")
	authQuoted = regexp.MustCompile(`^"(?:[^"\\]|\\.)*"?`)
)

// take takes what a pattern matches here, "" if nothing.
func (p *authParser) take(re *regexp.Regexp) string {
	m := re.FindString(p.s[p.i:])
	p.i += len(m)
	return m
}

func (p *authParser) need(re *regexp.Regexp) string {
	m := p.take(re)
	p.bad = p.bad || m == ""
	return m
}

func (p *authParser) skip(text string) bool {
	if !strings.HasPrefix(p.s[p.i:], text) {
		return false
	}
	p.i += len(text)
	return true
}

func (p *authParser) must(text string) { p.bad = !p.skip(text) || p.bad }

// space passes white space and a comment.
func (p *authParser) space() {
	p.blanks()
	if !p.skip("(") {
		return
	}
	depth := 1
	for ; p.i < len(p.s) && depth > 0; p.i++ {
		switch p.s[p.i] {
		case '(':
			depth++
		case ')':
			depth--
		}
	}
	p.bad = p.bad || depth > 0
	p.blanks()
}

func (p *authParser) blanks() {
	for p.i < len(p.s) && strings.IndexByte(" \t\r\n\f\v", p.s[p.i]) >= 0 {
		p.i++
	}
}

// keyword takes a word in small or capital letters.
func (p *authParser) keyword(w string) bool {
	end := p.i + len(w)
	if end > len(p.s) || !strings.EqualFold(p.s[p.i:end], w) || end < len(p.s) && authWord.MatchString(p.s[end:]) {
		return false
	}
	p.i = end
	return true
}

// arcIndex passes "i=1;".
func (p *authParser) arcIndex() {
	p.bad = !strings.HasPrefix(p.s, "i") || !p.keyword("i")
	p.space()
	p.must("=")
	p.space()
	n, err := strconv.Atoi(p.need(authDigits))
	p.bad = p.bad || err != nil || n < 1 || n > 50
	p.space()
	p.must(";")
	p.space()
}

// result reads "method=result reason=... type.property=value ...;".
func (p *authParser) result(server string) (r authResult) {
	if rest := p.s[p.i:]; strings.HasPrefix(rest, server) {
		if after := strings.TrimLeft(rest[len(server):], " \t\r\n\f\v"); strings.HasPrefix(after, ";") {
			p.i = len(p.s) - len(after) + 1
			p.space()
		}
	}
	if p.keyword("none") {
		p.bad = true
		return r
	}
	r.method = strings.ToLower(p.need(authName))
	known, ok := authMethods[r.method]
	p.bad = p.bad || !ok
	p.space()
	if p.skip("/") {
		p.space()
		p.need(authDigits)
		p.space()
	}
	p.must("=")
	p.space()
	r.result = p.need(authWord)
	p.bad = p.bad || !word(known.results, r.result)
	p.space()
	for _, name := range []string{"reason", "action"} {
		if p.keyword(name) {
			p.space()
			p.must("=")
			p.space()
			if p.take(authQuoted) == "" {
				p.need(authToken)
			}
			p.space()
		}
	}
	for p.i < len(p.s) && !p.bad {
		if p.skip(";") {
			p.space()
			break
		}
		if p.property(known.properties) {
			break
		}
	}
	return r
}

// property reads "type.property=value"; it reports whether ";" or the end follows.
func (p *authParser) property(known string) bool {
	kind := strings.ToLower(p.need(authName))
	p.space()
	p.must(".")
	p.space()
	name := strings.ToLower(p.need(authName))
	p.bad = p.bad || !word(known, kind+"."+name) && !word(known, kind+".*")
	p.space()
	p.must("=")
	p.space()
	if p.take(authQuoted) == "" && !p.bounded(authAtoms) && !p.bounded(authToken) {
		p.bad = true
	}
	p.space()
	if p.i == len(p.s) || p.skip(";") {
		p.space()
		return true
	}
	return p.bad
}

// bounded takes what a pattern matches if white space, ";" or the end follows.
func (p *authParser) bounded(re *regexp.Regexp) bool {
	n := len(re.FindString(p.s[p.i:]))
	end := p.i + n
	if n == 0 || end < len(p.s) && strings.IndexByte(" \t\r\n\f\v;", p.s[end]) < 0 {
		return false
	}
	p.i = end
	return true
}
