// Package boot is how the server begins: by a person, by a service manager that
// passes sockets and wants to be told when it is ready, or by root, who keeps
// the monitor and starts the server as another user.
package boot

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"

	"github.com/coreos/go-systemd/v22/activation"
	"github.com/coreos/go-systemd/v22/daemon"

	"mtad/monitor"
)

// Start is what the process was started with. The zero value is a process that
// was given nothing.
type Start struct {
	client *monitor.Client // nil: there is no monitor
	passed []passed
}

// passed is a socket that was bound by whoever started the process.
type passed struct {
	name string // of the listener; from systemd, FileDescriptorName (systemd.socket(5))
	addr string // where it is bound
	file *os.File
}

// Inherit takes over what the process was started with. It is called once,
// before anything is opened.
func Inherit() (*Start, error) {
	client, sockets, err := monitor.Connect()
	if err != nil {
		return nil, err
	}
	s := &Start{client: client}
	var files []*os.File
	for _, k := range sockets {
		files = append(files, k.File)
	}
	if client == nil {
		files = activation.Files(true)
	}
	for _, f := range files {
		l, err := net.FileListener(f)
		if err != nil {
			return nil, fmt.Errorf("socket activation: descriptor %s: %w", f.Name(), err)
		}
		s.passed = append(s.passed, passed{name: f.Name(), addr: l.Addr().String(), file: f})
		l.Close() // f is another descriptor of it
	}
	return s, nil
}

// ShouldMonitor reports whether this process is to be the monitor: it is root's
// and has none.
func (s *Start) ShouldMonitor() bool { return os.Geteuid() == 0 && s.client == nil }

// Client is the monitor's; nil if there is none.
func (s *Start) Client() *monitor.Client { return s.client }

// Context ends also when the monitor has ended, by whatever.
func (s *Start) Context(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, stop := context.WithCancel(ctx)
	if s.client != nil {
		go func() {
			select {
			case <-s.client.Done():
				stop()
			case <-ctx.Done():
			}
		}()
	}
	return ctx, stop
}

// Tell tells the service manager how the server is, by way of the monitor if
// there is one: systemd believes the main process alone.
func (s *Start) Tell(state monitor.State) error {
	if s.client != nil {
		return s.client.Tell(state)
	}
	return notify(state)
}

func notify(state monitor.State) error {
	text := daemon.SdNotifyReady
	switch state {
	case monitor.Reloading:
		text = daemon.SdNotifyReloading + "\n" + daemon.SdNotifyMonotonicUsec()
	case monitor.Stopping:
		text = daemon.SdNotifyStopping
	}
	if _, err := daemon.SdNotify(false, text); err != nil {
		return fmt.Errorf("tell the service manager: %w", err)
	}
	return nil
}

// Listen returns the sockets of a listener: all that were passed under its name;
// else for each address the one that was passed for it, or a new one.
func (s *Start) Listen(name string, addrs ...string) (out []net.Listener, err error) {
	defer func() {
		if err != nil {
			for _, l := range out {
				l.Close()
			}
		}
	}()
	for _, p := range s.take(func(p passed) bool { return p.name == name }) {
		l, err := p.listener()
		if err != nil {
			return out, err
		}
		out = append(out, l)
	}
	if len(out) > 0 {
		return out, nil
	}
	for _, addr := range addrs {
		ls, err := s.listen(addr)
		out = append(out, ls...)
		if err != nil {
			return out, &AddrError{addr, err}
		}
	}
	return out, nil
}

// AddrError says which address there is no socket of.
type AddrError struct {
	Addr string
	Err  error
}

func (e *AddrError) Error() string { return e.Addr + ": " + e.Err.Error() }
func (e *AddrError) Unwrap() error { return e.Err }

// listen returns one socket, or for an address without a host all that were
// passed for its port: one a family.
func (s *Start) listen(addr string) (out []net.Listener, err error) {
	found := s.take(func(p passed) bool { return sameAddr(p.addr, addr) })
	if len(found) == 0 {
		l, err := net.Listen(family(addr), addr)
		if err != nil {
			return nil, err
		}
		return []net.Listener{l}, nil
	}
	if !strings.HasPrefix(addr, ":") {
		s.passed = append(s.passed, found[1:]...)
		found = found[:1]
	}
	for _, p := range found {
		l, err := p.listener()
		if err != nil {
			return out, err
		}
		out = append(out, l)
	}
	return out, nil
}

// family keeps 0.0.0.0 from meaning IPv6 too, and [::] from meaning IPv4, as they
// do with "tcp": both may be written beside each other. No address means both.
func family(addr string) string {
	a, err := netip.ParseAddrPort(addr)
	switch {
	case err != nil:
		return "tcp"
	case a.Addr().Is4():
		return "tcp4"
	}
	return "tcp6"
}

// take removes what fits.
func (s *Start) take(fits func(passed) bool) (out []passed) {
	var rest []passed
	for _, p := range s.passed {
		if fits(p) {
			out = append(out, p)
		} else {
			rest = append(rest, p)
		}
	}
	s.passed = rest
	return out
}

func (p passed) listener() (net.Listener, error) {
	defer p.file.Close()
	l, err := net.FileListener(p.file)
	if err != nil {
		return nil, fmt.Errorf("the socket passed for %s: %w", p.addr, err)
	}
	if _, ok := l.(*net.TCPListener); !ok {
		l.Close()
		return nil, fmt.Errorf("the socket passed as %s is no TCP socket", p.name)
	}
	return l, nil
}

// sameAddr reports whether a socket bound to one address is what another asks
// for.
func sameAddr(bound, addr string) bool {
	a, errA := netip.ParseAddrPort(bound)
	if port, everywhere := strings.CutPrefix(addr, ":"); everywhere {
		return errA == nil && a.Addr().IsUnspecified() && strconv.Itoa(int(a.Port())) == port
	}
	b, errB := netip.ParseAddrPort(addr)
	return errA == nil && errB == nil && a == b
}

// Unused is an error if a socket was passed that no listener took: clients would
// connect there and wait for ever.
func (s *Start) Unused() error {
	var errs []error
	for _, p := range s.passed {
		errs = append(errs, fmt.Errorf("socket activation: %q (%s) is no listener's: set FileDescriptorName= to the name of one, or give one that address", p.name, p.addr))
	}
	return errors.Join(errs...)
}
