package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func containsLine(text, line string) bool {
	return slices.Contains(strings.Split(text, "\n"), line)
}

func containsText(text, part string) bool { return strings.Contains(text, part) }

func TestClean(t *testing.T) {
	for in, want := range map[string]string{
		"plain": "plain", "Grüße": "Grüße", "a\tb\nc": "a b c",
		"\x1b[31mred\x07": "?[31mred?", "bad \xff octet": "bad ? octet", "\u202eevil": "?evil",
	} {
		if got := clean(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestPrintTable(t *testing.T) {
	var b bytes.Buffer
	check(t, printTable(&b, []string{"A", "LONG"}, [][]string{{"wide cell", ""}, {"", "x\x1b"}}))
	if want := "A          LONG\nwide cell  -\n-          x?\n"; b.String() != want {
		t.Errorf("got %q", b.String())
	}
	if err := printTable(failing{}, []string{"A"}, nil); err == nil {
		t.Error("nobody noticed that the disk is full")
	}
}

func TestFormats(t *testing.T) {
	table := func(w io.Writer) error {
		_, err := io.WriteString(w, "table\n")
		return err
	}
	list := []map[string]string{{"a": "<b>"}, {"a": "c"}}
	for f, want := range map[format]string{
		"table":  "table\n",
		"json":   "[\n  {\n    \"a\": \"<b>\"\n  },\n  {\n    \"a\": \"c\"\n  }\n]\n",
		"ndjson": "{\"a\":\"<b>\"}\n{\"a\":\"c\"}\n",
	} {
		var b bytes.Buffer
		check(t, printList(&b, f, list, table))
		if b.String() != want {
			t.Errorf("%s: %q", f, b.String())
		}
		if err := printList(failing{}, f, list, table); err == nil {
			t.Errorf("%s: nobody noticed that the disk is full", f)
		}
		b.Reset()
		check(t, printOne(&b, f, list[1], table))
		if f == "ndjson" && b.String() != "{\"a\":\"c\"}\n" {
			t.Errorf("one: %q", b.String())
		}
	}
	var f format
	if f.Set("yaml") == nil || f.Set("json") != nil || f.String() != "json" || f.Type() != "format" {
		t.Errorf("got %q", f)
	}
}

func TestAgoAndTook(t *testing.T) {
	for d, want := range map[time.Duration][2]string{
		-time.Second:           {"now", "<0.01 ms"},
		time.Microsecond:       {"0s", "<0.01 ms"},
		420 * time.Microsecond: {"0s", "0.42 ms"},
		4200 * time.Microsecond: {
			"0s", "4.2 ms",
		},
		42 * time.Millisecond: {"0s", "42 ms"},
		4200 * time.Millisecond: {
			"4s", "4.2 s",
		},
		90 * time.Second: {"1m", "1m"},
		100 * time.Hour:  {"4d", "4d"},
		30 * time.Hour:   {"30h", "30h"},
	} {
		if ago(d) != want[0] || took(d) != want[1] {
			t.Errorf("%v: %q %q, want %q", d, ago(d), took(d), want)
		}
	}
	if since(0) != "0" || since(-1) != "0" || since(42*time.Millisecond) != "+42 ms" {
		t.Errorf("since: %q", since(42*time.Millisecond))
	}
}

func TestNoColorInFiles(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "out"))
	check(t, err)
	defer f.Close()
	if colored(f) || colored(&bytes.Buffer{}) {
		t.Error("a file is colored")
	}
}

func TestDataDir(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "mtad.hcl")
	for text, want := range map[string]string{
		``:                                 "/var/lib/mtad",
		`data_dir = "data"`:                filepath.Join(dir, "data"),
		"data_dir = \"/srv/x\"\nbroken {":  "/srv/x",
		"  data_dir=\"data\"\nnothing = 1": filepath.Join(dir, "data"),
		"# data_dir = \"no\"\n}":           "/var/lib/mtad",
	} {
		check(t, os.WriteFile(path, []byte(text), 0o600))
		if got, err := dataDir(path); got != want || err != nil {
			t.Errorf("%q: %s, want %s; %v", text, got, want, err)
		}
	}
	if _, errs, code := runMtad("", "status", "-c", filepath.Join(dir, "missing")); code != exitNoInput || !strings.Contains(errs, "no such file") {
		t.Errorf("no file: exit %d %s", code, errs)
	}
}

func TestVersion(t *testing.T) {
	out, _, code := runMtad("", "version")
	if code != 0 || !strings.HasPrefix(out, "mtad ") || !strings.Contains(out, "go1.") {
		t.Errorf("exit %d, %q", code, out)
	}
}

func TestEveryCommandHasHelp(t *testing.T) {
	var walk func(path []string)
	walk = func(path []string) {
		cmd, _, err := newRoot().Find(path)
		check(t, err)
		if len(path) > 0 && (cmd.Short == "" || strings.HasSuffix(cmd.Short, ".")) {
			t.Errorf("%v: short help %q", path, cmd.Short)
		}
		if len(path) > 0 && cmd.RunE == nil {
			t.Errorf("%v does nothing", path)
		}
		for _, sub := range cmd.Commands() {
			if sub.Name() != "help" && sub.Name() != "completion" {
				walk(append(slices.Clone(path), sub.Name()))
			}
		}
	}
	walk(nil)
}
