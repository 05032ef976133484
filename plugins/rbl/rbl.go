// Package rbl scores clients that DNS block lists name (RFC 5782).
package rbl

import (
	"context"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"mtad/config"
	"mtad/dns"
	"mtad/pipeline"
	"mtad/smtp"
)

// Kind is filter "rbl".
func Kind() pipeline.Kind {
	return pipeline.Kind{
		Name: "rbl", Doc: "Scores or refuses clients that DNS block lists name.",
		Stages: pipeline.At(pipeline.Mail), Options: options, New: newFilter,
	}
}

type settings struct {
	Zones  map[string]float64 `mtad:"zones"`
	Reject bool               `mtad:"reject"`
}

var options = []config.Option{
	{Name: "zones", Type: config.TypeFloatMap, Required: true, Reload: true, Doc: "The lists, and how many points being named by each costs. Negative points make an allow-list.", Example: `{ "zen.spamhaus.org" = 6 }`},
	{Name: "reject", Type: config.TypeBool, Default: false, Reload: true, Doc: "Whether a client on a list with positive points is refused at once.", Example: "true", Postfix: "reject_rbl_client"},
}

type filter struct {
	settings
	zones []string // in the order of their names
	dns   dns.Resolver
}

func newFilter(b config.Block, env pipeline.Env) (pipeline.Filter, error) {
	f := &filter{dns: env.DNS}
	if err := b.Decode(&f.settings); err != nil {
		return nil, err
	}
	f.zones = slices.Sorted(maps.Keys(f.Zones))
	for _, z := range f.zones {
		if !smtp.ValidDomain(z) {
			return nil, b.Errorf("zones", "%q is not a domain name", z)
		}
	}
	return f, nil
}

func (*filter) Stages() pipeline.Stages { return pipeline.At(pipeline.Mail) }

func (*filter) Access(pipeline.Stage) (reads, writes pipeline.Facts) {
	return pipeline.NoFacts, pipeline.Scores | pipeline.Tags
}

// Prefetch asks the lists as soon as there is a client. One that logs in later was
// asked about for nothing.
func (f *filter) Prefetch(s pipeline.Stage, v *pipeline.View) (out []dns.Question) {
	addr, ok := asked(v.Client())
	if s != pipeline.Connect || !ok {
		return nil
	}
	for _, zone := range f.zones {
		out = append(out, dns.Question{Name: dns.ReverseName(addr, zone), Type: dns.A})
	}
	return out
}

// asked is the address that is looked up, if it is: users who logged in, trusted
// clients and addresses that are not public are not.
func asked(c *pipeline.Client) (netip.Addr, bool) {
	addr := c.Addr.Addr().Unmap()
	return addr, c.Auth == nil && !c.Trusted && public(addr)
}

// found is what one list said.
type found struct {
	codes   []string // 127.0.0.x
	unknown bool
}

// Filter asks all lists at once.
func (f *filter) Filter(ctx context.Context, _ pipeline.Stage, v *pipeline.View) (pipeline.Verdict, error) {
	addr, ok := asked(v.Client())
	if !ok {
		return pipeline.Verdict{}, nil
	}
	answers := f.ask(ctx, addr)
	var out pipeline.Verdict
	for i, zone := range f.zones {
		a := answers[i]
		if a.unknown && len(a.codes) == 0 {
			out.Mods = append(out.Mods, pipeline.Tag{Name: "rbl.unknown", Value: zone})
			continue
		}
		if len(a.codes) == 0 {
			continue
		}
		points := f.Zones[zone]
		out.Mods = append(out.Mods,
			pipeline.AddScore{Name: "rbl", Points: points, Detail: zone + " " + strings.Join(a.codes, " ")},
			pipeline.Tag{Name: "rbl", Value: zone})
		if f.Reject && points > 0 {
			out.Action = pipeline.Reject
			out.Reply = smtp.NewReply(550, 7, 1, "Client "+addr.String()+" is listed by "+zone)
			return out, nil
		}
	}
	return out, nil
}

func public(a netip.Addr) bool {
	return a.IsValid() && a.IsGlobalUnicast() && !a.IsPrivate()
}

// ask looks the address up in every list.
func (f *filter) ask(ctx context.Context, a netip.Addr) []found {
	out := make([]found, len(f.zones))
	var wg sync.WaitGroup
	for i, zone := range f.zones {
		wg.Go(func() { out[i] = f.lookup(ctx, a, zone) })
	}
	wg.Wait()
	return out
}

func (f *filter) lookup(ctx context.Context, a netip.Addr, zone string) found {
	ans, err := f.dns.Lookup(ctx, dns.ReverseName(a, zone), dns.A)
	if err != nil {
		return found{unknown: !dns.NotFound(err)}
	}
	var out found
	for _, r := range ans.Records {
		code, err := netip.ParseAddr(r.Text)
		switch {
		case err != nil || !code.Is4() || code.As4()[0] != 127:
			// A parked or hijacked domain answers anything: no listing
			// (RFC 5782, 2.1).
		case strings.HasPrefix(r.Text, "127.255."):
			out.unknown = true // the list refuses to answer us
		default:
			out.codes = append(out.codes, r.Text)
		}
	}
	slices.Sort(out.codes)
	return out
}
