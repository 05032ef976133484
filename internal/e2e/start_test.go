//go:build e2e

package e2e

import (
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"mtad/internal/mtatest"
)

// serveFails starts a server that must end by itself.
func serveFails(t *testing.T, want int, args ...string) string {
	t.Helper()
	out, code := run(t, "", t.TempDir(), append([]string{mtadPath, "serve"}, args...)...)
	if code != want {
		t.Errorf("exit %d, want %d\n%s", code, want, out)
	}
	return out
}

func TestPortBusy(t *testing.T) {
	t.Parallel()
	for _, offset := range []int{25, 143, 80, 2525} {
		base := mtatest.DevPorts(t).Base
		l, err := net.Listen("tcp", local(base+offset))
		check(t, err)
		defer l.Close()
		out := serveFails(t, 75, "--dev", "--base-port", fmt.Sprint(base))
		mustSay(t, out, local(base+offset), "in use", "--base-port")
	}
}

func TestBadConfiguration(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		edit func(*server, string) string
		want []string
	}{
		"unknown option": {
			replace("hostname   =", "hostnam   ="),
			[]string{":5:1:", "hostnam ", "^^^^^^^", `did you mean "hostname"`},
		},
		"wrong type": {
			replace("junk   = 6", `junk   = "six"`),
			[]string{"mtad.hcl:", "junk", "^"},
		},
		"syntax": {
			replace(`filter "dkim" {`, `filter "dkim" `),
			[]string{"mtad.hcl:", "^"},
		},
		"no such pipeline": {
			replace(`pipeline = "inbound"`, `pipeline = "inbond"`),
			[]string{`"inbond"`, `did you mean "inbound"`, "^"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t, func(s *server, text string) string { s.t = t; return c.edit(s, text) })
			mustSay(t, serveFails(t, 78, "--dev", "--dir", s.dir, "--base-port", fmt.Sprint(s.Base)), c.want...)
			out, code := s.mtad("config", "check")
			if code != 78 {
				t.Errorf("config check: exit %d\n%s", code, out)
			}
		})
	}
	mustSay(t, serveFails(t, 66, "-c", "/nowhere/mtad.hcl"), "/nowhere/mtad.hcl")
	serveFails(t, 64, "--no-such-flag")
}

// A directory serves one server.
func TestSecondServer(t *testing.T) {
	t.Parallel()
	s := start(t)
	other := newServer(t, func(o *server, text string) string {
		return strings.Replace(text, `data_dir   = "data"`, `data_dir = "`+filepath.Join(s.dir, "data")+`"`, 1)
	})
	out := serveFails(t, 75, "--dev", "--dir", other.dir, "--base-port", fmt.Sprint(other.Base))
	mustSay(t, out, filepath.Join(s.dir, "data"))
	s.do("status")
	s.sendSubject("still here")
	s.one("alice")
}
