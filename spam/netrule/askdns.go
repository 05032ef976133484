package netrule

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"mtad/spam/ask"
	"mtad/spam/conf"
	"mtad/spam/eval"
	"mtad/spam/scan"
	"mtad/spam/uri"
)

var dnsTag = regexp.MustCompile(`_([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)*(?:\(.*?\))?)_`)

// tagValues are the values of a tag that are not empty.
func (a *inquirer) tagValues(name string) (out []string) {
	name, arg, _ := strings.Cut(strings.TrimSuffix(name, ")"), "(")
	name = strings.ToUpper(name)
	a.asn()
	if v, ok := a.s.Common(name, arg); ok {
		if v != "" {
			out = []string{v}
		}
		return out
	}
	if name == "URIHOSTS" || name == "URIDOMAINS" {
		linkHosts(a.s)
	}
	for _, v := range a.s.Tag(name) {
		if v != "" {
			out = append(out, v)
		}
	}
	return out
}

// maxNames bounds the names that the values of several tags make.
const maxNames = 100

// names fills a template with all values of its tags.
func (a *inquirer) names(template string) []string {
	out := []string{template}
	var tags []string
	for _, m := range dnsTag.FindAllStringSubmatch(template, -1) {
		if !slices.Contains(tags, m[1]) {
			tags = append(tags, m[1])
		}
	}
	slices.Sort(tags)
	for _, tag := range tags {
		var next []string
		for _, value := range a.tagValues(tag) {
			for _, name := range out {
				if name = strings.ReplaceAll(name, "_"+tag+"_", value); slices.Contains(next, name) {
					continue
				}
				if len(next) >= maxNames {
					a.s.Cut("names: %d of a rule looked up", maxNames)
				} else {
					next = append(next, name)
				}
			}
		}
		out = next
	}
	return out
}

var (
	slashed = regexp.MustCompile(`(?s)^(?:/.+/[a-z]*|m\W.+\W[a-z]*)$`)
	quoted  = regexp.MustCompile(`(?s)^(?:"(.*)"|'(.*)')$`)
	codes   = regexp.MustCompile(`(?i)^\[((?:[A-Z]+|\d+)(?:\s*,\s*(?:[A-Z]+|\d+))*)\]$`)
)

// codeNames are the codes of answers (RFC 6895, 2.3).
var codeNames = map[string]int{"NOERROR": 0, "FORMERR": 1, "SERVFAIL": 2, "NXDOMAIN": 3, "NOTIMP": 4, "REFUSED": 5, "YXDOMAIN": 6, "YXRRSET": 7, "NXRRSET": 8, "NOTAUTH": 9,
	"NOTZONE": 10, "BADVERS": 16, "BADSIG": 16, "BADKEY": 17, "BADTIME": 18, "BADMODE": 19, "BADNAME": 20, "BADALG": 21, "BADTRUNC": 22}

// answerCodes reads "[NXDOMAIN,5]".
func answerCodes(text string) ([]int, bool) {
	m := codes.FindStringSubmatch(text)
	if m == nil {
		return nil, false
	}
	var out []int
	for word := range strings.SplitSeq(m[1], ",") {
		word = strings.ToUpper(strings.TrimSpace(word))
		n, ok := codeNames[word]
		if !ok {
			var err error
			if n, err = strconv.Atoi(word); err != nil {
				return nil, false
			}
		}
		out = append(out, n)
	}
	return out, true
}

// answerTest reads what an askdns rule looks for in the records.
func answerTest(s *scan.Scan, text string) (*subtest, error) {
	if text == "" {
		return &subtest{any: true}, nil
	}
	if slashed.MatchString(text) {
		re, err := eval.AnyPattern(s, text)
		return &subtest{re: re}, err
	}
	if m := quoted.FindStringSubmatch(text); m != nil {
		return &subtest{text: m[1] + m[2]}, nil
	}
	if t, ok := numbers(text); ok {
		return t, nil
	}
	return nil, eval.Unknown("the answer " + text + " can not be read: want a pattern, a text in quotes, a number, a range, a mask or codes in brackets")
}

// AskDNS runs a rule of type askdns.
func AskDNS(s *scan.Scan, r *conf.Rule, _ []string) (float64, error) {
	if s.Ask == nil {
		return 0, nil
	}
	want, isCodes := answerCodes(r.DNS.Answer)
	var t *subtest
	if !isCodes {
		var err error
		if t, err = answerTest(s, r.DNS.Answer); err != nil {
			return 0, err
		}
	}
	a := &inquirer{s: s}
	var found []finding
	for _, name := range a.names(r.DNS.Name) {
		if name = uri.ASCII(name); !uri.ValidHost(name) {
			continue
		}
		// SpamAssassin asks for several types with ANY, which few servers answer
		// (RFC 8482): each is a question of its own here.
		for _, typ := range r.DNS.Types {
			reply, ok := a.ask(name, typ)
			switch {
			case isCodes && slices.Contains(want, reply.Code) && (ok || reply.Code != 0):
				a.why = ""
				found = append(found, finding{r.Name, fmt.Sprintf("%s %s:", name, typ)})
			case ok && !isCodes && reply.Code == 0:
				if err := recordHits(s, r, reply, t, &found); err != nil {
					return 0, err
				}
			}
		}
	}
	return a.tell(found[:min(1, len(found))])
}

func recordHits(s *scan.Scan, r *conf.Rule, reply ask.Reply, t *subtest, found *[]finding) error {
	for _, rec := range reply.Records {
		if !slices.Contains(r.DNS.Types, "ANY") && !slices.Contains(r.DNS.Types, rec.Type) {
			continue
		}
		hit, err := t.matches(s, rec.Type, rec.Text)
		if err != nil {
			return err
		}
		if hit {
			*found = append(*found, finding{r.Name, fmt.Sprintf("%s %s:%s", reply.Name, reply.Type, rec.Text)})
		}
	}
	return nil
}
