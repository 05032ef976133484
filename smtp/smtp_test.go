package smtp

import (
	"errors"
	"math"
	"net/netip"
	"strings"
	"testing"
)

func TestParsePath(t *testing.T) {
	long := strings.Repeat("a", 65)
	for _, c := range []struct {
		in   string
		lax  bool
		want string // String() of the address, then what is left; "!" is an error
	}{
		{"<>", false, "|"},
		{"<> BODY=8BITMIME", false, "| BODY=8BITMIME"},
		{"<a@b.example>", false, "a@b.example|"},
		{"<a@b.example> SIZE=1", false, "a@b.example| SIZE=1"},
		{"<Postmaster>", false, "Postmaster|"},
		{"<@one.example,@two.example:a@b.example>", false, "a@b.example|"},
		{`<"a b"@c.example>`, false, `"a b"@c.example|`},
		{`<"a\"b\\"@c.example>`, false, `"a\"b\\"@c.example|`},
		{`<"plain"@c.example>`, false, "plain@c.example|"},
		{"<a@[192.0.2.1]>", false, "a@[192.0.2.1]|"},
		{"<a@[IPv6:2001:db8::1]>", false, "a@[IPv6:2001:db8::1]|"},
		{"<ü@bücher.example>", false, "ü@bücher.example|"},
		{"<a@b.example.>", false, "a@b.example|"},
		{"<a%c@b.example>", false, "a%c@b.example|"},
		{"root@localhost", true, "root@localhost|"},
		{" < root@localhost > X=1", true, "root@localhost| X=1"},
		{"root", true, "root|"},
		{"<.a..b.@c.example>", true, `".a..b."@c.example|`},
		{"<\u00e4\u0085x@c.example>", false, "!"},
		{"<\"\u009b\"@c.example>", false, "!"},
		{"<a@\u0080.example>", false, "!"},
		{"root@localhost", false, "!"},
		{"<a@b.example", false, "!"},
		{"<a@b..example>", false, "!"},
		{"<a@-b.example>", false, "!"},
		{"<a@>", false, "!"},
		{"<@b.example>", false, "!"},
		{"<a b@c.example>", false, "!"},
		{"<.a@c.example>", false, "!"},
		{"<a@[999.0.0.1]>", false, "!"},
		{"<a@[2001:db8::1]>", false, "!"},
		{`<""@c.example>`, false, "!"},
		{"<\"a\x01\"@c.example>", false, "!"},
		{"<" + long + "@c.example>", false, "!"},
		{"<a@" + strings.Repeat("b.", 130) + "example>", false, "!"},
		{"", false, "!"},
		{"<\xff@c.example>", false, "!"},
	} {
		a, rest, err := ParsePath(c.in, c.lax)
		got := a.String() + "|" + rest
		if err != nil {
			got = "!"
			if !errors.Is(err, ErrSyntax) && !errors.Is(err, ErrLength) {
				t.Errorf("%q: %v wraps no sentinel", c.in, err)
			}
		}
		if got != c.want {
			t.Errorf("ParsePath(%q, %v) = %s, %v; want %s", c.in, c.lax, got, err, c.want)
		}
	}
}

func TestAddress(t *testing.T) {
	a, err := ParseAddress("Ann.Lee@Example.ORG")
	if err != nil || a.Key() != "ann.lee@example.org" || !a.Equal(Address{"ann.LEE", "example.org"}) || !a.ASCII() {
		t.Errorf("%v %v", a, err)
	}
	if _, err := ParseAddress("a@b.example>"); err == nil {
		t.Error("trailing octets were taken")
	}
	if (Address{}).Path() != "<>" || !(Address{}).IsZero() {
		t.Error("null path")
	}
}

