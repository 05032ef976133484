package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"mtad/admin"
)

func newAlias(g *global) *cobra.Command {
	return noun("alias", "Addresses that lead to others", newAliasAdd(g), newAliasList(g), newAliasRemove(g), newAliasExpand(g))
}

func newAliasAdd(g *global) *cobra.Command {
	return &cobra.Command{
		Use: "add ADDRESS TARGET...", Short: "Add targets to an alias; @domain catches what nobody else takes", Args: cobra.MinimumNArgs(2),
		RunE: g.withClient(func(ctx context.Context, c *admin.Client, cmd *cobra.Command, args []string) error {
			if err := c.AddAlias(ctx, admin.Alias{Address: args[0], Targets: args[1:]}); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s leads to %s\n", clean(args[0]), clean(strings.Join(args[1:], ", ")))
			for _, a := range args {
				warnAlias(ctx, c, cmd.ErrOrStderr(), a)
			}
			return nil
		}),
	}
}

// warnAlias says if mail for an address of an alias would reach nobody: the
// target may be made later, so it is no error.
func warnAlias(ctx context.Context, c *admin.Client, w io.Writer, address string) {
	if strings.HasPrefix(address, "@") {
		return
	}
	switch r, err := c.Route(ctx, "", address); {
	case err != nil:
		fmt.Fprintf(w, "note: %s\n", clean(err.Error()))
	case r.Circle:
		fmt.Fprintf(w, "note: %s: the aliases lead in a circle\n", clean(r.Address))
	case r.Class == "unknown":
		fmt.Fprintf(w, "note: %s does not exist here\n", clean(r.Address))
	}
}

func newAliasList(g *global) *cobra.Command {
	cmd := &cobra.Command{Use: "list [DOMAIN]", Short: "List aliases", Args: cobra.MaximumNArgs(1)}
	f := addFormat(cmd)
	cmd.RunE = g.withClient(func(ctx context.Context, c *admin.Client, cmd *cobra.Command, args []string) error {
		aliases, err := c.Aliases(ctx, optional(args))
		if err != nil {
			return err
		}
		return printList(cmd.OutOrStdout(), *f, aliases, func(w io.Writer) error {
			var rows [][]string
			for _, a := range aliases {
				rows = append(rows, []string{a.Address, strings.Join(a.Targets, ", ")})
			}
			return printTable(w, []string{"ALIAS", "TARGETS"}, rows)
		})
	})
	return cmd
}

func newAliasRemove(g *global) *cobra.Command {
	return &cobra.Command{
		Use: "remove ADDRESS [TARGET...]", Short: "Remove targets of an alias, or all of it", Args: cobra.MinimumNArgs(1),
		RunE: g.withClient(func(ctx context.Context, c *admin.Client, cmd *cobra.Command, args []string) error {
			if err := c.RemoveAlias(ctx, admin.Alias{Address: args[0], Targets: args[1:]}); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "removed %s\n", clean(strings.Join(args, " ")))
			return nil
		}),
	}
}

func newAliasExpand(g *global) *cobra.Command {
	cmd := &cobra.Command{Use: "expand ADDRESS", Short: "Print the addresses that an address leads to in the end", Args: cobra.ExactArgs(1)}
	f := addFormat(cmd)
	cmd.RunE = g.withClient(func(ctx context.Context, c *admin.Client, cmd *cobra.Command, args []string) error {
		r, err := c.Route(ctx, "", args[0])
		if err != nil {
			return err
		}
		if r.Circle {
			return exitf(exitNo, "%s: the aliases lead in a circle", clean(args[0]))
		}
		if len(r.Targets) == 0 {
			return exitf(exitNoUser, "%s leads nowhere", clean(args[0]))
		}
		return printList(cmd.OutOrStdout(), *f, r.Targets, func(w io.Writer) error {
			out := &lines{w: w}
			for _, t := range r.Targets {
				out.printf("%s\n", clean(expanded(t)))
			}
			return out.err
		})
	})
	return cmd
}

// expanded is a target as an aliases file has it.
func expanded(t admin.Target) string {
	switch {
	case t.Command != "":
		return "|" + t.Command
	case t.File != "":
		return t.File
	}
	return t.Address
}
