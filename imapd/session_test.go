package imapd

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"mtad/mailbox"
)

// eof waits for the server to close, showing what it says before.
func (c *client) eof() string {
	c.t.Helper()
	if err := c.conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		c.t.Fatal(err)
	}
	rest, err := io.ReadAll(c.r)
	if err != nil {
		c.t.Fatalf("still open: %v after %q", err, rest)
	}
	return string(rest)
}

func TestStartTLS(t *testing.T) {
	s := newSite(t, nil)
	c := dial(t, s.addr)
	contains(t, []string{c.line()}, "STARTTLS")
	c.ok("STARTTLS")
	tc := tls.Client(c.conn, &tls.Config{RootCAs: s.roots, ServerName: "localhost"})
	c.conn, c.r = tc, bufio.NewReader(tc)
	if caps := c.ok("CAPABILITY"); strings.Contains(caps[0], "STARTTLS") {
		t.Errorf("still offered: %s", caps)
	}
	if _, tagged := c.do("STARTTLS"); !strings.HasPrefix(tagged, "BAD") {
		t.Errorf("twice: %s", tagged)
	}
	c.ok("LOGIN alice alice")
	c.ok("SELECT INBOX")
}

func TestNothingSurvivesSTARTTLS(t *testing.T) {
	s := newSite(t, nil)
	c := dial(t, s.addr)
	c.line()
	c.send("a STARTTLS\r\nb LOGIN alice alice\r\n")
	if got := c.eof(); !strings.Contains(got, "a BAD") || strings.Contains(got, "b OK") {
		t.Errorf("got %q", got)
	}
}

func TestImplicitTLS(t *testing.T) {
	s := newSite(t, nil)
	conn, err := tls.Dial("tcp", s.tls, &tls.Config{RootCAs: s.roots})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	c := &client{t: t, conn: conn, r: bufio.NewReader(conn)}
	contains(t, []string{c.line()}, "AUTH=PLAIN")
	c.ok("LOGIN alice alice")
}

func TestLoginDisabled(t *testing.T) {
	s := newSite(t, nil)
	here, there := net.Pipe()
	defer here.Close()
	s.server.Take(fakeRemote{there, &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 1}}, false)
	c := &client{t: t, conn: here, r: bufio.NewReader(here)}
	if greeting := c.line(); !strings.Contains(greeting, "LOGINDISABLED") || strings.Contains(greeting, "AUTH=") {
		t.Errorf("greeting: %s", greeting)
	}
	for _, cmd := range []string{"LOGIN alice alice", "AUTHENTICATE PLAIN AGFsaWNlAGFsaWNl"} {
		if _, tagged := c.do(cmd); !strings.HasPrefix(tagged, "NO [PRIVACYREQUIRED]") {
			t.Errorf("%s: %s", cmd, tagged)
		}
	}
}

func TestTooManyFailures(t *testing.T) {
	s := newSite(t, nil)
	c := dial(t, s.addr)
	c.line()
	for range 3 {
		if _, tagged := c.do("LOGIN alice wrong"); !strings.HasPrefix(tagged, "NO [AUTHENTICATIONFAILED]") {
			t.Fatal(tagged)
		}
	}
	if got := c.eof(); !strings.HasPrefix(got, "* BYE") {
		t.Errorf("got %q", got)
	}
}

func TestBabbleIsCutOff(t *testing.T) {
	s := newSite(t, nil)
	c := dial(t, s.addr)
	c.send(strings.Repeat("GET / HTTP/1.0\r\n", 30))
	if got := c.eof(); strings.Count(got, " BAD ") != 20 || !strings.Contains(got, "* BYE") {
		t.Errorf("got %q", got)
	}
}

func TestTimeouts(t *testing.T) {
	short := 1200 * time.Millisecond // long enough for what is done within it
	tests := []struct {
		name   string
		change func(*Config)
		login  bool
		say    string
	}{
		{"before login", func(c *Config) { c.LoginTimeout = short }, false, ""},
		{"before login, in a command", func(c *Config) { c.LoginTimeout = short }, false, "a LOGIN "},
		{"idle", func(c *Config) { c.IdleTimeout = short }, true, ""},
		{"in IDLE", func(c *Config) { c.IdleTimeout = short }, true, "a IDLE\r\n"},
		{"stalled", func(c *Config) { c.StallTimeout = short }, true, "a APPEND INBOX {5+}\r\nab"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, tt.change)
			c := dial(t, s.addr)
			c.line()
			if tt.login {
				c.ok("LOGIN alice alice")
			}
			c.send(tt.say)
			if got := c.eof(); !strings.Contains(got, "* BYE Idle for too long") {
				t.Errorf("got %q", got)
			}
		})
	}
}

