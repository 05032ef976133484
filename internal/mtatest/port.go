package mtatest

import (
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"
)

// taken are the ports that tests of this run have.
var taken = struct {
	sync.Mutex
	ports map[int]bool
}{ports: map[int]bool{}}

// FreeBase finds a base such that nobody has the ports at the offsets from it,
// and takes them. They are below those that the system gives away by itself.
func FreeBase(t testing.TB, offsets ...int) (base int) {
	t.Helper()
	Eventually(t, "a free port", 10*time.Second, func() (ok bool) {
		base, ok = free(offsets)
		return ok
	})
	return base
}

// FreePort is a single port that nobody has.
func FreePort(t testing.TB) int {
	t.Helper()
	return FreeBase(t, 0)
}

func free(offsets []int) (base int, ok bool) {
	taken.Lock()
	defer taken.Unlock()
	base = 2000 + rand.IntN(27000)
	for _, o := range offsets {
		l, err := net.Listen("tcp", Local(base+o))
		if err != nil {
			return 0, false
		}
		l.Close()
		if taken.ports[base+o] {
			return 0, false
		}
	}
	for _, o := range offsets {
		taken.ports[base+o] = true
	}
	return base, true
}

// Local is the loopback address of a port.
func Local(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }
