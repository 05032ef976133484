package smtpd

import (
	"bytes"
	"context"
	"crypto/tls"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	gosasl "github.com/emersion/go-sasl"
	gosmtp "github.com/emersion/go-smtp"

	"mtad/internal/mtatest"
	"mtad/message"
	"mtad/pipeline"
	"mtad/smtp"
)

func certificate(t testing.TB) *tls.Config {
	cert, _ := mtatest.Certificate(t)
	return &tls.Config{Certificates: []tls.Certificate{cert}}
}

// go-smtp's client sends over STARTTLS, with a login.
func TestGoSMTPClient(t *testing.T) {
	w := start(t, func(c *Config) { c.TLS, c.StartTLS, c.Auth = certificate(t), Required, Required })
	c, err := gosmtp.DialStartTLS(w.addr, &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Auth(gosasl.NewPlainClient("", "ann", "ann")); err != nil {
		t.Fatal(err)
	}
	if err := c.SendMail("ann@x.test", []string{"bob@x.test", "zoe@far.test"}, strings.NewReader("Subject: x\r\n\r\n.dot\r\n")); err != nil {
		t.Fatal(err)
	}
	if err := c.Quit(); err != nil {
		t.Fatal(err)
	}
	if got := w.taken(); !strings.Contains(got, "ESMTPSA") || !strings.Contains(got, "|.dot\n") || !strings.Contains(got, "TLSv1.3") {
		t.Errorf("%s", got)
	}
}

// Octets behind STARTTLS are never commands after it.
func TestStartTLSInjection(t *testing.T) {
	w := start(t, func(c *Config) { c.TLS, c.StartTLS = certificate(t), Optional })
	c := w.dial()
	c.reply()
	c.cmd("EHLO c.test")
	c.send("STARTTLS\r\nMAIL FROM:<evil@b.test>\r\n")
	if got := c.reply() + c.reply(); !strings.HasPrefix(got, "554 5.5.1") || !strings.Contains(got, "closed") {
		t.Errorf("%s", got)
	}
}

// What was said before STARTTLS is forgotten.
func TestStartTLSForgets(t *testing.T) {
	w := start(t, func(c *Config) { c.TLS, c.StartTLS = certificate(t), Optional })
	c := w.dial()
	c.reply()
	c.cmd("EHLO c.test")
	if got := c.cmd("STARTTLS"); !strings.HasPrefix(got, "220") {
		t.Fatal(got)
	}
	tc := tls.Client(c.Conn, &tls.Config{InsecureSkipVerify: true})
	c.Conn = tc
	c.r.Reset(tc)
	if got := c.cmd("MAIL FROM:<a@b.test>"); !strings.HasPrefix(got, "503") {
		t.Error(got)
	}
	if got := c.cmd("EHLO c.test"); strings.Contains(got, "STARTTLS") {
		t.Error(got)
	}
	if got := c.cmd("STARTTLS"); !strings.HasPrefix(got, "503") {
		t.Error(got)
	}
}

func TestImplicitTLS(t *testing.T) {
	w := start(t, func(c *Config) { c.TLS, c.Implicit = certificate(t), true })
	tc, err := tls.Dial("tcp", w.addr, &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	defer tc.Close()
	b := make([]byte, 3)
	if _, err := tc.Read(b); err != nil || string(b) != "220" {
		t.Errorf("%q %v", b, err)
	}
}

// A client that left before the reply gets no commit; one that said QUIT does.
func TestClientGone(t *testing.T) {
	for _, c := range []struct {
		tail string
		want bool
	}{{"", false}, {"QUIT\r\n", true}, {"NOOP\r\n", false}} {
		entered, left := make(chan struct{}), make(chan struct{})
		verdict := make(chan error, 1)
		w := start(t, func(cfg *Config) { cfg.Accept = acceptWhenLeft(entered, left, verdict) })
		cl := w.dial()
		cl.reply()
		cl.send("EHLO c.test\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\nDATA\r\n")
		replies(cl, 4)
		cl.send("x\r\n.\r\n" + c.tail)
		<-entered
		cl.Conn.(*net.TCPConn).CloseWrite()
		time.Sleep(20 * time.Millisecond) // for the kernel to carry the FIN over loopback
		close(left)
		if err := <-verdict; (err == nil) != c.want {
			t.Errorf("after %q: %v", c.tail, err)
		}
	}
}

// A connection that is reset is gone too; one that waits is not.
func TestClientReset(t *testing.T) {
	for _, reset := range []bool{true, false} {
		entered, left := make(chan struct{}), make(chan struct{})
		verdict := make(chan error, 1)
		w := start(t, func(cfg *Config) { cfg.Accept = acceptWhenLeft(entered, left, verdict) })
		cl := w.dial()
		cl.reply()
		cl.send("EHLO c.test\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\nDATA\r\n")
		replies(cl, 4)
		cl.send("x\r\n.\r\n")
		<-entered
		if reset {
			cl.Conn.(*net.TCPConn).SetLinger(0)
			cl.Close()
			time.Sleep(20 * time.Millisecond)
		}
		close(left)
		if err := <-verdict; (err != nil) != reset {
			t.Errorf("reset %v: %v", reset, err)
		}
	}
}

// acceptWhenLeft waits until the client has done what it does, and then asks
// whether it is there.
func acceptWhenLeft(entered, left chan struct{}, verdict chan error) func(context.Context, *pipeline.Flow, func() error) (smtp.Reply, map[pipeline.RcptID]smtp.Reply) {
	return func(_ context.Context, _ *pipeline.Flow, gone func() error) (smtp.Reply, map[pipeline.RcptID]smtp.Reply) {
		close(entered)
		<-left
		verdict <- gone()
		return smtp.NewReply(250, 0, 0, "Ok"), nil
	}
}

func TestLimits(t *testing.T) {
	t.Run("command timeout", func(t *testing.T) {
		w := start(t, func(c *Config) { c.Limits.CommandTimeout = 30 * time.Millisecond })
		c := w.dial()
		c.reply()
		if got := c.reply() + c.reply(); !strings.HasPrefix(got, "421 4.4.2") || !strings.Contains(got, "closed") {
			t.Error(got)
		}
	})
	t.Run("session timeout", func(t *testing.T) {
		w := start(t, func(c *Config) { c.Limits.SessionTimeout = 50 * time.Millisecond })
		c := w.dial()
		if got := c.reply() + c.reply(); !strings.Contains(got, "421 4.4.2") { // behind the greeting, if that was in time
			t.Error(got)
		}
	})
	t.Run("block timeout", func(t *testing.T) {
		w := start(t, func(c *Config) { c.Limits.BlockTimeout = 30 * time.Millisecond })
		c := w.dial()
		c.reply()
		c.send("EHLO c.test\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\nDATA\r\n")
		replies(c, 4)
		c.send("never ending\r\n")
		if got := c.reply(); !strings.HasPrefix(got, "421 4.4.2") {
			t.Error(got)
		}
	})
	t.Run("long line", func(t *testing.T) {
		w := start(t, nil)
		c := w.dial()
		c.reply()
		if got := c.cmd(strings.Repeat("x", 100000)) + c.cmd("NOOP"); got != "500 5.5.2 Line too long\n250 2.0.0 Ok\n" {
			t.Error(got)
		}
	})
	t.Run("slow command", func(t *testing.T) {
		w := start(t, func(c *Config) { c.Limits.CommandTimeout = 100 * time.Millisecond })
		c := w.dial()
		c.reply()
		go func() { // an octet now and then does not win more time
			for err := error(nil); err == nil; time.Sleep(10 * time.Millisecond) {
				_, err = c.Write([]byte("x"))
			}
		}()
		if got := c.reply(); !strings.HasPrefix(got, "421 4.4.2") {
			t.Error(got)
		}
	})
	t.Run("endless line", func(t *testing.T) {
		w := start(t, nil)
		c := w.dial()
		c.reply()
		c.send(strings.Repeat("x", maxSkip+4096))
		if got := c.reply(); got != "500 5.5.2 Line without an end, closing\n" {
			t.Error(got)
		}
	})
	t.Run("endless chunk", func(t *testing.T) {
		w := start(t, func(c *Config) { c.Limits.MessageSize = 1000 })
		c := w.dial()
		c.reply()
		c.send("EHLO c.test\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\nBDAT 9000000000\r\n")
		replies(c, 3)
		go func() {
			b := bytes.Repeat([]byte("x"), 1<<20)
			for err := error(nil); err == nil; {
				_, err = c.Write(b)
			}
		}()
		if got := c.reply(); !strings.HasPrefix(got, "552 5.3.4") {
			t.Error(got)
		}
	})
	t.Run("per address", func(t *testing.T) {
		w := start(t, func(c *Config) { c.Limits.PerAddress = 1 })
		first := w.dial()
		first.reply()
		if got := w.dial().reply(); !strings.HasPrefix(got, "421 4.7.0") {
			t.Error(got)
		}
	})
	t.Run("logins", func(t *testing.T) {
		w := start(t, func(c *Config) { c.Auth, c.Limits.AuthFailures = Optional, 1 })
		c := w.dial()
		c.reply()
		c.cmd("EHLO c.test")
		if got := c.cmd("AUTH PLAIN AGFubgBib2I=") + c.reply(); !strings.HasPrefix(got, "535 5.7.8") || !strings.Contains(got, "421 4.7.0") {
			t.Error(got)
		}
	})
}

// Talking before the greeting is noted; doing it twice is refused where clients
// are strangers.
func TestEarlyTalker(t *testing.T) {
	w := start(t, func(c *Config) { c.Strict, c.GreetDelay = true, 50*time.Millisecond })
	c := w.dial()
	c.send("EHLO c.test\r\nMAIL FROM:<a@b.test>\r\n")
	if got := c.reply() + c.reply(); !strings.HasPrefix(got, "220") || !strings.Contains(got, "554 5.5.1") {
		t.Error(got)
	}
}

func TestShutdown(t *testing.T) {
	w := start(t, nil)
	idle, busy := w.dial(), w.dial()
	idle.reply()
	busy.reply()
	busy.send("EHLO c.test\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\n")
	replies(busy, 3)
	done := make(chan error, 1)
	go func() { done <- w.srv.Shutdown(context.Background()) }()
	if got := idle.reply(); !strings.HasPrefix(got, "421 4.3.2") {
		t.Errorf("idle: %s", got)
	}
	busy.send("DATA\r\nx\r\n.\r\n")
	if got := replies(busy, 3); !strings.Contains(got, "250 2.0.0 Ok: queued") || !strings.Contains(got, "421 4.3.2") {
		t.Errorf("busy: %s", got)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	if _, err := net.Dial("tcp", w.addr); err == nil {
		t.Error("still listening")
	}
}

// A spool that can't be written is 452, and the session goes on.
func TestSpoolFault(t *testing.T) {
	dir := t.TempDir()
	w := start(t, func(c *Config) { c.SpoolDir = dir + "/missing" })
	c := w.dial()
	c.reply()
	c.send("EHLO c.test\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\nDATA\r\n")
	replies(c, 4)
	c.send(strings.Repeat(strings.Repeat("x", 998)+"\r\n", 400) + ".\r\n")
	if got := c.reply() + c.cmd("NOOP"); !strings.HasPrefix(got, "452 4.3.1") || !strings.Contains(got, "250 2.0.0 Ok\n") {
		t.Error(got)
	}
	if _, err := os.Stat(dir); err != nil {
		t.Error(err)
	}
}

// slowEnd is a filter that takes its time when it is told of the end.
type slowEnd struct{ heard chan struct{} }

func (slowEnd) Stages() pipeline.Stages { return pipeline.At(pipeline.Message) }

func (slowEnd) Filter(context.Context, pipeline.Stage, *pipeline.View) (pipeline.Verdict, error) {
	return pipeline.Verdict{}, nil
}

func (s slowEnd) Open(context.Context, *pipeline.View) (pipeline.Session, error) { return s, nil }
func (slowEnd) Close() error                                                     { return nil }

func (s slowEnd) End(ctx context.Context, _ pipeline.Outcome) error {
	select {
	case <-s.heard:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// The reply to a message does not wait for filters that are told of its end.
func TestReplyBeforeTheFiltersEnd(t *testing.T) {
	end := slowEnd{make(chan struct{})}
	p, err := pipeline.New("slow", []*pipeline.Step{{Name: "slow", Filter: end, OnError: pipeline.TempFail}}, pipeline.Env{})
	if err != nil {
		t.Fatal(err)
	}
	w := start(t, func(c *Config) { c.Pipeline = func() (*pipeline.Pipeline, func()) { return p, func() {} } })
	c := w.dial()
	c.SetDeadline(time.Now().Add(pipeline.CommandTimeout / 2))
	c.reply()
	c.send("EHLO c.test\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\nDATA\r\n")
	replies(c, 4)
	c.send("x\r\n.\r\n")
	if got := c.reply(); !strings.HasPrefix(got, "250") {
		t.Error(got)
	}
	close(end.heard)
}

// A fault in one session ends no other.
func TestPanic(t *testing.T) {
	w := start(t, func(c *Config) {
		c.Accept = func(context.Context, *pipeline.Flow, func() error) (smtp.Reply, map[pipeline.RcptID]smtp.Reply) {
			panic("on purpose")
		}
	})
	other := w.dial()
	other.reply()
	c := w.dial()
	c.reply()
	c.send("EHLO c.test\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\nDATA\r\n")
	replies(c, 4)
	c.send("x\r\n.\r\n")
	if got := replies(c, 2); got != "421 4.3.0 mx.test Internal error\nclosed\n" {
		t.Error(got)
	}
	if got := other.cmd("NOOP"); !strings.HasPrefix(got, "250") {
		t.Error(got)
	}
}

func TestNewErrors(t *testing.T) {
	for _, c := range []Config{
		{}, {Implicit: true}, {Auth: Optional},
	} {
		if c.Implicit || c.Auth != Never {
			c.Pipeline, c.Route = func() (*pipeline.Pipeline, func()) { return nil, nil }, route
			c.Accept = (&world{}).accept
		}
		if _, err := New(c); err == nil {
			t.Errorf("%+v was taken", c)
		}
	}
}

// FuzzSession: whatever a client sends, the server neither crashes nor hangs,
// and what it accepts has neither bare CR nor bare LF in it.
func FuzzSession(f *testing.F) {
	head := "EHLO c.test\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\n"
	for _, s := range []string{
		head + "DATA\r\nx\r\n.\r\nQUIT\r\n", head + "DATA\r\na\n.\r\n", head + "BDAT 3\r\na\r\nBDAT 0 LAST\r\n",
		"helo x\nmail from:a\nrcpt to:b\ndata\n",
		"EHLO c.test\r\nMAIL FROM:<> SIZE=10 BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=a+20b\r\n" +
			"RCPT TO:<\"a b\"@d.test> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;c+40d\r\nRCPT TO:<@x.test:ä@[IPv6:::1]>\r\nRCPT TO:<postmaster>\r\nDATA\r\n..\r\n.\r\n",
		head + "RSET\r\nVRFY c\r\nEXPN c\r\nHELP\r\nNOOP x\r\nMAIL FROM:<b@b.test>\r\nBDAT 5\r\nhelloBDAT 0 LAST\r\nMAIL FROM:<c@b.test> BODY=BINARYMIME\r\n",
		head + "BDAT 99999999999999999999 LAST\r\n", head + "BDAT 3\r\nabcDATA\r\nRSET\r\n", "AUTH PLAIN AGEAYg==\r\nAUTH PLAIN\r\nAGEAYg==\r\nSTARTTLS\r\n",
		"EHLO [IPv6:::1]\r\nEHLO [1.2.3.4]\r\nXCLIENT NAME=[UNAVAILABLE] ADDR=IPV6:::1 PORT=1 PROTO=SMTP HELO=a+2Bb LOGIN=c\r\n", "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
		"AUTH LOGIN\r\n*\r\n", head + "DATA\r\n\r\n.\r.\r\n.\r\n", "XCLIENT ADDR=::1\r\n",
	} {
		f.Add([]byte(s))
	}
	w := start(f, func(c *Config) {
		c.Limits.CommandTimeout, c.Limits.BlockTimeout, c.Limits.PerAddress = 20*time.Millisecond, 20*time.Millisecond, 1000
		c.Limits.AuthFailures, c.Limits.SlowErrors, c.Limits.MaxErrors = 1, 50, 60
	})
	f.Fuzz(func(t *testing.T, in []byte) {
		c := w.dialFor(t)
		defer c.Close()
		c.Write(in)
		c.Conn.(*net.TCPConn).CloseWrite()
		for {
			if strings.HasSuffix(c.reply(), "closed\n") {
				break
			}
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		for _, m := range w.accepted {
			if rest := strings.ReplaceAll(m, "\r\n", ""); strings.ContainsAny(rest, "\r\n\x00") {
				t.Errorf("accepted %q", m)
			}
		}
		w.accepted = nil
	})
}

// inspect finds the same whether octets come in lines or cut anywhere.
func FuzzInspect(f *testing.F) {
	f.Add([]byte("a\r\nb\r\n"), uint8(1))
	f.Add([]byte("a\r\r\nb\nc\x00"), uint8(2))
	f.Fuzz(func(t *testing.T, b []byte, cut uint8) {
		in := &intake{spool: &message.Spool{}}
		for rest := b; len(rest) > 0; {
			n := min(len(rest), int(cut)+1)
			in.inspectChunk(rest[:n])
			rest = rest[n:]
		}
		if in.lastCR {
			in.bad(bareCR)
		}
		clean := strings.ReplaceAll(string(b), "\r\n", "")
		if got, want := !in.problem.IsZero(), strings.ContainsAny(clean, "\r\n\x00"); got != want {
			t.Errorf("%q cut at %d: problem %v, want %v", b, cut+1, in.problem, want)
		}
	})
}

// BenchmarkTransaction is one message of 10 KiB on a kept connection.
func BenchmarkTransaction(b *testing.B) {
	w := start(b, func(c *Config) { c.Limits.SessionTimeout = time.Hour })
	c := w.dial()
	c.SetDeadline(time.Now().Add(time.Hour))
	c.reply()
	c.cmd("EHLO c.test")
	batch := "MAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\nDATA\r\n"
	body := strings.Repeat(strings.Repeat("x", 78)+"\r\n", 128) + ".\r\n"
	b.ReportAllocs()
	for b.Loop() {
		c.send(batch)
		replies(c, 3)
		c.send(body)
		if got := c.reply(); !strings.HasPrefix(got, "250") {
			b.Fatal(got)
		}
		w.accepted = nil
	}
}
