package external

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"mtad/config"
)

// limits bound a program. The kernel holds it to its open files and, by a signal
// that ends it, to its CPU time; a watchdog to its memory, for a limit on address
// space is none that a Go program could live with.
type limits struct {
	memory config.Size
	cpu    time.Duration // within any cpuWindow; 0 is no limit
	files  int
}

const (
	cpuWindow   = time.Minute
	limitsEvery = 50 * time.Millisecond
)

func (l limits) none() bool { return l.memory == 0 && l.cpu == 0 }

// set gives a process its limits, before it has been asked anything.
func (l limits) set(pid int) error {
	for _, r := range []struct {
		resource int
		max      uint64
	}{{unix.RLIMIT_NOFILE, uint64(l.files)}, {unix.RLIMIT_CORE, 0}} {
		var old unix.Rlimit
		err := unix.Prlimit(pid, r.resource, nil, &old)
		if err == nil {
			r.max = min(r.max, old.Max) // only root could raise it
			err = unix.Prlimit(pid, r.resource, &unix.Rlimit{Cur: r.max, Max: r.max}, nil)
		}
		if err != nil {
			return fmt.Errorf("limits: %w", err)
		}
	}
	return l.setCPU(pid, 0)
}

// setCPU lets a process that has used CPU time use as much more as it may.
func (l limits) setCPU(pid int, used time.Duration) error {
	if l.cpu == 0 {
		return nil
	}
	var old unix.Rlimit
	err := unix.Prlimit(pid, unix.RLIMIT_CPU, nil, &old)
	if err == nil {
		seconds := uint64((used + l.cpu + time.Second - 1) / time.Second)
		err = unix.Prlimit(pid, unix.RLIMIT_CPU, &unix.Rlimit{Cur: min(seconds, old.Max), Max: old.Max}, nil)
	}
	if err != nil {
		return fmt.Errorf("limits: %w", err)
	}
	return nil
}

// watch kills the program when it is over its limits.
func (c *child) watch() {
	t := time.NewTicker(limitsEvery)
	defer t.Stop()
	pid := c.cmd.Process.Pid
	window, base := time.Now(), time.Duration(0)
	for {
		select {
		case <-c.ended:
			return
		case now := <-t.C:
			u, err := usageOf(pid)
			if err != nil {
				continue // it is ending
			}
			if over := c.limits.over(u, base); over != nil {
				c.kill(over)
				return
			}
			if now.Sub(window) >= cpuWindow {
				window, base = now, u.cpu
				if err := c.limits.setCPU(pid, base); err != nil {
					continue // over stays
				}
			}
		}
	}
}

// over says what a process has too much of.
func (l limits) over(u usage, base time.Duration) error {
	switch {
	case l.memory > 0 && u.memory > l.memory:
		return fmt.Errorf("it was killed: it had %d MiB of memory, and memory = %v is its limit", u.memory/config.MB, l.memory)
	case l.cpu > 0 && u.cpu-base >= l.cpu:
		return fmt.Errorf("it was killed: it computed for %v within a minute, and cpu_time = %v is its limit", (u.cpu - base).Round(time.Millisecond), l.cpu)
	}
	return nil
}

// usage is what a process has and has used.
type usage struct {
	memory config.Size
	cpu    time.Duration
}

// clockTick is sysconf(_SC_CLK_TCK) of every Linux.
const clockTick = time.Second / 100

// usageOf reads /proc/PID/stat (proc(5)): fields 14 and 15 are the time in the
// program and in the kernel, 24 is the resident set in pages.
func usageOf(pid int) (usage, error) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return usage{}, err
	}
	// The name is in parentheses, and may have some of its own.
	f := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
	if len(f) < 22 {
		return usage{}, fmt.Errorf("/proc/%d/stat has %d fields", pid, len(f))
	}
	var n [3]int64
	for i, field := range []int{14, 15, 24} {
		if n[i], err = strconv.ParseInt(string(f[field-3]), 10, 64); err != nil {
			return usage{}, err
		}
	}
	return usage{memory: config.Size(n[2] * int64(os.Getpagesize())), cpu: time.Duration(n[0]+n[1]) * clockTick}, nil
}
