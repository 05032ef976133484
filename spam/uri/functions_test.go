package uri_test

import (
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"mtad/internal/mtatest"
	"mtad/spam/conf"
	"mtad/spam/spamtest"
	"mtad/spam/uri"
)

// What links are made of.
var (
	schemes   = []string{"", "http://", "https://", "HTTP://", "http:", "http:/", "https:\\\\", "ftp.", "ftp://", "mailto:", "MailTo:", "javascript:", "cid:", "//", "x-y:", "hxxp://", " http://", "http://http://"}
	hosts     = []string{"example.com", "www.example.com", "EXAMPLE.Co.UK", "a_b.example.net", "foobar", "www.foobar", "localhost", "1.2.3.4", "0x7f000001", "0x17f000001", "2130706433", "017.0.0.1", "0x1.0x2.3.004", "300.1.2.3", "1.2.3", "user@example.com", "user:pass@example.com", "a@b@example.com", "a@b@c@example.com", "me@", "@example.com", "example.com.", "example.com!!", "exam ple.com", "exa%6dple.com", "ex&#97;mple.com", "example&#46;com", "example&#x2e;com", "example.nosuchtld", "-.com", "a..com", "99999999999999999999", "08.09.1.1", "0.0.0.0", "com", "co.uk", "x.co.uk"}
	ports     = []string{"", "", "", ":", ":80", ":443", ":8080", ":80x", ":0"}
	paths     = []string{"", "", "/", "/a/b.html", "?id=3", "#id", "/?u=http://other.example.org/x", "/r/http:/one.example.org", "/url?q=www.example.org", "/a%20b%41", "/%zz%4", "/\\x", "&amp;x", "/a\nb", "/a\r\nb ", "/x@y", "?a@b", "/https://in.example.net:80/z#q", "/&#104;ttp://x", "//", "/a&b#c"}
	addresses = []string{"a@example.com?subject=x", "a@example.com&b", "%20a@example.com", "<a@example.com>", "\"A%20B\"%20<a.b@example.com>", "a@b@example.com", "@", "a%2eb@example.com", "a@example.com"}
	short     = []string{"#", "?", "&x", "/x", "/", "//", "a", "", "x", "//example.com/x", "/ /x"}
)

func link(r *rand.Rand) string {
	of := func(list []string) string { return list[r.IntN(len(list))] }
	switch r.IntN(12) {
	case 0:
		return of([]string{"", "mailto:", "MAILTO:"}) + of(addresses)
	case 1:
		return of(short)
	}
	return of(schemes) + of(hosts) + of(ports) + of(paths)
}

// TestFormsAsPerl: the forms of a link, and the host and registered domain of each, are
// those that SpamAssassin's functions give.
func TestFormsAsPerl(t *testing.T) {
	rules, err := conf.Load([]string{spamtest.Stock + "/20_aux_tlds.cf"}, conf.Options{Local: true})
	mtatest.Check(t, err)
	d := rules.Domains()
	o := spamtest.Start(t, "..", spamtest.Stock+"/20_aux_tlds.cf", spamtest.Site)
	seed, n := spamtest.Cases(1000, 20000)
	r := rand.New(rand.NewPCG(seed, 6))
	for range n {
		l := link(r)
		got, want := uri.Canonical(l, d, nil), o.Call(t, "forms", l)
		if !slices.Equal(got, want) {
			t.Errorf("%q:\n got %q\nwant %q", l, got, want)
		}
		for _, form := range append(want, l) {
			domain, host := uri.Domain(form, d)
			if got, want := domain+" "+host, strings.Join(o.Call(t, "domain", form), " "); got != want && !(got == " " && want == "") {
				t.Errorf("%q: domain and host %q, want %q", form, got, want)
			}
		}
	}
}

// tlds are some of the domains that registries give names under.
func tlds(t *testing.T) *conf.Domains {
	rules := conf.Parse("tlds.cf", "util_rb_tld com net org uk biz\nutil_rb_2tld co.uk blogspot.com\nutil_rb_3tld a.b.com\n", conf.Options{})
	if len(rules.Problems) > 0 {
		t.Fatal(rules.Problems)
	}
	return rules.Domains()
}

