package imapd

import (
	"strings"
)

// idle reports changes as they happen until the client says DONE (RFC 2177, 3).
// A second goroutine waits for the client meanwhile.
func (s *session) idle() (reply, error) {
	if err := s.r.End(); err != nil {
		return reply{}, err
	}
	watch := s.store.Watch(s.account.ID)
	defer watch.Close()
	s.w.Raw("+ idling\r\n")
	// What happened before the watch began.
	if err := s.pushChanges(); err != nil {
		return reply{}, fatal{err}
	}
	heard := make(chan error, 1)
	s.conn.Wait(true)
	go func() { heard <- s.r.Wait() }()
	for {
		select {
		case err := <-heard:
			s.conn.Wait(false)
			if err != nil {
				return reply{}, fatal{err}
			}
			return s.done()
		case <-watch.C:
			if err := s.pushChanges(); err != nil {
				s.conn.Interrupt()
				<-heard
				return reply{}, fatal{err}
			}
		}
	}
}

// pushChanges writes what is new, and gives the buffer back.
func (s *session) pushChanges() error {
	if s.selected != nil {
		if err := s.sync(true); err != nil {
			return err
		}
	}
	return s.w.Flush()
}

// done reads the word that ends IDLE.
func (s *session) done() (reply, error) {
	s.r.Begin()
	line, err := s.r.Line()
	if err != nil {
		return reply{}, err
	}
	if !strings.EqualFold(strings.TrimSpace(line), "DONE") {
		return reply{status: statusBad, text: "Expected DONE"}, nil
	}
	return ok("IDLE completed"), nil
}
