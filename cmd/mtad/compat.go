package main

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"mtad/admin"
	"mtad/cmd/mtad/compat"
	"mtad/config"
	"mtad/maildrop"
	"mtad/smtpd"
)

// compatEnv is what commands under other servers' names are run in. Their -c may
// name a folder, as Postfix's does.
func compatEnv(g *global, in io.Reader, out, errs io.Writer) *compat.Env {
	of := func(config string) *global {
		named := *g
		if config != "" {
			named.config = config
		}
		if info, err := os.Stat(config); err == nil && info.IsDir() {
			named.config = filepath.Join(config, configName)
		}
		return &named
	}
	return &compat.Env{
		In: in, Out: out, Err: errs, Now: time.Now,
		Connect: func(config string) (*admin.Client, error) { return of(config).client() },
		Local: func(file string) compat.Local {
			limits, dir := smtpd.DefaultLimits, maildrop.DefaultDir
			if c, err := of(file).load(); err == nil {
				limits, dir = c.limits(), c.top.Maildrop
			}
			return compat.Local{Dir: dir, Size: limits.MessageSize, Rcpts: limits.Recipients}
		},
		Settings: func(file string, dovecot bool) ([]config.Setting, error) {
			c, err := of(file).load()
			if err != nil {
				return nil, err
			}
			return config.Foreign(c.file, dovecot), nil
		},
		Aliases: func(file string) ([]string, error) {
			path, err := of(file).configPath()
			if err != nil {
				return nil, err
			}
			top, err := readTop(path)
			return top.Aliases.Tables(), err
		},
		Set: func(file, key, value string) error {
			path, err := of(file).configPath()
			if err == nil {
				_, err = editEnv().Set(path, key, value, false)
			}
			return err
		},
	}
}

func newCompat(g *global) *cobra.Command {
	verbs := []*cobra.Command{newCompatInstall(), newCompatRemove()}
	for _, c := range compat.Commands() {
		verbs = append(verbs, newCompatCommand(g, c))
	}
	return noun("compat", "Commands under the names that Postfix and sendmail gave them", verbs...)
}

// newCompatCommand makes a command of one of them; flags but a leading --config are its own.
func newCompatCommand(g *global, c compat.Command) *cobra.Command {
	return &cobra.Command{
		Use: c.Name, Short: c.Short, DisableFlagParsing: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			named := *g
			if len(args) > 1 && (args[0] == "-c" || args[0] == "--config") {
				named.config, args = args[1], args[2:]
			}
			code := c.Run(cmd.Context(), compatEnv(&named, cmd.InOrStdin(), cmd.OutOrStdout(), cmd.ErrOrStderr()), args)
			if code != 0 {
				return &exitError{code, errors.New("")} // it has said why
			}
			return nil
		},
	}
}

// newSendmail is `mtad sendmail`.
func newSendmail(g *global) *cobra.Command {
	c, _ := compat.Find("sendmail")
	return newCompatCommand(g, c)
}

func newCompatInstall() *cobra.Command {
	var dir string
	var force, dry bool
	cmd := &cobra.Command{
		Use: "install", Short: "Link those names to this program", Args: cobra.NoArgs,
		Long: "Link those names to this program: " + compatNames() + ".\nNothing is linked if one of the names is something else already, unless --force is given.",
	}
	cmd.Flags().StringVar(&dir, "dir", compat.DefaultDir, "where")
	cmd.Flags().BoolVar(&force, "force", false, "replace what is there under these names")
	cmd.Flags().BoolVar(&dry, "dry-run", false, "only tell")
	f := addFormat(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return links(cmd, *f, dry, func(binary string) ([]compat.Step, error) { return compat.Install(dir, binary, force, dry) })
	}
	return cmd
}

func newCompatRemove() *cobra.Command {
	var dir string
	var dry bool
	cmd := &cobra.Command{Use: "remove", Short: "Remove the links that install made", Args: cobra.NoArgs}
	cmd.Flags().StringVar(&dir, "dir", compat.DefaultDir, "where")
	cmd.Flags().BoolVar(&dry, "dry-run", false, "only tell")
	f := addFormat(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return links(cmd, *f, dry, func(binary string) ([]compat.Step, error) { return compat.Remove(dir, binary, dry) })
	}
	return cmd
}

func compatNames() string {
	var names []string
	for _, c := range compat.Commands() {
		names = append(names, c.Name)
	}
	return strings.Join(names, ", ")
}

// links changes links to this program and tells which.
func links(cmd *cobra.Command, f format, dry bool, fn func(binary string) ([]compat.Step, error)) error {
	binary, err := os.Executable()
	if err == nil {
		binary, err = filepath.EvalSymlinks(binary)
	}
	if err != nil {
		return exitf(exitIO, "where this program is: %w", err)
	}
	steps, err := fn(binary)
	var pathErr *os.PathError
	var linkErr *os.LinkError
	switch {
	case errors.As(err, &pathErr), errors.As(err, &linkErr):
		return &exitError{exitIO, err}
	case err != nil:
		return &exitError{exitNo, err}
	}
	return printList(cmd.OutOrStdout(), f, steps, func(w io.Writer) error {
		out := &lines{w: w}
		for _, s := range steps {
			done := s.Done
			if dry && done != "kept" {
				done = "would be " + done
			}
			out.printf("%s %s\n", clean(s.Path), done)
		}
		return out.err
	})
}
