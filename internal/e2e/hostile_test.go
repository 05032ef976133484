//go:build e2e

package e2e

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// long reports whether the harnesses run whole (make test-long).
func long() bool { return os.Getenv("MTAD_LONG") != "" }

// scaled is a figure of the long form, and what the short one makes of it.
func scaled(whole, short int) int {
	if long() {
		return whole
	}
	return short
}

// maxPeak bounds the resident memory of a server under any of these attacks.
const maxPeak = 320 << 20

// An attack holds the server for some time and says what came of it. from is an
// address of loopback that is the attacker's alone, so that the limits of one
// client are not those of another.
type attack struct {
	name string
	run  func(ctx context.Context, s *server, from net.IP) (outcome string, err error)
}

var attacks = []attack{
	{"nothing", func(ctx context.Context, _ *server, _ net.IP) (string, error) { return "", pause(ctx, time.Second) }},
	{"one octet a second, every phase", dribble},
	{"idle connections", idle},
	{"10,000 recipients, pipelined", manyRcpts},
	{"200 MB offered", func(_ context.Context, s *server, from net.IP) (string, error) {
		return flood(s, from, "Subject: big\r\n\r\n", strings.Repeat("0123456789abcdef", 4)+"\r\n", scaled(200<<20, 130<<20))
	}},
	{"1 GB of header", func(_ context.Context, s *server, from net.IP) (string, error) {
		return flood(s, from, "", "X-Header: "+strings.Repeat("h", 500)+"\r\n", scaled(1<<30, 20<<20))
	}},
	{"a million header lines", func(_ context.Context, s *server, from net.IP) (string, error) {
		return flood(s, from, "", "a: b\r\n", 6*scaled(1_000_000, 200_000))
	}},
	{"MIME nested 10,000 deep", nestedMIME},
	{"an endless line of text", func(_ context.Context, s *server, from net.IP) (string, error) {
		return flood(s, from, "Subject: line\r\n\r\n", strings.Repeat("x", 64<<10), scaled(200<<20, 130<<20))
	}},
	{"an endless command", endlessCommand},
	{"a pipeline of 100,000 commands", pipelined},
	{"100,000 commands, replies unread", unread},
	{"TLS that stalls", stalledTLS},
	{"IMAP: endless lines, literals, commands", hostileIMAP},
}

// Under each attack the server's memory stays bounded, others are served, and
// the attacker gets a clear reply or an end.
func TestHostilePeers(t *testing.T) {
	t.Parallel()
	// Attackers are strangers: only the good client's address is trusted.
	s := start(t, replace("mydestination =", "mynetworks = [\"127.0.0.1/32\"]\nmydestination ="))
	var report strings.Builder
	for i, a := range attacks {
		t.Run(a.name, func(t *testing.T) {
			s.forgetPeak(t)
			good := serveWell(t, s)
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
			defer cancel()
			outcome, err := a.run(ctx, s, net.IPv4(127, 0, 1, byte(i+1)))
			if err != nil {
				t.Error(err)
			}
			times := good()
			peak := s.memory(t, "VmHWM")
			if peak > maxPeak {
				t.Errorf("%d MiB of memory", peak>>20)
			}
			fmt.Fprintf(&report, "%-42s %4d MiB  %5d mails  p50 %6.1f ms  p99 %6.1f ms  %s\n", a.name, peak>>20, len(times),
				quantile(times, 0.5), quantile(times, 0.99), outcome)
		})
	}
	t.Logf("%-42s %8s  %11s  others' latency\n%s", "attack", "peak", "served", report.String())
}

// memory is a figure of /proc/PID/status, in octets.
func (s *server) memory(t testing.TB, name string) int {
	t.Helper()
	status := read(t, fmt.Sprintf("/proc/%d/status", s.proc.Cmd.Process.Pid))
	m := regexp.MustCompile(name + `:\s+(\d+) kB`).FindStringSubmatch(status)
	if m == nil {
		t.Fatalf("no %s in\n%s", name, status)
	}
	kb, err := strconv.Atoi(m[1])
	check(t, err)
	return kb << 10
}

