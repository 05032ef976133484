package spamd

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mtad/internal/mtatest"
	"mtad/spam"
)

// TestLimits holds requests to the limits.
func TestLimits(t *testing.T) {
	addr := start(t, newServer(t, Config{MaxSize: 10_000}))
	large := strings.Repeat("x", 20_000)
	refused := "SPAMD/1.0 69 Service Unavailable: message larger than 10000 octets\r\n"
	for _, d := range []struct{ name, request, want string }{
		{"endless first line", strings.Repeat("x", 100_000), "SPAMD/1.0 76 Bad header line: (line longer than 4096 octets)\r\n"},
		{"endless header", "CHECK SPAMC/1.5\r\nUser: " + strings.Repeat("x", 100_000), "SPAMD/1.0 76 Bad header line: (line longer than 4096 octets)\r\n"},
		{"too large", withLength("CHECK SPAMC/1.5", large), refused},
		{"too large by far", "CHECK SPAMC/1.5\r\nContent-length: 99999999999999999999999\r\n\r\n", refused},
		{"too large, no length", "CHECK SPAMC/1.5\r\n\r\n" + large, refused},
		{"too large, one line", "CHECK SPAMC/1.5\r\nContent-length: 5\r\n\r\n" + large, refused},
		{"packed bomb", withLength("CHECK SPAMC/1.5", pack(strings.Repeat("x", 5_000_000)), "Compress: zlib\r\n"), refused},
	} {
		if got := ask(t, addr, d.request); got != d.want {
			t.Errorf("%s: %q, want %q", d.name, got, d.want)
		}
	}
}

// TestSlow ends connections of clients that do not speak, or too slowly.
func TestSlow(t *testing.T) {
	addr := start(t, newServer(t, Config{StallTimeout: 50 * time.Millisecond, Timeout: 200 * time.Millisecond}))
	for request, want := range map[string]string{
		"":                              "SPAMD/1.0 79 Timeout: (0.05 second socket timeout reading input from client)\r\n",
		"CHECK SPAMC/1.5\r\nUser: ":     "SPAMD/1.0 79 Timeout: (0.2 second timeout while trying to CHECK)\r\n",
		"CHECK SPAMC/1.5\r\n\r\nSubj: ": "SPAMD/1.0 79 Timeout: (0.2 second timeout while trying to CHECK)\r\n",
	} {
		c, err := net.Dial("tcp", addr)
		mtatest.Check(t, err)
		_, err = io.WriteString(c, request)
		mtatest.Check(t, err)
		got, err := bufio.NewReader(c).ReadString('\n')
		c.Close()
		if got != want || err != nil {
			t.Errorf("%q: %q, %v", request, got, err)
		}
	}
}

// unread is how many requests are not all there.
func (s *Server) unread() int {
	s.places.mu.Lock()
	defer s.places.mu.Unlock()
	return len(s.places.list)
}

const tooMany = "SPAMD/1.0 69 Service Unavailable: Too many connections\r\n"

// TestSilent: clients that are silent, or stop in the middle, hold nobody up: the one that
// has been so for longest gives way, and is told.
func TestSilent(t *testing.T) {
	s := newServer(t, Config{MaxRequests: 2})
	addr := start(t, s)
	in := func(n int) {
		t.Helper()
		mtatest.Eventually(t, fmt.Sprintf("%d are in", n), 10*time.Second, func() bool { return s.unread() == n && s.Connections() == n })
	}
	var silent []net.Conn
	for i := range 4 {
		c, err := net.Dial("tcp", addr)
		mtatest.Check(t, err)
		defer c.Close()
		mtatest.Check(t, c.SetDeadline(time.Now().Add(time.Minute)))
		_, err = io.WriteString(c, []string{"", "CHECK SPAMC/1.5\r\n", "CHECK SPAMC/1.5\r\nContent-length: 9\r\n\r\nSub", ""}[i])
		mtatest.Check(t, err)
		silent = append(silent, c)
		in(i + 1)
	}
	for i := range silent {
		if got := ask(t, addr, withLength("CHECK SPAMC/1.5", junk)); !strings.Contains(got, "Spam: True ; 8.8 / 5.0") {
			t.Errorf("%q", got)
		}
		if got, err := io.ReadAll(silent[i]); string(got) != tooMany {
			t.Errorf("silent client %d: %q, %v", i, got, err)
		}
		in(3)
		// Another one takes the place.
		c, err := net.Dial("tcp", addr)
		mtatest.Check(t, err)
		defer c.Close()
		in(4)
	}
}

// TestRequests works on so many requests at once, has as many wait, and turns away others.
func TestRequests(t *testing.T) {
	e, _ := newEngine(t)
	begun, release := make(chan struct{}, 8), make(chan struct{})
	s := newServer(t, Config{MaxRequests: 2, Checker: checker{e, func(context.Context, []byte) { begun <- struct{}{}; <-release }}})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	mtatest.Check(t, err)
	read := &counting{Listener: l}
	addr := startOn(t, s, read)
	answers, request := make(chan string, 4), withLength("CHECK SPAMC/1.5", junk)
	for range 4 {
		c, err := net.Dial("tcp", addr)
		mtatest.Check(t, err)
		defer c.Close()
		mtatest.Check(t, c.SetDeadline(time.Now().Add(time.Minute)))
		_, err = io.WriteString(c, request)
		mtatest.Check(t, err)
		go func() {
			got, _ := io.ReadAll(c) // the answer shows
			answers <- string(got)
		}()
	}
	<-begun
	<-begun
	mtatest.Eventually(t, "all requests are there", 10*time.Second, func() bool { return read.octets.Load() == int64(4*len(request)) && s.unread() == 0 })
	c, err := net.Dial("tcp", addr)
	mtatest.Check(t, err)
	defer c.Close()
	if got, _ := io.ReadAll(c); string(got) != tooMany {
		t.Errorf("a fifth: %q", got)
	}
	if len(begun) > 0 {
		t.Error("more than two are worked on")
	}
	close(release)
	for range 4 {
		if got := <-answers; !strings.Contains(got, "Spam: True ; 8.8 / 5.0") {
			t.Errorf("%q", got)
		}
	}
}

