package milter

import (
	"sync"
	"syscall"
	"time"

	gomilter "github.com/emersion/go-milter"
)

// idleTime is how long a connection without a session is kept.
const idleTime = 60 * time.Second

// pool keeps connections whose session ended with QUIT_NC: the milter waits for
// the next CONNECT on them, without a new negotiation.
type pool struct {
	limit int

	mu     sync.Mutex
	idle   []*idle
	closed bool
}

type idle struct {
	link  *link
	timer *time.Timer
}

// get returns the connection that was used last and still lives, or nil.
func (p *pool) get() *link {
	for {
		l := p.pop()
		if l == nil || l.alive() {
			return l
		}
		l.conn.Close()
	}
}

func (p *pool) pop() *link {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := len(p.idle) - 1
	if n < 0 {
		return nil
	}
	i := p.idle[n]
	p.idle = p.idle[:n]
	i.timer.Stop()
	return i.link
}

// put keeps the connection, if there is room.
func (p *pool) put(l *link) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || len(p.idle) >= p.limit {
		return false
	}
	i := &idle{link: l}
	i.timer = time.AfterFunc(idleTime, func() { p.expire(i) })
	p.idle = append(p.idle, i)
	return true
}

func (p *pool) expire(i *idle) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for n, o := range p.idle {
		if o == i {
			p.idle = append(p.idle[:n], p.idle[n+1:]...)
			i.link.quit()
			return
		}
	}
}

func (p *pool) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for _, i := range p.idle {
		i.timer.Stop()
		i.link.quit()
	}
	p.idle = nil
}

// quitTimeout bounds the farewell.
const quitTimeout = time.Second

// quit says good-bye and closes.
func (l *link) quit() error {
	l.put(gomilter.CodeQuit, nil)
	l.conn.SetDeadline(time.Now().Add(quitTimeout))
	l.flush()
	return l.conn.Close()
}

// alive reports whether the milter has neither closed the connection nor said
// anything on it, which it may not.
func (l *link) alive() bool {
	sc, ok := l.conn.(syscall.Conn)
	if !ok || l.in.Buffered() > 0 {
		return false
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return false
	}
	quiet := false
	err = raw.Control(func(fd uintptr) {
		var b [1]byte
		_, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		quiet = err == syscall.EAGAIN
	})
	return err == nil && quiet
}
