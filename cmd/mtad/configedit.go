package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os/exec"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"mtad/cmd/mtad/edit"
	"mtad/config"
)

func newConfigChanges(g *global) []*cobra.Command {
	return []*cobra.Command{
		newConfigSet(g, false), newConfigSet(g, true), newConfigEdit(g), newConfigFormat(g), newConfigHistory(g), newConfigDiff(g), newConfigRollback(g),
	}
}

func editEnv() *edit.Env {
	return &edit.Env{
		Load: func(path string, o config.Options) (*config.File, error) {
			c, err := loadConfigWith(path, o)
			if err != nil {
				return nil, err
			}
			return c.file, nil
		},
		Check: checkFiles, Redact: schema().Redact, Now: time.Now,
	}
}

// changing is a command that changes the configuration, and puts the change in
// force if it is told to.
func (g *global) changing(cmd *cobra.Command, change func(env *edit.Env, path string, args []string) (done string, err error)) *cobra.Command {
	reload := cmd.Flags().Bool("reload", false, "put the change in force at once, as `mtad reload` does")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		path, err := g.configPath()
		if err != nil {
			return err
		}
		done, err := change(editEnv(), path, args)
		switch {
		case errors.Is(err, config.ErrUnknownKey):
			return &exitError{exitUsage, err}
		case errors.Is(err, fs.ErrPermission):
			return &exitError{exitDenied, err}
		case err != nil:
			return err
		case done == "":
			fmt.Fprintln(cmd.OutOrStdout(), "nothing changes")
			return nil
		}
		fmt.Fprintln(cmd.OutOrStdout(), clean(done))
		if !*reload {
			return nil
		}
		return runReload(cmd, g)
	}
	return cmd
}

// runReload is `mtad reload`.
func runReload(cmd *cobra.Command, g *global) error {
	r := newReload(g)
	r.SetOut(cmd.OutOrStdout())
	r.SetErr(cmd.ErrOrStderr())
	r.SetContext(cmd.Context())
	return r.RunE(r, nil)
}

func newConfigSet(g *global, unset bool) *cobra.Command {
	cmd := &cobra.Command{
		Use: "set KEY VALUE", Short: "Write a setting into its file, comments kept", Args: cobra.ExactArgs(2),
		Long: "Write a setting into its file: where it stands already, else behind the others of its\nblock. Comments and order stay. The value is as in the file; quotes may be left out, and\nof a list the brackets: mtad config set mynetworks \"127.0.0.0/8, 10.0.0.0/8\".\nNothing is written that could not be started with. KEY is as `mtad config show` prints it.",
	}
	if unset {
		cmd = &cobra.Command{Use: "unset KEY", Short: "Take a setting out of its file: its default is in force", Args: cobra.ExactArgs(1)}
	}
	return g.changing(cmd, func(env *edit.Env, path string, args []string) (string, error) {
		value := ""
		if !unset {
			value = args[1]
		}
		changed, err := env.Set(path, args[0], value, unset)
		if err != nil || !changed {
			return "", err
		}
		c, err := loadConfig(path)
		if err != nil {
			return "", err
		}
		now, err := config.Get(c.file, args[0])
		return args[0] + " = " + now, err
	})
}

func newConfigEdit(g *global) *cobra.Command {
	var stdin io.Reader
	var stdout, stderr io.Writer
	cmd := g.changing(&cobra.Command{
		Use: "edit", Short: "Edit the main file with $VISUAL or $EDITOR, and check it before it counts", Args: cobra.NoArgs,
	}, func(env *edit.Env, path string, _ []string) (string, error) {
		start := func(c *exec.Cmd) error {
			c.Stdin, c.Stdout, c.Stderr = stdin, stdout, stderr
			return c.Run()
		}
		again := func(err error) bool {
			fmt.Fprintln(stderr, err)
			fmt.Fprint(stderr, "Edit again? [Y/n] ")
			var answer string
			if _, err := fmt.Fscanln(stdin, &answer); errors.Is(err, io.EOF) {
				return false
			}
			return answer != "n" && answer != "N"
		}
		changed, err := env.Edit(path, start, again)
		if err != nil || !changed {
			return "", err
		}
		return "changed " + path, nil
	})
	cmd.PreRun = func(cmd *cobra.Command, _ []string) {
		stdin, stdout, stderr = cmd.InOrStdin(), cmd.OutOrStdout(), cmd.ErrOrStderr()
	}
	return cmd
}

func newConfigFormat(g *global) *cobra.Command {
	var only bool
	cmd := &cobra.Command{
		Use: "fmt", Short: "Give the files the usual spacing and alignment", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			path, err := g.configPath()
			if err != nil {
				return err
			}
			changed, err := editEnv().Format(path, only)
			if err != nil {
				return err
			}
			for _, name := range changed {
				fmt.Fprintln(cmd.OutOrStdout(), clean(name))
			}
			if only && len(changed) > 0 {
				return exitf(exitNo, "%d files are not formatted", len(changed))
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&only, "check", false, "change nothing; exit 1 if something would be")
	return cmd
}

func newConfigHistory(g *global) *cobra.Command {
	cmd := &cobra.Command{Use: "history", Short: "List the states that were replaced, the newest first", Args: cobra.NoArgs}
	f := addFormat(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		path, err := g.configPath()
		if err != nil {
			return err
		}
		states, err := editEnv().History(path)
		if err != nil {
			return err
		}
		return printList(cmd.OutOrStdout(), *f, states, func(w io.Writer) error {
			var rows [][]string
			for _, s := range states {
				rows = append(rows, []string{strconv.Itoa(s.Number), s.Time.Local().Format(time.DateTime), s.User, s.Why})
			}
			return printTable(w, []string{"STATE", "REPLACED", "BY", "WITH"}, rows)
		})
	}
	return cmd
}

func newConfigDiff(g *global) *cobra.Command {
	return &cobra.Command{
		Use: "diff [STATE]", Short: "Show what has changed since a state, or the last one", Args: cobra.MaximumNArgs(1),
		Long: "Show what has changed since a state of `mtad config history`, or the last one.\nSecrets are hidden. Exits 1 if something has.",
		RunE: func(cmd *cobra.Command, args []string) error {
			path, n, err := g.state(args)
			if err != nil {
				return err
			}
			differs, err := editEnv().Diff(cmd.OutOrStdout(), path, n)
			if err == nil && differs {
				err = &exitError{exitNo, errors.New("")}
			}
			return err
		},
	}
}

// state is the configuration's path, and a state's number; 0 is the newest.
func (g *global) state(args []string) (path string, n int, err error) {
	if path, err = g.configPath(); err != nil {
		return "", 0, err
	}
	if len(args) > 0 {
		if n, err = strconv.Atoi(args[0]); err != nil || n < 1 {
			return "", 0, exitf(exitUsage, "%q is no number of a state; `mtad config history` shows them", args[0])
		}
	}
	return path, n, nil
}

func newConfigRollback(g *global) *cobra.Command {
	return g.changing(&cobra.Command{
		Use: "rollback [STATE]", Short: "Bring back a state, or the last one", Args: cobra.MaximumNArgs(1),
	}, func(env *edit.Env, path string, args []string) (string, error) {
		_, n, err := g.state(args)
		if err != nil {
			return "", err
		}
		state, changed, err := env.Rollback(path, n)
		if err != nil || !changed {
			return "", err
		}
		return fmt.Sprintf("state %d is back", state.Number), nil
	})
}
