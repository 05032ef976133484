package config

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// writeFiles makes a directory of files and returns its path.
func writeFiles(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		check(t, os.MkdirAll(filepath.Dir(path), 0o700))
		check(t, os.WriteFile(path, []byte(text), 0o600))
	}
	return dir
}

func TestLoadDirectory(t *testing.T) {
	dir := writeFiles(t, map[string]string{
		"mtad.hcl":            "hostname = \"x\"\nroute \"r\" {\n  to = \"t\"\n  password = file(\"key\")\n}\n",
		"key":                 "one\ntwo\n",
		"conf.d/20-b.hcl":     "listener \"b\" { addr = [] }\n",
		"conf.d/10-a.hcl":     "listener \"a\" { addr = [] }\ntls { cert = \"c.pem\" }\n",
		"conf.d/.hidden.hcl":  "nonsense",
		"conf.d/README":       "nonsense",
		"conf.d/30-c.hcl.bak": "nonsense",
	})
	f, diags := Load(filepath.Join(dir, "mtad.hcl"), mailSchema(), Options{})
	if diags != nil {
		t.Fatal(diags)
	}
	var names []string
	for _, b := range f.Root().Blocks("listener") {
		names = append(names, b.Name())
	}
	if got := strings.Join(names, " "); got != "a b" {
		t.Errorf("listeners %s", got)
	}
	if len(f.Files()) != 3 || f.Path() != filepath.Join(dir, "mtad.hcl") {
		t.Errorf("files %v", f.Files())
	}
	var tls struct {
		Cert string `mtad:"cert"`
	}
	block, _ := f.Root().Block("tls")
	check(t, block.Decode(&tls))
	if want := filepath.Join(dir, "conf.d", "c.pem"); tls.Cert != want {
		t.Errorf("cert %s, want %s", tls.Cert, want)
	}
	var route struct {
		Password Secret `mtad:"password"`
	}
	block, _ = f.Root().Block("route")
	check(t, block.Decode(&route))
	if string(route.Password) != "one\ntwo" {
		t.Errorf("password %q", string(route.Password))
	}
}

func TestLoadFaults(t *testing.T) {
	tests := []struct {
		name  string
		files map[string]string
		want  []string // in order; DIR stands for the directory
	}{
		{"no file", nil, []string{"DIR/mtad.hcl: no such file or directory"}},
		{
			"across files",
			map[string]string{"mtad.hcl": "hostname = \"x\"\nbogus = 1\n", "conf.d/a.hcl": "hostname = \"y\"\nlistener \"l\" { addr = [] }\n", "conf.d/b.hcl": "listener \"l\" { addr = [] }\n"},
			[]string{"DIR/mtad.hcl:2:1: unknown option", "DIR/conf.d/a.hcl:1:1: hostname is already set at DIR/mtad.hcl:1:12", `DIR/conf.d/b.hcl:1:1: listener "l" is already written at DIR/conf.d/a.hcl:2:1`},
		},
		{"syntax elsewhere", map[string]string{"mtad.hcl": "bogus = 1\n", "conf.d/a.hcl": "=\n"}, []string{"DIR/conf.d/a.hcl:1:1: "}},
		{"required", map[string]string{"mtad.hcl": ""}, []string{"DIR/mtad.hcl: the configuration needs hostname, a string in quotes"}},
		{"conf.d is a file", map[string]string{"mtad.hcl": "", "conf.d": ""}, []string{"DIR/mtad.hcl: read DIR/conf.d: "}},
		{"too large", map[string]string{"mtad.hcl": strings.Repeat("#\n", maxFile/2+1)}, []string{"larger than"}},
	}
	for _, tt := range tests {
		dir := writeFiles(t, tt.files)
		f, diags := Load(filepath.Join(dir, "mtad.hcl"), mailSchema(), Options{})
		if f != nil || len(diags) != len(tt.want) {
			t.Errorf("%s: got %v", tt.name, diags)
			continue
		}
		for i, d := range diags {
			if got := strings.ReplaceAll(d.Error(), dir, "DIR"); !strings.Contains(got, tt.want[i]) {
				t.Errorf("%s: got %s, want %s", tt.name, got, tt.want[i])
			}
		}
	}
}

func TestTooManyFiles(t *testing.T) {
	files := map[string]string{}
	for i := range maxFiles {
		files[fmt.Sprintf("conf.d/%d.hcl", i)] = ""
	}
	if _, diags := Load(filepath.Join(writeFiles(t, files), "mtad.hcl"), mailSchema(), Options{}); len(diags) != 1 {
		t.Errorf("got %v", diags)
	}
}

