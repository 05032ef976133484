package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// Bounds on one file, far above what a person writes, so that no input can
// exhaust the parser's stack or the evaluator's memory.
const (
	maxNesting   = 64     // brackets within brackets
	maxOperators = 10_000 // operators in a file
	maxFiles     = 1000   // files in conf.d
	maxDigits    = 400    // characters of a number
)

// File is a configuration that agrees with its schema. It is immutable.
type File struct {
	root  *node
	files []string
	main  *source
}

// Path is the main file.
func (f *File) Path() string { return f.files[0] }

// Files are all files that were read, the main one first.
func (f *File) Files() []string { return append([]string(nil), f.files...) }

// Root is the whole configuration as a block without a type.
func (f *File) Root() Block { return Block{f.root} }

// part is the body of a block in one file. The root has one for each file, any
// other block exactly one.
type part struct {
	body *hclsyntax.Body
	src  *source
	ctx  *hcl.EvalContext
	dir  string
}

type loader struct {
	opts  Options
	diags Diagnostics
	files []string
}

// Load reads the file at path and conf.d/*.hcl beside it, in the order of their
// names, as one configuration. If it finds anything wrong the File is nil. After
// a syntax error only that is reported; anything else is reported all at once.
func Load(path string, schema Schema, opts Options) (*File, Diagnostics) {
	l := &loader{opts: opts.filled()}
	paths, err := l.opts.Files(path)
	if err != nil {
		return nil, Diagnostics{{Pos: Range{File: path}, Message: err.Error()}}
	}
	sources := make([]*source, 0, len(paths))
	for _, p := range paths {
		text, err := l.opts.ReadFile(p)
		if err != nil {
			return nil, Diagnostics{{Pos: Range{File: p}, Message: cause(err)}}
		}
		sources = append(sources, &source{name: p, text: text})
	}
	return l.load(sources, schema)
}

// Parse reads one configuration from memory. Relative paths in it are relative
// to the directory of name.
func Parse(name string, src []byte, schema Schema, opts Options) (*File, Diagnostics) {
	l := &loader{opts: opts.filled()}
	return l.load([]*source{{name: name, text: src}}, schema)
}

// ParseBlock reads the inside of one block of type t, for tests of the packages
// that own block types.
func ParseBlock(body string, t BlockType) (Block, Diagnostics) {
	f, diags := Parse(t.Name, []byte(body), Schema{Options: t.Options, Blocks: t.Blocks}, Options{})
	if diags != nil {
		return Block{}, diags
	}
	return f.Root(), nil
}

// cause is a system error without the path, which the position already shows.
func cause(err error) string {
	var pathErr *fs.PathError
	if errors.As(err, &pathErr) {
		return pathErr.Err.Error()
	}
	return err.Error()
}

// findFiles lists the main file and those of conf.d, sorted by name.
func findFiles(path string) ([]string, error) {
	dir := filepath.Join(filepath.Dir(path), "conf.d")
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read %s: %s", dir, cause(err))
	}
	paths := []string{path}
	for _, e := range entries {
		if name := e.Name(); strings.HasSuffix(name, ".hcl") && !strings.HasPrefix(name, ".") {
			paths = append(paths, filepath.Join(dir, name))
		}
	}
	if len(paths) > maxFiles {
		return nil, fmt.Errorf("%s holds more than %d files", dir, maxFiles)
	}
	return paths, nil
}

func (l *loader) load(sources []*source, schema Schema) (*File, Diagnostics) {
	root := schema.root()
	secrets := secretNames(root)
	var parts []part
	for _, src := range sources {
		src.secrets = secrets
		l.files = append(l.files, src.name)
		body, diag := parse(src)
		if diag != nil {
			return nil, Diagnostics{diag}
		}
		dir := filepath.Dir(src.name)
		parts = append(parts, part{body, src, l.opts.context(dir), dir})
	}
	tree := l.root(root, parts)
	if len(l.diags) > 0 {
		sortDiagnostics(l.diags, l.files)
		return nil, l.diags
	}
	return &File{root: tree, files: l.files, main: sources[0]}, nil
}

