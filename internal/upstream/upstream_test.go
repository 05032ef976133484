package upstream

import (
	"bufio"
	"errors"
	"net"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"
)

// quiet is how long a peer is silent before we take it to have nothing to say:
// the defects that are waits. A machine so slow that an answer takes longer hides
// that a defect is gone; it never makes up one that is not there.
const quiet = 300 * time.Millisecond

// patience bounds what is expected to come.
const patience = 10 * time.Second

// reconsider fails the test: the defect is gone.
func reconsider(t *testing.T, row, what string) {
	t.Helper()
	t.Errorf("reconsider: %s. See row %q of docs/decisions/0001-owner-packages.md", what, row)
}

// Every row that a test names is there.
func TestRows(t *testing.T) {
	b, err := os.ReadFile("../../docs/decisions/0001-owner-packages.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []string{goSMTP, goMilter, goMsgauth, goPlugin, gopherLua, goIMAP, goSPF} {
		if !strings.Contains(string(b), "| "+row+" |") {
			t.Errorf("no row %q", row)
		}
	}
}

// listen opens a port of loopback that closes with the test.
func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// wire is a connection that a test speaks over by hand.
type wire struct {
	net.Conn
	*bufio.Reader
	t *testing.T
}

func newWire(t *testing.T, c net.Conn) *wire {
	t.Cleanup(func() { c.Close() })
	return &wire{c, bufio.NewReader(c), t}
}

func (w *wire) Read(b []byte) (int, error) { return w.Reader.Read(b) }

func dial(t *testing.T, l net.Listener) *wire {
	t.Helper()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return newWire(t, c)
}

// accept waits for one client.
func accept(t *testing.T, l net.Listener) *wire {
	t.Helper()
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return newWire(t, c)
}

func (w *wire) send(s string) {
	w.t.Helper()
	if _, err := w.Write([]byte(s)); err != nil {
		w.t.Fatal(err)
	}
}

// line reads a line without its end.
func (w *wire) line() string {
	w.t.Helper()
	w.SetReadDeadline(time.Now().Add(patience))
	s, err := w.ReadString('\n')
	if err != nil {
		w.t.Fatalf("%v after %q", err, s)
	}
	return strings.TrimRight(s, "\r\n")
}

// silent says whether nothing comes, not even the end of the connection.
func (w *wire) silent() bool {
	w.SetReadDeadline(time.Now().Add(quiet))
	_, err := w.Peek(1)
	return errors.Is(err, os.ErrDeadlineExceeded)
}

// closed says whether the next thing is the end of the connection.
func (w *wire) closed() bool {
	w.SetReadDeadline(time.Now().Add(patience))
	_, err := w.Peek(1)
	return err != nil && !errors.Is(err, os.ErrDeadlineExceeded)
}

// names lists the exported methods or fields of v's type, for defects that are
// the absence of something to call.
func names(v any) []string {
	typ := reflect.TypeOf(v)
	var out []string
	for i := range typ.NumMethod() {
		out = append(out, typ.Method(i).Name)
	}
	if typ.Kind() == reflect.Pointer {
		typ = typ.Elem()
	}
	if typ.Kind() == reflect.Struct {
		for i := range typ.NumField() {
			if f := typ.Field(i); f.IsExported() {
				out = append(out, f.Name)
			}
		}
	}
	return out
}

// has finds a name that has one of the words in it.
func has(names []string, words ...string) string {
	for _, n := range names {
		for _, w := range words {
			if strings.Contains(n, w) {
				return n
			}
		}
	}
	return ""
}
