// Package lint holds this repository's own rules, as tests: which package may
// import which, how long files and functions may be, what must not be there at
// all, and that every RFC cited in a comment is in docs/rfc.txt.
package lint

import (
	"bufio"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// file is one parsed Go file of the repository.
type file struct {
	path  string // relative to the root, with slashes
	lines int
	test  bool
	made  bool // generated
	fset  *token.FileSet
	ast   *ast.File
	text  string
}

// dir is the package's folder.
func (f *file) dir() string { return filepath.ToSlash(filepath.Dir(f.path)) }

// load parses every Go file below root.
func load(root string) ([]*file, error) {
	var out []*file
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() && path != root && (strings.HasPrefix(name, ".") || name == "tools" || name == "mtad-dev") {
			return filepath.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(name, ".go") {
			return nil
		}
		f, err := parse(root, path)
		if err == nil {
			out = append(out, f)
		}
		return err
	})
	return out, err
}

func parse(root, path string) (*file, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	rel, err := filepath.Rel(root, path)
	if err != nil {
		return nil, err
	}
	f := &file{path: filepath.ToSlash(rel), text: string(b), fset: token.NewFileSet(), test: strings.HasSuffix(path, "_test.go")}
	f.lines = strings.Count(f.text, "\n")
	f.ast, err = parser.ParseFile(f.fset, path, b, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	f.made = ast.IsGenerated(f.ast)
	return f, nil
}

// levels are the layers of docs/ARCHITECTURE.md: a package imports packages of
// lower levels, and of its own level only as siblings says.
var levels = map[string]int{
	// Empty in every release: points at which tests kill the server, from
	// every level but by no plugin (docs/decisions/0005-crash-points.md).
	"internal/crash": -1,
	// How what is written with every message becomes JSON.
	"internal/jsonout": -1, "internal/jsonout/jsontest": 0,
	// Empty in every release too: checks that tests have.
	"internal/invariants": -1,
	// How SQLite is opened, by whoever keeps a database.
	"internal/pagepool": 0, "internal/command": 0, "internal/logical": -1,
	// The engine of SpamAssassin's rules, from the bottom up.
	"spam/regex/syntax": -6, "spam/regex": -5, "spam/conf": -4, "spam/mail": -4, "spam/uri": -3, "spam/ask": -3, "spam/relay": -3, "spam/bayes": -3, "spam/scan": -2, "spam/eval": -1, "spam/netrule": -1, "spam/inspect": -1, "spam/txrep": -1, "spam": 0, "spam/resolve": 0, "spam/spamd": 1,
	// What servers that users log in to have in common.
	"internal/endpoint": 0,
	"smtp":              0, "message": 0, "dns": 0, "config": 0, "sieve": 0, "journal": 0, "monitor": 0,
	"autoreply": 0, "sieve/mail": 0, "lookup": 0, "aliases": 0,
	"pipeline": 1, "store": 1, "maildrop": 1, "selector": 1, "monitor/grant": 1,
	"mailbox": 2, "directory": 2, "spamdb": 2, "queue": 2, "trace": 2, "trace/postfix": 2, "trace/report": 2, "deliver": 4, "deliver/relay": 2, "deliver/route": 3, "deliver/hand": 5,
	"smtpd": 5, "imapd": 5, "imapd/wire": 0, "managesieved": 5, "milterd": 5, "milterd/wire": 0, "admin": 5, "sdk/mtadpb": 0, "sdk": 1, "plugins": 5,
	"cmd/mtad": 7, "cmd/mtad/script": 6, "cmd/mtad/plug": 6, "cmd/mtad/users": 6, "cmd/mtad/routes": 6, "cmd/mtad/local": 6, "cmd/mtad/maps": 5, "cmd/mtad/edit": 5, "cmd/mtad/compat": 6, "cmd/mtad/dev": 0, "cmd/mtad/heap": 0, "cmd/mtad/boot": 2, "cmd/mtad/logs": 6, "cmd/mtad/spamserve": 6, "cmd/mtad/spamlearn": 6,
}

// siblings are imports within a level that the plan has.
var siblings = map[string]bool{
	"journal -> message":   true,
	"autoreply -> message": true, "autoreply -> smtp": true,
	"monitor -> aliases":  true,
	"lookup -> smtp":      true,
	"spam/resolve -> dns": true, "spam/netrule -> spam/eval": true, "spam/inspect -> spam/eval": true,
	"sieve/mail -> message": true, "sieve/mail -> sieve": true,
	"plugins -> plugins/*": true,
}

// levelOf finds a package's level: its own or that of the room it is in.
func levelOf(dir string) (int, bool) {
	if strings.HasPrefix(dir, "plugins/") {
		return levels["plugins"], true
	}
	n, ok := levels[dir]
	return n, ok
}

// badImport says what is wrong with an import, "" if nothing is.
func badImport(from, to string) string {
	a, okA := levelOf(from)
	b, okB := levelOf(to)
	switch {
	case !okA:
		return fmt.Sprintf("%s has no level: add it to internal/lint", from)
	case !okB:
		return fmt.Sprintf("%s has no level: add it to internal/lint", to)
	case strings.HasPrefix(from, "plugins/"):
		return badPluginImport(from, to)
	case from == "plugins" && strings.HasPrefix(to, "plugins/"):
		return ""
	case b >= a && !siblings[from+" -> "+to]:
		return fmt.Sprintf("%s (level %d) imports %s (level %d)", from, a, to, b)
	}
	return ""
}

// badPluginImport: a plugin imports level 0, the pipeline, and the SDK; no
// server, no store, no other plugin. Facts travel in the View.
func badPluginImport(from, to string) string {
	if n, _ := levelOf(to); n == 0 || to == "pipeline" || to == "sdk" || plugin(from) == plugin(to) {
		return ""
	}
	return fmt.Sprintf("plugin %s imports %s", from, to)
}

// plugin is the room that a plugin's inner rooms belong to.
func plugin(dir string) string {
	name, _, _ := strings.Cut(strings.TrimPrefix(dir, "plugins/"), "/")
	return name
}

// exempt are the packages that serve the tests, or show how something is done.
func exempt(dir string) bool {
	return strings.HasPrefix(dir, "internal/") || dir == "spam/spamtest" || strings.HasPrefix(dir, "spam/spamtest/") || strings.HasPrefix(dir, "examples/") || strings.Contains(dir, "testdata")
}

// citation is an RFC named in a comment.
type citation struct {
	number string
	where  string
}

var rfc = regexp.MustCompile(`\bRFC (\d{3,5})\b`)

// citations collects the RFCs that a file's comments name.
func citations(f *file) []citation {
	var out []citation
	for _, g := range f.ast.Comments {
		for _, m := range rfc.FindAllStringSubmatch(strings.ReplaceAll(g.Text(), "\n", " "), -1) {
			out = append(out, citation{m[1], f.fset.Position(g.Pos()).String()})
		}
	}
	return out
}

// readIndex reads docs/rfc.txt: number, status here, title.
func readIndex(path string) (map[string]string, error) {
	fd, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer fd.Close()
	index := map[string]string{}
	sc := bufio.NewScanner(fd)
	for n := 1; sc.Scan(); n++ {
		line := sc.Text()
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		parts := strings.Fields(line)
		if len(parts) < 3 || !statuses[parts[1]] {
			return nil, fmt.Errorf("%s:%d: want a number, yes, part or cited, and a title: %q", path, n, line)
		}
		if index[parts[0]] != "" {
			return nil, fmt.Errorf("%s:%d: RFC %s is listed twice", path, n, parts[0])
		}
		index[parts[0]] = parts[1]
	}
	return index, sc.Err()
}

var statuses = map[string]bool{"yes": true, "part": true, "cited": true}
