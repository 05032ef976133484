package milter

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	gomilter "github.com/emersion/go-milter"

	"mtad/message"
	"mtad/milterd/wire"
	"mtad/pipeline"
)

// stageNames are what the configuration calls the stages that have macros.
var stageNames = map[string]gomilter.Stage{
	"connect": gomilter.StageConnect,
	"helo":    gomilter.StageHelo,
	"mail":    gomilter.StageMailFrom,
	"rcpt":    gomilter.StageRcptTo,
	"data":    gomilter.StageData,
	"eoh":     gomilter.StageEOH,
	"eom":     gomilter.StageEOM,
}

// usual are the macros sent where neither the configuration nor the milter says
// which: Postfix's, those that Sendmail sends by default, and those that
// spamass-milter builds its Received field from. A milter sees those of earlier
// stages too.
var usual = map[gomilter.Stage][]string{
	gomilter.StageConnect:  wire.MacroNames("j _ v Z {daemon_name} {daemon_addr} {daemon_port} {if_name} {if_addr} {client_addr} {client_name} {client_port} {client_ptr} {client_resolve}"),
	gomilter.StageHelo:     wire.MacroNames("s r {tls_version} {cipher} {cipher_bits} {cert_subject} {cert_issuer} {verify}"),
	gomilter.StageMailFrom: wire.MacroNames("i b {auth_type} {auth_authen} {auth_author} {mail_addr} {mail_host} {mail_mailer}"),
	gomilter.StageRcptTo:   wire.MacroNames("i {rcpt_addr} {rcpt_host} {rcpt_mailer}"),
	gomilter.StageData:     wire.MacroNames("i {nrcpts}"),
	gomilter.StageEOH:      wire.MacroNames("i"),
	gomilter.StageEOM:      wire.MacroNames("i {msg_id}"),
}

// macroLists reads the option macros.
func macroLists(m map[string]string) (map[gomilter.Stage][]string, error) {
	out := map[gomilter.Stage][]string{}
	for name, list := range m {
		stage, ok := stageNames[name]
		if !ok {
			return nil, fmt.Errorf("%q is no stage: stages are connect, helo, mail, rcpt, data, eoh, eom", name)
		}
		out[stage] = wire.MacroNames(list)
	}
	return out, nil
}

// defined is the option define, with the braces that names may lack there.
func defined(m map[string]string) map[string]string {
	out := make(map[string]string, len(m))
	for name, value := range m {
		for _, n := range wire.MacroNames(name) {
			out[n] = value
		}
	}
	return out
}

// about is what the macros of an event are taken from.
type about struct {
	v    *pipeline.View
	rcpt pipeline.Recipient
}

// macrosOf says what the macros of the next events are about.
func (s *session) macrosOf(v *pipeline.View, r pipeline.Recipient) { s.about = about{v, r} }

// putMacros adds the packet with an event's macros, if there are any.
func (s *session) putMacros(stage gomilter.Stage, code gomilter.Code) {
	if stage == wire.NoMacros {
		return
	}
	names := usual[stage]
	if asked := s.link.Macros[stage]; asked != nil {
		names = asked
	}
	if configured, ok := s.f.macros[stage]; ok {
		names = configured
	}
	l := s.link
	start := l.begin(gomilter.CodeMacro)
	l.out = append(l.out, byte(code))
	empty := len(l.out)
	for _, n := range names {
		if value, ok := s.macro(n); ok {
			l.out = appendText(appendText(l.out, n), value)
		}
	}
	if len(l.out) == empty || len(l.out)-empty >= l.Limit {
		l.out = l.out[:start]
		return
	}
	l.end(start)
}

func (s *session) macro(name string) (string, bool) {
	if v, ok := s.f.defined[name]; ok {
		return v, true
	}
	if name == "{daemon_name}" && s.f.DaemonName != "" {
		return s.f.DaemonName, true
	}
	get := macros[name]
	if get == nil {
		return "", false
	}
	v := get(s.about)
	return v, v != ""
}

// macros are the values, "" where there is none.
var macros = map[string]func(about) string{
	"j":                func(a about) string { return a.v.Client().Hostname },
	"{daemon_name}":    func(a about) string { return a.v.Client().Hostname },
	"{daemon_addr}":    func(a about) string { return literal(a.v.Client().Local.Addr()) },
	"{daemon_port}":    func(a about) string { return portOf(a.v.Client().Local) },
	"{if_name}":        func(a about) string { return a.v.Client().Hostname },
	"{if_addr}":        func(a about) string { return literal(a.v.Client().Local.Addr()) },
	"v":                func(about) string { return "mtad" },
	"Z":                func(about) string { return "mtad" },
	"_":                origin,
	"{client_addr}":    func(a about) string { _, addr, _ := clientOf(a.v); return literal(addr) },
	"{client_name}":    func(a about) string { name, _, _ := clientOf(a.v); return name },
	"{client_port}":    func(a about) string { _, _, port := clientOf(a.v); return strconv.Itoa(int(port)) },
	"{client_ptr}":     func(a about) string { return reverseOf(a.v) },
	"{client_resolve}": resolved,
	"s":                func(a about) string { return heloOf(a.v) },
	"r":                protocol,
	"{tls_version}":    func(a about) string { return tlsOf(a).Version },
	"{cipher}":         func(a about) string { return tlsOf(a).Cipher },
	"{cipher_bits}":    func(a about) string { return number(tlsOf(a).Bits) },
	"{cert_subject}":   func(a about) string { return tlsOf(a).PeerSubject },
	"{cert_issuer}":    func(a about) string { return tlsOf(a).PeerIssuer },
	"{verify}":         verified,
	"{auth_type}":      func(a about) string { return loginOf(a).Mechanism },
	"{auth_authen}":    func(a about) string { return loginOf(a).User },
	"{auth_author}":    author,
	"i":                id,
	"b":                func(a about) string { return a.v.Time().Format(message.DateFormat) },
	"{mail_addr}":      func(a about) string { return a.v.Sender().String() },
	"{mail_host}":      func(a about) string { return a.v.Sender().Domain },
	"{mail_mailer}":    func(about) string { return "smtp" },
	"{rcpt_addr}":      func(a about) string { return refusalOr(a, "User unknown", a.rcpt.Addr.String()) },
	"{rcpt_host}":      func(a about) string { return refusalOr(a, "5.1.1", a.rcpt.Addr.Domain) },
	"{rcpt_mailer}":    mailer,
	"{nrcpts}":         func(a about) string { return number(len(a.v.Rcpts())) },
	"{msg_id}":         messageID,
}

