package main

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"mtad/admin"
)

func newUser(g *global) *cobra.Command {
	return noun("user", "Accounts", newUserAdd(g), newUserList(g), newUserShow(g), newUserPasswd(g),
		newUserDisable(g, "disable", "Keep a user from logging in; mail is still delivered", true),
		newUserDisable(g, "enable", "Let a user log in again", false), newUserRemove(g),
		newUserGrant(g), newUserRevoke(g))
}

// addPasswordFlag is for scripts that want to say it; without a terminal the
// password is read from standard input anyway.
func addPasswordFlag(cmd *cobra.Command) {
	cmd.Flags().Bool("password-stdin", false, "read the password from standard input, as happens without a terminal")
}

func newUserAdd(g *global) *cobra.Command {
	cmd := &cobra.Command{
		Use: "add ADDRESS", Short: "Make an account, asking for its password", Args: cobra.ExactArgs(1),
		RunE: g.withClient(func(ctx context.Context, c *admin.Client, cmd *cobra.Command, args []string) error {
			password, err := readPassword(cmd)
			if err != nil {
				return err
			}
			u, err := c.AddUser(ctx, admin.Credentials{Address: args[0], Password: password})
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "added %s\n", clean(u.Address))
			return nil
		}),
	}
	addPasswordFlag(cmd)
	return cmd
}

func newUserPasswd(g *global) *cobra.Command {
	cmd := &cobra.Command{
		Use: "passwd ADDRESS", Short: "Change a password", Args: cobra.ExactArgs(1),
		RunE: g.withClient(func(ctx context.Context, c *admin.Client, cmd *cobra.Command, args []string) error {
			password, err := readPassword(cmd)
			if err != nil {
				return err
			}
			if err := c.SetPassword(ctx, admin.Credentials{Address: args[0], Password: password}); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "changed the password of %s\n", clean(args[0]))
			return nil
		}),
	}
	addPasswordFlag(cmd)
	return cmd
}

func newUserList(g *global) *cobra.Command {
	cmd := &cobra.Command{Use: "list [DOMAIN]", Short: "List accounts", Args: cobra.MaximumNArgs(1)}
	f := addFormat(cmd)
	cmd.RunE = g.withClient(func(ctx context.Context, c *admin.Client, cmd *cobra.Command, args []string) error {
		users, err := c.Users(ctx, optional(args))
		if err != nil {
			return err
		}
		return printList(cmd.OutOrStdout(), *f, users, func(w io.Writer) error {
			var rows [][]string
			for _, u := range users {
				rows = append(rows, []string{u.Address, login(u.Disabled), u.Created.Local().Format(time.DateOnly)})
			}
			return printTable(w, []string{"ADDRESS", "LOGIN", "CREATED"}, rows)
		})
	})
	return cmd
}

// login says whether a user may log in.
func login(disabled bool) string {
	if disabled {
		return "disabled"
	}
	return "enabled"
}

// optional is the only argument, or "".
func optional(args []string) string {
	if len(args) == 0 {
		return ""
	}
	return args[0]
}

func newUserShow(g *global) *cobra.Command {
	cmd := &cobra.Command{Use: "show ADDRESS", Short: "Show an account and its folders", Args: cobra.ExactArgs(1)}
	f := addFormat(cmd)
	cmd.RunE = g.withClient(func(ctx context.Context, c *admin.Client, cmd *cobra.Command, args []string) error {
		u, err := c.User(ctx, args[0])
		if err != nil {
			return err
		}
		return printOne(cmd.OutOrStdout(), *f, u, func(w io.Writer) error { return printUser(w, &u) })
	})
	return cmd
}

func printUser(w io.Writer, u *admin.User) error {
	out := &lines{w: w}
	out.printf("%s  login %s, created %s\n", clean(u.Address), login(u.Disabled), u.Created.Local().Format(time.DateOnly))
	if u.Script != "" {
		out.printf("Sieve script %s is active\n", clean(u.Script))
	}
	for _, gr := range u.Grants {
		out.printf("may send as %s%s\n", clean(gr.Address), map[string]string{"on-behalf": ", on behalf"}[gr.Kind])
	}
	out.printf("\n")
	if out.err != nil {
		return out.err
	}
	var rows [][]string
	for _, f := range u.Folders {
		rows = append(rows, []string{
			f.Name, strconv.FormatUint(uint64(f.Messages), 10), strconv.FormatUint(uint64(f.Unseen), 10), strconv.FormatInt(f.Size, 10),
		})
	}
	return printTable(w, []string{"FOLDER", "MESSAGES", "UNSEEN", "OCTETS"}, rows)
}

func newUserDisable(g *global, name, short string, disabled bool) *cobra.Command {
	return &cobra.Command{
		Use: name + " ADDRESS", Short: short, Args: cobra.ExactArgs(1),
		RunE: g.withClient(func(ctx context.Context, c *admin.Client, cmd *cobra.Command, args []string) error {
			if err := c.Disable(ctx, admin.Disable{Address: args[0], Disabled: disabled}); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%sd %s\n", name, clean(args[0]))
			return nil
		}),
	}
}

func newUserRemove(g *global) *cobra.Command {
	var dry bool
	cmd := &cobra.Command{
		Use: "remove ADDRESS", Short: "Remove an account with all its mail and scripts", Args: cobra.ExactArgs(1),
		RunE: g.withClient(func(ctx context.Context, c *admin.Client, cmd *cobra.Command, args []string) error {
			u, err := c.User(ctx, args[0])
			if err != nil {
				return err
			}
			messages := 0
			for _, f := range u.Folders {
				messages += int(f.Messages)
			}
			what := "removed"
			if dry {
				what = "would remove"
			} else if _, err := c.RemoveUser(ctx, args[0]); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s %s, %s, %s\n", what, clean(u.Address), plural(len(u.Folders), "folder"), plural(messages, "message"))
			return nil
		}),
	}
	cmd.Flags().BoolVar(&dry, "dry-run", false, "only count")
	return cmd
}

func newUserGrant(g *global) *cobra.Command {
	var behalf bool
	cmd := &cobra.Command{
		Use: "grant USER ADDRESS", Short: "Let a user send with an address that is not the user's", Args: cobra.ExactArgs(2),
		Long: "Let a user send with an address that is not the user's own: @example.org is every address\nof a domain, \"*\" every address there is, which is for programs and for people who are\ntrusted with it.",
		RunE: g.withClient(func(ctx context.Context, c *admin.Client, cmd *cobra.Command, args []string) error {
			kind := "send-as"
			if behalf {
				kind = "on-behalf"
			}
			if err := c.Grant(ctx, admin.Grant{User: args[0], Address: args[1], Kind: kind}); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s may send as %s (%s)\n", clean(args[0]), clean(args[1]), kind)
			return nil
		}),
	}
	cmd.Flags().BoolVar(&behalf, "on-behalf", false, "the address may stand in From; the user's own goes into Sender")
	return cmd
}

func newUserRevoke(g *global) *cobra.Command {
	return &cobra.Command{
		Use: "revoke USER ADDRESS", Short: "Take a grant back", Args: cobra.ExactArgs(2),
		RunE: g.withClient(func(ctx context.Context, c *admin.Client, cmd *cobra.Command, args []string) error {
			if err := c.Revoke(ctx, admin.Grant{User: args[0], Address: args[1]}); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s may no longer send as %s\n", clean(args[0]), clean(args[1]))
			return nil
		}),
	}
}
