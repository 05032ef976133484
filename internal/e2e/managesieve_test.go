//go:build e2e

package e2e

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

const junkRule = "require \"fileinto\";\nif header :contains \"subject\" \"lottery\" { fileinto \"Junk\"; }\n"

// sieveConnect runs sieve-connect as alice.
func (s *server) sieveConnect(args ...string) (out string, code int) {
	s.t.Helper()
	argv := []string{
		program(s.t, "sieve-connect"), "-s", "localhost", "-p", fmt.Sprint(s.ManageSieve), "--nosrv",
		"-u", "alice", "-m", "PLAIN", "--passwordfd", "0",
	}
	return run(s.t, "alice\n", s.dir, append(argv, args...)...)
}

// sieveConnects runs it, and looks at how it ends and at what it says.
func (s *server) sieveConnects(code int, args []string, says ...string) {
	s.t.Helper()
	out, got := s.sieveConnect(args...)
	if got != code {
		s.t.Errorf("%q: exit %d, want %d\n%s", args, got, code, out)
	}
	mustSay(s.t, out, says...)
}

// A user's whole way with another project's client, by PLAIN under the TLS that
// STARTTLS began. The script that is active decides where mail goes.
func TestSieveConnect(t *testing.T) {
	t.Parallel()
	program(t, "sieve-connect")
	program(t, "swaks")
	s := start(t)
	write(t, filepath.Join(s.dir, "good.sieve"), junkRule)
	write(t, filepath.Join(s.dir, "bad.sieve"), "require \"fileinto\";\nif header :contans \"subject\" \"x\" { keep; }\nfileinto;\n")
	write(t, filepath.Join(s.dir, "odd.sieve"), "require \"include\";\ninclude \"nowhere\";\n")
	want := func(code int, args string, says ...string) {
		t.Helper()
		s.sieveConnects(code, append(strings.Fields(args), "--noclearchan", "--tlscafile", filepath.Join(s.dir, "ca.pem")), says...)
	}
	want(0, "--upload --localsieve good.sieve --remotesieve main")
	want(0, "--activate --remotesieve main")
	want(0, "--list", "\"main\" ACTIVE\n")
	sent(t, s.SMTP, "--from", "ann@good.test", "--to", "alice@example.test", "--header", "Subject: The lottery", "--body", "x")
	s.login("alice").await("Junk", 1)

	// A bad script is refused with what is wrong, line and column, and the good
	// one of the same name stays.
	problems := []string{"2:11: error: header takes no tag :contans", "3:1: error: fileinto wants"}
	want(1, "--upload --localsieve bad.sieve --remotesieve main", problems...)
	want(1, "--checkscript --localsieve bad.sieve", problems...)
	want(0, "--debug --upload --localsieve odd.sieve --remotesieve odd", "OK (WARNINGS) \"2:9: warning: there is no personal script")
	want(0, "--download --remotesieve main --localsieve came.sieve")
	if got := read(t, filepath.Join(s.dir, "came.sieve")); got != junkRule {
		t.Errorf("downloaded %q", got)
	}
	want(1, "--delete --remotesieve main", "NO (ACTIVE)")
	want(0, "--deactivate")
	want(0, "--delete --remotesieve main")
	want(1, "--delete --remotesieve main", "NONEXISTENT")
	want(0, "--list", "\"odd\"\n")
	mustSay(t, s.do("sieve", "list", "alice"), "odd")
}

// On loopback, where there is no TLS, the password goes in the clear.
func TestSieveConnectClear(t *testing.T) {
	t.Parallel()
	program(t, "sieve-connect")
	s := start(t, func(s *server, text string) string {
		addr := fmt.Sprintf("addr     = [\"%s\"]\n", local(s.ManageSieve))
		return replace(addr+"  tls      = \"opportunistic\"", addr+"  tls      = \"none\"")(s, text)
	})
	write(t, filepath.Join(s.dir, "good.sieve"), junkRule)
	s.sieveConnects(0, []string{"--clearchan", "--upload", "--localsieve", "good.sieve", "--remotesieve", "main"})
	s.sieveConnects(0, []string{"--clearchan", "--list"}, "\"main\"\n")
}
