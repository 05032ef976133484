package external

import (
	"context"
	"encoding/hex"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

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

	MTLS    bool          `mtad:"mtls"`
	Memory  config.Size   `mtad:"memory"`
	CPUTime time.Duration `mtad:"cpu_time"`
	Files   int           `mtad:"open_files"`
}

var options = []config.Option{
	{Name: "path", Type: config.TypePath, Required: true, Reload: true, Doc: "The program.", Example: `"plugins/urlrep"`},
	{Name: "args", Type: config.TypeStrings, Default: []string{}, Reload: true, Doc: "Its arguments.", Example: `["--quiet"]`},
	{Name: "sha256", Type: config.TypeString, Default: "", Reload: true, Doc: "The program's SHA-256 in hexadecimal: another program is not started. Empty is no check.", Example: `"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"`},
	{Name: "config", Type: config.TypeStringMap, Default: map[string]string{}, Reload: true, Doc: "What the program is told about itself: names and values of its own.", Example: `{ map = "maps/urlrep.json" }`},
	{Name: "mtls", Type: config.TypeBool, Default: true, Reload: true, Doc: "Speak to the program over mutual TLS, with keys made for this run. Programs that do not use the Go SDK need false; the socket is in a folder that only mtad's user can enter in either case.", Example: "false"},
	{Name: "memory", Type: config.TypeSize, Default: 512 * config.MB, Min: 16 * config.MB, Reload: true, Doc: "How much memory the program may have. It is looked at 20 times a second; with more the program is killed, and started again.", Example: "2 * GB"},
	{Name: "cpu_time", Type: config.TypeDuration, Default: "0s", Min: "0s", Max: "1h", Reload: true, Doc: "How long the program may compute within a minute, all its threads together. With more it is killed, and started again. 0s is no limit.", Example: `"30s"`},
	{Name: "open_files", Type: config.TypeInt, Default: 256, Min: 32, Max: 65536, Unit: "files", Reload: true, Doc: "How many files and connections the program may have open.", Example: "1024"},
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

// Access is what the manifest declares, and Effects unless it says that there are
// none.
func (f *filter) Access(pipeline.Stage) (reads, writes pipeline.Facts) {
	if m := f.proc.manifest.Load(); m != nil {
		return m.access()
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
