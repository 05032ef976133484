package route

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"mtad/deliver/relay"
	"mtad/directory"
	"mtad/lookup"
	"mtad/smtp"
)

// Via is what takes mail to where it goes.
type Via string

// The ways that mail goes.
const (
	ViaSMTP    Via = "smtp"
	ViaLMTP    Via = "lmtp"
	ViaPipe    Via = "pipe"    // a program reads it
	ViaMaildir Via = "maildir" // a Maildir of the system
	ViaMbox    Via = "mbox"    // a file of the system
	ViaDiscard Via = "discard" // taken and thrown away
	ViaError   Via = "error"   // refused for good
	ViaRetry   Via = "retry"   // put off
)

// Way is how mail gets to an address.
type Way struct {
	Via   Via
	Route relay.Route // smtp, lmtp
	Local Local       // pipe, maildir, mbox
	Text  string      // error, retry: what is said; discard: why
}

// Local is how mail is handed to a program, or put into a file, of the system. In
// Command and Path, $user and the like stand for parts of the envelope.
type Local struct {
	Name    string        // of the route
	Command []string      // pipe: the program and its arguments
	Path    string        // maildir, mbox
	User    string        // as whom
	Timeout time.Duration // pipe; 0: the default
	Single  bool          // pipe: one recipient at a time
	Flags   string        // pipe: what is put before the message, and how (pipe(8))
	Nexthop string        // if transport_maps, say, names one
}

// LocalKey begins the keys of ways to programs and files.
const LocalKey = "route:"

// Key names the destination: what shares connections and limits.
func (w *Way) Key() string {
	switch w.Via {
	case ViaSMTP, ViaLMTP:
		return w.Route.Key()
	case ViaPipe, ViaMaildir, ViaMbox:
		return LocalKey + w.Local.Name + w.Local.Nexthop
	}
	return "(" + string(w.Via) + ")"
}

// Refusal is what is said to mail whose way is error or retry. The text may begin
// with an enhanced code (error(8)).
func (w *Way) Refusal() smtp.Reply {
	code := 550
	if w.Via == ViaRetry {
		code = 450
	}
	word, rest, _ := strings.Cut(w.Text, " ")
	if c, ok := smtp.ParseCode(word); ok {
		return smtp.NewReply(code, c[1], c[2], strings.TrimSpace(rest))
	}
	return smtp.NewReply(code, 0, 0, w.Text)
}

// errNoWay is a transport that the configuration does not have.
var errNoWay = errors.New("no such transport")

// Way says how mail from a sender gets to an address that is not delivered here.
// An error means that it can not be known now.
func (r *Router) Way(ctx context.Context, sender, rcpt smtp.Address) (Way, error) {
	w, _, err := r.way(ctx, sender, rcpt)
	return w, err
}

// WayBy is Way for mail that has a transport of its own, chosen by an administrator:
// the name of a route block, transport:nexthop, or a nexthop. "" is none.
func (r *Router) WayBy(ctx context.Context, sender, rcpt smtp.Address, transport string) (Way, error) {
	if transport == "" {
		return r.Way(ctx, sender, rcpt)
	}
	q := quest{router: r, c: r.config.Load(), ctx: ctx, sender: sender, rcpt: rcpt, domain: canonical(rcpt.Domain)}
	name, next := transport, ""
	if !q.isRoute(transport) {
		name, next = splitTransport(transport)
	}
	way, err := q.named(name, next)
	if err != nil {
		return Way{}, fmt.Errorf("route: way to %s by %s: %w", rcpt, transport, err)
	}
	return way, nil
}

// CheckTransport says what is wrong with a transport for WayBy.
func (r *Router) CheckTransport(transport string) error {
	c := r.config.Load()
	names := make([]string, len(c.Routes))
	for i, n := range c.Routes {
		names[i] = n.Name
	}
	if slices.Contains(names, transport) {
		return nil
	}
	return CheckTransport(transport, names)
}