func TestParseBounds(t *testing.T) {
	tests := map[string]string{
		"brackets":  "a = " + strings.Repeat("[", 20_000),
		"parens":    "a = " + strings.Repeat("(", 20_000),
		"blocks":    strings.Repeat("a {\n", 20_000),
		"templates": "a = " + strings.Repeat(`"${`, 20_000),
		"controls":  `a = "` + strings.Repeat("%{if true}", 20_000) + `"`,
		"bangs":     "a = " + strings.Repeat("!", 20_000),
		"minus":     "a = " + strings.Repeat("- ", 20_000),
		"sums":      "a = 1" + strings.Repeat("+1", 20_000),
		"choices":   "a = " + strings.Repeat("a?b:", 20_000),
		"exponent":  "a = 1e999999999",
		"fraction":  "a = 1e-999999999",
		"digits":    "a = " + strings.Repeat("1", 500),
		"infinity":  "a = 9e300" + strings.Repeat("0", 10),
		"size":      strings.Repeat("a", maxFile+1),
	}
	for name, text := range tests {
		if _, diags := Parse("x", []byte(text), mailSchema(), outsideWorld()); len(diags) != 1 {
			t.Errorf("%s: %d diagnostics", name, len(diags))
		}
		if _, diags := ParseWhen(strings.TrimPrefix(text, "a = ")); name != "blocks" && name != "controls" && len(diags) != 1 {
			t.Errorf("%s as condition: %d diagnostics", name, len(diags))
		}
	}
}

func TestFileFunction(t *testing.T) {
	tests := map[string]string{`file("key.txt")`: "line1\nline2", `file("crlf.txt")`: "x", `env("PASS")`: "hunter2"}
	for text, want := range tests {
		f := mustParse(t, "hostname = "+text)
		var dst struct {
			Hostname string `mtad:"hostname"`
		}
		check(t, f.Root().Decode(&dst))
		if dst.Hostname != want {
			t.Errorf("%s is %q", text, dst.Hostname)
		}
	}
}

func TestKeys(t *testing.T) {
	f := mustParse(t, blocksText)
	for _, key := range f.Keys() {
		if _, err := Get(f, key); err != nil {
			t.Error(err)
		}
		if err := Explain(new(strings.Builder), mailSchema(), f, key); err != nil {
			t.Error(err)
		}
	}
	if err := Explain(new(strings.Builder), mailSchema(), nil, "filter.rbl.timeout"); err != nil {
		t.Error(err)
	}
}

func TestPrintable(t *testing.T) {
	_, diags := Parse("x", []byte("hostname = 1 # \x1b[31m\u009b"+strings.Repeat("é", 300)), mailSchema(), outsideWorld())
	if len(diags) != 1 || strings.ContainsAny(diags.Error(), "\x1b\u009b") || len([]rune(diags[0].Source)) != maxQuoted {
		t.Errorf("got %q", diags.Error())
	}
}

func BenchmarkParse(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, diags := Parse("x", []byte(blocksText), mailSchema(), outsideWorld()); diags != nil {
			b.Fatal(diags)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, text := range []string{
		blocksText, "hostname = env(\"PASS\")\n", "hostname = \"${file(\"key.txt\")}x\"\n", "mark {}\nmark { factor = 1/0 }\n",
		"mydestination = [store(), \"file:x\"]\n", "max_size = 1 * GB % 3\n", "tls {\n cert = <<E\nx\nE\n}\n", "mynetworks = [for x in [1] : x]\n",
		"pipeline \"a\" {\n filter \"rbl\" \"b\" {\n  zones = { a = 1, \"b\" = 2 }\n  when = a.b[0]\n }\n}\n", "hostname = null ? 1 : \"a\"\n",
		"route \"x\" { password = \"a\nb\" }", "debug = !true && false\n", "pipeline \"a\" { filter \"spf\" { on_fail = score(1e400) } }",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		file, diags := Parse("mtad.hcl", []byte(text), mailSchema(), outsideWorld())
		if (file == nil) == (diags == nil) {
			t.Fatalf("file %v, diagnostics %v", file, diags)
		}
		var out strings.Builder
		diags.Write(&out, true)
		if file != nil {
			check(t, Show(&out, file, false))
			check(t, ShowJSON(&out, file, true))
			var top struct {
				Nets []string `mtad:"mynetworks"`
				Size Size     `mtad:"max_size"`
			}
			check(t, file.Root().Decode(&top))
			if again := NeedsRestart(file, file); len(again) > 0 {
				t.Errorf("differs from itself: %v", again)
			}
		}
		if strings.Contains(out.String(), "hunter2") && !strings.Contains(text, "hunter2") {
			t.Errorf("secret printed: %s", &out)
		}
	})
}
