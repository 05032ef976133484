package managesieved

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"mtad/directory"
	"mtad/internal/mtatest"
	"mtad/sieve"
	"mtad/store"
)

// site is a server over a real directory, for tests.
type site struct {
	server *Server
	dir    *directory.Directory
	addr   string
	users  map[string]Account

	mu      sync.Mutex
	options sieve.Options // beside the scripts of the account
}

// change changes the options under a server that runs.
func (s *site) change(f func(*sieve.Options)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(&s.options)
}

// newSite has the accounts alice and bob; the password is the name.
func newSite(t testing.TB, change func(*Config)) *site {
	t.Helper()
	s := &site{users: map[string]Account{}, options: sieve.Options{Without: []string{"imapsieve", "ereject"}}}
	s.openDirectory(t)
	cert, _ := mtatest.Certificate(t)
	c := Config{
		Directory: s.dir, Authenticate: s.authenticate, Options: s.optionsOf, FailureDelay: time.Nanosecond,
		TLS:    &tls.Config{Certificates: []tls.Certificate{cert}},
		Logger: slog.New(slog.NewTextHandler(testWriter{t}, nil)),
	}
	if change != nil {
		change(&c)
	}
	srv, err := New(c)
	check1(t, err)
	s.server = srv
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check1(t, err)
	s.addr = l.Addr().String()
	done := make(chan error, 1)
	go func() { done <- srv.Serve(context.Background(), l) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := srv.Shutdown(ctx); err != nil {
			t.Error("shutdown:", err)
		}
		if err := <-done; !errors.Is(err, ErrClosed) {
			t.Error("serve:", err)
		}
	})
	return s
}

func (s *site) openDirectory(t testing.TB) {
	t.Helper()
	db, err := store.Open(t.TempDir(), store.Options{}, directory.Schema())
	check1(t, err)
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	s.dir, err = directory.New(db, directory.Options{Settings: directory.Settings{DefaultDomain: "example.test"}})
	check1(t, err)
	check1(t, s.dir.AddDomain(t.Context(), "example.test", directory.Local))
	for _, name := range []string{"alice", "bob"} {
		u, err := s.dir.AddUser(t.Context(), name, name)
		check1(t, err)
		s.users[name] = Account{ID: u.ID, Address: u.Address}
	}
}

func check1(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// authenticate spares the tests the hashing.
func (s *site) authenticate(_ context.Context, login, password string, _ netip.AddrPort) (Account, error) {
	switch a, known := s.users[login]; {
	case login == "broken":
		return Account{}, errors.New("the directory is down at /var/secret")
	case !known || password != login:
		return Account{}, ErrCredentials
	default:
		return a, nil
	}
}

func (s *site) optionsOf(ctx context.Context, a Account) sieve.Options {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.options
	o.Include = func(location, name string) (string, error) {
		text, err := s.dir.ScriptText(ctx, a.ID, directory.Sieve, name)
		if location != "personal" || errors.Is(err, directory.ErrNoScript) {
			return "", fs.ErrNotExist
		}
		return text, err
	}
	return o
}

// testWriter logs into the test.
type testWriter struct{ t testing.TB }

func (w testWriter) Write(p []byte) (int, error) {
	if testing.Verbose() {
		w.t.Log(strings.TrimSpace(string(p)))
	}
	return len(p), nil
}

// client is the simplest ManageSieve client: it sends what it is told and shows
// what comes.
type client struct {
	t    testing.TB
	conn net.Conn
	r    *bufio.Reader
}

func dial(t testing.TB, s *site) *client {
	t.Helper()
	conn, err := net.Dial("tcp", s.addr)
	check1(t, err)
	t.Cleanup(func() { conn.Close() })
	return &client{t: t, conn: conn, r: bufio.NewReader(conn)}
}

// login dials and logs in.
func login(t testing.TB, s *site) *client {
	t.Helper()
	c := dial(t, s)
	c.answer()
	c.ok(aliceIn)
	return c
}

// aliceIn logs alice in.
const aliceIn = `AUTHENTICATE "PLAIN" "AGFsaWNlAGFsaWNl"`

var literalEnd = regexp.MustCompile(`\{(\d+)\}\r\n$`)

// line reads a line, its literals included. It is "" where the stream ends.
func (c *client) line() string {
	c.t.Helper()
	var out strings.Builder
	for {
		check1(c.t, c.conn.SetReadDeadline(time.Now().Add(20*time.Second)))
		l, err := c.r.ReadString('\n')
		if errors.Is(err, io.EOF) && l == "" && out.Len() == 0 {
			return ""
		}
		if err != nil {
			c.t.Fatalf("read: %v after %q", err, out.String()+l)
		}
		out.WriteString(l)
		m := literalEnd.FindStringSubmatch(l)
		if m == nil {
			return out.String()
		}
		n, err := strconv.ParseInt(m[1], 10, 32)
		check1(c.t, err)
		_, err = io.CopyN(&out, c.r, n)
		check1(c.t, err)
	}
}

var final = regexp.MustCompile(`^(OK|NO|BYE)[ \r]`)

// answer reads up to the end of a command's answer.
func (c *client) answer() string {
	c.t.Helper()
	var out strings.Builder
	for {
		l := c.line()
		out.WriteString(l)
		if l == "" || final.MatchString(l) {
			return out.String()
		}
	}
}

func (c *client) send(s string) {
	c.t.Helper()
	_, err := c.conn.Write([]byte(s))
	check1(c.t, err)
}

func (c *client) do(command string) string {
	c.t.Helper()
	c.send(command + "\r\n")
	return c.answer()
}

// want runs a command whose answer begins so.
func (c *client) want(command, answer string) string {
	c.t.Helper()
	got := c.do(command)
	if !strings.HasPrefix(got, answer) {
		c.t.Errorf("%.80q: %q, want %q", command, got, answer)
	}
	return got
}

func (c *client) ok(command string) {
	c.t.Helper()
	lines := strings.Split(strings.TrimSuffix(c.do(command), "\r\n"), "\r\n")
	if last := lines[len(lines)-1]; !strings.HasPrefix(last, "OK") {
		c.t.Fatalf("%.80q: %q", command, lines)
	}
}

// put is the command that stores a script.
func put(name, text string) string {
	return fmt.Sprintf("PUTSCRIPT %q {%d+}\r\n%s", name, len(text), text)
}

// eof reads to the end of the connection.
func (c *client) eof() string {
	c.t.Helper()
	check1(c.t, c.conn.SetReadDeadline(time.Now().Add(20*time.Second)))
	b, err := io.ReadAll(c.r)
	check1(c.t, err)
	return string(b)
}