// clientOf is the client; mail that was made here comes from localhost, as with
// Postfix's non_smtpd_milters.
func clientOf(v *pipeline.View) (name string, addr netip.Addr, port uint16) {
	c := v.Client()
	if !c.Addr.IsValid() {
		return "localhost", netip.AddrFrom4([4]byte{127, 0, 0, 1}), 0
	}
	if name = c.Name; name == "" {
		name = "unknown"
	}
	return name, c.Addr.Addr().Unmap().WithZone(""), c.Addr.Port()
}

func reverseOf(v *pipeline.View) string {
	switch c := v.Client(); {
	case !c.Addr.IsValid():
		return "localhost"
	case c.Reverse != "":
		return c.Reverse
	}
	return "unknown"
}

// heloOf is the client's name for itself, "" if it gave none.
func heloOf(v *pipeline.View) string {
	if c := v.Client(); c.Helo != "" || c.Addr.IsValid() {
		return c.Helo
	}
	return "localhost"
}

// literal is an address as it stands in an address literal (RFC 5321, 4.1.3).
func literal(a netip.Addr) string {
	switch a = a.Unmap().WithZone(""); {
	case a.Is4():
		return a.String()
	case a.Is6():
		return "IPv6:" + a.String()
	}
	return ""
}

func portOf(a netip.AddrPort) string {
	if !a.IsValid() {
		return ""
	}
	return strconv.Itoa(int(a.Port()))
}

func number(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}

// origin is the client's name and address.
func origin(a about) string {
	name, addr, _ := clientOf(a.v)
	reverse := reverseOf(a.v)
	s := reverse + " [" + addr.String() + "]"
	if !strings.EqualFold(name, reverse) {
		s += " (may be forged)"
	}
	return s
}

// resolved says how the client's name was come by, in Sendmail's words.
func resolved(a about) string {
	switch c := a.v.Client(); {
	case c.NameTemp:
		return "TEMP"
	case !c.Addr.IsValid() || c.Name != "":
		return "OK"
	case c.Reverse != "":
		return "FORGED"
	}
	return "FAIL"
}

// protocol is the "with" keyword (RFC 3848).
func protocol(a about) string {
	c := a.v.Client()
	if !c.ESMTP && c.Addr.IsValid() {
		return "SMTP"
	}
	p := "ESMTP"
	if c.TLS != nil {
		p += "S"
	}
	if c.Auth != nil {
		p += "A"
	}
	return p
}

func tlsOf(a about) pipeline.TLS {
	if t := a.v.Client().TLS; t != nil {
		return *t
	}
	return pipeline.TLS{}
}

// verified is what became of the client's certificate, in Sendmail's words.
func verified(a about) string {
	switch t := tlsOf(a); {
	case t.Version == "":
		return ""
	case t.Verified:
		return "OK"
	case t.PeerSubject != "":
		return "FAIL"
	}
	return "NO"
}

func loginOf(a about) pipeline.Login {
	if l := a.v.Client().Auth; l != nil {
		return *l
	}
	return pipeline.Login{}
}

// author is who the client says the mail is from: AUTH= (RFC 4954, 5).
func author(a about) string {
	if p := a.v.SenderParams().Auth; p != nil {
		return *p
	}
	return ""
}

func id(a about) string {
	if id := a.v.ID(); id != 0 {
		return id.String()
	}
	return ""
}

// refusalOr is what Sendmail has in a macro of a recipient whom it refuses.
func refusalOr(a about, refused, other string) string {
	if a.refused() {
		return refused
	}
	return other
}

func (a about) refused() bool {
	return a.rcpt.Class == pipeline.NoSuch || a.rcpt.Class == pipeline.RelayDeny
}

// mailer is the way that a recipient's mail goes, in Sendmail's words.
func mailer(a about) string {
	switch a.rcpt.Class {
	case pipeline.Local, pipeline.Alias:
		return "local"
	case pipeline.NoSuch, pipeline.RelayDeny:
		return "error"
	}
	return "smtp"
}

func messageID(a about) string {
	m := a.v.Message()
	if m == nil {
		return ""
	}
	v, _ := m.Header().Get("Message-ID")
	return v
}
