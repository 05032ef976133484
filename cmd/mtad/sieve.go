package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"mtad/cmd/mtad/script"
	"mtad/plugins/lua/worker"
	"mtad/sieve"
)

func newSieve(g *global) *cobra.Command {
	return noun("sieve", "Users' Sieve scripts", append(script.Stored("sieve", g.scriptEnv()), newSieveCheck())...)
}

func newLua(g *global) *cobra.Command {
	env := g.scriptEnv()
	return noun("lua", "Lua scripts: users' own, and what helps to write any", append(script.Stored("lua", env), script.Lua(env)...)...)
}

// scriptEnv is what the commands for scripts have from here.
func (g *global) scriptEnv() *script.Env {
	return &script.Env{
		WithClient: g.withClient, Read: readArgument, Clean: clean, Fail: exitf,
		Output: func(cmd *cobra.Command) func(io.Writer, any, []string, [][]string) error {
			f := addFormat(cmd)
			return func(w io.Writer, list any, head []string, rows [][]string) error {
				return printAny(w, *f, list, func(w io.Writer) error { return printTable(w, head, rows) })
			}
		},
	}
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

// checkScript is what is wrong with a user's script, "" if it can run. Lua is
// looked at in a worker: it is the user's.
func checkScript(ctx context.Context, language, name, text string) string {
	if language == "lua" {
		if err := worker.Check(ctx, name, text); err != nil {
			return err.Error()
		}
		return ""
	}
	script, problems := sieve.Compile(text, sieve.Options{})
	if script != nil {
		return ""
	}
	return strings.TrimSuffix(problems.String(), "\n")
}