// forgetPeak makes VmHWM count from now (proc(5), clear_refs).
func (s *server) forgetPeak(t testing.TB) {
	t.Helper()
	check(t, os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", s.proc.Cmd.Process.Pid), []byte("5"), 0))
}

// quantile is of times in milliseconds.
func quantile(times []time.Duration, q float64) float64 {
	if len(times) == 0 {
		return 0
	}
	slices.Sort(times)
	return float64(times[int(q*float64(len(times)-1))]) / float64(time.Millisecond)
}

// serveWell has a client that does everything right send mail, one after the
// other, until the function it returns is called. Every one must be taken.
func serveWell(t testing.TB, s *server) (stop func() []time.Duration) {
	t.Helper()
	end, done := make(chan struct{}), make(chan []time.Duration)
	go func() {
		var times []time.Duration
		defer func() { done <- times }()
		for i := 0; ; i++ {
			select {
			case <-end:
				return
			default:
			}
			begin := time.Now()
			if err := submit(t, local(s.SMTP), "ann@good.test", []string{"bob@example.test"}, letter("ann@good.test", "bob", "good", "x")); err != nil {
				t.Errorf("a good client's mail %d: %v", i, err)
				return
			}
			times = append(times, time.Since(begin))
		}
	}()
	return func() []time.Duration {
		close(end)
		return <-done
	}
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// dialFrom connects from an address, with a deadline for everything after.
func dialFrom(from net.IP, port int) (net.Conn, error) {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: from}, Timeout: 10 * time.Second}
	c, err := d.Dial("tcp", local(port))
	if err != nil {
		return nil, err
	}
	return c, c.SetDeadline(time.Now().Add(5 * time.Minute))
}

// talk sends lines, each after the reply to the one before, and returns a
// reader of what follows the last.
func talk(c net.Conn, lines ...string) (*bufio.Reader, error) {
	r := bufio.NewReader(c)
	for _, line := range lines {
		if _, err := answer(r); err != nil {
			return r, err
		}
		if _, err := io.WriteString(c, line+"\r\n"); err != nil {
			return r, err
		}
	}
	return r, nil
}

// answer reads one reply of SMTP and returns its last line.
func answer(r *bufio.Reader) (string, error) {
	for {
		line, err := r.ReadString('\n')
		if err != nil || len(line) < 4 || line[3] == ' ' {
			return strings.TrimSpace(line), err
		}
	}
}

// dribble sends one octet a second at every phase of sessions.
func dribble(ctx context.Context, s *server, from net.IP) (string, error) {
	data := []string{"EHLO x.test", "MAIL FROM:<a@x.test>", "RCPT TO:<alice@example.test>", "DATA"}
	var conns []net.Conn
	for i := range 20 {
		c, err := dialFrom(from, s.SMTP)
		if err != nil {
			return "", err
		}
		defer c.Close()
		r, err := talk(c, data[:i%(len(data)+1)]...)
		if err == nil {
			_, err = answer(r)
		}
		if err != nil {
			return "", err
		}
		conns = append(conns, c)
	}
	for range scaled(60, 3) {
		for _, c := range conns {
			if _, err := c.Write([]byte("X")); err != nil {
				return "", err
			}
		}
		if err := pause(ctx, time.Second); err != nil {
			return "", err
		}
	}
	return "20 connections were held", nil
}

// idle opens connections from many addresses and does nothing with them.
func idle(ctx context.Context, s *server, from net.IP) (string, error) {
	want := scaled(960, 300)
	before := s.memory(s.t, "VmRSS")
	for i := range want {
		c, err := dialFrom(net.IPv4(127, 1, from[15], byte(i/20+1)), s.SMTP)
		if err != nil {
			return "", err
		}
		defer c.Close()
		if _, err := answer(bufio.NewReader(c)); err != nil {
			return "", err
		}
	}
	after := s.memory(s.t, "VmRSS")
	extra, err := dialFrom(net.IPv4(127, 1, from[15], 1), s.SMTP)
	if err != nil {
		return "", err
	}
	defer extra.Close()
	reply, err := answer(bufio.NewReader(extra))
	if err == nil && !strings.HasPrefix(reply, "421 ") {
		err = fmt.Errorf("a client's connection too many was answered %q", reply)
	}
	if err == nil {
		err = pause(ctx, time.Duration(scaled(20, 1))*time.Second)
	}
	return fmt.Sprintf("%d held, %d KiB each; one more of a client: %s", want, (after-before)/want>>10, cut(reply)), err
}

