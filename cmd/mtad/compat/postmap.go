package compat

import (
	"context"
	"fmt"
	"os"
	"strings"

	"mtad/aliases"
	"mtad/cmd/mtad/maps"
	"mtad/lookup"
)

// postmap checks tables, or asks them: there is no database to make, the files are
// read as they are.
func postmap(ctx context.Context, e *Env, args []string) int {
	return e.tables(ctx, "postmap", args, mapKind{
		ask: func(ctx context.Context, spec string, keys []string) ([]maps.Answer, error) {
			return maps.Get(ctx, []string{spec}, keys)
		},
		check: func(ctx context.Context, spec string) ([]string, error) {
			_, warnings, err := maps.Test(ctx, spec)
			return warnings, err
		},
		rows: func(path string) ([][2]string, error) {
			text, err := os.ReadFile(path)
			if err != nil {
				return nil, err
			}
			all, err := lookup.ParseRows(path, string(text))
			var out [][2]string
			for _, r := range all {
				out = append(out, [2]string{r.Key, r.Value})
			}
			return out, err
		},
	})
}

// postalias does so with files in the form of aliases(5).
func postalias(ctx context.Context, e *Env, args []string) int {
	return e.tables(ctx, "postalias", args, mapKind{
		ask: func(_ context.Context, spec string, keys []string) ([]maps.Answer, error) {
			_, path, _ := lookup.Split(spec)
			rows, err := aliasRows(path)
			var out []maps.Answer
			for _, k := range keys {
				a := maps.Answer{Key: k}
				for _, r := range rows {
					if strings.EqualFold(r[0], k) {
						a.Found, a.Value = true, r[1]
					}
				}
				out = append(out, a)
			}
			return out, err
		},
		check: func(_ context.Context, spec string) ([]string, error) {
			_, path, _ := lookup.Split(spec)
			_, err := maps.Aliases(path)
			return nil, err
		},
		rows: aliasRows,
	})
}

func aliasRows(path string) ([][2]string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	entries, errs := aliases.Parse(path, string(text))
	if len(errs) > 0 {
		return nil, errs[0]
	}
	var out [][2]string
	for _, en := range entries {
		var targets []string
		for _, t := range en.Targets {
			targets = append(targets, t.String())
		}
		out = append(out, [2]string{en.Name, strings.Join(targets, ", ")})
	}
	return out, nil
}

// newaliases checks the files of the setting aliases.
func newaliases(_ context.Context, e *Env, args []string) int {
	opts, rest, err := getopt(args, "vC:c:o:")
	if err == nil && len(rest) > 0 {
		err = fatalf("usage: newaliases")
	}
	config := ""
	for _, o := range opts {
		if o.flag == 'c' || o.flag == 'C' {
			config = o.arg
		}
	}
	var specs []string
	if err == nil {
		specs, err = e.Aliases(config)
	}
	for _, spec := range specs {
		path, ok := lookup.Path(spec)
		if !ok || err != nil {
			continue
		}
		if _, err = maps.Aliases(path); err != nil {
			break
		}
	}
	return e.ended("newaliases", exitFatal, err)
}

// mapKind is what postmap and postalias do differently.
type mapKind struct {
	ask   func(ctx context.Context, spec string, keys []string) ([]maps.Answer, error)
	check func(ctx context.Context, spec string) (warnings []string, err error)
	rows  func(path string) ([][2]string, error)
}

// tables is postmap(1) and postalias(1).
func (e *Env) tables(ctx context.Context, name string, args []string, k mapKind) int {
	opts, rest, err := getopt(args, "c:d:finNopq:rsuvwbhmF")
	key, ask, dump := "", false, false
	for _, o := range opts {
		switch o.flag {
		case 'q':
			key, ask = o.arg, true
		case 's':
			dump = true
		case 'd':
			err = fatalf("-d: rows are taken out of the file itself")
		}
	}
	if err == nil && len(rest) == 0 {
		err = fatalf("usage: %s [-q key] [-s] [file_type:]file_name...", name)
	}
	found := true
	for i, file := range rest {
		if err != nil {
			break
		}
		if _, _, ok := lookup.Split(file); !ok {
			rest[i] = "file:" + file
		}
		switch {
		case ask:
			found, err = e.ask(ctx, k, rest[i], key)
		case dump:
			err = e.dump(k, rest[i])
		default:
			var warnings []string
			warnings, err = k.check(ctx, rest[i])
			for _, w := range warnings {
				fmt.Fprintf(e.Err, "%s: warning: %s\n", name, Clean(w))
			}
		}
		if ask && found {
			break // the first table that has the key
		}
	}
	if err == nil && !found {
		return exitFatal
	}
	return e.ended(name, exitFatal, err)
}

// ask prints a key's value; with "-" as the key, those of the keys on standard
// input.
func (e *Env) ask(ctx context.Context, k mapKind, spec, key string) (found bool, err error) {
	keys, err := maps.Keys([]string{key}, e.In)
	if err != nil {
		return false, err
	}
	answers, err := k.ask(ctx, spec, keys)
	for _, a := range answers {
		switch {
		case a.Found && key == "-":
			fmt.Fprintf(e.Out, "%s\t%s\n", Clean(a.Key), Clean(a.Value))
		case a.Found:
			fmt.Fprintln(e.Out, Clean(a.Value))
		}
		found = found || a.Found
	}
	return found, err
}

func (e *Env) dump(k mapKind, spec string) error {
	path, ok := lookup.Path(spec)
	if !ok {
		return fatalf("%s has no rows that could be listed", spec)
	}
	rows, err := k.rows(path)
	for _, r := range rows {
		fmt.Fprintf(e.Out, "%s\t%s\n", Clean(r[0]), Clean(r[1]))
	}
	return err
}