// TestEcho: what a client sends makes no lines of an answer.
func TestEcho(t *testing.T) {
	addr := start(t, newServer(t, Config{}))
	for request, want := range map[string]string{
		"CHECK SPAMC/1.5\r\nCompress: x\n\r\n":                "SPAMD/1.0 76 Bad header line: (compression type not supported: x)\r\n",
		"CHECK SPAMC/1.5\r\nCompress: x\rSpam: False\r\n\r\n": "SPAMD/1.0 76 Bad header line: (compression type not supported: x?Spam: False)\r\n",
		"X\rSPAMD/1.1 0 EX_OK\x7f\xe9\r\n\r\n":                "SPAMD/1.0 76 Bad header line: X?SPAMD/1.1 0 EX_OK?\xe9\r\n",
	} {
		if got := ask(t, addr, request); got != want {
			t.Errorf("%q: %q, want %q", request, got, want)
		}
	}
	if got := ask(t, addr, withLength("TELL SPAMC/1.5", junk, "Message-class: spam\r\nSet: local\r\n")); !strings.HasPrefix(got, "SPAMD/1.0 69 Service Unavailable: TELL commands are not enabled: set allow_tell = true") {
		t.Errorf("%q", got)
	}
}

// TestAllow says nothing to clients of other networks, and serves all on a path.
func TestAllow(t *testing.T) {
	s := newServer(t, Config{Allow: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}})
	addr := start(t, s)
	c, err := net.Dial("tcp", addr)
	mtatest.Check(t, err)
	defer c.Close()
	if got, err := io.ReadAll(c); len(got) > 0 || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	path := filepath.Join(mtatest.OpenDir(t), "s")
	l, err := net.Listen("unix", path)
	mtatest.Check(t, err)
	go func() { _ = s.Serve(context.Background(), l) }() // until Shutdown
	u, err := net.Dial("unix", path)
	mtatest.Check(t, err)
	defer u.Close()
	_, err = io.WriteString(u, "PING SPAMC/1.2\r\n")
	mtatest.Check(t, err)
	if got, err := io.ReadAll(u); string(got) != "SPAMD/1.5 0 PONG\r\n" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}

// checker is a Checker that does what a test wants first.
type checker struct {
	*spam.Engine
	first func(ctx context.Context, text []byte)
}

func (c checker) Check(ctx context.Context, text []byte, f spam.Facts) *spam.Result {
	c.first(ctx, text)
	return c.Engine.Check(ctx, text, f)
}

// TestPanic ends one request alone.
func TestPanic(t *testing.T) {
	e, _ := newEngine(t)
	addr := start(t, newServer(t, Config{Checker: checker{e, func(_ context.Context, text []byte) {
		if string(text) == junk {
			panic("a flaw")
		}
	}}}))
	if got := ask(t, addr, withLength("CHECK SPAMC/1.5", junk)); got != "" {
		t.Errorf("%q", got)
	}
	if got := ask(t, addr, withLength("CHECK SPAMC/1.5", ham)); !strings.Contains(got, "Spam: False ; 1.2 / 5.0") {
		t.Errorf("%q", got)
	}
}

// TestTime answers with a timeout when the rules take too long.
func TestTime(t *testing.T) {
	e, _ := newEngine(t)
	addr := start(t, newServer(t, Config{Timeout: 100 * time.Millisecond, Checker: checker{e, func(ctx context.Context, _ []byte) { <-ctx.Done() }}}))
	if got := ask(t, addr, withLength("REPORT SPAMC/1.5", junk)); got != "SPAMD/1.0 79 Timeout: (0.1 second timeout while trying to REPORT)\r\n" {
		t.Errorf("%q", got)
	}
}

// TestShutdown lets a request end, and sends away those who have not begun.
func TestShutdown(t *testing.T) {
	e, _ := newEngine(t)
	begun, release := make(chan struct{}), make(chan struct{})
	s := newServer(t, Config{Checker: checker{e, func(context.Context, []byte) { close(begun); <-release }}})
	addr := start(t, s)
	idle, err := net.Dial("tcp", addr)
	mtatest.Check(t, err)
	defer idle.Close()
	mtatest.Check(t, idle.SetDeadline(time.Now().Add(time.Minute)))
	answer := make(chan string, 1)
	go func() {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			answer <- err.Error()
			return
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(time.Minute))
		_, _ = io.WriteString(c, withLength("CHECK SPAMC/1.5", junk)) // the answer shows
		got, _ := io.ReadAll(c)
		answer <- string(got)
	}()
	<-begun
	mtatest.Eventually(t, "both are in", 10*time.Second, func() bool { return s.Connections() == 2 })
	down := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		down <- s.Shutdown(ctx)
	}()
	if _, err := io.ReadAll(idle); os.IsTimeout(err) {
		t.Error(err)
	}
	close(release)
	mtatest.Check(t, <-down)
	if got := <-answer; !strings.Contains(got, "Spam: True ; 8.8 / 5.0") {
		t.Errorf("%q", got)
	}
}
