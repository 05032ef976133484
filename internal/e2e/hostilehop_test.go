//go:build e2e

package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"mtad/internal/mtatest"
)

// A badHost is a mail server that is well-behaved but at one place.
type badHost struct {
	name     string
	at       string // the verb; "" is the greeting, "." the end of data
	act      func(c net.Conn) (on bool)
	security string // of the route
	want     string // the reason in the queue; "" if the mail is delivered
}

const (
	inTime   = "Host did not answer in time"
	noSMTP   = "Host does not speak SMTP"
	cutShort = "Connection failed"
)

// misdeeds are what a host may do in place of an answer, anywhere.
var misdeeds = []badHost{
	{name: "hangs", act: func(c net.Conn) bool { io.Copy(io.Discard, c); return false }, want: inTime},
	{name: "closes", act: func(net.Conn) bool { return false }, want: cutShort},
	{name: "resets", act: func(c net.Conn) bool { c.(*net.TCPConn).SetLinger(0); return false }, want: cutShort},
	{name: "truncates", act: func(c net.Conn) bool { io.WriteString(c, "25"); return false }, want: cutShort},
	{name: "line without end", act: func(c net.Conn) bool { pour(c, strings.Repeat("x", 64<<10)); return false }, want: noSMTP},
	{name: "lines without end", act: func(c net.Conn) bool { pour(c, strings.Repeat("250-x\r\n", 1<<10)); return false }, want: noSMTP},
	{name: "100,000 lines", act: func(c net.Conn) bool {
		io.WriteString(c, strings.Repeat("250-x\r\n", 100_000)+"250 x\r\n")
		return false
	}, want: noSMTP},
	{name: "octet by octet, without end", act: func(c net.Conn) bool { drip(c, strings.Repeat("2", 1<<20)); return false }, want: inTime},
	{name: "binary", act: func(c net.Conn) bool { io.WriteString(c, "\x16\x03\x01\x00\xff\x00\r\n"); return true }, want: noSMTP},
	{name: "code 199", act: says("199 what\r\n"), want: noSMTP},
	{name: "code 999", act: says("999 what\r\n"), want: noSMTP},
	{name: "no code", act: says("ok\r\n"), want: noSMTP},
	{name: "mixed codes", act: says("250-a\r\n550 b\r\n"), want: noSMTP},
}

// oneOff are misdeeds that have their place.
var oneOff = []badHost{
	{name: "greets octet by octet", at: "", act: func(c net.Conn) bool { drip(c, "220 hello\r\n"); return true }},
	{name: "answers octet by octet", at: "MAIL", act: func(c net.Conn) bool { drip(c, "250-2.1.0\r\n250 2.1.0 ok\r\n"); return true }},
	{name: "LF alone", at: "RCPT", act: says("250 ok\n")},
	{name: "no text", at: "DATA", act: says("354\r\n")},
	{name: "250 to DATA", at: "DATA", act: says("250 ok\r\n"), want: noSMTP},
	{name: "354 to MAIL", at: "MAIL", act: says("354 go\r\n"), want: noSMTP},
	{name: "354 to RCPT", at: "RCPT", act: says("354 go\r\n"), want: noSMTP},
	{name: "354 to the message", at: ".", act: says("354 go\r\n"), want: noSMTP},
	{name: "220 twice", at: "", act: says("220 a\r\n220 b\r\n"), want: noSMTP},
	{name: "421 to the message", at: ".", act: says("421 4.3.2 closing\r\n"), want: "421 4.3.2 closing"},
	{name: "sends away", at: "", act: says("554 no\r\n"), want: "greeting refused: 554 no"},
	{name: "reads no message", at: "DATA", act: readNothing, want: inTime},
	{name: "TLS that stalls", at: "STARTTLS", security: "encrypt", act: func(c net.Conn) bool { io.WriteString(c, "220 go\r\n"); io.Copy(io.Discard, c); return false }, want: "450 4.7.5 TLS handshake failed: the host did not answer in time"},
	{name: "TLS that lies", at: "STARTTLS", security: "encrypt", act: says("220 go\r\n250 plain\r\n"), want: noSMTP},
	{name: "TLS that is none", at: "STARTTLS", security: "encrypt", act: func(c net.Conn) bool {
		io.WriteString(c, "220 go\r\n")
		io.ReadFull(c, make([]byte, 100))
		pour(c, "250 plain\r\n")
		return false
	}, want: "450 4.7.5 TLS handshake failed"},
	{name: "TLS offered, then denied", at: "STARTTLS", security: "encrypt", act: says("454 not now\r\n"), want: "454"},
	{name: "TLS that stalls, optional", at: "STARTTLS", security: "opportunistic", act: func(c net.Conn) bool { io.WriteString(c, "220 go\r\n"); io.Copy(io.Discard, c); return false }},
}

func says(text string) func(net.Conn) bool {
	return func(c net.Conn) bool { _, err := io.WriteString(c, text); return err == nil }
}

// pour writes the same for ever.
func pour(c net.Conn, text string) {
	for err := error(nil); err == nil; {
		_, err = io.WriteString(c, text)
	}
}

// drip writes one octet at a time.
func drip(c net.Conn, text string) {
	for i := range len(text) {
		if _, err := io.WriteString(c, text[i:i+1]); err != nil {
			return
		}
		time.Sleep(10 * time.Millisecond) // a slow host
	}
}

// readNothing asks for the message, and leaves it in the network.
func readNothing(c net.Conn) bool {
	io.WriteString(c, "354 go\r\n")
	time.Sleep(time.Minute) // the client leaves before
	return false
}

