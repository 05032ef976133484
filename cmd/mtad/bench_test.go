package main

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"mtad/cmd/mtad/boot"
	"mtad/directory"
	"mtad/internal/mtatest"
	"mtad/mailbox"
)

const benchConfig = `hostname = "mx.example.test"
myorigin = "example.test"
data_dir = "data"
dns_zone = "zone.txt"
log_level = "warn"
client_connection_limit = 200
listener "mx" {
  addr     = ["127.0.0.1:%d"]
  pipeline = "inbound"
}
pipeline "inbound" {
}
pipeline "delivery" {
  %s
}
`

const benchScript = `require "fileinto";
if header :contains "subject" ["lottery", "casino"] { fileinto "Junk"; }
elsif address :is "from" "boss@example.test" { keep; }
`

// benchFilter runs benchScript.
const benchFilter = `filter "sieve" { script = "sort.sieve" }`

// benchHouse runs a whole server with one account, for as long as the benchmark.
func benchHouse(b *testing.B, filter string) (h *house, addr string) {
	b.Helper()
	dir, port := b.TempDir(), mtatest.FreePort(b)
	config := filepath.Join(dir, configName)
	for name, text := range map[string]string{
		configName: fmt.Sprintf(benchConfig, port, filter), "zone.txt": "", "sort.sieve": benchScript,
	} {
		check(b, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	ctx, stop := context.WithCancel(context.Background())
	stopped, ready := make(chan error, 1), make(chan *house, 1)
	go func() {
		stopped <- serve(ctx, source{path: config}, &boot.Start{}, b.Output(), func(h *house) error {
			if err := h.directory.AddDomain(ctx, "example.test", directory.Local); err != nil {
				return err
			}
			u, err := h.directory.AddUser(ctx, "box@example.test", "secret")
			if err == nil {
				err = h.mailboxes.Provision(ctx, mailbox.AccountID(u.ID))
			}
			ready <- h
			return err
		})
	}()
	b.Cleanup(func() {
		stop()
		check(b, <-stopped)
	})
	select {
	case h = <-ready:
	case err := <-stopped:
		stopped <- nil
		b.Fatal(err)
	}
	return h, fmt.Sprintf("127.0.0.1:%d", port)
}

// BenchmarkServer is the whole way of a 10 KiB message: SMTP over loopback, a
// Sieve script, the journal, the mailbox. The client, in the same process, costs
// little.
func BenchmarkServer(b *testing.B) {
	for _, n := range []int{1, 20, 100} {
		for _, reuse := range []bool{true, false} {
			b.Run(fmt.Sprintf("sessions=%d,reused=%t", n, reuse), func(b *testing.B) {
				h, addr := benchHouse(b, benchFilter)
				deliverAll(b, h, addr, n, reuse)
			})
		}
	}
}

// deliverAll sends b.N messages in n sessions and waits until they are there.
func deliverAll(b *testing.B, h *house, addr string, n int, reuse bool) {
	b.Helper()
	body := strings.Repeat(strings.Repeat("x", 76)+"\r\n", 10240/78)
	data := "From: <a@sender.test>\r\nTo: <box@example.test>\r\nSubject: from a benchmark\r\nMessage-Id: <1@sender.test>\r\n\r\n" + body + ".\r\n"
	u, err := h.directory.User(b.Context(), "box@example.test")
	check(b, err)
	inbox, err := h.mailboxes.Folder(b.Context(), mailbox.AccountID(u.ID), mailbox.Inbox)
	check(b, err)
	var left atomic.Int64
	left.Store(int64(b.N))
	b.ReportAllocs()
	b.ResetTimer()
	used := cpuTime(b)
	defer func() { b.ReportMetric(float64((cpuTime(b)-used).Microseconds())/float64(b.N), "cpu-us/op") }()
	sent := make(chan error, n)
	for range n {
		go func() { sent <- sendAll(addr, data, reuse, &left) }()
	}
	for range n {
		check(b, <-sent)
	}
	for {
		st, err := h.mailboxes.Status(b.Context(), inbox.ID)
		check(b, err)
		if int(st.Messages) >= b.N {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

// BenchmarkOwnScript is the same with an active script of twenty rules in the
// account, and without any.
func BenchmarkOwnScript(b *testing.B) {
	var rules strings.Builder
	rules.WriteString("require [\"fileinto\", \"variables\", \"imap4flags\"];\n")
	for i := range 10 {
		fmt.Fprintf(&rules, "if header :contains \"subject\" \"nothing %d\" { fileinto \"a\"; stop; }\nif address :domain :is [\"from\", \"to\"] \"none%d.example\" { addflag \"$x\"; }\n", i, i)
	}
	for _, script := range []string{"", rules.String()} {
		b.Run(fmt.Sprintf("script=%t", script != ""), func(b *testing.B) {
			h, addr := benchHouse(b, `filter "sieve" { scripts = store() }`)
			if script != "" {
				u, err := h.directory.User(b.Context(), "box@example.test")
				check(b, err)
				check(b, h.directory.PutScript(b.Context(), u.ID, directory.Sieve, "main", script))
				check(b, h.directory.ActivateScript(b.Context(), u.ID, directory.Sieve, "main"))
			}
			deliverAll(b, h, addr, 20, true)
		})
	}
}

// cpuTime is the processor time that the process has used: of a busy machine it
// says more than the time that has passed.
func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	check(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// sendAll sends messages until none are left.
func sendAll(addr, data string, reuse bool, left *atomic.Int64) error {
	var c *client
	for left.Add(-1) >= 0 {
		if c == nil {
			var err error
			if c, err = dialBench(addr); err != nil {
				return err
			}
		}
		for _, s := range []struct{ send, want string }{
			{"MAIL FROM:<a@sender.test>\r\n", "250"}, {"RCPT TO:<box@example.test>\r\n", "250"}, {"DATA\r\n", "354"}, {data, "250"},
		} {
			if err := c.say(s.send, s.want); err != nil {
				return err
			}
		}
		if !reuse {
			if err := c.say("QUIT\r\n", "221"); err != nil {
				return err
			}
			c.Close()
			c = nil
		}
	}
	if c != nil {
		return c.Close()
	}
	return nil
}

// client is a connection that speaks just enough SMTP.
type client struct {
	net.Conn
	r   *bufio.Reader
	out []byte
}

func dialBench(addr string) (*client, error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	c := &client{Conn: conn, r: bufio.NewReader(conn)}
	if err := c.read("220"); err != nil {
		return nil, err
	}
	return c, c.say("EHLO bench.test\r\n", "250")
}

func (c *client) say(s, want string) error {
	c.out = append(c.out[:0], s...)
	if _, err := c.Write(c.out); err != nil {
		return err
	}
	return c.read(want)
}

// read reads a reply of any number of lines.
func (c *client) read(want string) error {
	for {
		line, err := c.r.ReadSlice('\n')
		if err != nil {
			return err
		}
		if string(line[:3]) != want {
			return fmt.Errorf("got %q, want %s", line, want)
		}
		if line[3] == ' ' {
			return nil
		}
	}
}
