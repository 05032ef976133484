//go:build e2e

package e2e

import (
	"bufio"
	"encoding/base64"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	gosmtp "github.com/emersion/go-smtp"

	"mtad/internal/mtatest"
)

const (
	greeted  = "EHLO x.test\r\n"
	envelope = greeted + "MAIL FROM:<a@x.test>\r\nRCPT TO:<alice@example.test>\r\n"
	inData   = envelope + "DATA\r\n"
)

// Each limit is set low, and a session goes past it. Limits of time are apart: they
// end a session that does nothing wrong.
var lowLimits = []struct {
	option string // as it is written
	say    string
	want   string // the last answer begins so
	closed bool   // and the connection ends
}{
	{"message_size_limit = 64 * KB", envelope + "MAIL FROM:<a@x.test> SIZE=70000\r\n", "503 5.5.1", false},
	{"message_size_limit = 64 * KB", greeted + "MAIL FROM:<a@x.test> SIZE=70000\r\n", "552 5.3.4", false},
	{"message_size_limit = 64 * KB", inData + "A: b\r\n\r\n" + strings.Repeat("0123456789\r\n", 6000) + ".\r\n", "552 5.3.4", false},
	{"message_size_limit = 64 * KB", envelope + "BDAT 70000 LAST\r\n" + strings.Repeat("x", 70000), "552 5.3.4", false},
	{"recipient_limit = 100", envelope + strings.Repeat("RCPT TO:<bob@example.test>\r\n", 100), "452 4.5.3", false},
	{"line_length_limit = 512", "EHLO " + strings.Repeat("x", 506) + "\r\n", "500 5.5.2 Line too long", false},
	{"header_size_limit = 8 * KB", inData + "A: " + strings.Repeat("x", 9000) + "\r\n\r\nx\r\n.\r\n", "552 5.3.4 Header", false},
	{"header_field_limit = 50", inData + strings.Repeat("A: b\r\n", 51) + "\r\nx\r\n.\r\n", "552 5.3.4 Header", false},
	{"header_line_limit = 100", inData + "A: b\r\n" + strings.Repeat(" c\r\n", 100) + "\r\nx\r\n.\r\n", "552 5.3.4 Header", false},
	{"hopcount_limit = 20", inData + strings.Repeat("Received: x\r\n", 20) + "\r\nx\r\n.\r\n", "554 5.4.6 Too many hops", false},
	{"hard_error_limit = 3", strings.Repeat("NONSENSE\r\n", 3), "421 4.7.0", true},
	{"auth_failure_limit = 1", greeted + "AUTH PLAIN " + base64.StdEncoding.EncodeToString([]byte("\x00alice\x00wrong")) + "\r\n", "421 4.7.0", true},
	{`command_timeout = "1s"`, greeted, "421 4.4.2", true},
	{`session_timeout = "1s"`, greeted, "421 4.4.2", true},
	{`data_timeout = "1s"`, inData + "x\r\n", "421 4.4.2", true},
}

// Every limit that a client can meet is in force as it is written in the
// configuration, with the answer that it should have.
func TestLimitsInForce(t *testing.T) {
	t.Parallel()
	servers := map[string][]string{} // by their options; all but those of time go together
	for _, l := range lowLimits {
		key := l.option
		if !strings.Contains(l.option, "timeout") {
			key = "sizes and counts"
		}
		if !slices.Contains(servers[key], l.option) {
			servers[key] = append(servers[key], l.option)
		}
	}
	for name, options := range servers {
		t.Run(name, func(t *testing.T) {
			s := start(t, replace("mydestination =", "mynetworks = []\n"+strings.Join(options, "\n")+"\nmydestination ="))
			for _, l := range lowLimits {
				if !slices.Contains(options, l.option) {
					continue
				}
				got, closed, err := converse(local(s.SMTP), l.say, l.want, l.closed)
				if err != nil || !strings.HasPrefix(got, l.want) || closed != l.closed {
					t.Errorf("%s: %.60q: %q, closed %v, want %q, %v (%v)", l.option, l.say, got, closed, l.want, l.closed, err)
				}
			}
		})
	}
}

// converse says everything at once and reads until an answer begins as it should;
// closed tells whether the connection ends after it, which is waited for if it should.
func converse(addr, text, want string, closes bool) (last string, closed bool, err error) {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return "", false, err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(timeLimit))
	go io.WriteString(c, text)
	r := bufio.NewReader(c)
	for !strings.HasPrefix(last, want) && err == nil {
		last, err = answer(r)
	}
	if err != nil {
		return last, false, err
	}
	if !closes {
		c.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
	}
	_, err = r.ReadByte()
	return last, !errors.Is(err, os.ErrDeadlineExceeded), nil
}

// Connections are counted by client, and in all; errors make a session slow.
func TestConnectionLimits(t *testing.T) {
	t.Parallel()
	s := start(t, replace("mydestination =", "mynetworks = []\nclient_connection_limit = 2\nconnection_limit = 5\nsoft_error_limit = 2\nmydestination ="))
	dial := func(ip byte) string {
		c, err := dialFrom(net.IPv4(127, 0, 3, ip), s.SMTP)
		check(t, err)
		t.Cleanup(func() { c.Close() })
		r, err := talk(c)
		check(t, err)
		got, err := answer(r)
		check(t, err)
		return got
	}
	for i, want := range []string{"220 ", "220 ", "421 4.7.0"} {
		if got := dial(1); !strings.HasPrefix(got, want) {
			t.Errorf("connection %d of a client: %s", i, got)
		}
	}
	for i, want := range []string{"220 ", "220 ", "220 ", "421 4.4.5"} {
		if got := dial(byte(10 + i)); !strings.HasPrefix(got, want) {
			t.Errorf("connection %d of all: %s", i+2, got)
		}
	}
	s.stop()
	s.start()
	c, err := net.Dial("tcp", local(s.SMTP))
	check(t, err)
	defer c.Close()
	begin := time.Now()
	r, err := talk(c, "X", "X", "X", "NOOP")
	check(t, err)
	_, err = answer(r)
	check(t, err)
	if took := time.Since(begin); took < 2*time.Second || took > 30*time.Second {
		t.Errorf("three errors took %s", took)
	}
}

// The queue waits as the schedule says, and gives up when it should.
func TestRetryOptions(t *testing.T) {
	t.Parallel()
	var tries atomic.Int32
	hop := mtatest.StartHop(t, local(freePort(t)), func(string) *gosmtp.SMTPError {
		tries.Add(1)
		return &gosmtp.SMTPError{Code: 450, EnhancedCode: gosmtp.EnhancedCode{4, 2, 0}, Message: "later"}
	})
	s := start(t, func(s *server, text string) string {
		text = replace("mydestination =", "retry_schedule = [\"1s\"]\nmaximal_queue_lifetime = \"5s\"\nmydestination =")(s, text)
		return replace(local(s.Sink), hop.Addr)(s, text)
	})
	check(t, submit(t, local(s.SMTP), "alice@example.test", []string{"x@far.test"}, letter("alice@example.test", "x@far.test", "late", "x")))
	mustSay(t, s.one("alice"), "5.4.7", "450 4.2.0 later")
	if n := tries.Load(); n < 3 || n > 8 {
		t.Errorf("%d tries in 5 s, one a second", n)
	}
}
