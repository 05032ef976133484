package mtatest

import (
	"runtime"
	"syscall"
	"testing"
	"time"
)

// rusageThread is RUSAGE_THREAD of getrusage(2).
const rusageThread = 1

// CPU begins to measure the processor time of the goroutine that calls it, and gives
// what has passed of it since. Others' load does not count: a bound on it says how much
// work something is, not how busy the machine was. The goroutine keeps its thread until
// the test ends.
func CPU(t testing.TB) func() time.Duration {
	t.Helper()
	runtime.LockOSThread()
	t.Cleanup(runtime.UnlockOSThread)
	used := func() time.Duration {
		var u syscall.Rusage
		Check(t, syscall.Getrusage(rusageThread, &u))
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	begin := used()
	return func() time.Duration { return used() - begin }
}