// parse returns the syntax tree of one file, or the first thing wrong with it.
func parse(src *source) (*hclsyntax.Body, *Diagnostic) {
	if len(src.text) > maxFile {
		return nil, &Diagnostic{Pos: Range{File: src.name}, Message: fmt.Sprintf("larger than %d octets", maxFile)}
	}
	tokens, diags := hclsyntax.LexConfig(src.text, src.name, hcl.InitialPos)
	if d := firstError(src, diags); d != nil {
		return nil, d
	}
	if d := checkDepth(src, tokens); d != nil {
		return nil, d
	}
	file, diags := hclsyntax.ParseConfig(src.text, src.name, hcl.InitialPos)
	if d := firstError(src, diags); d != nil {
		return nil, d
	}
	body, ok := file.Body.(*hclsyntax.Body)
	if !ok {
		return nil, &Diagnostic{Pos: Range{File: src.name}, Message: "not in HCL's native syntax"}
	}
	return body, nil
}

// firstError is the first error among the parser's diagnostics.
func firstError(src *source, diags hcl.Diagnostics) *Diagnostic {
	for _, d := range diags {
		if d.Severity != hcl.DiagError {
			continue
		}
		out := &Diagnostic{Pos: Range{File: src.name}, Message: sentence(d)}
		if d.Subject != nil {
			out = src.diag(*d.Subject, "%s", sentence(d))
		}
		return out
	}
	return nil
}

// sentence is the parser's message in the form of ours: "invalid expression:
// expected ...".
func sentence(d *hcl.Diagnostic) string {
	text := lowerFirst(d.Summary)
	if detail := strings.TrimSuffix(firstSentence(d.Detail), "."); detail != "" {
		text += ": " + lowerFirst(detail)
	}
	return text
}

func lowerFirst(s string) string {
	if s == "" {
		return s
	}
	return strings.ToLower(s[:1]) + s[1:]
}

// nesting says for each bracket whether it opens or closes.
var nesting = map[hclsyntax.TokenType]int{
	hclsyntax.TokenOBrace: 1, hclsyntax.TokenCBrace: -1,
	hclsyntax.TokenOBrack: 1, hclsyntax.TokenCBrack: -1,
	hclsyntax.TokenOParen: 1, hclsyntax.TokenCParen: -1,
	hclsyntax.TokenTemplateInterp: 1, hclsyntax.TokenTemplateControl: 1, hclsyntax.TokenTemplateSeqEnd: -1,
}

// plain are the tokens that cannot make an expression deeper.
var plain = map[hclsyntax.TokenType]bool{
	hclsyntax.TokenIdent: true, hclsyntax.TokenNumberLit: true, hclsyntax.TokenStringLit: true,
	hclsyntax.TokenQuotedLit: true, hclsyntax.TokenOQuote: true, hclsyntax.TokenCQuote: true,
	hclsyntax.TokenEqual: true, hclsyntax.TokenComma: true, hclsyntax.TokenNewline: true,
	hclsyntax.TokenComment: true, hclsyntax.TokenColon: true, hclsyntax.TokenDot: true, hclsyntax.TokenEOF: true,
	hclsyntax.TokenOHeredoc: true, hclsyntax.TokenCHeredoc: true,
}

// checkDepth refuses input that would send the recursive parser too deep.
func checkDepth(src *source, tokens hclsyntax.Tokens) *Diagnostic {
	depth, operators := 0, 0
	for _, t := range tokens {
		step, bracket := nesting[t.Type]
		depth = max(depth+step, 0)
		if !bracket && !plain[t.Type] || t.Type == hclsyntax.TokenTemplateControl {
			operators++
		}
		if t.Type == hclsyntax.TokenNumberLit && !sane(string(t.Bytes)) {
			return src.diag(t.Range, "a number beyond measure")
		}
		if depth > maxNesting {
			return src.diag(t.Range, "nested deeper than %d brackets", maxNesting)
		}
		if operators > maxOperators {
			return src.diag(t.Range, "more than %d operators in one file", maxOperators)
		}
	}
	return nil
}

// sane reports whether a number literal fits a float64. The evaluator computes
// with any exponent, and would write out the digits of 1e999999999.
func sane(number string) bool {
	if _, exp, ok := strings.Cut(strings.ToLower(number), "e"); ok {
		n, err := strconv.Atoi(exp)
		if err != nil || n < -300 || n > 300 {
			return false
		}
	}
	_, err := strconv.ParseFloat(number, 64)
	return err == nil && len(number) <= maxDigits
}
