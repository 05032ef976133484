package milter

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	gomilter "github.com/emersion/go-milter"

	"mtad/internal/e2e/milterkit"
	"mtad/message"
	"mtad/milterd/wire"
	"mtad/pipeline"
)

// counting counts writes.
type counting struct {
	net.Conn
	writes atomic.Int32
}

func (c *counting) Write(p []byte) (int, error) {
	c.writes.Add(1)
	return c.Conn.Write(p)
}

// TestCoalescing checks that what is not answered is not written alone: over TCP
// each write more could wait for Nagle's algorithm and a delayed acknowledgement.
func TestCoalescing(t *testing.T) {
	quiet := milterkit.Terms{Version: 6, Steps: wire.Offer(6).Steps &^ (0x37f | gomilter.OptHeaderLeadingSpace | gomilter.OptRcptRej | wire.OptData1M | wire.OptData256K)}
	for _, c := range []struct {
		name string
		tm   milterkit.Terms
		want int32 // writes of a session with one message of one field
	}{
		{"all is answered", milterkit.Terms{Version: 6}, 10}, // C H M R T L N B E, K
		{"nothing but the end is", quiet, 2},                 // all of it, K
	} {
		t.Run(c.name, func(t *testing.T) {
			fake := milterkit.NewMilter(t, c.tm)
			var counter *counting
			wrap := wrapped{newTestFilter(t, configFor(fake)), func(s *session) {
				counter = &counting{Conn: s.link.conn}
				s.link.conn = counter
			}}
			r := drive(t, newTestPipeline(t, step(wrap)), mail{client: testClient, from: "a@example.net", to: []string{"b@example.org"}, data: "Subject: a\r\n\r\nbody\r\n"})
			if r.fate.Action != pipeline.Continue {
				t.Fatal(explain(r.trace))
			}
			if got := counter.writes.Load(); got != c.want {
				t.Errorf("%d writes, want %d", got, c.want)
			}
		})
	}
}

// wrapped is a filter whose sessions are changed when they open.
type wrapped struct {
	*filter
	change func(*session)
}

func (w wrapped) Open(ctx context.Context, v *pipeline.View) (pipeline.Session, error) {
	s, err := w.filter.Open(ctx, v)
	if err == nil {
		w.change(s.(*session))
	}
	return s, err
}

func TestTimeouts(t *testing.T) {
	for _, c := range []struct{ name, script, at string }{
		{"command", "M silent", "MAIL"},
		{"content", "E silent", "end of message"},
		{"progress, then nothing", "E p ; p ; silent", "end of message"},
	} {
		t.Run(c.name, func(t *testing.T) {
			story := ""
			for timeout := 100 * time.Millisecond; !strings.Contains(story, c.at+": "+pipeline.ErrTimeout.Error()); timeout *= 3 {
				if timeout > 10*time.Second {
					t.Fatal(story)
				}
				// What is answered at once may take as long on a busy machine: then with more time.
				fake := milterkit.NewMilter(t, milterkit.Terms{Version: 6})
				fake.Follow(c.script)
				f := newTestFilter(t, configFor(fake, fmt.Sprintf("command_timeout = \"%dms\"", timeout.Milliseconds()), fmt.Sprintf("content_timeout = \"%dms\"", timeout.Milliseconds())))
				r := drive(t, newTestPipeline(t, step(f)), mail{client: testClient, from: "a@example.net", to: []string{"b@example.org"}, data: "Subject: a\r\n\r\nbody\r\n"})
				if story = explain(r.trace); r.fate.Action != pipeline.TempFail {
					t.Fatal(story)
				}
			}
		})
	}
}

// TestProgress checks that a milter that is at work may take longer than the
// time-out.
func TestProgress(t *testing.T) {
	ours, theirs := net.Pipe()
	defer ours.Close()
	defer theirs.Close()
	s := &session{f: newTestFilter(t, `connect = "unix:/x"`), link: newLink(ours), timeout: time.Second}
	s.link.Version = 6
	go func() {
		in := bufio.NewReader(theirs)
		wire.Read(in, nil, wire.MaxPacket)
		for range 5 {
			time.Sleep(250 * time.Millisecond) // the work
			theirs.Write(milterkit.Packet('p', ""))
		}
		theirs.Write(milterkit.Packet('c', ""))
	}()
	r, err := s.event(context.Background(), gomilter.CodeHeader, []byte("a\x00b\x00"))
	if err != nil || r.code != gomilter.ActContinue {
		t.Errorf("%v %v", r, err)
	}
}

func TestCancel(t *testing.T) {
	fake := milterkit.NewMilter(t, milterkit.Terms{Version: 6})
	fake.Follow("C silent")
	f := newTestFilter(t, configFor(fake))
	ctx, cancel := context.WithCancel(context.Background())
	s, err := f.Open(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	time.AfterFunc(50*time.Millisecond, cancel)
	flow := newTestPipeline(t).Open(testClient)
	defer flow.Close()
	if _, err := s.Filter(ctx, pipeline.Connect, flow.View()); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// TestFaults checks that a milter that is not there, or says nothing, or
// nonsense, is a fault with a reason.
func TestFaults(t *testing.T) {
	dead, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead.Close()
	f := newTestFilter(t, `connect = "inet:`+dead.Addr().String()+`"`)
	if _, err := f.Open(context.Background(), nil); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("got %v", err)
	}
	for greet, want := range map[string]string{
		"HTTP/1.1 200 OK\r\n\r\n":                           "a packet of 1213486160 octets",
		"\x00\x00\x00\x01c":                                 "answered with 'c'",
		"\x00\x00\x00\x05O\x00\x00\x00\x06":                 "a negotiation of 4 octets",
		"\x00\x00\x00\x0d" + "O" + string(make([]byte, 12)): "wants version 0",
	} {
		fake := milterkit.NewMilter(t, milterkit.Terms{})
		fake.Greet = greet
		_, err := newTestFilter(t, configFor(fake)).Open(context.Background(), nil)
		if !errors.Is(err, wire.ErrProtocol) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %s", greet, err, want)
		}
	}
}

