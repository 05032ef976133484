package imapd

import (
	"crypto/tls"
	"errors"
	"log/slog"
	"strings"

	"mtad/imapd/wire"
	"mtad/internal/endpoint"
	"mtad/mailbox"
)

func (s *session) capability() (reply, error) {
	if err := s.r.End(); err != nil {
		return reply{}, err
	}
	s.w.Raw("* CAPABILITY " + s.capabilities() + "\r\n")
	return ok("CAPABILITY completed"), nil
}

func (s *session) noop() (reply, error) {
	return ok("Completed"), s.r.End()
}

func (s *session) logout() (reply, error) {
	if err := s.r.End(); err != nil {
		return reply{}, err
	}
	s.w.Raw("* BYE Logging out\r\n")
	s.selected, s.state = nil, loggedOut
	return ok("LOGOUT completed"), nil
}

// maxID is how many pairs an ID may hold (RFC 2971, 3.3).
const maxID = 30

func (s *session) id() (reply, error) {
	s.r.SP()
	var pairs []any
	if s.r.Peek('(') {
		s.r.List(func() {
			key := s.r.String()
			s.r.SP()
			value, _ := s.r.NString()
			if len(pairs) < 2*maxID {
				pairs = append(pairs, key, value)
			}
		})
	} else if _, given := s.r.NString(); given {
		s.r.Fail("expected a list or NIL")
	}
	if err := s.r.End(); err != nil {
		return reply{}, err
	}
	s.log.Debug("imapd: client", slog.Group("id", pairs...))
	s.w.Raw("* ID (\"name\" \"mtad\")\r\n")
	return ok("ID completed"), nil
}

// enable knows no extension that needs to be enabled; asking for one that the
// server lacks is no error (RFC 5161, 3.1).
func (s *session) enable() (reply, error) {
	s.r.SP()
	s.r.Atom()
	for s.r.Accept(' ') {
		s.r.Atom()
	}
	if err := s.r.End(); err != nil {
		return reply{}, err
	}
	s.w.Raw("* ENABLED\r\n")
	return ok("ENABLE completed"), nil
}

func (s *session) startTLS() (reply, error) {
	if err := s.r.End(); err != nil {
		return reply{}, err
	}
	switch {
	case s.tls:
		return reply{status: statusBad, text: "TLS is already active"}, nil
	case s.server.config.TLS == nil:
		return reply{status: statusBad, text: "TLS is not available"}, nil
	case s.r.Buffered() > 0:
		// What was sent in the clear after the command must not be taken for
		// the client's words under TLS (RFC 3501, 6.2.1).
		return reply{status: statusBad, text: "Commands after STARTTLS before its answer", then: func() error { return errBabble }}, nil
	}
	return reply{status: statusOK, text: "Begin TLS", then: s.upgrade}, nil
}

func (s *session) upgrade() error {
	if err := s.w.Flush(); err != nil {
		return err
	}
	s.over(tls.Server(s.conn, s.server.config.TLS))
	s.tls = true
	if !s.handshake() {
		s.state = loggedOut
	}
	return nil
}

func (s *session) login() (reply, error) {
	s.r.SP()
	name := s.r.AString()
	s.r.SP()
	password := s.r.AString()
	if err := s.r.End(); err != nil {
		return reply{}, err
	}
	if !s.mayLogin() {
		return no("PRIVACYREQUIRED", "Use TLS first"), nil
	}
	return s.check(name, password)
}

// authenticate speaks PLAIN, with or without an initial response (RFC 4959, 3).
func (s *session) authenticate() (reply, error) {
	s.r.SP()
	mechanism := strings.ToUpper(s.r.Atom())
	var response string
	initial := s.r.Accept(' ')
	if initial {
		response = s.r.Atom()
	}
	switch err := s.r.End(); {
	case err != nil:
		return reply{}, err
	case mechanism != "PLAIN":
		return no("CANNOT", "Unknown mechanism"), nil
	case !s.mayLogin():
		return no("PRIVACYREQUIRED", "Use TLS first"), nil
	}
	if !initial {
		var err error
		if response, err = s.challenge(); err != nil {
			return reply{}, err
		}
	}
	if response == "*" {
		return reply{status: statusBad, text: "Cancelled"}, nil // RFC 3501, 6.2.2
	}
	if response == "=" {
		response = ""
	}
	name, password, good := endpoint.Plain(response)
	if !good {
		return reply{}, &wire.SyntaxError{Text: "Response is not base64 of a PLAIN message"}
	}
	return s.check(name, password)
}

// challenge sends an empty challenge and reads the response to it.
func (s *session) challenge() (string, error) {
	s.w.Raw("+ \r\n")
	if err := s.w.Flush(); err != nil {
		return "", err
	}
	s.r.Begin()
	return s.r.Line()
}

// check asks whether a login is good, and makes failing slow.
func (s *session) check(name, password string) (reply, error) {
	s.tried.Login = name
	account, err := s.server.config.Authenticate(s.ctx, name, password, s.remote)
	if err == nil {
		err = s.ensureInbox(account)
	}
	if err == nil {
		s.account, s.state = account, authenticated
		s.conn.LoggedIn()
		s.log.Info("imapd: login", "account", account.Name, "tls", s.tls)
		s.watch()
		return okCode("CAPABILITY "+s.capabilities(), "Logged in"), nil
	}
	if !errors.Is(err, ErrCredentials) {
		s.log.Error("imapd: login", "login", name, "err", err)
		return no("UNAVAILABLE", "Temporary failure, try again later"), nil
	}
	s.tried.Failures++
	failures, more, err := s.conn.LoginFailed(s.ctx)
	s.log.Info("imapd: login failed", "login", name, "failures", failures)
	if err != nil {
		return reply{}, err
	}
	rep := no("AUTHENTICATIONFAILED", "Wrong login name or password")
	if !more {
		rep.then = func() error { return errFailures }
	}
	return rep, nil
}

// ensureInbox gives an account its first folders, should nobody have done so:
// INBOX always exists (RFC 3501, 5.1).
func (s *session) ensureInbox(account Account) error {
	_, err := s.store.Folder(s.ctx, account.ID, mailbox.Inbox)
	if errors.Is(err, mailbox.ErrNoFolder) {
		err = s.store.Provision(s.ctx, account.ID)
	}
	return err
}
