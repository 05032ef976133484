package eval

import (
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"mtad/spam/conf"
	"mtad/spam/mail"
	"mtad/spam/regex"
	"mtad/spam/scan"
	"mtad/spam/uri"
)

// htmlEval are the functions of HTMLEval, URIEval and HTTPSMismatch.
var htmlEval = map[string]Func{
	"html_tag_balance":          tagBalance,
	"html_image_only":           ofHTML(imageOnly),
	"html_image_ratio":          ofHTML(imageRatio),
	"html_charset_faraway":      func(*scan.Scan, *conf.Rule, []string) (float64, error) { return 0, nil }, // SpamAssassin 4 gathers the charsets, and loses them
	"html_tag_exists":           ofHTML(func(_ *scan.Scan, h *mail.HTML, a []string) bool { _, ok := h.Inside[arg(a, 0)]; return ok }),
	"html_test":                 ofHTML(func(_ *scan.Scan, h *mail.HTML, a []string) bool { v, ok := h.Value(arg(a, 0)); return ok && v != 0 }),
	"html_eval":                 htmlCompare,
	"html_text_match":           textMatch(false),
	"html_text_not_match":       textMatch(true),
	"html_title_subject_ratio":  ofHTML(titleRatio),
	"html_range":                ofHTML(htmlRange),
	"check_iframe_src":          ofHTML(iframe),
	"check_for_http_redirector": httpRedirector,
	"check_https_ip_mismatch":   ofHTML(ipMismatch),
	"check_uri_truncated":       func(s *scan.Scan, _ *conf.Rule, _ []string) (float64, error) { return hit(s.Links().Truncated) },
	"check_https_http_mismatch": ofHTML(domainMismatch),
}

// ofHTML makes a function of a test of one part's HTML: one part is enough.
func ofHTML(test func(*scan.Scan, *mail.HTML, []string) bool) Func {
	return func(s *scan.Scan, _ *conf.Rule, args []string) (float64, error) {
		return hit(slices.ContainsFunc(s.Mail.HTMLs(), func(h *mail.HTML) bool { return test(s, h, args) }))
	}
}

func number(args []string, i int) float64 {
	v, _ := strconv.ParseFloat(arg(args, i), 64)
	return v
}

var compareForm = regexp.MustCompile(`^\s*([<>=!]=?|)\s*([-+]?[\d.]+)\s*$`)

// compare evaluates "> 3" and its like.
func compare(v float64, expr string) bool {
	m := compareForm.FindStringSubmatch(expr)
	if m == nil {
		return false
	}
	n, err := strconv.ParseFloat(m[2], 64)
	if err != nil {
		return false
	}
	switch m[1] {
	case "<":
		return v < n
	case ">":
		return v > n
	case "<=":
		return v <= n
	case ">=":
		return v >= n
	case "==":
		return v == n
	case "!=":
		return v != n
	}
	return false
}

func tagBalance(s *scan.Scan, _ *conf.Rule, args []string) (float64, error) {
	for _, h := range s.Mail.HTMLs() {
		if n, ok := h.Inside[arg(args, 0)]; ok && compare(float64(n), arg(args, 1)) {
			return 1, nil
		}
	}
	return 0, nil
}

func htmlCompare(s *scan.Scan, _ *conf.Rule, args []string) (float64, error) {
	for _, h := range s.Mail.HTMLs() {
		if v, ok := h.Value(arg(args, 0)); ok && compare(v, arg(args, 1)) {
			return 1, nil
		}
	}
	return 0, nil
}

func imageOnly(_ *scan.Scan, h *mail.HTML, a []string) bool {
	_, ok := h.Inside["img"]
	n := float64(h.Length)
	return ok && n > number(a, 0) && n <= number(a, 1)
}

func imageRatio(_ *scan.Scan, h *mail.HTML, a []string) bool {
	if h.ImageArea <= 0 {
		return false
	}
	r := float64(h.NonSpace) / float64(h.ImageArea)
	return r > number(a, 0) && r <= number(a, 1)
}

// textMatch compares texts of the HTML with a pattern; not looks for one that it does
// not match.
func textMatch(not bool) Func {
	return func(s *scan.Scan, r *conf.Rule, args []string) (float64, error) {
		re, err := compiled(s, arg(args, 1))
		if err != nil {
			return 0, err
		}
		for _, h := range s.Mail.HTMLs() {
			for _, t := range h.Strings(arg(args, 0)) {
				ok, err := re.Match([]byte(t), s.Budget)
				if err != nil {
					return 0, err
				}
				if ok != not {
					return 1, nil
				}
			}
		}
		return 0, nil
	}
}