// TestReuse checks which connections serve a second session.
func TestReuse(t *testing.T) {
	for _, c := range []struct {
		name, script, config string
		version              uint32
		want                 int
	}{
		{"let pass", "", "", 6, 1},
		{"accepted", "E a", "", 6, 3},
		{"rejected", "E r", "", 6, 3},
		{"version 4", "", "", 4, 3},
		{"not wanted", "", "idle_connections = 0", 6, 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			fake := milterkit.NewMilter(t, milterkit.Terms{Version: c.version})
			fake.Follow(c.script)
			p := newTestPipeline(t, step(newTestFilter(t, configFor(fake, c.config))))
			for range 3 {
				drive(t, p, mail{client: testClient, from: "a@example.net", to: []string{"b@example.org"}, data: "Subject: a\r\n\r\nbody\r\n"})
				<-fake.Ended
			}
			if fake.Conns() != c.want {
				t.Errorf("%d connections, want %d", fake.Conns(), c.want)
			}
		})
	}
}

// TestReuseOfDead checks that a connection that the milter closed meanwhile is
// not used.
func TestReuseOfDead(t *testing.T) {
	server, client := tcpPair(t)
	var p pool
	p.limit = 1
	l := newLink(client)
	if !p.put(l) || p.put(newLink(client)) {
		t.Fatal("the pool does not keep one")
	}
	if got := p.get(); got != l {
		t.Fatalf("got %v", got)
	}
	p.put(l)
	server.Close()
	for l.alive() { // until the end has come over
		time.Sleep(time.Millisecond)
	}
	if got := p.get(); got != nil {
		t.Error("got a dead connection")
	}
	p.close()
	if p.put(l) {
		t.Error("a closed pool keeps a connection")
	}
}

func tcpPair(t *testing.T) (server, client net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if client, err = net.Dial("tcp", ln.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if server, err = ln.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close(); client.Close() })
	return server, client
}

// TestChunks checks the pieces in which a body is sent, for each size that can
// be agreed on.
func TestChunks(t *testing.T) {
	for steps, want := range map[gomilter.OptProtocol]int{0: 65535, wire.OptData256K: 256<<10 - 1, wire.OptData1M: 1<<20 - 1} {
		data := binary.BigEndian.AppendUint32(nil, 6)
		data = binary.BigEndian.AppendUint32(data, 0)
		data = binary.BigEndian.AppendUint32(data, uint32(steps))
		tm, err := wire.Agree(wire.Offer(6), data)
		if err != nil || tm.Limit != want {
			t.Errorf("%#x: limit %d, %v; want %d", uint32(steps), tm.Limit, err, want)
		}
	}
	fake := milterkit.NewMilter(t, milterkit.Terms{Version: 6})
	body := strings.Repeat("x", 65535+100)
	drive(t, newTestPipeline(t, step(newTestFilter(t, configFor(fake)))), mail{client: testClient, to: []string{"b@example.org"}, data: "Subject: a\r\n\r\n" + body})
	got := strings.Join(fake.Take(), "\n")
	if !strings.Contains(got, "> B 65535 octets\n> B \"xxx") {
		t.Errorf("pieces:\n%s", got)
	}
}

// TestLongField checks that a field that does not fit into a packet is cut off,
// where libmilter would close the connection.
func TestLongField(t *testing.T) {
	m, err := message.Parse(message.FromBytes([]byte("Subject: " + strings.Repeat("x", 70000) + "\r\n\r\n")))
	if err != nil {
		t.Fatal(err)
	}
	data := fieldData(m.Header().Fields()[0], false, 65535)
	if len(data) != 65535 || data[len(data)-1] != 0 || bytes.Count(data, []byte{0}) != 2 {
		t.Errorf("%d octets", len(data))
	}
}

// TestBodyLimit checks that a milter can not fill the disk.
func TestBodyLimit(t *testing.T) {
	fake := milterkit.NewMilter(t, milterkit.Terms{Version: 6, Actions: gomilter.OptChangeBody})
	fake.Follow(`E ` + strings.Repeat(`b"`+strings.Repeat("0123456789", 800)+`" ; `, 9) + "c")
	f := newTestFilter(t, configFor(fake, "body_limit = 64 * KB"))
	r := drive(t, newTestPipeline(t, step(f)), mail{client: testClient, to: []string{"b@example.org"}, data: "Subject: a\r\n\r\nbody\r\n"})
	if r.fate.Action != pipeline.TempFail || !strings.Contains(explain(r.trace), message.ErrTooLarge.Error()) {
		t.Error(explain(r.trace))
	}
}
