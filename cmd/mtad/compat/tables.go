package compat

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"mtad/cmd/mtad/maps"
	"mtad/lookup"
)

// newaliases is newaliases(1): it looks at the files of aliases, which are read as they
// are, for errors.
func newaliases(ctx context.Context, env *Env, args []string) int {
	const name = "newaliases"
	opts, _, err := getopt(args, "A:B:C:F:GIL:N:O:R:UV:X:b:c:e:f:h:imno:p:r:q:tvx")
	if err != nil {
		return env.ended(name, exitUsage, err)
	}
	config, verbose := "", false
	for _, o := range opts {
		switch o.flag {
		case 'C', 'c':
			config = o.arg
		case 'v':
			verbose = true
		}
	}
	files, err := env.Aliases(config)
	if err != nil {
		return env.ended(name, exitFatal, err)
	}
	return env.checkFiles(ctx, name, files, true, verbose)
}

// checkFiles looks at tables' files for errors.
func (e *Env) checkFiles(ctx context.Context, name string, specs []string, aliases, verbose bool) int {
	code := 0
	for _, spec := range specs {
		path := spec
		if p, ok := lookup.Path(spec); ok {
			path = p
		}
		note, err := e.checkFile(ctx, name, spec, path, aliases)
		if err != nil {
			for line := range strings.Lines(err.Error()) {
				fmt.Fprintf(e.Err, "%s: fatal: %s\n", name, Clean(strings.TrimRight(line, "\n")))
			}
			code = exitFatal
			continue
		}
		if verbose {
			fmt.Fprintf(e.Out, "%s: %s: %s; no database is needed, the file is read as it is\n", name, Clean(path), note)
		}
	}
	return code
}

func (e *Env) checkFile(ctx context.Context, name, spec, path string, aliases bool) (note string, err error) {
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("open %s: No such file or directory", path)
	}
	if aliases {
		n, err := maps.Aliases(path)
		return fmt.Sprintf("%d aliases", n), err
	}
	note, warnings, err := maps.Test(ctx, typed(spec))
	for _, w := range warnings {
		fmt.Fprintf(e.Err, "%s: warning: %s\n", name, Clean(w))
	}
	return note, err
}

// typed is a table as it is named; without a type it is a file.
func typed(spec string) string {
	if _, _, ok := lookup.Split(spec); ok {
		return spec
	}
	return "file:" + spec
}

// tableFlags are what postmap and postalias know.
type tableFlags struct {
	config, query string
	verbose       bool
	sequence      bool
}

// postmap is postmap(1).
func postmap(ctx context.Context, env *Env, args []string) int {
	return env.tables(ctx, "postmap", args, false)
}

// postalias is postalias(1).
func postalias(ctx context.Context, env *Env, args []string) int {
	return env.tables(ctx, "postalias", args, true)
}

func (e *Env) tables(ctx context.Context, name string, args []string, aliases bool) int {
	opts, rest, err := getopt(args, "bc:d:fFhimnNopq:rsuUvw")
	if err != nil {
		fmt.Fprintf(e.Err, "%s: %v\n", name, err)
		return e.ended(name, exitFatal, fatalf("usage: %s [-Nfinoprsuvw] [-c config_dir] [-d key] [-q key] [map_type:]file...", name))
	}
	f := tableFlags{}
	for _, o := range opts {
		switch o.flag {
		case 'c':
			f.config = o.arg
		case 'q':
			f.query = o.arg
		case 's':
			f.sequence = true
		case 'v':
			f.verbose = true
		case 'd':
			return e.ended(name, exitFatal, fatalf("-d: there is no database to delete from; take the line out of the file"))
		}
	}
	switch {
	case len(rest) == 0:
		return e.ended(name, exitFatal, fatalf("usage: %s [-Nfinoprsuvw] [-c config_dir] [-d key] [-q key] [map_type:]file...", name))
	case f.query != "":
		return e.query(ctx, name, f.query, rest, aliases)
	case f.sequence:
		return e.dump(name, rest)
	}
	var specs []string
	for _, spec := range rest {
		specs = append(specs, typed(spec))
	}
	return e.checkFiles(ctx, name, specs, aliases, f.verbose)
}

// query is -q: "-" reads keys from standard input, and prints each with its value.
func (e *Env) query(ctx context.Context, name, key string, specs []string, aliases bool) int {
	keys, err := maps.Keys([]string{key}, e.In)
	if err != nil {
		return e.ended(name, exitFatal, err)
	}
	found := false
	for _, spec := range specs {
		spec = typed(spec)
		if path, ok := lookup.Path(spec); ok && aliases {
			spec = "aliases:" + path
		}
		answers, err := e.ask(ctx, spec, keys)
		if err != nil {
			return e.ended(name, exitFatal, err)
		}
		for _, a := range answers {
			switch {
			case !a.Found:
				continue
			case key == "-":
				fmt.Fprintf(e.Out, "%s\t%s\n", Clean(a.Key), Clean(a.Value))
			default:
				fmt.Fprintln(e.Out, Clean(a.Value))
			}
			found = true
		}
		if found && key != "-" {
			break
		}
	}
	if !found {
		return exitFatal
	}
	return 0
}

// ask asks a table, or a file of aliases.
func (e *Env) ask(ctx context.Context, spec string, keys []string) ([]maps.Answer, error) {
	if path, ok := strings.CutPrefix(spec, "aliases:"); ok {
		return maps.GetAliases(path, keys)
	}
	return maps.Get(ctx, []string{spec}, keys)
}

// dump is -s: all rows of files.
func (e *Env) dump(name string, specs []string) int {
	for _, spec := range specs {
		path, ok := lookup.Path(typed(spec))
		if !ok {
			return e.ended(name, exitFatal, fatalf("%s: its rows can not be listed", Clean(spec)))
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return e.ended(name, exitFatal, err)
		}
		rows, err := lookup.ParseRows(path, string(text))
		if err != nil {
			return e.ended(name, exitFatal, err)
		}
		for _, r := range rows {
			fmt.Fprintf(e.Out, "%s\t%s\n", Clean(r.Key), Clean(r.Value))
		}
	}
	return 0
}
