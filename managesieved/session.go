package managesieved

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"

	"mtad/imapd/wire"
	"mtad/internal/endpoint"
	"mtad/sieve"
)

// state is where a session stands (RFC 5804, 2). A command's row holds the set
// of those it is allowed in.
type state uint8

const (
	notAuthenticated state = 1 << iota
	authenticated
	loggedOut
)

// session is one connection.
type session struct {
	server *Server
	log    *slog.Logger
	ctx    context.Context

	conn *endpoint.Conn // below TLS
	net  net.Conn       // what is spoken over: conn, or TLS over it
	r    *wire.Reader
	w    *wire.Writer
	tls  bool

	state   state
	account Account
	bad     int // commands in a row
}

func newSession(ctx context.Context, s *Server, c *endpoint.Conn, implicitTLS bool) *session {
	ses := &session{server: s, log: s.config.Logger.With("remote", c.Remote), ctx: ctx, conn: c, state: notAuthenticated}
	ses.over(c)
	if implicitTLS {
		ses.tls = true
		ses.over(tls.Server(c, s.config.TLS))
	}
	return ses
}

// over makes the session speak over nc from now on. What was read before and
// not used yet is forgotten.
func (s *session) over(nc net.Conn) {
	s.net = nc
	s.w = wire.NewWriter(nc, &s.server.buffers)
	// Clients send non-synchronising literals only (RFC 5804, 4).
	s.r = wire.NewReader(nc, &s.server.buffers, wire.Limits{}, nil)
}

// serve runs the session to its end.
func (s *session) serve() {
	defer func() { s.net.Close() }() // with TLS's farewell, after STARTTLS too
	if s.tls && !s.handshake() {
		return
	}
	s.talk()
}

// talk is serve once the first octets are the client's words.
func (s *session) talk() {
	s.greet()
	for s.state != loggedOut {
		if err := s.next(); err != nil {
			s.farewell(err)
			return
		}
	}
	_ = s.w.Flush() // the last words; nothing is left to do if they are lost
}

func (s *session) handshake() bool {
	if err := endpoint.Handshake(s.ctx, s.net.(*tls.Conn)); err != nil {
		s.log.Info("managesieved: TLS handshake", "err", err)
		return false
	}
	return true
}

// greet tells what the server can do (RFC 5804, 1.7).
func (s *session) greet() {
	s.capabilities()
	s.w.Raw(ok("mtad ready").String())
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
	rep, err := s.run()
	if err != nil {
		return err
	}
	if err := s.r.Discard(); err != nil {
		return err
	}
	s.w.Raw(rep.String())
	if s.bad++; !rep.syntax {
		s.bad = 0
	}
	if s.bad >= s.server.config.MaxBadCommand {
		return errBabble
	}
	if rep.then != nil {
		return rep.then()
	}
	return nil
}

// run reads a command and lets it do its work. The error is one that ends the
// session.
func (s *session) run() (reply, error) {
	cmd, known := commands[s.r.Word()]
	switch {
	case s.r.Err() != nil:
		return s.refusal(s.r.Err())
	case !known:
		s.r.Fail("Unknown command")
		return s.refusal(s.r.Err())
	case cmd.states&s.state == 0:
		return no("", wrongState(s.state)), nil
	}
	rep, err := cmd.run(s)
	if err != nil {
		return s.refusal(err)
	}
	return rep, nil
}

func wrongState(now state) string {
	if now == notAuthenticated {
		return "Log in first"
	}
	return "You are logged in"
}

// fatal is a command's error that ends the session.
type fatal struct{ error }

// refusal turns a command's error into an answer. Text of an error never
// reaches the client, but for that of a SyntaxError, which is made for it.
func (s *session) refusal(err error) (reply, error) {
	var syntax *wire.SyntaxError
	var end fatal
	switch {
	case errors.As(err, &end):
		return reply{}, end.error
	case s.w.Err() != nil:
		return reply{}, s.w.Err()
	case errors.As(err, &syntax):
		return reply{status: "NO", text: syntax.Text, syntax: true}, nil
	case s.ctx.Err() != nil:
		return reply{}, s.ctx.Err()
	}
	if readErr := s.r.Err(); readErr != nil && !errors.As(readErr, &syntax) {
		return reply{}, readErr
	}
	for _, known := range directoryRefusals {
		if errors.Is(err, known.err) {
			return known.reply, nil
		}
	}
	s.log.Error("managesieved: command failed", "account", s.account.Address, "err", err)
	return no("TRYLATER", "Temporary failure, try again later"), nil
}

var (
	errBabble   = errors.New("managesieved: too many bad commands")
	errFailures = errors.New("managesieved: too many failed logins")
)

// farewell ends a session that can't go on, with a word where it can be heard.
func (s *session) farewell(err error) {
	var timeout net.Error
	var last reply
	switch {
	case errors.Is(err, errBabble):
		last = bye("", "Too many commands that make no sense")
	case errors.Is(err, errFailures):
		last = bye("", "Too many failed logins")
	case errors.Is(err, wire.ErrFlood):
		last = bye("", "Command is too long")
	case errors.Is(err, wire.ErrSync):
		last = bye("", "Literals are announced with a plus sign: {5+}")
	case s.conn.Interrupted() && errors.Is(err, os.ErrDeadlineExceeded):
		last = bye("TRYLATER", "Server is shutting down")
	case errors.As(err, &timeout) && timeout.Timeout():
		last = bye("", "Idle for too long")
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed):
	default:
		s.log.Info("managesieved: session ended", "account", s.account.Address, "err", err)
	}
	if last.status != "" && s.w.Err() == nil {
		s.w.Raw(last.String())
		_ = s.w.Flush() // the session is over either way
	}
}

// mayLogin reports whether a password may cross this connection: before TLS only
// from loopback, where nobody listens in.
func (s *session) mayLogin() bool {
	return s.tls || s.conn.Remote.Addr().IsLoopback() && !s.server.config.RequireTLS
}

// capabilities writes what works for this session now (RFC 5804, 1.7).
func (s *session) capabilities() {
	options := s.server.config.Options(s.ctx, s.account)
	extensions := slices.DeleteFunc(sieve.Extensions(), func(e string) bool { return slices.Contains(options.Without, e) })
	redirects := options.Limits.Redirects
	endpoint.Default(&redirects, sieve.DefaultLimits.Redirects)
	line := func(name, value string) { s.w.Raw(quote(name) + " " + quote(value) + "\r\n") }

	line("IMPLEMENTATION", "mtad")
	if s.mayLogin() {
		line("SASL", "PLAIN")
	} else {
		line("SASL", "")
	}
	line("SIEVE", strings.Join(extensions, " "))
	if s.mayStartTLS() {
		s.w.Raw("\"STARTTLS\"\r\n")
	}
	line("MAXREDIRECTS", strconv.Itoa(redirects))
	if slices.Contains(extensions, "enotify") {
		line("NOTIFY", "mailto")
	}
	if slices.Contains(extensions, "extlists") {
		line("EXTLISTS", "urn") // RFC 6134, 2.8
	}
	if s.state == authenticated {
		line("OWNER", s.account.Address)
	}
	s.w.Raw("\"UNAUTHENTICATE\"\r\n")
	line("VERSION", "1.0")
}
