package uri_test

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"mtad/internal/mtatest"
	"mtad/spam/conf"
	"mtad/spam/mail"
	"mtad/spam/spamtest"
	"mtad/spam/uri"
)

// odd are values of fields with addresses.
var odd = []string{
	"a@example.com", "<a@example.com>", "Ann <a@example.com>", "\"Ann, B.\" <a@example.com>", "a@example.com (Ann)", "a@example.com (Ann (B.) C.)", "Ann (x) B <a@example.com> (y)",
	"undisclosed-recipients:;", "Friends: a@example.com, b@example.org;", "Friends: ;", "a@example.com, Bob <b@example.org>, c@example.net (Carl)", "=?utf-8?Q?J=C3=BCrgen?= <j@example.com>",
	"=?UTF-8?Q?\"Foobar\"_<noreply@example.com>?=", "=?utf-8?Q?\"Foobar\"?=<info=foobar.com@example.org>", "\"a b\"@example.com", "<\"a b\"@example.com>", "\"a\\\"b\" <a@example.com>", "'Ann' <a@example.com>", "\"'Ann'\" <a@example.com>",
	"\"a@example.com\" <a@example.com>", "a@example.com <a@example.com>", "\"other@example.com\" <a@example.com>", "\"a@example.com\"", "Ann <a@example.com", "Ann a@example.com>", "Ann a@example.com", "<>", "<> (x)", "", " ", ",", ", a@example.com", "a@example.com,, b@example.org",
	"<a@example.com><b@example.org>", "<a@example.com> <b@example.org>", "Ann <a@example.com> <b@example.org> (x), c@example.net", "<<a@example.com>>", "Ann <<a@example.com>>", "< a@example.com >", "Ann < a@example.com >, b@example.org", "<a @example.com>", "<a b@example.com>", "<a@exam ple.com>", "Ann <mailto:a@example.com>",
	"Ann <a@example.com>; Bob <b@example.org>", "a@[192.0.2.1]", "<a@[192.0.2.1]>", "a@localhost", "\"\"@example.com", "<\"\"@example.com>", "a\"b@example.com", "a@b@example.com", "<a@b@example.com>", "a@example..com", "a@-example.com", "a@ex_ample.com", "a@x_y.example.com",
	"Ann\n <a@example.com>", "Ann\n\t(x\n y) <a@example.com>", "a@example.com\n (Ann)", "\"Ann\n B\" <a@example.com>", "J\xc3\xbcrgen <j@example.com>", "J\xfcrgen <j@ex\xfcmple.com>", "j\xc3\xbc@example.com", "\\\\a <a@example.com>", "a\\@example.com", "\"a\\\\\" <b@example.com>", "(only a comment)", "(x) a@example.com", "(a@example.com) b@example.org",
	"Ann (a@example.com)", "Ann, Bob <b@example.org>", "Ann; b@example.org", "\"Ann", "\"Ann <a@example.com>", "Ann\" <a@example.com>", "Ann \"x\" B \"y\" <a@example.com>", "Re: [x] <a@example.com>", "http://example.com/ <a@example.com>", "<http://example.com>", "a@example.com <>", "Ann <>", "Ann <a>", "Ann <a>, b@example.org", "a", "Ann B",
	"Group: Ann <a@example.com>, b@example.org;, c@example.net", "a@EXAMPLE.COM", "A.B+c@example.com", "a@example.com.", "a.@example.com", ".a@example.com", "a@example.com(x)", "a@example.com(x)b", "a@example.com;b@example.org", "\"Q\" (a, b) <a@example.com>", "\"Q\" (a <x> b), y@example.org", "<a@example.com> x", "x <a@example.com> x <b@example.org>", "  ,a@example.com", "a@example.com, ,b@example.org",
	"<a@example.com\n>", "<\na@example.com>", "\"a@b\"@example.com", "<(x)a@example.com>", "<a@example.com (x)>", "a@example.com <\"x\"b@example.org>", "<a@example.com><\"x y\">", "=?iso-8859-1?Q?Andr=E9?= Dupont <andre@example.fr>", "=?bad?X?y?= <a@example.com>", "mail.example.com", "see mail.example.com. now", "(mail.example.com)", "a@b mail.example.org x_y.example.net", "-mail.example.com", "x@mail.example.comx y.example.org",
	"x@y.example.com @z", "www.m\xc3\xbcnchen.de", "host.example.com:25", "_dmarc.example.com", "example.com-", "example.com_x", "example.com.example", "a.b.c", "1.2.3.4", "[192.0.2.1] x", "2001:db8::1 y", "mail.example.co.uk", "a@mail.example.co.uk.", "x..example.com",
}

