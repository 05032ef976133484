package routes

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/netip"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	"mtad/config"
	"mtad/deliver/relay"
	"mtad/deliver/route"
	"mtad/lookup"
	"mtad/smtp"
)

// Check finds, without opening anything, values that mean nothing, or that would
// silently never match.
func (s *Settings) Check(root config.Block, routes []route.Named, diags *config.Diagnostics) {
	var names []string
	for _, r := range routes {
		names = append(names, r.Name)
	}
	for _, l := range []struct {
		name string
		src  config.Source
	}{{"mydestination", s.Destination}, {"relay_domains", s.RelayDomains}, {"virtual_alias_domains", s.VirtualDomains}, {"virtual_mailbox_domains", s.MailboxDomains}} {
		for _, d := range l.src.Values() {
			if !DomainOrParent(d) {
				diags.Add(root.Errorf(l.name, "%q is no domain name, nor one behind a dot", d))
			}
		}
		if l.src.Uses(config.LookupStore) && l.name != "mydestination" {
			diags.Add(root.Errorf(l.name, "store() has no such list; the domains of `mtad domain` are known anyway"))
		}
	}
	tables := s.tables()
	for _, name := range slices.Sorted(maps.Keys(tables)) {
		src := tables[name]
		for _, v := range src.Values() {
			diags.Add(root.Errorf(name, "%q is no table: want \"file:PATH\", or another of %s", v, strings.Join(lookup.Types(), ", ")))
		}
		if src.Uses(config.LookupStore) && name != "aliases" {
			diags.Add(root.Errorf(name, "store() has no such table; want \"file:PATH\", say"))
		}
	}
	for name, value := range map[string]string{
		"relayhost": s.Relayhost, "default_transport": s.DefaultTransport, "relay_transport": s.RelayTransport, "virtual_transport": s.VirtualTransport,
	} {
		switch err := route.CheckTransport(value, names); {
		case value == "" || err == nil:
		case errors.Is(err, route.ErrPort):
			diags.Add(root.Errorf(name, "%v: want a number from 1 to 65535, or a service's name", err))
		default:
			diags.Add(root.Unknown(name, "route", value, names))
		}
	}
	s.checkWritten(root, names, diags)
	if s.DefaultPrivs == "root" || s.DefaultPrivs == "0" {
		diags.Add(root.Errorf("default_privs", "%q: name a user other than root, who runs no programs of aliases", s.DefaultPrivs))
	}
	if s.LuserRelay != "" {
		if _, err := smtp.ParseAddress(strings.NewReplacer("$", "").Replace(s.LuserRelay)); err != nil {
			diags.Add(root.Errorf("luser_relay", "%q is no address", s.LuserRelay))
		}
		os.Expand(s.LuserRelay, func(v string) string {
			if !slices.Contains(luserNames, v) {
				diags.Add(root.Errorf("luser_relay", "there is no $%s; there are $%s", v, strings.Join(luserNames, ", $")))
			}
			return ""
		})
	}
	for _, i := range s.Interfaces {
		if _, err := netip.ParseAddr(strings.Trim(i, "[]")); err != nil && i != "all" && i != "loopback-only" {
			diags.Add(root.Errorf("inet_interfaces", "%q is no address: want \"all\", \"loopback-only\", or \"192.0.2.1\"", i))
		}
	}
	if path.IsAbs(s.HomeMailbox) || strings.HasPrefix(path.Clean(s.HomeMailbox), "..") {
		diags.Add(root.Errorf("home_mailbox", "%q must be below the home directory: \"Maildir/\", say", s.HomeMailbox))
	}
}

// luserNames may stand in luser_relay.
var luserNames = []string{"user", "extension", "local", "domain", "recipient"}

// checkWritten finds ways, in tables that are written out, that do not exist: mail for
// them would wait.
func (s *Settings) checkWritten(root config.Block, names []string, diags *config.Diagnostics) {
	for name, src := range map[string]config.Source{"transport_maps": s.Transports, "sender_dependent_default_transport_maps": s.SenderTransports} {
		for _, table := range src.Tables() {
			written := lookup.Inline(table)
			for _, key := range slices.Sorted(maps.Keys(written)) {
				v := written[key]
				switch err := route.CheckTransport(v, names); {
				case v == "DUNNO" || err == nil:
				case errors.Is(err, route.ErrPort):
					diags.Add(root.Errorf(name, "%s: %v", key, err))
				default:
					transport, _, _ := strings.Cut(v, ":")
					diags.Add(root.Errorf(name, "%s: there is no transport %q: there are smtp, relay, lmtp, discard, error, retry and the route blocks", key, transport))
				}
			}
		}
	}
}

// tables are the sources that are tables alone.
func (s *Settings) tables() map[string]config.Source {
	return map[string]config.Source{
		"relay_recipient_maps": s.RelayRecipients, "virtual_alias_maps": s.VirtualAliases, "virtual_mailbox_maps": s.VirtualMailboxes,
		"relocated_maps": s.Relocated, "aliases": s.Aliases, "transport_maps": s.Transports,
		"sender_dependent_default_transport_maps": s.SenderTransports, "sender_dependent_relayhost_maps": s.SenderRelayhosts,
		"smtp_sasl_password_maps": s.Passwords,
	}
}

