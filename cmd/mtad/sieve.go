package main

import (
	"context"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"mtad/cmd/mtad/script"
	"mtad/plugins/lua/worker"
	"mtad/sieve"
)

func newSieve(g *global) *cobra.Command {
	env := g.scriptEnv()
	return noun("sieve", "Sieve scripts: users' own, and what helps to write any", append(script.Stored("sieve", env), script.Sieve(env)...)...)
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
