package imapd

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"mtad/imapd/wire"
	"mtad/internal/endpoint"
	"mtad/mailbox"
)

// state is where a session stands (RFC 3501, 3). A command's row holds the set
// of those it is allowed in.
type state uint8

const (
	notAuthenticated state = 1 << iota
	authenticated
	isSelected
	loggedOut
)

// session is one connection.
type session struct {
	server *Server
	store  *mailbox.Store
	log    *slog.Logger
	ctx    context.Context

	conn   *endpoint.Conn // below TLS
	net    net.Conn       // what is spoken over: conn, or TLS over it
	r      *wire.Reader
	w      *wire.Writer
	remote netip.AddrPort
	tls    bool

	tag      string // of the command that runs
	state    state
	account  Account
	selected *selected // in isSelected only
	bad      int       // commands in a row
	tried    Attempt   // what Config.Watch is told
	began    time.Time
}

func newSession(ctx context.Context, s *Server, c *endpoint.Conn, implicitTLS bool) *session {
	ses := &session{
		server: s, store: s.config.Mailbox, ctx: ctx, remote: c.Remote, conn: c, state: notAuthenticated,
		log: s.config.Logger.With("remote", c.Remote), began: s.config.Now(),
		tried: Attempt{Mechanism: "PLAIN", Remote: c.Remote, Local: localOf(c)},
	}
	ses.over(c)
	if implicitTLS {
		ses.tls = true
		ses.over(tls.Server(c, s.config.TLS))
	}
	return ses
}

// over makes the session speak over nc from now on.
func (s *session) over(nc net.Conn) {
	s.net = nc
	s.w = wire.NewWriter(nc, &s.server.buffers)
	s.r = wire.NewReader(nc, &s.server.buffers, wire.Limits{Skip: s.server.config.MaxMessageSize + 1<<20}, func() error {
		s.w.Raw("+ Ready for more\r\n")
		return s.w.Flush()
	})
}

// serve runs the session to its end.
func (s *session) serve() {
	defer func() { s.net.Close() }() // with TLS's farewell, after STARTTLS too
	defer s.watch()
	if s.tls && !s.handshake() {
		return
	}
	s.greet()
	for s.state != loggedOut {
		if err := s.next(); err != nil {
			s.farewell(err)
			return
		}
	}
	_ = s.w.Flush() // the last words; nothing is left to do if they are lost
}

// localOf is our end of a connection, if that has an address.
func localOf(c net.Conn) netip.AddrPort {
	a, ok := c.LocalAddr().(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	return a.AddrPort()
}

// watch tells of what logging in has come to, once.
func (s *session) watch() {
	if s.server.config.Watch == nil || s.tried.OK {
		return
	}
	s.tried.OK = s.state&(authenticated|isSelected) != 0
	if !s.tried.OK && s.tried.Failures == 0 {
		return
	}
	s.tried.TLS, s.tried.Took = s.tls, s.server.config.Now().Sub(s.began)
	s.server.config.Watch(s.tried)
}

func (s *session) handshake() bool {
	if err := endpoint.Handshake(s.ctx, s.net.(*tls.Conn)); err != nil {
		s.log.Info("imapd: TLS handshake", "err", err)
		return false
	}
	return true
}

func (s *session) greet() {
	s.w.Raw("* OK [CAPABILITY " + s.capabilities() + "] IMAP4rev1 ready\r\n")
}

// next reads and answers one command.
func (s *session) next() error {
	if s.r.Buffered() == 0 {
		if err := s.w.Flush(); err != nil {
			return err
		}
	}
	s.conn.Wait(true)
	err := s.r.Wait()
	s.conn.Wait(false)
	if err != nil {
		return err
	}
	s.r.Begin()
	tag, cmd := s.command()
	s.tag = tag
	rep, err := s.run(cmd)
	if err != nil {
		return err
	}
	if err := s.r.Discard(); err != nil {
		return err
	}
	if rep.status == statusBad {
		s.bad++
	} else {
		s.bad = 0
	}
	s.answer(tag, rep)
	if s.bad >= s.server.config.MaxBadCommand {
		return errBabble
	}
	if rep.then != nil {
		return rep.then()
	}
	return nil
}

// command reads a tag and the name of a command. The command is nil, and the
// Reader has an error, where they make no sense.
func (s *session) command() (tag string, cmd *command) {
	tag = s.r.Tag()
	if tag == "" {
		tag = "*"
	}
	s.r.SP()
	name := s.r.Word()
	if name == "UID" {
		s.r.SP()
		name += " " + s.r.Word()
	}
	if s.r.Err() != nil {
		return tag, nil
	}
	cmd, known := commands[name]
	switch {
	case !known:
		s.r.Fail("Unknown command")
		return tag, nil
	case cmd.states&s.state == 0:
		s.r.Fail("%s", wrongState(s.state, cmd.states))
		return tag, nil
	}
	return tag, cmd
}

func wrongState(now, allowed state) string {
	switch {
	case now == notAuthenticated:
		return "Log in first"
	case allowed&(authenticated|isSelected) == 0:
		return "Already logged in"
	}
	return "No mailbox is selected"
}

// farewell ends a session that can't go on, with a word where it can be heard.
func (s *session) farewell(err error) {
	var timeout net.Error
	bye := ""
	switch {
	case errors.Is(err, errBabble):
		bye = "Too many commands that make no sense"
	case errors.Is(err, errFolderGone):
		bye = "The selected mailbox has been deleted"
	case errors.Is(err, wire.ErrFlood):
		bye = "[TOOBIG] Command is too long"
	case errors.Is(err, errFailures):
		bye = "Too many failed logins"
	case s.conn.Interrupted() && errors.Is(err, os.ErrDeadlineExceeded):
		bye = "[UNAVAILABLE] Server is shutting down"
	case errors.As(err, &timeout) && timeout.Timeout():
		// RFC 3501, 5.4: autologout.
		bye = "Idle for too long"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed):
	default:
		s.log.Info("imapd: session ended", "account", s.account.Name, "err", err)
	}
	if bye != "" && s.w.Err() == nil {
		s.w.Raw("* BYE " + bye + "\r\n")
		_ = s.w.Flush() // the session is over either way
	}
}

var (
	errBabble     = errors.New("imapd: too many bad commands")
	errFailures   = errors.New("imapd: too many failed logins")
	errFolderGone = errors.New("imapd: selected folder is gone")
)

// isLoopback reports whether the client is on this machine.
func (s *session) isLoopback() bool { return s.remote.Addr().IsLoopback() }

// mayLogin reports whether a password may cross this connection.
func (s *session) mayLogin() bool { return s.tls || s.isLoopback() }

// capabilities lists what works for this session now.
func (s *session) capabilities() string {
	caps := []string{"IMAP4rev1", "LITERAL+"}
	if s.state == notAuthenticated {
		caps = append(caps, "SASL-IR")
		if !s.tls && s.server.config.TLS != nil {
			caps = append(caps, "STARTTLS")
		}
		if s.mayLogin() {
			caps = append(caps, "AUTH=PLAIN")
		} else {
			caps = append(caps, "LOGINDISABLED") // RFC 3501, 6.2.3
		}
	}
	return strings.Join(caps, " ") + " " + extensions
}
