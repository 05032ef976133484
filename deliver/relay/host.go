package relay

import (
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/net/idna"

	"mtad/dns"
	"mtad/smtp"
)

// host is one address to try.
type host struct {
	name string // as the MX record or the route has it
	addr netip.AddrPort
	pref uint16 // of its MX record
	path string // of a socket that LMTP is spoken on, instead of addr
}

// name is a host to resolve.
type name struct {
	name string
	pref uint16
}

func (h host) String() string {
	if h.path != "" {
		return "unix:" + h.path
	}
	return h.name + " [" + h.addr.Addr().String() + "]:" + strconv.Itoa(int(h.addr.Port()))
}

// network is how the host is dialled.
func (h host) network() (network, addr string) {
	if h.path != "" {
		return "unix", h.path
	}
	return "tcp", h.addr.String()
}

// local reports whether the host is on this machine.
func (h host) local() bool { return h.path != "" || h.addr.Addr().IsLoopback() }

// key names what a connection can be used for again: a reload may have changed
// what the route demands, and who logs in.
func (h host) key(r *Route) string {
	_, addr := h.network()
	return strings.Join([]string{r.Key(), addr, string(r.Security), r.Username, r.Password}, " ")
}

// Replies for destinations that no host takes mail for.
var (
	replyNullMX = smtp.NewReply(556, 1, 10, "Domain takes no mail (null MX)") // RFC 7505, 5
	replyNoName = smtp.NewReply(550, 1, 2, "Domain does not exist")           // RFC 5321, 5.1
	replyNoHost = smtp.NewReply(550, 4, 4, "No host of the domain has an address")
	replyLoop   = smtp.NewReply(554, 4, 6, "Mail for the domain loops back to this server")
	replyDNS    = smtp.NewReply(451, 4, 3, "Name server did not answer for the domain")
)

// hosts lists the addresses to try, in order.
func (c *Client) hosts(ctx context.Context, r *Route) ([]host, smtp.Reply) {
	if len(r.Hosts) > 0 {
		return c.routeHosts(ctx, r.Hosts)
	}
	if a, ok := smtp.ParseLiteral(r.Domain); ok {
		return c.refuseSelf([]host{{name: a.String(), addr: c.withPort(a)}})
	}
	names, reply := c.mx(ctx, r.Domain)
	if !reply.IsZero() {
		return nil, reply
	}
	return c.addresses(ctx, names, cmp.Or(r.Port, c.cfg.Port))
}

// routeHosts resolves host:port pairs, and takes sockets as they are.
func (c *Client) routeHosts(ctx context.Context, pairs []string) ([]host, smtp.Reply) {
	var out []host
	last := replyNoHost
	for _, p := range pairs {
		if path, unix := strings.CutPrefix(p, "unix:"); unix {
			out = append(out, host{name: "localhost", path: path})
			continue
		}
		at, port, err := net.SplitHostPort(p)
		if err != nil {
			at, port = p, c.cfg.Port
		}
		if a, err := netip.ParseAddr(strings.Trim(at, "[]")); err == nil {
			ap, err := netip.ParseAddrPort(net.JoinHostPort(a.String(), port))
			if err == nil {
				out = append(out, host{name: at, addr: ap})
			}
			continue
		}
		found, reply := c.addresses(ctx, []name{{strings.Trim(at, "[]"), 0}}, port)
		if !reply.IsZero() {
			last = reply
		}
		out = append(out, found...)
	}
	if len(out) == 0 {
		return nil, last
	}
	return out[:min(len(out), c.cfg.MaxHosts)], smtp.Reply{}
}

// mx returns the names of the domain's mail hosts in the order of preference,
// those of the same preference shuffled (RFC 5321, 5.1).
func (c *Client) mx(ctx context.Context, domain string) ([]name, smtp.Reply) {
	if !(smtp.Address{Domain: domain}).ASCII() { // RFC 6531, 3.2
		ascii, err := idna.Lookup.ToASCII(domain)
		if err != nil {
			return nil, replyNoName
		}
		domain = ascii
	}
	ans, err := c.cfg.DNS.Lookup(ctx, domain, dns.MX)
	switch {
	case errors.Is(err, dns.ErrNoName) || errors.Is(err, dns.ErrName):
		return nil, replyNoName
	case errors.Is(err, dns.ErrNoData):
		return []name{{domain, 0}}, smtp.Reply{} // the implicit MX
	case err != nil:
		return nil, replyDNS
	}
	recs := slices.Clone(ans.Records)
	if len(recs) == 1 && (recs[0].Text == "" || recs[0].Text == ".") {
		return nil, replyNullMX
	}
	rand.Shuffle(len(recs), func(i, j int) { recs[i], recs[j] = recs[j], recs[i] })
	slices.SortStableFunc(recs, func(a, b dns.Record) int { return int(a.Pref) - int(b.Pref) })
	var names []name
	for _, r := range recs {
		names = append(names, name{r.Text, r.Pref})
	}
	return names, smtp.Reply{}
}

// addresses resolves names to at most MaxHosts addresses.
func (c *Client) addresses(ctx context.Context, names []name, port string) ([]host, smtp.Reply) {
	var out []host
	failed := false
	for _, n := range names {
		for _, t := range []dns.Type{dns.AAAA, dns.A} {
			ans, err := c.cfg.DNS.Lookup(ctx, n.name, t)
			if err != nil && !dns.NotFound(err) {
				failed = true
			}
			for _, rec := range ans.Records {
				ap, err := netip.ParseAddrPort(net.JoinHostPort(rec.Text, port))
				if err == nil && len(out) < c.cfg.MaxHosts {
					out = append(out, host{name: n.name, addr: ap, pref: n.pref})
				}
			}
		}
		if len(out) >= c.cfg.MaxHosts || c.self(out) {
			break
		}
	}
	switch {
	case len(out) == 0 && failed:
		return nil, replyDNS
	case len(out) == 0:
		return nil, replyNoHost
	}
	return c.refuseSelf(out)
}

func (c *Client) self(hosts []host) bool {
	return c.cfg.Self != nil && slices.ContainsFunc(hosts, func(h host) bool { return c.cfg.Self(h.addr) })
}

// refuseSelf drops this server and every host that is not preferred to it
// (RFC 5321, 5.1); if nothing is left the mail loops.
func (c *Client) refuseSelf(hosts []host) ([]host, smtp.Reply) {
	if c.cfg.Self == nil {
		return hosts, smtp.Reply{}
	}
	if i := slices.IndexFunc(hosts, func(h host) bool { return c.cfg.Self(h.addr) }); i >= 0 {
		pref := hosts[i].pref
		hosts = slices.DeleteFunc(slices.Clone(hosts[:i]), func(h host) bool { return h.pref >= pref })
	}
	if len(hosts) == 0 {
		return nil, replyLoop
	}
	return hosts, smtp.Reply{}
}

func (c *Client) withPort(a netip.Addr) netip.AddrPort {
	ap, err := netip.ParseAddrPort(net.JoinHostPort(a.String(), c.cfg.Port))
	if err != nil {
		return netip.AddrPort{}
	}
	return ap
}
