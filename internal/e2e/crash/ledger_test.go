//go:build e2e

package crash

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
	gosmtp "github.com/emersion/go-smtp"

	"mtad/internal/mtatest"
)

// ledger is what we know of the mail: what was answered 250, and what was seen.
type ledger struct {
	mu       sync.Mutex
	accepted map[string]bool // by subject; whether it is for the mailbox
	relayed  map[string]bool // for the other host
	fresh    []string        // accepted for the mailbox and not looked for yet
	validity uint32
	seen     map[imap.UID]string // subjects by UID, as any client has seen them
	found    map[string]imap.UID
	floor    imap.UID // what lies below was looked at after the last kill but one
	top      imap.UID

	lost, twice, moved int
	again              int // deliveries to the other host beyond the first
}

func newLedger() *ledger {
	return &ledger{accepted: map[string]bool{}, relayed: map[string]bool{}, seen: map[imap.UID]string{}, found: map[string]imap.UID{}}
}

func (l *ledger) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.accepted)
}

// recipients are in turn the mailbox, the mailbox, another host, both.
var recipients = [][]string{{"alice@example.test"}, {"alice@example.test"}, {"x@far.test"}, {"alice@example.test", "x@far.test"}}

// send sends numbered messages, until it fails or limit of them for the mailbox
// alone, and writes down what was answered 250.
func (l *ledger) send(addr, name string, limit int) {
	c, err := gosmtp.Dial(addr)
	if err != nil {
		return
	}
	defer c.Close()
	for i := 0; i != limit; i++ {
		subject, to := fmt.Sprintf("%s-%d", name, i), recipients[i%len(recipients)]
		if limit > 0 {
			to = recipients[0]
		}
		text := "From: ann@good.test\r\nSubject: " + subject + "\r\n\r\n" + strings.Repeat("Hello.\r\n", i%200)
		if c.SendMail("ann@good.test", to, strings.NewReader(text)) != nil {
			return
		}
		l.note(subject, to)
	}
}

func (l *ledger) note(subject string, to []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.accepted[subject] = true
	for _, rcpt := range to {
		if rcpt == "x@far.test" {
			l.relayed[subject] = true
		} else {
			l.fresh = append(l.fresh, subject)
		}
	}
}

// open logs in and selects the mailbox.
func open(addr string) (*imapclient.Client, *imap.SelectData, error) {
	c, err := imapclient.DialInsecure(addr, nil)
	if err != nil {
		return nil, nil, err
	}
	if err = c.Login("alice@example.test", "alice").Wait(); err == nil {
		var data *imap.SelectData
		if data, err = c.Select("INBOX", nil).Wait(); err == nil {
			return c, data, nil
		}
	}
	c.Close()
	return nil, nil, err
}

// subjects fetches UIDs and subjects from a UID on.
func subjects(c *imapclient.Client, from imap.UID) (map[imap.UID]string, error) {
	set := imap.UIDSet{}
	set.AddRange(from, 0)
	msgs, err := c.Fetch(set, &imap.FetchOptions{UID: true, Envelope: true}).Collect()
	if err != nil {
		return nil, err
	}
	out := map[imap.UID]string{}
	for _, m := range msgs {
		if m.UID >= from { // the last message comes in any case (RFC 9051, 6.4.9)
			out[m.UID] = m.Envelope.Subject
		}
	}
	return out, nil
}

// watch writes down the UIDs that a client sees while the mailbox fills, until
// the server is dead.
func (l *ledger) watch(addr string) {
	c, data, err := open(addr)
	if err != nil {
		return
	}
	defer c.Close()
	for from := max(l.next(), 1); ; {
		got, err := subjects(c, from)
		if err != nil {
			return
		}
		for uid := range got {
			from = max(from, uid+1)
		}
		l.see(data.UIDValidity, got)
		time.Sleep(10 * time.Millisecond) // a client that asks now and then
	}
}

