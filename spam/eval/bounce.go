package eval

import (
	"regexp"
	"strings"

	"mtad/spam/conf"
	"mtad/spam/scan"
)

// bounceEval are the functions of VBounce.
var bounceEval = withOldNames(map[string]Func{
	"have_any_bounce_relays": func(s *scan.Scan, _ *conf.Rule, _ []string) (float64, error) {
		return hit(s.Rules.Addresses("welcomelist_bounce_relays").Len() > 0)
	},
	"check_welcomelist_bounce_relays": bounceRelays,
})

var (
	receivedLine = regexp.MustCompile(`(?i)^[> ]*Received:`)
	dottedWord   = regexp.MustCompile(`\s(\S+\.\S+)\s`)
)

// bounceRelays looks in the message that a notice returns for one of our relays.
func bounceRelays(s *scan.Scan, _ *conf.Rule, _ []string) (float64, error) {
	list := s.Rules.Addresses("welcomelist_bounce_relays")
	if list.Len() == 0 {
		return 0, nil
	}
	listed := func(line string) bool {
		for _, m := range dottedWord.FindAllStringSubmatch(strings.ReplaceAll(line, " ", "  "), 100) {
			if list.Find(m[1]) {
				return true
			}
		}
		return false
	}
	for _, line := range s.Body() {
		if receivedLine.Match(line) && listed(string(line)) {
			return 1, nil
		}
	}
	whole, seen := "", false
	for line := range strings.Lines(string(s.Mail.Body)) {
		seen = seen || receivedLine.MatchString(line)
		if !seen {
			continue
		}
		if line[0] == ' ' || line[0] == '\t' {
			whole += strings.TrimSuffix(line, "\n")
		} else {
			whole = strings.TrimSuffix(line, "\n")
		}
		if receivedLine.MatchString(whole) && listed(whole) {
			return 1, nil
		}
	}
	return 0, nil
}
