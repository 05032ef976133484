//go:build e2e

package e2e

import (
	"strings"
	"testing"
	"time"

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
	if got := s.do("queue", "cat", id, "--header", "--body"); !strings.HasSuffix(got, data) {
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
	if out, code := s.mtad("queue", "delete", "ALL"); code != 1 {
		t.Errorf("queue delete of nothing: exit %d\n%s", code, out)
	}
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
