package main

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"mtad/admin"
	"mtad/config"
	"mtad/message"
)

func newQueue(g *global) *cobra.Command {
	return noun("queue", "Look at mail that is not delivered yet, and change it",
		newQueueList(g), newQueueShow(g), newQueueCat(g),
		newQueueChange(g, queueChange{
			name: "retry", short: "Try delivery now; held mail is released", done: "to be tried now",
			do: (*admin.Client).Retry, all: "every item",
		}),
		newQueueChange(g, queueChange{
			name: "delete", short: "Forget mail; neither sender nor recipient is told", done: "deleted",
			do: (*admin.Client).Delete, all: "every item", ask: true,
		}),
	)
}

// selection is the flags that choose items.
type selection struct {
	from, to, domain, status, age string
}

func (s *selection) add(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&s.from, "from", "", "mail of this sender, or of @domain")
	f.StringVar(&s.to, "to", "", "mail for this recipient, or for @domain")
	f.StringVar(&s.domain, "domain", "", "mail for recipients of this domain")
	f.StringVar(&s.status, "status", "", "ready, deferred or held")
	f.StringVar(&s.age, "age", "", "older or younger than: '>2h', '<10m', '>3d'")
}

// selector makes what the server understands. An argument is a message's ID.
func (s *selection) selector(args []string, now time.Time) (admin.Selector, error) {
	sel := admin.Selector{From: s.from, To: s.to, Domain: s.domain, Status: s.status}
	if len(args) > 0 {
		id, err := message.ParseID(args[0])
		if err != nil {
			return sel, &exitError{exitUsage, err}
		}
		sel.ID = id.String()
	}
	if s.age == "" {
		return sel, nil
	}
	d, err := config.ParseDuration(strings.TrimLeft(s.age, "<>"))
	if err != nil {
		return sel, exitf(exitUsage, "--age: %w", err)
	}
	switch s.age[0] {
	case '>':
		sel.Before = now.Add(-d)
	case '<':
		sel.After = now.Add(-d)
	default:
		return sel, exitf(exitUsage, "--age: want '>%s' or '<%s'", s.age, s.age)
	}
	return sel, nil
}

func newQueueList(g *global) *cobra.Command {
	s := &selection{}
	cmd := &cobra.Command{
		Use: "list", Short: "List what is in the queue, a line for each recipient", Args: cobra.NoArgs,
		Example: "  mtad queue list --status deferred --age '>2h'\n  mtad queue list --domain example.net -o json",
	}
	s.add(cmd)
	f := addFormat(cmd)
	cmd.RunE = g.withClient(func(ctx context.Context, c *admin.Client, cmd *cobra.Command, _ []string) error {
		now := time.Now()
		sel, err := s.selector(nil, now)
		if err != nil {
			return err
		}
		items, err := c.Queue(ctx, sel)
		if err != nil {
			return err
		}
		return printList(cmd.OutOrStdout(), *f, items, func(w io.Writer) error { return printItems(w, items, now) })
	})
	return cmd
}

func printItems(w io.Writer, items []admin.Item, now time.Time) error {
	rows := make([][]string, 0, len(items))
	for i := range items {
		it := &items[i]
		rows = append(rows, []string{
			it.ID, it.State, ago(now.Sub(it.Created)), nextTry(it, now), strconv.Itoa(it.Attempts),
			path(it.Sender), path(it.Rcpt), why(it),
		})
	}
	return printTable(w, []string{"ID", "STATE", "AGE", "NEXT", "TRIES", "SENDER", "RECIPIENT", "WHY"}, rows)
}

// nextTry is when an item is tried again, as a distance.
func nextTry(it *admin.Item, now time.Time) string {
	if it.State == "held" {
		return ""
	}
	return ago(it.Next.Sub(now))
}

// why is what keeps an item in the queue.
func why(it *admin.Item) string {
	if it.Hold != "" {
		return it.Hold
	}
	return it.Reply
}

func path(addr string) string { return "<" + addr + ">" }

