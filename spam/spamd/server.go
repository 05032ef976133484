package spamd

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"mtad/internal/endpoint"
	"mtad/spam"
)

// Checker judges messages: a *spam.Engine, say.
type Checker interface {
	Check(ctx context.Context, text []byte, f spam.Facts) *spam.Result
}

// Learner learns from messages, for TELL. What it returns is whether it knew better
// than before.
type Learner interface {
	Learn(ctx context.Context, user string, text []byte, spam bool) (bool, error)
	Forget(ctx context.Context, user string, text []byte) (bool, error)
}

// Config is what a Server needs. Checker is required; zero values elsewhere mean the
// default named.
type Config struct {
	Checker Checker
	Learner Learner   // nil: TELL is refused
	Host    spam.Host // for templates
	// TLS, if it is not nil, is spoken from the first octet, as with spamc -S.
	TLS *tls.Config

	Allow  []netip.Prefix // clients over TCP; nil: loopback
	Logger *slog.Logger   // nil: silence

	MaxSize int // octets of a message, unpacked; 2 MB
	// MaxRequests is how many are worked on at once; 50. Twice as many clients may be
	// connected, as many from one address: of more, the one whose request has not come
	// for longest has to leave.
	MaxRequests    int
	StallTimeout   time.Duration // for each read and write; 30 seconds
	RequestTimeout time.Duration // until a request is all there; 1 minute
	Timeout        time.Duration // of a whole connection; 5 minutes
}

// Loopback are the addresses of this machine.
func Loopback() []netip.Prefix {
	return []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
}

// Server serves the protocol on any number of listeners, TCP's or with a path. Its
// Shutdown lets every request that has begun end.
type Server struct {
	*endpoint.Server
	config Config
	places places
	slots  chan struct{} // of requests that are worked on
}

// ErrClosed is returned by Serve after Shutdown.
var ErrClosed = endpoint.ErrClosed

// New returns a Server.
func New(c Config) (*Server, error) {
	if c.Checker == nil {
		return nil, errors.New("spamd: Config needs a Checker")
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Allow == nil {
		c.Allow = Loopback()
	}
	endpoint.Default(&c.Host.Version, spam.Version)
	endpoint.Default(&c.MaxSize, 2<<20)
	endpoint.Default(&c.MaxRequests, 50)
	endpoint.Default(&c.StallTimeout, 30*time.Second)
	endpoint.Default(&c.Timeout, 5*time.Minute)
	endpoint.Default(&c.RequestTimeout, min(c.Timeout, time.Minute))
	s := &Server{config: c, slots: make(chan struct{}, c.MaxRequests)}
	s.Server = endpoint.New(endpoint.Config{
		Name: "spamd", Logger: c.Logger,
		Session:        func(ctx context.Context, conn *endpoint.Conn, _ bool) { s.session(ctx, conn) },
		TLS:            c.TLS != nil,
		Refuse:         refusal,
		MaxConnections: 2 * c.MaxRequests, MaxPerAddress: c.MaxRequests, MakeRoom: s.makeRoom,
		LoginTimeout: c.RequestTimeout, IdleTimeout: c.StallTimeout, StallTimeout: c.StallTimeout,
	})
	return s, nil
}

func refusal(reason string) string {
	return fmt.Sprintf("SPAMD/1.0 %d Service Unavailable: %s\r\n", exUnavailable, reason)
}

// Serve accepts connections from l until ctx ends, Shutdown is called or l fails; it
// closes l. Sessions outlive it: Shutdown waits for them.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	return s.Server.Serve(ctx, l, s.config.TLS != nil)
}

// allowed reports whether a client may ask: one on a path always may.
func (s *Server) allowed(c *endpoint.Conn) bool {
	if !strings.HasPrefix(c.LocalAddr().Network(), "tcp") {
		return true
	}
	a := c.Remote.Addr().WithZone("")
	return slices.ContainsFunc(s.config.Allow, func(p netip.Prefix) bool { return p.Contains(a) })
}

// session answers one request.
func (s *Server) session(ctx context.Context, conn *endpoint.Conn) {
	if !s.allowed(conn) {
		s.config.Logger.Warn("spamd: client not allowed", "remote", conn.Remote)
		return
	}
	s.places.add(conn)
	defer s.places.remove(conn)
	ctx, cancel := context.WithTimeout(ctx, s.config.Timeout)
	defer cancel()
	var over net.Conn = conn
	if s.config.TLS != nil {
		t := tls.Server(conn, s.config.TLS)
		if err := endpoint.Handshake(ctx, t); err != nil {
			s.config.Logger.Info("spamd: no TLS", "remote", conn.Remote, "err", err)
			return
		}
		defer t.Close() // with TLS's farewell
		over = t
	}
	r := newRequest(s, conn, over)
	out, err := r.answer(ctx)
	if errors.Is(err, net.ErrClosed) {
		return // for another, or by a client that has gone
	}
	if err != nil {
		out = []byte(s.complaint(err, r))
		s.config.Logger.Info("spamd: request refused", "remote", conn.Remote, "err", err)
	}
	if _, werr := over.Write(out); werr == nil && err != nil {
		drain(over)
	}
}

// drain takes what a client still sends, for a while: a socket that is closed with
// octets unread loses the answer.
func drain(conn net.Conn) {
	if c, ok := conn.(*endpoint.Conn); ok {
		conn = c.Conn // whose end for writing can be closed
	}
	if half, ok := conn.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
		_ = conn.SetReadDeadline(time.Now().Add(drainTime))
		buf := make([]byte, 4096)
		for {
			if _, err := conn.Read(buf); err != nil {
				return
			}
		}
	}
}

const drainTime = 2 * time.Second
