package main

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"mtad/admin"
	"mtad/sieve"
)

func newSieve(g *global) *cobra.Command {
	return noun("sieve", "Users' Sieve scripts",
		newSieveList(g), newSieveGet(g), newSievePut(g), newSieveActivate(g), newSieveCheck(), newSieveDelete(g))
}

func newSieveList(g *global) *cobra.Command {
	cmd := &cobra.Command{Use: "list USER", Short: "List a user's scripts", Args: cobra.ExactArgs(1)}
	f := addFormat(cmd)
	cmd.RunE = g.withClient(func(ctx context.Context, c *admin.Client, cmd *cobra.Command, args []string) error {
		scripts, err := c.Scripts(ctx, args[0])
		if err != nil {
			return err
		}
		return printList(cmd.OutOrStdout(), *f, scripts, func(w io.Writer) error {
			var rows [][]string
			for _, s := range scripts {
				active := ""
				if s.Active {
					active = "active"
				}
				rows = append(rows, []string{s.Name, active, strconv.FormatInt(s.Size, 10), s.Changed.Local().Format(time.DateTime)})
			}
			return printTable(w, []string{"SCRIPT", "STATE", "OCTETS", "CHANGED"}, rows)
		})
	})
	return cmd
}

func newSieveGet(g *global) *cobra.Command {
	return &cobra.Command{
		Use: "get USER NAME", Short: "Print a script", Args: cobra.ExactArgs(2),
		RunE: g.withClient(func(ctx context.Context, c *admin.Client, cmd *cobra.Command, args []string) error {
			s, err := c.Script(ctx, args[0], args[1])
			if err != nil {
				return err
			}
			_, err = io.WriteString(cmd.OutOrStdout(), s.Text)
			return err
		}),
	}
}

func newSievePut(g *global) *cobra.Command {
	var activate bool
	cmd := &cobra.Command{
		Use: "put USER NAME [FILE]", Short: "Store a script from a file or standard input, if it is without errors", Args: cobra.RangeArgs(2, 3),
		RunE: g.withClient(func(ctx context.Context, c *admin.Client, cmd *cobra.Command, args []string) error {
			file := "-"
			if len(args) == 3 {
				file = args[2]
			}
			text, err := readArgument(file, cmd.InOrStdin())
			if err != nil {
				return err
			}
			if err := c.PutScript(ctx, args[0], args[1], string(text)); err != nil {
				return err
			}
			done := "stored"
			if activate {
				done = "stored and activated"
				if err := c.ActivateScript(ctx, args[0], args[1]); err != nil {
					return err
				}
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s %s\n", done, clean(args[1]))
			return nil
		}),
	}
	cmd.Flags().BoolVar(&activate, "activate", false, "make it the one that runs")
	return cmd
}

func newSieveActivate(g *global) *cobra.Command {
	var off bool
	cmd := &cobra.Command{
		Use: "activate USER NAME", Short: "Make a script the one that runs; with --none, none runs", Args: cobra.RangeArgs(1, 2),
		RunE: g.withClient(func(ctx context.Context, c *admin.Client, cmd *cobra.Command, args []string) error {
			if off != (len(args) == 1) {
				return exitf(exitUsage, "give the script's name, or --none")
			}
			name := optional(args[1:])
			if err := c.ActivateScript(ctx, args[0], name); err != nil {
				return err
			}
			if off {
				fmt.Fprintln(cmd.OutOrStdout(), "no script runs")
				return nil
			}
			fmt.Fprintf(cmd.OutOrStdout(), "activated %s\n", clean(name))
			return nil
		}),
	}
	cmd.Flags().BoolVar(&off, "none", false, "no script is to run")
	return cmd
}

func newSieveCheck() *cobra.Command {
	return &cobra.Command{
		Use: "check [FILE]", Short: "Tell what is wrong with a script in a file or on standard input", Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			file := "-"
			if len(args) == 1 {
				file = args[0]
			}
			text, err := readArgument(file, cmd.InOrStdin())
			if err != nil {
				return err
			}
			name := file
			if file == "-" {
				name = "the script"
			}
			script, problems := sieve.Compile(string(text), sieve.Options{})
			fmt.Fprint(cmd.ErrOrStderr(), problems.String())
			if script == nil {
				return exitf(exitData, "%s can not run", name)
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s is good\n", name)
			return nil
		},
	}
}

// checkScript is what is wrong with a script, "" if it can run.
func checkScript(text string) string {
	script, problems := sieve.Compile(text, sieve.Options{})
	if script != nil {
		return ""
	}
	return strings.TrimSuffix(problems.String(), "\n")
}

func newSieveDelete(g *global) *cobra.Command {
	return &cobra.Command{
		Use: "delete USER NAME", Short: "Delete a script that is not active", Args: cobra.ExactArgs(2),
		RunE: g.withClient(func(ctx context.Context, c *admin.Client, cmd *cobra.Command, args []string) error {
			if err := c.DeleteScript(ctx, args[0], args[1]); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "deleted %s\n", clean(args[1]))
			return nil
		}),
	}
}
