package milterd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"mtad/message"
	"mtad/pipeline"
)

// ErrClosed is what Serve returns after Shutdown.
var ErrClosed = errors.New("milterd: server closed")

// Config is a listener for mail servers. The functions are called from many
// goroutines at once and obey their context.
type Config struct {
	Name     string // labels logs and traces
	Hostname string // ours, where the mail server does not tell its own
	Protocol uint32 // the highest version spoken; 0 is 6
	Limits   Limits
	SpoolDir string

	// Pipeline returns the pipeline in force and a function to call when the
	// session has left it.
	Pipeline func() (*pipeline.Pipeline, func())
	// Trusted reports whether a client is in mynetworks. It may be nil.
	Trusted func(netip.Addr) bool
	// Hide says which fields of a message filters do not see; they are
	// removed from it. It may be nil.
	Hide func(message.Field) bool
	// Finish adds the fields that a message gets when all filters have seen
	// it. It may be nil.
	Finish func(*pipeline.View) *pipeline.View
	// Trace is given the trace of every transaction that ended, and of every
	// session that was refused before one. It may be nil.
	Trace func(pipeline.Trace)

	Log *slog.Logger
	Now func() time.Time
}

// Limits are the bounds of a session. Zero fields mean those of DefaultLimits.
type Limits struct {
	MessageSize int64 // octets
	Recipients  int   // of a transaction
	Connections int   // of mail servers; libmilter's default is the system's
	Idle        time.Duration
	Packet      time.Duration // for the rest of a packet that has begun, and for a reply to be taken
	Command     time.Duration // of the pipeline's work on a command
	Message     time.Duration // of its work on a message
	Header      message.Limits
}

// DefaultLimits fit the time-outs of Postfix and Sendmail: both give a milter 5
// minutes for a message, and keep their connection as long as their client's.
var DefaultLimits = Limits{
	MessageSize: 50 << 20, Recipients: 1000, Connections: 1000,
	Idle: 2 * time.Hour, Packet: time.Minute, Command: 25 * time.Second, Message: 4 * time.Minute,
	Header: message.DefaultLimits,
}

func (c *Config) defaults() {
	if c.Protocol == 0 {
		c.Protocol = maxVersion
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	l, d := &c.Limits, DefaultLimits
	orDefault(&l.MessageSize, d.MessageSize)
	orDefault(&l.Recipients, d.Recipients)
	orDefault(&l.Connections, d.Connections)
	orDefault(&l.Idle, d.Idle)
	orDefault(&l.Packet, d.Packet)
	orDefault(&l.Command, d.Command)
	orDefault(&l.Message, d.Message)
	orDefault(&l.Header, d.Header)
}

func orDefault[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

// Server serves mail servers.
type Server struct {
	cfg Config

	mu        sync.Mutex
	closing   bool
	listeners map[net.Listener]struct{}
	sessions  map[*session]struct{}
	idle      sync.WaitGroup
}

// New makes a server. It listens to nothing yet.
func New(cfg Config) (*Server, error) {
	cfg.defaults()
	if cfg.Pipeline == nil {
		return nil, fmt.Errorf("milterd: listener %s: Pipeline must be set", cfg.Name)
	}
	if cfg.Protocol < minVersion || cfg.Protocol > maxVersion {
		return nil, fmt.Errorf("milterd: listener %s: version %d is not spoken, only %d to %d", cfg.Name, cfg.Protocol, minVersion, maxVersion)
	}
	return &Server{cfg: cfg, listeners: map[net.Listener]struct{}{}, sessions: map[*session]struct{}{}}, nil
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
		c, err := l.Accept()
		if err == nil {
			pause = 5 * time.Millisecond
			s.welcome(ctx, c)
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

// welcome starts a session, or hangs up if there are too many: what that means
// is the mail server's to decide.
func (s *Server) welcome(ctx context.Context, c net.Conn) {
	ss := newSession(s, c)
	if !s.admit(ss) {
		s.cfg.Log.Warn("too many mail servers are connected", "listener", s.cfg.Name, "limit", s.cfg.Limits.Connections)
		c.Close()
		return
	}
	s.idle.Go(func() {
		defer s.leave(ss)
		ss.serve(ctx)
	})
}

func (s *Server) admit(ss *session) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing || len(s.sessions) >= s.cfg.Limits.Connections {
		return false
	}
	s.sessions[ss] = struct{}{}
	return true
}

func (s *Server) leave(ss *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.sessions, ss)
}

// Connections is how many mail servers are connected.
func (s *Server) Connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.sessions)
}

// Shutdown stops listening, lets each session come to the end of its transaction,
// and closes it there. When ctx ends, what is left is cut off.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	s.closing = true
	for l := range s.listeners {
		l.Close()
	}
	for ss := range s.sessions {
		ss.hurry()
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
	for ss := range s.sessions {
		ss.conn.Close()
	}
	s.mu.Unlock()
	<-done
	return ctx.Err()
}
