package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/hashicorp/hcl/v2"
)

// Range is a place in a configuration file. Lines and columns count from 1,
// columns in characters. The zero Range is nowhere.
type Range struct {
	File      string
	Line, Col int
	End       int // column after the last character; 0 if the place ends on a later line
}

// String is file:line:col, as editors and compilers write it.
func (r Range) String() string {
	if r.Line == 0 {
		return r.File
	}
	return r.File + ":" + strconv.Itoa(r.Line) + ":" + strconv.Itoa(r.Col)
}

// Diagnostic is one thing wrong with a configuration, for a person to read. It
// is an error.
type Diagnostic struct {
	Pos     Range
	Message string
	Hint    string // what to do: `did you mean "timeout"?`; may be empty
	Source  string // the line at Pos, with secrets removed; may be empty
}

// Error is position, message and hint on one line.
func (d *Diagnostic) Error() string {
	text := d.Message
	if at := d.Pos.String(); at != "" {
		text = at + ": " + text
	}
	if d.Hint != "" {
		text += " (" + d.Hint + ")"
	}
	return text
}

// Diagnostics are all things found wrong in one run, in the order of the files.
type Diagnostics []*Diagnostic

// Err returns nil if there are none, else d.
func (d Diagnostics) Err() error {
	if len(d) == 0 {
		return nil
	}
	return d
}

// Error is what Write writes, without colour and the final newline.
func (d Diagnostics) Error() string {
	var b strings.Builder
	d.Write(&b, false)
	return strings.TrimSuffix(b.String(), "\n")
}

// Add appends the diagnostics in err, wrapped or joined; an error that holds
// none becomes one without a position. nil is ignored.
func (d *Diagnostics) Add(err error) {
	switch e := err.(type) { //nolint:errorlint // it unwraps by itself
	case nil:
	case *Diagnostic:
		*d = append(*d, e)
	case Diagnostics:
		*d = append(*d, e...)
	case interface{ Unwrap() []error }:
		for _, one := range e.Unwrap() {
			d.Add(one)
		}
	default:
		d.addWrapped(err)
	}
}

func (d *Diagnostics) addWrapped(err error) {
	var one *Diagnostic
	var many Diagnostics
	if errors.As(err, &one) || errors.As(err, &many) {
		d.Add(errors.Unwrap(err))
		return
	}
	*d = append(*d, &Diagnostic{Message: err.Error()})
}

// palette holds the terminal sequences around parts of a diagnostic.
type palette struct{ place, caret, hint, off string }

// Write writes each diagnostic as position and message, the line with a caret
// under the place, and the hint. Errors of w are ignored.
func (d Diagnostics) Write(w io.Writer, color bool) {
	var p palette
	if color {
		p = palette{place: "\x1b[1m", caret: "\x1b[31m", hint: "\x1b[36m", off: "\x1b[0m"}
	}
	for _, one := range d {
		one.write(w, p)
	}
}

func (d *Diagnostic) write(w io.Writer, p palette) {
	at := d.Pos.String()
	if at != "" {
		at = p.place + at + ":" + p.off + " "
	}
	fmt.Fprintf(w, "%s%s\n", at, d.Message)
	if d.Source != "" {
		fmt.Fprintf(w, "    %s\n    %s%s%s\n", d.Source, p.caret, d.underline(), p.off)
	}
	if d.Hint != "" {
		fmt.Fprintf(w, "%s%s%s\n", p.hint, d.Hint, p.off)
	}
}

// underline is the line below Source: tabs kept so that carets stand where
// they should, then a caret for every character of the place.
func (d *Diagnostic) underline() string {
	line := []rune(d.Source)
	start := min(max(d.Pos.Col-1, 0), len(line))
	end := min(max(d.Pos.End-1, start+1), max(len(line), start+1))
	var b strings.Builder
	for _, r := range line[:start] {
		if r != '\t' {
			r = ' '
		}
		b.WriteRune(r)
	}
	b.WriteString(strings.Repeat("^", end-start))
	return b.String()
}