func cut(s string) string { return s[:min(len(s), 60)] }

// manyRcpts names 10,000 recipients in one write.
func manyRcpts(_ context.Context, s *server, from net.IP) (string, error) {
	c, err := dialFrom(from, s.SMTP)
	if err != nil {
		return "", err
	}
	defer c.Close()
	r, err := talk(c, "EHLO x.test", "MAIL FROM:<a@x.test>")
	if err == nil {
		_, err = answer(r)
	}
	if err != nil {
		return "", err
	}
	go io.WriteString(c, strings.Repeat("RCPT TO:<bob+x@example.test>\r\n", 10_000))
	counts := map[string]int{}
	for range 10_000 {
		line, err := answer(r)
		if err != nil {
			break
		}
		counts[line[:3]]++
	}
	if counts["250"] > 1000 || counts["250"] < 100 {
		return "", fmt.Errorf("replies %v", counts)
	}
	return fmt.Sprint("replies ", counts), nil
}

// flood offers a message of a size made of a repeated piece, and wants it refused
// or the connection ended.
func flood(s *server, from net.IP, head, piece string, size int) (string, error) {
	c, err := dialFrom(from, s.SMTP)
	if err != nil {
		return "", err
	}
	defer c.Close()
	r, err := talk(c, "EHLO x.test", "MAIL FROM:<a@x.test>", "RCPT TO:<alice@example.test>", "DATA")
	if err == nil {
		_, err = answer(r)
	}
	if err != nil {
		return "", err
	}
	chunk := bytes.Repeat([]byte(piece), max(1, 256<<10/len(piece)))
	replies := make(chan string, 1)
	go func() {
		line, err := answer(r)
		if err != nil && line == "" {
			line = "no reply: " + err.Error()
		}
		replies <- line
	}()
	sent, begin := 0, time.Now()
	_, err = io.WriteString(c, head)
	for err == nil && sent < size {
		var n int
		n, err = c.Write(chunk)
		sent += n
	}
	if err == nil {
		_, err = io.WriteString(c, "\r\n.\r\n")
	}
	reply := <-replies
	if !strings.HasPrefix(reply, "5") {
		return "", errors.Join(fmt.Errorf("%d octets were answered %q", sent, reply), err)
	}
	return fmt.Sprintf("%d MB sent in %.1f s: %s", sent>>20, time.Since(begin).Seconds(), cut(reply)), nil
}

// nestedMIME sends multiparts in multiparts and reads their structure by IMAP.
func nestedMIME(_ context.Context, s *server, from net.IP) (string, error) {
	depth := 10_000
	var b strings.Builder
	b.WriteString("Subject: deep\r\nMIME-Version: 1.0\r\n")
	for i := range depth {
		fmt.Fprintf(&b, "Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n", i, i)
	}
	b.WriteString("Content-Type: text/plain\r\n\r\nbottom\r\n")
	err := submit(s.t, local(s.SMTP), "ann@good.test", []string{"carol@example.test"}, b.String())
	if err != nil {
		return cut(err.Error()), nil //nolint:nilerr // a refusal is one of the two good ends
	}
	c, err := dialFrom(from, s.IMAP)
	if err != nil {
		return "", err
	}
	defer c.Close()
	carol := s.login("carol")
	carol.await("INBOX", 1)
	io.WriteString(c, "a LOGIN carol carol\r\nb EXAMINE INBOX\r\nc FETCH 1 (BODYSTRUCTURE ENVELOPE)\r\nd LOGOUT\r\n")
	out, err := io.ReadAll(c)
	if err == nil && !bytes.Contains(out, []byte("\r\nc OK")) {
		err = fmt.Errorf("FETCH was answered %.200q", out)
	}
	return fmt.Sprintf("taken; BODYSTRUCTURE of %d octets", len(out)), err
}