var bits = []string{"<", ">", "\"", "(", ")", ",", ";", ":", "@", " ", "\\", "a", "example.com", "a@example.com", "b@example.org", "[", "]", ".", "\n ", "\xe9", "=?utf-8?Q?x_y?=", "'", "<>", "\"\"", "()", "_", "-", ".com"}

// values are the odd ones and such as are made of bits.
func values(seed uint64, n int) []string {
	r := rand.New(rand.NewPCG(seed, 3))
	out := slices.Clone(odd)
	for range n {
		var b strings.Builder
		if r.IntN(2) == 0 {
			for range 1 + r.IntN(12) {
				b.WriteString(bits[r.IntN(len(bits))])
			}
		} else {
			s := odd[r.IntN(len(odd))]
			i := r.IntN(len(s) + 1)
			b.WriteString(s[:i] + bits[r.IntN(len(bits))] + s[i:])
		}
		out = append(out, b.String())
	}
	return out
}

// foreign reports whether a host has letters that the DNS has not. Here it is one
// nevertheless; a SpamAssassin without LibIDN, as that of these tests, knows none, and
// takes a name that is such an address for a name.
func foreign(host string) bool {
	return strings.ContainsFunc(host, func(r rune) bool { return r >= 0x80 })
}

// TestAddressesAsPerl compares with SpamAssassin, but for foreign hosts.
func TestAddressesAsPerl(t *testing.T) {
	s, err := conf.Load([]string{spamtest.Stock, spamtest.Site}, conf.Options{Local: true})
	mtatest.Check(t, err)
	o := spamtest.Start(t, "..", spamtest.Stock, spamtest.Site)
	for _, v := range values(spamtest.Cases(600, 12000)) {
		text := []byte("Subject: x\nFrom: " + v + "\nX-End: x\n\nbody\n")
		var want struct{ Get map[string]*spamtest.Bytes }
		o.About(t, "head", text, &want)
		m := mail.Parse(text, mail.Limits{})
		var addresses, names []string
		host := ""
		for _, f := range m.Fields {
			if f.Name != "From" {
				continue
			}
			for _, a := range uri.Addresses(f.Raw) {
				if a.HasAddress {
					addresses = append(addresses, a.Address)
				}
				if a.HasPhrase {
					names = append(names, a.Phrase)
				}
			}
			host = uri.HostIn(f.Value+"\n", s.Domains())
		}
		for what, got := range map[string]string{"From:addr": strings.Join(addresses, "\n"), "From:name:raw": strings.Join(names, "\n"), "From:host": host} {
			w := ""
			if p := want.Get[what]; p != nil {
				w = string(*p)
			}
			if got != w && !(what == "From:host" && foreign(got)) && !((got == "" || w == "") && foreign(got+w)) {
				t.Errorf("%s of %q:\n got %q\nwant %q", what, v, got, w)
			}
		}
	}
}

func TestAddresses(t *testing.T) {
	for _, c := range []struct {
		field string
		want  []uri.Address
	}{
		{"Ann <a@example.com>", []uri.Address{{Address: "a@example.com", HasAddress: true, Phrase: "Ann ", HasPhrase: true, User: "a", Host: "example.com"}}},
		{"a@example.com (Ann)", []uri.Address{{Address: "a@example.com", HasAddress: true, Phrase: "Ann", HasPhrase: true, Comment: "Ann", User: "a", Host: "example.com"}}},
		{"\"B, A\" <a@localhost>, b@example.org", []uri.Address{{Address: "a@localhost", HasAddress: true, Phrase: "B, A ", HasPhrase: true, User: "a", Host: "localhost", Invalid: true},
			{Address: "b@example.org", HasAddress: true, User: "b", Host: "example.org"}}},
		{"undisclosed-recipients:;", nil},
		{"Ann", []uri.Address{{Phrase: "Ann", HasPhrase: true, Invalid: true}}},
	} {
		if got := uri.Addresses(c.field); !slices.Equal(got, c.want) {
			t.Errorf("%q: %+v, want %+v", c.field, got, c.want)
		}
	}
}

func FuzzAddresses(f *testing.F) {
	for _, v := range odd {
		f.Add(v)
	}
	for _, v := range []string{"<", "<>", "<a", "\"", "(", ",", "<\"\"", "<\"\">", "a.com_", "<a>("} {
		f.Add(strings.Repeat(v, 8000/len(v)))
	}
	d := conf.Parse("test", "util_rb_tld com org\n", conf.Options{}).Domains()
	f.Fuzz(func(t *testing.T, v string) {
		if len(v) > 8192 {
			return
		}
		spent := mtatest.CPU(t)
		for _, a := range uri.Addresses(v) {
			if a.HasAddress && !strings.Contains(a.Address, "@") {
				t.Errorf("%+v", a)
			}
		}
		uri.HostIn(v, d)
		if took := spent(); took > 2*time.Second {
			t.Errorf("%v", took)
		}
	})
}
