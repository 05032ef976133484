package deliver

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"

	"mtad/deliver/relay"
	"mtad/directory"
	"mtad/pipeline"
	"mtad/smtp"
)

// Routing is the part of the configuration that says where mail goes. It is
// replaced whole on reload.
type Routing struct {
	Hostname      string
	DefaultDomain string            // of addresses and logins without one
	Destinations  []string          // local domains besides the directory's
	RelayDomains  []string          // taken for anybody; ".x" is every subdomain of x
	Routes        []relay.Route     // by Name
	Transport     map[string]string // domain, ".domain" or "*" to the name of a route
	Relayhost     string            // the route of every other domain; "" is the domain's MX
	Relay         *relay.Client
}

// Router says who a recipient is and where mail for a domain goes.
type Router struct {
	directory *directory.Directory
	routing   atomic.Pointer[Routing]
}

// NewRouter makes a router.
func NewRouter(d *directory.Directory, r *Routing) *Router {
	out := &Router{directory: d}
	out.routing.Store(r)
	return out
}

// SetRouting replaces the configuration.
func (r *Router) SetRouting(n *Routing) { r.routing.Store(n) }

// Relay is the client that reaches other hosts.
func (r *Router) Relay() *relay.Client { return r.routing.Load().Relay }

// Target is where mail for an address ends: a local mailbox or an address
// elsewhere.
type Target struct {
	Account int64 // 0: elsewhere
	Addr    smtp.Address
	Detail  string // of a mailbox: what stood behind the separator
}

// Resolution is what the router says of a recipient at RCPT.
type Resolution struct {
	Class  pipeline.Class
	Exempt bool // postmaster or abuse
	Circle bool // nobody, because its aliases lead in a circle
}

// Resolve says what a recipient is. Relay is denied unless the client may send
// anywhere (it is trusted, or logged in) or the domain is one we relay for.
func (r *Router) Resolve(ctx context.Context, addr smtp.Address, mayRelay bool) (Resolution, error) {
	addr = r.qualify(addr)
	res, err := r.find(ctx, addr)
	if errors.Is(err, directory.ErrLoop) {
		return Resolution{Class: pipeline.NoSuch, Circle: true}, nil
	}
	if err != nil {
		return Resolution{}, err
	}
	var out Resolution
	switch {
	case res.Class == directory.UserClass:
		out.Class, out.Exempt = pipeline.Local, exempt(addr)
	case res.Class == directory.AliasClass:
		out.Class, out.Exempt = pipeline.Alias, exempt(addr)
	case res.Class == directory.Unknown:
		out.Class = pipeline.NoSuch
	case mayRelay || !routed(addr) && (res.Class == directory.RelayClass || hasDomain(r.routing.Load().RelayDomains, addr.Domain)):
		out.Class = pipeline.Relayed
	default:
		out.Class = pipeline.RelayDeny
	}
	return out, nil
}

// routed reports whether a local-part asks the host it names for another hop:
// user%host, host!user, user@host. That host may trust us and obey; strangers must
// not use it that way.
func routed(a smtp.Address) bool { return strings.ContainsAny(a.Local, "%!@") }

// exempt reports whether the address must always be reachable (RFC 5321, 4.5.1;
// RFC 2142, 4).
func exempt(a smtp.Address) bool {
	return strings.EqualFold(a.Local, "postmaster") || strings.EqualFold(a.Local, "abuse")
}

// qualify gives an unqualified address the default domain.
func (r *Router) qualify(a smtp.Address) smtp.Address {
	if a.Domain == "" && !a.IsZero() {
		a.Domain = r.routing.Load().DefaultDomain
	}
	return a
}

// find asks the directory. Names in Destinations are local domains whose
// addresses are those of the default domain.
func (r *Router) find(ctx context.Context, a smtp.Address) (directory.Result, error) {
	n := r.routing.Load()
	res, err := r.directory.Lookup(ctx, a.Local, a.Domain)
	if err != nil {
		return res, fmt.Errorf("deliver: look up %s: %w", a, err)
	}
	if res.Class != directory.Foreign || !hasDomain(n.Destinations, a.Domain) {
		return res, nil
	}
	res, err = r.directory.Lookup(ctx, a.Local, n.DefaultDomain)
	if err != nil {
		return res, fmt.Errorf("deliver: look up %s: %w", a, err)
	}
	if res.Class == directory.Foreign {
		res.Class = directory.Unknown
	}
	return res, nil
}

// hasDomain looks for a domain, or a ".parent" of it.
func hasDomain(list []string, domain string) bool {
	return slices.ContainsFunc(list, func(d string) bool {
		if strings.HasPrefix(d, ".") {
			return len(domain) > len(d) && strings.EqualFold(domain[len(domain)-len(d):], d)
		}
		return strings.EqualFold(d, domain)
	})
}

// Expand finds the mailboxes and remote addresses that a recipient leads to.
// Nothing is found for an address that does not exist, or whose aliases lead in
// a circle.
func (r *Router) Expand(ctx context.Context, addr smtp.Address) ([]Target, error) {
	addr = r.qualify(addr)
	res, err := r.find(ctx, addr)
	if errors.Is(err, directory.ErrLoop) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	switch res.Class {
	case directory.UserClass:
		t, err := mailboxOf(&res.User, res.Detail)
		return []Target{t}, err
	case directory.AliasClass:
		out := make([]Target, 0, len(res.Targets))
		for _, t := range res.Targets {
			if t.User == nil {
				out = append(out, Target{Addr: t.Address})
				continue
			}
			mbox, err := mailboxOf(t.User, t.Detail)
			if err != nil {
				return nil, err
			}
			out = append(out, mbox)
		}
		return out, nil
	case directory.Unknown:
		return nil, nil
	}
	return []Target{{Addr: addr}}, nil
}

// account finds the account that a mailbox's address has now, 0 if it has none:
// accounts are removed, and made anew, while mail waits for them.
func (r *Router) account(ctx context.Context, mailbox smtp.Address) (int64, error) {
	res, err := r.find(ctx, mailbox)
	if err != nil || res.Class != directory.UserClass {
		return 0, err
	}
	return res.User.ID, nil
}

func mailboxOf(u *directory.User, detail string) (Target, error) {
	a, err := smtp.ParseAddress(u.Address)
	if err != nil {
		return Target{}, fmt.Errorf("deliver: address of account %d: %w", u.ID, err)
	}
	return Target{u.ID, a, detail}, nil
}

// RelayRoute says where mail for a remote domain goes.
func (r *Router) RelayRoute(domain string) relay.Route {
	n := r.routing.Load()
	name := n.Relayhost
	domain = strings.ToLower(domain)
	if to, ok := n.Transport["*"]; ok {
		name = to
	}
	for d := domain; d != ""; {
		if to, ok := n.Transport[d]; ok {
			name = to
			break
		}
		_, parent, ok := strings.Cut(strings.TrimPrefix(d, "."), ".")
		if !ok {
			break
		}
		d = "." + parent
	}
	for _, rt := range n.Routes {
		if rt.Name == name && name != "" {
			rt.Domain = domain
			return rt
		}
	}
	return relay.Route{Domain: domain}
}
