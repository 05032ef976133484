// Package endpoint is what servers that users log in to have in common: they
// accept connections within limits, give each a deadline for every wait, make
// failed logins slow, and drain when they stop. What is spoken is the server's.
package endpoint

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"runtime/debug"
	"sync"
	"time"
)

// Config is what a Server needs. All fields are set by whoever makes one.
type Config struct {
	Name   string // of the server, for logs and errors
	Logger *slog.Logger

	// Session speaks with one client until it returns; the connection is closed
	// then, or when ctx ends. A panic ends that session alone.
	Session func(ctx context.Context, c *Conn, implicitTLS bool)

	// Refuse is what a client reads that is turned away for a reason.
	Refuse func(reason string) string

	TLS bool // there is a certificate

	MaxConnections int // in all
	MaxPerAddress  int // from one IPv4 address or IPv6 /64, loopback apart
	// MakeRoom, if it is not nil, is called when there are MaxConnections. It may close
	// one of them, and says so: then another one is let in. It must not call the Server.
	MakeRoom func() bool

	LoginTimeout time.Duration // from connect to login
	IdleTimeout  time.Duration // between commands
	StallTimeout time.Duration // inside a command, and for each write
	FailureDelay time.Duration // before the first failed login is answered
	MaxFailures  int           // failed logins a connection
}

// Default sets *v to def if it is zero.
func Default[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

// Server accepts connections on any number of listeners.
type Server struct {
	config Config

	// ctx ends when sessions must end at once, whatever they are doing.
	ctx    context.Context
	cancel context.CancelFunc

	mu        sync.Mutex
	closing   bool
	listeners map[net.Listener]struct{}
	conns     map[*Conn]struct{}
	addresses map[netip.Prefix]int
	running   sync.WaitGroup
}

// New returns a Server.
func New(c Config) *Server {
	s := &Server{
		config:    c,
		listeners: map[net.Listener]struct{}{},
		conns:     map[*Conn]struct{}{},
		addresses: map[netip.Prefix]int{},
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s
}

// ErrClosed is returned by Serve after Shutdown.
var ErrClosed = errors.New("server closed")

// Serve accepts connections from l until ctx ends, Shutdown is called or l
// fails; it closes l. Sessions outlive it: Shutdown waits for them. implicitTLS
// means that connections begin with a TLS handshake (RFC 8314, 3.2).
func (s *Server) Serve(ctx context.Context, l net.Listener, implicitTLS bool) error {
	if implicitTLS && !s.config.TLS {
		return fmt.Errorf("%s: implicit TLS without a TLS configuration", s.config.Name)
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
			s.Take(nc, implicitTLS)
			continue
		case ctx.Err() != nil:
			return ctx.Err()
		case s.isClosing():
			return ErrClosed
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("%s: accept: %w", s.config.Name, err)
		}
		// Out of descriptors, most likely: it passes.
		pause = min(max(2*pause, 5*time.Millisecond), time.Second)
		s.config.Logger.Warn(s.config.Name+": accept", "err", err, "retry", pause)
		if !sleep(ctx, pause) {
			return ctx.Err()
		}
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

// Take runs a session for a new connection, or turns it away.
func (s *Server) Take(nc net.Conn, implicitTLS bool) {
	c := s.NewConn(nc)
	if refused := s.admit(c); refused != "" {
		s.turnAway(nc, implicitTLS, refused)
		s.config.Logger.Info(s.config.Name+": connection refused", "remote", c.Remote, "reason", refused)
		return
	}
	go func() {
		defer s.leave(c)
		s.run(c, implicitTLS)
	}()
}

// admit counts a connection in, or says why not.
func (s *Server) admit(c *Conn) string {
	key := limitKey(c.Remote.Addr())
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closing:
		return "Server is shutting down"
	case !c.Remote.Addr().IsLoopback() && s.addresses[key] >= s.config.MaxPerAddress:
		return "Too many connections from your address"
	case len(s.conns) >= s.config.MaxConnections && (s.config.MakeRoom == nil || !s.config.MakeRoom()):
		return "Too many connections"
	}
	s.conns[c] = struct{}{}
	s.addresses[key]++
	s.running.Add(1)
	return ""
}

func (s *Server) leave(c *Conn) {
	defer s.running.Done()
	key := limitKey(c.Remote.Addr())
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
	if s.addresses[key]--; s.addresses[key] == 0 {
		delete(s.addresses, key)
	}
}

// run runs a session to its end.
func (s *Server) run(c *Conn, implicitTLS bool) {
	ctx, cancel := context.WithCancel(s.ctx)
	stop := context.AfterFunc(ctx, func() { c.Close() })
	defer func() {
		if p := recover(); p != nil {
			s.config.Logger.Error(s.config.Name+": panic", "remote", c.Remote, "panic", p, "stack", string(debug.Stack()))
		}
		stop()
		cancel()
		c.Close()
	}()
	s.config.Session(ctx, c, implicitTLS)
}

// turnAway says why, where that needs no handshake, and closes.
func (s *Server) turnAway(nc net.Conn, implicitTLS bool, reason string) {
	if !implicitTLS {
		// The few octets fit the socket's buffer: this does not wait.
		_ = nc.SetWriteDeadline(time.Now().Add(time.Second))
		_, _ = nc.Write([]byte(s.config.Refuse(reason)))
	}
	nc.Close()
}

// Shutdown stops accepting, interrupts every session as soon as it has finished
// its command, and waits for them. When ctx ends first, it cuts the rest off and
// returns ctx's error.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	s.closing = true
	for l := range s.listeners {
		l.Close()
	}
	for c := range s.conns {
		c.Interrupt()
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
	s.cancel() // each session's connection is closed on this
	<-done
	return ctx.Err()
}

// Connections is how many sessions there are.
func (s *Server) Connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}
