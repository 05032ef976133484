package managesieved

import (
	"crypto/tls"
	"errors"
	"strings"

	"mtad/imapd/wire"
	"mtad/internal/endpoint"
)

func (s *session) mayStartTLS() bool {
	return s.state == notAuthenticated && !s.tls && s.server.config.TLS != nil
}

func (s *session) startTLS() (reply, error) {
	if err := s.r.End(); err != nil {
		return reply{}, err
	}
	switch {
	case s.tls:
		return no("", "TLS is already active"), nil
	case !s.mayStartTLS():
		return no("", "TLS is not available"), nil
	case s.r.Buffered() > 0:
		// What was sent in the clear after the command must not be taken for
		// the client's words under TLS (RFC 5804, 2.2).
		rep := no("", "Commands after STARTTLS before its answer")
		rep.then = func() error { return errBabble }
		return rep, nil
	}
	rep := ok("Begin TLS")
	rep.then = s.upgrade
	return rep, nil
}

// upgrade begins TLS, and tells what the server can do under it (RFC 5804, 2.2).
func (s *session) upgrade() error {
	if err := s.w.Flush(); err != nil {
		return err
	}
	s.over(tls.Server(s.conn, s.server.config.TLS))
	s.tls = true
	if !s.handshake() {
		s.state = loggedOut
		return nil
	}
	s.greet()
	return nil
}

// authenticate speaks PLAIN, with or without an initial response (RFC 5804, 2.1).
func (s *session) authenticate() (reply, error) {
	s.r.SP()
	mechanism := strings.ToUpper(s.r.String())
	var response string
	initial := s.r.Accept(' ')
	if initial {
		response = s.r.String()
	}
	switch err := s.r.End(); {
	case err != nil:
		return reply{}, err
	case mechanism != "PLAIN":
		return no("", "Unknown mechanism"), nil
	case !s.mayLogin():
		return no("ENCRYPT-NEEDED", "Use TLS first"), nil
	}
	if !initial {
		var err error
		if response, err = s.challenge(); err != nil {
			return reply{}, err
		}
	}
	if response == "*" {
		return no("", "Cancelled"), nil
	}
	name, password, good := endpoint.Plain(response)
	if !good {
		return reply{}, &wire.SyntaxError{Text: "Response is not base64 of a PLAIN message"}
	}
	return s.login(name, password)
}

// challenge sends an empty challenge and reads the response to it.
func (s *session) challenge() (string, error) {
	s.w.Raw("\"\"\r\n")
	if err := s.w.Flush(); err != nil {
		return "", err
	}
	s.r.Begin()
	response := s.r.String()
	return response, s.r.End()
}

// login asks whether a login is good, and makes failing slow.
func (s *session) login(name, password string) (reply, error) {
	account, err := s.server.config.Authenticate(s.ctx, name, password, s.conn.Remote)
	if err == nil {
		s.account, s.state = account, authenticated
		s.conn.LoggedIn()
		s.log.Info("managesieved: login", "account", account.Address, "tls", s.tls)
		return ok("Logged in"), nil
	}
	if !errors.Is(err, ErrCredentials) {
		s.log.Error("managesieved: login", "login", name, "err", err)
		return no("TRYLATER", "Temporary failure, try again later"), nil
	}
	failures, more, err := s.conn.LoginFailed(s.ctx)
	s.log.Info("managesieved: login failed", "login", name, "failures", failures)
	if err != nil {
		return reply{}, fatal{err}
	}
	rep := no("", "Wrong login name or password")
	if !more {
		rep.then = func() error { return errFailures }
	}
	return rep, nil
}

// unauthenticate leaves the connection, and TLS, for somebody else (RFC 5804,
// 2.14).
func (s *session) unauthenticate() (reply, error) {
	if err := s.r.End(); err != nil {
		return reply{}, err
	}
	s.account, s.state = Account{}, notAuthenticated
	s.conn.LoggedOut()
	return ok("Logged out"), nil
}
