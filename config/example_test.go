package config_test

import (
	"fmt"
	"os"
	"time"

	"mtad/config"
)

// Options of a package are declared once; everything else reads them.
func Example() {
	schema := config.Schema{Blocks: []config.BlockType{{
		Name: "filter", Labels: []string{"type", "name"}, Optional: 1, Repeat: true, Doc: "One step of a pipeline.",
		Options: []config.Option{
			{Name: "timeout", Type: config.TypeDuration, Default: "10s", Min: "1s", Doc: "Time one call may take."},
			{Name: "zones", Type: config.TypeFloatMap, Required: true, Doc: "DNS lists and the points of each."},
		},
	}}}
	text := `
filter "rbl" {
  zones   = { "zen.spamhaus.org" = 6 }
  timeout = "3s"
}
`
	file, diags := config.Parse("mtad.hcl", []byte(text), schema, config.Options{})
	if diags != nil {
		diags.Write(os.Stderr, true)
		return
	}
	var settings struct {
		Zones   map[string]float64 `mtad:"zones"`
		Timeout time.Duration      `mtad:"timeout"`
	}
	for _, b := range file.Root().Blocks("filter") {
		if err := b.Decode(&settings); err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(b.Name(), settings.Zones, settings.Timeout)
	}
	// Output: rbl map[zen.spamhaus.org:6] 3s
}

// A mistake is shown where it is, with what was probably meant.
func ExampleDiagnostics_Write() {
	schema := config.Schema{Options: []config.Option{
		{Name: "hostname", Type: config.TypeString, Required: true, Doc: "The name we greet with."},
		{Name: "max_size", Type: config.TypeSize, Default: 50 * config.MB, Doc: "Largest message."},
	}}
	text := "hostname = \"mx.example.org\"\nmax_sise = 10 * MB\n"
	_, diags := config.Parse("mtad.hcl", []byte(text), schema, config.Options{})
	diags.Write(os.Stdout, false)
	// Output:
	// mtad.hcl:2:1: unknown option "max_sise"
	//     max_sise = 10 * MB
	//     ^^^^^^^^
	// did you mean "max_size"?
}

// A condition is typed and compiled once, then costs some tens of nanoseconds.
func ExampleCompileWhen() {
	type message struct {
		size   int64
		authed bool
	}
	vars := []config.Variable[message]{
		{Name: "size", Type: config.ValueNumber, Doc: "Octets.", Get: func(m message) config.Value { return config.Number(float64(m.size)) }},
		{Name: "auth.ok", Type: config.ValueBool, Doc: "Logged in.", Get: func(m message) config.Value { return config.Bool(m.authed) }},
	}
	when, diags := config.ParseWhen("!auth.ok && size < 1 * MB")
	if diags != nil {
		fmt.Println(diags)
		return
	}
	cond, diags := config.CompileWhen(when, vars)
	if diags != nil {
		fmt.Println(diags)
		return
	}
	fmt.Println(cond.Eval(message{size: 2000}), cond.Eval(message{size: 2000, authed: true}))
	// Output: true false
}
