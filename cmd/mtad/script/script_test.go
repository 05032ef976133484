package script

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"mtad/admin"
)

type failure struct {
	code int
	text string
}

func (f *failure) Error() string { return f.text }

func env() *Env {
	return &Env{
		WithClient: func(func(context.Context, *admin.Client, *cobra.Command, []string) error) func(*cobra.Command, []string) error {
			return func(*cobra.Command, []string) error { return errors.New("no server here") }
		},
		Output: func(*cobra.Command) func(io.Writer, any, []string, [][]string) error {
			return func(io.Writer, any, []string, [][]string) error { return nil }
		},
		Read: func(name string, in io.Reader) ([]byte, error) {
			if name == "-" {
				return io.ReadAll(in)
			}
			return os.ReadFile(name)
		},
		Clean: func(s string) string { return strings.ReplaceAll(s, "\n", " ") },
		Fail:  func(code int, format string, args ...any) error { return &failure{code, fmt.Sprintf(format, args...)} },
	}
}

// run runs a command of Lua's and returns what it printed, and its exit code.
func run(t *testing.T, stdin string, args ...string) (string, int) {
	t.Helper()
	return runOf(t, Lua(env()), stdin, args...)
}

func runOf(t *testing.T, commands []*cobra.Command, stdin string, args ...string) (string, int) {
	t.Helper()
	root := &cobra.Command{Use: "mtad", SilenceUsage: true, SilenceErrors: true}
	root.AddCommand(commands...)
	var out bytes.Buffer
	root.SetOut(&out)
	root.SetErr(&out)
	root.SetIn(strings.NewReader(stdin))
	root.SetArgs(args)
	err := root.ExecuteContext(t.Context())
	var f *failure
	switch {
	case errors.As(err, &f):
		return out.String() + f.text, f.code
	case err != nil:
		return out.String() + err.Error(), -1
	}
	return out.String(), 0
}

