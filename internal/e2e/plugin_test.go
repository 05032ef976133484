//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"mtad/admin"
)

// editor is a filter in Python that does to a message what its subject says.
const editor = `#!/usr/bin/python3
import sys
import mtad_filter

def new(config):
    def judge(stage, message, verdict):
        subject = message.header("Subject") or ""
        print("asked about", subject, file=sys.stderr, flush=True)
        if subject == "refuse":
            verdict.reject("not in Python", enhanced="5.7.9")
        if subject == "fail":
            raise ValueError("on purpose")
        if subject == "edit":
            octets = sum(len(piece) for piece in message.raw())
            body = b"".join(message.body())
            assert octets == message.view.size and octets - len(body) == message.view.header_size
            verdict.set_header("Subject", "edited")
            verdict.remove_header("X-Gone")
            verdict.insert_header(0, "X-First", "yes")
            verdict.add_header("X-Last", config["word"])
            verdict.replace_body(body.upper())
            verdict.tag("editor", message.client.addr)
    return judge

mtad_filter.serve(name="editor", version="1", stages=["message"], reads=["header", "body"],
                  writes=["header", "body", "tags"], options=[("word", "A word.", True)], pure=True, open=new)
`

// plugin is the one plugin of a server.
func (s *server) plugin() admin.Plugin {
	s.t.Helper()
	var found []admin.Plugin
	check(s.t, json.Unmarshal([]byte(s.do("plugin", "list", "-o", "json")), &found))
	if len(found) != 1 {
		s.t.Fatalf("plugins: %+v", found)
	}
	return found[0]
}

// A filter in Python, begun by `mtad plugin new`, in a server that runs: it refuses,
// fails, edits; killed, it is there again.
func TestPluginInPython(t *testing.T) {
	t.Parallel()
	if out, err := exec.Command("/usr/bin/python3", "-c", "import grpc, google.protobuf").CombinedOutput(); err != nil {
		t.Skipf("python3-grpcio is not installed (`make peers` does): %v %s", err, out)
	}
	s := start(t, func(s *server, text string) string {
		dir := filepath.Join(s.dir, "editor")
		must(t, mtadPath, "plugin", "new", "python", dir)
		write(t, filepath.Join(dir, "filter.py"), editor)
		return replace(`filter "thresholds" {`, `filter "external" "editor" {
    path   = "editor/filter.py"
    mtls   = false
    config = { word = "last" }
  }
  filter "thresholds" {`)(s, text)
	})
	edits := func(n int) {
		t.Helper()
		long := strings.Repeat("a line of text\n", 20_000) // more than comes unasked
		mail := filepath.Join(s.dir, "edit.eml")
		write(t, mail, strings.Replace(letter("ann@good.test", "alice@example.test", "edit", long), "Subject:", "X-Gone: soon\nSubject:", 1))
		s.do("smtp", "send", "--client", "192.0.2.10", "--from", "ann@good.test", "--to", "alice@example.test", "--file", mail)
		msg := s.mail("alice", n)[n-1]
		mustSay(t, msg, "Subject: edited", "X-First: yes", "X-Last: last", "A LINE OF TEXT")
		if strings.Contains(msg, "X-Gone") || strings.Contains(msg, "a line") || strings.Count(msg, "A LINE") != 20_000 {
			t.Errorf("edited to %.2000s", msg)
		}
		s.lastSays("editor       continue  external", "tag editor=192.0.2.10")
	}
	edits(1)
	for _, c := range [][2]string{{"refuse", "550 5.7.9 not in Python"}, {"fail", "451 4."}} {
		if out, _ := s.sendSubject(c[0]); !strings.Contains(out, c[1]) {
			t.Errorf("%s: %s", c[0], out)
		}
	}
	s.lastSays("ValueError: on purpose")
	mustSay(t, s.do("plugin", "logs", "editor"), "asked about edit")

	first := s.plugin()
	var pid int
	_, err := fmt.Sscan(first.PID, &pid)
	check(t, err)
	check(t, syscall.Kill(pid, syscall.SIGKILL))
	eventually(t, "a second start", timeLimit, func() bool { now := s.plugin(); return now.Starts == 2 && now.PID != "" })
	edits(2)
	mustSay(t, s.do("plugin", "logs", "editor"), "plugin died", "signal: killed")
}
