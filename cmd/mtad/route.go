package main

import (
	"cmp"
	"context"
	"io"

	"github.com/spf13/cobra"

	"mtad/admin"
)

func newRoute(g *global) *cobra.Command {
	return noun("route", "Where mail goes", newRouteTest(g))
}

func newRouteTest(g *global) *cobra.Command {
	var from string
	cmd := &cobra.Command{
		Use: "test ADDRESS", Short: "Tell what becomes of mail for an address, and why", Args: cobra.ExactArgs(1),
		Long: "Tell what becomes of mail for an address, and why: every alias and table that had\na say, in order. Exits 1 if a client that is neither in mynetworks nor logged in\nwould be refused.",
	}
	f := addFormat(cmd)
	cmd.Flags().StringVar(&from, "from", "", "the sender, for ways that depend on it")
	cmd.RunE = g.withClient(func(ctx context.Context, c *admin.Client, cmd *cobra.Command, args []string) error {
		r, err := c.Route(ctx, from, args[0])
		if err != nil {
			return err
		}
		if err := printOne(cmd.OutOrStdout(), *f, r, func(w io.Writer) error { return printRoute(w, &r) }); err != nil {
			return err
		}
		if no, ok := refusals[r.Class]; ok {
			if r.Circle {
				no = "refused: its aliases lead in a circle"
			}
			return exitf(exitNo, "%s: %s", clean(r.Address), cmp.Or(clean(r.Reply), no))
		}
		return nil
	})
	return cmd
}

// refusals are what a stranger is told, by the recipient's class.
var refusals = map[string]string{
	"unknown": "refused: no such user here",
	"denied":  "refused to clients that may not relay",
}

func printRoute(w io.Writer, r *admin.Route) error {
	out := &lines{w: w}
	class := r.Class
	if r.Exempt {
		class += ", spared content refusals"
	}
	out.printf("%s  %s\n", clean(r.Address), class)
	for _, t := range r.Targets {
		out.printf("  %s  %s\n", clean(t.Address), clean(way(t)))
	}
	if len(r.Steps) > 0 {
		out.printf("because\n")
	}
	for _, s := range r.Steps {
		out.printf("  %s  %s: %s\n", clean(s.Address), clean(s.Where), clean(s.What))
	}
	return out.err
}

// way is how a target is reached.
func way(t admin.Target) string {
	how := "mailbox"
	switch {
	case t.Command != "":
		how = "command " + t.Command
	case t.File != "":
		how = "file " + t.File
	case t.Account == 0:
		how = t.Way
	}
	if t.User != "" {
		how += " (as " + t.User + ")"
	}
	if t.TLS != "" {
		how += " (tls " + t.TLS + ")"
	}
	if t.Owner != "" {
		how += ", sent by " + t.Owner
	}
	return how
}
