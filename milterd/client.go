package milterd

import (
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	gomilter "github.com/emersion/go-milter"

	"mtad/message"
	"mtad/milterd/wire"
	"mtad/pipeline"
)

// connect begins an SMTP session.
func (s *session) connect(ctx context.Context) error {
	name, addr, err := parseClient(s.data)
	if err != nil {
		return err
	}
	if s.flow != nil {
		return fmt.Errorf("%w: CONNECT in a session", wire.ErrProtocol)
	}
	s.flow = s.pipeline.Open(s.client(name, addr))
	s.flow.Record(pipeline.Event{Kind: pipeline.EventSession, Host: addr.String(), Note: "connected to " + s.flow.Client().Hostname + ", which asks " + s.srv.cfg.Name})
	fate := s.run(ctx, pipeline.Connect)
	s.flow.Settle(pipeline.Connect)
	return s.answer(gomilter.CodeConn, fate)
}

// parseClient reads the data of CONNECT: a host name and a NUL, a family, a port,
// an address and a NUL.
func parseClient(data []byte) (name string, addr netip.AddrPort, err error) {
	name, rest, ok := strings.Cut(string(data), "\x00")
	if !ok || rest == "" {
		return "", addr, fmt.Errorf("%w: CONNECT without a family", wire.ErrProtocol)
	}
	family, rest := gomilter.ProtoFamily(rest[0]), rest[1:]
	if family != gomilter.FamilyInet && family != gomilter.FamilyInet6 {
		return name, addr, nil // a Unix socket, or unknown
	}
	if len(rest) < 2 {
		return "", addr, fmt.Errorf("%w: CONNECT without a port", wire.ErrProtocol)
	}
	port := binary.BigEndian.Uint16([]byte(rest[:2]))
	literal := strings.TrimSuffix(rest[2:], "\x00")
	if len(literal) > 5 && strings.EqualFold(literal[:5], "IPv6:") {
		literal = literal[5:]
	}
	a, perr := netip.ParseAddr(literal)
	if perr != nil {
		return "", addr, fmt.Errorf("%w: CONNECT from %q", wire.ErrProtocol, cut(literal))
	}
	return name, netip.AddrPortFrom(a.Unmap().WithZone(""), port), nil
}

// client is what the mail server says of its client.
func (s *session) client(name string, addr netip.AddrPort) pipeline.Client {
	c := pipeline.Client{
		Session: message.NewID(s.srv.cfg.Now()).String(), Listener: s.srv.cfg.Name, Protocol: "smtp",
		Hostname: s.macro("j"), Addr: addr, Local: s.local(),
		Name: known(name), Reverse: known(s.macro("{client_ptr}")),
	}
	if c.Hostname == "" {
		c.Hostname = s.srv.cfg.Hostname
	}
	switch s.macro("{client_resolve}") {
	case "TEMP":
		c.NameTemp, c.Name = true, ""
	case "FORGED":
		c.Reverse, c.Name = known(name), ""
	case "FAIL":
		c.Name = ""
	}
	if c.Reverse == "" {
		c.Reverse = c.Name
	}
	if !addr.IsValid() {
		c.Protocol = "local"
	}
	c.Trusted = addr.IsValid() && s.srv.cfg.Trusted != nil && s.srv.cfg.Trusted(addr.Addr())
	return c
}

// known is a host name; "" where the mail server has only a word or an address
// in its place.
func known(name string) string {
	if name == "unknown" || strings.HasPrefix(name, "[") {
		return ""
	}
	return strings.TrimSuffix(name, ".")
}

// local is the mail server's end of the client's connection.
func (s *session) local() netip.AddrPort {
	for _, m := range []string{"{daemon_addr}", "{if_addr}"} {
		text := s.macro(m)
		if len(text) > 5 && strings.EqualFold(text[:5], "IPv6:") {
			text = text[5:]
		}
		if a, err := netip.ParseAddr(text); err == nil {
			port, _ := strconv.ParseUint(s.macro("{daemon_port}"), 10, 16)
			return netip.AddrPortFrom(a.Unmap(), uint16(port))
		}
	}
	return netip.AddrPort{}
}

// helo takes the client's name for itself. A session that is encrypted since the
// last begins anew.
func (s *session) helo(ctx context.Context) error {
	if err := s.inSession("HELO"); err != nil {
		return err
	}
	name := s.texts()[0]
	tls := s.tls()
	if was := s.flow.Client().TLS; tls != nil && (was == nil || *was != *tls) {
		s.flow.Forget()
	}
	s.flow.SetClient(func(c *pipeline.Client) {
		c.Helo, c.TLS, c.ESMTP = name, tls, s.extended()
	})
	s.flow.Record(pipeline.Event{Kind: pipeline.EventSession, Note: "HELO " + name})
	fate := s.run(ctx, pipeline.Helo)
	s.flow.Settle(pipeline.Helo)
	return s.answer(gomilter.CodeHelo, fate)
}

func (s *session) inSession(what string) error {
	if s.flow == nil {
		return fmt.Errorf("%w: %s before CONNECT", wire.ErrProtocol, what)
	}
	return nil
}

// extended reports whether the client said EHLO; where the mail server does not
// tell, it did, as nearly all do.
func (s *session) extended() bool { return !strings.EqualFold(s.macro("r"), "SMTP") }

// tls is what the macros say of the encryption, nil for none.
func (s *session) tls() *pipeline.TLS {
	version := s.macro("{tls_version}")
	if version == "" {
		return nil
	}
	bits, err := strconv.Atoi(s.macro("{cipher_bits}"))
	if err != nil {
		bits = 0
	}
	return &pipeline.TLS{
		Version: version, Cipher: s.macro("{cipher}"), Bits: bits,
		PeerSubject: s.macro("{cert_subject}"), PeerIssuer: s.macro("{cert_issuer}"), Verified: s.macro("{verify}") == "OK",
	}
}

// login runs the stage Auth when the mail server says that the client has logged
// in since.
func (s *session) login(ctx context.Context) pipeline.Fate {
	mech, user := s.macro("{auth_type}"), s.macro("{auth_authen}")
	was := s.flow.Client().Auth
	if user == "" || was != nil && was.User == user && was.Mechanism == mech {
		return pipeline.Fate{}
	}
	s.flow.SetClient(func(c *pipeline.Client) { c.Auth = &pipeline.Login{Mechanism: mech, User: user} })
	fate := s.run(ctx, pipeline.Auth)
	s.flow.Settle(pipeline.Auth)
	s.flow.Record(pipeline.Event{Kind: pipeline.EventSession, Note: "logged in as " + user + " by " + mech})
	return fate
}

func cut(s string) string {
	if len(s) > 80 {
		return s[:80] + "..."
	}
	return s
}