// TestForms: what a link may be read as.
func TestForms(t *testing.T) {
	d := tlds(t)
	for _, c := range []struct {
		what, link string
		forms      []string // besides the link
	}{
		{"nothing odd", "http://example.com/x", nil},
		{"without its scheme", "www.example.com/x", []string{"http://www.example.com/x"}},
		{"of ftp", "ftp.example.com", []string{"ftp://ftp.example.com"}},
		{"with too few slashes, or the wrong ones", "http:\\\\example.com\\x", []string{"http://example.com/x"}},
		{"with escapes", "http://ex%61mple.com/%41%20", []string{"http://example.com/A%20"}},
		{"with characters by number", "http://example.com/&#97;&#x2e;&#12290;&#xe9;", []string{"http://example.com/a..&#xe9;"}},
		{"with a mark in the host", "http://ex#ample.com", []string{"http://ex/#ample.com", "http://www.ex.com/#ample.com"}},
		{"without a path", "http://example.com?x#y", []string{"http://example.com/?x#y"}},
		{"with the usual port", "http://example.com:80/x", []string{"http://example.com/x"}},
		{"with another one", "http://example.com:443/x", nil},
		{"with a user", "http://user:pass@example.com/x", nil},
		{"with two", "http://a@b@example.com/x", []string{"http://example.com/x"}},
		{"with a white space in the host", "http://exam ple.com/", []string{"http://example.com/"}},
		{"at the end of a sentence", "http://example.com!!", []string{"http://example.com"}},
		{"of one word, as browsers read it", "http://foobar/x", []string{"http://www.foobar.com/x"}},
		{"of one word, but this machine", "http://localhost/x", nil},
		{"of one word with a user", "http://u@foobar/x", nil},
		{"of one number", "http://2130706433/", []string{"http://127.0.0.1/"}},
		{"of one hexadecimal number, with more than count", "http://0xff7f000001/", []string{"http://127.0.0.1/"}},
		{"of octal and hexadecimal parts", "http://0177.0x0.003.1/", []string{"http://127..3.1/"}}, // a zero is nothing
		{"in another one", "http://r.example.com/?u=http://example.org/x&y", []string{"http://example.org/x"}},
		{"in another one, with one slash", "http://r.example.com/http:/example.org", []string{"http:/example.org", "http://example.org"}},
		{"a part of a page", "#top", nil},
		{"an address with a subject", "mailto:a@example.com?subject=x", []string{"mailto:a@example.com"}},
		{"an address with more", "a@example.com&x.com", []string{"a@example.com"}},
		{"an address after blanks", "mailto:%20a@example.com", []string{"mailto:a@example.com"}},
		{"an address with a name", "mailto:Ann%20<a@example.com>", []string{"mailto:a@example.com"}},
	} {
		want := append([]string{c.link}, c.forms...)
		slices.Sort(want)
		if got := uri.Canonical(c.link, d, nil); !slices.Equal(got, want) {
			t.Errorf("%s: %q: %q, want %q", c.what, c.link, got, want)
		}
	}
}

// TestDomain: hosts of links, and what a registry has given of them.
func TestDomain(t *testing.T) {
	d := tlds(t)
	for link, want := range map[string]string{
		"http://www.example.com/x": "example.com www.example.com", "HTTP://WWW.Example.COM": "example.com www.example.com", "https://a.b.example.co.uk:80/": "example.co.uk a.b.example.co.uk",
		"http://x.blogspot.com": "x.blogspot.com x.blogspot.com", "http://x.a.b.com": "x.a.b.com x.a.b.com", "http://co.uk/": "co.uk co.uk", "mailto:a@x.example.com?b": "example.com x.example.com", "a@example.com": "example.com example.com",
		"http://user@example.com/": "example.com example.com", "http://192.0.2.7/x": "192.0.2.7 192.0.2.7", "domainkeys:example.com": "example.com example.com",
		"http://example.nosuch/": " ", "javascript:example.com": " ", "cid:a@example.com": " ", "mailto:a@b@example.com": " ", "http://ex%61mple.com/": " ", "http://-x.com/": " ", "http://a..com/": " ", "": " ",
	} {
		if domain, host := uri.Domain(link, d); domain+" "+host != want {
			t.Errorf("%q: %q %q, want %q", link, domain, host, want)
		}
	}
}

