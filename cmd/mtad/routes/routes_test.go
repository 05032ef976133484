package routes

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"mtad/config"
	"mtad/deliver/route"
)

func root(t *testing.T, text string) (config.Block, Settings) {
	t.Helper()
	b, diags := config.ParseBlock(text, config.BlockType{Options: Options})
	if diags != nil {
		t.Fatal(diags)
	}
	var s Settings
	if err := b.Decode(&s); err != nil {
		t.Fatal(err)
	}
	return b, s
}

func TestOptionsFit(t *testing.T) {
	for _, err := range []error{config.CheckStruct(Options, &Settings{}), config.CheckStruct(RouteOptions, &RouteSettings{})} {
		if err != nil {
			t.Error(err)
		}
	}
}

// What is written out is checked before mail comes to wait for it.
func TestCheck(t *testing.T) {
	for text, want := range map[string]string{
		`transport_maps = { "a.test" = "far", "b.test" = "smtp:[x.test]", "c.test" = ":[x.test]", "d.test" = "[x.test]:26" }`: "",
		`transport_maps = { "a.test" = "fra:" }`:                                  `a.test: there is no transport "fra"`,
		`sender_dependent_default_transport_maps = { "@a.test" = "DUNNO" }`:       "",
		`sender_dependent_default_transport_maps = ["inline:{@a.test=none:[x]}"]`: `@a.test: there is no transport "none"`,
		`relayhost = "[127.0.0.1]:99999"`:                                         `no port: "99999"`, `relayhost = "mx.far.test:submission"`: "", `relayhost = "[2001:db8::1]:587"`: "", `relayhost = "[2001:db8::1]"`: "",
		`relay_transport = "lmtp:inet:127.0.0.1:lmpt"`: `no port: "lmpt"`, `relay_transport = "lmtp:unix:/run/a:b"`: "",
		`transport_maps = { "a.test" = "smtp:x.test:0" }`: "a.test: no port", `luser_relay = "$nosuch@x.test"`: "there is no $nosuch", `luser_relay = "who+$${local}@x.test"`: "",
		`default_privs = "root"`: "name a user other than root",
	} {
		b, s := root(t, text)
		var diags config.Diagnostics
		s.Check(b, []route.Named{{Name: "far"}}, &diags)
		if got := fmt.Sprint(diags.Err()); want == "" && diags.Err() != nil || !strings.Contains(got, want) {
			t.Errorf("%s: %s", text, got)
		}
	}
}

func TestListen(t *testing.T) {
	in := []string{":25", "192.0.2.9:25", "unix:/x"}
	for text, want := range map[string]string{
		"": ":25 192.0.2.9:25 unix:/x", `inet_interfaces = ["loopback-only"]`: "127.0.0.1:25 [::1]:25 192.0.2.9:25 unix:/x",
		`inet_interfaces = ["192.0.2.1", "[2001:db8::1]"]`: "192.0.2.1:25 [2001:db8::1]:25 192.0.2.9:25 unix:/x",
	} {
		if _, s := root(t, text); strings.Join(s.Listen(in), " ") != want {
			t.Errorf("%s: %v, want %s", text, s.Listen(in), want)
		}
	}
}

// TestStyle is postconf(5)'s mynetworks_style.
func TestStyle(t *testing.T) {
	for in, want := range map[string]string{
		"host 192.0.2.5/20": "192.0.2.5/32", "subnet 192.0.2.5/20": "192.0.0.0/20", "class 192.0.2.5/20": "192.0.2.0/24", "class 10.1.2.3/24": "10.0.0.0/8", "class 172.16.1.1/28": "172.16.0.0/16",
		"subnet 2001:db8::1/64": "2001:db8::/64", "class 2001:db8::1/64": "2001:db8::/64", "subnet fe80::1/64": "fe80::1/128",
	} {
		name, prefix, _ := strings.Cut(in, " ")
		if got := styled(name, netip.MustParsePrefix(prefix)); got.String() != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}

func TestNetworks(t *testing.T) {
	for text, want := range map[string][]string{
		"": {"127.0.0.1", "::1"}, "mynetworks = []": {}, `mynetworks = ["192.0.2.0/24", "[2001:db8::]/32"]`: {"192.0.2.77", "2001:db8::9", "::ffff:192.0.2.1"},
	} {
		b, s := root(t, text)
		n, err := s.OpenNetworks(b)
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range []string{"127.0.0.1", "::1", "192.0.2.77", "2001:db8::9", "::ffff:192.0.2.1", "203.0.113.1"} {
			if n.Has(netip.MustParseAddr(a)) != slices.Contains(want, a) {
				t.Errorf("%s: %s: %v", text, a, !slices.Contains(want, a))
			}
		}
	}
}
