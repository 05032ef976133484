//go:build e2e

package e2e

import (
	"bufio"
	"fmt"
	"net"
	"regexp"
	"strings"
	"testing"

	gomilter "github.com/emersion/go-milter"
)

// gate is a milter that tells when it is asked about a message, and answers when
// it is told to.
type gate struct {
	gomilter.NoOpMilter
	asked, answer chan struct{}
}

func (g *gate) Body(*gomilter.Modifier) (gomilter.Response, error) {
	g.asked <- struct{}{}
	<-g.answer
	return gomilter.RespAccept, nil
}

func startGate(t *testing.T) (g *gate, addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	g = &gate{asked: make(chan struct{}, 1), answer: make(chan struct{}, 1)}
	srv := &gomilter.Server{NewMilter: func() gomilter.Milter { return g }, Protocol: gomilter.OptNoBody}
	go srv.Serve(l)
	t.Cleanup(func() { close(g.answer); srv.Close() })
	return g, l.Addr().String()
}

// leaver is a client that talks to port 25 in the raw.
type leaver struct {
	*net.TCPConn
	r *bufio.Reader
	t testing.TB
}

// leaver sends a message up to its final dot, without it.
func (s *server) leaver(from string) *leaver {
	s.t.Helper()
	nc, err := net.Dial("tcp", local(s.SMTP))
	check(s.t, err)
	s.t.Cleanup(func() { nc.Close() })
	c := &leaver{nc.(*net.TCPConn), bufio.NewReader(nc), s.t}
	c.reads("220 ")
	for _, line := range []string{"EHLO client.test", "MAIL FROM:<" + from + ">", "RCPT TO:<alice@example.test>", "DATA"} {
		c.says(line + "\r\n")
		if line == "DATA" {
			c.reads("354 ")
		} else {
			c.reads("250 ")
		}
	}
	c.says(letter(from, "alice@example.test", "from "+from, "x"))
	return c
}

func (c *leaver) says(text string) {
	c.t.Helper()
	_, err := c.Write([]byte(text))
	check(c.t, err)
}

// reads reads a reply's last line.
func (c *leaver) reads(code string) string {
	c.t.Helper()
	for {
		line, err := c.r.ReadString('\n')
		check(c.t, err)
		if len(line) > 3 && line[3] == ' ' {
			if !strings.HasPrefix(line, code) {
				c.t.Errorf("%q, want %s", line, code)
			}
			return line
		}
	}
}

// leaves ends the connection in one of three ways and waits until the server's
// kernel knows.
func (c *leaver) leaves(how string) {
	c.t.Helper()
	server, client := c.RemoteAddr().(*net.TCPAddr), c.LocalAddr().(*net.TCPAddr)
	end := fmt.Sprintf("0100007F:%04X 0100007F:%04X ", server.Port, client.Port)
	switch how {
	case "":
		return
	case "ends its stream":
		check(c.t, c.CloseWrite())
	case "resets":
		check(c.t, c.SetLinger(0))
		check(c.t, c.Close())
	}
	eventually(c.t, "the end of the client's stream", timeLimit, func() bool { // 01 is established
		return !strings.Contains(read(c.t, "/proc/net/tcp"), end+"01")
	})
}

// story waits until the newest message is a sender's and its story says one of
// two things, and reports whether the first.
func (s *server) story(from, yes, no string) bool {
	s.t.Helper()
	var out string
	eventually(s.t, from+": "+yes+", or "+no, timeLimit, func() bool {
		out = s.do("trace", "last")
		return strings.Contains(out, from) && (strings.Contains(out, yes) || strings.Contains(out, no))
	})
	if strings.Contains(out, yes) == strings.Contains(out, no) {
		s.t.Errorf("both are said of %s:\n%s", from, out)
	}
	return strings.Contains(out, yes)
}

// withGate puts a gate, and nothing else, into the inbound pipeline.
func withGate(addr string) func(*server, string) string {
	re := regexp.MustCompile(`(?ms)^pipeline "inbound" \{.*?^\}`)
	return func(_ *server, text string) string {
		return re.ReplaceAllLiteralString(text, "message_timeout = \"2s\"\npipeline \"inbound\" {\n  filter \"milter\" { connect = \"inet:"+addr+"\" }\n}")
	}
}

// What a client does at each boundary of its message's acceptance, and whether
// the message is stored: never when it had left before the commit, once when it
// had not, and for good after it.
func TestLeavingClients(t *testing.T) {
	t.Parallel()
	g, addr := startGate(t)
	s := start(t, withGate(addr))
	stored := 0
	for i, l := range []struct {
		when, says, how string
		stored          bool
	}{
		{"before the dot", "", "ends its stream", false},
		{"before the dot", "", "resets", false},
		{"before the dot", "QUIT\r\n", "ends its stream", false}, // a line of the message
		{"in the dot", ".\r", "resets", false},
		{"while a filter works", "", "", true},
		{"while a filter works", "", "ends its stream", false},
		{"while a filter works", "", "resets", false},
		{"while a filter works", "QUIT\r\n", "", true},
		{"while a filter works", "QUIT\r\n", "ends its stream", true},
		{"while a filter works", "QUIT\r\n", "resets", true}, // it wants no answer
		{"while a filter works", "NOOP\r\n", "ends its stream", false},
		{"after the commit", "", "resets", true},
		{"after the reply", "", "resets", true},
	} {
		what := strings.TrimSpace(fmt.Sprintf("%s: %q, %s", l.when, l.says, l.how))
		from := fmt.Sprintf("ann%d@good.test", i)
		c := s.leaver(from)
		if strings.HasPrefix(l.when, "before") || strings.HasPrefix(l.when, "in") {
			c.says(l.says)
			c.leaves(l.how)
			s.login("alice") // is answered, so the server is there
			continue
		}
		c.says(".\r\n")
		<-g.asked
		if l.when == "while a filter works" {
			c.says(l.says)
			c.leaves(l.how)
		}
		g.answer <- struct{}{}
		if got := s.story(from, "stored in INBOX", "the client left; nothing was stored"); got != l.stored {
			t.Errorf("%s: stored: %v", what, got)
		}
		if l.when == "after the reply" {
			c.reads("250 ")
		}
		if strings.HasPrefix(l.when, "after") {
			c.leaves(l.how)
		} else if l.how == "" {
			c.reads("250 ")
		}
		if l.stored {
			stored++
		}
	}
	c := s.leaver("late@good.test")
	c.says(".\r\n")
	<-g.asked
	c.reads("451 ") // the gate is closed still
	s.lastSays("late@good.test", "451 ")
	for range 2 {
		if got := len(s.mail("alice", stored)); got != stored {
			t.Errorf("%d messages, want %d", got, stored)
		}
		s.stop()
		s.start()
	}
}
