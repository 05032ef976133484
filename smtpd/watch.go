package smtpd

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"mtad/pipeline"
)

// seen is what a connection has done, for Config.Watch. A nil one counts nothing.
type seen struct {
	began  pipeline.Event
	counts map[string]tally
	last   string // command
	ended  string
}

// tally is how often a command came, and was refused.
type tally struct{ all, refused int }

// watch tells of a new connection.
func (c *conn) watch(e pipeline.Event) *seen {
	if c.cfg.Watch == nil {
		return nil
	}
	c.cfg.Watch(e)
	return &seen{began: e, counts: map[string]tally{}, last: "CONNECT"}
}

// watched are the commands that are counted by name, in the order in which they
// are told.
var watched = []string{
	"HELO", "EHLO", "LHLO", "STARTTLS", "AUTH", "MAIL", "RCPT", "DATA", "BDAT", "RSET", "NOOP", "VRFY", "XCLIENT", "QUIT", "UNKNOWN",
}

func (s *seen) count(name string, refused bool) {
	if s == nil {
		return
	}
	if _, ok := verbs[name]; !ok || name == "HELP" || name == "EXPN" {
		name = "UNKNOWN"
	}
	s.last = name
	t := s.counts[name]
	t.all++
	if refused {
		t.refused++
	}
	s.counts[name] = t
}

// end notes why the connection ended.
func (s *seen) end(err error) {
	if s == nil {
		return
	}
	var timeout net.Error
	switch {
	case errors.Is(err, errQuit) && s.last == "QUIT" || errors.Is(err, errClosing):
		s.ended = "quit"
	case errors.Is(err, errQuit):
		s.ended = "too many errors after " + s.last
	case errors.As(err, &timeout) && timeout.Timeout():
		s.ended = "timeout after " + s.last
	case errors.Is(err, io.EOF) || errors.As(err, &timeout):
		s.ended = "lost connection after " + s.last
	}
}

// tell tells of the connection's end.
func (s *seen) tell(c *conn) {
	if s == nil {
		return
	}
	now := c.cfg.Now()
	e := s.began
	e.Took, e.Time, e.Action, e.Mods = now.Sub(e.Time), now, s.ended, s.summary()
	if e.Action == "" {
		e.Action = "quit"
	}
	c.cfg.Watch(e)
	c.seen = nil
}

// summary is how often each command came, and how often of that it was obeyed.
func (s *seen) summary() (out []string) {
	var total tally
	for _, name := range watched {
		if t := s.counts[name]; t.all > 0 {
			out = append(out, strings.ToLower(name)+"="+t.String())
			total.all, total.refused = total.all+t.all, total.refused+t.refused
		}
	}
	return append(out, "commands="+total.String())
}

// String is "obeyed/all", or one number if that is the same.
func (t tally) String() string {
	if t.refused > 0 || t.all == 0 {
		return fmt.Sprintf("%d/%d", t.all-t.refused, t.all)
	}
	return fmt.Sprint(t.all)
}
