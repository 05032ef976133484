package relay

import (
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const lhlo = "250-remote\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 ENHANCEDSTATUSCODES"

// startLMTP is a host that has no EHLO, on a socket.
func startLMTP(t testing.TB, script map[string][]string) *remote {
	t.Helper()
	full := map[string][]string{"EHLO": {"500 what"}, "HELO": {"500 what"}, "LHLO": {lhlo}}
	for k, v := range script {
		full[k] = v
	}
	return startRemoteOn(t, "unix", filepath.Join(t.TempDir(), "s"), full)
}

func lmtpJob(r *remote, rcpts ...string) *Job {
	j := newJob(text, rcpts...)
	j.Route.LMTP = true
	j.Route.Hosts = []string{"unix:" + r.addr()}
	return j
}

// By LMTP each recipient has a fate of its own, even when the connection breaks
// between the answers.
func TestLMTP(t *testing.T) {
	for _, c := range []struct {
		name   string
		script map[string][]string
		want   string
	}{
		{"all well", map[string][]string{".": {"250 2.0.0 x\r\n250 2.0.0 y\r\n250 2.0.0 z"}}, "250 2.0.0 x | 250 2.0.0 y | 250 2.0.0 z"},
		{"three fates", map[string][]string{".": {"250 2.0.0 x\r\n552-5.2.2 full\r\n552 5.2.2 box\r\n451 4.3.0 later"}}, "250 2.0.0 x | 552 5.2.2 full / box | 451 4.3.0 later"},
		{"one refused before", map[string][]string{"RCPT": {"250 ok", "550 5.1.1 who", "250 ok"}, ".": {"250 2.0.0 x\r\n250 2.0.0 z"}}, "250 2.0.0 x | 550 5.1.1 who | 250 2.0.0 z"},
		{"no pipelining", map[string][]string{"LHLO": {"250 remote"}, ".": {"250 2.0.0 x\r\n250 2.0.0 y\r\n250 2.0.0 z"}}, "250 2.0.0 x | 250 2.0.0 y | 250 2.0.0 z"},
		{"breaks off", map[string][]string{".": {"250 2.0.0 x!"}}, "250 2.0.0 x | 450 4.4.2 Connection failed | 450 4.4.2 Connection failed"},
		{"breaks off in a line", map[string][]string{".": {"250 2.0.0 x\r\n250-2.0.0 y!"}}, "250 2.0.0 x | 450 4.4.2 Connection failed | 450 4.4.2 Connection failed"},
		{"takes leave", map[string][]string{".": {"550 5.7.1 x\r\n421 4.3.2 closing!"}}, "550 5.7.1 x | 421 4.3.2 closing | 450 4.4.2 Connection failed"},
		{"nonsense", map[string][]string{".": {"250 2.0.0 x\r\n354 more"}}, "250 2.0.0 x | 450 4.5.0 Host does not speak SMTP | 450 4.5.0 Host does not speak SMTP"},
		{"data refused", map[string][]string{"DATA": {"451 4.3.0 disk"}}, "451 4.3.0 disk | 451 4.3.0 disk | 451 4.3.0 disk"},
		{"all refused", map[string][]string{"RCPT": {"550 5.1.1 who"}, "DATA": {"503 5.5.1 none"}}, "550 5.1.1 who | 550 5.1.1 who | 550 5.1.1 who"},
		// To wait for an answer to the message nobody gets would be to wait for ever.
		{"all refused, data taken", map[string][]string{"RCPT": {"550 5.1.1 who"}, ".": {""}}, "550 5.1.1 who | 550 5.1.1 who | 550 5.1.1 who"},
		{"no LMTP", map[string][]string{"LHLO": {"502 5.5.2 what"}, "EHLO": {"250 remote"}}, "450 4.4.0 LHLO refused: 502 5.5.2 what | 450 4.4.0 LHLO refused: 502 5.5.2 what | 450 4.4.0 LHLO refused: 502 5.5.2 what"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := startLMTP(t, c.script)
			j := lmtpJob(r, "x@there.test", "y@there.test", "z@there.test")
			begin := time.Now()
			if got := deliver(t, client(t, nil), j); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
			if took := time.Since(begin); took > 4*time.Second {
				t.Errorf("it took %v", took)
			}
		})
	}
}

// Connections to a socket are used again, and named by its path.
func TestLMTPPool(t *testing.T) {
	r := startLMTP(t, nil)
	cl := client(t, nil)
	for range 3 {
		res := cl.Deliver(t.Context(), lmtpJob(r, "x@there.test"))
		if res[0].Reply.Code != 250 || res[0].Host != "unix:"+r.addr() {
			t.Fatalf("%+v", res)
		}
	}
	if n := r.conns.Load(); n != 1 {
		t.Errorf("%d connections", n)
	}
	if got := r.got(); !strings.HasPrefix(got, "LHLO here.test\nMAIL") {
		t.Error(got)
	}
}

// An absent socket is no host that can be reached.
func TestLMTPNoSocket(t *testing.T) {
	j := newJob(text, "x@there.test")
	j.Route.LMTP, j.Route.Hosts = true, []string{"unix:" + filepath.Join(t.TempDir(), "none")}
	res := client(t, nil).Deliver(t.Context(), j)
	if res[0].Reply.String() != "450 4.4.1 No such socket" || !res[0].Dead {
		t.Errorf("%+v", res)
	}
}
