package main

import (
	"context"
	"errors"
	"io"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"mtad/admin"
	"mtad/cmd/mtad/compat"
	"mtad/message"
	"mtad/pipeline"
	"mtad/queue"
	"mtad/selector"
)

// queuedMessage is one message whole.
type queuedMessage struct {
	ID         string           `json:"id"`
	Sender     string           `json:"sender"`
	Created    time.Time        `json:"created"`
	Size       int64            `json:"size"`
	Recipients []admin.Item     `json:"recipients"`
	Events     []pipeline.Event `json:"events"` // the last
}

// lastEvents is how much of a message's trace is shown.
const lastEvents = 5

func newQueueShow(g *global) *cobra.Command {
	cmd := &cobra.Command{
		Use: "show ID", Short: "Show a message in the queue: each recipient, and what happened last", Args: cobra.ExactArgs(1),
	}
	f := addFormat(cmd)
	cmd.RunE = g.withClient(func(ctx context.Context, c *admin.Client, cmd *cobra.Command, args []string) error {
		id, err := message.ParseID(args[0])
		if err != nil {
			return &exitError{exitUsage, err}
		}
		items, err := c.QueueItems(ctx, selector.Selector{IDs: []string{id.String()}})
		if err != nil {
			return err
		}
		if len(items) == 0 {
			return exitf(exitNo, "%s is not in the queue; `mtad trace %s` may tell why", id, id)
		}
		m := queuedMessage{ID: id.String(), Sender: items[0].Sender, Created: items[0].Created, Size: items[0].Size, Recipients: items}
		t, err := c.Trace(ctx, id)
		var none *admin.Error
		if err != nil && !(errors.As(err, &none) && none.Code == admin.No) {
			return err
		}
		m.Events = t.Events[max(0, len(t.Events)-lastEvents):]
		return printOne(cmd.OutOrStdout(), *f, m, func(w io.Writer) error { return printMessage(w, &m, time.Now()) })
	})
	return cmd
}

func printMessage(w io.Writer, m *queuedMessage, now time.Time) error {
	out := &lines{w: w}
	out.printf("%s  from %s, %s old, %d octets\n", clean(m.ID), clean(path(m.Sender)), ago(now.Sub(m.Created)), m.Size)
	for i := range m.Recipients {
		printRecipient(out, &m.Recipients[i], now)
	}
	if len(m.Events) > 0 {
		out.printf("\nlast\n")
	}
	for _, e := range m.Events {
		l := lineOf(e)
		out.printf("  %s  %s%s\n", e.Time.Local().Format("2 Jan 15:04:05"), l.text(paint{colored(w)}), l.reply(paint{colored(w)}))
	}
	return out.err
}

func printRecipient(out *lines, it *admin.Item, now time.Time) {
	out.printf("\n%s  %s\n", clean(path(it.Rcpt)), it.State)
	out.printf("  destination  %s\n", clean(it.Dest))
	if it.Route != "" {
		out.printf("  sent by      %s, as it was rerouted\n", clean(it.Route))
	}
	switch {
	case it.Hold != "":
		out.printf("  held         %s\n", clean(it.Hold))
	case it.Ended != "":
		out.printf("  ended        %s\n", clean(it.Ended))
	default:
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

// moment is a time in the future, both ways.
func moment(t, now time.Time) string {
	if !t.After(now) {
		return "now"
	}
	return t.Local().Format("2 Jan 15:04:05") + " (in " + ago(t.Sub(now)) + ")"
}

func newQueueCat(g *global) *cobra.Command {
	var parts compat.Parts
	cmd := &cobra.Command{
		Use: "cat ID", Short: "Print a message in the queue: envelope, header and body, as postcat does", Args: cobra.ExactArgs(1),
		Example: "  mtad queue cat ID --header --body > message.eml   # octet for octet",
	}
	cmd.Flags().BoolVar(&parts.Envelope, "envelope", false, "print the envelope")
	cmd.Flags().BoolVar(&parts.Header, "header", false, "print the header")
	cmd.Flags().BoolVar(&parts.Body, "body", false, "print the body")
	cmd.RunE = g.withClient(func(ctx context.Context, c *admin.Client, cmd *cobra.Command, args []string) error {
		id, err := message.ParseID(args[0])
		if err != nil {
			return &exitError{exitUsage, err}
		}
		return compat.Cat(ctx, c, id, parts, cmd.OutOrStdout())
	})
	return cmd
}

func newQueueShape(g *global) *cobra.Command {
	of := queue.ShapeOf{}
	var sender bool
	cmd := &cobra.Command{
		Use: "shape [active|deferred|hold ...]", Short: "Show how old mail in the queue is, a line for each domain",
		Long: "Show how many recipients wait for how long, as qshape(1) does: a column for each\nrange of ages in minutes, a line for each domain. Without arguments that is the whole\nqueue; active is what is due now, deferred what waits for its next try.",
	}
	fl := cmd.Flags()
	fl.StringVar(&of.By, "by", "domain", "domain, sender, reply, route or mx")
	fl.BoolVarP(&sender, "sender", "s", false, "the senders' domains, and messages: --by sender")
	fl.BoolVarP(&of.Parents, "parents", "p", false, "lines for parent domains too")
	fl.IntVarP(&of.Min, "min-subdomains", "m", 5, "domains below a parent that is shown")
	fl.IntVarP(&of.Buckets, "buckets", "b", 10, "how many ranges")
	fl.DurationVarP(&of.Tick, "tick", "t", 5*time.Minute, "the first range")
	fl.BoolVarP(&of.Linear, "linear", "l", false, "all ranges are as long as the first")
	fl.IntVarP(&of.Limit, "number", "n", 50, "lines")
	f := addFormat(cmd)
	cmd.RunE = g.withClient(func(ctx context.Context, c *admin.Client, cmd *cobra.Command, args []string) error {
		if of.Queues = args; sender {
			of.By = "sender"
		}
		s, err := c.QueueShape(ctx, of)
		if err != nil {
			return err
		}
		return printOne(cmd.OutOrStdout(), *f, s, func(w io.Writer) error { return printShape(w, &s, time.Now()) })
	})
	return cmd
}

func printShape(w io.Writer, s *queue.Shape, now time.Time) error {
	head := append([]string{s.By}, compat.ShapeHeads(s)...)
	head = append(head, "OLDEST", "NEXT", "LAST REPLY")
	var rows [][]string
	for _, slot := range slices.Concat([]*queue.Slot{&s.Total}, s.Lines) {
		row := []string{slot.Key, strconv.Itoa(slot.Total)}
		for _, n := range slot.Buckets {
			row = append(row, strconv.Itoa(n))
		}
		next, oldest := "", ""
		if !slot.Next.IsZero() {
			next = ago(slot.Next.Sub(now))
		}
		if !slot.Oldest.IsZero() {
			oldest = ago(now.Sub(slot.Oldest))
		}
		reply := slot.Reply
		if s.By == "reply" || slot == &s.Total {
			reply = ""
		}
		rows = append(rows, append(row, oldest, next, reply))
	}
	return printTable(w, head, rows)
}
