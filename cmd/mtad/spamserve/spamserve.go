// Package spamserve is `mtad spam spamd`: the engine of rules behind spamd's protocol,
// without the rest of the server.
package spamserve

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"

	"mtad/cmd/mtad/boot"
	"mtad/spam"
	"mtad/spam/spamd"
	"mtad/spamdb"
	"mtad/store"
)

// MaxSize is how large a message may be, unpacked, in octets.
const MaxSize = 2 << 20

// Options says where and for whom to serve.
type Options struct {
	Listen      string // host:port or unix:/path
	Allow       []string
	MaxSize     int
	MaxRequests int
	Timeout     time.Duration
	// State is a directory for what is learned; "" learns nothing.
	State string
}

// ErrUsage is for options that make no sense.
var ErrUsage = errors.New("wrong option")

func (o Options) config(e *spam.Engine, log *slog.Logger) (spamd.Config, error) {
	host, _ := os.Hostname() // templates show none then
	c := spamd.Config{
		Checker: e, Host: spam.Host{Name: host}, Logger: log,
		MaxSize: o.MaxSize, MaxRequests: o.MaxRequests, Timeout: o.Timeout, StallTimeout: min(o.Timeout, 30*time.Second),
	}
	if o.MaxSize <= 0 || o.MaxRequests <= 0 || o.Timeout <= 0 {
		return c, fmt.Errorf("%w: --max-size, --max-requests and --timeout must be more than 0", ErrUsage)
	}
	for _, text := range o.Allow {
		p, err := netip.ParsePrefix(text)
		if a, aerr := netip.ParseAddr(text); aerr == nil {
			p, err = netip.PrefixFrom(a, a.BitLen()), nil
		}
		if err != nil {
			return c, fmt.Errorf("%w: --allow %q: want an address or a network, 192.0.2.0/24 say", ErrUsage, text)
		}
		c.Allow = append(c.Allow, p)
	}
	return c, nil
}

func (o Options) listen() (net.Listener, error) {
	if path, unix := boot.UnixPath(o.Listen); unix {
		return boot.ListenUnix(path, 0o660)
	}
	l, err := net.Listen("tcp", o.Listen)
	switch {
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("%w; ports below 1024 are root's: choose another with --listen, and tell spamc with -p", err)
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("%w; does another spamd run? Stop it, or choose another port with --listen", err)
	}
	return l, err
}

// drainTime is what requests have to end when the server stops.
const drainTime = 30 * time.Second

// Serve serves until the context ends. ready is called with the address.
func Serve(ctx context.Context, o Options, e *spam.Engine, log *slog.Logger, ready func(net.Addr)) (err error) {
	c, err := o.config(e, log)
	if err != nil {
		return err
	}
	if o.State != "" {
		db, err := store.Open(o.State, store.Options{Logger: log}, spamdb.Schema())
		if err != nil {
			return fmt.Errorf("--state %s: %w", o.State, err)
		}
		keeper := spamdb.NewKeeper(db, log)
		defer func() { err = errors.Join(err, keeper.Close(), db.Close()) }()
		j := &spam.Judge{Engine: e, Learned: keeper}
		c.Checker, c.Learner = j, spamd.Teacher(func() *spam.Judge { return j })
	}
	s, err := spamd.New(c)
	if err != nil {
		return err
	}
	l, err := o.listen()
	if err != nil {
		return err
	}
	ready(l.Addr())
	err = s.Serve(ctx, l)
	if ctx.Err() != nil {
		err = nil
	}
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTime)
	defer cancel()
	return errors.Join(err, s.Shutdown(drain))
}