// ExplainWay is Way with its steps.
func (r *Router) ExplainWay(ctx context.Context, sender, rcpt smtp.Address) (Way, []Step, error) {
	return r.way(ctx, sender, rcpt)
}

func (r *Router) way(ctx context.Context, sender, rcpt smtp.Address) (Way, []Step, error) {
	q := quest{router: r, c: r.config.Load(), ctx: ctx, sender: sender, rcpt: rcpt, domain: canonical(rcpt.Domain)}
	way, err := q.run()
	if err != nil {
		return Way{}, q.steps, fmt.Errorf("route: way to %s: %w", rcpt, err)
	}
	return way, q.steps, nil
}

// quest looks for one way.
type quest struct {
	router       *Router
	c            *Config
	ctx          context.Context
	sender, rcpt smtp.Address
	domain       string
	steps        []Step
}

func (q *quest) note(where, format string, args ...any) {
	q.steps = append(q.steps, Step{q.rcpt.String(), where, fmt.Sprintf(format, args...)})
}

func (q *quest) run() (Way, error) {
	transport, next, plain, err := q.fallback()
	if err != nil {
		return Way{}, err
	}
	if len(q.c.Transports) > 0 {
		value, key, ok, err := q.c.Transports.Find(q.ctx, q.transportKeys()...)
		if err != nil {
			return Way{}, err
		}
		if ok {
			q.note("transport_maps", "%s is %s", key, value)
			t, n := splitTransport(value)
			switch {
			case t != "":
				transport, next = t, n
			case n != "": // with the transport, not with the route, that mail would have had
				transport, next = plain, n
			}
		}
	}
	return q.named(transport, next)
}

// transportKeys are those of transport(5).
func (q *quest) transportKeys() []string {
	keys := append(lookup.AddressQuery{Separator: q.c.Separator, Name: q.domain == q.c.Origin}.Keys(in(q.rcpt, q.domain)), q.domain)
	for parent := q.domain; ; {
		_, rest, ok := strings.Cut(parent, ".")
		if !ok {
			return append(keys, "*")
		}
		keys = append(keys, "."+rest)
		parent = rest
	}
}

// class says whose domain it is.
func (q *quest) class() (virtual, relayed bool, err error) {
	if virtual, err = q.c.VirtualMailboxDomains.Has(q.ctx, q.domain); err != nil || virtual {
		return virtual, false, err
	}
	if relayed, err = q.c.RelayDomains.Has(q.ctx, q.domain); err != nil || relayed {
		return false, relayed, err
	}
	r, err := q.router.directory.Lookup(q.ctx, "postmaster", q.domain)
	return false, r.Class == directory.Relay, err
}

// fallback is what holds where transport_maps has nothing, by the domain's class; a
// nexthop of the transport goes before relayhosts (postconf(5), default_transport).
// plain is the transport without what a relayhost that is a route makes of it.
func (q *quest) fallback() (transport, next, plain string, err error) {
	virtual, relayed, err := q.class()
	if err != nil {
		return "", "", "", err
	}
	name, value := "default_transport", q.c.DefaultTransport
	switch {
	case virtual && q.c.VirtualTransport != "":
		name, value = "virtual_transport", q.c.VirtualTransport
	case relayed && q.c.RelayTransport != "":
		name, value = "relay_transport", q.c.RelayTransport
	case !virtual && !relayed:
		own, ok, err := q.bySender("sender_dependent_default_transport_maps", q.c.SenderTransports)
		if err != nil {
			return "", "", "", err
		}
		if ok && own != "DUNNO" {
			name, value = "", own
		}
	}
	transport, next = splitTransport(value)
	if name != "" && value != "" {
		q.note(name, "%s", value)
	}
	plain = transport
	if next == "" && !virtual {
		transport, next, err = q.relayhost(transport)
	}
	return transport, next, plain, err
}

