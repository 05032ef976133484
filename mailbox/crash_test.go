package mailbox

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"mtad/journal"
	"mtad/message"
	"mtad/store"
)

const crashDir = "MTAD_TEST_CRASH_DIR"

// accept is what a server does with a message: journal, then say yes, then
// deliver.
func accept(s *Store, db *store.DB, text string, yes func()) error {
	place, err := db.Journal().Append(bg(), journal.Record{ID: message.NewID(time.Now()), Kind: 1, Body: message.FromBytes([]byte(text))})
	if err != nil {
		return err
	}
	yes()
	return db.Journal().Replay(bg(), place.Start(), func(e journal.Entry) error {
		if e.Place != place {
			return nil
		}
		return deliver(s, db, e)
	})
}

func deliver(s *Store, db *store.DB, e journal.Entry) error {
	return db.Update(bg(), func(tx *store.Tx) error {
		tx.Applied(e.Place)
		if err := tx.Place(e.ID, e.Place); err != nil {
			return err
		}
		in, err := s.Ensure(tx, alice, Inbox)
		if err != nil {
			return err
		}
		_, err = s.Deliver(tx, in.ID, Entry{Message: e.ID, Size: e.Body.Size(), Date: testDate()})
		return err
	})
}

// TestCrashingServer is not a test but the process that the next one kills: it
// accepts messages until it dies and prints each it has said yes to.
func TestCrashingServer(t *testing.T) {
	dir := os.Getenv(crashDir)
	if dir == "" {
		return // run by TestKilledServerLosesNothing
	}
	db, err := store.Open(dir, store.Options{Journal: journal.Options{SegmentSize: 64 << 10}}, Schema())
	if err != nil {
		t.Fatal(err)
	}
	s, err := Open(bg(), db, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Replay(bg(), func(e journal.Entry) error { return deliver(s, db, e) }); err != nil {
		t.Fatal(err)
	}
	var out sync.Mutex
	for w := range 8 {
		go func() {
			for i := 0; ; i++ {
				text := fmt.Sprintf("%d.%d.%d", os.Getpid(), w, i)
				if err := accept(s, db, text, func() {
					out.Lock()
					defer out.Unlock()
					fmt.Println("yes", text)
				}); err != nil {
					fmt.Println("fault", err)
				}
			}
		}()
	}
	time.Sleep(time.Minute) // the other test kills us long before
}

// A server killed again and again delivers every message it said yes to, and
// none twice.
func TestKilledServerLosesNothing(t *testing.T) {
	dir := t.TempDir()
	said := map[string]bool{}
	for round := range 5 {
		runAndKill(t, dir, 20+60*round, said)
	}
	s, db := openStore(t, dir)
	if err := db.Replay(bg(), func(e journal.Entry) error { return deliver(s, db, e) }); err != nil {
		t.Fatal(err)
	}
	in, err := s.Folder(bg(), alice, Inbox)
	if err != nil {
		t.Fatal(err)
	}
	items, _, err := s.Snapshot(bg(), in.ID)
	if err != nil {
		t.Fatal(err)
	}
	uids := make([]UID, len(items))
	for i, it := range items {
		uids[i] = it.UID
	}
	entries, err := s.Entries(bg(), in.ID, uids)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]int{}
	for _, e := range entries {
		found[text(t, s, e)]++
	}
	for name := range said {
		if found[name] != 1 {
			t.Errorf("%s was accepted and is there %d times", name, found[name])
		}
	}
	for name, n := range found {
		if n > 1 {
			t.Errorf("%s is there %d times", name, n)
		}
	}
	if whole, err := db.Journal().Verify(bg(), func(d journal.Damage) { t.Error(d) }); err != nil || whole < len(said) {
		t.Errorf("%d records whole of %d, %v", whole, len(said), err)
	}
}

// runAndKill lets a server say yes to some messages and kills it.
func runAndKill(t *testing.T, dir string, after int, said map[string]bool) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestCrashingServer$", "-test.count=1")
	cmd.Env = append(os.Environ(), crashDir+"="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for n := 0; lines.Scan(); {
		var word, name string
		if _, err := fmt.Sscan(lines.Text(), &word, &name); err != nil || word != "yes" {
			t.Errorf("the server says %q", lines.Text())
			continue
		}
		said[name] = true
		if n++; n == after {
			checkPID(t, dir, cmd.Process.Pid)
			cmd.Process.Kill()
		}
	}
	cmd.Wait()
}

// checkPID compares the lock file with the process that holds it.
func checkPID(t *testing.T, dir string, pid int) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "lock"))
	if err != nil || string(b) != strconv.Itoa(pid)+"\n" {
		t.Errorf("lock file %q, %v; want %d", b, err, pid)
	}
}
