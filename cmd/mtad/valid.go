package main

import (
	"net"
	"net/netip"
	"slices"
	"time"

	"mtad/cmd/mtad/boot"
	"mtad/cmd/mtad/logs"
	"mtad/cmd/mtad/routes"
	"mtad/config"
	"mtad/lookup"
	"mtad/smtp"
)

// checkTop finds values that a start would stumble over, or that would silently
// never match anything.
func (c *loaded) checkTop(root config.Block, diags *config.Diagnostics) {
	if p := c.top.Postmaster; p != "" {
		if _, err := smtp.ParseAddress(p); err != nil {
			diags.Add(root.Errorf("postmaster", "%q is no address: want \"alice@example.org\"", p))
		}
	}
	for _, s := range c.top.Nameservers {
		if !nameserver(s) {
			diags.Add(root.Errorf("nameservers", "%q is no address of a name server: want \"192.0.2.53\" or \"192.0.2.53:53\"", s))
		}
	}
	if h := c.top.HTTP; h != "" && !routes.HostPort(h) {
		diags.Add(root.Errorf("http", "%q is not host:port", h))
	}
	if wrong := logs.CheckTo(c.top.LogTo); wrong != "" {
		diags.Add(root.Errorf("log_to", "%s", wrong))
	}
	for _, s := range c.top.Retries {
		d, err := config.ParseDuration(s)
		if err != nil || d < time.Second {
			diags.Add(root.Errorf("retry_schedule", "%q is no time to wait: want \"30m\", say", s))
		}
		c.retries = append(c.retries, d)
	}
}

// check does so for one listener.
func (l *listener) check(b config.Block, diags *config.Diagnostics) {
	for _, a := range l.Addr {
		_, unix := boot.UnixPath(a)
		switch {
		case unix && l.Protocol != protocolMilter && l.Protocol != protocolLMTP && l.Protocol != protocolSpamd:
			diags.Add(b.Errorf("addr", "%q: only listeners with protocol = \"lmtp\", \"milter\" or \"spamd\" have sockets with a path", a))
		case !unix && !routes.HostPort(a):
			diags.Add(b.Errorf("addr", "%q is not host:port", a))
		}
	}
	switch {
	case l.Protocol == protocolMilter:
		l.checkMilter(b, diags)
	case l.Protocol == protocolLMTP && l.Submission:
		diags.Add(b.Errorf("submission", "clients of LMTP are mail servers, not users"))
	case l.Protocol == protocolLMTP && l.GreetDelay != 0:
		diags.Add(b.Errorf("greet_delay", "clients of LMTP are mail servers that you know: none is kept waiting"))
	}
	if _, err := socketMode(l.SocketMode); err != nil {
		diags.Add(b.Errorf("socket_mode", "%v", err))
	}
	for _, n := range l.XClient {
		if _, err := lookup.ParseNetwork(n); err != nil {
			diags.Add(b.Errorf("xclient", "%v", err))
		}
	}
	if l.Protocol == protocolManageSieve && l.TLS == "none" && !slices.ContainsFunc(l.Addr, loopback) {
		diags.Add(b.Errorf("tls", "nobody could log in: before TLS that is for loopback alone; set tls = \"opportunistic\""))
	}
	if l.Auth == "required" && l.TLS == "none" && l.Protocol != protocolLMTP && !slices.ContainsFunc(l.Addr, loopback) {
		diags.Add(b.Errorf("auth", "nobody could log in: before TLS that is for loopback alone; set tls = \"required\""))
	}
}

func nameserver(s string) bool {
	if _, err := netip.ParseAddr(s); err == nil {
		return true
	}
	_, err := netip.ParseAddrPort(s)
	return err == nil
}

// loopback reports whether a listener's clients are on this machine.
func loopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	a, aerr := netip.ParseAddr(host)
	return err == nil && (host == "localhost" || aerr == nil && a.IsLoopback())
}