// sortDiagnostics orders by file as loaded, then by place.
func sortDiagnostics(d Diagnostics, files []string) {
	slices.SortStableFunc(d, func(a, b *Diagnostic) int {
		if c := slices.Index(files, a.Pos.File) - slices.Index(files, b.Pos.File); c != 0 {
			return c
		}
		if a.Pos.Line != b.Pos.Line {
			return a.Pos.Line - b.Pos.Line
		}
		return a.Pos.Col - b.Pos.Col
	})
}

// source is the text of one file and what must not be quoted from it.
type source struct {
	name    string
	text    []byte
	secrets *regexp.Regexp // an assignment to a secret option; nil if there is none
}

// maxQuoted bounds the characters of a source line that are shown.
const maxQuoted = 200

func (s *source) diag(r hcl.Range, format string, args ...any) *Diagnostic {
	return &Diagnostic{Pos: toRange(r), Message: fmt.Sprintf(format, args...), Source: s.line(r)}
}

// line is the line at which r starts, cut short where a secret begins.
func (s *source) line(r hcl.Range) string {
	if r.Start.Byte > len(s.text) {
		return ""
	}
	start := bytes.LastIndexByte(s.text[:r.Start.Byte], '\n') + 1
	text, _, _ := bytes.Cut(s.text[start:], []byte("\n"))
	line := strings.TrimRight(string(text), "\r")
	if s.secrets != nil {
		if s.inSecretHeredoc(start) {
			return redacted
		}
		if at := s.secrets.FindStringIndex(line); at != nil {
			line = line[:at[1]] + " " + redacted
		}
	}
	line = strings.Map(printable, line)
	if runes := []rune(line); len(runes) > maxQuoted {
		line = string(runes[:maxQuoted])
	}
	return line
}

var heredoc = regexp.MustCompile(`^[ \t]*<<-?[ \t]*([^\s]+)`)

// inSecretHeredoc reports whether the line at offset start is inside a heredoc
// that is the value of a secret option.
func (s *source) inSecretHeredoc(start int) bool {
	all := s.secrets.FindAllIndex(s.text[:start], -1)
	if len(all) == 0 {
		return false
	}
	value := s.text[all[len(all)-1][1]:start]
	marker := heredoc.FindSubmatch(value)
	if marker == nil {
		return false
	}
	for line := range bytes.Lines(value) {
		if bytes.Equal(bytes.TrimSpace(line), marker[1]) {
			return false
		}
	}
	return true
}

// printable keeps control characters of a file off the terminal.
func printable(r rune) rune {
	if r != '\t' && (r < ' ' || r >= 0x7f && r < 0xa0) {
		return '?'
	}
	return r
}

func toRange(r hcl.Range) Range {
	out := Range{File: r.Filename, Line: r.Start.Line, Col: r.Start.Column}
	if r.End.Line == r.Start.Line {
		out.End = r.End.Column
	}
	return out
}

// didYouMean is the hint for a misspelt word, or "".
func didYouMean(word string, known []string) string {
	if s := suggest(word, known); s != "" {
		return fmt.Sprintf("did you mean %q?", s)
	}
	return ""
}

// Redact hides secrets in text that is, or was made of, a configuration's: what
// follows the name of a secret option on its line.
func (s Schema) Redact(text string) string {
	secrets := secretNames(s.root())
	if secrets == nil {
		return text
	}
	var b strings.Builder
	for line := range strings.Lines(text) {
		if at := secrets.FindStringIndex(line); at != nil {
			line = line[:at[1]] + " " + redacted + "\n"
		}
		b.WriteString(line)
	}
	return b.String()
}

// secretNames matches an assignment to any secret option of the schema, down
// to and including its equals sign.
func secretNames(root *BlockType) *regexp.Regexp {
	var names []string
	root.visit("", func(_ string, t, _ *BlockType) {
		for i := range t.Options {
			if o := &t.Options[i]; o.IsSecret() {
				names = append(names, regexp.QuoteMeta(o.Name))
			}
		}
	})
	if len(names) == 0 {
		return nil
	}
	slices.Sort(names)
	return regexp.MustCompile(`\b(?:` + strings.Join(slices.Compact(names), "|") + `)"?\s*[=:]`)
}
