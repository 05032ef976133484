package main

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mtad/admin"
	"mtad/internal/mtatest"
)

// TestPluginCommands looks after a plugin of a house that runs.
func TestPluginCommands(t *testing.T) {
	path, table := filepath.Join(t.TempDir(), "urlrep"), filepath.Join(t.TempDir(), "map.json")
	check(t, mtatest.Build("../..", path, "./examples/urlrep"))
	mtatest.Write(t, table, `{"bad.example": 5}`)
	r := startHouse(t, func(s string) string {
		block := fmt.Sprintf("pipeline \"inbound\" {\n  filter \"external\" \"urlrep\" {\n    path   = %q\n    config = { map = %q }\n  }\n", path, table)
		out := strings.Replace(s, "pipeline \"inbound\" {\n", block, 1)
		if out == s {
			t.Error("the configuration has no pipeline inbound")
		}
		return out
	})
	list := func() admin.Plugin {
		t.Helper()
		var found []admin.Plugin
		check(t, json.Unmarshal([]byte(r.want(t, "urlrep", "plugin", "list", "-o", "json")), &found))
		if len(found) != 1 {
			t.Fatalf("got %+v", found)
		}
		return found[0]
	}
	first := list()
	if first.Program != "urlrep" || first.PID == "" || first.Protocol != 2 || first.Memory == 0 || first.Starts != 1 {
		t.Errorf("got %+v", first)
	}
	r.want(t, "urlrep  urlrep 1.0", "plugin", "list")
	r.want(t, "restarted urlrep", "plugin", "restart", "urlrep")
	if next := list(); next.PID == first.PID || next.Starts != 2 {
		t.Errorf("after the restart: %+v", next)
	}
	r.want(t, "plugin started", "plugin", "logs", "urlrep")
	followLog(t, r)
	for _, verb := range []string{"restart", "logs"} {
		if _, errs, code := r.mtad("", "plugin", verb, "nothing"); code != exitNo || !strings.Contains(errs, "no such plugin") {
			t.Errorf("%s nothing: exit %d %s", verb, code, errs)
		}
	}
	out, errs, code := r.mtad("", "plugin", "verify", path, "--set", "map="+table)
	if code != 0 || !strings.Contains(out, "urlrep 1.0, protocol 2") || !strings.Contains(out, "it works") {
		t.Errorf("verify: exit %d %s %s", code, out, errs)
	}
	msg := filepath.Join(t.TempDir(), "m.eml")
	mtatest.Write(t, msg, "Subject: x\r\n\r\nhttp://bad.example/\r\n")
	r.want(t, "score", "plugin", "run", path, msg, "--set", "map="+table)
}

// notes hands on what is written to it.
type notes chan string

func (n notes) Write(b []byte) (int, error) {
	n <- string(b)
	return len(b), nil
}

// followLog follows a plugin's log across a restart, each line once, until it is
// interrupted, which is no error.
func followLog(t *testing.T, r *running) {
	t.Helper()
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	out, ended := make(notes, 100), make(chan int, 1)
	root := newRoot()
	root.SetArgs([]string{"plugin", "logs", "urlrep", "--follow", "-c", r.config()})
	root.SetOut(out)
	go func() { ended <- run(ctx, root) }()
	seen := ""
	for want, restarted := 2, false; strings.Count(seen, "plugin started") < want; {
		select {
		case s := <-out:
			seen += s
		case code := <-ended:
			t.Fatalf("it ended with %d: %s", code, seen)
		case <-time.After(20 * time.Second):
			t.Fatalf("it shows %s", seen)
		}
		if !restarted && strings.Count(seen, "plugin started") == want {
			r.want(t, "restarted", "plugin", "restart", "urlrep")
			want, restarted = 3, true
		}
	}
	interrupt()
	if code := <-ended; code != 0 {
		t.Errorf("interrupted: exit %d", code)
	}
	if n := strings.Count(seen, "plugin started"); n != 3 {
		t.Errorf("%d starts in\n%s", n, seen)
	}
}