func FuzzParsePath(f *testing.F) {
	for _, s := range []string{"<a@b.example>", "<@a,@b:c@d>", `<"a\"b"@c>`, "<a@[IPv6:::1]>", "root@localhost", "<>"} {
		f.Add(s, true)
		f.Add(s, false)
	}
	f.Fuzz(func(t *testing.T, s string, lax bool) {
		a, rest, err := ParsePath(s, lax)
		if err != nil {
			return
		}
		if !strings.HasSuffix(s, rest) {
			t.Fatalf("%q: rest %q is not its end", s, rest)
		}
		if strings.ContainsAny(a.Path(), "\r\n\x00") {
			t.Fatalf("%q: control characters in %q", s, a.Path())
		}
		b, rest, err := ParsePath(a.Path(), false)
		if err != nil && !errors.Is(err, ErrLength) || err == nil && (rest != "" || b != a) {
			t.Fatalf("%q: %q reads as %v %q %v", s, a.Path(), b, rest, err)
		}
	})
}

func TestReply(t *testing.T) {
	for _, c := range []struct {
		r    Reply
		want string
	}{
		{NewReply(250, 1, 0, "Ok"), "250 2.1.0 Ok\r\n"},
		{Reply{Code: 220, Text: "mx ESMTP"}, "220 mx ESMTP\r\n"},
		{Reply{Code: 250, Text: "mx\nSIZE 1\nDSN"}, "250-mx\r\n250-SIZE 1\r\n250 DSN\r\n"},
		{NewReply(550, 7, 1, "a\nb"), "550-5.7.1 a\r\n550 5.7.1 b\r\n"},
		{Reply{Code: 500, Text: "a\rb\x00\tc"}, "500 a?b? c\r\n"},
	} {
		if got := string(c.r.Append(nil)); got != c.want {
			t.Errorf("%v: %q, want %q", c.r, got, c.want)
		}
	}
	long := string(NewReply(550, 7, 1, strings.Repeat("x", 2000)).Append(nil))
	if len(long) != 512 || !strings.HasSuffix(long, "\r\n") {
		t.Errorf("a long line has %d octets", len(long))
	}
	if r := NewReply(451, 3, 0, "x"); !r.Temporary() || r.Permanent() || r.OK() || r.IsZero() || r.Enhanced[0] != 4 {
		t.Errorf("%+v", r)
	}
}

func TestParseCode(t *testing.T) {
	for s, ok := range map[string]bool{"5.7.1": true, "2.0.0": true, "4.999.1": true, "3.1.1": false, "5.7": false, "5.7.1.1": false, "5.x.1": false, "": false, "5.1000.1": false} {
		c, got := ParseCode(s)
		if got != ok || ok && FormatCode(c) != s {
			t.Errorf("ParseCode(%q) = %v, %v", s, c, got)
		}
	}
}

func TestMailParams(t *testing.T) {
	all := func(string) bool { return true }
	p, err := ParseMailParams("SIZE=1000 BODY=8bitmime SMTPUTF8 RET=hdrs ENVID=a+2Bb AUTH=<> REQUIRETLS", all)
	if err != nil || p.Size != 1000 || p.Body != "8BITMIME" || !p.UTF8 || p.Return != "HDRS" || p.EnvelopeID != "a+b" || p.Auth == nil || *p.Auth != "" || !p.RequireTLS {
		t.Errorf("%+v %v", p, err)
	}
	if len(p.Raw) != 7 || p.Raw[1] != "BODY=8bitmime" {
		t.Errorf("raw %q", p.Raw)
	}
	for s, unknown := range map[string]bool{
		"FOO=1": true, "SIZE=x": false, "SIZE=-1": false, "SIZE": false, "SIZE=": false, "SIZE=1 SIZE=2": false, "BODY=BINARYMIME": false,
		"RET=ALL": false, "ENVID=+0": false, "ENVID=a+0D+0AX:+20b": false, "ENVID=ü": false, "AUTH=a+0Ab@c.example": false,
		"SIZE=+1": false, "SIZE=999999999999999999999": false, "SMTPUTF8=1": false, "=1": false, "-A=1": false,
	} {
		_, err := ParseMailParams(s, all)
		var pe *ParamError
		if !errors.As(err, &pe) || pe.Unknown != unknown {
			t.Errorf("%q: %v", s, err)
		}
	}
	for _, s := range []string{"SIZE=9223372036854775808", "SIZE=99999999999999999999"} {
		if p, err := ParseMailParams(s, all); err != nil || p.Size != math.MaxInt64 {
			t.Errorf("%q: %d, %v", s, p.Size, err)
		}
	}
	if _, err := ParseMailParams("SIZE=1", func(string) bool { return false }); err == nil {
		t.Error("a parameter that was not offered was taken")
	}
}

