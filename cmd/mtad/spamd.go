package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"mtad/cmd/mtad/spamserve"
)

func newSpamd() *cobra.Command {
	var o spamserve.Options
	var src spamSource
	cmd := &cobra.Command{
		Use: "spamd", Short: "Serve the rules to spamc and whoever else speaks spamd's protocol", Args: cobra.NoArgs,
		Long: "Serve the rules to spamc, Exim and whoever else speaks SpamAssassin's spamd protocol, until SIGINT or SIGTERM.\n" +
			"The rules are read once. With --state Bayes is asked, learns what TELL (spamc -L) says, and unasked what is\n" +
			"clear; without it TELL is refused. A listener of the server with protocol = \"spamd\" has the server's Bayes.",
		Example: "  mtad spam spamd --listen 127.0.0.1:7830\n  spamc -p 7830 -R < message.eml",
	}
	src.flags(cmd)
	f := cmd.Flags()
	f.StringVar(&o.Listen, "listen", "127.0.0.1:783", "where: host:port or unix:/path")
	f.StringSliceVar(&o.Allow, "allow", nil, "addresses and networks of clients, instead of this machine alone")
	f.IntVar(&o.MaxSize, "max-size", spamserve.MaxSize, "octets of a message, unpacked; larger ones are refused")
	f.IntVar(&o.MaxRequests, "max-requests", 50, "requests at once; twice as many clients may be connected")
	f.DurationVar(&o.Timeout, "timeout", 5*time.Minute, "how long one request may take")
	f.StringVar(&o.State, "state", "", "a directory for what is learned, made if it is missing; not that of a server")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		src.bayes = o.State != ""
		rs, e, err := src.load()
		if err != nil {
			return err
		}
		src.tellFaults(cmd.ErrOrStderr(), rs, e)
		go e.Warm()
		debug.FreeOSMemory() // reading rules takes much more than they do
		ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		return spamdError(spamserve.Serve(ctx, o, e, slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), nil)), func(a net.Addr) {
			fmt.Fprintf(cmd.ErrOrStderr(), "spamd: %d rules, listening on %s\n", len(e.Rules()), a)
		}))
	}
	return cmd
}

func spamdError(err error) error {
	switch {
	case err == nil, errors.Is(err, context.Canceled):
		return nil
	case errors.Is(err, spamserve.ErrUsage):
		return &exitError{exitUsage, err}
	}
	return &exitError{exitTemp, err}
}
