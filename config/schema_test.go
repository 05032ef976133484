package config

import (
	"io/fs"
	"strings"
	"testing"
)

// mailSchema is a schema of every type and shape, after the real one.
func mailSchema() Schema {
	return Schema{
		Options: []Option{
			{Name: "hostname", Type: TypeString, Required: true, Doc: "The name we greet with.", Postfix: "myhostname"},
			{Name: "mynetworks", Type: TypeStrings, Default: []string{"127.0.0.0/8", "[::1]/128"}, Reload: true, Doc: "Networks that may relay. Be careful.", Postfix: "mynetworks"},
			{Name: "mydestination", Type: TypeSource, Default: Store(), Reload: true, Doc: "Domains delivered here.", Postfix: "mydestination"},
			{Name: "max_size", Type: TypeSize, Default: 50 * MB, Min: KB, Reload: true, Doc: "Largest message.", Postfix: "message_size_limit"},
			{Name: "max_rcpts", Type: TypeInt, Default: 1000, Min: 1, Max: 100000, Unit: "recipients", Reload: true, Doc: "Most recipients of one message.", Postfix: "smtpd_recipient_limit"},
			{Name: "debug", Type: TypeBool, Default: false, Doc: "Log more."},
		},
		Blocks: []BlockType{
			{Name: "tls", Doc: "Certificates.", Options: []Option{
				{Name: "cert", Type: TypePath, Example: `"cert.pem"`, Doc: "Certificate chain.", Dovecot: "ssl_cert"},
			}},
			{Name: "listener", Labels: []string{"name"}, Repeat: true, Doc: "A port that is served. There may be many.", Options: []Option{
				{Name: "addr", Type: TypeStrings, Required: true, Doc: "Addresses."},
				{Name: "tls", Type: TypeString, Default: "opportunistic", Values: []string{"none", "opportunistic", "implicit"}, Doc: "Whether TLS is spoken."},
				{Name: "pipeline", Type: TypeString, Default: "inbound", Doc: "What judges its mail."},
			}},
			{Name: "route", Labels: []string{"name"}, Repeat: true, Doc: "A next hop.", Options: []Option{
				{Name: "to", Type: TypeString, Required: true, Doc: "Host and port."},
				{Name: "password", Type: TypeSecret, Example: `env("P")`, Doc: "Password.", Postfix: "smtp_sasl_password_maps"},
			}},
			{Name: "mark", Repeat: true, Doc: "A nameless block.", Options: []Option{
				{Name: "factor", Type: TypeFloat, Default: 1.5, Min: 0, Doc: "A factor."},
			}},
			{Name: "pipeline", Labels: []string{"name"}, Repeat: true, Doc: "Filters, in order.", Blocks: []BlockType{filterBlock()}},
		},
	}
}

func filterBlock() BlockType {
	kinds := map[string]BlockType{
		"spf": {Doc: "Checks SPF.", Options: []Option{
			{Name: "on_fail", Type: TypeScore, Default: Score(0), Max: 100, Example: "score(3)", Doc: "Points for a fail."},
		}},
		"rbl": {Doc: "Asks DNS lists.", Options: []Option{
			{Name: "zones", Type: TypeFloatMap, Required: true, Unit: "points", Doc: "Lists and their points."},
		}},
		"ratelimit": {Doc: "Limits rates.", Options: []Option{
			{Name: "per_user", Type: TypeRate, Default: "200/h", Doc: "Messages a user may send."},
		}},
		"external": {Doc: "A plugin.", Options: []Option{
			{Name: "config", Type: TypeStringMap, Example: `{ map = "m" }`, Doc: "Handed to the plugin."},
		}},
	}
	return BlockType{
		Name: "filter", Labels: []string{"type", "name"}, Optional: 1, Repeat: true, Doc: "One step.",
		Options: []Option{
			{Name: "timeout", Type: TypeDuration, Default: "10s", Min: "1s", Max: "4m", Reload: true, Doc: "Time one call may take."},
			{Name: "when", Type: TypeWhen, Example: "size < 1 * MB", Reload: true, Doc: "Condition."},
			{Name: "always", Type: TypeBool, Default: false, Doc: "Even for postmaster."},
		},
		Resolve: func(label string) (*BlockType, []string) {
			if k, ok := kinds[label]; ok {
				return &k, nil
			}
			return nil, []string{"external", "ratelimit", "rbl", "spf"}
		},
	}
}

