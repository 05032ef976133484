package conf

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"time"
)

// Bounds of what is read.
const (
	maxFile     = 16 << 20 // bytes
	maxIncludes = 20       // one in another
	maxProblems = 1000
)

// Options says how to read files.
type Options struct {
	// Local leaves out tests over the network, as spamassassin --local does.
	Local bool
	// Lang is a locale, "de_DE": whose "lang" lines count. "" is "en_US".
	Lang string
	// Known tells the plugins that the engine has, by their names in Perl; nil
	// takes every plugin for known.
	Known func(plugin string) bool
}

// parser reads lines into a ruleset.
type parser struct {
	*Ruleset
	o       Options
	user    bool            // users' preferences
	owned   map[string]bool // what of the site's they have copied
	compats map[string]bool // enable_compat
	file    string
	line    int
	open    []openFile // that are being read, each included by the one before
	told    map[Problem]bool
	ifs     []condition
}

// openFile is a file that is being read.
type openFile struct {
	path string
	info fs.FileInfo
}

// condition is an open if.
type condition struct {
	line int
	skip bool // what stands here is left out
	// outer: an if around this one leaves everything out.
	outer bool
}

// Load reads the named files and directories in order; of a directory all *.pre and
// then all *.cf, by their names. Lines that can not be obeyed are Problems of the
// ruleset; an error means that a file could not be read, or is none of rules.
func Load(paths []string, o Options) (*Ruleset, error) { return LoadOver("", "", paths, o) }

// LoadOver is Load with a text before the files, as if it were one of that name.
func LoadOver(name, text string, paths []string, o Options) (*Ruleset, error) {
	p := newParser(o)
	p.read(name, text)
	p.dirs = paths
	p.files = map[string]version{}
	files, err := listAll(paths)
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		if err := p.readFile(f); err != nil {
			return nil, err
		}
	}
	p.finish()
	return p.Ruleset, nil
}

// version tells one state of a file from another; that of one that is not there is zero.
type version struct {
	size int64
	time time.Time
}

func versionOf(path string) version {
	info, err := os.Stat(path)
	if err != nil {
		return version{}
	}
	return version{info.Size(), info.ModTime()}
}

// Files is how many files were read.
func (s *Ruleset) Files() int { return len(s.files) }

// Changed reports whether Load would read other files of those paths than were read, or
// other text in them.
func (s *Ruleset) Changed(paths []string) bool {
	files, err := listAll(paths)
	if err != nil {
		return true
	}
	for _, f := range files {
		if _, read := s.files[f]; !read {
			return true
		}
	}
	for f, was := range s.files {
		if was != versionOf(f) {
			return true
		}
	}
	return false
}

// listAll gives the files in the order in which they are read.
func listAll(paths []string) (out []string, err error) {
	for _, ext := range []string{".pre", ".cf"} {
		for _, path := range paths {
			files, err := list(path, ext)
			if err != nil {
				return nil, err
			}
			out = append(out, files...)
		}
	}
	return out, nil
}

// Parse reads one text as if it were the file of that name.
func Parse(name, text string, o Options) *Ruleset {
	p := newParser(o)
	p.read(name, text)
	p.finish()
	return p.Ruleset
}

func newParser(o Options) *parser {
	s := &Ruleset{
		Plugins: map[string]bool{}, rules: map[string]*Rule{}, scores: map[string][4]float64{}, describe: map[string]string{}, prefixes: map[string]string{},
		settings: defaults(), lists: map[string]AddressList{}, rcvd: map[string][]Pair{}, uriLists: map[string]URIList{}, hosts: map[string]map[string]bool{}, words: map[string][]string{},
		pairs: map[string]map[string]string{}, Rewrite: map[string]string{}, domains: &Domains{}, updates: map[string]string{},
		nets: map[string]*Nets{"trusted_networks": newNets(true), "internal_networks": newNets(true), "msa_networks": newNets(false)},
	}
	checker := Field{"Checker-Version", "SpamAssassin _VERSION_ (_SUBVERSION_) on _HOSTNAME_"}
	s.Ham, s.Spam = []Field{checker}, []Field{checker}
	return parserInto(s, o)
}

