package sieve

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// Severity is how bad a Problem is.
type Severity uint8

// The severities. A script with an Error is not compiled.
const (
	Error Severity = iota
	Warning
)

// String is "error" or "warning".
func (s Severity) String() string {
	if s == Warning {
		return "warning"
	}
	return "error"
}

// Problem is one thing that is wrong with a script, or suspicious.
type Problem struct {
	Severity Severity
	Line     int    // from 1
	Column   int    // from 1, in characters
	Message  string // what is wrong
	Hint     string // what to do about it; may be empty
	Source   string // the line, at most 200 characters of it
	Width    int    // how many characters of it, from Column on, are meant
}

// Brief is the problem on one line.
func (p Problem) Brief() string {
	s := fmt.Sprintf("%d:%d: %s: %s", p.Line, p.Column, p.Severity, p.Message)
	if p.Hint != "" {
		s += " (" + p.Hint + ")"
	}
	return s
}

// String is the problem with the line it is about and a caret below.
func (p Problem) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d:%d: %s: %s\n", p.Line, p.Column, p.Severity, p.Message)
	if p.Source != "" && p.Column <= utf8.RuneCountInString(p.Source)+1 {
		fmt.Fprintf(&b, "    %s\n    %s\n", p.Source, p.caret())
	}
	if p.Hint != "" {
		fmt.Fprintf(&b, "    %s\n", p.Hint)
	}
	return b.String()
}

// caret stands under the column; tabs are kept so that it really does.
func (p Problem) caret() string {
	var b strings.Builder
	for i, r := range []rune(p.Source) {
		if i >= p.Column-1 {
			break
		}
		if r != '\t' {
			r = ' '
		}
		b.WriteRune(r)
	}
	room := utf8.RuneCountInString(p.Source) - p.Column + 1
	return b.String() + "^" + strings.Repeat("~", max(0, min(p.Width, room)-1))
}

// Problems are all that Compile found, in the order of the script.
type Problems []Problem

// Err is nil if there are only warnings. Its text is the first error, and how
// many more there are.
func (ps Problems) Err() error {
	first, errors := "", 0
	for _, p := range ps {
		if p.Severity != Error {
			continue
		}
		if errors++; errors == 1 {
			first = p.Brief()
		}
	}
	switch errors {
	case 0:
		return nil
	case 1:
		return fmt.Errorf("sieve: %s", first)
	}
	return fmt.Errorf("sieve: %s, and %d more", first, errors-1)
}

// String is every problem with its line and caret.
func (ps Problems) String() string {
	var b strings.Builder
	for _, p := range ps {
		b.WriteString(p.String())
	}
	return b.String()
}

// Bounds of what is reported.
const (
	maxProblems = 25
	maxHints    = 100 // searches for what may have been meant
	maxSource   = 200 // characters of a line
	maxQuoted   = 60  // octets of a name in a message
)

// report collects problems of one script.
type report struct {
	text     string
	problems Problems
	errors   int
	full     bool
	hints    int   // asked for
	unsure   bool  // ihave has named what there is none of: errors are for running
	lines    []int // where each line begins
}

func (r *report) errorf(at span, format string, args ...any) *Problem {
	return r.add(Error, at, fmt.Sprintf(format, args...))
}

func (r *report) warnf(at span, format string, args ...any) *Problem {
	return r.add(Warning, at, fmt.Sprintf(format, args...))
}

// add notes a problem and returns it, for a hint. Past the bound it is lost; the
// last place is for an error, so that warnings never hide why a script is refused.
func (r *report) add(s Severity, at span, message string) *Problem {
	room := maxProblems - 1
	if s == Error {
		r.errors++
		room = maxProblems
	}
	if len(r.problems) >= room {
		r.full = true
		return &Problem{}
	}
	if r.unsure && s == Error { // nobody sees where it is, and there may be many
		r.problems = append(r.problems, Problem{Severity: s, Message: message})
		return &r.problems[len(r.problems)-1]
	}
	line, column, source := r.place(at.start)
	width := utf8.RuneCountInString(r.text[min(at.start, len(r.text)):min(at.end, len(r.text))])
	r.problems = append(r.problems, Problem{Severity: s, Line: line, Column: column, Message: message, Source: source, Width: width})
	return &r.problems[len(r.problems)-1]
}

