package config

import (
	"errors"
	"strings"
	"testing"
)

var editSchema = Schema{
	Options: []Option{
		{Name: "hostname", Type: TypeString, Default: "localhost", Doc: "x"}, {Name: "nets", Type: TypeStrings, Default: []string{}, Doc: "x"},
		{Name: "size", Type: TypeSize, Default: 10 * MB, Doc: "x"}, {Name: "dest", Type: TypeSource, Default: Store(), Doc: "x"},
	},
	Blocks: []BlockType{{Name: "listener", Labels: []string{"name"}, Repeat: true, Options: []Option{
		{Name: "addr", Type: TypeStrings, Default: []string{}, Doc: "x"}, {Name: "tls", Type: TypeString, Default: "none", Doc: "x"},
		{Name: "wait", Type: TypeDuration, Default: "1s", Doc: "x"}, {Name: "password", Type: TypeSecret, Secret: true, Doc: "x"},
	}}},
}

func TestEdit(t *testing.T) {
	const file = `# the server
hostname = "a.test" # its name

// networks
nets = [
  "10.0.0.0/8", # office
]

listener "mx" {
  addr = [":25"]   # mail
}
listener "none" {}
listener "one" { tls = "required" }
`
	for _, c := range []struct{ key, value, old, now string }{
		{"hostname", "b.test", `"a.test" # its`, `"b.test" # its`}, {"hostname", `env("NAME")`, `"a.test"`, `env("NAME")`}, {"hostname", `say "hi" ${x}`, `"a.test"`, `"say \"hi\" $${x}"`},
		{"nets", "127.0.0.0/8, 10.0.0.0/8", "[\n  \"10.0.0.0/8\", # office\n]", `["127.0.0.0/8", "10.0.0.0/8"]`},
		{"size", "20 * MB", "office\n]\n", "office\n]\nsize = 20 * MB\n"}, {"dest", "store() localhost", "office\n]\n", "office\n]\ndest = [store(), \"localhost\"]\n"},
		{"listener.mx.tls", "required", "# mail\n", "# mail\n  tls = \"required\"\n"},
		{"listener.none.wait", "5s", `"none" {}`, "\"none\" {\n  wait = \"5s\"\n}"}, {"listener.one.wait", `"5s"`, `{ tls = "required" }`, "{\n  tls = \"required\"\n  wait = \"5s\"\n}"},
		{"hostname", "", "hostname = \"a.test\" # its name\n", ""}, {"nets", "", "nets = [\n  \"10.0.0.0/8\", # office\n]\n", ""}, {"listener.one.tls", "", `{ tls = "required" }`, "{  }"},
	} {
		f, diags := Parse("f.hcl", []byte(file), editSchema, Options{})
		if diags != nil {
			t.Fatal(diags)
		}
		edit, err := f.Set(c.key, c.value)
		if c.value == "" {
			edit, err = f.Unset(c.key)
		}
		if want := strings.Replace(file, c.old, c.now, 1); err != nil || want == file || string(edit.Text) != want || edit.Path != "f.hcl" {
			t.Errorf("%s = %s: %v\n%s", c.key, c.value, err, edit.Text)
		}
		env := Options{Env: func(string) (string, bool) { return "x", true }}
		if _, diags := Parse("f.hcl", edit.Text, editSchema, env); diags != nil {
			t.Errorf("%s = %s can not be read: %v\n%s", c.key, c.value, diags, edit.Text)
		}
	}
	f, diags := Parse("f.hcl", []byte("# only\n# comments\nlistener \"x\" {}"), editSchema, Options{})
	if diags != nil {
		t.Fatal(diags)
	}
	if edit, err := f.Set("hostname", "x"); err != nil || string(edit.Text) != "# only\n# comments\nhostname = \"x\"\nlistener \"x\" {}" {
		t.Errorf("%v\n%s", err, edit.Text)
	}
	if _, err := f.Set("hostnam", "x"); !errors.Is(err, ErrUnknownKey) || !strings.Contains(err.Error(), `"hostname"`) {
		t.Errorf("%v", err)
	}
	if _, err := f.Unset("hostname"); err == nil {
		t.Error("what is not written was taken out")
	}
}

// FuzzEdit: whatever value is given, the file is read as before but for the one
// option, or the value was not one.
func FuzzEdit(f *testing.F) {
	f.Add("x", "listener.mx.tls")
	f.Add("[\"a\"]\nhostname = \"evil\"", "nets")
	f.Fuzz(func(t *testing.T, value, key string) {
		const file = "hostname = \"a\" # c\nlistener \"mx\" {\n  addr = [\n \"x\"]\n}\nlistener \"y\" {}\n"
		before, diags := Parse("f.hcl", []byte(file), editSchema, Options{})
		if diags != nil {
			t.Fatal(diags)
		}
		edit, err := before.Set(key, value)
		if err != nil {
			return
		}
		after, diags := Parse("f.hcl", edit.Text, editSchema, Options{})
		if diags != nil {
			return // and is not written
		}
		for _, e := range before.entries() {
			if now, err := Get(after, e.key); e.key != key && (err != nil || now != e.render()) {
				t.Errorf("%s = %q changed %s to %s\n%s", key, value, e.key, now, edit.Text)
			}
		}
	})
}
