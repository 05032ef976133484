package logs

import (
	"os"
	"strings"
	"sync"
	"time"

	"mtad/admin"
	"mtad/trace/postfix"
)

var ownPID = uint32(os.Getpid())

// Bounds of recent.
const (
	recentLines  = 5000
	recentOctets = 2 << 20
	recentLine   = 4000 // octets of one
)

// recent keeps the newest lines of the log, wherever they go. The zero value is
// ready; it is safe for concurrent use.
type recent struct {
	mu     sync.Mutex
	lines  []admin.LogLine
	octets int
	seq    uint64
}

func (r *recent) add(at time.Time, sev postfix.Severity, text string) {
	if len(text) > recentLine {
		text = strings.ToValidUTF8(text[:recentLine], "")
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seq++
	r.lines = append(r.lines, admin.LogLine{Seq: r.seq, Time: at, Level: levelNames[sev], Text: text})
	r.octets += len(text)
	n := 0
	for len(r.lines)-n > recentLines || r.octets > recentOctets {
		r.octets -= len(r.lines[n].Text)
		r.lines[n] = admin.LogLine{}
		n++
	}
	r.lines = r.lines[n:] // append moves them to new room now and then
}

var levelNames = map[postfix.Severity]string{postfix.Err: "error", postfix.Warning: "warn", postfix.Info: "info", postfix.Debug: "debug"}

// after returns the lines behind one that was had before; after 0 all there are.
func (r *recent) after(seq uint64) []admin.LogLine {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := len(r.lines)
	if back := r.seq - min(seq, r.seq); back < uint64(n) {
		n = int(back)
	}
	return append([]admin.LogLine{}, r.lines[len(r.lines)-n:]...)
}