// compiled compiles a pattern of an argument, once.
func compiled(s *scan.Scan, pattern string) (*regex.Regexp, error) {
	v := s.Once("argument "+pattern, func() any {
		re, err := regex.CompilePart(pattern, "aa")
		if err != nil {
			return Unknown(err.Error())
		}
		return re
	})
	if why, bad := v.(Unknown); bad {
		return nil, why
	}
	return v.(*regex.Regexp), nil
}

func titleRatio(s *scan.Scan, h *mail.HTML, a []string) bool {
	subject := text(s, "Subject")
	longest := 0
	for _, t := range h.Titles {
		longest = max(longest, len([]rune(t)))
	}
	return subject != "" && float64(longest)/float64(len(subject)) > number(a, 0)
}

func htmlRange(_ *scan.Scan, h *mail.HTML, a []string) bool {
	v, ok := h.Value(arg(a, 0))
	if !ok {
		return false
	}
	if to := arg(a, 2); to != "" && to != "inf" && v > number(a, 2) {
		return false
	}
	return v > number(a, 1)
}

func iframe(_ *scan.Scan, h *mail.HTML, _ []string) bool {
	for _, l := range h.URIs {
		if l.Types["iframe"] {
			return true
		}
	}
	return false
}

var redirectForm = regexp.MustCompile(`(?i)^https?://([^/:?]+).+?(https?:/{0,2}?([^/:?]+).*)$`)

func httpRedirector(s *scan.Scan, _ *conf.Rule, _ []string) (float64, error) {
	domain := func(h string) string {
		if d, _ := uri.Domain(h, s.Rules.Domains()); d != "" {
			return d
		}
		return h
	}
	for _, u := range s.Links().All() {
		for m := redirectForm.FindStringSubmatch(u); m != nil; m = redirectForm.FindStringSubmatch(u) {
			u = m[2]
			if domain(m[1]) != domain(m[3]) {
				return 1, nil
			}
		}
	}
	return 0, nil
}

var (
	numericLink = regexp.MustCompile(`(?i)^https?:/*(?:[^@/]+@)?\d+\.\d+\.\d+\.\d+`)
	numericText = regexp.MustCompile(`(?i)^https:/*(?:[^@/]+@)?\d+\.\d+\.\d+\.\d+`)
	secureText  = regexp.MustCompile(`(?i)https:`)
	linkHost    = regexp.MustCompile(`(?i)^https?://([^/:?#]+)`)
	textHost    = regexp.MustCompile(`(?i)https://([^\s/:?#]+)`)
)

// ipMismatch: a link to an address of numbers that shows "https:".
func ipMismatch(_ *scan.Scan, h *mail.HTML, _ []string) bool {
	for u, l := range h.URIs {
		if !numericLink.MatchString(u) {
			continue
		}
		for _, t := range l.Text {
			if !numericText.MatchString(t) && secureText.MatchString(t) {
				return true
			}
		}
	}
	return false
}

// domainMismatch: a link whose text shows another site with https. The arguments bound
// how many links there may be.
func domainMismatch(s *scan.Scan, h *mail.HTML, a []string) bool {
	d := s.Rules.Domains()
	found, anchors := false, 0
	for u, l := range h.URIs {
		if len(l.Text) == 0 {
			continue
		}
		m := linkHost.FindStringSubmatch(u)
		if m == nil || uri.IsIP(m[1]) {
			continue
		}
		_, domain := d.Split(m[1])
		if reg, _ := uri.Domain(domain, d); !d.Valid(reg) {
			continue
		}
		anchors++
		for _, t := range l.Text {
			if !strings.Contains(t, "://") {
				continue
			}
			if x := textHost.FindStringSubmatch(t); x != nil {
				shown := strings.ToLower(x[1])
				if _, err := netip.ParseAddr(shown); err != nil {
					if _, shown = d.Split(shown); !d.Valid(shown) {
						continue
					}
				}
				if shown != domain {
					found = true
					break
				}
			}
		}
	}
	least := max(1, atoi(arg(a, 0)))
	return found && anchors >= least && (arg(a, 1) == "" || anchors < atoi(arg(a, 1)))
}
