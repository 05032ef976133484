package relay

import (
	"net/netip"
	"strings"

	"mtad/spam/conf"
	"mtad/spam/mail"
)

// Networks are what the configuration knows of servers.
type Networks struct {
	Trusted, Internal, MSA *conf.Nets
	// Origins are fields that name the address a message came from (originating_ip_headers).
	Origins []string
}

// Parse reads the way of a message.
func Parse(m *mail.Message, n Networks) *Path {
	w := newWalk(n)
	for _, f := range m.Fields {
		if strings.EqualFold(f.Name, "Received") {
			w.line(f.Value)
		}
	}
	for _, name := range n.Origins {
		if address := firstIP(m.Header(name)); address != "" {
			w.line("from X-Originating-IP: " + address)
		}
	}
	return w.path
}

// walk follows the way of a message while its relays can be trusted.
type walk struct {
	Networks
	path *Path
	// configured: a file says what can be trusted; else it is inferred.
	configured             bool
	trusted, internal, msa bool
	outside                bool   // a relay was seen that is not trusted
	scanner                string // reverse-path of the next field's hop
}

func newWalk(n Networks) *walk {
	w := &walk{Networks: n, path: &Path{LastTrusted: -1, LastInternal: -1}, trusted: true, internal: true}
	t, i := n.Trusted != nil && n.Trusted.Configured, n.Internal != nil && n.Internal.Configured
	w.configured = t || i
	switch {
	case t && !i:
		w.Internal = n.Trusted
	case i && !t:
		w.Trusted = n.Internal
	}
	return w
}

func (w *walk) line(text string) {
	from := w.scanner
	if truth(from) {
		w.scanner = ""
	}
	l, o := readLine(text)
	if l.steps < 0 {
		w.path.Costly++
	}
	if o != found {
		w.noRelay(l, o)
		return
	}
	r := l.relay()
	if truth(from) {
		r.EnvFrom, r.HasEnvFrom = from, true
	}
	w.judge(r)
	r.Internal = w.internal
	if w.trusted {
		w.path.Trusted = append(w.path.Trusted, r)
		w.outside = false
		w.path.LastTrusted++
	} else {
		w.path.Untrusted = append(w.path.Untrusted, r)
		w.outside = true
	}
	if w.internal {
		w.path.Internal = append(w.path.Internal, r)
		w.path.LastInternal++
	} else {
		w.path.External = append(w.path.External, r)
	}
}

// noRelay takes a field that tells of no relay. Where a program has fetched the
// message from a mailbox, its way begins anew.
func (w *walk) noRelay(l *line, o outcome) {
	if o == unknown {
		w.path.Unparseable++
	}
	if l.scanner {
		w.scanner = bare(l.parts[env])
	}
	if l.fetched && !w.outside {
		w.path.Trusted, w.path.Internal, w.path.External = nil, nil, nil
	}
	if w.trusted {
		w.path.LastTrusted++
	}
	if w.internal {
		w.path.LastInternal++
	}
}

// judge says whether relays can still be trusted behind this one. Behind a server for
// submission all can.
func (w *walk) judge(r *Relay) {
	if !w.trusted || w.msa {
		return
	}
	if !w.configured {
		if !r.Private && r.Auth == "" {
			w.trusted, w.internal = false, false
		}
		return
	}
	switch {
	case r.Auth == "" && !contains(w.Trusted, r.IP):
		w.trusted, w.internal = false, false
		return
	case r.Auth == "" && !contains(w.Internal, r.IP):
		w.internal = false
	}
	if contains(w.MSA, r.IP) {
		w.msa, r.MSA = true, true
	}
}

func contains(n *conf.Nets, address string) bool {
	if len(address) > 5 && strings.EqualFold(address[:5], "ipv6:") {
		address = address[5:]
	}
	a, err := netip.ParseAddr(address)
	return err == nil && n.Contains(a)
}
