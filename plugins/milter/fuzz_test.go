package milter

import (
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"mtad/internal/e2e/milterkit"
)

// FuzzConversation: whatever a milter says, in whatever order, a session with it
// ends, and what is refused is refused with a reply. A milter at fault changes
// nothing.
func FuzzConversation(f *testing.F) {
	packet := func(code byte, data string) string { return string(milterkit.Packet(code, data)) }
	// Version 6, all actions, every event answered.
	hello := packet('O', "\x00\x00\x00\x06\x00\x00\x01\xff\x00\x00\x00\x00")
	silent := packet('O', "\x00\x00\x00\x06\x00\x00\x01\xff\x00\x0f\xff\xff")
	goOn := strings.Repeat(packet('c', ""), 10)
	for _, s := range []string{
		hello + goOn, hello + goOn + packet('h', "X-A\x00b\x00") + packet('b', "new\r\n") + packet('+', "<n@d.test>\x00") + packet('c', ""),
		silent + packet('m', "\x00\x00\x00\x01Subject\x00a\n b\x00") + packet('i', "\x00\x00\x00\x00X\x00y\x00") + packet('a', ""),
		silent + packet('-', "<b@example.org>\x00") + packet('e', "<>\x00") + packet('q', "why") + packet('p', "") + packet('c', ""),
		hello + packet('c', "") + packet('y', "550 5.7.1 no\x00"), hello + packet('r', ""), hello + packet('t', ""), hello + packet('d', ""), hello + packet('4', ""),
		hello[:7], packet('O', "\x00\x00\x00\x02\x00\x00\x00\x3f\x00\x00\x00\x7f") + packet('c', ""), hello + packet('s', "") + goOn, packet('c', "") + hello,
	} {
		f.Add([]byte(s))
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		f.Fatal(err)
	}
	defer l.Close()
	says := make(chan []byte, 1)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			var in []byte
			select {
			case in = <-says:
			default: // a second connection gets nothing
			}
			go func() {
				defer c.Close()
				c.Write(in)
				c.(*net.TCPConn).CloseWrite()
				io.Copy(io.Discard, c)
			}()
		}
	}()
	const text = "Subject: s\r\nX-A: 1\r\n\r\nbody\r\n"
	f.Fuzz(func(t *testing.T, in []byte) {
		select {
		case <-says: // the last input was not asked for
		default:
		}
		says <- in
		begin := time.Now()
		flt := newTestFilter(t, `connect = "inet:`+l.Addr().String()+`"`)
		r := drive(t, newTestPipeline(t, step(flt)), mail{from: "a@example.net", to: []string{"b@example.org", "c@example.org"}, data: text})
		if d := time.Since(begin); d > 5*time.Second {
			t.Errorf("took %v", d)
		}
		if r.fate.Action.Refuses() && (r.fate.Reply.Code < 400 || r.fate.Reply.Code > 599 || strings.ContainsAny(r.fate.Reply.Text, "\r\x00")) {
			t.Errorf("refused with %+v", r.fate.Reply)
		}
		for _, e := range r.trace.Events {
			if e.Err != "" && len(e.Mods) > 0 {
				t.Errorf("a fault that changes something: %s", explain(r.trace))
			}
		}
		if strings.ContainsAny(strings.ReplaceAll(head(r.message), "\r\n", ""), "\r\n\x00") {
			t.Errorf("header %q", head(r.message))
		}
		for _, rcpt := range r.view.Rcpts() {
			if strings.ContainsAny(rcpt.Addr.Path(), "\r\n\x00") {
				t.Errorf("recipient %q", rcpt.Addr.Path())
			}
		}
	})
}

func head(msg string) string {
	h, _, _ := strings.Cut(msg, "\r\n\r\n")
	return h
}
