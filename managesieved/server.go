package managesieved

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"mtad/directory"
	"mtad/imapd/wire"
	"mtad/internal/endpoint"
	"mtad/sieve"
)

// Account is who a connection belongs to once it is logged in. The zero Account
// is nobody.
type Account struct {
	ID      int64 // the directory's
	Address string
}

// ErrCredentials is what Config.Authenticate returns for a login name or
// password that is wrong. Any other error of it means that nobody can tell now.
var ErrCredentials = errors.New("managesieved: wrong login name or password")

// Config is what a Server needs. Directory and Authenticate are required; zero
// values elsewhere mean the default named.
type Config struct {
	Directory *directory.Directory

	// Authenticate checks a password. It should take the same time whether or
	// not the login name exists.
	Authenticate func(ctx context.Context, login, password string, remote netip.AddrPort) (Account, error)

	// Options are those that an account's scripts are compiled with when they
	// run. They are asked for anew at each use. nil: sieve's defaults.
	Options func(context.Context, Account) sieve.Options

	TLS        *tls.Config // nil: no STARTTLS
	Implicit   bool        // connections begin with a TLS handshake (RFC 8314, 3.2)
	RequireTLS bool        // no login without TLS, from loopback neither

	Logger *slog.Logger // nil: silence

	MaxConnections int // in all; 10,000
	MaxPerAddress  int // from one IPv4 address or IPv6 /64, loopback apart; 20

	LoginTimeout  time.Duration // from connect to login; 1 minute
	IdleTimeout   time.Duration // without a word from the client; 30 minutes, the least allowed (RFC 5804, 1.2)
	StallTimeout  time.Duration // inside a command, and for each write; 5 minutes
	FailureDelay  time.Duration // before a failed login is answered; 2 seconds
	MaxFailures   int           // failed logins a connection; 3
	MaxBadCommand int           // commands in a row that make no sense; 20
}

func (c Config) withDefaults() Config {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Options == nil {
		c.Options = func(context.Context, Account) sieve.Options { return sieve.Options{} }
	}
	endpoint.Default(&c.MaxConnections, 10000)
	endpoint.Default(&c.MaxPerAddress, 20)
	endpoint.Default(&c.LoginTimeout, time.Minute)
	endpoint.Default(&c.IdleTimeout, 30*time.Minute)
	endpoint.Default(&c.StallTimeout, 5*time.Minute)
	endpoint.Default(&c.FailureDelay, 2*time.Second)
	endpoint.Default(&c.MaxFailures, 3)
	endpoint.Default(&c.MaxBadCommand, 20)
	return c
}

// Server serves ManageSieve on any number of listeners. Its Shutdown says BYE to
// every session as soon as it has finished its command.
type Server struct {
	*endpoint.Server
	config  Config
	buffers wire.Buffers
}

// New returns a Server. It fails for a Config without a directory or a way to
// log in, and for one that wants TLS without a certificate.
func New(c Config) (*Server, error) {
	if c.Directory == nil || c.Authenticate == nil {
		return nil, errors.New("managesieved: Config needs Directory and Authenticate")
	}
	if c.TLS == nil && (c.Implicit || c.RequireTLS) {
		return nil, errors.New("managesieved: TLS without a certificate")
	}
	c = c.withDefaults()
	s := &Server{config: c}
	s.Server = endpoint.New(endpoint.Config{
		Name: "managesieved", Logger: c.Logger, TLS: c.TLS != nil,
		Session: func(ctx context.Context, conn *endpoint.Conn, implicitTLS bool) {
			newSession(ctx, s, conn, implicitTLS).serve()
		},
		Refuse:         func(reason string) string { return bye("TRYLATER", reason).String() },
		MaxConnections: c.MaxConnections, MaxPerAddress: c.MaxPerAddress,
		LoginTimeout: c.LoginTimeout, IdleTimeout: c.IdleTimeout, StallTimeout: c.StallTimeout,
		FailureDelay: c.FailureDelay, MaxFailures: c.MaxFailures,
	})
	return s, nil
}

// ErrClosed is returned by Serve after Shutdown.
var ErrClosed = endpoint.ErrClosed

// Serve accepts connections from l until ctx ends, Shutdown is called or l
// fails; it closes l. Sessions outlive it: Shutdown waits for them.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	return s.Server.Serve(ctx, l, s.config.Implicit)
}
