package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	gosmtp "github.com/emersion/go-smtp"

	"mtad/cmd/mtad/routes"
	"mtad/message"
)

func TestReachable(t *testing.T) {
	for in, want := range map[string]string{
		"0.0.0.0:25": "127.0.0.1:25", "[::]:25": "[::1]:25", ":25": "localhost:25",
		"192.0.2.1:25": "192.0.2.1:25", "mx.test:25": "mx.test:25", "nonsense": "nonsense",
	} {
		if got := reachable(in); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}

func TestSkipGreeting(t *testing.T) {
	for in, want := range map[string]string{
		"220 mx ready\r\nrest": "rest", "220-one\r\n220-two\r\n220 three\nrest": "rest",
		"554 no\r\n": "greeting: 554 no", "220 no end": "greeting: unexpected EOF", "": "greeting: EOF",
		strings.Repeat("220-x\r\n", 2000): "greeting: too long", "hi\r\n": "greeting: hi",
	} {
		r := strings.NewReader(in)
		err := skipGreeting(r)
		left, _ := io.ReadAll(r)
		if err != nil {
			left = []byte(strings.ReplaceAll(err.Error(), "unexpected EOF", "unexpected EOF"))
		}
		if string(left) != want && !(err != nil && errors.Is(err, io.EOF)) {
			t.Errorf("%.20q: %q, want %q", in, left, want)
		}
	}
}

func TestTakeAddresses(t *testing.T) {
	m, err := message.Parse(message.FromBytes([]byte("From: A <a@x.test>, b@x.test\r\nTo: friends: c@x.test, d@x.test;\r\nCc: \"E, F\" <e@x.test>\r\n\r\n")))
	check(t, err)
	s := &sending{}
	s.takeAddresses(m.Header())
	if s.from != "a@x.test" || strings.Join(s.to, " ") != "c@x.test d@x.test e@x.test" {
		t.Errorf("got %q %q", s.from, s.to)
	}
	s = &sending{from: "me@x.test", to: []string{"you@x.test"}}
	s.takeAddresses(m.Header())
	if s.from != "me@x.test" || len(s.to) != 1 {
		t.Errorf("what was given is overruled: %q %q", s.from, s.to)
	}
}

func TestDefaults(t *testing.T) {
	own := &loaded{top: topSettings{Settings: routes.Settings{Origin: "here.test"}}}
	for want, s := range map[string]*sending{
		"postmaster@localhost": {}, "postmaster@here.test": {own: own},
		"ann@here.test": {own: own, auth: "ann:x"}, "ann@far.test": {own: own, auth: "ann@far.test:x:y"},
	} {
		if got := s.defaultSender(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	for client, want := range map[string]string{"192.0.2.1": "[192.0.2.1]", "2001:db8::1": "[IPv6:2001:db8::1]"} {
		if got := (&sending{client: client}).helloName(); got != want {
			t.Errorf("%s: %s", client, got)
		}
	}
	if (&sending{}).helloName() == "" {
		t.Error("no name")
	}
}

func TestMadeMessage(t *testing.T) {
	s := &sending{from: "a@x.test", to: []string{"b@y.test", "c@z.test"}, subject: "Grüße", body: "ü"}
	m, err := message.Parse(message.FromBytes(s.message(time.Unix(0, 0))))
	check(t, err)
	for name, want := range map[string]string{
		"From": "a@x.test", "To": "b@y.test, c@z.test", "Subject": "=?utf-8?q?Gr=C3=BC=C3=9Fe?=",
		"Content-Transfer-Encoding": "8bit",
	} {
		if got, _ := m.Header().Get(name); got != want {
			t.Errorf("%s: %q", name, got)
		}
	}
	if id, _ := m.Header().Get("Message-ID"); !strings.HasSuffix(id, ".send@x.test>") {
		t.Errorf("Message-ID %q", id)
	}
	s = &sending{to: []string{"b@y.test"}, body: "line\n"}
	text := string(s.message(time.Unix(0, 0)))
	if !strings.Contains(text, "From: MAILER-DAEMON\r\n") || !strings.HasSuffix(text, "\r\n\r\nline\n") {
		t.Errorf("got %q", text)
	}
}

func TestReplyText(t *testing.T) {
	for want, err := range map[string]error{
		"550 5.7.1 no, no":  &gosmtp.SMTPError{Code: 550, EnhancedCode: gosmtp.EnhancedCode{5, 7, 1}, Message: "no,\nno"},
		"421 bye":           &gosmtp.SMTPError{Code: 421, Message: "bye"},
		"?[1m broken":       errors.New("\x1b[1m broken"),
		"554 5.0.0 wrapped": fmt.Errorf("x: %w", &gosmtp.SMTPError{Code: 554, EnhancedCode: gosmtp.EnhancedCode{5, 0, 0}, Message: "wrapped"}),
	} {
		if got := replyText(err); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	if refusal(nil) != nil {
		t.Error("nothing was refused")
	}
}

func TestDialogue(t *testing.T) {
	var b bytes.Buffer
	d := &dialogue{w: &b}
	for _, part := range []string{"EHLO x\r\n250-a\r\n25", "0-b\r\n250 c\r\n", "AUTH PLAIN c2VjcmV0\r\n", "550-one\r\n550 two\x07\r\n"} {
		if n, err := d.Write([]byte(part)); n != len(part) || err != nil {
			t.Fatal(n, err)
		}
	}
	want := "> EHLO x\n< 250-a ...\n> AUTH PLAIN ...\n< 550-one\n< 550 two?\n"
	if b.String() != want {
		t.Errorf("got %q", b.String())
	}
	b.Reset()
	d.brief = true
	io.WriteString(d, "MAIL FROM:<a>\r\n250 ok\r\n450 later\r\n")
	d.mute = true
	io.WriteString(d, "450 in the text\r\n")
	if b.String() != "< 450 later\n" {
		t.Errorf("brief: %q", b.String())
	}
}

// scripted answers each line it gets with the next of its replies.
func scripted(t *testing.T, replies ...string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	t.Cleanup(func() { l.Close() })
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		r := bufio.NewReader(c)
		for i, reply := range replies {
			if i > 0 {
				if _, err := r.ReadString('\n'); err != nil {
					return
				}
			}
			io.WriteString(c, reply)
		}
	}()
	return l.Addr().String()
}

func TestOddServers(t *testing.T) {
	t.Setenv("MTAD_CONFIG", filepath.Join(t.TempDir(), "missing"))
	for name, tc := range map[string]struct {
		replies []string
		args    []string
		code    int
		text    string
	}{
		"refuses to talk":   {[]string{"554 5.7.1 go away\r\n"}, nil, exitNo, "refused: 554 5.7.1 go away"},
		"hangs up":          {nil, nil, exitTemp, "closed the connection"},
		"hangs up later":    {[]string{"220 x\r\n", "250 x\r\n"}, nil, exitTemp, "closed the connection"},
		"no XCLIENT":        {[]string{"220 x\r\n", "500 what\r\n"}, []string{"--client", "192.0.2.1"}, exitNo, "refused: 500 what"},
		"talks nonsense":    {[]string{"hello\r\n"}, []string{"--client", "192.0.2.1"}, exitTemp, "greeting: hello"},
		"no STARTTLS":       {[]string{"220 x\r\n", "250 x\r\n"}, []string{"--tls"}, exitTemp, "STARTTLS"},
		"refuses sender":    {[]string{"220 x\r\n", "250 x\r\n", "550 no\r\n", "221 bye\r\n"}, nil, exitNo, "refused: 550 no"},
		"refuses DATA":      {[]string{"220 x\r\n", "250 x\r\n", "250 a\r\n", "250 b\r\n", "451 4.3.0 disk\r\n", "221 x\r\n"}, nil, exitNo, "refused: 451 4.3.0 disk"},
		"refuses all":       {[]string{"220 x\r\n", "250 x\r\n", "250 a\r\n", "550 b\r\n", "221 x\r\n"}, nil, exitNo, "refused: 550 b"},
		"multi-line banner": {[]string{"220-x\r\n220 y\r\n", "220 z\r\n", "250 x\r\n", "553 no\r\n", "221 b\r\n"}, []string{"--client", "2001:db8::1"}, exitNo, "refused: 553 no"},
	} {
		t.Run(name, func(t *testing.T) {
			args := append([]string{"smtp", "send", "--server", scripted(t, tc.replies...), "--to", "a@b.test"}, tc.args...)
			out, errs, code := runMtad("", args...)
			if code != tc.code || !strings.Contains(errs, tc.text) {
				t.Errorf("exit %d\n%s%s", code, out, errs)
			}
		})
	}
}

func TestSendFromStandardInput(t *testing.T) {
	r := startHouse(t, nil)
	text := "From: ann@far.test\r\nTo: carol@example.test\r\nSubject: piped\r\n\r\nhello\r\n"
	out, errs, code := r.mtad(text, "smtp", "send", "--file", "-")
	if code != 0 || !strings.Contains(out, "RCPT TO:<carol@example.test>") {
		t.Fatalf("exit %d\n%s%s", code, out, errs)
	}
	r.await(t, "stored in INBOX")
	out, errs, code = r.mtad("from the pipe\n", "smtp", "send", "--body", "-", "--to", "bob@foreign.test", "--from", "<>")
	if code != 0 || !strings.Contains(out, "MAIL FROM:<>") {
		t.Fatalf("exit %d\n%s%s", code, out, errs)
	}
	r.await(t, "Action:delivered")
	files, err := filepath.Glob(filepath.Join(r.dev.Path, "sink", "*.eml"))
	check(t, err)
	if len(files) != 1 {
		t.Fatalf("sink: %v", files)
	}
	b, err := os.ReadFile(files[0])
	if err != nil || !strings.Contains(string(b), "X-Envelope-From: <>") || !strings.Contains(string(b), "from the pipe") {
		t.Errorf("got %s, %v", b, err)
	}
	if out, _, code := r.mtad("", "smtp", "send", "--server", fmt.Sprintf("127.0.0.1:%d", r.dev.Ports.Submissions),
		"--auth", "bob:bob", "--to", "alice@example.test"); code != 0 || !strings.Contains(out, "TLS 1.3") {
		t.Errorf("implicit TLS: exit %d\n%s", code, out)
	}
}

func TestInterruptedSend(t *testing.T) {
	addr := scripted(t, "220 x\r\n", "250 x\r\n", "", "")
	ctx, cancel := context.WithCancel(context.Background())
	root := newRoot()
	var out bytes.Buffer
	root.SetOut(&out)
	root.SetErr(&out)
	root.SetArgs([]string{"smtp", "send", "--server", addr, "--to", "a@b.test", "-c", filepath.Join(t.TempDir(), "none")})
	done := make(chan int, 1)
	go func() { done <- run(ctx, root) }()
	cancel()
	if code := <-done; code == 0 {
		t.Errorf("exit 0\n%s", out.String())
	}
}
