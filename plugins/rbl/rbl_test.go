package rbl

import (
	"net/netip"
	"strings"
	"testing"

	"mtad/config"
	"mtad/dns"
	"mtad/internal/mtatest"
	"mtad/pipeline"
)

const records = `
7.100.51.198.bl.test    A 127.0.0.2
7.100.51.198.bl.test    A 127.0.0.10
8.100.51.198.bl.test    A 203.0.113.1
9.100.51.198.bl.test    A 127.255.255.254
10.100.51.198.bl.test   FAIL
7.100.51.198.white.test A 127.0.5.1
8.100.51.198.white.test A 127.0.5.1
1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.7.4.6.0.6.2.bl.test A 127.0.0.3
1.2.0.10.bl.test        A 127.0.0.2
`

func build(body string) (pipeline.Filter, error) {
	b, diags := config.ParseBlock(body, config.BlockType{Options: options})
	if diags != nil {
		return nil, diags[0]
	}
	z, err := dns.ParseZone(strings.NewReader(records))
	if err != nil {
		return nil, err
	}
	return newFilter(b, pipeline.Env{DNS: z})
}

func TestVerdicts(t *testing.T) {
	const lists = `zones = { "bl.test" = 4, "white.test" = -2 }`
	for _, c := range []struct {
		body, addr string
		change     func(*pipeline.Client)
		want       string
	}{
		{lists, "198.51.100.7", nil, `continue; add-score rbl 4.0 "bl.test 127.0.0.10 127.0.0.2"; tag rbl=bl.test; add-score rbl -2.0 "white.test 127.0.5.1"; tag rbl=white.test`},
		{lists, "::ffff:198.51.100.7", nil, `continue; add-score rbl 4.0 "bl.test 127.0.0.10 127.0.0.2"; tag rbl=bl.test; add-score rbl -2.0 "white.test 127.0.5.1"; tag rbl=white.test`},
		{lists, "198.51.100.8", nil, `continue; add-score rbl -2.0 "white.test 127.0.5.1"; tag rbl=white.test`},
		{lists, "198.51.100.9", nil, "continue; tag rbl.unknown=bl.test"},
		{lists, "198.51.100.10", nil, "continue; tag rbl.unknown=bl.test"},
		{lists, "198.51.100.11", nil, "continue"},
		{lists, "2606:4700::1", nil, `continue; add-score rbl 4.0 "bl.test 127.0.0.3"; tag rbl=bl.test`},
		{lists, "10.0.2.1", nil, "continue"},
		{lists, "::ffff:10.0.2.1", nil, "continue"},
		{lists, "127.0.0.1", nil, "continue"},
		{lists, "198.51.100.7", func(c *pipeline.Client) { c.Trusted = true }, "continue"},
		{lists, "198.51.100.7", func(c *pipeline.Client) { c.Auth = &pipeline.Login{} }, "continue"},
		{lists + "\nreject = true", "198.51.100.7", nil, `reject 550 5.7.1 Client 198.51.100.7 is listed by bl.test; add-score rbl 4.0 "bl.test 127.0.0.10 127.0.0.2"; tag rbl=bl.test`},
		{lists + "\nreject = true", "198.51.100.8", nil, `continue; add-score rbl -2.0 "white.test 127.0.5.1"; tag rbl=white.test`},
	} {
		f, err := build(c.body)
		if err != nil {
			t.Fatal(err)
		}
		client := pipeline.Client{Addr: netip.AddrPortFrom(netip.MustParseAddr(c.addr), 1)}
		if c.change != nil {
			c.change(&client)
		}
		v, err := f.Filter(t.Context(), pipeline.Mail, pipeline.NewView(client, pipeline.Mailing{}, nil))
		if err != nil || v.String() != c.want {
			t.Errorf("%s: %v\ngot  %s\nwant %s", c.addr, err, v, c.want)
		}
	}
}

func TestConfig(t *testing.T) {
	for _, body := range []string{"", `zones = { "not a domain" = 1 }`, `zones = { "bl.test" = "x" }`} {
		if _, err := build(body); err == nil {
			t.Errorf("%q is taken", body)
		}
	}
}

func TestReadme(t *testing.T) {
	mtatest.Examples(t, mtatest.Readme(t, options), func(_, body string) error {
		_, err := build(body)
		return err
	})
	mtatest.Check(t, config.CheckStruct(options, &settings{}))
}