func newQueueShow(g *global) *cobra.Command {
	cmd := &cobra.Command{Use: "show ID", Short: "Show a message in the queue, with each recipient", Args: cobra.ExactArgs(1)}
	f := addFormat(cmd)
	cmd.RunE = g.withClient(func(ctx context.Context, c *admin.Client, cmd *cobra.Command, args []string) error {
		sel, err := (&selection{}).selector(args, time.Time{})
		if err != nil {
			return err
		}
		items, err := c.Queue(ctx, sel)
		if err != nil {
			return err
		}
		if len(items) == 0 {
			return exitf(exitNo, "%s is not in the queue; `mtad trace %s` may tell why", sel.ID, sel.ID)
		}
		return printList(cmd.OutOrStdout(), *f, items, func(w io.Writer) error { return printMessage(w, items, time.Now()) })
	})
	return cmd
}

func printMessage(w io.Writer, items []admin.Item, now time.Time) error {
	out := &lines{w: w}
	first := &items[0]
	out.printf("%s  from %s, %s old\n", clean(first.ID), clean(path(first.Sender)), ago(now.Sub(first.Created)))
	for i := range items {
		it := &items[i]
		out.printf("\n%s  %s\n", clean(path(it.Rcpt)), it.State)
		out.printf("  destination  %s\n", clean(it.Dest))
		if it.Hold != "" {
			out.printf("  held         %s\n", clean(it.Hold))
		} else {
			out.printf("  next try     %s\n", moment(it.Next, now))
		}
		out.printf("  tries        %d\n", it.Attempts)
		if it.Reply != "" {
			out.printf("  last answer  %s\n", clean(it.Reply))
		}
		if it.Host != "" {
			out.printf("  of           %s\n", clean(it.Host))
		}
		out.printf("  given up     %s\n", moment(it.Expires, now))
	}
	return out.err
}

// moment is a time in the future, both ways.
func moment(t, now time.Time) string {
	if !t.After(now) {
		return "now"
	}
	return fmt.Sprintf("%s (in %s)", t.Local().Format("2 Jan 15:04:05"), ago(t.Sub(now)))
}

func newQueueCat(g *global) *cobra.Command {
	return &cobra.Command{
		Use: "cat ID", Short: "Print a message in the queue, octet for octet", Args: cobra.ExactArgs(1),
		RunE: g.withClient(func(ctx context.Context, c *admin.Client, cmd *cobra.Command, args []string) error {
			id, err := message.ParseID(args[0])
			if err != nil {
				return &exitError{exitUsage, err}
			}
			return c.Message(ctx, id, cmd.OutOrStdout())
		}),
	}
}

// queueChange is a command that changes items.
type queueChange struct {
	name, short, done string
	do                func(*admin.Client, context.Context, admin.Change) (admin.Counts, error)
	all               string
	ask               bool // the whole queue has to be asked for
}

func newQueueChange(g *global, q queueChange) *cobra.Command {
	s := &selection{}
	var all, dry bool
	cmd := &cobra.Command{
		Use: q.name + " [ID]", Short: q.short, Args: cobra.MaximumNArgs(1),
		Example: "  mtad queue " + q.name + " --to @example.net --age '>2h' --dry-run",
	}
	s.add(cmd)
	cmd.Flags().BoolVar(&all, "all", !q.ask, q.all)
	cmd.Flags().BoolVar(&dry, "dry-run", false, "only count")
	f := addFormat(cmd)
	cmd.RunE = g.withClient(func(ctx context.Context, c *admin.Client, cmd *cobra.Command, args []string) error {
		sel, err := s.selector(args, time.Now())
		if err != nil {
			return err
		}
		if sel == (admin.Selector{}) && !all {
			return exitf(exitUsage, "say which: an ID, --from, --to, --domain, --status, --age, or --all")
		}
		counts, err := q.do(c, ctx, admin.Change{Selector: sel, All: all, DryRun: dry})
		if err != nil {
			return err
		}
		return printOne(cmd.OutOrStdout(), *f, counts, func(w io.Writer) error {
			done := q.done
			if counts.DryRun {
				done = "would be " + strings.TrimPrefix(done, "to be ")
			}
			_, err := fmt.Fprintf(w, "%s of %s %s\n", plural(counts.Items, "recipient"), plural(counts.Messages, "message"), done)
			return err
		})
	})
	return cmd
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return strconv.Itoa(n) + " " + what + "s"
}
