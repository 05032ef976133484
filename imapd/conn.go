package imapd

import (
	"net"
	"sync"
	"time"
)

// conn gives every read and write of a connection a deadline. TLS lies above
// it.
type conn struct {
	net.Conn
	idle, stall time.Duration

	mu          sync.Mutex
	until       time.Time // login deadline; zero after login
	waiting     bool      // between commands
	interrupted bool      // reads between commands fail at once
}

func (c *conn) Read(p []byte) (int, error) {
	c.mu.Lock()
	err := c.SetReadDeadline(c.deadline())
	c.mu.Unlock()
	if err != nil {
		return 0, err
	}
	return c.Conn.Read(p)
}

// deadline needs c.mu.
func (c *conn) deadline() time.Time {
	if c.waiting && c.interrupted {
		return time.Unix(1, 0)
	}
	limit := c.stall
	if c.waiting {
		limit = c.idle
	}
	t := time.Now().Add(limit)
	if !c.until.IsZero() && c.until.Before(t) {
		return c.until
	}
	return t
}

func (c *conn) Write(p []byte) (int, error) {
	if err := c.SetWriteDeadline(time.Now().Add(c.stall)); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}

// wait says whether the next reads are between commands.
func (c *conn) wait(on bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waiting = on
}

// interrupt ends the read between commands that runs, or the next.
func (c *conn) interrupt() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.interrupted = true
	if c.waiting {
		_ = c.SetReadDeadline(time.Unix(1, 0)) // fails only where the read fails too
	}
}

func (c *conn) isInterrupted() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.interrupted
}

// loggedIn lifts the login deadline.
func (c *conn) loggedIn() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.until = time.Time{}
}
