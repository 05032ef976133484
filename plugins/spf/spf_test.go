package spf

import (
	"net/netip"
	"strings"
	"testing"

	"mtad/config"
	"mtad/dns"
	"mtad/internal/mtatest"
	"mtad/pipeline"
	"mtad/smtp"
)

const records = `
good.test       TXT "v=spf1 ip4:192.0.2.0/24 ip6:2001:db8::/32 -all"
soft.test       TXT "v=spf1 ~all"
hard.test       TXT "v=spf1 -all"
neutral.test    TXT "v=spf1 ?all"
nothing.test    TXT "v=spf1"
a.test          TXT "v=spf1 a -all"
a.test          A   192.0.2.1
mx.test         TXT "v=spf1 mx -all"
mx.test         MX  10 a.test
cidr.test       TXT "v=spf1 a:a.test/24 -all"
ptr.test        TXT "v=spf1 ptr -all"
1.2.0.192.in-addr.arpa PTR host.ptr.test
host.ptr.test   A   192.0.2.1
include.test    TXT "v=spf1 include:good.test -all"
redirect.test   TXT "v=spf1 redirect=hard.test"
exists.test     TXT "v=spf1 exists:%{ir}.%{l}.%{v}.list.test -all"
1.2.0.192.ann.in-addr.list.test A 127.0.0.2
helo.test       TXT "v=spf1 exists:%{l}.%{o}.ok.test -all"
postmaster.helo.test.ok.test A 127.0.0.2
exp.test        TXT "v=spf1 exp=why.test -all"
two.test        TXT "v=spf1 -all"
two.test        TXT "v=spf1 +all"
bad.test        TXT "v=spf1 ip4:300.0.0.1 -all"
word.test       TXT "v=spf1 nonsense -all"
loop.test       TXT "v=spf1 include:loop.test -all"
noinc.test      TXT "v=spf1 include:none.test -all"
voids.test      TXT "v=spf1 a:v1.test a:v2.test a:v3.test -all"
fail.test       FAIL
incfail.test    TXT "v=spf1 include:fail.test -all"
other.test      TXT "not spf"
xn--bcher-kva.test TXT "v=spf1 +all"
`

func build(t testing.TB, body string) pipeline.Filter {
	t.Helper()
	b, diags := config.ParseBlock(body, config.BlockType{Options: options})
	if diags != nil {
		t.Fatal(diags)
	}
	z, err := dns.ParseZone(strings.NewReader(records))
	if err != nil {
		t.Fatal(err)
	}
	f, err := newFilter(b, pipeline.Env{DNS: z})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func ask(t testing.TB, f pipeline.Filter, sender string, change func(*pipeline.Client)) pipeline.Verdict {
	t.Helper()
	c := pipeline.Client{Addr: netip.MustParseAddrPort("192.0.2.1:1"), Helo: "helo.test"}
	if change != nil {
		change(&c)
	}
	var a smtp.Address
	if sender != "" {
		a, _ = smtp.ParseAddress(sender)
	}
	v, err := f.Filter(t.Context(), pipeline.Mail, pipeline.NewView(c, pipeline.Mailing{Sender: a}, nil))
	if err != nil {
		t.Fatal(err)
	}
	v.Note = ""
	return v
}

func from(s string) func(*pipeline.Client) {
	return func(c *pipeline.Client) { c.Addr = netip.MustParseAddrPort(s) }
}

// Cases of RFC 7208.
func TestResults(t *testing.T) {
	f := build(t, "")
	for _, c := range []struct {
		sender, addr, want string
	}{
		{"ann@good.test", "192.0.2.1:1", "pass"}, {"ann@good.test", "[2001:db8::1]:1", "pass"}, {"ann@good.test", "[::ffff:192.0.2.1]:1", "pass"},
		{"ann@good.test", "198.51.100.1:1", "fail"}, {"ann@soft.test", "192.0.2.1:1", "softfail"}, {"ann@hard.test", "192.0.2.1:1", "fail"},
		{"ann@neutral.test", "192.0.2.1:1", "neutral"}, {"ann@nothing.test", "192.0.2.1:1", "neutral"}, {"ann@none.test", "192.0.2.1:1", "none"},
		{"ann@other.test", "192.0.2.1:1", "none"}, {"ann@a.test", "192.0.2.1:1", "pass"}, {"ann@mx.test", "192.0.2.1:1", "pass"},
		{"ann@cidr.test", "192.0.2.200:1", "pass"}, {"ann@cidr.test", "192.0.3.1:1", "fail"}, {"ann@ptr.test", "192.0.2.1:1", "pass"}, {"ann@ptr.test", "192.0.2.2:1", "fail"},
		{"ann@include.test", "192.0.2.1:1", "pass"}, {"ann@include.test", "198.51.100.1:1", "fail"}, {"ann@redirect.test", "192.0.2.1:1", "fail"},
		{"ann@exists.test", "192.0.2.1:1", "pass"}, {"bob@exists.test", "192.0.2.1:1", "fail"}, {"ann@exp.test", "192.0.2.1:1", "fail"},
		{"ann@two.test", "192.0.2.1:1", "permerror"}, {"ann@bad.test", "192.0.2.1:1", "permerror"}, {"ann@word.test", "192.0.2.1:1", "permerror"},
		{"ann@loop.test", "192.0.2.1:1", "permerror"}, {"ann@noinc.test", "192.0.2.1:1", "permerror"}, {"ann@voids.test", "192.0.2.1:1", "permerror"},
		{"ann@fail.test", "192.0.2.1:1", "temperror"}, {"ann@incfail.test", "192.0.2.1:1", "temperror"}, {"ann@bücher.test", "192.0.2.1:1", "pass"},
		{"", "192.0.2.1:1", "pass"},
	} {
		prop := "smtp.mailfrom=" + c.sender
		if c.sender == "" {
			prop = "smtp.helo=helo.test"
		}
		want := "continue; add-auth-result spf=" + c.want + " " + prop
		switch c.want {
		case "fail":
			want += `; add-score spf_fail 3.0 "` + c.sender + `"`
		case "softfail":
			want += `; add-score spf_softfail 1.0 "` + c.sender + `"`
		}
		if got := ask(t, f, c.sender, from(c.addr)).String(); got != want {
			t.Errorf("%s from %s:\ngot  %s\nwant %s", c.sender, c.addr, got, want)
		}
	}
}

func TestReject(t *testing.T) {
	f := build(t, "reject = true\non_fail = score(0)")
	want := "reject 550 5.7.23 SPF: ann@hard.test may not be sent from 192.0.2.1; add-auth-result spf=fail smtp.mailfrom=ann@hard.test"
	if got := ask(t, f, "ann@hard.test", nil).String(); got != want {
		t.Error(got)
	}
	if got := ask(t, f, "ann@soft.test", nil); got.Action != pipeline.Continue {
		t.Error(got)
	}
}

func TestExempt(t *testing.T) {
	f := build(t, "reject = true")
	for name, change := range map[string]func(*pipeline.Client){
		"login":   func(c *pipeline.Client) { c.Auth = &pipeline.Login{} },
		"trusted": func(c *pipeline.Client) { c.Trusted = true },
		"local":   func(c *pipeline.Client) { c.Addr = netip.AddrPort{} },
	} {
		if got := ask(t, f, "ann@hard.test", change).String(); got != "continue" {
			t.Errorf("%s: %s", name, got)
		}
	}
}

func TestReadme(t *testing.T) {
	mtatest.Examples(t, mtatest.Readme(t, options), func(_, body string) error {
		build(t, body)
		return nil
	})
	mtatest.Check(t, config.CheckStruct(options, &settings{}))
}