// Tables are the names of the tables of each setting that may have some.
func (s *Settings) Tables() map[string][]string {
	out := map[string][]string{
		"mydestination": s.Destination.Tables(), "relay_domains": s.RelayDomains.Tables(), "mynetworks": s.Networks.Tables(),
		"virtual_alias_domains": s.VirtualDomains.Tables(), "virtual_mailbox_domains": s.MailboxDomains.Tables(),
	}
	for name, src := range s.tables() {
		out[name] = src.Tables()
	}
	return out
}

// Listen puts inet_interfaces in the place of hosts that addresses lack.
func (s *Settings) Listen(addrs []string) []string {
	if slices.Contains(s.Interfaces, "all") || len(s.Interfaces) == 0 {
		return addrs
	}
	var out []string
	for _, a := range addrs {
		host, port, err := net.SplitHostPort(a)
		if err != nil || host != "" {
			out = append(out, a)
			continue
		}
		for _, i := range s.Interfaces {
			hosts := []string{strings.Trim(i, "[]")}
			if i == "loopback-only" {
				hosts = []string{"127.0.0.1", "::1"}
			}
			for _, h := range hosts {
				out = append(out, net.JoinHostPort(h, port))
			}
		}
	}
	return out
}

// DomainOrParent reports whether s is a domain, one behind a dot, or an address
// literal.
func DomainOrParent(s string) bool {
	_, literal := smtp.ParseLiteral(s)
	return literal || smtp.ValidDomain(strings.TrimPrefix(s, "."))
}

// Read reads the route blocks.
func Read(root config.Block, diags *config.Diagnostics) (out []route.Named) {
	for _, b := range root.Blocks("route") {
		var s RouteSettings
		if err := b.Decode(&s); err != nil {
			diags.Add(err)
			continue
		}
		s.check(b, diags)
		out = append(out, route.Named{Name: b.Name(), Way: s.way(b.Name())})
	}
	return out
}

// check finds what a protocol lacks, and options that mean nothing to it.
func (s *RouteSettings) check(b config.Block, diags *config.Diagnostics) {
	if route.CheckTransport(b.Name(), nil) == nil {
		diags.Add(b.Errorf("", "a route can not be named %q: that is a transport of its own", b.Name()))
	}
	host := s.Protocol == "smtp" || s.Protocol == "lmtp"
	switch {
	case host && len(s.To) == 0:
		diags.Add(b.Errorf("to", "to is required: the hosts to try, host:port"))
	case !host && len(s.To) > 0:
		diags.Add(b.Errorf("to", "to means nothing for protocol = %q", s.Protocol))
	case s.Protocol == "pipe" && len(s.Command) == 0:
		diags.Add(b.Errorf("command", "command is required: the program and its arguments"))
	case s.Protocol == "pipe" && !path.IsAbs(s.Command[0]):
		diags.Add(b.Errorf("command", "%q: the program's path must be absolute", s.Command[0]))
	case s.Protocol != "pipe" && len(s.Command) > 0:
		diags.Add(b.Errorf("command", "command means nothing for protocol = %q", s.Protocol))
	case (s.Protocol == "maildir" || s.Protocol == "mbox") && !path.IsAbs(s.Path):
		diags.Add(b.Errorf("path", "path is required, and must be absolute: \"/srv/mail/$domain/$user/\", say"))
	}
	s.checkLocal(b, diags)
	for _, to := range s.To {
		unix := s.Protocol == "lmtp" && strings.HasPrefix(to, "unix:/")
		if !unix && !HostPort(to) {
			diags.Add(b.Errorf("to", "%q is not host:port", to))
		}
	}
}

func (s *RouteSettings) way(name string) route.Way {
	security := relay.Security(s.Security)
	if security == "opportunistic" {
		security = relay.Opportunistic
	}
	return route.Way{
		Via: route.Via(s.Protocol), Text: name,
		Route: relay.Route{Name: name, Hosts: s.To, LMTP: s.Protocol == "lmtp", Security: security, Username: s.Username, Password: string(s.Password)},
		Local: route.Local{Name: name, Command: s.Command, Path: s.Path, User: s.User, Timeout: s.Timeout, Single: s.Single, Flags: s.Flags},
	}
}

// HostPort reports whether s is host:port, the host perhaps empty.
func HostPort(s string) bool {
	_, port, err := net.SplitHostPort(s)
	if err != nil {
		return false
	}
	_, err = strconv.ParseUint(port, 10, 16)
	return err == nil
}

// Opened is the router's configuration, and the tables that it asks.
type Opened struct {
	route.Config
	closers []io.Closer
}

