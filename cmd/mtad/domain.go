package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"mtad/admin"
)

func newDomain(g *global) *cobra.Command {
	return noun("domain", "Domains that mail is taken for", newDomainAdd(g), newDomainList(g), newDomainRemove(g))
}

func newDomainAdd(g *global) *cobra.Command {
	var relay bool
	var of string
	cmd := &cobra.Command{
		Use: "add DOMAIN", Short: "Add a domain with accounts and aliases here", Args: cobra.ExactArgs(1),
		RunE: g.withClient(func(ctx context.Context, c *admin.Client, cmd *cobra.Command, args []string) error {
			d := admin.Domain{Name: args[0], Class: "local"}
			if relay {
				d.Class = "relay"
			}
			if d.Of = of; of != "" {
				d.Class = "alias"
			}
			if err := c.AddDomain(ctx, d); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "added %s (%s)\n", clean(d.Name), d.Class)
			return nil
		}),
	}
	cmd.Flags().BoolVar(&relay, "relay", false, "its mail is taken for another server")
	cmd.Flags().StringVar(&of, "alias-of", "", "it stands for this domain of ours: its addresses are that one's")
	cmd.MarkFlagsMutuallyExclusive("relay", "alias-of")
	return cmd
}

func newDomainList(g *global) *cobra.Command {
	cmd := &cobra.Command{Use: "list", Short: "List domains", Args: cobra.NoArgs}
	f := addFormat(cmd)
	cmd.RunE = g.withClient(func(ctx context.Context, c *admin.Client, cmd *cobra.Command, _ []string) error {
		domains, err := c.Domains(ctx)
		if err != nil {
			return err
		}
		return printList(cmd.OutOrStdout(), *f, domains, func(w io.Writer) error {
			var rows [][]string
			for _, d := range domains {
				rows = append(rows, []string{d.Name, strings.TrimSpace(d.Class + " " + d.Of)})
			}
			return printTable(w, []string{"DOMAIN", "CLASS"}, rows)
		})
	})
	return cmd
}

func newDomainRemove(g *global) *cobra.Command {
	var dry bool
	cmd := &cobra.Command{
		Use: "remove DOMAIN", Short: "Remove a domain without accounts, and its aliases", Args: cobra.ExactArgs(1),
		RunE: g.withClient(func(ctx context.Context, c *admin.Client, cmd *cobra.Command, args []string) error {
			aliases, err := c.Aliases(ctx, args[0])
			if err != nil {
				return err
			}
			what := "removed"
			if dry {
				what = "would remove"
			} else if err := c.RemoveDomain(ctx, args[0]); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s %s and %s\n", what, clean(args[0]), aliasCount(len(aliases)))
			return nil
		}),
	}
	cmd.Flags().BoolVar(&dry, "dry-run", false, "only count")
	return cmd
}

func aliasCount(n int) string {
	if n == 1 {
		return "1 alias"
	}
	return fmt.Sprintf("%d aliases", n)
}
