package smtpd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"mtad/smtp"
)

// ErrClosed is what Serve returns after Shutdown.
var ErrClosed = errors.New("smtpd: server closed")

// Server serves the connections of one listener.
type Server struct {
	cfg Config

	mu        sync.Mutex
	closing   bool
	listeners map[net.Listener]struct{}
	conns     map[*conn]struct{}
	perAddr   map[netip.Prefix]int
	idle      sync.WaitGroup

	commandReaders, dataReaders sync.Pool // of *bufio.Reader
}

// New makes a server. It listens to nothing yet.
func New(cfg Config) (*Server, error) {
	cfg.defaults()
	switch {
	case cfg.Pipeline == nil || cfg.Route == nil || cfg.Accept == nil:
		return nil, fmt.Errorf("smtpd: listener %s: Pipeline, Route and Accept must be set", cfg.Name)
	case cfg.TLS == nil && (cfg.Implicit || cfg.StartTLS != Never):
		return nil, fmt.Errorf("smtpd: listener %s: TLS without a certificate", cfg.Name)
	case cfg.Authenticate == nil && cfg.Auth != Never:
		return nil, fmt.Errorf("smtpd: listener %s: AUTH without anyone to ask", cfg.Name)
	}
	return &Server{
		cfg:       cfg,
		listeners: map[net.Listener]struct{}{},
		conns:     map[*conn]struct{}{},
		perAddr:   map[netip.Prefix]int{},
	}, nil
}

// Serve accepts connections of l until Shutdown, and then returns ErrClosed.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	s.mu.Lock()
	if s.closing {
		s.mu.Unlock()
		return ErrClosed
	}
	s.listeners[l] = struct{}{}
	s.mu.Unlock()
	pause := 5 * time.Millisecond
	for {
		nc, err := l.Accept()
		if err == nil {
			pause = 5 * time.Millisecond
			s.welcome(ctx, nc)
			continue
		}
		if s.isClosing() || errors.Is(err, net.ErrClosed) {
			return ErrClosed
		}
		// Out of descriptors, say: wait, longer each time.
		s.cfg.Log.Error("accept", "listener", s.cfg.Name, "err", err)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
			pause = min(2*pause, time.Second)
		}
	}
}

func (s *Server) isClosing() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closing
}

// welcome starts a connection, or turns it away if there are too many.
func (s *Server) welcome(ctx context.Context, nc net.Conn) {
	c := newConn(s, nc)
	if reply := s.admit(c); !reply.IsZero() {
		s.idle.Go(func() { turnAway(nc, s.cfg.Implicit, reply) })
		return
	}
	s.idle.Go(func() {
		defer s.leave(c)
		c.serve(ctx)
	})
}

// turnAway says why, without waiting for the client.
func turnAway(nc net.Conn, implicit bool, reply smtp.Reply) {
	defer nc.Close()
	if !implicit {
		nc.SetWriteDeadline(time.Now().Add(time.Second))
		nc.Write(reply.Append(nil))
	}
}

// admit counts a connection in.
func (s *Server) admit(c *conn) smtp.Reply {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch lim := s.cfg.Limits; {
	case s.closing:
		return smtp.NewReply(421, 3, 2, s.cfg.Hostname+" Shutting down")
	case len(s.conns) >= lim.Connections:
		return smtp.NewReply(421, 4, 5, s.cfg.Hostname+" Too many connections, try again later")
	case c.prefix.IsValid() && s.perAddr[c.prefix] >= lim.PerAddress && !c.trusted:
		return smtp.NewReply(421, 7, 0, s.cfg.Hostname+" Too many connections from your address")
	}
	s.conns[c] = struct{}{}
	s.perAddr[c.prefix]++
	return smtp.Reply{}
}

func (s *Server) leave(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
	if s.perAddr[c.prefix]--; s.perAddr[c.prefix] <= 0 {
		delete(s.perAddr, c.prefix)
	}
}

// Connections is how many clients are connected.
func (s *Server) Connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

// Shutdown stops listening and lets each client finish the transaction it is in;
// the others are told 421. When ctx ends, what is left is cut off.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	s.closing = true
	for l := range s.listeners {
		l.Close()
	}
	for c := range s.conns {
		c.hurry()
	}
	s.mu.Unlock()
	done := make(chan struct{})
	go func() {
		s.idle.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
	}
	s.mu.Lock()
	for c := range s.conns {
		c.raw.Close()
	}
	s.mu.Unlock()
	<-done
	return ctx.Err()
}

// addressOf is the peer of a connection; invalid where it has no IP address.
func addressOf(a net.Addr) netip.AddrPort {
	t, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	ap := t.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}

// prefixOf is what connections are counted by: an IPv4 address, an IPv6 /64. It is
// invalid for a client without an address.
func prefixOf(a netip.Addr) netip.Prefix {
	bits := 64
	if a.Is4() {
		bits = 32
	}
	p, err := a.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}
