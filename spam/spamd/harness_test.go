package spamd

import (
	"bytes"
	"context"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"mtad/internal/mtatest"
	"mtad/spam"
	"mtad/spam/conf"
)

const rules = `required_score 5
report_safe 0
report_hostname test.example
report _SCORE_ of _REQD_: _TESTS(,)_
clear_headers
add_header all Status _YESNO_, score=_SCORE_ required=_REQD_ tests=_TESTS_
body VIAGRA_ /viagra/i
score VIAGRA_ 7.5
header HELLO_ Subject =~ /hello/i
score HELLO_ 1.25
`

const (
	ham  = "From: a@example.org\nSubject: hello\n\nGood morning.\n"
	junk = "From: a@example.org\nSubject: hello\n\nBuy VIAGRA now.\n"
)

// newEngine makes an engine of those rules, and names their file.
func newEngine(t testing.TB) (*spam.Engine, string) {
	t.Helper()
	path := t.TempDir() + "/10.cf"
	mtatest.Write(t, path, rules)
	rs, err := conf.Load([]string{path}, conf.Options{Local: true})
	mtatest.Check(t, err)
	return spam.New(rs, spam.Options{}), path
}

func newServer(t testing.TB, c Config) *Server {
	t.Helper()
	if c.Checker == nil {
		c.Checker, _ = newEngine(t)
	}
	s, err := New(c)
	mtatest.Check(t, err)
	return s
}

// start serves on loopback until the test ends.
func start(t testing.TB, s *Server) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	mtatest.Check(t, err)
	return startOn(t, s, l)
}

func startOn(t testing.TB, s *Server, l net.Listener) string {
	t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Serve(context.Background(), l) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		mtatest.Check(t, s.Shutdown(ctx))
		<-done
	})
	return l.Addr().String()
}

// counting counts what is read from its connections.
type counting struct {
	net.Listener
	octets atomic.Int64
}

func (c *counting) Accept() (net.Conn, error) {
	conn, err := c.Listener.Accept()
	return countedConn{conn, &c.octets}, err
}

type countedConn struct {
	net.Conn
	octets *atomic.Int64
}

func (c countedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.octets.Add(int64(n))
	return n, err
}

// ask sends a request, closes its side and reads the answer.
func ask(t testing.TB, addr, request string) string {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	mtatest.Check(t, err)
	defer c.Close()
	mtatest.Check(t, c.SetDeadline(time.Now().Add(time.Minute)))
	_, err = io.WriteString(c, request)
	mtatest.Check(t, err)
	mtatest.Check(t, c.(*net.TCPConn).CloseWrite())
	out, err := io.ReadAll(c)
	mtatest.Check(t, err)
	return string(out)
}

// script is a connection that is all there at once.
type script struct {
	net.Conn
	in  bytes.Reader
	out bytes.Buffer
}

type local struct{}

func (local) Network() string { return "unix" }
func (local) String() string  { return "@" }

func (s *script) Read(p []byte) (int, error)       { return s.in.Read(p) }
func (s *script) Write(p []byte) (int, error)      { return s.out.Write(p) }
func (s *script) Close() error                     { return nil }
func (s *script) LocalAddr() net.Addr              { return local{} }
func (s *script) RemoteAddr() net.Addr             { return local{} }
func (s *script) SetReadDeadline(time.Time) error  { return nil }
func (s *script) SetWriteDeadline(time.Time) error { return nil }

func (s *script) run(server *Server, request []byte) []byte {
	s.in.Reset(request)
	s.out.Reset()
	server.session(context.Background(), server.NewConn(s))
	return s.out.Bytes()
}
