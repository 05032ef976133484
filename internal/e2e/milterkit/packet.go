package milterkit

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"strconv"
	"strings"

	gomilter "github.com/emersion/go-milter"
)

// Terms are what one side of a negotiation says. go-milter has the names of most
// flags.
type Terms struct {
	Version uint32
	Actions gomilter.OptAction
	Steps   gomilter.OptProtocol
}

// All is everything that version 6 has, but the larger packets.
var All = Terms{6, 0x1ff, 0x1fffff}

// kind is one kind of event: the steps by which a milter says that it does not
// want it, and that it does not answer it.
type kind struct {
	skip, mute gomilter.OptProtocol
	since      uint32
}

// kinds are all events, by their letter.
var kinds = map[byte]kind{
	'C': {0x01, 0x1000, 2}, // connect
	'H': {0x02, 0x2000, 2}, // HELO
	'M': {0x04, 0x4000, 2}, // MAIL
	'R': {0x08, 0x8000, 2}, // RCPT
	'T': {0x200, 0x10000, 4},
	'U': {0x100, 0x20000, 3},
	'L': {0x20, 0x80, 2},    // a header field
	'N': {0x40, 0x40000, 2}, // the end of the header
	'B': {0x10, 0x80000, 2}, // a piece of the body
	'E': {0, 0, 2},          // the end of the message
}

// Packet is a packet of the protocol.
func Packet(code byte, data string) []byte {
	out := binary.BigEndian.AppendUint32(nil, uint32(len(data)+1))
	return append(append(out, code), data...)
}

// largest is the longest packet that is read.
const largest = 1 << 20

// read reads a packet.
func read(r *bufio.Reader) (code byte, data string, err error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, "", err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n == 0 || n > largest {
		return 0, "", fmt.Errorf("a packet of %d octets", n)
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(r, b); err != nil {
		return 0, "", err
	}
	return b[0], string(b[1:]), nil
}

// append is the data of a negotiation.
func (t Terms) append() string {
	var out []byte
	for _, n := range []uint32{t.Version, uint32(t.Actions), uint32(t.Steps)} {
		out = binary.BigEndian.AppendUint32(out, n)
	}
	return string(out)
}

func parseTerms(data string) (Terms, error) {
	if len(data) < 12 {
		return Terms{}, fmt.Errorf("a negotiation of %d octets", len(data))
	}
	n := func(at int) uint32 { return binary.BigEndian.Uint32([]byte(data[at:])) }
	return Terms{n(0), gomilter.OptAction(n(4)), gomilter.OptProtocol(n(8))}, nil
}

// show is data as logs have them: quoted, | for NUL, or how long they are.
func show(data string) string {
	if data == "" {
		return ""
	}
	if len(data) > 400 {
		return fmt.Sprintf("%d octets", len(data))
	}
	return strings.ReplaceAll(strconv.Quote(data), `\x00`, `|`)
}
