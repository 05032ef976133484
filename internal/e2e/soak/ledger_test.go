//go:build e2e

package soak

import (
	"fmt"
	"hash/crc32"
	"slices"
	"strings"
	"sync"
)

// ledger is what was answered 250, and what was seen of it. A place is a mailbox
// ("alice") or a recipient at the other host ("x@far.test").
type ledger struct {
	mu       sync.Mutex
	owed     map[entry]bool
	seen     map[entry]int
	accepted int // messages
	octets   int
	returned int // messages for nobody, which come back
	notices  int // that came back
	wrong    []string
	counts   map[string]int // what else was done, by name
	serial   int
}

// notice begins the subject of a delivery report.
const notice = "Undelivered mail"

type entry struct{ place, subject string }

func newLedger() *ledger {
	return &ledger{owed: map[entry]bool{}, seen: map[entry]int{}, counts: map[string]int{}}
}

// compose makes a message of about size octets with a subject that no other has,
// and the sum of its body in a field.
func (l *ledger) compose(from, kind string, size int) (subject, text string) {
	l.mu.Lock()
	l.serial++
	subject = fmt.Sprintf("%s %d", kind, l.serial)
	l.mu.Unlock()
	body := strings.Repeat("The quick brown fox: see http://www.bad.example/x\r\n.dot\r\n", size/57+1)
	return subject, fmt.Sprintf("From: <%s>\r\nSubject: %s\r\nX-Sum: %08x\r\n\r\n%s", from, subject, crc32.ChecksumIEEE([]byte(body)), body)
}

// whole reports whether a message's body is that which its field tells of.
func whole(text string) bool {
	head, body, _ := strings.Cut(text, "\r\n\r\n")
	_, sum, _ := strings.Cut(head, "X-Sum: ")
	sum, _, _ = strings.Cut(sum, "\r\n")
	return sum == fmt.Sprintf("%08x", crc32.ChecksumIEEE([]byte(body)))
}

// note writes down a message that was answered 250.
func (l *ledger) note(subject string, size int, to ...string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.accepted++
	l.octets += size
	kind, _, _ := strings.Cut(subject, " ")
	l.counts[kind]++
	for _, rcpt := range to {
		place := strings.TrimSuffix(rcpt, "@example.test")
		switch {
		case rcpt == "nobody@far.test":
			l.returned++
			continue
		case place == "bob" && kind == "forward":
			place = "sent-on@far.test"
		case place == "alice" && kind == "copy":
			l.owed[entry{"copied@far.test", subject}] = true
		}
		l.owed[entry{place, subject}] = true
	}
}

// see writes down a message where it came.
func (l *ledger) see(place, subject string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if strings.HasPrefix(subject, notice) {
		l.notices++
		return
	}
	l.seen[entry{place, subject}]++
}

// count counts something that was done.
func (l *ledger) count(what string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.counts[what]++
}

// fault writes down what should not be; of many of a kind the first ones do.
func (l *ledger) fault(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.wrong) < 50 {
		l.wrong = append(l.wrong, fmt.Sprintf(format, args...))
	}
}

// messages counts what was answered 250.
func (l *ledger) messages() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.accepted
}

// missing counts what has not come yet.
func (l *ledger) missing() (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for e := range l.owed {
		if l.seen[e] == 0 {
			n++
		}
	}
	return n + max(0, l.returned-l.notices)
}

// faults are the promises that were broken.
func (l *ledger) faults() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := slices.Clone(l.wrong)
	for e := range l.owed {
		if l.seen[e] == 0 {
			out = append(out, fmt.Sprintf("lost: %q for %s", e.subject, e.place))
		}
	}
	for e, n := range l.seen {
		if n > 1 && !strings.Contains(e.place, "@") {
			out = append(out, fmt.Sprintf("%q is in %s %d times", e.subject, e.place, n))
		}
		// The answer may have come when its client was gone (RFC 1047).
		if !l.owed[e] && !strings.HasPrefix(e.subject, "aborted") {
			out = append(out, fmt.Sprintf("%q came to %s, where it does not belong", e.subject, e.place))
		}
	}
	if l.returned != l.notices {
		out = append(out, fmt.Sprintf("%d notices of %d messages that were refused", l.notices, l.returned))
	}
	return out
}

// summary is one line.
func (l *ledger) summary() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	local, far, again := 0, 0, 0
	for e, n := range l.seen {
		if strings.Contains(e.place, "@") {
			far++
			again += n - 1
		} else {
			local++
		}
	}
	return fmt.Sprintf("%d messages of %d MB answered 250; %d in mailboxes, %d at the other host (%d again), %d notices of failure; done: %v",
		l.accepted, l.octets>>20, local, far, again, l.notices, l.counts)
}