// sorted are the problems in the order of the script.
func (r *report) sorted() Problems {
	slices.SortStableFunc(r.problems, func(a, b Problem) int {
		if a.Line != b.Line {
			return a.Line - b.Line
		}
		return a.Column - b.Column
	})
	if r.full && len(r.problems) > 0 {
		last := &r.problems[len(r.problems)-1]
		last.Hint = strings.TrimPrefix(last.Hint+"; there are more problems than are shown", "; ")
	}
	return r.problems
}

// place finds the line of an offset.
func (r *report) place(offset int) (line, column int, source string) {
	offset = min(offset, len(r.text))
	line = r.line(offset)
	start, end := r.lines[line-1], len(r.text)
	if line < len(r.lines) {
		end = r.lines[line] - 1
	}
	return line, 1 + utf8.RuneCountInString(r.text[start:offset]), visible(r.text[start:end])
}

// line is the number of the line that an offset is on.
func (r *report) line(offset int) int {
	if r.lines == nil {
		r.lines = append(r.lines, 0)
		for i := range len(r.text) {
			if r.text[i] == '\n' {
				r.lines = append(r.lines, i+1)
			}
		}
	}
	i, found := slices.BinarySearch(r.lines, offset)
	if found {
		return i + 1
	}
	return i
}

// visible is a line of a script as it may be shown on a terminal.
func visible(s string) string {
	s = strings.TrimRight(s, "\r")
	n := 0
	return strings.Map(func(c rune) rune {
		n++
		switch {
		case n > maxSource:
			return -1
		case c == '\t':
			return c
		case c < ' ' || 0x7f <= c && c < 0xa0 || c == utf8.RuneError:
			return '?'
		}
		return c
	}, s)
}

// quoted is a name from a script as messages show it.
func quoted(s string) string {
	if len(s) > maxQuoted {
		s = strings.ToValidUTF8(s[:maxQuoted], "") + "..."
	}
	return fmt.Sprintf("%q", s)
}

// nearest is didYouMean for what a script may hold by the hundred thousand: where
// there are many, the hints would cost more than all the rest, and nobody sees them.
func (r *report) nearest(got string, candidates func() []string) string {
	if r.hints++; r.hints > maxHints {
		return ""
	}
	return didYouMean(got, candidates())
}

// didYouMean is a hint naming the candidate nearest to what was written, "" if
// none is near.
func didYouMean(got string, candidates []string) string {
	best, distance := "", 1+(len(got)+1)/3
	for _, c := range candidates {
		if d := editDistance(got, c, distance); d < distance {
			best, distance = c, d
		}
	}
	if best == "" {
		return ""
	}
	return "did you mean " + best + "?"
}

// editDistance counts insertions, deletions, changes and swaps of neighbours
// (optimal string alignment) between two short words; limit if it is more.
func editDistance(a, b string, limit int) int {
	const longest = 40
	if len(a) > longest || len(b) > longest || a == "" || b == "" {
		return limit
	}
	var rows [longest + 1][longest + 1]int
	for i := range len(a) + 1 {
		rows[i][0] = i
	}
	for j := range len(b) + 1 {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			d := min(rows[i-1][j], rows[i][j-1]) + 1
			change := rows[i-1][j-1]
			if a[i-1] != b[j-1] {
				change++
			}
			d = min(d, change)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				d = min(d, rows[i-2][j-2]+1)
			}
			rows[i][j] = d
		}
	}
	return min(rows[len(a)][len(b)], limit)
}
