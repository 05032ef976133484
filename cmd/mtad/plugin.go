package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"mtad/admin"
	"mtad/cmd/mtad/plug"
	"mtad/config"
	"mtad/plugins/external"
)

func newPlugin(g *global) *cobra.Command {
	return noun("plugin", "Filters that are programs of their own",
		newPluginList(g), newPluginNew(), newPluginVerify(), newPluginRun(), newPluginRestart(g), newPluginLogs(g))
}

func newPluginList(g *global) *cobra.Command {
	cmd := &cobra.Command{Use: "list", Short: "List the plugins of the server that runs", Args: cobra.NoArgs}
	f := addFormat(cmd)
	cmd.RunE = g.withClient(func(ctx context.Context, c *admin.Client, cmd *cobra.Command, _ []string) error {
		found, err := c.Plugins(ctx)
		if err != nil {
			return err
		}
		return printList(cmd.OutOrStdout(), *f, found, func(w io.Writer) error {
			var rows [][]string
			for _, p := range found {
				state, memory := "down: "+p.Down, ""
				if p.PID != "" {
					state, memory = "up "+ago(time.Since(p.Started)), fmt.Sprintf("%d MiB", config.Size(p.Memory)/config.MB)
				}
				rows = append(rows, []string{p.Name, p.Program + " " + p.Version, p.PID, fmt.Sprint(p.Starts), memory, p.Stages, p.Writes, state})
			}
			return printTable(w, []string{"NAME", "PROGRAM", "PID", "STARTS", "MEMORY", "STAGES", "WRITES", "STATE"}, rows)
		})
	})
	return cmd
}

func newPluginNew() *cobra.Command {
	return &cobra.Command{
		Use: "new LANGUAGE DIR", Short: "Begin a plugin, in go or python, in a new folder", Args: cobra.ExactArgs(2),
		Example: "  mtad plugin new go marker && cd marker && go build && mtad plugin verify ./marker",
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := plug.New(args[0], args[1]); err != nil {
				return exitf(exitUsage, "%w", err)
			}
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "made %s; its README.md says how to go on\n", args[1])
			return err
		},
	}
}

// addProgram gives a command the flags of a program to be tried.
func addProgram(cmd *cobra.Command) *plug.Program {
	p := &plug.Program{}
	cmd.Flags().StringToStringVar(&p.Config, "set", nil, "a name and value of its config: --set map=hosts.json")
	cmd.Flags().BoolVar(&p.Plain, "plain", false, "without mutual TLS, for programs in other languages than Go")
	return p
}

func newPluginVerify() *cobra.Command {
	cmd := &cobra.Command{Use: "verify PROGRAM", Short: "Start a plugin, read its manifest, send one message through", Args: cobra.ExactArgs(1)}
	p := addProgram(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		p.Path = args[0]
		_, st, err := p.Verify(cmd.Context(), cmd.ErrOrStderr())
		if st.Name != "" {
			if err := printManifest(cmd.OutOrStdout(), st); err != nil {
				return err
			}
		}
		if err != nil {
			return exitf(exitNo, "%w", err)
		}
		_, err = fmt.Fprintln(cmd.OutOrStdout(), "it works")
		return err
	}
	return cmd
}

func printManifest(w io.Writer, st external.Status) error {
	pure := "no"
	if st.Pure {
		pure = "yes"
	}
	_, err := fmt.Fprintf(w, "%s %s, protocol %d\nstages: %s\nreads: %s\nwrites: %s\npure: %s\n",
		clean(st.Name), clean(st.Version), st.Protocol, st.Stages, st.Reads, st.Writes, pure)
	return err
}

func newPluginRun() *cobra.Command {
	cmd := &cobra.Command{Use: "run PROGRAM FILE", Short: "Run the message in a file through a plugin and print its verdict", Args: cobra.ExactArgs(2)}
	p := addProgram(cmd)
	f := addFormat(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		p.Path = args[0]
		octets, err := os.ReadFile(args[1])
		if err != nil {
			return &exitError{exitNoInput, err}
		}
		res, _, err := p.Run(cmd.Context(), octets, cmd.ErrOrStderr())
		if err != nil {
			return exitf(exitNo, "%w", err)
		}
		if err := printOne(cmd.OutOrStdout(), *f, res, func(w io.Writer) error { return printResult(w, res) }); err != nil {
			return err
		}
		if res.Faults > 0 {
			return &exitError{exitNo, errors.New("")}
		}
		return nil
	}
	return cmd
}

func printResult(w io.Writer, res plug.Result) error {
	out := &lines{w: w}
	out.printf("%s", res.Fate)
	if res.Reply != "" {
		out.printf(" %s", clean(res.Reply))
	}
	out.printf("\n")
	for _, e := range res.Events {
		out.printf("  %s\n", clean(e))
	}
	return out.err
}

func newPluginRestart(g *global) *cobra.Command {
	return &cobra.Command{
		Use: "restart NAME", Args: cobra.ExactArgs(1),
		Short: "Start a plugin anew; sessions leave the old one after their transaction",
		RunE: g.withClient(func(ctx context.Context, c *admin.Client, cmd *cobra.Command, args []string) error {
			if err := c.RestartPlugin(ctx, args[0]); err != nil {
				return err
			}
			_, err := fmt.Fprintln(cmd.OutOrStdout(), "restarted", args[0])
			return err
		}),
	}
}

func newPluginLogs(g *global) *cobra.Command {
	cmd := &cobra.Command{
		Use: "logs NAME", Short: "Print the last that was logged about a plugin", Args: cobra.ExactArgs(1),
		Long: "Print the last that was logged about a plugin: what it printed on standard error, its starts and ends.",
	}
	f := addFormat(cmd)
	follow := cmd.Flags().BoolP("follow", "f", false, "go on with what comes, until interrupted; json is ndjson then")
	cmd.RunE = g.withClient(func(ctx context.Context, c *admin.Client, cmd *cobra.Command, args []string) error {
		fetch := func(after time.Time) ([]admin.PluginLine, error) { return c.PluginLog(ctx, args[0], after) }
		show := func(found []admin.PluginLine) error { return printPluginLog(cmd.OutOrStdout(), *f, found) }
		if *follow {
			if *f == "json" {
				*f = "ndjson"
			}
			return plug.Follow(ctx, fetch, show)
		}
		found, err := fetch(time.Time{})
		if err != nil {
			return err
		}
		return show(found)
	})
	return cmd
}

func printPluginLog(w io.Writer, f format, found []admin.PluginLine) error {
	return printList(w, f, found, func(w io.Writer) error {
		out := &lines{w: w}
		for _, l := range found {
			out.printf("%s %-5s %s\n", l.Time.Format(time.DateTime), l.Level, clean(l.Text))
		}
		return out.err
	})
}
