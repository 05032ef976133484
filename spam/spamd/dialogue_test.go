package spamd

import (
	"bytes"
	"compress/zlib"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mtad/internal/mtatest"
)

type dialogue struct{ name, request string }

func withLength(first, text string, more ...string) string {
	return fmt.Sprintf("%s\r\nContent-length: %d\r\n%s\r\n%s", first, len(text), strings.Join(more, ""), text)
}

func pack(s string) string {
	var b bytes.Buffer
	z := zlib.NewWriter(&b)
	_, _ = z.Write([]byte(s)) // to memory
	_ = z.Close()
	return b.String()
}

func dialogues() []dialogue {
	out := []dialogue{
		{"empty", ""},
		{"no command", "HELLO\r\n\r\n"},
		{"no version", "CHECK\r\n\r\n"},
		{"lower case", "check SPAMC/1.5\r\n\r\n"},
		{"words before", withLength("X CHECK SPAMC/1.5", junk)},
		{"ping 1.2", "PING SPAMC/1.2\r\n"},
		{"ping 1.5", "PING SPAMC/1.5\r\n\r\n"},
		{"ping without end", "PING SPAMC/1.5\r\n"},
		{"skip", "SKIP SPAMC/1.5\r\n\r\n"},
		{"old, no headers", "CHECK SPAMC/1.0\r\n" + junk},
		{"no length", "CHECK SPAMC/1.5\r\n\r\n" + junk},
		{"bare LF", "CHECK SPAMC/1.5\nContent-length: 3\n\n" + junk},
		{"no colon", "CHECK SPAMC/1.5\r\nfoo\r\n\r\n"},
		{"unknown header", withLength("CHECK SPAMC/1.5", ham, "Foo: bar\r\n")},
		{"length no number", "CHECK SPAMC/1.5\r\nContent-length: x\r\n\r\n" + ham},
		{"length empty", "CHECK SPAMC/1.5\r\nContent-length:\r\n\r\n" + ham},
		{"length 0", "CHECK SPAMC/1.5\r\nContent-length: 0\r\n\r\n"},
		{"length shorter", "CHECK SPAMC/1.5\r\nContent-length: 25\r\n\r\n" + ham},
		{"length longer", "CHECK SPAMC/1.5\r\nContent-length: 2500\r\n\r\n" + ham},
		{"length with zeros", "CHECK SPAMC/1.5\r\nContent-length: 0025\r\n\r\n" + ham},
		{"user with control", "CHECK SPAMC/1.5\r\nUser: a\tb\r\n\r\n" + ham},
		{"many headers", "CHECK SPAMC/1.5\r\n" + strings.Repeat("A: b\r\n", 300) + "\r\n" + ham},
		{"headers end", "CHECK SPAMC/1.5\r\nA: b\r\n"},
		{"packed", withLength("CHECK SPAMC/1.5", pack(junk), "Compress: zlib\r\n")},
		{"packed, no length", "CHECK SPAMC/1.5\r\nCompress: zlib\r\n\r\n" + pack(junk)},
		{"packed, cut", withLength("CHECK SPAMC/1.5", pack(junk)[:30], "Compress: zlib\r\n")},
		{"packed otherwise", withLength("CHECK SPAMC/1.5", junk, "Compress: bzip2\r\n")},
	}
	for _, method := range []string{"CHECK", "SYMBOLS", "REPORT", "REPORT_IFSPAM", "HEADERS", "PROCESS"} {
		for _, version := range []string{"1.0", "1.1", "1.2", "1.3", "1.5"} {
			for name, text := range map[string]string{"ham": ham, "spam": junk} {
				first := method + " SPAMC/" + version
				if version == "1.0" {
					out = append(out, dialogue{first + " " + name, first + "\r\n" + text})
				} else {
					out = append(out, dialogue{first + " " + name, withLength(first, text, "User: nobody\r\n")})
				}
			}
		}
	}
	return out
}

