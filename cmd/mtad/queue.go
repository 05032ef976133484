package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"mtad/admin"
	"mtad/selector"
)

func newQueue(g *global) *cobra.Command {
	return noun("queue", "Look at mail that is not delivered yet, and change it",
		newQueueList(g), newQueueShow(g), newQueueCat(g), newQueueShape(g),
		newQueueChange(g, queueChange{name: "hold", short: "Keep mail from being tried, until it is released", done: "held", why: "held by the administrator"}),
		newQueueChange(g, queueChange{name: "release", short: "Let held mail go, and try it now", done: "released"}),
		newQueueChange(g, queueChange{name: "retry", short: "Try delivery now; without a choice, of all that is not held", done: "to be tried now", all: true}),
		newQueueChange(g, queueChange{name: "requeue", short: "Route mail anew, by what aliases and routes are now, and try it", done: "routed anew"}),
		newQueueChange(g, queueChange{name: "reroute", short: "Send mail by another way than the configuration's", done: "rerouted", via: true}),
		newQueueChange(g, queueChange{name: "bounce", short: "Give mail up now, and tell its sender", done: "given up", why: "The administrator gave it up"}),
		newQueueChange(g, queueChange{name: "delete", short: "Forget mail; neither sender nor recipient is told", done: "deleted"}),
	)
}

const queueStatuses = "ready, deferred or held"

// selection is the flags that choose items.
type selection struct{ selector.Flags }

func (s *selection) add(cmd *cobra.Command) { s.Add(cmd.Flags(), queueStatuses) }

// usageError makes a selector's error one of usage.
func usageError(err error) error {
	var e *selector.Error
	if errors.As(err, &e) {
		return &exitError{exitUsage, err}
	}
	return err
}

func newQueueList(g *global) *cobra.Command {
	s := &selection{}
	cmd := &cobra.Command{
		Use: "list [ID ...]", Short: "List what is in the queue, a line for each recipient",
		Example: "  mtad queue list --status deferred --age '>2h'\n  mtad queue list --domain example.net -o json\n" +
			"  mtad queue list --filter 'attempts > 3 && size > 1 * MB'",
	}
	s.add(cmd)
	f := addFormat(cmd)
	cmd.RunE = g.withClient(func(ctx context.Context, c *admin.Client, cmd *cobra.Command, args []string) error {
		now := time.Now()
		sel, _, err := s.Selector(args, now)
		if err != nil {
			return usageError(err)
		}
		out := &stream{w: cmd.OutOrStdout(), f: *f, head: []string{"ID", "STATE", "AGE", "NEXT", "TRIES", "SENDER", "RECIPIENT", "WHY"}}
		if err := c.Queue(ctx, sel, func(it *admin.Item) error { return out.add(it, itemRow(it, now)) }); err != nil {
			return err
		}
		return out.end()
	})
	return cmd
}

func itemRow(it *admin.Item, now time.Time) []string {
	return []string{
		it.ID, it.State, ago(now.Sub(it.Created)), nextTry(it, now), strconv.Itoa(it.Attempts),
		path(it.Sender), path(it.Rcpt), why(it),
	}
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

// queueChange is a command that changes items.
type queueChange struct {
	name, short, done string
	why               string // the reason, unless --because has another
	via               bool   // wants a way
	all               bool   // no choice is everything
}

func newQueueChange(g *global, q queueChange) *cobra.Command {
	s := &selection{}
	ch := admin.Change{}
	var dry bool
	cmd := &cobra.Command{
		Use: q.name + " ID ... | " + selector.All, Short: q.short,
		Example: "  mtad queue " + q.name + " --domain example.net --age '>2h' --dry-run",
	}
	s.add(cmd)
	cmd.Flags().BoolVar(&dry, "dry-run", false, "only count")
	if q.why != "" {
		cmd.Flags().StringVar(&ch.Why, "because", q.why, "why, for those who look at it and are told of it")
	}
	if q.via {
		cmd.Example = "  mtad queue reroute --domain example.net --via smarthost\n  mtad queue reroute ID --via smtp:[192.0.2.7]:2525"
		cmd.Flags().StringVar(&ch.Via, "via", "", "the name of a route block, transport:nexthop, or a nexthop")
	}
	f := addFormat(cmd)
	cmd.RunE = g.withClient(func(ctx context.Context, c *admin.Client, cmd *cobra.Command, args []string) error {
		sel, all, err := s.Selector(args, time.Now())
		if err != nil {
			return usageError(err)
		}
		ch.Selector, ch.All, ch.DryRun = sel, all || q.all, dry
		if sel.IsZero() && !ch.All {
			return exitf(exitUsage, "say which: IDs, --from, --to, --domain, --status, --reason, --age, --filter, or %s", selector.All)
		}
		counts, err := c.ChangeQueue(ctx, q.name, ch)
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