func TestShutdown(t *testing.T) {
	s := newSite(t, nil)
	waiting, idling, early := login(t, s, "alice"), login(t, s, "alice"), dial(t, s.addr)
	early.line()
	idling.ok("SELECT INBOX")
	idling.send("i IDLE\r\n")
	idling.line()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := s.server.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]*client{"waiting": waiting, "idling": idling, "early": early} {
		if got := c.eof(); got != "* BYE [UNAVAILABLE] Server is shutting down\r\n" {
			t.Errorf("%s: got %q", name, got)
		}
	}
	if n := s.server.Connections(); n != 0 {
		t.Errorf("%d connections left", n)
	}
}

func TestShutdownCutsOff(t *testing.T) {
	s := newSite(t, nil)
	c := login(t, s, "alice")
	c.send("a APPEND INBOX {10}\r\n")
	c.line() // the server now waits for the message
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := s.server.Shutdown(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	c.eof()
}

func TestConnectionLimits(t *testing.T) {
	s := newSite(t, func(c *Config) { c.MaxConnections = 2 })
	a, b := dial(t, s.addr), dial(t, s.addr)
	a.line()
	b.line()
	if got := dial(t, s.addr).eof(); got != "* BYE [UNAVAILABLE] Too many connections\r\n" {
		t.Errorf("got %q", got)
	}
}

func TestPerAddressLimit(t *testing.T) {
	s := newSite(t, func(c *Config) { c.MaxPerAddress = 1 })
	remote := &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 1}
	var conns []net.Conn
	for range 2 {
		here, there := net.Pipe()
		defer here.Close()
		conns = append(conns, here)
		go s.server.Take(fakeRemote{there, remote}, false)
		if len(conns) == 1 {
			(&client{t: t, conn: here, r: bufio.NewReader(here)}).line()
		}
	}
	c := &client{t: t, conn: conns[1], r: bufio.NewReader(conns[1])}
	contains(t, []string{c.line()}, "* BYE [UNAVAILABLE] Too many connections from your address")
}

type fakeRemote struct {
	net.Conn
	remote net.Addr
}

func (f fakeRemote) RemoteAddr() net.Addr { return f.remote }

func TestPipelining(t *testing.T) {
	s := newSite(t, nil)
	c := login(t, s, "alice")
	var in, want strings.Builder
	in.WriteString("p0 SELECT INBOX\r\n")
	for i := 1; i <= 500; i++ {
		fmt.Fprintf(&in, "p%d NOOP\r\n", i)
		fmt.Fprintf(&want, "p%d OK Completed\r\n", i)
	}
	c.send(in.String() + "px LOGOUT\r\n")
	got := c.eof()
	if !strings.Contains(got, want.String()) {
		t.Errorf("answers out of order: %q", got)
	}
}

