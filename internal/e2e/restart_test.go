//go:build e2e

package e2e

import (
	"fmt"
	"math/rand/v2"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	gosmtp "github.com/emersion/go-smtp"

	"mtad/internal/mtatest"
)

// Mail for a host that is down waits in the queue, through kill -9 too, and goes
// when the host is up and somebody asks.
func TestQueueSurvives(t *testing.T) {
	t.Parallel()
	port := freePort(t)
	s := start(t, toHop(port))
	data := letter("alice@example.test", "x@far.test", "patience", "Later.")
	check(t, submit(t, local(s.SMTP), "alice@example.test", []string{"x@far.test"}, data))
	list := func() string { return s.do("queue", "list") }
	eventually(t, "deferral", timeLimit, func() bool { return strings.Contains(list(), "deferred") })
	id := strings.Fields(strings.Split(list(), "\n")[1])[0]
	mustSay(t, s.do("trace", id), "deferred") // which also writes it: a trace is not as safe as mail
	s.proc.Kill()

	s.start()
	mustSay(t, list(), "deferred", "<x@far.test>", "<alice@example.test>", "Connection refused")
	mustSay(t, s.do("queue", "show", id), "x@far.test")
	if got := s.do("queue", "cat", id); !strings.HasSuffix(got, data) {
		t.Errorf("queue cat:\n%s", got)
	}
	hop := mtatest.StartHop(t, local(port), nil)
	mustSay(t, s.do("queue", "retry"), "1 recipient")
	d := hop.Await(t, 1)[0]
	if d.From != "alice@example.test" || !strings.Contains(d.Data, "\r\nReceived: ") || !strings.HasSuffix(d.Data, data) {
		t.Errorf("arrived: %+v", d)
	}
	eventually(t, "an empty queue", timeLimit, func() bool { return !strings.Contains(list(), id) })
	mustSay(t, s.do("trace", id), "deferred", "far.test", "250")
	if out, code := s.mtad("queue", "delete", "--all"); code != 1 {
		t.Errorf("queue delete of nothing: exit %d\n%s", code, out)
	}
}

// sender sends numbered messages until it fails and remembers what was
// accepted.
type sender struct {
	mu       sync.Mutex
	accepted map[string]bool
}

func (w *sender) run(addr, rcpt, name string) {
	c, err := gosmtp.Dial(addr)
	if err != nil {
		return
	}
	defer c.Close()
	for i := 0; ; i++ {
		subject := fmt.Sprintf("%s-%d", name, i)
		err := c.SendMail("ann@good.test", []string{rcpt}, strings.NewReader(letter("ann@good.test", rcpt, subject, "x")))
		if err != nil {
			return
		}
		w.mu.Lock()
		w.accepted[subject] = true
		w.mu.Unlock()
	}
}

// What was accepted is there after kill -9 and restart, and nothing is there
// twice.
func TestKillUnderLoad(t *testing.T) {
	t.Parallel()
	source, _ := exec.LookPath("smtp-source") // more load, if it is there
	s := start(t)
	w := &sender{accepted: map[string]bool{}}
	for round := range 10 {
		var wg sync.WaitGroup
		for n := range 3 {
			wg.Go(func() { w.run(local(s.SMTP), "alice@example.test", fmt.Sprintf("r%d-s%d", round, n)) })
		}
		if source != "" {
			wg.Go(func() {
				exec.Command(source, "-s", "5", "-m", "100000", "-f", "ann@good.test", "-t", "bob@example.test", local(s.SMTP)).Run()
			})
		}
		time.Sleep(time.Duration(100+rand.IntN(300)) * time.Millisecond) // at any moment
		s.proc.Kill()
		wg.Wait()
		s.start()
	}
	if len(w.accepted) < 10 {
		t.Fatalf("only %d messages were accepted", len(w.accepted))
	}
	alice := s.login("alice")
	eventually(t, "what was accepted", timeLimit, func() bool { return alice.count("INBOX") >= len(w.accepted) })
	have := map[string]int{}
	for _, msg := range alice.fetch("INBOX") {
		have[field(msg, "Subject")]++
	}
	for subject := range w.accepted {
		if have[subject] == 0 {
			t.Errorf("%s was accepted and is lost", subject)
		}
	}
	for subject, n := range have {
		if n > 1 {
			t.Errorf("%s is there %d times", subject, n)
		}
	}
	t.Logf("%d messages accepted, %d in the mailbox", len(w.accepted), len(have))
	ids := map[string]int{}
	for _, msg := range s.login("bob").fetch("INBOX") {
		ids[field(msg, "Message-Id")+field(msg, "Date")]++
	}
	for id, n := range ids {
		if n > 1 {
			t.Errorf("smtp-source's %s is there %d times", id, n)
		}
	}
	if out := s.do("queue", "list", "-o", "ndjson"); strings.TrimSpace(out) != "" {
		t.Errorf("the queue is not empty:\n%s", out)
	}
}

// What was accepted for another host gets there, kill -9 or not. It may come
// twice: the answer of that host may be lost (RFC 1047).
func TestKillUnderRelay(t *testing.T) {
	t.Parallel()
	port := freePort(t)
	hop := mtatest.StartHop(t, local(port), nil)
	s := start(t, toHop(port))
	w := &sender{accepted: map[string]bool{}}
	for round := range 5 {
		var wg sync.WaitGroup
		for n := range 3 {
			wg.Go(func() { w.run(local(s.SMTP), "x@far.test", fmt.Sprintf("r%d-s%d", round, n)) })
		}
		time.Sleep(time.Duration(100+rand.IntN(200)) * time.Millisecond) // at any moment
		s.proc.Kill()
		wg.Wait()
		s.start()
	}
	arrived := map[string]int{}
	eventually(t, "an empty queue", timeLimit, func() bool {
		return strings.TrimSpace(s.do("queue", "list", "-o", "ndjson")) == ""
	})
	for _, d := range hop.Deliveries() {
		arrived[field(d.Data, "Subject")]++
	}
	for subject := range w.accepted {
		if arrived[subject] == 0 {
			t.Errorf("%s was accepted and did not arrive", subject)
		}
	}
	t.Logf("%d messages accepted, %d different ones arrived, %d in all", len(w.accepted), len(arrived), len(hop.Deliveries()))
}

// A server that is asked to stop finishes what it has begun.
func TestStop(t *testing.T) {
	t.Parallel()
	s := start(t)
	check(t, submit(t, local(s.SMTP), "ann@good.test", []string{"alice@example.test"}, letter("ann@good.test", "alice@example.test", "before", "x")))
	s.do("stop")
	select {
	case <-s.proc.Exited:
	case <-time.After(20 * time.Second):
		t.Fatal("it does not stop")
	}
	if code := s.proc.Cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("exit %d", code)
	}
	if out, code := s.mtad("status"); code != 69 {
		t.Errorf("status of a stopped server: exit %d\n%s", code, out)
	}
	s.start()
	s.one("alice")
	s.stop() // by SIGTERM
	if code := s.proc.Cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("SIGTERM: exit %d", code)
	}
}
