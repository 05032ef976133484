// Package postfix shows traces as the log lines that Postfix and Dovecot would
// write, for the programs that read those: pflogsumm, mailgraph, fail2ban.
//
// The trace is the truth; a [Writer] only has to remember, within bounds, which
// connections it has told of and what of a message is still in the queue.
package postfix

import (
	"fmt"
	"hash/fnv"
	"io"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"mtad/message"
	"mtad/pipeline"
)

const (
	maxLine = 2000             // octets of a line
	maxText = 600              // octets of a text from outside
	maxKept = 10000            // connections and messages that are remembered
	maxLate = 1000             // traces that wait for the arrival they belong to
	maxWait = 10 * time.Second // and for how long
)

// Severity is how much a line matters, in syslog's numbers (RFC 5424, 6.2.1).
type Severity int

// The severities that there are.
const (
	Err     Severity = 3
	Warning Severity = 4
	Info    Severity = 6
	Debug   Severity = 7
)

// Line is one line of a log, without its end. Nothing in it can begin another.
type Line struct {
	Time     time.Time
	Program  string // "postfix/smtpd"
	PID      uint32
	Severity Severity
	Text     string
}

// String is the line in syslog's traditional form, as files have it.
func (l *Line) String(host string) string {
	return fmt.Sprintf("%s %s %s[%d]: %s", l.Time.Local().Format(time.Stamp), Clean(host), l.Program, l.PID, l.Text)
}

// Writer is safe for concurrent use.
type Writer struct {
	out   func(Line)
	ident string

	mu    sync.Mutex
	told  map[string]int64 // connections: the newest of their own events that was told of
	mails map[message.ID]*mail
	late  []pipeline.Trace // in the order they came
}

// mail is a message that has come and is not gone.
type mail struct {
	placed   bool   // what became of it at first is told of
	waiting  int    // recipients in the queue
	envelope string // for what is told of it later
	peer     string
	held     bool // is told of
}

// New returns a Writer of lines to out, which must not keep it waiting. ident
// stands before "/smtpd"; "" is "postfix".
func New(out func(Line), ident string) *Writer {
	if ident == "" {
		ident = "postfix"
	}
	return &Writer{out: out, ident: ident, told: map[string]int64{}, mails: map[message.ID]*mail{}}
}

// ID is a message's ID as it stands in the lines: upper-case hexadecimal, which
// is all that mailgraph takes for one. message.ParseID reads it.
func ID(id message.ID) string { return fmt.Sprintf("%016X", uint64(id)) }

// Write writes the lines of a trace or of a part of one. What happens to a message
// may be told before its arrival is, and an attempt to send it before what put it
// into the queue is; it is written after that.
func (w *Writer) Write(t pipeline.Trace) {
	if len(t.Events) == 0 {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.expire(t.Events[len(t.Events)-1].Time)
	if w.early(&t) {
		w.late = append(w.late, t)
		return
	}
	w.write(&t)
	for {
		i := slices.IndexFunc(w.late, func(l pipeline.Trace) bool { return l.ID == t.ID && !w.early(&l) })
		if i < 0 {
			return
		}
		due := w.late[i]
		w.late = slices.Delete(w.late, i, i+1)
		w.write(&due)
	}
}

// Flush writes what still waits for an arrival.
func (w *Writer) Flush() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.expire(time.Time{})
}

// expire writes what waits in vain: at the zero time all of it.
func (w *Writer) expire(now time.Time) {
	n := 0
	for n < len(w.late) && (now.IsZero() || len(w.late)-n > maxLate || now.Sub(w.late[n].Events[0].Time) > maxWait) {
		w.write(&w.late[n])
		n++
	}
	w.late = slices.Delete(w.late, 0, n)
}

// arrives reports whether a trace tells how a message came.
func arrives(t *pipeline.Trace) bool {
	return slices.ContainsFunc(t.Events, func(e pipeline.Event) bool {
		return e.Kind == pipeline.EventTaken || e.Kind == pipeline.EventMail || e.Kind == pipeline.EventSession
	})
}

// places reports whether a trace tells what became of a message at first: where it
// was filed, or that it waits in the queue.
func places(t *pipeline.Trace) bool {
	return slices.ContainsFunc(t.Events, func(e pipeline.Event) bool {
		return e.Kind == pipeline.EventQueue && e.Action == "" || e.Kind == pipeline.EventDeliver && e.Stage != "queue"
	})
}

// early reports whether a trace tells what happened to a message that has just
// come, and its arrival, or what became of it at first, has not been told.
func (w *Writer) early(t *pipeline.Trace) bool {
	e := &t.Events[0]
	switch e.Kind {
	case pipeline.EventQueue, pipeline.EventDeliver, pipeline.EventRelay:
	default:
		return false
	}
	m := w.mails[t.ID]
	return (m == nil || !m.placed && !places(t)) && !arrives(t) && e.Time.Sub(t.ID.Time()) < maxWait
}

