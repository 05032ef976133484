// Package script is the commands that deal with users' scripts: those that keep
// them in the store, in any language, and what `mtad lua` has besides.
package script

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"mtad/admin"
)

// Env is what commands have from the program they are part of.
type Env struct {
	// WithClient makes a command's function of one that talks to the server.
	WithClient func(fn func(ctx context.Context, c *admin.Client, cmd *cobra.Command, args []string) error) func(*cobra.Command, []string) error
	// Output gives a command the flag -o. What it returns prints a list, as a
	// table by head and rows.
	Output func(cmd *cobra.Command) func(w io.Writer, list any, head []string, rows [][]string) error
	// Read reads a file of at most some megabytes; "-" is in.
	Read func(name string, in io.Reader) ([]byte, error)
	// Clean makes text from anywhere fit for a line of a terminal.
	Clean func(string) string
	// Fail is an error with an exit code.
	Fail func(code int, format string, args ...any) error
}

// Exit codes.
const (
	exitNo    = 1
	exitUsage = 64
	exitData  = 65
)

// Stored are the commands that keep scripts of a language in the store.
func Stored(language string, env *Env) []*cobra.Command {
	return []*cobra.Command{newList(language, env), newGet(language, env), newPut(language, env), newActivate(language, env), newDeactivate(language, env), newDelete(language, env)}
}

func newList(language string, env *Env) *cobra.Command {
	cmd := &cobra.Command{Use: "list USER", Short: "List a user's scripts", Args: cobra.ExactArgs(1)}
	show := env.Output(cmd)
	cmd.RunE = env.WithClient(func(ctx context.Context, c *admin.Client, cmd *cobra.Command, args []string) error {
		scripts, err := c.Scripts(ctx, language, args[0])
		if err != nil {
			return err
		}
		var rows [][]string
		for _, s := range scripts {
			active := ""
			if s.Active {
				active = "active"
			}
			rows = append(rows, []string{s.Name, active, strconv.FormatInt(s.Size, 10), s.Changed.Local().Format(time.DateTime)})
		}
		return show(cmd.OutOrStdout(), scripts, []string{"SCRIPT", "STATE", "OCTETS", "CHANGED"}, rows)
	})
	return cmd
}

func newGet(language string, env *Env) *cobra.Command {
	return &cobra.Command{
		Use: "get USER NAME", Short: "Print a script", Args: cobra.ExactArgs(2),
		RunE: env.WithClient(func(ctx context.Context, c *admin.Client, cmd *cobra.Command, args []string) error {
			s, err := c.Script(ctx, language, args[0], args[1])
			if err != nil {
				return err
			}
			_, err = io.WriteString(cmd.OutOrStdout(), s.Text)
			return err
		}),
	}
}

func newPut(language string, env *Env) *cobra.Command {
	var activate bool
	cmd := &cobra.Command{
		Use: "put USER NAME [FILE]", Short: "Store a script from a file or standard input, if it is without errors", Args: cobra.RangeArgs(2, 3),
		RunE: func(cmd *cobra.Command, args []string) error {
			text, err := env.Read(fileArgument(args[2:]), cmd.InOrStdin())
			if err != nil {
				return err
			}
			if !utf8.Valid(text) {
				return env.Fail(exitData, "the script is not UTF-8; iconv(1) can make it so")
			}
			return env.WithClient(func(ctx context.Context, c *admin.Client, cmd *cobra.Command, args []string) error {
				if err := c.PutScript(ctx, language, args[0], args[1], string(text)); err != nil {
					return err
				}
				done := "stored"
				if activate {
					done = "stored and activated"
					if err := c.ActivateScript(ctx, language, args[0], args[1]); err != nil {
						return err
					}
				}
				fmt.Fprintf(cmd.OutOrStdout(), "%s %s\n", done, env.Clean(args[1]))
				return nil
			})(cmd, args)
		},
	}
	cmd.Flags().BoolVar(&activate, "activate", false, "make it the one that runs")
	return cmd
}

// fileArgument is the file that a command's last argument names; standard input
// if it is missing.
func fileArgument(args []string) string {
	if len(args) == 0 {
		return "-"
	}
	return args[0]
}

func newActivate(language string, env *Env) *cobra.Command {
	var off bool
	cmd := &cobra.Command{
		Use: "activate USER NAME", Short: "Make a script the one that runs; with --none, none runs", Args: cobra.RangeArgs(1, 2),
		RunE: env.WithClient(func(ctx context.Context, c *admin.Client, cmd *cobra.Command, args []string) error {
			if off != (len(args) == 1) || !off && args[1] == "" {
				return env.Fail(exitUsage, "give the script's name, or --none")
			}
			name := ""
			if !off {
				name = args[1]
			}
			if err := c.ActivateScript(ctx, language, args[0], name); err != nil {
				return err
			}
			if off {
				fmt.Fprintln(cmd.OutOrStdout(), "no script runs")
				return nil
			}
			fmt.Fprintf(cmd.OutOrStdout(), "activated %s\n", env.Clean(name))
			return nil
		}),
	}
	cmd.Flags().BoolVar(&off, "none", false, "no script is to run")
	return cmd
}

func newDeactivate(language string, env *Env) *cobra.Command {
	return &cobra.Command{
		Use: "deactivate USER", Short: "Have no script run", Args: cobra.ExactArgs(1),
		RunE: env.WithClient(func(ctx context.Context, c *admin.Client, cmd *cobra.Command, args []string) error {
			if err := c.ActivateScript(ctx, language, args[0], ""); err != nil {
				return err
			}
			fmt.Fprintln(cmd.OutOrStdout(), "no script runs")
			return nil
		}),
	}
}

func newDelete(language string, env *Env) *cobra.Command {
	return &cobra.Command{
		Use: "delete USER NAME", Short: "Delete a script that is not active", Args: cobra.ExactArgs(2),
		RunE: env.WithClient(func(ctx context.Context, c *admin.Client, cmd *cobra.Command, args []string) error {
			if err := c.DeleteScript(ctx, language, args[0], args[1]); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "deleted %s\n", env.Clean(args[1]))
			return nil
		}),
	}
}
