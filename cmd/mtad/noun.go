package main

import (
	"strings"

	"github.com/spf13/cobra"
)

// noun is a command that only holds others. By itself it shows its help; what
// it does not know is an error.
func noun(name, short string, verbs ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{
		Use: name, Short: short,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return cmd.Help()
			}
			hint := "`" + cmd.CommandPath() + " --help` shows what there is"
			if s := cmd.SuggestionsFor(args[0]); len(s) > 0 {
				hint = "did you mean " + strings.Join(s, " or ") + "?"
			}
			return exitf(exitUsage, "unknown command %q for %q; %s", args[0], cmd.CommandPath(), hint)
		},
		SuggestionsMinimumDistance: 2,
	}
	cmd.AddCommand(verbs...)
	return cmd
}
