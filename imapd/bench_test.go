package imapd

import (
	"bufio"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"

	"mtad/mailbox"
)

// filled is a connection that has selected an INBOX of n messages, each with so
// many lines.
func filled(b testing.TB, n, lines int) *client {
	s := newSite(b, nil)
	c := login(b, s, "alice")
	body := strings.Repeat("The quick brown fox jumps over the lazy dog.\r\n", lines)
	for i := range n {
		s.put(b, "alice", "INBOX", plainMessage(i)+body, mailbox.Flags{})
	}
	c.ok("SELECT INBOX")
	c.r = bufio.NewReaderSize(c.conn, 1<<18)
	return c
}

// drain sends a command and reads up to its answer without looking at more
// than the ends of lines.
func (c *client) drain(cmd string) {
	c.n++
	tag := fmt.Sprintf("t%d ", c.n)
	c.send(tag + cmd + "\r\n")
	for {
		l, err := c.r.ReadSlice('\n')
		if err != nil {
			c.t.Fatal(err)
		}
		if strings.HasPrefix(string(l), tag) {
			return
		}
		if m := literalEnd.FindSubmatch(l); m != nil {
			var n int64
			if _, err := fmt.Sscan(string(m[1]), &n); err != nil {
				c.t.Fatal(err)
			}
			if _, err := io.CopyN(io.Discard, c.r, n); err != nil {
				c.t.Fatal(err)
			}
		}
	}
}

// BenchmarkCommands has one figure for each operation on 1,000 messages.
func BenchmarkCommands(b *testing.B) {
	c := filled(b, 1000, 200)
	for _, cmd := range []string{
		"SELECT INBOX", "FETCH 1:* (FLAGS UID)", "FETCH 1:* (ENVELOPE)", "FETCH 1:* (BODYSTRUCTURE)", "FETCH 1:* BODY.PEEK[]",
		"SEARCH UNSEEN", "SEARCH SUBJECT nothing", "SEARCH TEXT nothing", "NOOP",
	} {
		b.Run(strings.ReplaceAll(cmd, " ", "_"), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				c.drain(cmd)
			}
		})
	}
}

// BenchmarkFetch10000 is what a client asks of a large folder when it opens it.
// The first FETCH of each kind makes the summaries that later ones find.
func BenchmarkFetch10000(b *testing.B) {
	c := filled(b, 1000, 220) // 10 KiB each
	for range 9 {
		c.ok("COPY 1:1000 INBOX")
	}
	for _, cmd := range []string{"FETCH 1:* (FLAGS)", "FETCH 1:* (ENVELOPE)", "FETCH 1:* (BODYSTRUCTURE)", "FETCH 1:* (BODY.PEEK[HEADER.FIELDS (SUBJECT FROM)])", "SEARCH SUBJECT nothing"} {
		b.Run(strings.ReplaceAll(cmd, " ", "_"), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				c.drain(cmd)
			}
		})
	}
}

// TestManyBodiesInBoundedMemory fetches far more than it may hold.
func TestManyBodiesInBoundedMemory(t *testing.T) {
	c := filled(t, 100, 1000)
	for range 10 {
		c.ok("COPY 1:100 INBOX")
	}
	var before, after runtime.MemStats
	c.drain("FETCH 1:100 BODY.PEEK[]")
	runtime.GC()
	runtime.ReadMemStats(&before)
	c.drain("FETCH 1:* BODY.PEEK[]") // 1,100 messages, 50 MB
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapSys) - int64(before.HeapSys); grown > 32<<20 {
		t.Errorf("the heap grew by %d octets", grown)
	}
}

// TestIdleConnectionsAreSmall holds many idle connections on a large folder.
func TestIdleConnectionsAreSmall(t *testing.T) {
	s := newSite(t, nil)
	c := login(t, s, "alice")
	c.append("INBOX", plainMessage(1))
	c.ok("SELECT INBOX")
	for range 10 {
		c.ok("COPY 1:* INBOX")
	}
	const n = 100
	idle := func() {
		c := login(t, s, "alice")
		c.ok("SELECT INBOX")
		c.send("i IDLE\r\n")
		c.line()
	}
	idle()
	before := inUse()
	for range n {
		idle()
	}
	// The client's side is counted too: a bufio.Reader of 4 KiB and its socket.
	each := (inUse() - before) / n
	if each > 40<<10 {
		t.Errorf("%d octets for each idle connection, both ends", each)
	}
	t.Logf("%d octets for each idle connection, both ends", each)
}

func inUse() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse + m.StackInuse)
}
