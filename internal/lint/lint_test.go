package lint

import (
	"go/ast"
	"path/filepath"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"testing"
)

const root = "../.."

func files(t *testing.T) []*file {
	t.Helper()
	fs, err := load(root)
	if err != nil {
		t.Fatal(err)
	}
	if len(fs) < 50 {
		t.Fatalf("found %d files: is this the repository?", len(fs))
	}
	return fs
}

// Dependencies point down.
func TestLayers(t *testing.T) {
	for _, f := range files(t) {
		if f.test || exempt(f.dir()) {
			continue
		}
		for _, imp := range f.ast.Imports {
			path, err := strconv.Unquote(imp.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			to, ours := strings.CutPrefix(path, "mtad/")
			if !ours || to == f.dir() {
				continue
			}
			if why := badImport(f.dir(), to); why != "" {
				t.Errorf("%s: %s", f.path, why)
			}
		}
	}
}

func TestBadImport(t *testing.T) {
	for _, c := range []struct {
		from, to string
		bad      bool
	}{
		{"smtpd", "pipeline", false},
		{"smtpd", "plugins", true},
		{"plugins/spf", "dns", false},
		{"plugins/spf", "plugins/dkim", true},
		{"plugins/sieve", "store", true},
		{"plugins/lua", "plugins/lua/engine", false},
		{"plugins/lua/engine", "plugins/sieve", true},
		{"cmd/mtad", "plugins/lua/worker", false},
		{"sieve", "message", true},
		{"pipeline", "deliver", true},
		{"nowhere", "smtp", true},
		{"journal", "internal/crash", false},
		{"plugins/spf", "internal/crash", true},
		{"journal", "internal/mtatest", true},
	} {
		if got := badImport(c.from, c.to); (got != "") != c.bad {
			t.Errorf("%s -> %s: %q", c.from, c.to, got)
		}
	}
}

// Sizes that keep a file on a screen or two. An exception is named here with its
// reason.
const (
	maxFile     = 800
	maxFunction = 80
	maxPackage  = 4500
)

// sizeExceptions are what may be larger, and why.
var sizeExceptions = map[string]string{
	"package cmd/mtad": "one small file a subcommand; the largest has 350 lines",
	"package sieve":    "a file an extension, and what the RFCs' examples and the fuzzers want; no other room knows the tables",
}

func TestSizes(t *testing.T) {
	packages := map[string]int{}
	for _, f := range files(t) {
		if f.test || f.made || exempt(f.dir()) {
			continue
		}
		packages[f.dir()] += f.lines
		if f.lines > maxFile && sizeExceptions[f.path] == "" {
			t.Errorf("%s has %d lines; at most %d", f.path, f.lines, maxFile)
		}
		for _, d := range f.ast.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			n := f.fset.Position(fn.End()).Line - f.fset.Position(fn.Pos()).Line
			name := f.path + " " + fn.Name.Name
			if n > maxFunction && sizeExceptions[name] == "" {
				t.Errorf("%s has %d lines; at most %d", name, n, maxFunction)
			}
		}
	}
	for dir, n := range packages {
		if n > maxPackage && sizeExceptions["package "+dir] == "" {
			t.Errorf("package %s has %d lines; at most %d", dir, n, maxPackage)
		}
	}
}

var marks = regexp.MustCompile(`\b(` + strings.Join([]string{"TO" + "DO", "FIX" + "ME", "X" + "XX", "HA" + "CK"}, "|") + `)\b`)

// What must not be there: init functions, marks of work left undone, packages
// without a name of their own.
func TestForbidden(t *testing.T) {
	for _, f := range files(t) {
		if f.made {
			continue
		}
		if m := marks.FindString(f.text); m != "" {
			t.Errorf("%s: %s", f.path, m)
		}
		switch f.ast.Name.Name {
		case "util", "utils", "common", "types", "helpers":
			t.Errorf("%s: package %s", f.path, f.ast.Name.Name)
		}
		for _, d := range f.ast.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Name.Name == "init" && fn.Recv == nil {
				t.Errorf("%s: init function", f.path)
			}
		}
	}
}

// Every package says what it is for.
func TestPackageDocs(t *testing.T) {
	documented := map[string]bool{}
	for _, f := range files(t) {
		if exempt(f.dir()) {
			continue
		}
		documented[f.dir()] = documented[f.dir()] || f.ast.Doc != nil || f.made
	}
	for dir, ok := range documented {
		if !ok {
			t.Errorf("package %s has no comment", dir)
		}
	}
}

// Every kind of filter has a README, whose sections, options and examples a test of
// its own checks.
func TestPluginReadmes(t *testing.T) {
	dirs, err := filepath.Glob(filepath.Join(root, "plugins/*/README.md"))
	if err != nil {
		t.Fatal(err)
	}
	have := map[string]bool{}
	for _, path := range dirs {
		have[filepath.Base(filepath.Dir(path))] = true
	}
	checked := map[string]bool{}
	for _, f := range files(t) {
		parts := strings.Split(f.path, "/")
		if len(parts) != 3 || parts[0] != "plugins" {
			continue
		}
		text := f.text
		checked[parts[1]] = checked[parts[1]] || strings.Contains(text, "mtatest.Readme(t, ") && !strings.Contains(text, "mtatest.Readme(t, nil)") && strings.Contains(text, "Examples(t")
	}
	for kind, ok := range checked {
		if !have[kind] || !ok {
			t.Errorf("plugins/%s: README.md there: %v, checked with its options and examples: %v", kind, have[kind], ok)
		}
	}
	if len(checked) < 9 {
		t.Errorf("found %d kinds", len(checked))
	}
}

// Every RFC cited is in docs/rfc.txt, and every one there is cited.
func TestRFCs(t *testing.T) {
	index, err := readIndex(root + "/docs/rfc.txt")
	if err != nil {
		t.Fatal(err)
	}
	cited := map[string]bool{}
	missing := map[string][]string{}
	for _, f := range files(t) {
		for _, c := range citations(f) {
			cited[c.number] = true
			if index[c.number] == "" {
				missing[c.number] = append(missing[c.number], c.where)
			}
		}
	}
	for n, where := range missing {
		sort.Strings(where)
		t.Errorf("RFC %s is cited and not in docs/rfc.txt: %s", n, where[0])
	}
	for n := range index {
		if !cited[n] {
			t.Errorf("RFC %s is in docs/rfc.txt and cited nowhere", n)
		}
	}
}

// An invariant that a comment states has a check, which tests have compiled in.
func TestInvariantsAreChecked(t *testing.T) {
	for _, f := range files(t) {
		lines := strings.Split(f.text, "\n")
		for i, l := range lines {
			if f.test || f.dir() == "internal/lint" || !strings.Contains(l, "// Invariant:") {
				continue
			}
			if !strings.Contains(strings.Join(lines[i:min(i+4, len(lines))], "\n"), "invariants.Enabled") {
				t.Errorf("%s:%d: an invariant without a check behind invariants.Enabled", f.path, i+1)
			}
		}
	}
}
