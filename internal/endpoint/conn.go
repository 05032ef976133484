package endpoint

import (
	"context"
	"crypto/tls"
	"net"
	"net/netip"
	"sync"
	"time"
)

// Conn is a client's connection. It gives every read and write a deadline; TLS
// lies above it.
type Conn struct {
	net.Conn
	Remote netip.AddrPort
	config *Config

	failures int // logins

	mu          sync.Mutex
	until       time.Time // login deadline; zero after login
	waiting     bool      // between commands
	interrupted bool      // reads between commands fail at once
}

// NewConn is how a Server would take nc.
func (s *Server) NewConn(nc net.Conn) *Conn {
	return &Conn{Conn: nc, Remote: remoteAddr(nc), config: &s.config, until: time.Now().Add(s.config.LoginTimeout)}
}

func (c *Conn) Read(p []byte) (int, error) {
	c.mu.Lock()
	err := c.SetReadDeadline(c.deadline())
	c.mu.Unlock()
	if err != nil {
		return 0, err
	}
	return c.Conn.Read(p)
}

// deadline needs c.mu.
func (c *Conn) deadline() time.Time {
	if c.waiting && c.interrupted {
		return time.Unix(1, 0)
	}
	limit := c.config.StallTimeout
	if c.waiting {
		limit = c.config.IdleTimeout
	}
	t := time.Now().Add(limit)
	if !c.until.IsZero() && c.until.Before(t) {
		return c.until
	}
	return t
}

func (c *Conn) Write(p []byte) (int, error) {
	if err := c.SetWriteDeadline(time.Now().Add(c.config.StallTimeout)); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}

// Wait says whether the next reads are between commands.
func (c *Conn) Wait(on bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waiting = on
}

// Interrupt ends the read between commands that runs, or the next.
func (c *Conn) Interrupt() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.interrupted = true
	if c.waiting {
		_ = c.SetReadDeadline(time.Unix(1, 0)) // fails only where the read fails too
	}
}

// Interrupted reports whether Interrupt was called.
func (c *Conn) Interrupted() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.interrupted
}

// LoggedIn lifts the login deadline.
func (c *Conn) LoggedIn() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.until = time.Time{}
}

// LoggedOut sets it anew.
func (c *Conn) LoggedOut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.until = time.Now().Add(c.config.LoginTimeout)
}

// Handshake runs TLS in a goroutine of its own, whose stack, which certificate
// work makes large, is freed at once.
func Handshake(ctx context.Context, c *tls.Conn) error {
	done := make(chan error, 1)
	go func() { done <- c.HandshakeContext(ctx) }()
	return <-done
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
