//go:build crashpoints

package crash

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Variable of the environment that says where to die: NAME N PAUSE, the point,
// its passage from 1 on, and how long the one who passes stands still before,
// while everything else goes on.
const Variable = "MTAD_CRASH_POINT"

type order struct {
	name  string
	n     int64
	pause time.Duration
}

var ordered = sync.OnceValue(func() (o order) {
	text := os.Getenv(Variable)
	if text == "" {
		return o
	}
	var pause string
	_, err := fmt.Sscan(text, &o.name, &o.n, &pause)
	if err == nil {
		o.pause, err = time.ParseDuration(pause)
	}
	if err != nil || !strings.Contains(" "+strings.Join(Points(), " ")+" ", " "+o.name+" ") {
		fmt.Fprintf(os.Stderr, "crash: %s=%q: want a point, a number and a pause: %v\n", Variable, text, err)
		os.Exit(2)
	}
	return o
})

var passed atomic.Int64

// Point ends the process as kill -9 does when it is the one that was ordered.
func Point(name string) {
	o := ordered()
	if name != o.name || passed.Add(1) != o.n {
		return
	}
	time.Sleep(o.pause)
	fmt.Fprintf(os.Stderr, "crash: at %s\n", name)
	syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {} // until it has come
}
