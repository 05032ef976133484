package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"mtad/config"
	"mtad/pipeline"
	"mtad/plugins"
)

func newFilter() *cobra.Command {
	return noun("filter", "The types of filters", newFilterList(), newFilterDoc())
}

// filterKind is a type of filter as -o json shows it.
type filterKind struct {
	Name   string `json:"name"`
	Stages string `json:"stages"`
	Doc    string `json:"doc"`
}

func newFilterList() *cobra.Command {
	cmd := &cobra.Command{Use: "list", Short: "List the types of filters that there are", Args: cobra.NoArgs}
	f := addFormat(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		var kinds []filterKind
		var rows [][]string
		for _, k := range plugins.Kinds(plugins.Deps{}) {
			kinds = append(kinds, filterKind{k.Name, k.Stages.String(), k.Doc})
			rows = append(rows, []string{k.Name, k.Stages.String(), k.Doc})
		}
		return printList(cmd.OutOrStdout(), *f, kinds, func(w io.Writer) error {
			return printTable(w, []string{"TYPE", "STAGES", "WHAT IT DOES"}, rows)
		})
	}
	return cmd
}

func newFilterDoc() *cobra.Command {
	return &cobra.Command{
		Use: "doc TYPE", Short: "Describe a type of filter and its options", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			k, ok := findKind(plugins.Deps{}, args[0])
			if !ok {
				return exitf(exitNo, "no filter %q; `mtad filter list` shows what there is", args[0])
			}
			return printKind(cmd.OutOrStdout(), k)
		},
	}
}

func printKind(w io.Writer, k pipeline.Kind) error {
	out := &lines{w: w}
	out.printf("filter %q\n\n%s\nStages: %s.\n", k.Name, k.Doc, k.Stages)
	if out.err != nil {
		return out.err
	}
	for _, o := range k.Options {
		out.printf("\n")
		if out.err == nil {
			out.err = config.Explain(w, schema(), nil, "filter."+k.Name+"."+o.Name)
		}
	}
	out.printf("\nBesides, every filter has: ")
	for i, o := range stepOptions {
		if i > 0 {
			out.printf(", ")
		}
		out.printf("%s", o.Name)
	}
	if out.err != nil {
		return out.err
	}
	_, err := fmt.Fprintln(w, ". `mtad config explain filter.when` tells of them.")
	return err
}
