// Package logical reads the lines of Postfix's files: those that begin with white
// space go on with the one before, also after comments.
package logical

import "strings"

// Line is a logical line.
type Line struct {
	Number int // of its first line
	Text   string
}

// Lines reads logical lines, whose parts are joined by glue. Empty lines, and those
// whose first character besides white space is "#", are left out.
func Lines(text, glue string) []Line {
	var out []Line
	number := 0
	for line := range strings.Lines(text) {
		number++
		line = strings.TrimRight(line, " \t\r\n")
		bare := strings.TrimLeft(line, " \t")
		switch {
		case bare == "" || bare[0] == '#':
		case len(bare) < len(line) && len(out) > 0:
			out[len(out)-1].Text += glue + line
		default:
			out = append(out, Line{number, bare})
		}
	}
	return out
}