// Close closes the tables, when the configuration is not in use any more.
func (o *Opened) Close() error {
	var errs []error
	for _, c := range o.closers {
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}

// Open opens the tables that the settings name. What does not come from them the
// caller fills in.
func (s *Settings) Open(root config.Block, o lookup.Options) (*Opened, error) {
	out := &Opened{}
	var errs []error
	open := func(name string, src config.Source) lookup.Tables {
		ts, err := lookup.OpenAll(src.Tables(), o)
		if err != nil {
			errs = append(errs, root.Errorf(name, "%v", err))
		}
		out.closers = append(out.closers, ts)
		return ts
	}
	domains := func(name string, src config.Source) route.Domains {
		d := route.Domains{Tables: open(name, src)}
		for _, v := range src.Values() {
			d.Names = append(d.Names, strings.ToLower(v))
		}
		return d
	}
	out.Config = route.Config{
		Origin: strings.ToLower(s.Origin), Separator: separator(s.Delimiter),
		Destination: domains("mydestination", s.Destination), RelayDomains: domains("relay_domains", s.RelayDomains),
		VirtualAliases: open("virtual_alias_maps", s.VirtualAliases), VirtualAliasDomains: domains("virtual_alias_domains", s.VirtualDomains),
		VirtualMailboxes: open("virtual_mailbox_maps", s.VirtualMailboxes), VirtualMailboxDomains: domains("virtual_mailbox_domains", s.MailboxDomains),
		RelayRecipients: open("relay_recipient_maps", s.RelayRecipients), Relocated: open("relocated_maps", s.Relocated),
		Mailbox:    route.SystemMailbox{Command: s.MailboxCommand, Home: s.HomeMailbox, Spool: s.MailSpool},
		LuserRelay: s.LuserRelay,
		Transports: open("transport_maps", s.Transports), SenderTransports: open("sender_dependent_default_transport_maps", s.SenderTransports),
		SenderRelayhosts: open("sender_dependent_relayhost_maps", s.SenderRelayhosts), Passwords: open("smtp_sasl_password_maps", s.Passwords),
		SenderPasswords: s.SenderPasswords, Relayhost: s.Relayhost,
		DefaultTransport: s.DefaultTransport, RelayTransport: s.RelayTransport, VirtualTransport: s.VirtualTransport,
	}
	for _, l := range s.Aliases {
		if l.Kind == config.LookupStore {
			out.Aliases = append(out.Aliases, nil)
			continue
		}
		a, err := route.OpenAliases(l.Text, o)
		if err != nil {
			errs = append(errs, root.Errorf("aliases", "%v", err))
			continue
		}
		out.Aliases, out.closers = append(out.Aliases, a), append(out.closers, a)
	}
	if len(errs) > 0 {
		return nil, errors.Join(append(errs, out.Close())...)
	}
	return out, nil
}

// separator is recipient_delimiter as the router has it: "-" alone once meant
// none, and does so still.
func separator(s string) string {
	if s == "-" {
		return ""
	}
	return s
}

// Networks are the clients that may send anywhere.
type Networks struct {
	prefixes []netip.Prefix
	tables   lookup.Tables
}

// Has reports whether an address is in the networks.
func (n *Networks) Has(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	if slices.ContainsFunc(n.prefixes, func(p netip.Prefix) bool { return p.Contains(a) }) {
		return true
	}
	_, _, ok, err := n.tables.Find(context.Background(), a.String())
	return ok && err == nil // cidr: tables do not fail
}

// OpenNetworks reads mynetworks, or makes it by mynetworks_style.
func (s *Settings) OpenNetworks(root config.Block) (*Networks, error) {
	out := &Networks{}
	var err error
	if !root.Has("mynetworks") {
		out.prefixes, err = style(s.NetworksStyle)
		return out, err
	}
	for _, n := range s.Networks.Values() {
		p, err := lookup.ParseNetwork(n)
		if err != nil {
			return nil, root.Errorf("mynetworks", "%v", err)
		}
		out.prefixes = append(out.prefixes, p)
	}
	for _, t := range s.Networks.Tables() {
		if !strings.HasPrefix(t, "cidr:") {
			return nil, root.Errorf("mynetworks", "%s: only cidr: tables have networks", t)
		}
	}
	if out.tables, err = lookup.OpenAll(s.Networks.Tables(), lookup.Options{}); err != nil {
		return nil, root.Errorf("mynetworks", "%v", err)
	}
	return out, nil
}

// style makes networks of this machine's addresses (postconf(5),
// mynetworks_style). Link-local ones are always hosts.
func style(name string) ([]netip.Prefix, error) {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return nil, fmt.Errorf("mynetworks_style: %w", err)
	}
	out := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
	for _, ia := range addrs {
		p, err := netip.ParsePrefix(ia.String())
		if err != nil || p.Addr().IsLoopback() {
			continue
		}
		out = append(out, styled(name, p))
	}
	return out, nil
}

func styled(name string, p netip.Prefix) netip.Prefix {
	a := p.Addr()
	host := netip.PrefixFrom(a, a.BitLen())
	switch {
	case a.IsLinkLocalUnicast() || name == "host":
		return host
	case name == "subnet" || !a.Is4():
		return p.Masked()
	}
	bits := 24
	switch b := a.As4()[0]; {
	case b < 128:
		bits = 8
	case b < 192:
		bits = 16
	}
	return netip.PrefixFrom(a, bits).Masked()
}
