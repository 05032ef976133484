package mtatest

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// taken are the ports that tests of this process have. The tests of other
// packages run at the same time: what says that a port is ours to them is a lock
// on a file, which goes with the process.
var taken = struct {
	sync.Mutex
	locks map[int]*os.File
}{locks: map[int]*os.File{}}

// claim takes a port, unless somebody has it.
func claim(port int) bool {
	if taken.locks[port] != nil {
		return false
	}
	dir := filepath.Join(os.TempDir(), fmt.Sprintf("mtad-test-ports-%d", os.Getuid()))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return false
	}
	f, err := os.OpenFile(filepath.Join(dir, strconv.Itoa(port)), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return false
	}
	if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil {
		f.Close()
		return false
	}
	l, err := net.Listen("tcp", Local(port))
	if err != nil {
		f.Close()
		return false
	}
	l.Close()
	taken.locks[port] = f
	return true
}

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
	base = 10000 + rand.IntN(18500) // five digits, and room for ManageSieve's 4190
	for i, o := range offsets {
		if claim(base + o) {
			continue
		}
		for _, mine := range offsets[:i] {
			taken.locks[base+mine].Close()
			delete(taken.locks, base+mine)
		}
		return 0, false
	}
	return base, true
}

// Local is the loopback address of a port.
func Local(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }
