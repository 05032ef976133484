package netrule

import (
	"regexp"
	"slices"
	"strings"

	"mtad/spam/ask"
	"mtad/spam/conf"
	"mtad/spam/eval"
	"mtad/spam/scan"
)

// asnEval is the function of ASN: whose network the client's address is in.
var asnEval = map[string]eval.Func{"check_asn": checkASN}

// asn asks for the client's network, and sets the tags when the answers are there.
func (a *inquirer) asn() {
	s := a.s
	if s.Ask == nil || !s.Rules.Bool("asn_use_dns") || len(s.Path.External) == 0 || s.Path.External[0].Private {
		return
	}
	ip := s.Path.External[0].IP
	key := "asn_lookup"
	if !eval.IsIPv4(ip) {
		key = "asn_lookup_ipv6"
	}
	reverse := scan.Reverse(ip)
	lookups := s.Rules.ASNLookups(key)
	if reverse == "" || len(lookups) == 0 {
		return
	}
	values := map[string][]string{}
	add := func(tag string, list []string) {
		for _, v := range list {
			if !slices.Contains(values[tag], v) {
				values[tag] = append(values[tag], v)
			}
		}
	}
	for _, l := range lookups {
		reply, _ := a.ask(reverse+"."+l.Zone, "TXT")
		for _, rec := range reply.Records {
			if rec.Type == "TXT" {
				numbers, routes := asnRecord(rec)
				for i, n := range numbers {
					numbers[i] = s.Rules.String("asn_prefix") + n
				}
				add(l.Tag, numbers)
				add(l.RouteTag, routes)
			}
		}
	}
	for tag, v := range values {
		s.SetTag(tag, v...)
	}
}

var (
	asNumbers  = regexp.MustCompile(`(?i)(?:(?:^|\s+)(?:AS)?\d+)+$`)
	asPrefix   = regexp.MustCompile(`(?i)^AS(\d)`)
	allDigits  = regexp.MustCompile(`^\d+$`)
	aroundBars = regexp.MustCompile(`\s*\|\s*`)
	noRoute    = regexp.MustCompile(`/0+$`)
)

// asnRecord reads an answer: three strings (number, network, length), or fields with
// bars between them of which the first or the second has the numbers.
func asnRecord(rec ask.Record) (numbers, routes []string) {
	parts := rec.Strings
	if len(parts) == 0 {
		parts = []string{rec.Text}
	}
	var items []string
	if len(parts) > 1 && !strings.Contains(rec.Text, "|") {
		items = slices.Clone(parts)
		if len(items) >= 3 && !strings.Contains(items[1], "/") && allDigits.MatchString(items[2]) {
			items[1] += "/" + items[2]
		}
	} else {
		items = aroundBars.Split(strings.Join(parts, " "), -1)
	}
	items = append(items, "")
	switch {
	case asNumbers.MatchString(items[0]):
		numbers, routes = strings.Fields(items[0]), strings.Fields(items[1])
	case asNumbers.MatchString(items[1]):
		numbers, routes = strings.Fields(items[1]), strings.Fields(items[0])
	}
	for i, n := range numbers {
		numbers[i] = asPrefix.ReplaceAllString(n, "$1")
	}
	numbers = slices.DeleteFunc(numbers, func(n string) bool { return !allDigits.MatchString(n) || n == "0" || n == "4294967295" })
	return numbers, slices.DeleteFunc(routes, noRoute.MatchString)
}

// ASN sets the tags of asn_lookup, for templates: no rule need ask for them.
func ASN(s *scan.Scan, _ *conf.Rule, _ []string) (float64, error) {
	a := &inquirer{s: s}
	a.asn()
	return a.outcome(false)
}

func checkASN(s *scan.Scan, r *conf.Rule, args []string) (float64, error) {
	if s.Ask == nil {
		return 0, nil
	}
	tag := eval.Arg(args, 1)
	if tag == "" {
		tag = "ASN"
	}
	re, err := eval.AnyPattern(s, eval.Arg(args, 0))
	if err != nil {
		return 0, err
	}
	a := &inquirer{s: s}
	v := strings.Join(a.tagValues(tag), " ")
	if v == "" || a.pending {
		return a.outcome(false)
	}
	ok, err := re.Match([]byte(v), s.Budget)
	if err != nil || !ok {
		return 0, err
	}
	return a.tell([]finding{{r.Name, tag + ": " + v}})
}
