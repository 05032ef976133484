package milter

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	gomilter "github.com/emersion/go-milter"

	"mtad/pipeline"
)

// Codes that go-milter has no constants for.
const (
	codeUnknown gomilter.Code = 'U' // SMFIC_UNKNOWN

	actProgress gomilter.ActionCode = 'p' // SMFIR_PROGRESS
	actConnFail gomilter.ActionCode = 'f' // SMFIR_CONN_FAIL
	actShutdown gomilter.ActionCode = '4' // SMFIR_SHUTDOWN

	actAddRcptPar gomilter.ModifyActCode = '2' // SMFIR_ADDRCPT_PAR
)

// maxPacket is the longest packet taken from a milter: a body that a milter
// replaces comes in pieces, so this is far beyond what honest ones send.
const maxPacket = 64 << 20

// flushAt is how much is gathered before it is written, where no reply makes us
// write sooner.
const flushAt = 64 << 10

// link is a connection to a milter that has negotiated. Commands gather in out
// until a reply is needed: one write a batch, so that neither Nagle's algorithm
// nor delayed acknowledgements ever hold anything up.
type link struct {
	terms
	conn net.Conn
	in   *bufio.Reader
	out  []byte
	data []byte // of the last packet read
}

func newLink(c net.Conn) *link {
	if t, ok := c.(*net.TCPConn); ok {
		t.SetNoDelay(true)
	}
	return &link{conn: c, in: bufio.NewReaderSize(c, 2<<10), terms: terms{limit: gomilter.MaxBodyChunk}}
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
	start = len(l.out)
	l.out = append(l.out, 0, 0, 0, 0, byte(code))
	return start
}

func (l *link) end(start int) {
	binary.BigEndian.PutUint32(l.out[start:], uint32(len(l.out)-start-4))
}

// put adds a whole packet.
func (l *link) put(code gomilter.Code, data []byte) {
	start := l.begin(code)
	l.out = append(l.out, data...)
	l.end(start)
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
	code, l.data, err = readPacket(l.in, l.data[:0])
	if cap(l.data) > 2*flushAt {
		data, l.data = l.data, nil
		return code, data, timedOut(err)
	}
	return code, l.data, timedOut(err)
}

// readPacket appends a packet's data to buf. It takes no memory for octets that
// have not come.
func readPacket(r *bufio.Reader, buf []byte) (code byte, data []byte, err error) {
	head, err := r.Peek(4)
	if err != nil {
		return 0, buf, hungUp(err)
	}
	n := binary.BigEndian.Uint32(head)
	if n == 0 || n > maxPacket {
		return 0, buf, fmt.Errorf("%w: a packet of %d octets", ErrProtocol, n)
	}
	if head, err = r.Peek(5); err != nil {
		return 0, buf, hungUp(err)
	}
	code = head[4]
	r.Discard(5)
	for left := int(n) - 1; left > 0; {
		at, piece := len(buf), min(left, 64<<10)
		buf = append(buf, make([]byte, piece)...)
		if _, err := io.ReadFull(r, buf[at:]); err != nil {
			return 0, buf[:at], hungUp(err)
		}
		left -= piece
	}
	return code, buf, nil
}

// errHungUp says that the milter closed the connection.
var errHungUp = errors.New("milter closed the connection")

func hungUp(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errHungUp
	}
	return err
}

// timedOut names the pipeline's own error for a deadline that passed.
func timedOut(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return pipeline.ErrTimeout
	}
	return err
}
