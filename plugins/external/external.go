package external

import (
	"context"
	"encoding/hex"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"mtad/config"
	"mtad/pipeline"
)

// Kind is filter "external".
func Kind() pipeline.Kind {
	return pipeline.Kind{
		Name: "external", Doc: "Runs a program of its own as a filter.",
		Stages: pipeline.ListenerStages | pipeline.DeliveryStages, Options: options, New: newFilter,
	}
}

type settings struct {
	Path   string            `mtad:"path"`
	Args   []string          `mtad:"args"`
	SHA256 string            `mtad:"sha256"`
	Config map[string]string `mtad:"config"`
}

var options = []config.Option{
	{Name: "path", Type: config.TypePath, Required: true, Reload: true, Doc: "The program.", Example: `"plugins/urlrep"`},
	{Name: "args", Type: config.TypeStrings, Default: []string{}, Reload: true, Doc: "Its arguments.", Example: `["--quiet"]`},
	{Name: "sha256", Type: config.TypeString, Default: "", Reload: true, Doc: "The program's SHA-256 in hexadecimal: another program is not started. Empty is no check.", Example: `"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"`},
	{Name: "config", Type: config.TypeStringMap, Default: map[string]string{}, Reload: true, Doc: "What the program is told about itself: names and values of its own.", Example: `{ map = "maps/urlrep.json" }`},
}

// filter is one configured program.
type filter struct {
	settings
	name string
	log  *slog.Logger
	proc *process
}

func newFilter(b config.Block, env pipeline.Env) (pipeline.Filter, error) {
	f := &filter{name: b.Name(), log: env.Log}
	if err := b.Decode(&f.settings); err != nil {
		return nil, err
	}
	if f.log == nil {
		f.log = slog.New(slog.DiscardHandler)
	}
	// A name without a slash would be looked for in PATH.
	path, err := filepath.Abs(f.Path)
	if err != nil {
		return nil, b.Errorf("path", "%v", err)
	}
	f.Path = path
	fi, err := os.Stat(f.Path)
	switch {
	case err != nil:
		return nil, b.Errorf("path", "%v", err)
	case fi.IsDir() || fi.Mode()&0o111 == 0:
		return nil, b.Errorf("path", "%s is no program: it can not be executed", f.Path)
	}
	var sum []byte
	if f.SHA256 != "" {
		if sum, err = hex.DecodeString(f.SHA256); err != nil || len(sum) != 32 {
			return nil, b.Errorf("sha256", "want 64 hexadecimal digits; `sha256sum %s` prints them", f.Path)
		}
	}
	f.proc = newProcess(f.settings, f.name, sum, f.log)
	return f, nil
}

// Start starts the program and asks what it is.
func (f *filter) Start(ctx context.Context) error { return f.proc.start(ctx) }

// Close ends it.
func (f *filter) Close() error { return f.proc.close() }

// Stages are those of the manifest; before the program has run, all.
func (f *filter) Stages() pipeline.Stages {
	if m := f.proc.manifest.Load(); m != nil {
		return m.stages
	}
	return pipeline.ListenerStages | pipeline.DeliveryStages
}

// Access is what the manifest declares.
func (f *filter) Access(pipeline.Stage) (reads, writes pipeline.Facts) {
	if m := f.proc.manifest.Load(); m != nil {
		return m.reads, m.writes
	}
	return pipeline.AllFacts, pipeline.AllFacts
}

// Filter is asked of a session only; see Open.
func (f *filter) Filter(context.Context, pipeline.Stage, *pipeline.View) (pipeline.Verdict, error) {
	return pipeline.Verdict{}, fmt.Errorf("external: %s asked outside a session", f.name)
}

// Open begins a session with the program.
func (f *filter) Open(ctx context.Context, _ *pipeline.View) (pipeline.Session, error) {
	s := &session{filter: f}
	if err := s.connect(ctx); err != nil {
		return nil, err
	}
	return s, nil
}
