package inspect

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"mtad/spam/conf"
	"mtad/spam/eval"
	"mtad/spam/scan"
	"mtad/spam/uri"
)

// phishingEval is the function of Phishing: links that lists in files name.
var phishingEval = map[string]eval.Func{"check_phishing": phishing}

// maxFeed bounds a list, in octets.
const maxFeed = 256 << 20

// feeds are the lists: which each is, what its file is called in the rules, and how a
// link stands in its lines.
var feeds = []struct {
	name, option string
	link         func(s *scan.Scan, line string) string
}{
	{"OpenPhish", "phishing_openphish_feed", func(_ *scan.Scan, line string) string { return line }},
	{"PhishTank", "phishing_phishtank_feed", func(_ *scan.Scan, line string) string { return column(line, 1) }},
	{"PhishStats", "phishing_phishstats_feed", func(s *scan.Scan, line string) string {
		if score, _ := strconv.ParseFloat(column(line, 1), 64); score <= s.Rules.Number("phishing_phishstats_minscore") {
			return ""
		}
		return column(line, 2)
	}},
}

func column(line string, i int) string {
	c := strings.Split(line, ",")
	if i >= len(c) {
		return ""
	}
	return strings.ReplaceAll(c[i], `"`, "")
}

// feed are the links of all lists, with the name of the list.
type feed struct {
	links map[string]string
	err   error
}

func feedOf(s *scan.Scan) *feed {
	return s.Once("phishing", func() any {
		f := &feed{links: map[string]string{}}
		for i, l := range feeds {
			path := s.Rules.String(l.option)
			if path == "" {
				continue
			}
			info, err := os.Stat(path)
			if err == nil && info.Size() > maxFeed {
				err = fmt.Errorf("%s: larger than %d MiB", path, maxFeed>>20)
			}
			var text []byte
			if err == nil {
				text, err = os.ReadFile(path)
			}
			if err != nil {
				f.err = eval.Unknown("Phishing: " + err.Error())
				continue
			}
			for n, line := range strings.Split(string(text), "\n") {
				if n == 0 && i > 0 || strings.HasPrefix(strings.TrimLeft(line, " \t"), "#") {
					continue
				}
				f.add(s, l.link(s, line), l.name)
			}
		}
		return f
	}).(*feed)
}

func (f *feed) add(s *scan.Scan, link, list string) {
	if domain, _ := uri.Domain(link, s.Rules.Domains()); domain == "" {
		return
	}
	if link = bare(s, link); f.links[link] == "" {
		f.links[link] = list
	}
}

// bare is a link without parameters, if they are not to count.
func bare(s *scan.Scan, link string) string {
	if s.Rules.Bool("phishing_uri_noparam") {
		link, _, _ = strings.Cut(link, "?")
	}
	return link
}

func phishing(s *scan.Scan, r *conf.Rule, _ []string) (float64, error) {
	f := feedOf(s)
	for u, d := range s.Links().Details {
		if !d.Types["a"] && !d.Types["parsed"] || len(u) > 6 && strings.EqualFold(u[:7], "mailto:") {
			continue
		}
		for _, cleaned := range d.Cleaned {
			link := bare(s, cleaned)
			list, ok := f.links[link]
			if !ok || s.Rules.Bool("phishing_uri_noparam") && strings.Count(link, "/") <= 3 {
				continue
			}
			domain, _ := uri.Domain(cleaned, s.Rules.Domains())
			s.Note(r.Name, list+" ("+domain+")")
			return 1, nil
		}
	}
	return 0, f.err
}