// relayhost is where a transport without a nexthop takes mail: where tables say by the
// sender, or relayhost. It may be the name of a route, in place of a transport that is none.
func (q *quest) relayhost(transport string) (string, string, error) {
	value, ok, err := q.bySender("sender_dependent_relayhost_maps", q.c.SenderRelayhosts)
	if err != nil {
		return "", "", err
	}
	if !ok || value == "DUNNO" {
		if value = q.c.Relayhost; value != "" {
			q.note("relayhost", "%s", value)
		}
	}
	switch {
	case value == "" || slices.Contains([]string{"error", "retry", "discard"}, transport):
		return transport, "", nil
	case !q.isRoute(value):
		return transport, value, nil
	case q.isRoute(transport):
		return transport, "", nil
	}
	return value, "", nil
}

// isRoute reports whether a name is that of a route block.
func (q *quest) isRoute(name string) bool {
	return slices.ContainsFunc(q.c.Routes, func(n Named) bool { return n.Name == name })
}

// bySender asks tables about the sender: user+detail@domain, user@domain,
// @domain; the null sender is <>.
func (q *quest) bySender(name string, tables lookup.Tables) (value string, ok bool, err error) {
	if len(tables) == 0 {
		return "", false, nil
	}
	keys := []string{"<>"}
	if !q.sender.IsZero() {
		domain := canonical(q.sender.Domain)
		keys = q.c.query(domain, false).Keys(in(q.sender, domain))
	}
	value, key, ok, err := tables.Find(q.ctx, keys...)
	if ok {
		q.note(name, "%s is %s", key, value)
	}
	return value, ok, err
}

// splitTransport reads "transport:nexthop"; a word alone is a nexthop if it looks
// like a host, else the name of a route.
func splitTransport(value string) (transport, next string) {
	value = strings.TrimSpace(value)
	if strings.HasPrefix(value, "[") {
		return "", value
	}
	transport, next, ok := strings.Cut(value, ":")
	switch {
	case !ok && strings.Contains(value, "."):
		return "", value // a domain
	case !ok:
		return value, "" // a route
	case strings.Contains(transport, "."): // host:port
		return "", value
	}
	return transport, strings.TrimSpace(next)
}

// named finds the way that a transport's name and a nexthop mean.
func (q *quest) named(transport, next string) (Way, error) {
	for _, n := range q.c.Routes {
		if n.Name == transport {
			way := n.Way
			way.Route.Domain, way.Local.Nexthop = q.domain, next
			if next != "" && (way.Via == ViaSMTP || way.Via == ViaLMTP) && len(way.Route.Hosts) == 0 {
				way.Route = nextHop(way.Route, next, way.Via)
			}
			q.note("route "+n.Name, "%s", way.describe())
			return q.login(way, n.Name)
		}
	}
	return q.builtin(transport, next)
}

// builtin is a way that needs no route block.
func (q *quest) builtin(transport, next string) (Way, error) {
	way := Way{Via: Via(transport), Text: next}
	switch transport {
	case "error", "retry":
		if next == "" {
			way.Text = "mail is undeliverable"
		}
		return way, nil
	case "discard":
		return way, nil
	case "", "smtp", "relay":
		way = Way{Via: ViaSMTP, Route: relay.Route{Domain: q.domain}}
	case "lmtp":
		way = Way{Via: ViaLMTP, Route: relay.Route{Domain: q.domain, LMTP: true}}
		if next == "" {
			next = q.domain
		}
	default:
		return Way{}, fmt.Errorf("%w: %q; there are smtp, relay, lmtp, discard, error, retry and the route blocks", errNoWay, transport)
	}
	if next != "" {
		way.Route = nextHop(way.Route, next, way.Via)
	}
	return q.login(way, next)
}