// endlessCommand sends a command line without an end.
func endlessCommand(_ context.Context, s *server, from net.IP) (string, error) {
	c, err := dialFrom(from, s.SMTP)
	if err != nil {
		return "", err
	}
	defer c.Close()
	chunk := bytes.Repeat([]byte("A"), 256<<10)
	sent := 0
	for err == nil && sent < 100<<20 {
		var n int
		n, err = c.Write(chunk)
		sent += n
	}
	if err == nil {
		return "", fmt.Errorf("%d octets of one command were read", sent)
	}
	return fmt.Sprintf("cut off within %d MB", sent>>20), nil
}

// pipelined sends 100,000 commands in one go and reads every reply.
func pipelined(_ context.Context, s *server, from net.IP) (string, error) {
	c, err := dialFrom(from, s.SMTP)
	if err != nil {
		return "", err
	}
	defer c.Close()
	r, err := talk(c, "EHLO x.test")
	if err == nil {
		_, err = answer(r)
	}
	if err != nil {
		return "", err
	}
	n := scaled(100_000, 20_000)
	go io.WriteString(c, strings.Repeat("NOOP\r\nRSET\r\n", n/2))
	begin := time.Now()
	for i := range n {
		line, err := answer(r)
		if err != nil || !strings.HasPrefix(line, "250 ") {
			return "", errors.Join(fmt.Errorf("command %d was answered %q", i, line), err)
		}
	}
	return fmt.Sprintf("%d commands answered in %.1f s", n, time.Since(begin).Seconds()), nil
}

// unread sends commands and never reads a reply.
func unread(ctx context.Context, s *server, from net.IP) (string, error) {
	c, err := dialFrom(from, s.SMTP)
	if err != nil {
		return "", err
	}
	defer c.Close()
	c.SetWriteDeadline(time.Now().Add(time.Duration(scaled(90, 3)) * time.Second))
	n, err := io.WriteString(c, strings.Repeat("VRFY somebody\r\nHELP\r\n", 500_000))
	var timeout net.Error
	if err == nil || errors.As(err, &timeout) && timeout.Timeout() && long() {
		return "", errors.Join(fmt.Errorf("%d octets of commands were taken", n), err)
	}
	return fmt.Sprintf("%d KB were taken", n>>10), ctx.Err()
}

// stalledTLS begins handshakes and does not go on.
func stalledTLS(ctx context.Context, s *server, from net.IP) (string, error) {
	for i := range 100 {
		c, err := dialFrom(net.IPv4(127, 2, from[15], byte(i/20+1)), s.Submissions)
		if err != nil {
			return "", err
		}
		defer c.Close()
		// The head of a ClientHello, and half of what it promises.
		if _, err := c.Write([]byte{22, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3}); err != nil {
			return "", err
		}
	}
	return "100 were held", pause(ctx, time.Duration(scaled(20, 1))*time.Second)
}

var refused = regexp.MustCompile(`(?m)^(\S+ (NO|BAD)|\* BYE)`)

// hostileIMAP sends what an IMAP server must bound.
func hostileIMAP(_ context.Context, s *server, from net.IP) (string, error) {
	var wg sync.WaitGroup
	errs := make([]error, 4)
	for i, text := range []string{
		"a LOGIN {999999999999}\r\n",
		"a LOGIN {100000000+}\r\n" + strings.Repeat("x", 8<<20),
		strings.Repeat("A", 80<<20), // more than is skipped of a refused message
		"a SEARCH " + strings.Repeat("(", 80<<20),
	} {
		wg.Go(func() {
			c, err := dialFrom(from, s.IMAP)
			if err != nil {
				errs[i] = err
				return
			}
			defer c.Close()
			go io.WriteString(c, text)
			var said []byte
			for buf := make([]byte, 4096); err == nil && !refused.Match(said); {
				var n int
				n, err = c.Read(buf)
				said = append(said, buf[:n]...)
			}
			if errors.Is(err, os.ErrDeadlineExceeded) { // a connection that was cut is as good
				errs[i] = fmt.Errorf("%.30q was answered %.100q", text, said)
			}
		})
	}
	wg.Wait()
	return "refused", errors.Join(errs...)
}
