package admin

import (
	"context"
	"errors"
	"testing"
	"time"
)

// onePlugin is a server's plugins: one, which may not start again.
type onePlugin struct{ err error }

func (onePlugin) List() []Plugin { return []Plugin{{Name: "p", PID: "7", Starts: 1}} }

func (o onePlugin) Restart(_ context.Context, name string) (bool, error) { return name == "p", o.err }

func (onePlugin) Log(name string, after time.Time) ([]PluginLine, bool) {
	if !after.Before(time.Unix(1, 0)) {
		return nil, name == "p"
	}
	return []PluginLine{{Time: time.Unix(1, 0).UTC(), Level: "INFO", Text: "hello"}}, name == "p"
}

func TestPlugins(t *testing.T) {
	h := newHarness(t)
	if found, err := h.Plugins(t.Context()); err != nil || len(found) != 0 {
		t.Errorf("without plugins: %v, %v", found, err)
	}
	if err := h.RestartPlugin(t.Context(), "p"); code(t, err) != No {
		t.Error(err)
	}
	h.server.cfg.Plugins = onePlugin{}
	found, err := h.Plugins(t.Context())
	if err != nil || len(found) != 1 || found[0].PID != "7" {
		t.Errorf("got %v, %v", found, err)
	}
	check(t, h.RestartPlugin(t.Context(), "p"))
	lines, err := h.PluginLog(t.Context(), "p", time.Time{})
	if err != nil || len(lines) != 1 || lines[0].Text != "hello" {
		t.Fatalf("got %v, %v", lines, err)
	}
	if more, err := h.PluginLog(t.Context(), "p", lines[0].Time); err != nil || len(more) != 0 {
		t.Errorf("after the last: %v, %v", more, err)
	}
	if _, err := h.PluginLog(t.Context(), "q", time.Time{}); code(t, err) != No {
		t.Error(err)
	}
	h.server.cfg.Plugins = onePlugin{errors.New("no")}
	if err := h.RestartPlugin(t.Context(), "p"); code(t, err) != Temporary {
		t.Error(err)
	}
}
