package spamd

import (
	"context"
	"net"
	"os"
	"slices"
	"sync"
	"time"

	"mtad/internal/endpoint"
)

// places are the connections whose requests are not all there yet, the oldest first. They
// hold no slot: one that is silent gives way to one that comes.
type places struct {
	mu   sync.Mutex
	list []*endpoint.Conn
}

func (p *places) add(c *endpoint.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.list = append(p.list, c)
}

// remove takes a connection out; false if it had to give way.
func (p *places) remove(c *endpoint.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	i := slices.Index(p.list, c)
	if i < 0 {
		return false
	}
	p.list = slices.Delete(p.list, i, i+1)
	return true
}

// oldest takes out the oldest, nil if there is none.
func (p *places) oldest() *endpoint.Conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.list) == 0 {
		return nil
	}
	c := p.list[0]
	p.list = slices.Delete(p.list, 0, 1)
	return c
}

// makeRoom sends away the client that has taken longest to say what it wants.
func (s *Server) makeRoom() bool {
	c := s.places.oldest()
	if c == nil {
		return false
	}
	s.config.Logger.Info("spamd: connection closed for another: its request was not there yet", "remote", c.Remote)
	if s.config.TLS == nil {
		// The few octets fit the socket's buffer: this does not wait.
		_ = c.SetWriteDeadline(time.Now().Add(time.Second))
		_, _ = c.Conn.Write([]byte(refusal("Too many connections")))
	}
	c.Close()
	return true
}

// slot waits until the request, which is all there, may be worked on.
func (r *request) slot(ctx context.Context) (release func(), err error) {
	if !r.server.places.remove(r.conn) {
		return nil, net.ErrClosed
	}
	r.read = true
	r.conn.LoggedIn()
	select {
	case r.server.slots <- struct{}{}:
		return func() { <-r.server.slots }, nil
	case <-ctx.Done():
		return nil, os.ErrDeadlineExceeded
	}
}
