package scan

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"mtad/internal/mtatest"
	"mtad/spam/regex"
	"mtad/spam/spamtest"
	"mtad/spam/uri"
)

func list(in []spamtest.Bytes) []string {
	out := make([]string, len(in))
	for i, b := range in {
		out[i] = string(b)
	}
	return out
}

// shown writes a link's details in one line.
func shown(types, cleaned, domains, text []string) string {
	return fmt.Sprintf("types %q cleaned %q domains %q text %q", types, cleaned, domains, text)
}

// missing are those of a that are not in b.
func missing(a, b []string) (out []string) {
	for _, s := range a {
		if !slices.Contains(b, s) && !foreign(s) {
			out = append(out, s)
		}
	}
	return out
}

func (p *perl) compareLinks(t *testing.T, text []byte) {
	t.Helper()
	want, c := p.ask(t, "head", text)
	l := c.Links()
	all := l.All()
	if a, b := missing(all, list(want.URIs)), missing(list(want.URIs), all); a != nil || b != nil {
		t.Errorf("links: too many %q, missing %q", a, b)
	}
	for _, u := range slices.Sorted(maps.Keys(l.Details)) {
		d := l.Details[u]
		w, ok := want.Details[spamtest.Bytes(u)]
		if !ok {
			if !foreign(u) {
				t.Errorf("%q is no link in Perl", u)
			}
			continue
		}
		got, perl := details(d), shown(w.Types, list(w.Cleaned), list(w.Domains), list(w.Text))
		if got != perl && !foreign(u) {
			t.Errorf("%q:\n got %s\nwant %s", u, got, perl)
		}
	}
	for u := range want.Details {
		if l.Details[string(u)] == nil && !foreign(string(u)) {
			t.Errorf("%q is not found", u)
		}
	}
}

func details(d *uri.Detail) string {
	return shown(slices.Sorted(maps.Keys(d.Types)), d.Cleaned, d.Domains(), d.Text)
}

// redirects are those of the rules.
func redirects(t *testing.T, patterns []string) (out []uri.Redirect) {
	for _, text := range patterns {
		re, err := regex.CompileRule(text)
		mtatest.Check(t, err)
		out = append(out, func(u string) (string, bool) {
			m, _ := re.Find([]byte(u), 0, nil, nil)
			if len(m) < 4 || m[2] < 0 {
				return "", false
			}
			return u[m[2]:m[3]], true
		})
	}
	return out
}

var linkBits = []string{"http://", "https://", "http:/", "HTTP:\\\\", "ftp://", "ftp.", "www.", "www2.", "mailto:", "//", "user:pass@", "a@", "example.com", "mail.example.co.uk", "google.com", "1.2.3.4", "0x7f.1.2.3", "0x7f000001", "2130706433", "[::1]", "localhost", "foo", "xn--mnchen-3ya.de", "example.nosuchtld", ":80", ":8080", ":443", ":",
	"/", "/x", "/%41b", "/%zz", "?q=http://b.example.org/", "?url=https%3A%2F%2Fc.example.net%2F", "#top", "&#46;", "&amp;", "%2e", "%20", " ", ".", "..", ",", ")", "(", ">", "<", "\"", "'", "!", "-", "_", "/url?q=http://d.example.org/&sa=D", "www.google.com/url?sa=t&url=http://e.example.com", "/*http://f.example.com", "web.archive.org/web/2020/http://g.example.com/", "bit.ly/x", "\n",
	"info", "a.b.c.d.", "example.com.", "&lt;", "&#x2e;", "\x1b$B", "@example.org", "?subject=x", "cid:", "javascript:", "data:", "tel:", "file:///", "skype:", "email:", "%20mailto:", "http://http://", "://"}

func oddLinks(r *rand.Rand) []byte {
	var b strings.Builder
	html := r.IntN(2) == 0
	b.WriteString("From: a@example.com\nSubject: x\nMIME-Version: 1.0\nContent-Type: text/" + map[bool]string{true: "html", false: "plain"}[html] + "; charset=utf-8\n\n")
	if html && r.IntN(3) == 0 {
		b.WriteString("<base href=\"http://base.example.org/x/y.html\">")
	}
	for range 1 + r.IntN(8) {
		var u strings.Builder
		for range 1 + r.IntN(5) {
			u.WriteString(linkBits[r.IntN(len(linkBits))])
		}
		switch {
		case html && r.IntN(3) > 0:
			b.WriteString("<a href=\"" + u.String() + "\">text " + linkBits[r.IntN(len(linkBits))] + "</a>\n")
		default:
			b.WriteString(u.String() + " ")
		}
	}
	return []byte(b.String() + "\n")
}

// TestLinksAsPerl compares links and what is known of each.
func TestLinksAsPerl(t *testing.T) {
	p := newPerl(t)
	p.settings.Redirects = redirects(t, p.settings.Rules.Words("redirector_pattern"))
	seed, n := spamtest.Cases(100, 3000)
	r := rand.New(rand.NewPCG(seed, 5))
	for i := range n {
		t.Run(fmt.Sprintf("odd%d", i), func(t *testing.T) {
			text := oddLinks(r)
			if p.compareLinks(t, text); t.Failed() {
				t.Logf("of %q", text)
			}
		})
	}
	for _, m := range spamtest.Corpus(seed, n) {
		t.Run(m.Name, func(t *testing.T) {
			p.compareLinks(t, m.Text)
			spamtest.Keep(t, t.Name(), m.Text)
		})
	}
}
