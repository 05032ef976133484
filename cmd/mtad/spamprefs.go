package main

import (
	"context"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"mtad/admin"
	"mtad/directory"
)

// prefsName is what a user's preferences are called in the store: there is one text.
const prefsName = "user_prefs"

func newSpamPrefs(g *global) *cobra.Command {
	return noun("prefs", "Users' own scores, lists and limits, as in SpamAssassin's user_prefs", newPrefsGet(g), newPrefsPut(g), newPrefsDelete(g))
}

func newPrefsGet(g *global) *cobra.Command {
	return &cobra.Command{
		Use: "get USER", Short: "Print a user's preferences", Args: cobra.ExactArgs(1),
		RunE: g.withClient(func(ctx context.Context, c *admin.Client, cmd *cobra.Command, args []string) error {
			s, err := c.Script(ctx, string(directory.SpamPreferences), args[0], prefsName)
			if err == nil {
				_, err = fmt.Fprint(cmd.OutOrStdout(), s.Text)
			}
			return noPrefs(err, args[0])
		}),
	}
}

func newPrefsPut(g *global) *cobra.Command {
	return &cobra.Command{
		Use: "put USER [FILE]", Short: "Store a user's preferences from a file or standard input, if they are without errors", Args: cobra.RangeArgs(1, 2),
		Long: "Store a user's preferences from a file or standard input: lines of SpamAssassin's configuration, required_score,\n" +
			"score, welcomelist_from and the like; what only administrators may set, and rules, are refused (allow_user_rules in\n" +
			"the site's rules lets rules in). They are in force from the next message on.",
		Example: "  echo 'required_score 3.5' | mtad spam prefs put alice",
		RunE: func(cmd *cobra.Command, args []string) error {
			path := "-"
			if len(args) == 2 {
				path = args[1]
			}
			text, err := readArgument(path, cmd.InOrStdin())
			if err != nil {
				return err
			}
			if !utf8.Valid(text) {
				return exitf(exitData, "the preferences are not UTF-8; iconv(1) can make them so")
			}
			return g.withClient(func(ctx context.Context, c *admin.Client, cmd *cobra.Command, args []string) error {
				language := string(directory.SpamPreferences)
				err := c.PutScript(ctx, language, args[0], prefsName, string(text))
				if err == nil {
					err = c.ActivateScript(ctx, language, args[0], prefsName)
				}
				if err == nil {
					_, err = fmt.Fprintf(cmd.OutOrStdout(), "stored the preferences of %s\n", clean(args[0]))
				}
				return err
			})(cmd, args)
		},
	}
}

func newPrefsDelete(g *global) *cobra.Command {
	return &cobra.Command{
		Use: "delete USER", Short: "Delete a user's preferences: the site's rules count alone again", Args: cobra.ExactArgs(1),
		RunE: g.withClient(func(ctx context.Context, c *admin.Client, cmd *cobra.Command, args []string) error {
			language := string(directory.SpamPreferences)
			err := c.ActivateScript(ctx, language, args[0], "")
			if err == nil {
				err = c.DeleteScript(ctx, language, args[0], prefsName)
			}
			if err == nil {
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "deleted the preferences of %s\n", clean(args[0]))
			}
			return noPrefs(err, args[0])
		}),
	}
}

// noPrefs says that a user has no preferences, where the server speaks of scripts.
func noPrefs(err error, user string) error {
	var e *admin.Error
	if errors.As(err, &e) && e.Code == admin.NoInput {
		return exitf(exitNoInput, "%s has no preferences: the site's rules count alone; `mtad spam prefs put` stores some", user)
	}
	return err
}
