package imapd

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"mtad/imapd/wire"
	"mtad/mailbox"
	"mtad/message"
)

// Account is who a connection belongs to once it is logged in.
type Account struct {
	ID   mailbox.AccountID
	Name string // for logs
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

func orDefault[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

func (c Config) withDefaults() Config {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	orDefault(&c.MaxMessageSize, 50<<20)
	orDefault(&c.MaxConnections, 10000)
	orDefault(&c.MaxPerAddress, 20)
	orDefault(&c.LoginTimeout, time.Minute)
	orDefault(&c.IdleTimeout, 30*time.Minute)
	orDefault(&c.StallTimeout, 5*time.Minute)
	orDefault(&c.FailureDelay, 2*time.Second)
	orDefault(&c.MaxFailures, 3)
	orDefault(&c.MaxBadCommand, 20)
	return c
}

// Server serves IMAP on any number of listeners.
type Server struct {
	config  Config
	buffers wire.Buffers

	// ctx ends when sessions must end at once, whatever they are doing.
	ctx    context.Context
	cancel context.CancelFunc

	mu        sync.Mutex
	closing   bool
	listeners map[net.Listener]struct{}
	sessions  map[*session]struct{}
	addresses map[netip.Prefix]int
	running   sync.WaitGroup
}

// New returns a Server. It fails only for a Config without a store or a way to
// log in.
func New(c Config) (*Server, error) {
	if c.Mailbox == nil || c.Authenticate == nil {
		return nil, errors.New("imapd: Config needs Mailbox and Authenticate")
	}
	s := &Server{
		config:    c.withDefaults(),
		listeners: map[net.Listener]struct{}{},
		sessions:  map[*session]struct{}{},
		addresses: map[netip.Prefix]int{},
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s, nil
}

// ErrClosed is returned by Serve after Shutdown.
var ErrClosed = errors.New("imapd: server closed")

// Serve accepts connections from l until ctx ends, Shutdown is called or l
// fails; it closes l. Sessions outlive it: Shutdown waits for them. implicitTLS
// means that connections begin with a TLS handshake (RFC 8314, 3.2).
func (s *Server) Serve(ctx context.Context, l net.Listener, implicitTLS bool) error {
	if implicitTLS && s.config.TLS == nil {
		return errors.New("imapd: implicit TLS without a TLS configuration")
	}
	if !s.listen(l) {
		l.Close()
		return ErrClosed
	}
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer func() {
		stop()
		l.Close()
		s.mu.Lock()
		delete(s.listeners, l)
		s.mu.Unlock()
	}()
	for pause := time.Duration(0); ; {
		nc, err := l.Accept()
		switch {
		case err == nil:
			pause = 0
			s.start(nc, implicitTLS)
			continue
		case ctx.Err() != nil:
			return ctx.Err()
		case s.isClosing():
			return ErrClosed
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("imapd: accept: %w", err)
		}
		// Out of descriptors, most likely: it passes.
		pause = min(max(2*pause, 5*time.Millisecond), time.Second)
		s.config.Logger.Warn("imapd: accept", "err", err, "retry", pause)
		if !sleep(ctx, pause) {
			return ctx.Err()
		}
	}
}

// sleep waits, and reports whether it was not cut short.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func (s *Server) listen(l net.Listener) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing {
		return false
	}
	s.listeners[l] = struct{}{}
	return true
}

func (s *Server) isClosing() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closing
}

// start runs a session for a new connection, or turns it away.
func (s *Server) start(nc net.Conn, implicitTLS bool) {
	remote := remoteAddr(nc)
	key := limitKey(remote.Addr())
	s.mu.Lock()
	refused := ""
	switch {
	case s.closing:
		refused = "Server is shutting down"
	case len(s.sessions) >= s.config.MaxConnections:
		refused = "Too many connections"
	case !remote.Addr().IsLoopback() && s.addresses[key] >= s.config.MaxPerAddress:
		refused = "Too many connections from your address"
	}
	if refused != "" {
		s.mu.Unlock()
		turnAway(nc, implicitTLS, refused)
		s.config.Logger.Info("imapd: connection refused", "remote", remote, "reason", refused)
		return
	}
	ses := newSession(s, nc, remote, implicitTLS)
	s.sessions[ses] = struct{}{}
	s.addresses[key]++
	s.running.Add(1)
	s.mu.Unlock()
	go func() {
		defer s.running.Done()
		ses.serve()
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.sessions, ses)
		if s.addresses[key]--; s.addresses[key] == 0 {
			delete(s.addresses, key)
		}
	}()
}

// turnAway says why, where that needs no handshake, and closes.
func turnAway(nc net.Conn, implicitTLS bool, reason string) {
	if !implicitTLS {
		// The few octets fit the socket's buffer: this does not wait.
		_ = nc.SetWriteDeadline(time.Now().Add(time.Second))
		_, _ = nc.Write([]byte("* BYE [UNAVAILABLE] " + reason + "\r\n"))
	}
	nc.Close()
}

func remoteAddr(nc net.Conn) netip.AddrPort {
	ap, err := netip.ParseAddrPort(nc.RemoteAddr().String())
	if err != nil {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}

// limitKey is what counts as one address: an IPv6 client has a whole /64.
func limitKey(a netip.Addr) netip.Prefix {
	bits := 32
	if a.Is6() {
		bits = 64
	}
	p, _ := a.WithZone("").Prefix(bits)
	return p
}

// Shutdown stops accepting, says BYE to every session as soon as it has
// finished its command, and waits for them. When ctx ends first, it cuts the
// rest off and returns ctx's error.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	s.closing = true
	for l := range s.listeners {
		l.Close()
	}
	for ses := range s.sessions {
		ses.conn.interrupt()
	}
	s.mu.Unlock()
	done := make(chan struct{})
	go func() {
		s.running.Wait()
		close(done)
	}()
	select {
	case <-done:
		s.cancel()
		return nil
	case <-ctx.Done():
	}
	s.cancel() // each session closes its connection on this
	<-done
	return ctx.Err()
}

// Connections is how many sessions there are.
func (s *Server) Connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.sessions)
}
