package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"github.com/spf13/cobra"

	"mtad/aliases"
	"mtad/cmd/mtad/maps"
	"mtad/lookup"
)

func newMap(g *global) *cobra.Command {
	return noun("map", "Lookup tables: what they say, and what is wrong with them", newMapGet(g), newMapTest(g))
}

func newMapGet(g *global) *cobra.Command {
	cmd := &cobra.Command{
		Use: "get TABLE KEY...", Short: "Ask a table, or the tables of a setting, for keys", Args: cobra.MinimumNArgs(2),
		Long: "Ask a table for keys, as postmap -q does: \"file:/etc/mtad/virtual\", \"pgsql:/etc/mtad/users.cf\".\n" +
			"Instead of a table the name of a setting may stand: its tables are asked in order.\n" +
			"- as the only key reads keys from standard input, one a line. Exits 1 if one is not there.",
	}
	f := addFormat(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		specs, err := g.tables(args[0])
		if err != nil {
			return err
		}
		keys, err := maps.Keys(args[1:], cmd.InOrStdin())
		if err != nil {
			return &exitError{exitIO, err}
		}
		answers, err := maps.Get(cmd.Context(), specs, keys)
		if err != nil {
			return tableError(err)
		}
		missing := 0
		err = printList(cmd.OutOrStdout(), *f, answers, func(w io.Writer) error {
			out := &lines{w: w}
			for _, a := range answers {
				switch {
				case a.Found && len(answers) == 1:
					out.printf("%s\n", clean(a.Value))
				case a.Found:
					out.printf("%s\t%s\n", clean(a.Key), clean(a.Value))
				}
			}
			return out.err
		})
		for _, a := range answers {
			if !a.Found {
				missing++
			}
		}
		if err == nil && missing > 0 {
			err = exitf(exitNo, "%d of %d keys are not there", missing, len(answers))
		}
		return err
	}
	return cmd
}

func newMapTest(g *global) *cobra.Command {
	return &cobra.Command{
		Use: "test TABLE|SETTING", Short: "Tell what is wrong with a table", Args: cobra.ExactArgs(1),
		Long: "Tell what is wrong with a table, or with the tables of a setting: files are read, with rows\n" +
			"that do not count as warnings; databases and daemons are asked for a key that is not there.",
		RunE: func(cmd *cobra.Command, args []string) error {
			specs, err := g.tables(args[0])
			if err != nil {
				return err
			}
			for _, spec := range specs {
				note, warnings, err := testTable(cmd, spec, args[0] == "aliases")
				for _, w := range warnings {
					fmt.Fprintln(cmd.ErrOrStderr(), "warning:", clean(w))
				}
				if err != nil {
					return tableError(err)
				}
				fmt.Fprintf(cmd.OutOrStdout(), "%s: %s\n", clean(spec), note)
			}
			return nil
		},
	}
}

// tableError says of a table that can not be asked whether its file is missing or
// wrong; else it may be there later.
func tableError(err error) error {
	var line *lookup.LineError
	var entry *aliases.Error
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return &exitError{exitNoInput, err}
	case errors.As(err, &line) || errors.As(err, &entry):
		return &exitError{exitConfig, err}
	}
	return &exitError{exitTemp, err}
}

// testTable tests one table; those of aliases are files of their own form.
func testTable(cmd *cobra.Command, spec string, ofAliases bool) (string, []string, error) {
	path, file := lookup.Path(spec)
	if !ofAliases || !file {
		return maps.Test(cmd.Context(), spec)
	}
	n, err := maps.Aliases(path)
	return fmt.Sprintf("%d aliases", n), nil, err
}

// tables are the tables of a setting, or the one that is named.
func (g *global) tables(name string) ([]string, error) {
	if _, _, ok := lookup.Split(name); ok {
		return []string{name}, nil
	}
	if strings.ContainsRune(name, ':') {
		_, err := lookup.Open(name, lookup.Options{})
		return nil, &exitError{exitUsage, err}
	}
	path, err := g.configPath()
	if err != nil {
		return nil, err
	}
	c, err := loadConfig(path)
	if err != nil {
		return nil, err
	}
	specs, ok := c.top.Tables()[name]
	switch {
	case !ok:
		return nil, exitf(exitUsage, "%q is neither a table, TYPE:NAME, nor a setting that has tables", name)
	case len(specs) == 0:
		return nil, exitf(exitNo, "%s names no table", name)
	}
	return specs, nil
}