func (l *ledger) next() imap.UID {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.top + 1
}

// see compares with what was seen before.
func (l *ledger) see(validity uint32, got map[imap.UID]string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.validity != 0 && l.validity != validity {
		l.moved++
	}
	l.validity = validity
	for uid, subject := range got {
		if was, ok := l.seen[uid]; ok && was != subject {
			l.moved++
		}
		if other, ok := l.found[subject]; ok && other != uid {
			l.twice++
		}
		l.seen[uid], l.found[subject] = subject, uid
		l.top = max(l.top, uid)
	}
}

// gone counts the UIDs from a UID on that were seen and are not there.
func (l *ledger) gone(from imap.UID, got map[imap.UID]string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for uid := from; uid <= l.top; uid++ {
		if _, there := got[uid]; l.seen[uid] != "" && !there {
			l.moved++
		}
	}
}

// settle looks for what was accepted for the mailbox since the last time.
func (l *ledger) settle() (missing []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.fresh {
		if _, ok := l.found[s]; !ok {
			missing = append(missing, s)
		}
	}
	l.lost += len(missing)
	l.fresh = nil
	return missing
}

// read reads the mailbox after a start: what came since the last kill but one, or
// all of it.
func (w *world) read(all bool) {
	w.t.Helper()
	c, data, err := open(mtatest.Local(w.IMAP))
	mtatest.Check(w.t, err)
	defer c.Close()
	l := w.mail
	from := max(l.floor, 1)
	if all {
		from = 1
	}
	l.floor = l.next()
	got, err := subjects(c, from)
	mtatest.Check(w.t, err)
	l.gone(from, got)
	l.see(data.UIDValidity, got)
	if missing := l.settle(); len(missing) > 0 {
		w.t.Errorf("accepted and lost: %q", missing)
	}
	if l.twice > 0 || l.moved > 0 {
		w.t.Errorf("%d messages are there twice; %d UIDs or UIDVALIDITYs changed", l.twice, l.moved)
	}
}

// finish waits for what is under way to the other host, and looks at everything.
func (w *world) finish() {
	w.t.Helper()
	mtatest.Eventually(w.t, "an empty queue", time.Minute, func() bool {
		w.do("queue", "retry") // exits with 1 for an empty one
		return strings.TrimSpace(w.must("queue", "list", "-o", "ndjson")) == ""
	})
	w.read(true)
	w.checks.Wait()
	arrived := w.arrived()
	for subject := range w.mail.relayed {
		if arrived[subject] == 0 {
			w.mail.lost++
			w.t.Errorf("%s was accepted and did not get to the other host", subject)
		}
	}
	w.proc.Kill()
	w.checkCopy()
	w.checks.Wait()
}

// arrived counts what came to the other host, by subject.
func (w *world) arrived() map[string]int {
	out := map[string]int{}
	for _, d := range w.hop.Deliveries() {
		_, rest, _ := strings.Cut(d.Data, "\r\nSubject: ")
		subject, _, _ := strings.Cut(rest, "\r\n")
		out[subject]++
	}
	w.mail.again = 0
	for _, n := range out {
		w.mail.again += n - 1
	}
	return out
}

func (l *ledger) summary() string {
	return fmt.Sprintf("%d accepted; in the mailbox %d, each once; at the other host all %d, %d of them again; lost %d, UIDs changed %d",
		len(l.accepted), len(l.found), len(l.relayed), l.again, l.lost, l.moved)
}

// inCheckpoint reads the wal-index: a checkpoint has begun that has not ended if
// more frames were to be written back than were (nBackfillAttempted, nBackfill:
// sqlite.org/walformat.html).
func (w *world) inCheckpoint() bool {
	b, err := os.ReadFile(filepath.Join(w.store(), "mtad.db-shm"))
	mtatest.Check(w.t, err)
	done, begun := binary.NativeEndian.Uint32(b[96:]), binary.NativeEndian.Uint32(b[128:])
	return begun > done
}
