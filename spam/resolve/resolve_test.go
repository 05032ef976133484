package resolve

import (
	"fmt"
	"strings"
	"testing"

	"mtad/dns"
	"mtad/internal/mtatest"
	"mtad/spam/ask"
	"mtad/spam/conf"
)

func TestLookup(t *testing.T) {
	z, err := dns.ParseZone(strings.NewReader(`
a.test A 127.0.0.2
a.test TXT "one" "two"
a.test MX 10 mx.a.test.
a.test NS ns.a.test.
fail.test FAIL
`))
	mtatest.Check(t, err)
	r := With(z)
	for _, c := range []struct{ name, typ, want string }{
		{"a.test", "A", "0 [{A 127.0.0.2 []}] <nil>"}, {"a.test", "TXT", "0 [{TXT onetwo [one two]}] <nil>"}, {"a.test", "MX", "0 [{MX 10 mx.a.test. []}] <nil>"},
		{"a.test", "NS", "0 [{NS ns.a.test. []}] <nil>"}, {"a.test", "AAAA", "0 [] <nil>"}, {"b.test", "A", "3 [] <nil>"},
		{"fail.test", "A", "0 [] dns: temporary failure: fail.test A"}, {"a.test", "SRV", "0 [] records of type SRV are not asked for"},
	} {
		a, err := r.Lookup(t.Context(), ask.Question{Name: c.name, Type: c.typ})
		if got := fmt.Sprint(a.Code, " ", a.Records, " ", err); got != c.want {
			t.Errorf("%s %s: %s, want %s", c.name, c.typ, got, c.want)
		}
	}
	if With(nil) != nil {
		t.Error("a resolver of none")
	}
}

func TestNew(t *testing.T) {
	rs := conf.Parse("x.cf", "dns_server 192.0.2.1\ndns_server [::1]:5353\n", conf.Options{})
	if r, err := New(rs); r == nil || err != nil || len(rs.Problems) > 0 {
		t.Errorf("%v %v %v", r, err, rs.Problems)
	}
}
