package main

import (
	"context"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"mtad/admin"
)

func newRoute(g *global) *cobra.Command {
	return noun("route", "Where mail goes", newRouteTest(g))
}

func newRouteTest(g *global) *cobra.Command {
	cmd := &cobra.Command{
		Use: "test ADDRESS", Short: "Tell what becomes of mail for an address", Args: cobra.ExactArgs(1),
		Long: "Tell what becomes of mail for an address. Exits 1 if a client that is neither in\nmynetworks nor logged in would be refused.",
	}
	f := addFormat(cmd)
	cmd.RunE = g.withClient(func(ctx context.Context, c *admin.Client, cmd *cobra.Command, args []string) error {
		r, err := c.Route(ctx, args[0])
		if err != nil {
			return err
		}
		if err := printOne(cmd.OutOrStdout(), *f, r, func(w io.Writer) error { return printRoute(w, &r) }); err != nil {
			return err
		}
		if no, ok := refusals[r.Class]; ok {
			return exitf(exitNo, "%s: %s", clean(r.Address), no)
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
	return out.err
}

// way is how a target is reached.
func way(t admin.Target) string {
	switch {
	case t.Account != 0:
		return "mailbox"
	case t.Route == "":
		return "by the MX of its domain"
	}
	how := "by route " + t.Route + ": " + strings.Join(t.Hosts, ", ")
	if t.TLS != "" {
		how += " (tls " + t.TLS + ")"
	}
	return how
}
