package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"mtad/admin"
	"mtad/cmd/mtad/logs"
	"mtad/trace/report"
)

func newReport(g *global) *cobra.Command {
	var top int
	cmd := &cobra.Command{
		Use: "report [PERIOD]", Short: "Count what happened to mail, and name what needs attention", Args: cobra.MaximumNArgs(1),
		Long: "Count what happened to mail: pflogsumm's sections, a table of the filters, the last\n" +
			"reply of each domain, and what needs attention with the command to run next.\n" +
			"PERIOD is " + report.Periods + ".\n" +
			"The counts come from the traces, which are kept for as long as there is room.",
	}
	cmd.Flags().IntVar(&top, "top", 10, "how long the lists are")
	f := addFormat(cmd)
	cmd.RunE = g.withClient(func(ctx context.Context, c *admin.Client, cmd *cobra.Command, args []string) error {
		period := "today"
		if len(args) > 0 {
			period = args[0]
		}
		from, to, err := report.Period(period, time.Now())
		if err != nil {
			return &exitError{exitUsage, err}
		}
		r, err := c.Report(ctx, from, to, top)
		if err != nil {
			return err
		}
		return printOne(cmd.OutOrStdout(), *f, r, func(w io.Writer) error { return r.Print(w, clean) })
	})
	return cmd
}

func newLog(g *global) *cobra.Command {
	return noun("log", "The server's own log", newLogTail(g), newLogSearch(g))
}

func newLogTail(g *global) *cobra.Command {
	var n int
	var follow bool
	var filter logs.Filter
	cmd := &cobra.Command{
		Use: "tail", Short: "Print the newest lines of the log", Args: cobra.NoArgs,
		Long: "Print the newest lines of the log, wherever log_to sends them: the server keeps\n" +
			"some thousands in memory.",
	}
	cmd.Flags().IntVarP(&n, "number", "n", 20, "how many")
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on with what comes, until interrupted")
	filter.Flags(cmd.Flags())
	f := addFormat(cmd)
	cmd.RunE = g.withClient(func(ctx context.Context, c *admin.Client, cmd *cobra.Command, _ []string) error {
		if follow && *f == "json" {
			*f = "ndjson" // an array has an end
		}
		l, found, err := findLines(ctx, c, &filter)
		if err != nil {
			return err
		}
		if err := printLines(cmd.OutOrStdout(), *f, found[max(len(found)-n, 0):]); err != nil || !follow {
			return err
		}
		var after uint64
		if len(l.Lines) > 0 {
			after = l.Lines[len(l.Lines)-1].Seq
		}
		show := func(lines []admin.LogLine) error {
			for _, one := range lines {
				if filter.Match(one, time.Now()) {
					if err := printLogLine(cmd.OutOrStdout(), *f, one); err != nil {
						return err
					}
				}
			}
			return nil
		}
		return logs.Follow(ctx, c, after, show, func(n uint64) {
			fmt.Fprintf(cmd.ErrOrStderr(), "mtad: %d lines came too fast and are missing here\n", n)
		})
	})
	return cmd
}

func newLogSearch(g *global) *cobra.Command {
	var filter logs.Filter
	cmd := &cobra.Command{
		Use: "search [TEXT]", Short: "Find lines in what the server keeps of its log", Args: cobra.MaximumNArgs(1),
		Long: "Find lines in what the server keeps of its log in memory, some thousands. What\n" +
			"happened to a message is told by `mtad trace ID`, for much longer.",
	}
	filter.Flags(cmd.Flags())
	f := addFormat(cmd)
	cmd.RunE = g.withClient(func(ctx context.Context, c *admin.Client, cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			filter.Text = args[0]
		}
		l, found, err := findLines(ctx, c, &filter)
		if err != nil {
			return err
		}
		if err := printLines(cmd.OutOrStdout(), *f, found); err != nil {
			return err
		}
		if len(found) == 0 {
			return exitf(exitNo, "no such lines: %s", logs.Elsewhere(l))
		}
		return nil
	})
	return cmd
}

// findLines are the lines that the server keeps, and those that are chosen.
func findLines(ctx context.Context, c *admin.Client, filter *logs.Filter) (l admin.Log, found []admin.LogLine, err error) {
	if err := filter.Check(); err != nil {
		return l, nil, &exitError{exitUsage, err}
	}
	if l, err = c.LogLines(ctx, 0); err != nil {
		return l, nil, err
	}
	now := time.Now()
	for _, one := range l.Lines {
		if filter.Match(one, now) {
			found = append(found, one)
		}
	}
	return l, found, nil
}

func printLines(w io.Writer, f format, found []admin.LogLine) error {
	if f == "json" {
		return printJSON(w, append([]admin.LogLine{}, found...))
	}
	for _, one := range found {
		if err := printLogLine(w, f, one); err != nil {
			return err
		}
	}
	return nil
}

func printLogLine(w io.Writer, f format, l admin.LogLine) error {
	if f != "table" {
		return printLine(w, l)
	}
	_, err := fmt.Fprintln(w, clean(l.Text))
	return err
}