func TestIdleTellsChanges(t *testing.T) {
	s := newSite(t, nil)
	a, b := login(t, s, "alice"), login(t, s, "alice")
	a.ok("SELECT INBOX")
	a.send("i IDLE\r\n")
	contains(t, []string{a.line()}, "+ ")
	b.append("INBOX", plainMessage(1))
	for _, want := range []string{"* 1 EXISTS", "* 1 RECENT"} {
		if got := a.line(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	b.ok("SELECT INBOX")
	b.ok(`STORE 1 +FLAGS.SILENT (\Deleted)`)
	if got := a.line(); got != `* 1 FETCH (UID 1 FLAGS (\Deleted \Recent))` {
		t.Errorf("got %q", got)
	}
	b.ok("EXPUNGE")
	if got := a.line(); got != "* 1 EXPUNGE" {
		t.Errorf("got %q", got)
	}
	a.send("DONE\r\n")
	if got := a.line(); got != "i OK IDLE completed" {
		t.Errorf("got %q", got)
	}
	a.send("j IDLE\r\n")
	a.line()
	a.send("WHAT\r\n")
	if got := a.line(); got != "j BAD Expected DONE" {
		t.Errorf("got %q", got)
	}
}

func TestDeletedFolderEndsSession(t *testing.T) {
	s := newSite(t, nil)
	a, b := login(t, s, "alice"), login(t, s, "alice")
	a.ok("SELECT Junk")
	b.ok("SELECT Junk")
	b.ok("DELETE Junk")
	if _, tagged := b.do("FETCH 1 FLAGS"); !strings.HasPrefix(tagged, "BAD No mailbox") {
		t.Errorf("own session: %s", tagged)
	}
	a.send("x NOOP\r\n")
	if got := a.eof(); got != "* BYE The selected mailbox has been deleted\r\n" {
		t.Errorf("got %q", got)
	}
}

// TestLargeMessage appends and fetches 50 MB and watches the heap.
func TestLargeMessage(t *testing.T) {
	if testing.Short() {
		t.Skip("50 MB")
	}
	s := newSite(t, nil)
	c := login(t, s, "alice")
	const size = 50_000_000
	c.send(fmt.Sprintf("a APPEND INBOX {%d+}\r\n", size))
	chunk := []byte(strings.Repeat("0123456789abcde\n", 4096))
	for left := size; left > 0; left -= len(chunk) {
		if _, err := c.conn.Write(chunk[:min(left, len(chunk))]); err != nil {
			t.Fatal(err)
		}
	}
	c.send("\r\n")
	contains(t, []string{c.line()}, "a OK [APPENDUID")
	c.ok("SELECT INBOX")
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	c.send("f FETCH 1 BODY.PEEK[]\r\n")
	if head, err := c.r.ReadString('\n'); err != nil || head != fmt.Sprintf("* 1 FETCH (BODY[] {%d}\r\n", size) {
		t.Fatalf("%q, %v", head, err)
	}
	if n, err := io.CopyN(io.Discard, c.r, size); err != nil {
		t.Fatalf("%d octets, %v", n, err)
	}
	runtime.ReadMemStats(&after)
	if grown := int64(after.TotalAlloc) - int64(before.TotalAlloc); grown > 8<<20 {
		t.Errorf("fetching allocated %d octets", grown)
	}
	contains(t, []string{c.line(), c.line()}, "f OK")
}

// TestFollowers has sessions that change one folder at the same time, and
// checks that each one's picture is the true one at the end.
func TestFollowers(t *testing.T) {
	s := newSite(t, nil)
	var wg sync.WaitGroup
	clients := make([]*client, 4)
	for i := range clients {
		clients[i] = login(t, s, "alice")
		clients[i].ok("SELECT INBOX")
	}
	counts := make([]int, len(clients))
	for i, c := range clients {
		wg.Go(func() {
			for k := range 15 {
				for _, cmd := range []string{
					fmt.Sprintf("APPEND INBOX {%d+}\r\n%s", len(plainMessage(k)), plainMessage(k)),
					`UID STORE 1:* +FLAGS ($Seen` + fmt.Sprint(i) + `)`,
					fmt.Sprintf(`UID STORE %d +FLAGS.SILENT (\Deleted)`, k*4+i), "FETCH 1:* UID", "EXPUNGE", "NOOP",
				} {
					untagged, _ := c.do(cmd)
					follow(t, &counts[i], untagged, cmd)
				}
			}
		})
	}
	wg.Wait()
	for i, c := range clients {
		follow(t, &counts[i], c.ok("NOOP"), "NOOP")
		f, err := s.store.Folder(t.Context(), 1, "INBOX")
		if err != nil {
			t.Fatal(err)
		}
		st, err := s.store.Status(t.Context(), f.ID)
		if err != nil {
			t.Fatal(err)
		}
		if counts[i] != int(st.Messages) {
			t.Errorf("session %d believes in %d messages, there are %d", i, counts[i], st.Messages)
		}
	}
}

// follow keeps count as a client does.
func follow(t *testing.T, count *int, untagged []string, cmd string) {
	for _, l := range untagged {
		var n int
		var what string
		if _, err := fmt.Sscanf(l, "* %d %s", &n, &what); err != nil {
			continue
		}
		switch what {
		case "EXISTS":
			if n < *count {
				t.Errorf("EXISTS shrinks from %d to %d", *count, n)
			}
			*count = n
		case "EXPUNGE":
			if n > *count || n == 0 || strings.HasPrefix(cmd, "FETCH") {
				t.Errorf("EXPUNGE %d of %d in answer to %s", n, *count, cmd)
			}
			*count--
		case "FETCH":
			if n > *count || n == 0 {
				t.Errorf("FETCH %d of %d", n, *count)
			}
		}
	}
}

func TestRecentIsToldOnce(t *testing.T) {
	s := newSite(t, nil)
	s.put(t, "alice", "INBOX", plainMessage(1), mailbox.Flags{})
	a, b := login(t, s, "alice"), login(t, s, "alice")
	contains(t, b.ok("EXAMINE INBOX"), "* 1 RECENT")
	contains(t, a.ok("SELECT INBOX"), "* 1 RECENT")
	contains(t, b.ok("SELECT INBOX"), "* 0 RECENT")
	s.put(t, "alice", "INBOX", plainMessage(2), mailbox.Flags{})
	contains(t, b.ok("NOOP"), "* 1 RECENT")
	contains(t, a.ok("NOOP"), "* 1 RECENT")
	contains(t, a.ok("FETCH 1:2 FLAGS"), `* 1 FETCH (FLAGS (\Recent))`)
	contains(t, a.ok("FETCH 1:2 FLAGS"), `* 2 FETCH (FLAGS ())`)
	contains(t, b.ok("FETCH 1:2 FLAGS"), `* 2 FETCH (FLAGS (\Recent))`)
}
