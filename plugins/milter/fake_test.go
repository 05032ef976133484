package milter

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"mtad/milterd/wire"
)

// fake is a milter that does what a script says.
type fake struct {
	ln     net.Listener
	terms  wire.Terms
	extra  string            // after the three numbers of the negotiation
	greet  string            // in place of the negotiation's answer: octets
	script map[byte][]string // replies by event, one element an event; the last stays
	deaf   bool              // nothing is noted
	macros bool              // whether macros are noted

	mu    sync.Mutex
	log   []string
	count map[byte]int
	conns int
	ended chan struct{} // an element for each session that the client ended
}

func newFake(t testing.TB, tm wire.Terms) *fake {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &fake{ln: ln, terms: tm, script: map[byte][]string{}, count: map[byte]int{}, ended: make(chan struct{}, 1000)}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			f.note("connection " + strconv.Itoa(f.next()))
			wg.Go(func() {
				defer c.Close()
				f.serve(c)
			})
		}
	})
	t.Cleanup(func() { ln.Close() })
	return f
}

func (f *fake) next() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.conns++
	return f.conns
}

func (f *fake) config(more ...string) string {
	return strings.Join(append([]string{`connect = "inet:` + f.ln.Addr().String() + `"`}, more...), "\n")
}

func (f *fake) note(s string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.log = append(f.log, s)
}

// take returns what was noted since the last time.
func (f *fake) take() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := f.log
	f.log = nil
	return out
}

// follow replaces the script: lines of an event and its replies.
func (f *fake) follow(script string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	clear(f.script)
	clear(f.count)
	f.log = nil
	for line := range strings.Lines(script) {
		event, replies, _ := strings.Cut(strings.TrimSpace(line), " ")
		f.script[event[0]] = append(f.script[event[0]], replies)
	}
}

func (f *fake) serve(c net.Conn) {
	in := bufio.NewReader(c)
	for {
		code, data, err := wire.Read(in, nil, wire.MaxPacket)
		if err != nil {
			f.ended <- struct{}{}
			return
		}
		if !f.deaf && (code != 'D' || f.macros) {
			f.note(strings.TrimSpace(fmt.Sprintf("> %c %s", code, show(data))))
		}
		switch code {
		case 'D', 'A':
		case 'K':
			f.ended <- struct{}{}
		case 'Q':
			f.ended <- struct{}{}
			return
		case 'O':
			c.Write(f.negotiation())
		default:
			if !f.reply(c, code) {
				return
			}
		}
	}
}

// await waits for a client to end its session.
func (f *fake) await(t testing.TB) {
	t.Helper()
	select {
	case <-f.ended:
	case <-time.After(30 * time.Second):
		t.Fatalf("the client does not leave the milter, which saw\n%s", strings.Join(f.take(), "\n"))
	}
}

func show(data []byte) string {
	if len(data) == 0 {
		return ""
	}
	if len(data) > 400 {
		return fmt.Sprintf("%d octets", len(data))
	}
	return strings.ReplaceAll(strconv.Quote(string(data)), `\x00`, `|`)
}

func (f *fake) negotiation() []byte {
	if f.greet != "" {
		return []byte(f.greet)
	}
	var data []byte
	for _, n := range []uint32{f.terms.Version, uint32(f.terms.Actions), uint32(f.terms.Steps)} {
		data = binary.BigEndian.AppendUint32(data, n)
	}
	return packet('O', string(data)+f.extra)
}

func packet(code byte, data string) []byte {
	out := binary.BigEndian.AppendUint32(nil, uint32(len(data)+1))
	return append(append(out, code), data...)
}

// reply answers an event; the answers of an event without a script are "c".
// "hangup" ends the connection, "silent" says nothing.
func (f *fake) reply(c net.Conn, code byte) bool {
	for k, kind := range wire.Events {
		if byte(k) == code && f.terms.Steps&kind.Mute != 0 {
			return true
		}
	}
	f.mu.Lock()
	replies := f.script[code]
	i := min(f.count[code], len(replies)-1)
	f.count[code]++
	f.mu.Unlock()
	if len(replies) == 0 {
		c.Write(packet('c', ""))
		return true
	}
	for part := range strings.SplitSeq(replies[i], " ; ") {
		switch part = strings.TrimSpace(part); part {
		case "hangup":
			return false
		case "silent":
			return true
		}
		data := ""
		if len(part) > 1 {
			var err error
			if data, err = strconv.Unquote(part[1:]); err != nil {
				f.note("bad script: " + part)
				return false
			}
		}
		c.Write(packet(part[0], strings.ReplaceAll(data, "|", "\x00")))
	}
	return true
}