// realSpamd starts spamd with these rules alone.
func realSpamd(t *testing.T, file string) string {
	t.Helper()
	program := mtatest.Program(t, "spamd")
	dir := mtatest.OpenDir(t)
	text, err := os.ReadFile(file)
	mtatest.Check(t, err)
	for _, name := range []string{"rules/10.cf", "site/init.pre", "site/local.cf"} {
		path := filepath.Join(dir, name)
		mtatest.Check(t, os.MkdirAll(filepath.Dir(path), 0o755))
		content := ""
		if name == "rules/10.cf" {
			content = string(text)
		}
		if name == "site/init.pre" {
			content = "loadplugin Mail::SpamAssassin::Plugin::Check\n"
		}
		mtatest.Check(t, os.WriteFile(path, []byte(content), 0o644))
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	mtatest.Check(t, err)
	addr := l.Addr().String()
	l.Close()
	argv := []string{"-L", "-x", "-C", dir + "/rules", "--siteconfigpath=" + dir + "/site", "-i", "127.0.0.1", "-p", addr[strings.LastIndex(addr, ":")+1:], "-m", "1", "--min-children=1", "-s", "null", "-H", dir}
	if os.Geteuid() == 0 {
		argv = append(argv, "-u", "nobody")
	}
	cmd := exec.Command(program, argv...)
	var log bytes.Buffer
	cmd.Stderr = &log
	mtatest.Check(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt) // it may have ended
		_ = cmd.Wait()
		if t.Failed() {
			t.Log(log.String())
		}
	})
	mtatest.Eventually(t, "spamd listens", 30*time.Second, func() bool {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	return addr
}

// TestSpamdAgrees asks this server and Debian's spamd the same.
func TestSpamdAgrees(t *testing.T) {
	engine, file := newEngine(t)
	theirs := realSpamd(t, file)
	ours := start(t, newServer(t, Config{Checker: engine}))
	for _, d := range dialogues() {
		want, got := ask(t, theirs, d.request), ask(t, ours, d.request)
		if got != want {
			t.Errorf("%s: got %q, spamd %q", d.name, got, want)
		}
	}
}

// TestSpamc asks with Debian's client.
func TestSpamc(t *testing.T) {
	program := mtatest.Program(t, "spamc")
	learned := &memory{}
	addr := start(t, newServer(t, Config{Learner: learned}))
	_, port, err := net.SplitHostPort(addr)
	mtatest.Check(t, err)
	for _, x := range []struct {
		args, text, want string
		code             int
	}{
		{"-c", junk, "8.8/5.0\n", 1}, {"-c", ham, "1.2/5.0\n", 0},
		{"-R", junk, "8.8/5.0\n8.8 of 5.0: HELLO_,VIAGRA_\n\n", 0},
		{"-r", junk, "8.8 of 5.0: HELLO_,VIAGRA_\n\n", 0}, {"-r", ham, "", 0},
		{"-y", junk, "HELLO_,VIAGRA_", 0}, {"-y", ham, "HELLO_", 0},
		{"-K", "", "SPAMD/1.5 0\n", 0},
		{"-L spam", junk, "Message successfully un/learned\n", 0}, {"-L forget", junk, "Message successfully un/learned\n", 0},
		{"-x -s 10", junk, junk, 0}, {"-x", ham, strings.Replace(ham, "From:", "X-Spam-Checker-Version: SpamAssassin 4.0.1 (2024-03-25) on test.example\nX-Spam-Status: No, score=1.2 required=5.0 tests=HELLO_\nFrom:", 1), 0},
		{"--headers", ham, strings.Replace(ham, "From:", "X-Spam-Checker-Version: SpamAssassin 4.0.1 (2024-03-25) on test.example\nX-Spam-Status: No, score=1.2 required=5.0 tests=HELLO_\nFrom:", 1), 0},
	} {
		argv := append([]string{program, "-d", "127.0.0.1", "-p", port}, strings.Fields(x.args)...)
		out, code := mtatest.Run(t, x.text, "", argv...)
		if out != x.want || code != x.code {
			t.Errorf("spamc %s: %q, exit %d; want %q, %d", x.args, out, code, x.want, x.code)
		}
	}
	if learned.count != 2 {
		t.Errorf("learned %d times", learned.count)
	}
}

// TestSpamcTLS asks with Debian's client over TLS. A client without it learns nothing.
func TestSpamcTLS(t *testing.T) {
	program := mtatest.Program(t, "spamc")
	cert, _ := mtatest.Certificate(t)
	addr := start(t, newServer(t, Config{TLS: &tls.Config{Certificates: []tls.Certificate{cert}}}))
	_, port, err := net.SplitHostPort(addr)
	mtatest.Check(t, err)
	if out, code := mtatest.Run(t, junk, "", program, "-d", "127.0.0.1", "-p", port, "-S", "-c"); out != "8.8/5.0\n" || code != 1 {
		t.Errorf("spamc -S: %q, exit %d", out, code)
	}
	if out, code := mtatest.Run(t, junk, "", program, "-d", "127.0.0.1", "-p", port, "-c"); out != "0/0\n" || code != 0 {
		t.Errorf("spamc without -S: %q, exit %d", out, code)
	}
}

// memory is a Learner.
type memory struct{ count int }

func (m *memory) Learn(context.Context, string, []byte, bool) (bool, error) {
	m.count++
	return true, nil
}
func (m *memory) Forget(context.Context, string, []byte) (bool, error) { m.count++; return true, nil }
