package admin

import (
	"context"
	"net/url"
	"time"
)

// Plugins are the filters that are programs of their own.
type Plugins interface {
	List() []Plugin
	// Restart and Log report false if there is none of that name.
	Restart(ctx context.Context, name string) (bool, error)
	Log(name string, after time.Time) ([]PluginLine, bool)
}

// Plugin is a filter's program.
type Plugin struct {
	Name     string    `json:"name"` // of the filter
	Path     string    `json:"path"`
	Program  string    `json:"program"` // what its manifest says it is
	Version  string    `json:"version"`
	Protocol int       `json:"protocol"`
	Stages   string    `json:"stages"`
	Writes   string    `json:"writes"`
	PID      string    `json:"pid"` // "" while it is down
	Memory   int64     `json:"memory"`
	Started  time.Time `json:"started,omitzero"`
	Starts   int       `json:"starts"`
	Down     string    `json:"down"` // why it is not running
}

// PluginLine is a line of what is logged about a plugin.
type PluginLine struct {
	Time  time.Time `json:"time"`
	Level string    `json:"level"`
	Text  string    `json:"text"`
}

// pluginName is the argument of the call that restarts one.
type pluginName struct {
	Name string `json:"name"`
}

func noPlugin(name string) error {
	return &Error{No, name + ": no such plugin; `mtad plugin list` shows what there is"}
}

func (s *Server) plugins(context.Context, url.Values) ([]Plugin, error) {
	if s.cfg.Plugins == nil {
		return []Plugin{}, nil
	}
	return empty(s.cfg.Plugins.List()), nil
}

func (s *Server) restartPlugin(ctx context.Context, in pluginName) (none, error) {
	if s.cfg.Plugins == nil {
		return none{}, noPlugin(in.Name)
	}
	ok, err := s.cfg.Plugins.Restart(ctx, in.Name)
	switch {
	case !ok:
		return none{}, noPlugin(in.Name)
	case err != nil:
		return none{}, &Error{Temporary, err.Error() + "; the one that ran goes on"}
	}
	return none{}, nil
}

func (s *Server) pluginLog(_ context.Context, q url.Values) ([]PluginLine, error) {
	name := q.Get("name")
	var after time.Time
	if text := q.Get("after"); text != "" {
		if err := after.UnmarshalText([]byte(text)); err != nil {
			return nil, &Error{Usage, "after: want a time as in RFC 3339"}
		}
	}
	if s.cfg.Plugins != nil {
		if found, ok := s.cfg.Plugins.Log(name, after); ok {
			return empty(found), nil
		}
	}
	return nil, noPlugin(name)
}

// Plugins lists the filters that are programs.
func (c *Client) Plugins(ctx context.Context) ([]Plugin, error) {
	return read[[]Plugin](ctx, c, "/v1/plugins", nil)
}

// RestartPlugin starts a program anew.
func (c *Client) RestartPlugin(ctx context.Context, name string) error {
	return c.change(ctx, "/v1/plugins/restart", pluginName{name})
}

// PluginLog is the last that was logged about a program, after that time.
func (c *Client) PluginLog(ctx context.Context, name string, after time.Time) ([]PluginLine, error) {
	return read[[]PluginLine](ctx, c, "/v1/plugins/log", url.Values{"name": {name}, "after": {after.Format(time.RFC3339Nano)}})
}
