//go:build e2e

package crash

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"mtad/internal/mtatest"
)

const root = "../../.."

// world is a server that is killed again and again, and what we know of the mail
// that it has.
type world struct {
	mtatest.Ports
	t       testing.TB
	dir     string
	config  string
	mtad    string // the program, with crash points
	source  string // smtp-source
	proc    *mtatest.Process
	hop     *mtatest.Hop
	mail    *ledger
	tallies map[string]*tally
	round   int
	checks  sync.WaitGroup // of copies
}

func newWorld(t *testing.T) *world {
	t.Helper()
	bin := t.TempDir()
	w := &world{
		t: t, dir: mtatest.OpenDir(t), Ports: mtatest.DevPorts(t), mail: newLedger(), tallies: map[string]*tally{},
		mtad: filepath.Join(bin, "mtad"), source: mtatest.Program(t, "smtp-source"),
	}
	for _, k := range kinds() {
		w.tallies[k] = &tally{}
	}
	mtatest.Check(t, mtatest.Build(root, w.mtad, "./cmd/mtad", "crashpoints", "invariants"))
	mtatest.DependOn(t, root)
	w.hop = mtatest.StartHop(t, "127.0.0.1:0", nil)
	w.config = strings.Replace(mtatest.DevConfig(t, root, w.Ports), `["`+mtatest.Local(w.Sink)+`"]`, `["`+w.hop.Addr+`"]`, 1)
	mtatest.Write(t, filepath.Join(w.dir, "mtad.hcl"), w.config)
	w.start("")
	t.Cleanup(func() {
		w.proc.Kill()
		if t.Failed() {
			t.Logf("mtad said:\n%s", w.proc.Out)
		}
	})
	w.serving()
	// What bob gets is dead in the journal from the start.
	script := filepath.Join(w.dir, "bob.sieve")
	mtatest.Write(t, script, "discard;\n")
	w.must("sieve", "put", "bob", "main", script)
	w.must("sieve", "activate", "bob", "main")
	w.read(false)
	return w
}

// do runs a command.
func (w *world) do(args ...string) (out string, code int) {
	w.t.Helper()
	return mtatest.Run(w.t, "", "", append([]string{w.mtad, "-c", filepath.Join(w.dir, "mtad.hcl")}, args...)...)
}

// must runs a command that must succeed.
func (w *world) must(args ...string) string {
	w.t.Helper()
	out, code := w.do(args...)
	if code != 0 {
		w.t.Fatalf("mtad %s: exit %d\n%s", strings.Join(args, " "), code, out)
	}
	return out
}

// start starts the server, with an order to die or without.
func (w *world) start(order string) {
	w.t.Helper()
	cmd := exec.Command(w.mtad, "serve", "--dev", "--dir", w.dir, "--base-port", strconv.Itoa(w.Base))
	cmd.Env = append(os.Environ(), variable+"="+order)
	var err error
	w.proc, err = mtatest.Start(cmd)
	mtatest.Check(w.t, err)
}

// serving waits until the server serves, for as long as a start may take.
func (w *world) serving() {
	w.t.Helper()
	mtatest.Eventually(w.t, "mtad serving", startLimit, func() bool {
		return strings.Contains(w.proc.Out.String(), "msg=serving")
	})
}

var replay = regexp.MustCompile(`accepted before the last stop" messages=(\d+)`)

// replayed is how many messages the server has acted on at its start.
func (w *world) replayed() int {
	m := replay.FindStringSubmatch(w.proc.Out.String())
	if m == nil {
		return 0
	}
	n, err := strconv.Atoi(m[1])
	mtatest.Check(w.t, err)
	return n
}

// load sends mail until the server is dead, once it serves: what is written down
// in the ledger by some, what only makes it sweat by smtp-source. The function it
// returns waits for all of it.
func (w *world) load() (wait func()) {
	w.round++
	var work sync.WaitGroup
	up := func() bool {
		for !strings.Contains(w.proc.Out.String(), "msg=serving") {
			select {
			case <-w.proc.Exited:
				return false
			case <-time.After(5 * time.Millisecond):
			}
		}
		return true
	}
	for n := range senders {
		work.Go(func() {
			if up() {
				w.mail.send(mtatest.Local(w.SMTP), fmt.Sprintf("k%d-s%d", w.round, n), -1)
			}
		})
	}
	work.Go(func() {
		if up() {
			w.mail.watch(mtatest.Local(w.IMAP))
		}
	})
	ctx, cancel := context.WithCancel(w.t.Context())
	source := exec.CommandContext(ctx, w.source, "-s", "4", "-m", "1000000", "-f", "ann@good.test", "-t", "carol@example.test", mtatest.Local(w.SMTP))
	work.Go(func() {
		if up() {
			source.Run()
		}
	})
	return func() {
		cancel() // smtp-source would sleep for a second
		work.Wait()
	}
}

const (
	senders     = 6
	liveRecords = 200      // that a segment to be reclaimed has at the least
	segment     = 64 << 20 // octets of a segment of the journal
	bigMail     = 8 << 20
)

// fillSegment makes a segment of the journal that the next start reclaims: a few
// records of it live, and much is dead.
func (w *world) fillSegment() {
	w.t.Helper()
	w.round++
	var work sync.WaitGroup
	for n := range senders {
		work.Go(func() {
			w.mail.send(mtatest.Local(w.SMTP), fmt.Sprintf("k%d-live%d", w.round, n), liveRecords/senders+1)
		})
	}
	work.Wait()
	mtatest.Must(w.t, w.source, "-s", "2", "-m", fmt.Sprint(segment/bigMail+1), "-l", fmt.Sprint(bigMail),
		"-f", "ann@good.test", "-t", "bob@example.test", mtatest.Local(w.SMTP))
}

func (w *world) store() string { return filepath.Join(w.dir, "data", "store") }

// checkCopy checks the store as the kill has left it. The server is started
// meanwhile, hence the copy.
func (w *world) checkCopy() {
	w.t.Helper()
	w.checks.Wait() // one at a time
	to := filepath.Join(w.dir, "copy")
	mtatest.Check(w.t, os.RemoveAll(to))
	mtatest.Write(w.t, filepath.Join(to, "mtad.hcl"), w.config)
	mtatest.Check(w.t, os.Mkdir(filepath.Join(to, "data"), 0o700))
	mtatest.Must(w.t, "cp", "-a", "--sparse=always", w.store(), filepath.Join(to, "data"))
	w.checks.Go(func() {
		if out, err := exec.Command(w.mtad, "-c", filepath.Join(to, "mtad.hcl"), "db", "check").CombinedOutput(); err != nil {
			w.t.Errorf("the store after the kill: %v\n%s", err, out)
		}
	})
}

// killInCheckpoint kills the server upon the n-th write to the database file, and
// reports whether the checkpoint had begun and not ended, as the wal-index has it.
func (w *world) killInCheckpoint(n int) bool {
	w.t.Helper()
	fd, err := unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC)
	mtatest.Check(w.t, err)
	events := os.NewFile(uintptr(fd), "inotify")
	defer events.Close()
	w.serving()
	_, err = unix.InotifyAddWatch(fd, filepath.Join(w.store(), "mtad.db"), unix.IN_MODIFY)
	mtatest.Check(w.t, err)
	mtatest.Check(w.t, events.SetReadDeadline(time.Now().Add(pointLimit)))
	buf := make([]byte, unix.SizeofInotifyEvent) // one event: names come with folders only
	for range n {
		if _, err := events.Read(buf); err != nil {
			w.t.Fatalf("no checkpoint under load: %v", err)
		}
	}
	w.proc.Kill()
	return w.inCheckpoint()
}
