package route

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"

	"golang.org/x/net/idna"

	"mtad/deliver/relay"
	"mtad/directory"
	"mtad/lookup"
	"mtad/pipeline"
	"mtad/smtp"
)

// Router says who a recipient is and how mail gets to an address.
type Router struct {
	directory *directory.Directory
	config    atomic.Pointer[Config]
}

// New makes a router.
func New(d *directory.Directory, c *Config) *Router {
	r := &Router{directory: d}
	r.config.Store(c)
	return r
}

// Configure replaces the configuration.
func (r *Router) Configure(c *Config) { r.config.Store(c) }

// Relay is the client that reaches other hosts.
func (r *Router) Relay() *relay.Client { return r.config.Load().Relay }

// Kind is what a target is.
type Kind uint8

// The kinds of targets.
const (
	Mailbox Kind = iota // of an account here
	Remote              // an address that mail is sent on to
	File                // a file or Maildir of the system
	Command             // a program
)

// Target is where mail for an address ends.
type Target struct {
	Kind    Kind
	Addr    smtp.Address // the mailbox's address, or where to; of File and Command: whose
	Account int64        // Mailbox
	Detail  string       // what stood behind the separator
	Text    string       // File: the path. Command: the command line
	User    string       // File, Command: as whom; "" is nobody in particular
	// Owner is the sender that mail goes out with instead: who hears of
	// failures of a list. Zero: the sender stays.
	Owner smtp.Address
}

// Step is one thing that was looked at on the way.
type Step struct {
	Address string
	Where   string // "virtual_alias_maps", "aliases file:/etc/aliases"
	What    string // what came of it
}

// Nobody is an address that an alias leads to and that does not exist.
type Nobody struct {
	Addr  smtp.Address
	Reply smtp.Reply   // to say so
	Owner smtp.Address // who hears of it in place of the sender, as a Target's
}

// Resolution is what becomes of mail for an address.
type Resolution struct {
	Class   pipeline.Class
	Exempt  bool // postmaster or abuse
	Circle  bool // nobody's, because its aliases lead in a circle
	Targets []Target
	Nobody  []Nobody   // that an alias names beside its targets
	Reply   smtp.Reply // what is said of an address that has moved; zero: the class's
	Steps   []Step
}

// Resolve says what a recipient is and where it leads. Relay is denied unless the
// client may send anywhere (it is trusted, or logged in) or the domain is one that
// we relay for. An error means that it can not be known now.
func (r *Router) Resolve(ctx context.Context, addr smtp.Address, mayRelay bool) (Resolution, error) {
	return r.resolve(ctx, addr, mayRelay, false)
}

// Explain is Resolve with its steps.
func (r *Router) Explain(ctx context.Context, addr smtp.Address, mayRelay bool) (Resolution, error) {
	return r.resolve(ctx, addr, mayRelay, true)
}

func (r *Router) resolve(ctx context.Context, addr smtp.Address, mayRelay, explain bool) (Resolution, error) {
	w := walk{router: r, c: r.config.Load(), ctx: ctx, explain: explain}
	if err := w.follow(addr, from{}, 0); err != nil {
		return Resolution{}, fmt.Errorf("route: %s: %w", addr, err)
	}
	out := Resolution{Class: w.class, Targets: w.targets, Nobody: w.nobody, Reply: w.reply, Steps: w.steps}
	switch {
	case w.class == pipeline.Alias && len(w.targets) == 0:
		out.Class, out.Circle = pipeline.NoSuch, w.circle
	case w.class == pipeline.Relayed && !mayRelay && (!w.relayed || routed(addr)):
		out.Class = pipeline.RelayDeny
	}
	out.Exempt = (out.Class == pipeline.Local || out.Class == pipeline.Alias) && exempt(addr)
	return out, nil
}

// Account finds the account that a mailbox's address has now, 0 if it has none:
// accounts are removed, and made anew, while mail waits for them.
func (r *Router) Account(ctx context.Context, mailbox smtp.Address) (int64, error) {
	res, err := r.directory.Lookup(ctx, mailbox.Local, mailbox.Domain)
	if err != nil {
		return 0, fmt.Errorf("route: look up %s: %w", mailbox, err)
	}
	if res.User == nil || res.StandIn {
		return 0, nil
	}
	return res.User.ID, nil
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

// domain is a domain as tables have it: A-labels in lower case, without the dot
// at the end.
func canonical(domain string) string {
	domain = strings.ToLower(strings.TrimSuffix(domain, "."))
	if (smtp.Address{Domain: domain}).ASCII() {
		return domain
	}
	ascii, err := idna.Lookup.ToASCII(domain)
	if err != nil {
		return domain
	}
	return ascii
}

// Split takes the detail off a local-part; it is "" if there is none.
func (r *Router) Split(local string) (base, detail string) {
	base, detail, _ = lookup.SplitDetail(local, r.config.Load().Separator)
	return base, detail
}

// literal reports whether a domain is an address literal of this machine.
func (c *Config) literal(domain string) bool {
	a, ok := smtp.ParseLiteral(domain)
	return ok && c.Ours != nil && c.Ours(a.Unmap())
}

// isLocal reports whether a domain's names are the local ones: it is of
// mydestination, or the machine's address.
func (c *Config) isLocal(ctx context.Context, domain string) (bool, error) {
	if c.literal(domain) {
		return true, nil
	}
	return c.Destination.Has(ctx, domain)
}
