package eval

import (
	"bytes"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"mtad/spam/conf"
	"mtad/spam/mail"
	"mtad/spam/scan"
)

// bodyEval are the functions of BodyEval.
var bodyEval = map[string]Func{
	"multipart_alternative_difference": func(s *scan.Scan, _ *conf.Rule, a []string) (float64, error) {
		d := differenceOf(s).percent
		return hit((number(a, 0) == 0 || d > number(a, 0)) && (arg(a, 1) == "undef" || d <= number(a, 1)))
	},
	"multipart_alternative_difference_count": func(s *scan.Scan, _ *conf.Rule, a []string) (float64, error) {
		d := differenceOf(s)
		return hit(d.html > number(a, 1) && d.text/d.html > number(a, 0))
	},
	"check_blank_line_ratio": blankLines,
	"tvd_vertical_words":     verticalWords,
	"check_stock_info": func(s *scan.Scan, _ *conf.Rule, a []string) (float64, error) {
		return hit(number(a, 0) == 0 || float64(stockInfo(s)) >= number(a, 0))
	},
	"check_body_length": func(s *scan.Scan, _ *conf.Rule, a []string) (float64, error) {
		return hit(float64(len(s.Mail.Body)) <= number(a, 0))
	},
	"plaintext_body_length":    signature(func(g signed) float64 { return g.body }),
	"plaintext_sig_length":     signature(func(g signed) float64 { return g.sig }),
	"plaintext_body_sig_ratio": signature(func(g signed) float64 { return g.ratio }),
}

// difference is what the words of alternatives have apart.
type difference struct{ percent, html, text float64 }

func differenceOf(s *scan.Scan) difference {
	if d, ok := s.Keep["difference"].(difference); ok {
		return d
	}
	var d difference
	invitation := summary(s.Mail) == "multipart/alternative text/html text/calendar"
	s.Mail.Walk(func(p *mail.Part) {
		if strings.HasPrefix(p.Type, "multipart/alternative") && !invitation {
			d.add(p)
		}
	})
	s.Keep["difference"] = d
	return d
}

// summary names the types of the message and its parts.
func summary(m *mail.Message) string {
	out := []string{m.Type}
	for _, p := range m.Parts {
		if !p.Leaf() {
			return ""
		}
		out = append(out, p.Type)
	}
	return strings.Join(out, " ")
}

func (d *difference) add(alternative *mail.Part) {
	html, plain := map[string]int{}, map[string]int{}
	alternative.Walk(func(p *mail.Part) {
		if !strings.HasPrefix(p.Type, "text") {
			return
		}
		rendered, typ := p.Rendered()
		to := plain
		if typ == "text/html" {
			to = html
		}
		if typ == "" {
			return
		}
		for w := range strings.FieldsSeq(string(rendered)) {
			if strings.ContainsFunc(w, wordRune) {
				to[w]++
			}
		}
		if h := p.HTML(); typ == "text/html" && len(html) == 0 && h != nil {
			if _, ok := h.Inside["img"]; ok {
				html["\n"] = 1
			}
		}
	})
	all := len(html)
	if all == 0 {
		return
	}
	d.html, d.text = float64(all), float64(len(plain))
	for w, n := range plain {
		if m, ok := html[w]; ok && m-n < 1 {
			delete(html, w)
		}
	}
	d.percent = max(d.percent, float64(len(html))/float64(all)*100)
}

func wordRune(r rune) bool {
	if r < 0x80 {
		return r == '_' || letters[r] != 0
	}
	return unicode.In(r, unicode.L, unicode.M, unicode.N, unicode.Pc)
}

func blankLines(s *scan.Scan, _ *conf.Rule, a []string) (float64, error) {
	blank, lines := 0, 0
	for _, chunk := range s.Mail.RawText() {
		for line := range bytes.Lines(chunk) {
			lines++
			if mail.Blank(line) {
				blank++
			}
		}
	}
	ratio := -1.0
	if float64(lines) >= max(1, number(a, 2)) {
		ratio = 100 * float64(blank) / float64(lines)
	}
	return hit(ratio <= number(a, 1) && (number(a, 0) == 0 || ratio > number(a, 0)))
}

// verticalWords compares spaces with other octets, by the line where there are most.
func verticalWords(s *scan.Scan, _ *conf.Rule, a []string) (float64, error) {
	most := -1
	for _, line := range s.Body() {
		if len(line) <= 5 {
			continue
		}
		spaces := bytes.Count(line, []byte(" "))
		rest := len(line) - spaces
		percent := 100
		if spaces <= rest && rest > 0 {
			percent = 100 * spaces / rest
		}
		most = max(most, percent)
	}
	to := number(a, 1)
	if to >= 100 {
		to = 101
	}
	return hit(float64(most) >= number(a, 0) && float64(most) < to)
}

var (
	stockLine = regexp.MustCompile(`(?m)^\s*([^:\s][^:\n]{2,29})\s*:\s*\S`)
	stockName = regexp.MustCompile(`(^trad(?:e|ing)date|company(?:name)?|s[0-9A-Z_a-z]?(?:t\w?o\w?c\w?k|y\w?m(?:\w?b\w?o\w?l)?)|t(?:arget|icker)|(?:opening|current)p(?:rice)?|p(?:rojected|osition)|expectations|weeks?high|marketperformance|(?:year|week|month|day|price)(?:target|estimates?)|sector|r(?:ecommendation|ating))$`)
)

// stockInfo counts the kinds of lines that tips for shares have.
func stockInfo(s *scan.Scan) int {
	for _, p := range s.Mail.Leaves() {
		if p.Type != "text/plain" {
			continue
		}
		rendered, typ := p.Rendered()
		if typ == "" {
			return 0
		}
		kinds := map[string]bool{}
		for _, m := range stockLine.FindAllSubmatch(rendered, 1000) {
			name := strings.Map(func(r rune) rune {
				if r >= 'a' && r <= 'z' {
					return r
				}
				return -1
			}, strings.ToLower(string(m[1])))
			if n := stockName.FindString(name); n != "" {
				kinds[n] = true
			}
		}
		return len(kinds)
	}
	return 0
}

// signed are the lengths of a text and its signature.
type signed struct{ body, sig, ratio float64 }

var signatureLine = regexp.MustCompile(`(?m)^-- ?\r?$`)

func signature(get func(signed) float64) Func {
	return func(s *scan.Scan, _ *conf.Rule, a []string) (float64, error) {
		leaves := s.Mail.Leaves()
		i := slices.IndexFunc(leaves, func(p *mail.Part) bool { return strings.HasPrefix(p.Type, "text/plain") })
		if i < 0 {
			return 0, nil
		}
		text := leaves[i].Decoded()
		g := signed{body: float64(len(text)), ratio: 1e6}
		for _, m := range signatureLine.FindAllIndex(text, -1) {
			if len(text)-m[1] > 4 {
				g = signed{float64(m[0]), float64(len(text) - m[1]), float64(m[0]) / float64(len(text)-m[1])}
			}
		}
		v := get(g)
		return hit(v >= number(a, 0) && (arg(a, 1) == "" || v <= number(a, 1)))
	}
}
