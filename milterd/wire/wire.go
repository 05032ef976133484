// Package wire is what both ends of the milter protocol share: packets, codes,
// the negotiation. Filter "milter" speaks it as the mail server, milterd as the
// milter. Code numbers and flags are those of emersion/go-milter; here are those
// it lacks.
package wire

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	gomilter "github.com/emersion/go-milter"
)

// Codes that go-milter has no constants for.
const (
	CodeUnknown gomilter.Code = 'U' // SMFIC_UNKNOWN

	ActProgress gomilter.ActionCode = 'p' // SMFIR_PROGRESS
	ActConnFail gomilter.ActionCode = 'f' // SMFIR_CONN_FAIL
	ActShutdown gomilter.ActionCode = '4' // SMFIR_SHUTDOWN

	ActAddRcptPar gomilter.ModifyActCode = '2' // SMFIR_ADDRCPT_PAR
)

// MaxPacket is the longest packet that is taken: a body that a milter replaces
// comes in pieces, so this is far beyond what honest ones send.
const MaxPacket = 64 << 20

// Errors of a peer.
var (
	ErrProtocol = errors.New("milter broke the protocol")
	ErrHungUp   = errors.New("milter closed the connection")
)

// Begin appends the head of a packet to out; what is appended until End, which
// is given start, is its data.
func Begin(out []byte, code byte) (grown []byte, start int) {
	return append(out, 0, 0, 0, 0, code), len(out)
}

// End completes the packet that began at start.
func End(out []byte, start int) {
	binary.BigEndian.PutUint32(out[start:], uint32(len(out)-start-4))
}

// Append appends a whole packet to out.
func Append(out []byte, code byte, data ...byte) []byte {
	out, start := Begin(out, code)
	out = append(out, data...)
	End(out, start)
	return out
}

// Read appends a packet's data to buf; one with more octets than limit breaks
// the protocol. It takes no memory for octets that have not come.
func Read(r *bufio.Reader, buf []byte, limit int) (code byte, data []byte, err error) {
	head, err := r.Peek(4)
	if err != nil {
		return 0, buf, hungUp(err)
	}
	n := binary.BigEndian.Uint32(head)
	if n == 0 || uint64(n) > uint64(limit) {
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

func hungUp(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return ErrHungUp
	}
	return err
}
