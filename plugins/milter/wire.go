package milter

import (
	"bufio"
	"context"
	"errors"
	"net"
	"os"
	"time"

	gomilter "github.com/emersion/go-milter"

	"mtad/milterd/wire"
	"mtad/pipeline"
)

// flushAt is how much is gathered before it is written, where no reply makes us
// write sooner.
const flushAt = 64 << 10

// link is a connection to a milter that has negotiated. Commands gather in out
// until a reply is needed: one write a batch, so that neither Nagle's algorithm
// nor delayed acknowledgements ever hold anything up.
type link struct {
	wire.Terms
	stages pipeline.Stages // that it wants
	conn   net.Conn
	in     *bufio.Reader
	out    []byte
	data   []byte // of the last packet read
	armed  bool   // the deadline is that of the next reply
}

func newLink(c net.Conn) *link {
	if t, ok := c.(*net.TCPConn); ok {
		t.SetNoDelay(true)
	}
	return &link{conn: c, in: bufio.NewReaderSize(c, 2<<10), Terms: wire.Terms{Limit: gomilter.MaxBodyChunk}, stages: stages}
}

// watch makes a cancelled context end what waits on the connection. The function
// it returns ends the watching.
func (l *link) watch(ctx context.Context) (stop func() bool) {
	return context.AfterFunc(ctx, func() { l.conn.SetDeadline(time.Unix(1, 0)) })
}

// arm sets the deadline of what comes next: timeout from now, or the context's.
func (l *link) arm(ctx context.Context, timeout time.Duration) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	t := time.Now().Add(timeout)
	if d, ok := ctx.Deadline(); ok && d.Before(t) {
		t = d
	}
	if err := l.conn.SetDeadline(t); err != nil {
		return err
	}
	return ctx.Err() // watch may have been first
}

// begin starts a packet; what is appended to out until end is its data.
func (l *link) begin(code gomilter.Code) (start int) {
	l.out, start = wire.Begin(l.out, byte(code))
	return start
}

func (l *link) end(start int) { wire.End(l.out, start) }

// put adds a whole packet.
func (l *link) put(code gomilter.Code, data []byte) {
	l.out = wire.Append(l.out, byte(code), data...)
}

// flush writes what has gathered. The deadline must have been set.
func (l *link) flush() error {
	if len(l.out) == 0 {
		return nil
	}
	_, err := l.conn.Write(l.out)
	if cap(l.out) > 2*flushAt {
		l.out = nil // pieces of a body larger than usual
	}
	l.out = l.out[:0]
	return timedOut(err)
}

// keep is how large a buffer may be that a session keeps between transactions.
const keep = 16 << 10

// trim lets go of the memory that a large message took.
func (l *link) trim() {
	if len(l.out) == 0 && cap(l.out) > keep {
		l.out = nil
	}
	if cap(l.data) > keep {
		l.data = nil
	}
}

// read returns the next packet. The data are valid until the next read.
func (l *link) read() (code byte, data []byte, err error) {
	code, l.data, err = wire.Read(l.in, l.data[:0], wire.MaxPacket)
	if cap(l.data) > 2*flushAt {
		data, l.data = l.data, nil
		return code, data, timedOut(err)
	}
	return code, l.data, timedOut(err)
}

// timedOut names the pipeline's own error for a deadline that passed.
func timedOut(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return pipeline.ErrTimeout
	}
	return err
}
