package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"reflect"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"mtad/cmd/mtad/compat"
)

// format is the flag -o of every command that reads.
type format string

// addFormat gives a command the flag.
func addFormat(cmd *cobra.Command) *format {
	f := format("table")
	cmd.Flags().VarP(&f, "output", "o", "table, json or ndjson")
	return &f
}

func (f *format) String() string { return string(*f) }

// Type is the flag's placeholder in help texts.
func (f *format) Type() string { return "format" }

// Set checks the flag's value.
func (f *format) Set(s string) error {
	switch s {
	case "table", "json", "ndjson":
		*f = format(s)
		return nil
	}
	return fmt.Errorf("want table, json or ndjson")
}

// printOne prints one thing, by fn if that is to be a table.
func printOne(w io.Writer, f format, v any, fn func(io.Writer) error) error {
	switch f {
	case "json":
		return printJSON(w, v)
	case "ndjson":
		return printLine(w, v)
	}
	return fn(w)
}

// printList prints a list: as JSON one array, as ndjson a line each, else by fn.
func printList[T any](w io.Writer, f format, list []T, fn func(io.Writer) error) error {
	return printAny(w, f, list, fn)
}

// printAny is printList for a slice whose type is not known here.
func printAny(w io.Writer, f format, list any, fn func(io.Writer) error) error {
	switch f {
	case "json":
		return printJSON(w, list)
	case "ndjson":
		v := reflect.ValueOf(list)
		for i := range v.Len() {
			if err := printLine(w, v.Index(i).Interface()); err != nil {
				return err
			}
		}
		return nil
	}
	return fn(w)
}

func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// printLine prints a value as JSON on one line.
func printLine(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// printTable prints a line of headings and a line for each row. Cells are made
// safe for terminals.
func printTable(w io.Writer, head []string, rows [][]string) error {
	s := stream{w: w, f: "table", head: head}
	for _, row := range rows {
		if err := s.add(nil, row); err != nil {
			return err
		}
	}
	return s.end()
}

// stream prints a list that comes piece by piece, and may be long. Columns are
// aligned for a thousand rows at a time.
type stream struct {
	w    io.Writer
	f    format
	head []string
	n    int
	buf  *bufio.Writer // of w
	tw   *tabwriter.Writer
}

const streamRows = 1000

// add prints a value, or the row that it is in a table.
func (s *stream) add(v any, row []string) error {
	s.begin()
	s.n++
	switch s.f {
	case "json":
		b := &bytes.Buffer{}
		if err := printJSON(b, v); err != nil {
			return err
		}
		text := strings.ReplaceAll(strings.TrimSuffix(b.String(), "\n"), "\n", "\n  ")
		_, err := s.buf.WriteString(map[bool]string{true: "[\n  ", false: ",\n  "}[s.n == 1] + text)
		return err
	case "ndjson":
		return printLine(s.buf, v)
	}
	if s.n == 1 {
		s.cells(s.head)
	}
	s.cells(row)
	if s.n%streamRows == 0 {
		return s.tw.Flush()
	}
	return nil
}

func (s *stream) begin() {
	if s.buf == nil {
		s.buf = bufio.NewWriter(s.w)
		s.tw = tabwriter.NewWriter(s.buf, 0, 0, 2, ' ', 0)
	}
}

func (s *stream) cells(row []string) {
	for i, cell := range row {
		cell = clean(cell)
		if cell == "" {
			cell = "-"
		}
		if i < len(row)-1 {
			cell += "\t"
		}
		io.WriteString(s.tw, cell) // Flush says what became of it
	}
	io.WriteString(s.tw, "\n")
}

// end prints what is to stand at the end.
func (s *stream) end() error {
	s.begin()
	switch {
	case s.f == "ndjson":
	case s.f == "json" && s.n == 0:
		s.buf.WriteString("[]\n")
	case s.f == "json":
		s.buf.WriteString("\n]\n")
	case s.n == 0:
		s.cells(s.head)
	}
	if err := s.tw.Flush(); err != nil {
		return err
	}
	return s.buf.Flush()
}

// clean makes text from anywhere fit for one line of a terminal.
func clean(s string) string { return compat.Clean(s) }

// colored reports whether w is a terminal that may be coloured.
func colored(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" && term.IsTerminal(int(f.Fd()))
}

// colors for what is good, bad, in doubt, and less important.
const (
	colorGood = "\x1b[32m"
	colorBad  = "\x1b[31m"
	colorWarn = "\x1b[33m"
	colorDim  = "\x1b[2m"
	colorOff  = "\x1b[0m"
)

// ago is a time as a distance: "3m", "2h", "4d".
func ago(d time.Duration) string {
	switch {
	case d < 0:
		return "now"
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}

// took is how long something lasted, with three digits or so.
func took(d time.Duration) string {
	switch {
	case d < 10*time.Microsecond:
		return "<0.01 ms"
	case d < time.Millisecond:
		return fmt.Sprintf("%.2f ms", float64(d)/float64(time.Millisecond))
	case d < 10*time.Millisecond:
		return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond))
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < time.Minute:
		return fmt.Sprintf("%.1f s", d.Seconds())
	}
	return ago(d)
}
