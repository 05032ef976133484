package imapd

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net/netip"
	"time"

	"mtad/imapd/wire"
	"mtad/internal/endpoint"
	"mtad/mailbox"
	"mtad/message"
)

// Account is who a connection belongs to once it is logged in.
type Account struct {
	ID   mailbox.AccountID
	Name string // for logs
}

// Attempt is what a connection has come to, as far as logging in goes.
type Attempt struct {
	OK            bool   // logged in; else gone without
	Login         string // the last name that was tried
	Mechanism     string // LOGIN's is PLAIN too: the password as it is
	Remote, Local netip.AddrPort
	TLS           bool
	Failures      int
	Took          time.Duration // since the connection began
}

// ErrCredentials is what Config.Authenticate returns for a login name or
// password that is wrong. Any other error of it means that nobody can tell now.
var ErrCredentials = errors.New("imapd: wrong login name or password")

// Config is what a Server needs. Mailbox and Authenticate are required; zero
// values elsewhere mean the default named.
type Config struct {
	Mailbox *mailbox.Store

	// Authenticate checks a password. It should take the same time whether or
	// not the login name exists.
	Authenticate func(ctx context.Context, login, password string, remote netip.AddrPort) (Account, error)

	// Watch is told of each login, and of each connection that ended without one
	// after logins that failed. nil: nobody wants to know.
	Watch func(Attempt)

	TLS    *tls.Config  // nil: no STARTTLS
	Logger *slog.Logger // nil: silence

	Now func() time.Time // nil: time.Now

	Limits message.Limits // of what is read of a message; those it was accepted under

	MaxMessageSize int64  // octets APPEND takes; 50 MiB
	SpoolDir       string // where large APPENDs are spooled; the system's temporary directory

	MaxConnections int // in all; 10,000
	MaxPerAddress  int // from one IPv4 address or IPv6 /64, loopback apart; 20

	LoginTimeout  time.Duration // from connect to login; 1 minute
	IdleTimeout   time.Duration // without a word from the client; 30 minutes, the least allowed (RFC 3501, 5.4)
	StallTimeout  time.Duration // inside a command, and for each write; 5 minutes
	FailureDelay  time.Duration // before a failed login is answered; 2 seconds
	MaxFailures   int           // failed logins a connection; 3
	MaxBadCommand int           // commands in a row that make no sense; 20
}

func (c Config) withDefaults() Config {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	endpoint.Default(&c.MaxMessageSize, 50<<20)
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

// Server serves IMAP on any number of listeners. Its Shutdown says BYE to every
// session as soon as it has finished its command.
type Server struct {
	*endpoint.Server
	config  Config
	buffers wire.Buffers
}

// New returns a Server. It fails only for a Config without a store or a way to
// log in.
func New(c Config) (*Server, error) {
	if c.Mailbox == nil || c.Authenticate == nil {
		return nil, errors.New("imapd: Config needs Mailbox and Authenticate")
	}
	c = c.withDefaults()
	s := &Server{config: c}
	s.Server = endpoint.New(endpoint.Config{
		Name: "imapd", Logger: c.Logger, TLS: c.TLS != nil,
		Session: func(ctx context.Context, conn *endpoint.Conn, implicitTLS bool) {
			newSession(ctx, s, conn, implicitTLS).serve()
		},
		Refuse:         func(reason string) string { return "* BYE [UNAVAILABLE] " + reason + "\r\n" },
		MaxConnections: c.MaxConnections, MaxPerAddress: c.MaxPerAddress,
		LoginTimeout: c.LoginTimeout, IdleTimeout: c.IdleTimeout, StallTimeout: c.StallTimeout,
		FailureDelay: c.FailureDelay, MaxFailures: c.MaxFailures,
	})
	return s, nil
}

// ErrClosed is returned by Serve after Shutdown.
var ErrClosed = endpoint.ErrClosed
