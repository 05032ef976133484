package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"mtad/config"
)

func newConfig(g *global) *cobra.Command {
	return noun("config", "Check, show and explain the configuration",
		append([]*cobra.Command{newConfigCheck(g), newConfigShow(g), newConfigGet(g), newConfigExplain(g)}, newConfigChanges(g)...)...)
}

func newConfigCheck(g *global) *cobra.Command {
	return &cobra.Command{
		Use: "check", Short: "Check the configuration without starting anything", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			path, err := g.configPath()
			if err != nil {
				return err
			}
			c, b, err := loadChecked(path, config.Options{})
			if err != nil {
				return err
			}
			warnings := ruleWarnings(c, b)
			if w := monitorWarning(c); w != "" {
				warnings = append([]string{w}, warnings...)
			}
			for _, w := range warnings {
				fmt.Fprintln(cmd.ErrOrStderr(), "warning:", clean(w))
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s is good\n", path)
			return nil
		},
	}
}

// checkFiles finds all that can be known of a configuration without a start.
func checkFiles(path string, o config.Options) error {
	_, _, err := loadChecked(path, o)
	return err
}

// loadChecked reads a configuration in which checkFiles finds nothing, and builds it.
func loadChecked(path string, o config.Options) (*loaded, *built, error) {
	c, err := loadConfigWith(path, o)
	if err != nil {
		return nil, nil, err
	}
	b, err := c.build(offline(), nil)
	if err != nil {
		return nil, nil, err
	}
	_, err = c.certificate()
	return c, b, err
}

func newConfigShow(g *global) *cobra.Command {
	var short bool
	var output string
	cmd := &cobra.Command{
		Use: "show", Short: "Show every setting that is in force", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := g.load()
			if err != nil {
				return err
			}
			if output == "json" {
				return config.ShowJSON(cmd.OutOrStdout(), c.file, short)
			}
			return config.Show(cmd.OutOrStdout(), c.file, short)
		},
	}
	cmd.Flags().BoolVarP(&short, "nondefault", "n", false, "only what differs from the default, as postconf -n")
	cmd.Flags().StringVarP(&output, "output", "o", "table", "table or json")
	return cmd
}

func newConfigGet(g *global) *cobra.Command {
	return &cobra.Command{
		Use: "get KEY", Short: "Print one setting", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := g.load()
			if err != nil {
				return err
			}
			value, err := config.Get(c.file, args[0])
			if err != nil {
				return &exitError{exitNo, err}
			}
			fmt.Fprintln(cmd.OutOrStdout(), value)
			return nil
		},
	}
}

func newConfigExplain(g *global) *cobra.Command {
	return &cobra.Command{
		Use: "explain KEY", Short: "Tell what a setting is for; KEY may be Postfix's or Dovecot's name", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var file *config.File
			if c, err := g.load(); err == nil {
				file = c.file
			}
			if err := explain(cmd.OutOrStdout(), file, args[0]); err != nil {
				return &exitError{exitNo, err}
			}
			return nil
		},
	}
}

// load reads the configuration that the flags name.
func (g *global) load() (*loaded, error) {
	path, err := g.configPath()
	if err != nil {
		return nil, err
	}
	return loadConfig(path)
}
