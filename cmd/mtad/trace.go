package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"mtad/admin"
	"mtad/message"
)

func newTrace(g *global) *cobra.Command {
	cmd := &cobra.Command{
		Use: "trace ID", Short: "Tell what happened to a message", Args: cobra.ExactArgs(1),
		Long: "Tell what happened to a message: who sent it, what each filter said and changed,\n" +
			"what the client was told, and each attempt to deliver it. The ID stands at the end\n" +
			"of every reply that accepts or refuses a message.",
	}
	cmd.AddCommand(newTraceLast(g), newTraceLive(g))
	f := addFormat(cmd)
	cmd.RunE = g.withClient(func(ctx context.Context, c *admin.Client, cmd *cobra.Command, args []string) error {
		id, err := message.ParseID(args[0])
		if err != nil {
			return &exitError{exitUsage, err}
		}
		t, err := c.Trace(ctx, id)
		if err != nil {
			return err
		}
		return printOne(cmd.OutOrStdout(), *f, t, func(w io.Writer) error { return printStory(w, t) })
	})
	return cmd
}

func newTraceLast(g *global) *cobra.Command {
	var n int
	cmd := &cobra.Command{Use: "last", Short: "Tell what happened to the newest messages, the newest last", Args: cobra.NoArgs}
	cmd.Flags().IntVarP(&n, "number", "n", 1, "how many")
	f := addFormat(cmd)
	cmd.RunE = g.withClient(func(ctx context.Context, c *admin.Client, cmd *cobra.Command, _ []string) error {
		found, err := c.LastTraces(ctx, n)
		if err != nil {
			return err
		}
		if len(found) == 0 {
			return exitf(exitNo, "no traces yet: send a message")
		}
		slices.Reverse(found)
		return printList(cmd.OutOrStdout(), *f, found, func(w io.Writer) error {
			for i, t := range found {
				if i > 0 {
					fmt.Fprintln(w)
				}
				if err := printStory(w, t); err != nil {
					return err
				}
			}
			return nil
		})
	})
	return cmd
}

func newTraceLive(g *global) *cobra.Command {
	cmd := &cobra.Command{Use: "live", Short: "Print what happens, as it happens, until interrupted", Args: cobra.NoArgs}
	f := addFormat(cmd)
	cmd.RunE = g.withClient(func(ctx context.Context, c *admin.Client, cmd *cobra.Command, _ []string) error {
		w := cmd.OutOrStdout()
		return c.LiveTraces(ctx, func(t admin.Trace) error {
			if *f != "table" {
				return printLine(w, t)
			}
			return printLive(w, t)
		})
	})
	return cmd
}

// printLive prints a line for each event.
func printLive(w io.Writer, t admin.Trace) error {
	p := paint{colored(w)}
	for _, e := range t.Events {
		l := lineOf(e)
		at := e.Time.Local().Format("15:04:05.000")
		if _, err := fmt.Fprintf(w, "%s %s %s%s\n", at, p.dim(clean(t.ID)), l.text(p), l.reply(p)); err != nil {
			return err
		}
	}
	return nil
}

// printStory prints a trace for people: when it began, and a line or a few for
// each event with the time since.
func printStory(w io.Writer, t admin.Trace) error {
	p := paint{colored(w)}
	var begin time.Time
	if len(t.Events) > 0 {
		begin = t.Events[0].Time
	}
	out := &lines{w: w}
	out.printf("%s  %s\n\n", p.bold(clean(t.ID)), begin.Local().Format("Mon 2 Jan 2006 15:04:05.000"))
	for _, e := range t.Events {
		l := lineOf(e)
		out.printf("%9s  %s\n", since(e.Time.Sub(begin)), l.text(p))
		for _, more := range l.more {
			out.printf("%9s  %s\n", "", p.dim(more))
		}
	}
	return out.err
}

// since is the time column of a story.
func since(d time.Duration) string {
	if d <= 0 {
		return "0"
	}
	return "+" + took(d)
}

// lines remembers the first error of writing.
type lines struct {
	w   io.Writer
	err error
}

func (l *lines) printf(format string, args ...any) {
	if l.err == nil {
		_, l.err = fmt.Fprintf(l.w, format, args...)
	}
}
