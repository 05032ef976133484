package message

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// ID names a message and the trace of how it came. Its upper 42 bits are
// milliseconds since 2020, so that IDs sort roughly by time; the lower 22 are a
// counter that starts at a random place, so that one process never repeats one.
type ID uint64

const (
	idEpoch    = 1577836800000 // 2020-01-01 UTC, in milliseconds
	idSequence = 22            // bits of the counter
	idLetters  = "0123456789abcdefghjkmnpqrstvwxyz"
	idLength   = 13
)

var sequence atomic.Uint32

// NewID returns an ID that no other call in this process has returned.
func NewID(now time.Time) ID {
	n := sequence.Add(1)
	if n == 1 {
		n = sequence.Add(rand.Uint32N(1 << idSequence))
	}
	ms := uint64(max(now.UnixMilli()-idEpoch, 0))
	return ID(ms<<idSequence | uint64(n)&(1<<idSequence-1))
}

// Time is when the ID was made, to the millisecond.
func (id ID) Time() time.Time { return time.UnixMilli(int64(id>>idSequence) + idEpoch) }

// String is the ID as people see it: 13 lower-case letters and digits without
// i, l, o and u.
func (id ID) String() string {
	var b [idLength]byte
	for i := idLength - 1; i >= 0; i-- {
		b[i] = idLetters[id&31]
		id >>= 5
	}
	return string(b[:])
}

// hexLength is how long an ID is in logs of Postfix's shape.
const hexLength = 16

// ParseID reads what String wrote, in either case, or the 16 hexadecimal digits
// that logs of Postfix's shape have.
func ParseID(s string) (ID, error) {
	if n, err := strconv.ParseUint(s, 16, 64); err == nil && n > 0 && len(s) == hexLength {
		return ID(n), nil
	}
	if len(s) != idLength {
		return 0, fmt.Errorf("message: %q is not an ID: it has %d characters, not %d", s, len(s), idLength)
	}
	var id ID
	for i := range len(s) {
		v := strings.IndexByte(idLetters, lower(s[i]))
		if v < 0 || i == 0 && v > 15 {
			return 0, fmt.Errorf("message: %q is not an ID: unexpected %q", s, s[i])
		}
		id = id<<5 | ID(v)
	}
	return id, nil
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}
