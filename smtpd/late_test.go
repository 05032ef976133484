package smtpd

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"mtad/pipeline"
	"mtad/smtp"
)

// leavings are what a client may do once it has sent all of a message. Each write
// is a TLS record of its own.
var leavings = []struct {
	name   string
	writes []string
	end    string // how the stream ends: "", "shut" (TLS: close_notify), "fin", "reset"
	commit bool
}{
	{"waits", nil, "", true},
	{"ends its stream", nil, "shut", false},
	{"ends the connection", nil, "fin", false},
	{"resets", nil, "reset", false},
	{"QUIT, and waits", []string{"QUIT\r\n"}, "", true},
	{"QUIT, and ends its stream", []string{"QUIT\r\n"}, "shut", true},
	{"QUIT, and ends the connection", []string{"QUIT\r\n"}, "fin", true},
	{"quit in small letters with LF", []string{"quit\n"}, "fin", true},
	{"half a QUIT", []string{"QUI"}, "fin", false},
	{"NOOP, and ends", []string{"NOOP\r\n"}, "fin", false},
	{"NOOP, QUIT, and ends", []string{"NOOP\r\n", "RSET\r\n", "QUIT\r\n"}, "fin", true},
	{"another message, and waits", []string{"MAIL FROM:<b@b.test>\r\n"}, "", true},
	{"another message, and ends", []string{"MAIL FROM:<b@b.test>\r\n", "RCPT TO:<c@d.test>\r\n"}, "fin", false},
	{"another message, QUIT, and ends", []string{"MAIL FROM:<b@b.test>\r\n", "QUIT\r\n"}, "fin", true},
}

// Whether a client is there just before the commit, by every way to leave, in the
// clear and in TLS, by DATA and by BDAT.
func TestLeavings(t *testing.T) {
	cert := certificate(t)
	for _, secure := range []bool{false, true} {
		for _, transfer := range []string{"DATA\r\nx\r\n.\r\n", "BDAT 1\r\nxBDAT 2 LAST\r\n\r\n"} {
			for _, l := range leavings {
				t.Run(fmt.Sprintf("%s/%.4s/TLS %v", l.name, transfer, secure), func(t *testing.T) {
					t.Parallel()
					entered, left, verdict := make(chan struct{}), make(chan struct{}), make(chan error, 1)
					w := start(t, func(cfg *Config) {
						cfg.Accept = acceptWhenLeft(entered, left, verdict)
						if secure {
							cfg.TLS, cfg.Implicit = cert, true
						}
					})
					raw, out := connect(t, w, secure)
					say := func(s string) {
						if _, err := io.WriteString(out, s); err != nil {
							t.Fatal(err)
						}
					}
					say("EHLO c.test\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\n" + transfer)
					for _, s := range l.writes {
						say(s)
					}
					<-entered
					depart(raw, out, l.end)
					if l.end != "" {
						time.Sleep(20 * time.Millisecond) // for the kernel to carry the end over loopback
					}
					close(left)
					if err := <-verdict; (err == nil) != l.commit {
						t.Errorf("commit: %v, want %v", err, l.commit)
					}
				})
			}
		}
	}
}

func connect(t *testing.T, w *world, secure bool) (raw *net.TCPConn, out net.Conn) {
	t.Helper()
	nc, err := net.Dial("tcp", w.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	raw, out = nc.(*net.TCPConn), nc
	if secure {
		out = tls.Client(nc, &tls.Config{InsecureSkipVerify: true})
	}
	return raw, out
}

func depart(raw *net.TCPConn, out net.Conn, how string) {
	switch tc, secure := out.(*tls.Conn); {
	case how == "shut" && secure:
		tc.CloseWrite()
	case how == "shut":
		raw.CloseWrite()
	case how == "fin":
		raw.CloseWrite() // without TLS's farewell
	case how == "reset":
		raw.SetLinger(0)
		raw.Close()
	}
}

// A message whose time is over is not taken, whatever the filters say.
func TestMessageTime(t *testing.T) {
	ended := make(chan bool, 1)
	w := start(t, func(c *Config) {
		c.Limits.Message = 50 * time.Millisecond
		c.Accept = func(ctx context.Context, _ *pipeline.Flow, _ func() error) (smtp.Reply, map[pipeline.RcptID]smtp.Reply) {
			<-ctx.Done()
			ended <- true
			return smtp.NewReply(451, 3, 0, "too late"), nil
		}
	})
	c := w.dial()
	c.reply()
	c.send("EHLO c.test\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\nDATA\r\n")
	replies(c, 4)
	c.send("x\r\n.\r\n")
	if got := c.reply(); !strings.HasPrefix(got, "451 4.3.0") || !<-ended {
		t.Error(got)
	}
}
