package external

import (
	"bytes"
	"fmt"
	"io"
	"time"
)

// A program's standard error within a second: so many lines are logged, so long
// each, and so many octets are read, before it has to wait.
const (
	maxLogLines = 100
	maxLogLine  = 4 << 10
	maxLogRead  = 1 << 20
	logSecond   = time.Second
)

// throttle reads a program's standard error and passes on as much as a log is to
// have of it. What is too much is read and dropped, and counted.
type throttle struct {
	in    io.ReadCloser
	ended <-chan struct{} // then nothing waits
	out   bytes.Buffer
	block []byte

	second  time.Time // the one that these are of
	read    int
	lines   int
	dropped int
	inLine  int // octets of the line in progress
}

func newThrottle(in io.ReadCloser, ended <-chan struct{}) *throttle {
	return &throttle{in: in, ended: ended, block: make([]byte, 8<<10)}
}

// Close ends a Read that waits.
func (t *throttle) Close() error { return t.in.Close() }

func (t *throttle) Read(b []byte) (int, error) {
	for t.out.Len() == 0 {
		t.pace()
		n, err := t.in.Read(t.block)
		t.read += n
		t.take(t.block[:n])
		if err != nil {
			if t.inLine > 0 {
				t.take([]byte("\n"))
			}
			t.told()
			if t.out.Len() == 0 {
				return 0, err
			}
		}
	}
	return t.out.Read(b)
}

// pace begins a new second when it is time to, and waits for it when the program has
// said too much in this one.
func (t *throttle) pace() {
	left := logSecond - time.Since(t.second)
	if left > 0 && t.read < maxLogRead {
		return
	}
	if left > 0 {
		timer := time.NewTimer(left)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-t.ended:
		}
	}
	t.told()
	t.second, t.read, t.lines = time.Now(), 0, 0
}

// told says how much was dropped.
func (t *throttle) told() {
	if t.dropped > 0 && t.inLine == 0 {
		fmt.Fprintf(&t.out, "[WARN] %d more lines were dropped: %d a second are kept\n", t.dropped, maxLogLines)
		t.dropped = 0
	}
}

// take keeps what is not too much.
func (t *throttle) take(b []byte) {
	for len(b) > 0 {
		line, whole := b, false
		if i := bytes.IndexByte(b, '\n'); i >= 0 {
			line, whole = b[:i], true
			b = b[i+1:]
		} else {
			b = nil
		}
		if t.lines < maxLogLines {
			t.out.Write(line[:min(len(line), max(0, maxLogLine-t.inLine))])
			if whole {
				t.out.WriteByte('\n')
			}
		} else if whole {
			t.dropped++
		}
		t.inLine += len(line)
		if whole {
			t.inLine = 0
			t.lines++
		}
	}
}