// TestTextLinks: what a reader's program makes links of in a text.
func TestTextLinks(t *testing.T) {
	cases := []struct{ text, want string }{
		{"see http://example.com/x.", "http://example.com/x"},
		{"(http://example.com/a) <http://example.org/b> \"http://example.net/c\"", "http://example.com/a http://example.net/c http://example.org/b"},
		{"www.example.com/x, ftp.example.org", "ftp://ftp.example.org http://www.example.com/x"},
		{"mail a.b@example.com now", "mailto:a.b@example.com"},
		{"example.com and example.org/x", "http://example.com http://example.org/x"},
		{"end.Start of a sentence", ""},
		{"no.such.tldx", ""},
		{"http://192.1.2.7:8080/x", "http://192.1.2.7:8080/x"},
		{"http://localhost/x", ""},
		{"HTTPS://EXAMPLE.COM", "HTTPS://EXAMPLE.COM"},
	}
	rules, err := conf.Load([]string{spamtest.Stock + "/20_aux_tlds.cf"}, conf.Options{Local: true})
	mtatest.Check(t, err)
	o := spamtest.Start(t, "..", spamtest.Stock+"/20_aux_tlds.cf", spamtest.Site)
	for _, c := range cases {
		l := uri.NewList(rules.Domains(), nil)
		l.AddText([]byte(c.text + "\n"))
		var perl struct{ URIs []string }
		o.About(t, "head", []byte("\n"+c.text+"\n"), &perl)
		if got, theirs := strings.Join(l.All(), " "), strings.Join(perl.URIs, " "); got != c.want || theirs != c.want {
			t.Errorf("%q: %q, SpamAssassin %q, want %q", c.text, got, theirs, c.want)
		}
	}
}

// TestList: links of text need a domain, links of HTML do not; what anchors say is kept
// once; signers' domains have no forms.
func TestList(t *testing.T) {
	l := uri.NewList(tlds(t), nil)
	l.AddText([]byte("see http://example.com/1 and http://example.nosuch/2\n"))
	l.AddLink("http://example.nosuch/3", map[string]bool{"a": true}, []string{"x", "y", "x"})
	l.AddLink("http://example.com/1", nil, nil)
	l.AddSigner("sub.example.org")
	l.AddSigner("nosuch")
	if got := strings.Join(l.All(), " "); got != "http://example.com/1 http://example.nosuch/3" {
		t.Error(got)
	}
	text, html := l.Found()
	if strings.Join(text, " ") != "http://example.com/1" || strings.Join(html, " ") != "http://example.com/1 http://example.nosuch/3" {
		t.Errorf("of text %q, of HTML %q", text, html)
	}
	if d := l.Details["http://example.nosuch/3"]; strings.Join(d.Text, " ") != "x y" || !d.Types["a"] || d.Domains() != nil {
		t.Errorf("%+v", d)
	}
	if d := l.Details["http://example.com/1"]; !d.Types["parsed"] || strings.Join(d.Domains(), " ") != "example.com" {
		t.Errorf("%+v", d)
	}
	if d := l.Details["domainkeys:sub.example.org"]; !d.Types["domainkeys"] || d.Hosts["sub.example.org"] != "example.org" || d.Cleaned != nil {
		t.Errorf("%+v", d)
	}
}

// TestListBounds: a link is cut, and says so; there are no more than 20,000, and no more than
// 200 forms of one.
func TestListBounds(t *testing.T) {
	const longest, most = 8192, 20_000
	for n, cut := range map[int]bool{longest: false, longest + 1: true} {
		l := uri.NewList(tlds(t), nil)
		link := "http://example.com/" + strings.Repeat("x", n-len("http://example.com/"))
		l.AddLink(link, nil, nil)
		if all := l.All(); l.Truncated != cut || len(all) != 1 || len(all[0]) != longest {
			t.Errorf("%d octets: %v, %d links", n, l.Truncated, len(all))
		}
	}
	l := uri.NewList(tlds(t), nil)
	for i := range most + 1 {
		l.AddLink("http://example.com/"+strconv.Itoa(i), nil, nil)
	}
	l.AddSigner("example.com")
	if len(l.Details) != most || l.Details["http://example.com/19999"] == nil {
		t.Errorf("%d links", len(l.Details))
	}
	n := 0
	all := func(string) (string, bool) { n++; return "http://example.com/" + strconv.Itoa(n), true }
	if forms := uri.Canonical("http://example.com/", tlds(t), []uri.Redirect{all}); len(forms) != 200 {
		t.Errorf("%d forms", len(forms))
	}
}