func file(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestCheck(t *testing.T) {
	for script, want := range map[string]string{
		"function message(msg) msg:add_score(msg.size, 'x') end": "a.lua is good: asked at message; reads envelope, header, body; writes score",
		"function deliver() end":                                 "a.lua is good: asked at deliver; reads nothing; writes nothing",
		"function deliver(":                                      "a.lua:1: syntax error at the end of the script",
		"\nx = = 1":                                              "a.lua:2: syntax error",
		"x = 1":                                                  "defines no function named after a stage",
	} {
		out, code := run(t, "", "check", file(t, "a.lua", script))
		if !strings.Contains(out, want) || (code == 0) != strings.Contains(want, "is good") || code != 0 && code != exitData {
			t.Errorf("%q: %d, %s; want %s", script, code, out, want)
		}
	}
	if out, code := run(t, "function deliver() end", "check"); code != 0 || !strings.Contains(out, "stdin is good") {
		t.Errorf("%d %s", code, out)
	}
}

const letter = "From: Ann <ann@good.test>\nTo: bob+x@example.test, cy@example.test\nSubject: hi\n\nbody\n"

func TestTest(t *testing.T) {
	script := file(t, "a.lua", `
function connect(msg) msg:note(msg.client.addr) end
function rcpt(msg) msg:note(msg.rcpt .. msg.detail) end
function message(msg)
  msg:set_header("Subject", "new " .. msg.subject .. #dns.lookup("good.test", "A") .. (map.get("t", "k") or ""))
end
function deliver(msg) msg:note(msg.subject .. kv.add("n") .. msg.mailbox) end
`)
	mail, zone, table := file(t, "m.eml", letter), file(t, "zone", "good.test. A 192.0.2.1\n"), file(t, "t", "k v\n")
	out, code := run(t, "", "test", script, mail, "--client", "192.0.2.9", "--zone", zone, "--map", "t="+table)
	want := `connect: continue
  note: 192.0.2.9
rcpt <bob+x@example.test>: continue
  note: bob+x@example.testx
rcpt <cy@example.test>: continue
  note: cy@example.test
message: continue
  set-header Subject: new hi1v
deliver <bob+x@example.test>: continue
  note: new hi1v1bob@example.test
deliver <cy@example.test>: continue
  note: new hi1v2cy@example.test
`
	if out != want || code != 0 {
		t.Errorf("%d\n%s\nwant\n%s", code, out, want)
	}
	refusing := file(t, "b.lua", `function message(msg) if msg.auth then msg:reject("no, " .. msg.auth.user .. msg.tls.version .. msg.client.helo) end error("own") end`)
	if out, code := run(t, letter, "test", refusing, "-", "--zone", zone, "--user", "u", "--tls", "TLSv1.3", "--helo", "h"); code != exitData || !strings.Contains(out, "b.lua:1: own") {
		t.Errorf("%d %s", code, out)
	}
	for _, args := range [][]string{
		{"test", script, mail, "--from", "a b c"}, {"test", script, mail, "--to", "<>"}, {"test", script, mail, "--client", "x"},
		{"test", script, mail, "--stage", "none"}, {"test", script, mail, "--map", "x"}, {"test", script, mail, "--trace", mail}, {"test", "none.lua", mail},
	} {
		if out, code := run(t, "", args...); code == 0 {
			t.Errorf("%q: %s", args, out)
		}
	}
}

// A recorded trace gives envelope, client and the answers of DNS.
func TestTrace(t *testing.T) {
	trace := file(t, "t.json", `{"id":"x","events":[
		{"kind":"session","host":"192.0.2.7:2525","note":"connected to mx"},{"kind":"session","note":"EHLO mx.good.test"},
		{"kind":"session","note":"TLSv1.3 TLS_AES_128_GCM_SHA256"},{"kind":"session","note":"logged in as ann@good.test by PLAIN"},
		{"kind":"mail","note":"from <ann@good.test>"},{"kind":"mail","rcpt":"bob@example.test","reply":"250","note":"local"},
		{"kind":"mail","rcpt":"no@example.test","reply":"550 5.1.1 no"},
		{"kind":"step","dns":[{"name":"good.test","type":"A","answers":["192.0.2.1"]},{"name":"none.test","type":"A","err":"dns: no such name"}]}]}`)
	script := file(t, "a.lua", `function message(msg)
  msg:note(table.concat({ msg.client.addr, msg.client.helo, msg.tls.version, msg.auth.user, msg.sender, #msg.rcpts, msg.rcpts[1],
    dns.lookup("good.test", "A")[1], #dns.lookup("none.test", "A"), tostring(dns.lookup("unknown.test", "A")) }, " "))
end`)
	out, code := run(t, "", "test", script, file(t, "m.eml", letter), "--trace", trace)
	want := "note: 192.0.2.7 mx.good.test TLSv1.3 ann@good.test ann@good.test 1 bob@example.test 192.0.2.1 0 nil"
	if code != 0 || !strings.Contains(out, want) {
		t.Errorf("%d %s; want %s", code, out, want)
	}
}

func TestRepl(t *testing.T) {
	in := `msg.subject
x = 3
x .. "y"
for i = 1, 2 do
  msg:fileinto("A" .. i)
end
msg:reject("no")
{ a = { 1 }, b = true }
msg:nothing()
kv.add("n")
kv.add("n")
x = = 1
while true do end
log.warn("said")
`
	out, _ := run(t, in, "repl", file(t, "m.eml", letter), "--zone", file(t, "zone", ""))
	at := 0
	for _, want := range []string{`"hi"`, `"3y"`, `-> file-into "A1"`, `-> file-into "A2"`, "-> reject 550 5.7.1 no", "a = { [1] = 1 }", "error: line:1: msg has no field", "> 1\n", "> 2\n", "error: line:1: syntax error", "error: ", "WARN said"} {
		i := strings.Index(out[at:], want)
		if i < 0 {
			t.Fatalf("no %q after octet %d of\n%s", want, at, out)
		}
		at += i + len(want)
	}
}

func TestRunNeedsServer(t *testing.T) {
	if out, code := run(t, "", "run", "x.lua", "alice"); code != -1 || !strings.Contains(out, "no server") {
		t.Errorf("%d %s", code, out)
	}
}
