// Package postfix shows traces as the log lines that Postfix and Dovecot would
// write, for the programs that read those: pflogsumm, mailgraph, fail2ban.
//
// The trace is the truth; a [Writer] only has to remember, within bounds, which
// connections it has told of and how much of a message is still in the queue.
package postfix

import (
	"fmt"
	"hash/fnv"
	"io"
	"strings"
	"sync"
	"time"

	"mtad/message"
	"mtad/pipeline"
)

const (
	maxLine = 2000  // octets of a line
	maxText = 600   // octets of a text from outside
	maxKept = 10000 // connections and messages that are remembered
)

// Options of New; zero values mean the defaults.
type Options struct {
	Ident string // what stands before "/smtpd"; default "postfix"
	Host  string // of the lines; default "localhost"
}

// Writer is safe for concurrent use.
type Writer struct {
	w    io.Writer
	opts Options

	mu    sync.Mutex
	told  map[string]bool    // connections
	queue map[message.ID]int // recipients that wait
	err   error
}

// New returns a Writer of lines in syslog's traditional form to w.
func New(w io.Writer, opts Options) *Writer {
	if opts.Ident == "" {
		opts.Ident = "postfix"
	}
	if opts.Host == "" {
		opts.Host = "localhost"
	}
	return &Writer{w: w, opts: opts, told: map[string]bool{}, queue: map[message.ID]int{}}
}

// ID is a message's ID as it stands in the lines: upper-case hexadecimal, which
// is all that mailgraph takes for one. message.ParseID reads it.
func ID(id message.ID) string { return fmt.Sprintf("%016X", uint64(id)) }

// Write writes the lines of a trace or of a part of one. It returns the first
// error of writing.
func (w *Writer) Write(t pipeline.Trace) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := &scene{w: w, id: t.ID, proto: "SMTP"}
	for i := range t.Events {
		s.event(&t.Events[i])
	}
	s.end()
	return w.err
}

// line writes one line. Nothing in it can begin another.
func (w *Writer) line(at time.Time, program string, pid uint32, format string, args ...any) {
	if w.err != nil {
		return
	}
	text := fmt.Sprintf(format, args...)
	if len(text) > maxLine {
		text = strings.ToValidUTF8(text[:maxLine], "")
	}
	_, w.err = fmt.Fprintf(w.w, "%s %s %s[%d]: %s\n", at.Local().Format(time.Stamp), clean(w.opts.Host), program, pid, clean(text))
}

// first reports whether a connection is told of for the first time.
func (w *Writer) first(key string) bool {
	if w.told[key] {
		return false
	}
	if len(w.told) >= maxKept {
		clear(w.told)
	}
	w.told[key] = true
	return true
}

// wait adds to what waits of a message. What is forgotten is never removed.
func (w *Writer) wait(id message.ID, n int) {
	if _, ok := w.queue[id]; !ok && len(w.queue) >= maxKept {
		clear(w.queue)
	}
	w.queue[id] += n
}

// pidOf is a process number that the lines of one connection have in common.
func pidOf(key string) uint32 {
	h := fnv.New32a()
	_, _ = io.WriteString(h, key) // never fails
	return h.Sum32()%30000 + 1000
}

// clean replaces control characters, line ends of every kind among them.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 || r == '\u2028' || r == '\u2029' || r == '\ufffd' {
			return '?'
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
}

// text is a text from outside, bounded; it can't end the parentheses it is in, and
// has neither an address in brackets nor a status.
func text(s string) string {
	if len(s) > maxText {
		s = strings.ToValidUTF8(s[:maxText], "")
	}
	return strings.NewReplacer("\r\n", " ", "\n", " ", "(", "{", ")", "}", "[", "{", "]", "}", "=", ":").Replace(s)
}

// word is an address or a name from outside. It can't end the brackets it is in.
func word(s string) string {
	if len(s) > maxText {
		s = strings.ToValidUTF8(s[:maxText], "")
	}
	return strings.NewReplacer("<", "?", ">", "?", "[", "?", "]", "?", ",", "?", ";", "?", " ", "?").Replace(s)
}
