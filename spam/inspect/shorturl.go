package inspect

import (
	"regexp"
	"strings"

	"mtad/spam/conf"
	"mtad/spam/eval"
	"mtad/spam/scan"
)

// shortEval are the functions of DecodeShortURLs. Links are not followed: only whether
// there are such links is known.
var shortEval = map[string]eval.Func{
	"short_url":       func(s *scan.Scan, _ *conf.Rule, _ []string) (float64, error) { return hit(shortURL(s)) },
	"short_url_tests": func(*scan.Scan, *conf.Rule, []string) (float64, error) { return 0, nil },
	"short_url_redir": notFollowed, "short_url_200": notFollowed, "short_url_404": notFollowed, "short_url_code": notFollowed,
	"short_url_chained": notFollowed, "short_url_maxchain": notFollowed, "short_url_loop": notFollowed,
}

const noFollowing = eval.Unknown("DecodeShortURLs: links are not followed")

// notFollowed: without such a link there is nothing to follow.
func notFollowed(s *scan.Scan, _ *conf.Rule, _ []string) (float64, error) {
	if s.Local || !shortURL(s) {
		return 0, nil
	}
	return 0, noFollowing
}

var (
	shortForm  = regexp.MustCompile(`(?i)^https?://(?:[^@/?#]*@)?([^/?#:]+)(?::\d+)?(.*?\w)?`)
	parameters = regexp.MustCompile(`[#?].*`)
)

// shortURL reports whether a link is one of a service that url_shortener names.
func shortURL(s *scan.Scan) bool {
	if found, ok := s.Keep["shortURL"].(bool); ok {
		return found
	}
	services := shorteners(s)
	found := false
	for u, d := range s.Links().Details {
		if len(d.Cleaned) > 0 && shortened(services, parameters.ReplaceAllString(u, "")) {
			found = true
		}
	}
	s.Keep["shortURL"] = found
	return found
}

func shorteners(s *scan.Scan) map[string]bool {
	return s.Once("url_shortener", func() any {
		out := map[string]bool{}
		for _, name := range []string{"url_shortener", "url_shortener_get"} {
			for _, d := range s.Rules.Words(name) {
				out[strings.ToLower(d)] = true
			}
		}
		return out
	}).(map[string]bool)
}

func shortened(services map[string]bool, link string) bool {
	m := shortForm.FindStringSubmatch(link)
	if m == nil {
		return false
	}
	host := strings.ToLower(m[1])
	first, rest, _ := strings.Cut(host, ".")
	switch levels := strings.Count(host, "."); {
	case levels == 1 && m[2] == "":
		return false
	case services[host]:
		return true
	case levels != 2:
		return false
	case first == "www":
		return services[rest]
	case strings.HasPrefix(first, "www"):
		return false
	}
	return services["."+rest]
}
