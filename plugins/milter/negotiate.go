package milter

import (
	"context"
	"fmt"
	"net"

	gomilter "github.com/emersion/go-milter"

	"mtad/milterd/wire"
)

// dial connects and negotiates.
func (f *filter) dial(ctx context.Context) (*link, error) {
	d := net.Dialer{Timeout: f.ConnectTimeout}
	conn, err := d.DialContext(ctx, f.endpoint.network, f.endpoint.addr)
	if err != nil {
		return nil, fmt.Errorf("milter: %w", timedOut(err))
	}
	l := newLink(conn)
	stop := l.watch(ctx)
	err = l.negotiate(ctx, f)
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		conn.Close()
		return nil, f.errorf("negotiation: %w", err)
	}
	return l, nil
}

func (l *link) negotiate(ctx context.Context, f *filter) error {
	ours := wire.Offer(uint32(f.Protocol))
	l.put(gomilter.CodeOptNeg, ours.Append(nil))
	if err := l.arm(ctx, f.CommandTimeout); err != nil {
		return err
	}
	if err := l.flush(); err != nil {
		return err
	}
	code, data, err := l.read()
	if err != nil {
		return err
	}
	if gomilter.Code(code) != gomilter.CodeOptNeg {
		return fmt.Errorf("%w: answered with %q", wire.ErrProtocol, code)
	}
	l.Terms, err = wire.Agree(ours, data)
	l.stages = stagesOf(&l.Terms)
	return err
}
