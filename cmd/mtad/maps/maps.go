// Package maps is what `mtad map` and its kin do: ask lookup tables by hand, and
// look for what is wrong with the files behind them.
package maps

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"mtad/aliases"
	"mtad/lookup"
)

// Answer is what a table says of a key.
type Answer struct {
	Key   string `json:"key"`
	Found bool   `json:"found"`
	Value string `json:"value,omitempty"`
	Table string `json:"table,omitempty"` // the one that had it
}

// Get asks tables, in order, for whole keys.
func Get(ctx context.Context, specs, keys []string) (out []Answer, err error) {
	tables, err := lookup.OpenAll(specs, lookup.Options{})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, tables.Close()) }()
	for _, key := range keys {
		a := Answer{Key: key}
		for i, t := range tables {
			value, ok, err := t.Lookup(ctx, key)
			if err != nil {
				return out, err
			}
			if ok {
				a.Found, a.Value, a.Table = true, value, specs[i]
				break
			}
		}
		out = append(out, a)
	}
	return out, nil
}

// probe is a key that no table has.
const probe = "mtad-map-test@probe.invalid"

// Test says what is wrong with a table: an error where it can not be used, and
// warnings of what will not do what it seems to. note is what was found.
func Test(ctx context.Context, spec string) (note string, warnings []string, err error) {
	t, err := lookup.Open(spec, lookup.Options{})
	if err != nil {
		return "", nil, err
	}
	defer func() { err = errors.Join(err, t.Close()) }()
	if _, _, err := t.Lookup(ctx, probe); err != nil {
		return "", nil, err
	}
	typ, name, _ := lookup.Split(spec)
	if !slices.Contains(lookup.SourceTypes(), typ) {
		return "it answers", nil, nil
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return "", nil, err
	}
	n, warnings, err := rows(name, string(text))
	return fmt.Sprintf("%d rows", n), warnings, err
}

// rows looks at a file in the source form of postmap(1).
func rows(path, text string) (n int, warnings []string, err error) {
	all, err := lookup.ParseRows(path, text)
	if err != nil {
		return 0, nil, err
	}
	first := map[string]int{}
	for _, r := range all {
		switch line, twice := first[r.Key]; {
		case twice:
			warnings = append(warnings, fmt.Sprintf("%s:%d: %s is there already, in line %d, which counts", path, r.Line, r.Key, line))
			continue
		case r.Value == "":
			warnings = append(warnings, fmt.Sprintf("%s:%d: %s has no value", path, r.Line, r.Key))
		case strings.HasSuffix(r.Key, ":"):
			warnings = append(warnings, fmt.Sprintf("%s:%d: the key %s ends in a colon; is this a file of aliases?", path, r.Line, r.Key))
		}
		first[r.Key] = r.Line
	}
	return len(first), warnings, nil
}

// Aliases looks at a file in the form of aliases(5). The errors have the lines.
func Aliases(path string) (n int, err error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	if len(text) > aliases.MaxFile {
		return 0, fmt.Errorf("%s has %d octets; at most %d are read", path, len(text), aliases.MaxFile)
	}
	entries, errs := aliases.Parse(path, string(text))
	for _, e := range entries {
		for _, t := range e.Targets {
			if t.Kind == aliases.Include {
				errs = append(errs, included(path, e, t.Text)...)
			}
		}
	}
	return len(entries), errors.Join(errs...)
}

// included looks at a file that an alias includes; one that is not there, or can
// not be read, puts mail off.
func included(path string, e aliases.Entry, file string) []error {
	text, err := os.ReadFile(file)
	if err != nil {
		return []error{&aliases.Error{Path: path, Line: e.Line, Text: fmt.Sprintf("%s: %v", e.Name, err)}}
	}
	_, errs := aliases.ParseList(file, string(text))
	return errs
}

// Keys are the keys that were given; "-" alone means those on standard input, one
// a line.
func Keys(args []string, stdin io.Reader) ([]string, error) {
	if !slices.Equal(args, []string{"-"}) {
		return args, nil
	}
	text, err := io.ReadAll(io.LimitReader(stdin, 16<<20))
	var out []string
	for line := range strings.Lines(string(text)) {
		if key := strings.TrimRight(line, "\r\n"); key != "" {
			out = append(out, key)
		}
	}
	return out, err
}
