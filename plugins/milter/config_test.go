package milter

import (
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"mtad/config"
	"mtad/internal/mtatest"
	"mtad/pipeline"
)

func TestOptions(t *testing.T) {
	if err := config.CheckSchema(config.Schema{Blocks: []config.BlockType{{Name: "filter", Doc: "A filter.", Options: options}}}); err != nil {
		t.Error(err)
	}
	if err := config.CheckStruct(options, &settings{}); err != nil {
		t.Error(err)
	}
}

func TestParseEndpoint(t *testing.T) {
	for in, want := range map[string]string{
		"unix:/run/m.sock":       "unix:/run/m.sock",
		"local:/run/m.sock":      "unix:/run/m.sock",
		"/run/m.sock":            "unix:/run/m.sock",
		"unix:run/m.sock":        "unix:run/m.sock",
		"inet:127.0.0.1:8891":    "inet:127.0.0.1:8891",
		"inet:8891@localhost":    "inet:localhost:8891",
		"inet:8891":              "inet:localhost:8891",
		"inet6:[::1]:8891":       "inet6:[::1]:8891",
		"inet6:8891@[::1]":       "inet6:[::1]:8891",
		"inet6:8891@::1":         "inet6:[::1]:8891",
		"":                       "",
		"unix:":                  "",
		"tcp:127.0.0.1:1":        "",
		"inet:":                  "",
		"inet::8891":             "",
		"inet:127.0.0.1:nothing": "",
		"inet:a:b:c":             "",
		"inet:99999@localhost":   "",
	} {
		e, err := parseEndpoint(in)
		if (err != nil) != (want == "") || err == nil && e.String() != want {
			t.Errorf("%q: %v, %v, want %q", in, e, err, want)
		}
	}
}

// A socket's name is relative to the configuration's folder, like a file's.
func TestRelativeEndpoint(t *testing.T) {
	for in, want := range map[string]string{
		"unix:run/m.sock": "unix:/etc/mtad/run/m.sock", "unix:/run/m.sock": "unix:/run/m.sock", "inet:a:1": "inet:a:1",
	} {
		f, diags := config.Parse("/etc/mtad/mtad.hcl", []byte("connect = \""+in+"\""), config.Schema{Options: options}, config.Options{})
		if err := diags.Err(); err != nil {
			t.Fatal(err)
		}
		m, err := newFilter(f.Root(), pipeline.Env{})
		if err != nil {
			t.Fatal(err)
		}
		if got := m.(*filter).endpoint.String(); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}

func TestConfigErrors(t *testing.T) {
	for body, want := range map[string]string{
		`connect = "tcp:1"`: `unix:/path`,
		`connect = "inet:1"
macros = { conect = "j" }`: `"conect" is no stage`,
	} {
		b, diags := config.ParseBlock(body, blockType)
		if err := diags.Err(); err != nil {
			t.Fatal(err)
		}
		if _, err := newFilter(b, pipeline.Env{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", body, err, want)
		}
	}
}

// stepOptions are those that every filter has, as far as examples use them.
var stepOptions = []config.Option{
	{Name: "when", Type: config.TypeWhen, Doc: "A condition."},
	{Name: "timeout", Type: config.TypeDuration, Default: "0s", Doc: "A time-out."},
	{Name: "on_error", Type: config.TypeString, Default: "tempfail", Doc: "An action."},
	{Name: "always", Type: config.TypeBool, Default: false, Doc: "Whether it counts for all."},
	{Name: "mode", Type: config.TypeString, Default: "enforce", Doc: "A mode."},
}

// TestExamples loads every example of the README, and checks that it names every
// option and stage.
func TestExamples(t *testing.T) {
	text := mtatest.Readme(t, options)
	pipelines := config.BlockType{Name: "root", Blocks: []config.BlockType{{
		Name: "pipeline", Labels: []string{"name"}, Repeat: true, Blocks: []config.BlockType{{
			Name: "filter", Labels: []string{"type", "name"}, Optional: 1, Repeat: true, Options: slices.Concat(stepOptions, options),
		}},
	}}}
	examples := regexp.MustCompile("(?s)```hcl\n(.*?)```").FindAllStringSubmatch(text, -1)
	if len(examples) < 3 {
		t.Fatalf("%d examples", len(examples))
	}
	for _, e := range examples {
		root, diags := config.ParseBlock(e[1], pipelines)
		if err := diags.Err(); err != nil {
			t.Errorf("%s\n%v", e[1], err)
			continue
		}
		for _, p := range root.Blocks("pipeline") {
			for _, b := range p.Blocks("filter") {
				if _, err := newFilter(b, pipeline.Env{}); err != nil {
					t.Errorf("%s\n%v", e[1], err)
				}
			}
		}
	}
}

func TestKind(t *testing.T) {
	k := Kind()
	if k.Name != "milter" || k.New == nil || !k.Stages.Has(pipeline.Message) || k.Stages.Has(pipeline.Deliver) {
		t.Errorf("%+v", k)
	}
	f := newTestFilter(t, `connect = "unix:/x"`)
	if f.Stages() != k.Stages {
		t.Error("the filter's stages are not the kind's")
	}
	if f.CommandTimeout != 10*time.Second || f.ContentTimeout != time.Minute || f.ConnectTimeout != 10*time.Second || f.Protocol != 6 {
		t.Errorf("%+v", f.settings)
	}
}
