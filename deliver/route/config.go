package route

import (
	"context"
	"net/netip"
	"strings"

	"mtad/aliases"
	"mtad/deliver/relay"
	"mtad/lookup"
)

// Config is the part of the configuration that says where mail goes. It is
// replaced whole on reload, and not changed.
type Config struct {
	Hostname     string
	Origin       string // myorigin: of addresses without a domain
	Separator    string // recipient_delimiter: each character is one; "" none
	Destination  Domains
	RelayDomains Domains
	Ours         func(netip.Addr) bool // whether an address is this machine's; nil: none is

	VirtualAliases        lookup.Tables // virtual_alias_maps
	VirtualAliasDomains   Domains
	VirtualMailboxes      lookup.Tables // virtual_mailbox_maps
	VirtualMailboxDomains Domains
	RelayRecipients       lookup.Tables // relay_recipient_maps; none: every address of a relay domain is taken
	Relocated             lookup.Tables // relocated_maps

	Aliases    []AliasSource // in order; nil stands for the directory's
	System     System        // users of the system; nil: there are none
	Mailbox    SystemMailbox
	LuserRelay string // who gets mail for local names that are nobody's

	Relay            *relay.Client
	Routes           []Named
	Transports       lookup.Tables // transport_maps
	SenderTransports lookup.Tables // sender_dependent_default_transport_maps
	SenderRelayhosts lookup.Tables // sender_dependent_relayhost_maps
	Passwords        lookup.Tables // smtp_sasl_password_maps
	SenderPasswords  bool          // smtp_sender_dependent_authentication: Passwords is asked for senders first
	Relayhost        string        // a route's name, or a nexthop
	DefaultTransport string        // "" is smtp
	RelayTransport   string        // of relay_domains; "" is smtp
	VirtualTransport string        // of virtual_mailbox_domains; "" is smtp
}

// Named is a way with a name, from a route block.
type Named struct {
	Name string
	Way  Way
}

// AliasSource is one of the places that aliases are looked for in.
type AliasSource interface {
	// Alias finds the targets of a local name.
	Alias(ctx context.Context, name string) (List, bool, error)
	String() string
	Close() error
}

// List is where an alias leads.
type List struct {
	Targets []aliases.Target
	// User is whom programs and files in the list are run and written as: the
	// owner of the file. "" is nobody in particular (default_privs).
	User string
}

// System is what is asked about users of the system.
type System interface {
	// User finds a user that mail can be delivered as, and the home directory.
	User(name string) (home string, ok bool, err error)
	// Forward reads the file ".forward", or that with an extension, of a user.
	// reason says why a file that is there is not to be used.
	Forward(ctx context.Context, user, file string) (text []byte, ok bool, reason string, err error)
}

// SystemMailbox says where users of the system have their mail: in the first of
// these that is set.
type SystemMailbox struct {
	Command string // mailbox_command
	Home    string // home_mailbox: below the home directory; a Maildir if it ends in a slash
	Spool   string // mail_spool_directory
}

// Domains is a list of domains: names, ".parent" for every subdomain, and tables.
type Domains struct {
	Names  []string // in lower case
	Tables lookup.Tables
}

// Has reports whether a domain, in lower case, is in the list.
func (d *Domains) Has(ctx context.Context, domain string) (bool, error) {
	for _, n := range d.Names {
		if n == domain || strings.HasPrefix(n, ".") && len(domain) > len(n) && strings.HasSuffix(domain, n) {
			return true, nil
		}
	}
	if len(d.Tables) == 0 {
		return false, nil
	}
	_, _, ok, err := d.Tables.Find(ctx, domain)
	return ok, err
}
