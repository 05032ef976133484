package relay

import (
	"context"
	"io"
	"net"
	"strings"
	"testing"
)

// script is a connection to a host that says what it has to say at once and
// listens to nothing.
type script struct {
	net.Conn // the client's end
	said     strings.Builder
}

func (s *script) Write(p []byte) (int, error) {
	s.said.Write(p)
	return len(p), nil
}

// FuzzConversation: whatever a host says, each recipient gets one result with a
// reply that is one, and none is delivered before the message was sent whole.
func FuzzConversation(f *testing.F) {
	hello := "220 x\r\n250-x\r\n250-PIPELINING\r\n250-SIZE 1000\r\n250-DSN\r\n250-SMTPUTF8\r\n250 8BITMIME\r\n"
	for _, s := range []string{
		hello + "250 a\r\n250 b\r\n250 c\r\n354 d\r\n250 e\r\n221 f\r\n", hello + "250 a\r\n450 b\r\n550 c\r\n554 d\r\n", hello + "250 a\r\n250 b\r\n250 c\r\n250 d\r\n",
		"220 x\r\n500 y\r\n250 x\r\n250 a\r\n250 b\r\n452 c\r\n354 d\r\n550-e\r\n550 5.7.1 f\r\n", "554 go away\r\n", "421 x\r\n", "220-\r\n220 \r\n",
		"220 x\r\n250-x\r\n250-CHUNKING\r\n250-AUTH PLAIN\r\n250-STARTTLS\r\n250-LIMITS RCPTMAX=1\r\n250 SIZE 1\r\n250 a\r\n421 b\r\n", hello + "552 too big\r\n",
		"220 x\r\n250 x\r\n250 a\r\n250 b\r\n250 c\r\n354 d\r\n250 e\r\n354 x\r\n250 y\r\n",
	} {
		f.Add(s, "body\r\n.\r\n..\r\n", false)
		f.Add(s, "no end", true)
	}
	f.Fuzz(func(t *testing.T, replies, body string, opportunistic bool) {
		var conns []*script
		c := New(Config{Hostname: "here.test", Timeouts: DefaultTimeouts, Dial: func(context.Context, string, string) (net.Conn, error) {
			a, b := net.Pipe()
			go func() {
				io.WriteString(b, replies)
				b.Close()
			}()
			s := &script{Conn: a}
			conns = append(conns, s)
			return s, nil
		}})
		defer c.Close()
		j := newJob(body, "x@there.test", "y@there.test")
		j.Route = Route{Hosts: []string{"127.0.0.1:25"}, Security: Plain}
		if opportunistic {
			j.Route.Security = Opportunistic
		}
		results := c.Deliver(t.Context(), j)
		if len(results) != 2 {
			t.Fatalf("%d results", len(results))
		}
		whole := false
		for _, s := range conns {
			whole = whole || strings.Contains(s.said.String(), "\r\nDATA\r\n") && strings.Contains(s.said.String(), "\r\n.\r\n")
		}
		for _, r := range results {
			if r.Reply.Code < 200 || r.Reply.Code > 599 || strings.ContainsAny(r.Reply.Text, "\r\x00\x1b") {
				t.Errorf("result %+v", r)
			}
			if r.Reply.Code < 300 && !whole {
				t.Errorf("delivered by %q", replies)
			}
		}
	})
}