// nextHop is a route to a nexthop: [host], [host]:port, host:port or domain, of
// which those without brackets are asked for their MX; for LMTP unix:path or
// inet:host:port, or host:port, none of which is. Several stand between commas.
func nextHop(r relay.Route, next string, via Via) relay.Route {
	r.Name = string(via) + ":" + next
	for _, hop := range lookup.List(next) {
		if via == ViaLMTP {
			r.Hosts = append(r.Hosts, lmtpHop(hop))
			continue
		}
		if strings.HasPrefix(hop, "[") {
			r.Hosts = append(r.Hosts, withPort(hop))
			continue
		}
		r.Domain = hop
		if host, port, err := net.SplitHostPort(hop); err == nil {
			r.Domain, r.Port = host, port
		}
	}
	return r
}

func withPort(hop string) string {
	if _, _, err := net.SplitHostPort(hop); err == nil {
		return hop
	}
	return hop + ":25"
}

func lmtpHop(hop string) string {
	if strings.HasPrefix(hop, "unix:") {
		return hop
	}
	hop = strings.TrimPrefix(hop, "inet:")
	if _, _, err := net.SplitHostPort(hop); err == nil {
		return hop
	}
	return hop + ":24"
}

// login adds the name and password of smtp_sasl_password_maps.
func (q *quest) login(way Way, next string) (Way, error) {
	if len(q.c.Passwords) == 0 || way.Via != ViaSMTP || way.Route.Username != "" {
		return way, nil
	}
	if q.c.SenderPasswords {
		value, ok, err := q.bySender("smtp_sasl_password_maps", q.c.Passwords)
		if err != nil || ok {
			return way.withLogin(value, q.sender.String()), err
		}
	}
	keys := []string{next}
	if next == "" {
		keys = []string{q.domain}
	}
	value, key, ok, err := q.c.Passwords.Find(q.ctx, keys...)
	if err != nil || !ok {
		return way, err
	}
	return way.withLogin(value, key), nil
}

// withLogin takes "name:password". Whose it is is part of the destination's name.
func (w Way) withLogin(value, of string) Way {
	w.Route.Username, w.Route.Password, _ = strings.Cut(value, ":")
	w.Route.Name += " as " + of
	return w
}

// describe is the way for people.
func (w *Way) describe() string {
	switch w.Via {
	case ViaSMTP, ViaLMTP:
		if len(w.Route.Hosts) > 0 {
			return string(w.Via) + " to " + strings.Join(w.Route.Hosts, ", ")
		}
		return string(w.Via) + " by the MX of " + w.Route.Domain
	case ViaPipe:
		return "pipe to " + strings.Join(w.Local.Command, " ")
	case ViaMaildir, ViaMbox:
		return string(w.Via) + " " + w.Local.Path
	}
	return string(w.Via) + " " + w.Text
}

// String is the way for people.
func (w Way) String() string { return w.describe() }

// CheckTransport says what is wrong with a transport, or a nexthop, that a
// configuration names; names are those of the route blocks.
func CheckTransport(value string, names []string) error {
	transport, next := splitTransport(value)
	for _, n := range names {
		if n == transport || transport == "" && n == next {
			return nil
		}
	}
	switch transport {
	case "discard", "error", "retry":
		return nil
	case "", "smtp", "relay", "lmtp":
		return checkPorts(next)
	}
	return fmt.Errorf("%w: %q", errNoWay, transport)
}

// ErrPort is a nexthop whose port is none.
var ErrPort = errors.New("no port")

// checkPorts finds ports, behind the hosts of a nexthop, that nothing can listen at.
func checkPorts(next string) error {
	for _, hop := range lookup.List(next) {
		_, port, err := net.SplitHostPort(strings.TrimPrefix(hop, "inet:"))
		if err != nil || strings.HasPrefix(hop, "unix:") {
			continue
		}
		if n, err := net.LookupPort("tcp", port); err != nil || n == 0 {
			return fmt.Errorf("%w: %q in %q", ErrPort, port, hop)
		}
	}
	return nil
}
