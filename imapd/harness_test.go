package imapd

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"mtad/internal/mtatest"
	"mtad/mailbox"
	"mtad/message"
	"mtad/store"
)

// site is a server over a real store, for tests.
type site struct {
	server *Server
	store  *mailbox.Store
	addr   string // plain, with STARTTLS
	tls    string // implicit TLS
	roots  *x509.CertPool
}

// accounts of a site: the password is the name.
var testAccounts = map[string]mailbox.AccountID{"alice": 1, "bob": 2}

func newStore(t testing.TB) *mailbox.Store {
	t.Helper()
	db, err := store.Open(t.TempDir(), store.Options{}, mailbox.Schema())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	box, err := mailbox.Open(t.Context(), db, mailbox.Options{Now: testNow})
	if err != nil {
		t.Fatal(err)
	}
	return box
}

func testNow() time.Time { return time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC) }

func testAuthenticate(_ context.Context, login, password string, _ netip.AddrPort) (Account, error) {
	switch id, known := testAccounts[login]; {
	case login == "broken":
		return Account{}, errors.New("the directory is down")
	case !known || password != login:
		return Account{}, ErrCredentials
	default:
		return Account{ID: id, Name: login}, nil
	}
}

func newSite(t testing.TB, change func(*Config)) *site {
	t.Helper()
	cert, roots := mtatest.Certificate(t)
	c := Config{
		Mailbox: newStore(t), Authenticate: testAuthenticate, Now: testNow,
		TLS: &tls.Config{Certificates: []tls.Certificate{cert}}, FailureDelay: time.Nanosecond,
		Logger: slog.New(slog.NewTextHandler(testWriter{t}, nil)), SpoolDir: t.TempDir(),
	}
	if change != nil {
		change(&c)
	}
	srv, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	s := &site{server: srv, store: c.Mailbox, roots: roots}
	s.addr, s.tls = s.listen(t, false), s.listen(t, true)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := srv.Shutdown(ctx); err != nil {
			t.Error("shutdown:", err)
		}
	})
	return s
}

// testWriter logs into the test.
type testWriter struct{ t testing.TB }

func (w testWriter) Write(p []byte) (int, error) {
	if testing.Verbose() {
		w.t.Log(strings.TrimSpace(string(p)))
	}
	return len(p), nil
}

func (s *site) listen(t testing.TB, implicit bool) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.server.Serve(context.Background(), l, implicit) }()
	t.Cleanup(func() {
		if err := <-done; !errors.Is(err, ErrClosed) {
			t.Error("serve:", err)
		}
	})
	return l.Addr().String()
}

// put delivers a message.
func (s *site) put(t testing.TB, account, folder, raw string, flags mailbox.Flags) mailbox.UID {
	t.Helper()
	f, err := s.store.Folder(t.Context(), testAccounts[account], folder)
	if errors.Is(err, mailbox.ErrNoFolder) {
		if err := s.store.Provision(t.Context(), testAccounts[account]); err != nil {
			t.Fatal(err)
		}
		f, err = s.store.Folder(t.Context(), testAccounts[account], folder)
	}
	if err != nil {
		t.Fatal(err)
	}
	uid, err := s.store.Append(t.Context(), f.ID, message.FromBytes([]byte(raw)), flags, testNow())
	if err != nil {
		t.Fatal(err)
	}
	return uid
}

// client is the simplest IMAP client: it sends what it is told and shows what
// comes.
type client struct {
	t    testing.TB
	conn net.Conn
	r    *bufio.Reader
	n    int
	tag  string // of the golden dialogue's last command, with a space
}

func dial(t testing.TB, addr string) *client {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &client{t: t, conn: conn, r: bufio.NewReader(conn)}
}

// login dials and logs in.
func login(t testing.TB, s *site, name string) *client {
	t.Helper()
	c := dial(t, s.addr)
	c.line()
	c.ok("LOGIN " + name + " " + name)
	return c
}

// line reads one response, its literals included.
func (c *client) line() string {
	c.t.Helper()
	var out strings.Builder
	for {
		if err := c.conn.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
			c.t.Fatal(err)
		}
		l, err := c.r.ReadString('\n')
		if err != nil {
			c.t.Fatalf("read: %v after %q", err, out.String()+l)
		}
		out.WriteString(l)
		m := literalEnd.FindStringSubmatch(l)
		if m == nil {
			return strings.TrimSuffix(out.String(), "\r\n")
		}
		n, _ := strconv.Atoi(m[1])
		if _, err := copyN(&out, c.r, n); err != nil {
			c.t.Fatal(err)
		}
	}
}

var literalEnd = regexp.MustCompile(`\{(\d+)\}\r\n$`)

func copyN(out *strings.Builder, r *bufio.Reader, n int) (int, error) {
	for i := range n {
		b, err := r.ReadByte()
		if err != nil {
			return i, err
		}
		out.WriteByte(b)
	}
	return n, nil
}

func (c *client) send(s string) {
	c.t.Helper()
	if _, err := c.conn.Write([]byte(s)); err != nil {
		c.t.Fatal(err)
	}
}

// do sends a command and returns the untagged responses and the tagged one,
// without its tag.
func (c *client) do(cmd string) (untagged []string, tagged string) {
	c.t.Helper()
	c.n++
	tag := fmt.Sprintf("t%d", c.n)
	c.send(tag + " " + cmd + "\r\n")
	for {
		l := c.line()
		if rest, ok := strings.CutPrefix(l, tag+" "); ok {
			return untagged, rest
		}
		untagged = append(untagged, l)
	}
}

// ok is do for a command that must succeed.
func (c *client) ok(cmd string) []string {
	c.t.Helper()
	untagged, tagged := c.do(cmd)
	if !strings.HasPrefix(tagged, "OK") {
		c.t.Fatalf("%s: %s %s", cmd, untagged, tagged)
	}
	return untagged
}

// append puts a message by APPEND.
func (c *client) append(folder, raw string) {
	c.t.Helper()
	c.ok(fmt.Sprintf("APPEND %s {%d+}\r\n%s", folder, len(raw), raw))
}

func crlf(s string) string {
	return strings.ReplaceAll(strings.ReplaceAll(s, "\r\n", "\n"), "\n", "\r\n")
}

// contains fails the test unless one of lines holds want.
func contains(t testing.TB, lines []string, want string) {
	t.Helper()
	for _, l := range lines {
		if strings.Contains(l, want) {
			return
		}
	}
	t.Errorf("no %q in:\n%s", want, strings.Join(lines, "\n"))
}

func plainMessage(i int) string {
	var b bytes.Buffer
	fmt.Fprintf(&b, "From: Sender %d <s%d@example.net>\r\nTo: alice@example.test\r\nSubject: Message %d\r\n", i, i, i)
	fmt.Fprintf(&b, "Date: Sun, %d Nov 2026 10:00:00 +0100\r\nMessage-ID: <%d@example.net>\r\n\r\nBody %d\r\n", 1+i%28, i, i)
	return b.String()
}
