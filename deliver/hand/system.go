package hand

import (
	"context"
	"errors"
	"log/slog"
	"os/user"
	"strconv"
	"sync"
	"time"

	"mtad/monitor"
)

// Users of the system who are people (login.defs(5), UID_MIN and beyond). nobody
// is above them.
const (
	firstPerson = 1000
	nobodyID    = 65534
)

const (
	forwardTime = 20 * time.Second
	// forwardAge is how long a .forward is believed without being read again:
	// an address is looked at several times while a message comes in.
	forwardAge  = 2 * time.Second
	maxForwards = 1000 // that are kept
	maxReads    = 6    // at once
)

// System is a route.System: users of this machine, and their .forward files as the
// monitor reads them.
type System struct {
	monitor Monitor
	log     *slog.Logger
	users   func(string) (*user.User, error)
	now     func() time.Time
	slots   chan struct{}

	mu   sync.Mutex
	kept map[string]forward // by user and file
}

// forward is an answer.
type forward struct {
	text   []byte
	ok     bool
	reason string
	until  time.Time
}

// NewSystem makes a System.
func NewSystem(m Monitor, log *slog.Logger) *System {
	return &System{monitor: m, log: log, users: user.Lookup, now: time.Now, slots: make(chan struct{}, maxReads), kept: map[string]forward{}}
}

// User finds a user who gets mail.
func (s *System) User(name string) (home string, ok bool, err error) {
	u, err := s.users(name)
	if errors.As(err, new(user.UnknownUserError)) {
		return "", false, nil
	}
	if err != nil {
		return "", false, err
	}
	id, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil || id < firstPerson || id >= nobodyID && id < 1<<16 {
		return "", false, err
	}
	return u.HomeDir, true, nil
}

// Forward reads a .forward file of a user.
func (s *System) Forward(ctx context.Context, name, file string) (text []byte, ok bool, reason string, err error) {
	key := name + "/" + file
	s.mu.Lock()
	f, known := s.kept[key]
	s.mu.Unlock()
	if known && s.now().Before(f.until) {
		return f.text, f.ok, f.reason, nil
	}
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	case <-ctx.Done():
		return nil, false, "", ctx.Err()
	}
	f = forward{}
	f.text, f.ok, err = s.monitor.Forward(ctx, name, file, forwardTime)
	var fault *monitor.Error
	if errors.As(err, &fault) && fault.Fault == monitor.Unsafe {
		f.reason, err = fault.Text, nil
		s.log.Warn("a .forward is not used", "user", name, "file", file, "reason", f.reason)
	}
	if err != nil {
		return nil, false, "", err
	}
	f.until = s.now().Add(forwardAge)
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.kept) >= maxForwards {
		clear(s.kept)
	}
	s.kept[key] = f
	return f.text, f.ok, f.reason, nil
}