func parserInto(s *Ruleset, o Options) *parser {
	if o.Known == nil {
		o.Known = func(string) bool { return true }
	}
	if o.Lang == "" || o.Lang == "C" || o.Lang == "POSIX" {
		o.Lang = "en_US"
	}
	return &parser{Ruleset: s, o: o, compats: map[string]bool{}, told: map[Problem]bool{}}
}

// list gives the files with an extension of a directory, or the file itself.
func list(path, ext string) ([]string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		if (filepath.Ext(path) == ".pre") == (ext == ".pre") {
			return []string{path}, nil
		}
		return nil, nil
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, e := range entries {
		if !e.IsDir() && filepath.Ext(e.Name()) == ext && !strings.HasPrefix(e.Name(), ".") {
			out = append(out, filepath.Join(path, e.Name()))
		}
	}
	sort.Strings(out)
	return out, nil
}

// Beside finds a file in the directories of the rules.
func (s *Ruleset) Beside(name string) (path string, ok bool) {
	for _, dir := range s.dirs {
		path = filepath.Join(dir, name)
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
			return path, true
		}
	}
	return "", false
}

func (p *parser) readFile(path string) error {
	if p.files != nil { // a user's preferences include none
		p.files[path] = versionOf(path)
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() || info.Size() > maxFile {
		return fmt.Errorf("%s: not a file of %d MiB at most", path, maxFile>>20)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if what := noText(text); what != "" {
		return fmt.Errorf("%s: %w: %s", path, ErrNoText, what)
	}
	p.open = append(p.open, openFile{path, info})
	p.read(path, string(text))
	p.open = p.open[:len(p.open)-1]
	return nil
}

// ErrNoText is for files that can not be rules.
var ErrNoText = errors.New("this is no file of rules")

// noText says what speaks against a text being one, "" if nothing does.
func noText(text []byte) string {
	switch {
	case bytes.HasPrefix(text, []byte("\x1f\x8b")):
		return "it is packed by gzip: unpack it"
	case bytes.HasPrefix(text, []byte("\xff\xfe")) || bytes.HasPrefix(text, []byte("\xfe\xff")):
		return "it is written in UTF-16: save it as UTF-8"
	case bytes.IndexByte(text, 0) >= 0:
		return "it has octets of 0, which no text has"
	}
	return ""
}

func (p *parser) read(name, text string) {
	file, line, ifs := p.file, p.line, p.ifs
	p.file, p.line, p.ifs = name, 0, nil
	for l := range strings.Lines(text) {
		p.line++
		p.readLine(strings.TrimSuffix(l, "\n"))
	}
	for _, c := range p.ifs {
		p.line = c.line
		p.problem("", "this if has no endif")
	}
	p.file, p.line, p.ifs = file, line, ifs
}

func (p *parser) problem(rule, format string, args ...any) {
	x := Problem{p.file, p.line, rule, fmt.Sprintf(format, args...)}
	if len(p.Problems) < maxProblems && !p.told[x] { // a file may be included twice
		p.told[x] = true
		p.Problems = append(p.Problems, x)
	}
}

func (p *parser) note(rule, format string, args ...any) {
	if len(p.Notes) < maxProblems {
		p.Notes = append(p.Notes, Problem{p.file, p.line, rule, fmt.Sprintf(format, args...)})
	}
}

const space = " \t\r\n\f\v"

// uncomment removes what follows "#"; "\#" is the letter.
func uncomment(line string) string {
	if !strings.Contains(line, "#") {
		return line
	}
	for i := range len(line) {
		if line[i] == '#' && (i == 0 || line[i-1] != '\\') {
			line = line[:i]
			break
		}
	}
	return strings.ReplaceAll(line, `\#`, "#")
}

// cut parts the first word from the rest.
func cut(s string) (word, rest string) {
	i := strings.IndexAny(s, space)
	if i < 0 {
		return s, ""
	}
	return s[:i], strings.TrimLeft(s[i:], space)
}

func (p *parser) readLine(line string) {
	if v, ok := strings.CutPrefix(line, "# UPDATE version "); ok && !p.user && strings.Trim(v, "0123456789") == "" {
		p.updates[p.file] = v
	}
	line = strings.Trim(uncomment(line), space)
	if line == "" {
		return
	}
	key, value := cut(line)
	if key == "lang" {
		lang, rest := cut(value)
		if !strings.HasPrefix(strings.ToLower(p.o.Lang), strings.ToLower(lang)) {
			return
		}
		key, value = cut(rest)
	}
	key = strings.ReplaceAll(strings.ToLower(key), "-", "_")
	if p.conditional(key, value) || p.skipping() {
		return
	}
	if err := p.command(key, value); err != nil {
		rule := ""
		if ruleCommands[key] {
			rule, _ = cut(value)
		}
		p.problem(rule, "%v", err)
	}
}

func (p *parser) skipping() bool {
	return len(p.ifs) > 0 && (p.ifs[len(p.ifs)-1].skip || p.ifs[len(p.ifs)-1].outer)
}

// conditional obeys if, ifplugin, else and endif.
func (p *parser) conditional(key, value string) bool {
	switch key {
	case "ifplugin":
		value = "plugin(" + value + ")"
		fallthrough
	case "if":
		c := condition{line: p.line, outer: p.skipping()}
		ok, err := p.condition(value)
		if err != nil {
			p.problem("", "%s %s: %v", key, value, err)
		}
		c.skip = !ok
		p.ifs = append(p.ifs, c)
	case "else":
		if len(p.ifs) == 0 {
			p.problem("", "else without if")
			return true
		}
		c := &p.ifs[len(p.ifs)-1]
		c.skip = !c.skip
	case "endif":
		if len(p.ifs) == 0 {
			p.problem("", "endif without if")
			return true
		}
		p.ifs = p.ifs[:len(p.ifs)-1]
	default:
		return false
	}
	if value != "" && (key == "else" || key == "endif") {
		p.problem("", "%s stands alone on its line", key)
	}
	return true
}

func (p *parser) include(value string) error {
	path := value
	if !filepath.IsAbs(path) {
		path = filepath.Join(filepath.Dir(p.file), path)
	}
	if p.user {
		return errors.New("include is not for users' preferences")
	}
	if err := p.circle(path); err != nil {
		return err
	}
	if len(p.open) > maxIncludes {
		return fmt.Errorf("files include one another more than %d deep", maxIncludes)
	}
	err := p.readFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s is not there", path)
	}
	return err
}

// circle finds a file that includes itself.
func (p *parser) circle(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return nil // told of when it is read
	}
	for i, f := range p.open {
		if !os.SameFile(f.info, info) {
			continue
		}
		if i == len(p.open)-1 {
			return fmt.Errorf("%s includes itself: take the line out", f.path)
		}
		var way []string
		for _, by := range p.open[i+1:] {
			way = append(way, by.path)
		}
		return fmt.Errorf("%s includes itself, by way of %s: take one of these lines out", f.path, strings.Join(way, ", "))
	}
	return nil
}

// finish does what needs all lines: tags in patterns, metas, priorities.
func (p *parser) finish() {
	if !p.user || p.whole {
		p.nestNets()
		p.replaceTags()
		p.metas()
		p.sorted = slices.SortedFunc(maps.Values(p.rules), func(a, b *Rule) int { return strings.Compare(a.Name, b.Name) })
	}
	slices.SortStableFunc(p.Problems, func(a, b Problem) int { return strings.Compare(a.File, b.File) })
}
