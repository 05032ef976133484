// Package spf checks whether the sender's domain lets the client send for it
// (RFC 7208), with blitiri.com.ar/go/spf.
package spf

import (
	"context"
	"net"
	"net/netip"
	"strings"

	"blitiri.com.ar/go/spf"
	"golang.org/x/net/idna"

	"mtad/config"
	"mtad/dns"
	"mtad/pipeline"
	"mtad/smtp"
)

// Kind is filter "spf".
func Kind() pipeline.Kind {
	return pipeline.Kind{
		Name: "spf", Doc: "Checks whether the sender's domain lets the client send for it.",
		Stages: pipeline.At(pipeline.Mail), Options: options, New: newFilter,
	}
}

type settings struct {
	OnFail     config.Score `mtad:"on_fail"`
	OnSoftfail config.Score `mtad:"on_softfail"`
	Reject     bool         `mtad:"reject"`
}

var options = []config.Option{
	{Name: "on_fail", Type: config.TypeScore, Default: config.Score(3), Reload: true, Doc: "Points for a sender whose domain says that this client may not send for it.", Example: "score(3)"},
	{Name: "on_softfail", Type: config.TypeScore, Default: config.Score(1), Reload: true, Doc: "Points where the domain says so with a ~.", Example: "score(1)"},
	{Name: "reject", Type: config.TypeBool, Default: false, Reload: true, Doc: "Whether a fail is refused at once.", Example: "true"},
}

type filter struct {
	settings
	dns dns.Resolver
}

func newFilter(b config.Block, env pipeline.Env) (pipeline.Filter, error) {
	f := &filter{dns: env.DNS}
	return f, b.Decode(&f.settings)
}

func (*filter) Stages() pipeline.Stages { return pipeline.At(pipeline.Mail) }

func (*filter) Access(pipeline.Stage) (reads, writes pipeline.Facts) {
	return pipeline.Envelope, pipeline.Scores | pipeline.AuthResults
}

// Prefetch asks for the policy of the sender's domain when MAIL has come, and
// other filters are asked first.
func (*filter) Prefetch(s pipeline.Stage, v *pipeline.View) []dns.Question {
	if s != pipeline.Mail || !checked(v.Client()) {
		return nil
	}
	sender, _ := identity(v)
	return []dns.Question{{Name: sender.Domain, Type: dns.TXT}}
}

// checked reports whether a client is: users who logged in and trusted clients
// are not.
func checked(c *pipeline.Client) bool { return c.Auth == nil && !c.Trusted && c.Addr.IsValid() }

// identity is what is checked: the reverse-path, or the HELO name for the null one
// (RFC 7208, 2.4).
func identity(v *pipeline.View) (smtp.Address, pipeline.AuthProp) {
	sender := v.Sender()
	prop := pipeline.AuthProp{Type: "smtp", Name: "mailfrom", Value: sender.String()}
	if sender.IsZero() {
		helo := v.Client().Helo
		sender = smtp.Address{Local: "postmaster", Domain: helo}
		prop = pipeline.AuthProp{Type: "smtp", Name: "helo", Value: helo}
	}
	if ascii, err := idna.Lookup.ToASCII(sender.Domain); err == nil && !sender.ASCII() {
		sender.Domain = ascii // RFC 7208, 4.3
	}
	return sender, prop
}

// Filter checks the identity.
func (f *filter) Filter(ctx context.Context, _ pipeline.Stage, v *pipeline.View) (pipeline.Verdict, error) {
	c := v.Client()
	if !checked(c) {
		return pipeline.Verdict{}, nil
	}
	sender, prop := identity(v)
	ip := net.IP(c.Addr.Addr().Unmap().AsSlice())
	result, err := spf.CheckHostWithSender(ip, c.Helo, sender.String(),
		spf.WithContext(ctx), spf.WithResolver(resolver{f.dns}))
	reason := ""
	if err != nil {
		reason = strings.TrimPrefix(err.Error(), "spf: ")
	}
	return f.verdict(result, reason, prop, v), nil
}

// verdict turns a result into facts, and a fail into a refusal if that is
// wanted.
func (f *filter) verdict(result spf.Result, reason string, prop pipeline.AuthProp, v *pipeline.View) pipeline.Verdict {
	out := pipeline.Verdict{Note: reason}
	out.Mods = append(out.Mods, pipeline.AddAuthResult{Result: pipeline.AuthResult{
		Method: "spf", Result: string(result), Props: []pipeline.AuthProp{prop},
	}})
	points := map[spf.Result]config.Score{spf.Fail: f.OnFail, spf.SoftFail: f.OnSoftfail}[result]
	if points != 0 {
		out.Mods = append(out.Mods, pipeline.AddScore{Name: "spf_" + string(result), Points: float64(points), Detail: prop.Value})
	}
	if f.Reject && result == spf.Fail {
		out.Action = pipeline.Reject
		// RFC 7208, 8.4 and RFC 7372, 3.2.
		out.Reply = smtp.NewReply(550, 7, 23, "SPF: "+prop.Value+" may not be sent from "+v.Client().Addr.Addr().String())
	}
	return out
}

// resolver is our resolver as the library wants it.
type resolver struct{ dns dns.Resolver }

// notFound is the library's way to be told of a definite no; any other error is
// temporary to it.
func notFound(name string, err error) error {
	if err == nil {
		return nil
	}
	return &net.DNSError{Err: err.Error(), Name: name, IsNotFound: dns.NotFound(err), IsTemporary: !dns.NotFound(err)}
}

func (r resolver) LookupTXT(ctx context.Context, name string) ([]string, error) {
	out, err := dns.Texts(ctx, r.dns, name)
	return out, notFound(name, err)
}

func (r resolver) LookupMX(ctx context.Context, name string) ([]*net.MX, error) {
	ans, err := r.dns.Lookup(ctx, name, dns.MX)
	if err != nil {
		return nil, notFound(name, err)
	}
	out := make([]*net.MX, len(ans.Records))
	for i, rec := range ans.Records {
		out[i] = &net.MX{Host: rec.Text, Pref: rec.Pref}
	}
	return out, nil
}

func (r resolver) LookupIPAddr(ctx context.Context, host string) ([]net.IPAddr, error) {
	addrs, err := dns.Addrs(ctx, r.dns, host)
	out := make([]net.IPAddr, len(addrs))
	for i, a := range addrs {
		out[i] = net.IPAddr{IP: a.AsSlice()}
	}
	return out, notFound(host, err)
}

func (r resolver) LookupAddr(ctx context.Context, addr string) ([]string, error) {
	a, err := netip.ParseAddr(addr)
	if err != nil {
		return nil, &net.DNSError{Err: "not an address", Name: addr}
	}
	ans, err := r.dns.Lookup(ctx, dns.ReverseName(a, ""), dns.PTR)
	if err != nil {
		return nil, notFound(addr, err)
	}
	out := make([]string, len(ans.Records))
	for i, rec := range ans.Records {
		out[i] = rec.Text
	}
	return out, nil
}