// start listens until the test ends.
func (b *badHost) start(t *testing.T) (port int) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go b.serve(c)
		}
	}()
	return l.Addr().(*net.TCPAddr).Port
}

func (b *badHost) serve(c net.Conn) {
	defer c.Close()
	answers := map[string]string{
		"": "220 x", "EHLO": "250-x\r\n250-PIPELINING\r\n250 8BITMIME", "MAIL": "250 ok", "RCPT": "250 ok", "DATA": "354 go", ".": "250 ok",
		"RSET": "250 ok", "QUIT": "221 bye",
	}
	if b.security != "" {
		answers["EHLO"] = strings.Replace(answers["EHLO"], "250-x\r\n", "250-x\r\n250-STARTTLS\r\n", 1)
	}
	r := bufio.NewReader(c)
	for verb, data := "", false; ; {
		var on bool
		switch text, ok := answers[verb]; {
		case verb == b.at:
			on = b.act(c)
		case ok:
			on = says(strings.TrimSuffix(text, "\r\n") + "\r\n")(c)
		default:
			on = says("502 what\r\n")(c)
		}
		if !on {
			return
		}
		data = verb == "DATA"
		line, err := r.ReadString('\n')
		for data && err == nil && line != ".\r\n" {
			line, err = r.ReadString('\n')
		}
		if err != nil {
			return
		}
		verb, _, _ = strings.Cut(strings.TrimRight(line, "\r\n"), " ")
	}
}

// badHosts are all of them, each misdeed at each place.
func badHosts() []badHost {
	list := append([]badHost(nil), oneOff...)
	for _, at := range []string{"", "EHLO", "MAIL", "RCPT", "DATA", "."} {
		for _, m := range misdeeds {
			m.at = at
			m.name += " at " + map[string]string{"": "the greeting", ".": "the end"}[at] + strings.Trim(at, ".")
			list = append(list, m)
		}
	}
	return list
}

// A queued recipient, as `mtad queue list -o ndjson` has it.
type queued struct {
	ID, Rcpt, Reply string
}

// Hosts that misbehave in every way at every place: their mail waits in the queue
// with the reason, memory is bounded, and a good host's mail is as fast as ever.
func TestHostileHosts(t *testing.T) {
	t.Parallel()
	hosts := badHosts()
	hop := mtatest.StartHop(t, local(freePort(t)), nil)
	s := start(t, func(s *server, text string) string {
		var conf, transport strings.Builder
		for i := range hosts {
			b := &hosts[i]
			security := b.security
			if security == "" {
				security = "none"
			}
			fmt.Fprintf(&conf, "route \"r%d\" {\n  to = [\"127.0.0.1:%d\"]\n  security = %q\n}\n", i, b.start(t), security)
			fmt.Fprintf(&transport, "  \"d%d.test\" = \"r%d\"\n", i, i)
		}
		wait := scaled(10, 2)
		for _, o := range []string{"connect", "helo", "mail", "rcpt", "data_init", "data_xfer", "data_done"} {
			fmt.Fprintf(&conf, "smtp_%s_timeout = \"%ds\"\n", o, wait)
		}
		text = replace("mydestination =", conf.String()+"transport_maps = {\n"+transport.String()+"}\nmydestination =")(s, text)
		return replace(local(s.Sink), hop.Addr)(s, text)
	})
	alone := relayTimes(t, s, hop, 20)
	s.forgetPeak(t)
	begin := time.Now()
	for i := range hosts {
		body := "x"
		if hosts[i].name == "reads no message" {
			body = lines(16 << 20)
		}
		check(t, submit(t, local(s.SMTP), "alice@example.test", []string{fmt.Sprintf("x@d%d.test", i)}, letter("alice@example.test", "x", hosts[i].name, "")+body))
	}
	beside := relayTimes(t, s, hop, 20)
	waiting := map[string]queued{}
	eventually(t, "an attempt at every host", timeLimit, func() bool {
		clear(waiting)
		open := 0
		for line := range strings.Lines(s.do("queue", "list", "-o", "ndjson")) {
			var q queued
			check(t, json.Unmarshal([]byte(line), &q))
			waiting[q.Rcpt] = q
			if q.Reply == "" {
				open++
			}
		}
		return open == 0
	})
	took := time.Since(begin)
	for i, b := range hosts {
		q, ok := waiting[fmt.Sprintf("x@d%d.test", i)]
		if ok != (b.want != "") || !strings.Contains(q.Reply, b.want) {
			t.Errorf("%s: in the queue %v with %q, want %q", b.name, ok, q.Reply, b.want)
			continue
		}
		if ok {
			mustSay(t, strings.Join(strings.Fields(s.do("trace", q.ID)), " "), "deferred", b.want)
		}
	}
	peak := s.memory(t, "VmHWM")
	if peak > maxPeak {
		t.Errorf("%d MiB of memory", peak>>20)
	}
	t.Logf("%d hosts in %.1f s: %d MiB at the peak; a good host's mail p50 %.0f ms, p99 %.0f ms, and alone %.0f and %.0f",
		len(hosts), took.Seconds(), peak>>20, quantile(beside, 0.5), quantile(beside, 0.99), quantile(alone, 0.5), quantile(alone, 0.99))
}

// relayTimes are how long mail takes to get through to the good host.
func relayTimes(t *testing.T, s *server, hop *mtatest.Hop, n int) (times []time.Duration) {
	t.Helper()
	for range n {
		begin, before := time.Now(), len(hop.Deliveries())
		check(t, submit(t, local(s.SMTP), "alice@example.test", []string{"x@good.test"}, letter("alice@example.test", "x@good.test", "good", "x")))
		hop.Await(t, before+1)
		times = append(times, time.Since(begin))
	}
	return times
}
