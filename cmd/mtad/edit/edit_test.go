package edit

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"mtad/config"
)

var schema = config.Schema{
	Options: []config.Option{{Name: "hostname", Type: config.TypeString, Default: "localhost", Doc: "x"}, {Name: "size", Type: config.TypeInt, Default: 1, Doc: "x"}},
	Blocks: []config.BlockType{{Name: "route", Labels: []string{"name"}, Repeat: true, Options: []config.Option{
		{Name: "to", Type: config.TypeString, Default: "", Doc: "x"}, {Name: "password", Type: config.TypeSecret, Secret: true, Doc: "x"},
	}}},
}

func load(path string, o config.Options) (*config.File, error) {
	f, diags := config.Load(path, schema, o)
	return f, diags.Err()
}

// world is a configuration of two files.
func world(t *testing.T) (*Env, string) {
	t.Helper()
	main := filepath.Join(t.TempDir(), "mtad.hcl")
	for name, text := range map[string]string{"mtad.hcl": "hostname = \"a.test\" # ours\n", "conf.d/routes.hcl": "route \"r\" {\n  to = \"x\"\n  password = \"hunter2\"\n}\n"} {
		path := filepath.Join(filepath.Dir(main), name)
		must(t, os.MkdirAll(filepath.Dir(path), 0o755))
		must(t, os.WriteFile(path, []byte(text), 0o640))
	}
	now := time.Unix(1000, 0)
	return &Env{
		Load: load, Redact: schema.Redact,
		Check: func(path string, o config.Options) error { _, err := load(path, o); return err },
		Now:   func() time.Time { return now },
	}, main
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func text(t *testing.T, main, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(filepath.Dir(main), name))
	must(t, err)
	return string(b)
}

func TestSetAndBack(t *testing.T) {
	env, main := world(t)
	if changed, err := env.Set(main, "hostname", "b.test", false); err != nil || !changed || text(t, main, "mtad.hcl") != "hostname = \"b.test\" # ours\n" {
		t.Errorf("%v, %v: %s", changed, err, text(t, main, "mtad.hcl"))
	}
	if changed, err := env.Set(main, "hostname", "b.test", false); err != nil || changed {
		t.Errorf("the same again: %v, %v", changed, err)
	}
	if _, err := env.Set(main, "size", "many", false); err == nil {
		t.Error("a bad value was written")
	}
	if changed, err := env.Set(main, "route.r.password", "s3cret", false); err != nil || !changed || !strings.Contains(text(t, main, "conf.d/routes.hcl"), `"s3cret"`) {
		t.Errorf("%v, %v", changed, err)
	}
	if st, err := os.Stat(main); err != nil || st.Mode().Perm() != 0o640 {
		t.Errorf("mode %v, %v", st.Mode(), err)
	}
	states, err := env.History(main)
	if err != nil || len(states) != 2 || states[0].Why != "set route.r.password" || states[0].Number != 2 || states[1].Why != "set hostname" {
		t.Errorf("%+v, %v", states, err)
	}
	var b strings.Builder
	differs, err := env.Diff(&b, main, 1)
	if err != nil || !differs || !strings.Contains(b.String(), "-hostname = \"a.test\" # ours\n+hostname = \"b.test\"") || strings.Contains(b.String(), "hunter2") || strings.Contains(b.String(), "s3cret") {
		t.Errorf("%v, %v\n%s", differs, err, b.String())
	}
	must(t, os.WriteFile(filepath.Join(filepath.Dir(main), "conf.d/new.hcl"), []byte("size = 7\n"), 0o600))
	if state, changed, err := env.Rollback(main, 1); err != nil || !changed || state.Number != 1 || text(t, main, "mtad.hcl") != "hostname = \"a.test\" # ours\n" || !strings.Contains(text(t, main, "conf.d/routes.hcl"), "hunter2") {
		t.Errorf("%+v, %v, %v", state, changed, err)
	}
	if _, err := os.Stat(filepath.Join(filepath.Dir(main), "conf.d/new.hcl")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file that was not there then: %v", err)
	}
	if _, _, err := env.Rollback(main, 99); err == nil {
		t.Error("a state that is not there came back")
	}
	for _, dir := range []string{folder, folder + "/1", folder + "/1/files/mtad.hcl"} {
		if st, err := os.Stat(filepath.Join(filepath.Dir(main), dir)); err != nil || st.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s: %v, %v", dir, st, err)
		}
	}
}

// A configuration that is broken can be mended by edit and rollback.
func TestMend(t *testing.T) {
	env, main := world(t)
	if _, err := env.Set(main, "size", "2", false); err != nil {
		t.Fatal(err)
	}
	must(t, os.WriteFile(main, []byte("hostname = [\n"), 0o640))
	if _, err := env.Set(main, "size", "3", false); err == nil {
		t.Error("a broken file was changed")
	}
	tries := 0
	editor := func(c *exec.Cmd) error {
		path := c.Args[len(c.Args)-1]
		if tries++; tries == 1 {
			return os.WriteFile(path, []byte("hostnam = 1\n"), 0o600)
		}
		return os.WriteFile(path, []byte("hostname = \"c.test\"\n"), 0o600)
	}
	if changed, err := env.Edit(main, editor, func(error) bool { return true }); err != nil || !changed || tries != 2 || text(t, main, "mtad.hcl") != "hostname = \"c.test\"\n" {
		t.Errorf("%v, %v after %d tries", changed, err, tries)
	}
	must(t, os.WriteFile(main, []byte("}"), 0o640))
	if _, changed, err := env.Rollback(main, 1); err != nil || !changed || text(t, main, "mtad.hcl") != "hostname = \"a.test\" # ours\n" {
		t.Errorf("%v, %v", changed, err)
	}
	if _, err := env.Edit(main, func(*exec.Cmd) error { return errors.New("exit status 1") }, nil); !errors.Is(err, errEditor) {
		t.Errorf("%v", err)
	}
}

func TestFormat(t *testing.T) {
	env, main := world(t)
	if changed, err := env.Format(main, true); err != nil || len(changed) != 1 || !strings.HasSuffix(changed[0], "conf.d/routes.hcl") || !strings.Contains(text(t, main, "conf.d/routes.hcl"), "  to = ") {
		t.Errorf("%v, %v", changed, err)
	}
	if changed, err := env.Format(main, false); err != nil || len(changed) != 1 || !strings.Contains(text(t, main, "conf.d/routes.hcl"), "  to       = \"x\"") {
		t.Errorf("%v, %v", changed, err)
	}
}

// Many who change at once: each change is there or was refused, and the history
// has every state.
func TestAtOnce(t *testing.T) {
	env, main := world(t)
	var mu sync.Mutex
	done := 0
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for n := range 5 {
				changed, err := env.Set(main, "size", string(rune('2'+n)), false)
				if err != nil && !errors.Is(err, errMeanwhile) {
					t.Error(err)
				}
				if changed {
					mu.Lock()
					done++
					mu.Unlock()
				}
			}
		})
	}
	all.Wait()
	if states, err := env.History(main); err != nil || len(states) != done || done == 0 {
		t.Errorf("%d changes, %d states, %v", done, len(states), err)
	}
}

// The history is bounded.
func TestHistoryIsBounded(t *testing.T) {
	_, main := world(t)
	h := historyOf(main)
	for range maxKept + 5 {
		must(t, h.keep(files{"mtad.hcl": nil}, State{}))
	}
	if states, err := h.list(); err != nil || len(states) != maxKept || states[0].Number != maxKept+5 {
		t.Errorf("%d states, %v", len(states), err)
	}
}
