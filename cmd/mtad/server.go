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
)

func newStatus(g *global) *cobra.Command {
	cmd := &cobra.Command{Use: "status", Short: "Tell how the server is", Args: cobra.NoArgs}
	f := addFormat(cmd)
	cmd.RunE = g.withClient(func(ctx context.Context, c *admin.Client, cmd *cobra.Command, _ []string) error {
		st, err := c.Status(ctx)
		if err != nil {
			return err
		}
		return printOne(cmd.OutOrStdout(), *f, st, func(w io.Writer) error { return printStatus(w, &st, time.Now()) })
	})
	return cmd
}

func printStatus(w io.Writer, st *admin.Status, now time.Time) error {
	out := &lines{w: w}
	out.printf("mtad %s on %s runs since %s (%s), process %d\n",
		clean(st.Version), clean(st.Hostname), st.Started.Local().Format("2 Jan 2006 15:04:05"), ago(now.Sub(st.Started)), st.PID)
	out.printf("configuration %s, data %s\n", clean(st.Config), clean(st.DataDir))
	out.printf("queue %s, %d of them held; journal %s behind (%d octets); traces %d kept, %d lost\n\n",
		plural(st.Queue.Items, "recipient"), st.Queue.Held, plural(st.Journal.Records, "message"), st.Journal.Octets,
		st.Traces.Kept, st.Traces.Dropped)
	if out.err != nil {
		return out.err
	}
	if err := printListeners(w, st.Listeners); err != nil {
		return err
	}
	if len(st.Steps) == 0 {
		return nil
	}
	if _, err := fmt.Fprintln(w); err != nil {
		return err
	}
	return printSteps(w, st.Steps)
}

func printListeners(w io.Writer, list []admin.Listener) error {
	var rows [][]string
	for _, l := range list {
		rows = append(rows, []string{l.Name, l.Protocol, l.TLS, strings.Join(l.Addr, " "), strconv.Itoa(l.Connections)})
	}
	return printTable(w, []string{"LISTENER", "PROTOCOL", "TLS", "ADDRESS", "CLIENTS"}, rows)
}

func printSteps(w io.Writer, list []admin.Step) error {
	var rows [][]string
	for _, s := range list {
		state := "ok"
		if s.BreakerOpen {
			state = "left alone: it failed repeatedly"
		}
		mean := ""
		if s.Calls > 0 {
			mean = took(s.Mean)
		}
		no := s.Actions["reject"] + s.Actions["tempfail"] + s.Actions["disconnect"]
		rows = append(rows, []string{
			s.Pipeline, s.Step, s.Kind, strconv.FormatInt(s.Calls, 10), strconv.FormatInt(no, 10),
			strconv.FormatInt(s.Faults, 10), mean, state,
		})
	}
	return printTable(w, []string{"PIPELINE", "FILTER", "TYPE", "CALLS", "REFUSED", "FAULTS", "MEAN", "STATE"}, rows)
}

func newReload(g *global) *cobra.Command {
	return &cobra.Command{
		Use: "reload", Short: "Put the changed configuration in force; an error in it leaves the old one running", Args: cobra.NoArgs,
		RunE: g.withClient(func(ctx context.Context, c *admin.Client, cmd *cobra.Command, _ []string) error {
			r, err := c.Reload(ctx)
			if err != nil {
				return err
			}
			w := cmd.OutOrStdout()
			fmt.Fprintln(w, "reloaded")
			if len(r.NeedsRestart) > 0 {
				fmt.Fprintf(w, "in force after a restart: %s\n", clean(strings.Join(r.NeedsRestart, ", ")))
			}
			return nil
		}),
	}
}

// stopTime is how long `mtad stop` waits: longer than the server drains.
const stopTime = drainTime + 50*time.Second

func newStop(g *global) *cobra.Command {
	return &cobra.Command{
		Use: "stop", Short: "Stop the server; clients may finish what they are at", Args: cobra.NoArgs,
		RunE: g.withClient(func(ctx context.Context, c *admin.Client, cmd *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeout(ctx, stopTime)
			defer cancel()
			info, err := c.Stop(ctx)
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "stopped (process %d)\n", info.PID)
			return nil
		}),
	}
}