func (w *Writer) write(t *pipeline.Trace) {
	s := &scene{w: w, id: t.ID, proto: "SMTP", own: true}
	for i := range t.Events {
		s.event(&t.Events[i])
	}
	if m := w.mails[t.ID]; m != nil && places(t) {
		m.placed = true
	}
	s.end()
}

// Connection tells of a connection that has begun or, with an Action, ended: its
// Host is the peer, Action how it ended, Mods the commands, Took its length.
func (w *Writer) Connection(e pipeline.Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := &scene{w: w}
	if e.Action == "" {
		s.session(&e)
		return
	}
	s.connection(&e)
	delete(w.told, s.key(e.Host, e.Time.Add(-e.Took)))
	if how, ok := strings.CutPrefix(e.Action, "quit"); !ok || how != "" {
		s.smtpd(e.Time, Info, "%s from %s", text(e.Action), s.peer)
	}
	s.smtpd(e.Time, Info, "disconnect from %s %s", s.peer, strings.Join(e.Mods, " "))
}

// Login is what is known of logins by IMAP in one connection.
type Login struct {
	Time          time.Time
	OK            bool // else the client has gone without one
	User          string
	Mechanism     string
	Remote, Local netip.AddrPort
	TLS           bool
	Failures      int           // before, or in all
	Took          time.Duration // since the client connected
	Session       string
}

// Login tells of a login by IMAP as Dovecot does.
func (w *Writer) Login(l Login) {
	w.mu.Lock()
	defer w.mu.Unlock()
	how := "Login"
	if !l.OK {
		how = fmt.Sprintf("Disconnected (auth failed, %d attempts in %d secs)", l.Failures, int(l.Took.Seconds()))
	}
	more := ""
	if l.Local.IsValid() {
		more += ", lip=" + l.Local.Addr().Unmap().String()
	}
	if l.TLS {
		more += ", TLS"
	}
	if l.Session != "" {
		more += ", session=<" + word(l.Session) + ">"
	}
	addr := "127.0.0.1" // a socket with a path
	if l.Remote.IsValid() {
		addr = l.Remote.Addr().Unmap().String()
	}
	w.line(l.Time, Info, "dovecot", pidOf("dovecot"), "imap-login: %s: user=<%s>, method=%s, rip=%s%s", how, word(l.User), word(l.Mechanism), addr, more)
}

// Note writes a line that is about no message: program is smtpd, master and the
// like. Nothing in it is taken for an address in brackets.
func (w *Writer) Note(at time.Time, sev Severity, program, text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	mark := map[Severity]string{Err: "error: ", Warning: "warning: "}[sev]
	w.line(at, sev, w.ident+"/"+program, pidOf(program), "%s%s", mark, noteForm.Replace(text))
}

func (w *Writer) line(at time.Time, sev Severity, program string, pid uint32, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if len(text) > maxLine {
		text = strings.ToValidUTF8(text[:maxLine], "")
	}
	w.out(Line{at, program, pid, sev, Clean(text)})
}

// mail remembers a message.
func (w *Writer) mail(id message.ID) *mail {
	m := w.mails[id]
	if m == nil {
		dropOne(w.mails)
		m = &mail{}
		w.mails[id] = m
	}
	return m
}

// dropOne makes room in a full map: whatever is forgotten is told less of.
func dropOne[K comparable, V any](m map[K]V) {
	if len(m) < maxKept {
		return
	}
	for k := range m {
		delete(m, k)
		return
	}
}

// pidOf is a process number that the lines of one connection have in common.
func pidOf(key string) uint32 {
	h := fnv.New32a()
	_, _ = io.WriteString(h, key) // never fails
	return h.Sum32()%30000 + 1000
}

// Clean replaces control characters, line ends of every kind among them.
func Clean(s string) string {
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
	return textForm.Replace(s)
}

// word is an address or a name from outside. It can't end the brackets it is in.
func word(s string) string {
	if len(s) > maxText {
		s = strings.ToValidUTF8(s[:maxText], "")
	}
	return wordForm.Replace(s)
}

// What takes the place of characters that would mean something in a line.
var (
	textForm = strings.NewReplacer("\r\n", " ", "\n", " ", "(", "{", ")", "}", "[", "{", "]", "}", "=", ":")
	wordForm = strings.NewReplacer("<", "?", ">", "?", "[", "?", "]", "?", ",", "?", ";", "?", " ", "?")
	noteForm = strings.NewReplacer("[", "{", "]", "}")
)
