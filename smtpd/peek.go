package smtpd

import (
	"bytes"
	"errors"
	"io"
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// presence is what a look at a socket tells of its peer.
type presence uint8

const (
	silent  presence = iota // connected, nothing to read
	talking                 // there is something to read
	gone                    // reset, or the stream ended
)

// pending looks at what the peer has sent, without reading it.
func pending(nc net.Conn) presence {
	sc, ok := nc.(syscall.Conn)
	if !ok {
		return silent
	}
	rc, err := sc.SyscallConn()
	if err != nil {
		return gone
	}
	state := silent
	err = rc.Control(func(fd uintptr) {
		var b [1]byte
		n, _, err := unix.Recvfrom(int(fd), b[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
		switch {
		case errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR):
		case err != nil || n == 0:
			state = gone
		default:
			state = talking
		}
	})
	if err != nil {
		return gone
	}
	return state
}

// gone reports whether the client has left: its connection was reset, or its
// stream ended without a QUIT. Nobody would hear the reply, and the client will
// send the message again.
func (c *conn) gone() error {
	for wait := shortestWait; ; {
		switch pending(c.raw) {
		case silent:
			return nil
		case gone:
			c.takeIn()
			if c.quitBuffered() {
				return nil
			}
			return errClientGone
		}
		// Something came; take it in to see what lies behind.
		if c.r.Buffered() == c.r.Size() {
			return nil
		}
		before := c.r.Buffered()
		_, err := c.peek(before+1, wait)
		switch {
		case errors.Is(err, io.EOF):
			if c.quitBuffered() {
				return nil
			}
			return errClientGone
		case c.r.Buffered() > before:
		case wait > longestWait:
			return nil
		default:
			// Half a TLS record, and then the next look finds nothing; or the wait was
			// over before this goroutine came to read.
			wait *= 2
		}
	}
}

// takeIn reads ahead what has come of a stream that ended: TLS may hold records that
// were taken from the socket and not looked into yet. Where a stream has ended nothing
// waits, so that the wait is long enough for the busiest machine.
func (c *conn) takeIn() {
	for before := -1; c.r.Buffered() > before && c.r.Buffered() < c.r.Size(); {
		before = c.r.Buffered()
		if _, err := c.peek(before+1, endWait); err != nil {
			return
		}
	}
}

// How long peek waits for what has come already. A read whose time is over before it
// begins reads nothing, and on a busy machine that is soon.
const (
	shortestWait = time.Millisecond
	longestWait  = 100 * time.Millisecond
	endWait      = time.Second
)

// peek is Peek with a wait of its own.
func (c *conn) peek(n int, wait time.Duration) ([]byte, error) {
	usual := c.wait
	c.wait = wait
	defer func() { c.wait = usual }()
	return c.r.Peek(n)
}

// quitBuffered reports whether a QUIT is among the commands that were read
// ahead.
func (c *conn) quitBuffered() bool {
	buf, _ := c.r.Peek(c.r.Buffered())
	for line := range bytes.SplitSeq(buf, []byte("\n")) {
		if len(line) >= 4 && bytes.EqualFold(line[:4], []byte("QUIT")) {
			return true
		}
	}
	return false
}