// outsideWorld are the environment and files of tests.
func outsideWorld() Options {
	env := map[string]string{"PASS": "hunter2", "HOST": "mx.example.org", "WORD": "secretword"}
	files := map[string]string{"key.txt": "line1\nline2\n", "crlf.txt": "x\r\n"}
	return Options{
		Env: func(name string) (string, bool) { v, ok := env[name]; return v, ok },
		ReadFile: func(path string) ([]byte, error) {
			if text, ok := files[path]; ok {
				return []byte(text), nil
			}
			return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
		},
	}
}

func mustParse(t *testing.T, text string) *File {
	t.Helper()
	f, diags := Parse("mtad.hcl", []byte(text), mailSchema(), outsideWorld())
	if diags != nil {
		t.Fatalf("parse:\n%v", diags)
	}
	return f
}

func TestSchemaIsSound(t *testing.T) {
	if err := CheckSchema(mailSchema()); err != nil {
		t.Error(err)
	}
}

func TestCheckSchemaFinds(t *testing.T) {
	good := Option{Name: "a", Type: TypeInt, Default: 1, Doc: "A."}
	with := func(change func(*Option)) Schema {
		o := good
		change(&o)
		return Schema{Options: []Option{o}}
	}
	tests := []struct {
		name   string
		schema Schema
		want   string // "" is sound
	}{
		{"good", with(func(*Option) {}), ""},
		{"no type", with(func(o *Option) { o.Type = 0 }), "a: no type"},
		{"absurd type", with(func(o *Option) { o.Type = 200 }), "a: no type"},
		{"no doc", with(func(o *Option) { o.Doc = "" }), "no documentation"},
		{"required default", with(func(o *Option) { o.Required = true }), "required, yet"},
		{"nothing to show", with(func(o *Option) { o.Default = nil }), "neither default nor example"},
		{"default of another type", with(func(o *Option) { o.Default = "x" }), "default of a: x is not a whole number"},
		{"default of a wrong Go type", with(func(o *Option) { o.Default = Size(1) }), "config.Size is not"},
		{"default of no type", with(func(o *Option) { o.Default = struct{}{} }), "struct {} is not"},
		{"default too low", with(func(o *Option) { o.Min = 2 }), "must be at least 2"},
		{"bound", with(func(o *Option) { o.Max = "many" }), "bound many is no number"},
		{"bad example", with(func(o *Option) { o.Example = `"x"` }), "example:"},
		{"bad name", with(func(o *Option) { o.Name = "a-b" }), "not a name"},
		{"bad when", with(func(o *Option) { o.Type, o.Default = TypeWhen, "&&" }), "default of a"},
		{"twice", Schema{Options: []Option{good, good}}, "a: defined twice"},
		{"block without doc", Schema{Blocks: []BlockType{{Name: "b"}}}, "b: no documentation"},
		{"all labels optional", Schema{Blocks: []BlockType{{Name: "b", Doc: "B.", Labels: []string{"x"}, Optional: 1}}}, "every label is optional"},
	}
	for _, tt := range tests {
		err := CheckSchema(tt.schema)
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s: got %v, want %q", tt.name, err, tt.want)
		}
	}
}

func TestSuggest(t *testing.T) {
	known := []string{"timeout", "tls", "max_size", "addr", "opportunistic"}
	tests := map[string]string{
		"tiemout": "timeout", "TIMEOUT": "timeout", "timeuot": "timeout", "max-size": "max_size", "maxsize": "max_size",
		"adr": "addr", "x": "", "hostname": "", "oportunistc": "opportunistic", strings.Repeat("t", 100): "",
	}
	for word, want := range tests {
		if got := suggest(word, known); got != want {
			t.Errorf("suggest(%q) = %q, want %q", word, got, want)
		}
	}
}

func TestDistance(t *testing.T) {
	tests := []struct {
		a, b string
		want int
	}{{"", "", 0}, {"a", "", 1}, {"", "abc", 3}, {"ab", "ba", 1}, {"kitten", "sitting", 3}, {"ca", "abc", 3}, {"same", "same", 0}}
	for _, tt := range tests {
		if got := distance(tt.a, tt.b); got != tt.want {
			t.Errorf("distance(%q, %q) = %d, want %d", tt.a, tt.b, got, tt.want)
		}
		if got := distance(tt.b, tt.a); got != tt.want {
			t.Errorf("distance(%q, %q) = %d, want %d", tt.b, tt.a, got, tt.want)
		}
	}
}
