package main

import (
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"mtad/cmd/mtad/boot"
	"mtad/cmd/mtad/routes"
	"mtad/config"
	"mtad/deliver"
	"mtad/milterd"
	"mtad/pipeline"
)

func newMilter(g *global) *cobra.Command {
	return noun("milter", "Serve a pipeline to another mail server", newMilterServe(g))
}

func newMilterServe(g *global) *cobra.Command {
	var only milterOnly
	cmd := &cobra.Command{
		Use: "serve", Args: cobra.NoArgs, Short: "Be a milter for Postfix or Sendmail, and nothing else",
		Long: "Be a milter for Postfix or Sendmail, and nothing else: the listeners with protocol = \"milter\" are served,\n" +
			"or the one address of --listen. A server that runs already does this too: add such a listener to its configuration.",
		Example: "  mtad milter serve --listen unix:/run/mtad/milter.sock --pipeline inbound\n  postconf -e smtpd_milters=unix:/run/mtad/milter.sock",
		RunE: func(cmd *cobra.Command, _ []string) error {
			path, err := g.configPath()
			if err != nil {
				return err
			}
			start, err := boot.Inherit()
			if err != nil {
				return &exitError{exitConfig, err}
			}
			ctx, stop := start.Context(cmd.Context())
			defer stop()
			return serve(ctx, source{path, only.choose}, start, cmd.ErrOrStderr(), nil)
		},
	}
	cmd.Flags().StringVar(&only.addr, "listen", "", "where: unix:/path or host:port, instead of the configuration's listeners")
	cmd.Flags().StringVar(&only.pipeline, "pipeline", "", "the pipeline to serve with --listen (default: the only one that an SMTP listener has)")
	return cmd
}

// milterOnly keeps the listeners for mail servers of a configuration.
type milterOnly struct{ addr, pipeline string }

func (m milterOnly) choose(c *loaded) error {
	if m.addr == "" {
		if m.pipeline != "" {
			return exitf(exitUsage, "--pipeline needs --listen")
		}
		c.listeners = slices.DeleteFunc(c.listeners, func(l listener) bool { return l.Protocol != protocolMilter })
		if len(c.listeners) == 0 {
			return exitf(exitConfig, "no listener has protocol = %q: add one, or say --listen", protocolMilter)
		}
		return nil
	}
	if _, unix := boot.UnixPath(m.addr); !unix && !routes.HostPort(m.addr) {
		return exitf(exitUsage, "--listen %q: want unix:/path or host:port", m.addr)
	}
	var names, used []string
	for _, b := range c.pipelines {
		names = append(names, b.Name())
	}
	for _, l := range c.listeners {
		if l.Protocol == protocolSMTP && !slices.Contains(used, l.Pipeline) {
			used = append(used, l.Pipeline)
		}
	}
	name := m.pipeline
	switch {
	case name == "" && len(used) != 1:
		return exitf(exitUsage, "say which pipeline: --pipeline, one of %v", names)
	case name == "":
		name = used[0]
	case !slices.Contains(names, name):
		return exitf(exitConfig, "there is no pipeline %q, only %v", name, names)
	}
	c.listeners = []listener{{name: "milter", listenerSettings: listenerSettings{
		Protocol: protocolMilter, Addr: []string{m.addr}, TLS: "none", Auth: "none", Pipeline: name, SocketMode: defaultSocketMode,
	}}}
	return nil
}

const defaultSocketMode = "0660"

// socketMode reads the option of that name.
func socketMode(s string) (fs.FileMode, error) {
	n, err := strconv.ParseUint(s, 8, 9)
	if err != nil {
		return 0, fmt.Errorf("%q is no mode: want %q, say", s, defaultSocketMode)
	}
	return fs.FileMode(n), nil
}

// checkMilter finds what a listener for mail servers can not have.
func (l *listener) checkMilter(b config.Block, diags *config.Diagnostics) {
	if l.TLS != "none" {
		diags.Add(b.Errorf("tls", "a mail server speaks to its milters without TLS: keep the socket on this machine, or its network private"))
	}
	if l.Auth != "none" {
		diags.Add(b.Errorf("auth", "clients log in at the mail server, which tells its milters"))
	}
}

// newMilterd makes the server of a listener for mail servers.
func (h *house) newMilterd(c *loaded, l listener) (*milterd.Server, error) {
	smtpLimits := c.limits()
	return milterd.New(milterd.Config{
		Name: l.name, Hostname: c.top.Hostname,
		Limits: milterd.Limits{
			MessageSize: smtpLimits.MessageSize, Recipients: smtpLimits.Recipients, Connections: smtpLimits.Connections,
			Message: smtpLimits.Message, Header: smtpLimits.Header,
		},
		SpoolDir: filepath.Join(c.top.DataDir, "spool"),
		Pipeline: func() (*pipeline.Pipeline, func()) { return h.listenerPipeline(l.name) },
		Trusted:  func(a netip.Addr) bool { return h.config.Load().trusted(a) },
		Hide:     h.hide(l),
		Finish:   func(v *pipeline.View) *pipeline.View { return deliver.WithResults(v, c.top.Hostname) },
		Trace:    h.trace,
		Log:      h.log,
	})
}

// network are the addresses that are no paths.
func (l *listener) network() (out []string) {
	for _, a := range l.Addr {
		if _, unix := boot.UnixPath(a); !unix {
			out = append(out, a)
		}
	}
	return out
}

// bind makes a listener's sockets. Those with a path need no root, and are this
// process's own.
func (h *house) bind(l listener) (out []net.Listener, err error) {
	if out, err = h.start.Listen(l.name, l.network()...); err != nil {
		return nil, busyPort(err)
	}
	mode, err := socketMode(l.SocketMode)
	for _, a := range l.Addr {
		path, unix := boot.UnixPath(a)
		if !unix || err != nil {
			continue
		}
		var nl net.Listener
		if nl, err = boot.ListenUnix(path, mode); err == nil {
			out = append(out, nl)
		}
	}
	if err != nil {
		for _, nl := range out {
			nl.Close()
		}
		return nil, err
	}
	return out, nil
}