func TestRcptParams(t *testing.T) {
	all := func(string) bool { return true }
	p, err := ParseRcptParams("NOTIFY=success,FAILURE ORCPT=rfc822;a+2Bb@c.example", all)
	if err != nil || len(p.Notify) != 2 || p.OriginalRecipient != "a+b@c.example" || p.OriginalRecipientType != "RFC822" {
		t.Errorf("%+v %v", p, err)
	}
	for _, s := range []string{"NOTIFY=NEVER,SUCCESS", "NOTIFY=x", "ORCPT=a@b", "ORCPT=rfc822;", "ORCPT=rfc822;a=b", "ORCPT=;a", "ORCPT=r(c;a@b", "ORCPT=rfc822;a+0D+0Ab"} {
		if _, err := ParseRcptParams(s, all); err == nil {
			t.Errorf("%q was taken", s)
		}
	}
}

// Addresses beyond US-ASCII have a form of their own (RFC 6533, 3).
func TestORCPT(t *testing.T) {
	all := func(string) bool { return true }
	for in, want := range map[string]string{
		`utf-8;gr\x{FC}n\x{2B}x@b.example`: `gr\x{FC}n\x{2B}x@b.example`,
		"utf-8;grün@b.example":             `gr\x{FC}n@b.example`,
		`utf-8;a\x{5C}\x{1F600}@b.example`: `a\x{5C}\x{1F600}@b.example`,
		"rfc822;a+2Bb@c.example":           "a+2Bb@c.example",
		`utf-8;a+2Bb@c.example`:            "!", `utf-8;a\x{D}@c.example`: "!", `utf-8;a\x{110000}`: "!",
		`utf-8;a\x{`: "!", `utf-8;a\y`: "!", "utf-8;a\xff": "!", `utf-8;\x{ffffffffff}`: "!",
	} {
		p, err := ParseRcptParams("ORCPT="+in, all)
		got := EncodeORCPT(p.OriginalRecipientType, p.OriginalRecipient)
		if err != nil {
			got = "!"
		}
		if got != want {
			t.Errorf("%s: %s, want %s (%v)", in, got, want, err)
		}
	}
}

func TestToASCII(t *testing.T) {
	for in, want := range map[string]string{
		"a@b.example": "a@b.example", "a@bücher.example": "a@xn--bcher-kva.example", "ü@b.example": "!", "a@xn--a.bücher": "!",
	} {
		a, err := ParseAddress(in)
		got, ok := a.ToASCII()
		if s := got.String(); err != nil || ok != (want != "!") || ok && s != want {
			t.Errorf("%s: %s %v %v", in, s, ok, err)
		}
	}
}

func TestXtext(t *testing.T) {
	for _, s := range []string{"", "plain", "a+b=c d", "ü\x00\x7f"} {
		got, err := DecodeXtext(EncodeXtext(s))
		if err != nil || got != s {
			t.Errorf("%q: %q %v", s, got, err)
		}
	}
	for _, s := range []string{"+", "+4", "+GG", "a b", "a=b"} {
		if _, err := DecodeXtext(s); err == nil {
			t.Errorf("%q is no xtext", s)
		}
	}
}

func TestLiteralsAndHelo(t *testing.T) {
	if a, ok := ParseLiteral("[IPv6:::1]"); !ok || a != netip.IPv6Loopback() {
		t.Errorf("%v %v", a, ok)
	}
	for s, want := range map[string]bool{
		"mx.example.org": true, "localhost": true, "[192.0.2.1]": true, "[IPv6:2001:db8::1]": true, "a_b.example": true,
		"": false, "a b": false, "a..b": false, "[fe80::1%eth0]": false, "192.0.2.1]": false, "-a": false, strings.Repeat("a", 64): false,
	} {
		if got := ValidHelo(s); got != want {
			t.Errorf("ValidHelo(%q) = %v", s, got)
		}
	}
}

func BenchmarkParsePath(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := ParsePath("<alice.liddell@mail.example.org> SIZE=10240", false); err != nil {
			b.Fatal(err)
		}
	}
}
