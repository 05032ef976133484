package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"mtad/cmd/mtad/boot"
	"mtad/cmd/mtad/heap"
	"mtad/cmd/mtad/logs"
	"mtad/config"
	"mtad/deliver"
	"mtad/directory"
	"mtad/imapd"
	"mtad/lookup"
	"mtad/mailbox"
	"mtad/managesieved"
	"mtad/message"
	"mtad/milterd"
	"mtad/monitor"
	"mtad/monitor/grant"
	"mtad/pipeline"
	"mtad/smtp"
	"mtad/smtpd"
	"mtad/spam/spamd"
	"mtad/trace/postfix"
)

func newServe(g *global) *cobra.Command {
	var dev bool
	var dir string
	var base int
	cmd := &cobra.Command{
		Use: "serve", Short: "Run the server in the foreground", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if dev {
				return serveDev(cmd.Context(), dir, base, cmd.OutOrStdout(), cmd.ErrOrStderr())
			}
			path, err := g.configPath()
			if err != nil {
				return err
			}
			start, err := boot.Inherit()
			if err != nil {
				return &exitError{exitConfig, err}
			}
			if start.ShouldMonitor() {
				return monitorServe(cmd.Context(), path, start, cmd.ErrOrStderr())
			}
			ctx, stop := start.Context(cmd.Context())
			defer stop()
			return serve(ctx, source{path: path}, start, cmd.ErrOrStderr(), nil)
		},
	}
	cmd.Flags().BoolVar(&dev, "dev", false, "try it: loopback, high ports, a CA of its own, demo accounts, no root, no DNS")
	cmd.Flags().StringVar(&dir, "dir", devDir, "where --dev keeps everything")
	cmd.Flags().IntVar(&base, "base-port", 10000, "what --dev adds to the well-known ports")
	return cmd
}

// drainTime is how long a stopping server waits for its clients.
const drainTime = 10 * time.Second

// loadServed loads a configuration that something is to be served by.
func loadServed(path string) (*loaded, error) {
	return source{path: path}.loadServed()
}

// source is where a configuration comes from, and what of it is served.
type source struct {
	path   string
	choose func(*loaded) error // may be nil
}

func (s source) load() (*loaded, error) {
	c, err := loadConfig(s.path)
	if err == nil && s.choose != nil {
		err = s.choose(c)
	}
	return c, err
}

func (s source) loadServed() (*loaded, error) {
	c, err := s.load()
	if err == nil && len(c.listeners) == 0 {
		err = &exitError{exitConfig, errNoListener}
	}
	return c, err
}

// monitorServe is root's process: it binds the sockets, and starts the server as
// another user.
func monitorServe(ctx context.Context, path string, start *boot.Start, logTo io.Writer) error {
	c, err := loadServed(path)
	if err != nil {
		return err
	}
	out := logs.Open(logTo, c.top.Place, c.top.Hostname)
	defer out.Close()
	root := boot.Root{
		User: c.top.User, DataDir: c.top.DataDir, Maildrop: c.top.Maildrop, Args: os.Args[1:],
		Log: out.Logger, Policy: grant.New(c.top.Grants(c.names.Routes)),
	}
	for _, l := range c.listeners {
		root.Places = append(root.Places, boot.Place{Name: l.name, Addrs: l.network()})
	}
	if c.top.HTTP != "" {
		root.Places = append(root.Places, boot.Place{Name: httpName, Addrs: []string{c.top.HTTP}})
	}
	status, err := start.Monitor(ctx, root)
	var nobody *boot.UserError
	switch {
	case errors.As(err, &nobody):
		return &exitError{exitConfig, nobody}
	case err != nil:
		return &exitError{exitTemp, busyPort(err)}
	case status != 0:
		return &exitError{status, errors.New("")} // the server has said why
	}
	return nil
}

// serve runs the server until ctx ends. ready is called when everything listens.
func serve(ctx context.Context, from source, start *boot.Start, logTo io.Writer, ready func(*house) error) error {
	hup := make(chan os.Signal, 1) // a signal that comes too early is not the end
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	c, err := from.loadServed()
	if err != nil {
		return err
	}
	syscall.Umask(0o077) // mail is nobody else's to read
	heap.Watch(ctx)
	out := logs.Open(logTo, c.top.Place, c.top.Hostname)
	defer out.Close()
	h, err := open(ctx, from, c, start, out)
	if err != nil {
		return err
	}
	h.hup = hup
	defer func() {
		if err := h.close(); err != nil {
			out.Error("close", "err", err)
		}
	}()
	return h.run(ctx, c, ready)
}

// run serves until ctx ends or a part fails.
func (h *house) run(ctx context.Context, c *loaded, ready func(*house) error) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	if err := h.openControl(c, func() { stop(nil) }); err != nil {
		return err
	}
	servers, err := h.listen(c)
	if err != nil {
		return err
	}
	// What listens is drained before what it stands on stops.
	background, stopBackground := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan struct{})
	go func() {
		defer close(done)
		h.queue.Run(background)
	}()
	go h.housekeep(background)
	picking := make(chan struct{})
	scanner := h.desk().Scanner() // what is wrong with the directory is logged before anybody is told that we serve
	go func() {
		defer close(picking)
		if scanner != nil {
			scanner.Run(ctx)
		}
	}()
	go h.reloadOnHangup(background)
	for _, s := range servers {
		go func() {
			if err := s.serve(background); err != nil {
				stop(fmt.Errorf("listener %s: %w", s.name, err))
			}
		}()
	}
	h.serveControl(stop)
	if ready != nil {
		if err := ready(h); err != nil {
			stop(err)
		}
	}
	h.warnPostmaster(ctx, c)
	h.log.Info("serving", "config", h.from.path, "data", c.top.DataDir)
	h.tell(monitor.Ready)
	heap.Release()
	<-ctx.Done()
	h.tell(monitor.Stopping)
	h.log.Info("stopping")
	h.control.server.Drain()
	drain, cancel := context.WithTimeout(background, drainTime)
	defer cancel()
	for _, s := range servers {
		s.shutdown(drain)
	}
	<-picking
	stopBackground()
	<-done
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// server is one thing that listens.
type server struct {
	name     string
	serve    func(context.Context) error
	shutdown func(context.Context)
}

// listen binds every address, so that a busy port is known before anything
// runs.
func (h *house) listen(c *loaded) (servers []server, err error) {
	var bound []net.Listener
	defer func() {
		if err != nil {
			for _, l := range bound {
				l.Close()
			}
		}
	}()
	imap, err := h.newIMAP(c)
	if err != nil {
		return nil, err
	}
	h.paths = map[string]string{}
	for _, l := range c.listeners {
		sockets, err := h.bind(l)
		if err != nil {
			return nil, &exitError{exitTemp, fmt.Errorf("listener %s: %w", l.name, err)}
		}
		bound = append(bound, sockets...)
		v, err := h.service(c, l, imap)
		if err != nil {
			return nil, err
		}
		h.listening = append(h.listening, listening{l, v.connections})
		servers = append(servers, h.serversOf(l, v, sockets)...)
	}
	if err := h.start.Unused(); err != nil {
		return nil, &exitError{exitConfig, err}
	}
	return servers, nil
}

// service is what a listener serves.
type service struct {
	serve       func(context.Context, net.Listener) error
	closed      error // what serve returns after shutdown
	shutdown    func(context.Context) error
	connections func() int
}

func (h *house) service(c *loaded, l listener, imap *imapd.Server) (service, error) {
	switch l.Protocol {
	case protocolIMAP:
		serve := func(ctx context.Context, nl net.Listener) error { return imap.Serve(ctx, nl, l.TLS == "implicit") }
		return service{serve, imapd.ErrClosed, imap.Shutdown, imap.Connections}, nil
	case protocolManageSieve:
		srv, err := h.newManageSieve(c, l)
		if err != nil {
			return service{}, err
		}
		return service{srv.Serve, managesieved.ErrClosed, srv.Shutdown, srv.Connections}, nil
	case protocolMilter:
		h.paths[l.name] = l.Pipeline
		srv, err := h.newMilterd(c, l)
		if err != nil {
			return service{}, err
		}
		return service{srv.Serve, milterd.ErrClosed, srv.Shutdown, srv.Connections}, nil
	case protocolSpamd:
		h.paths[l.name] = l.Pipeline
		srv, err := h.newSpamd(c, l)
		if err != nil {
			return service{}, err
		}
		return service{srv.Serve, spamd.ErrClosed, srv.Shutdown, srv.Connections}, nil
	}
	h.paths[l.name] = l.Pipeline
	srv, err := smtpd.New(h.smtpConfig(c, l))
	if err != nil {
		return service{}, err
	}
	return service{srv.Serve, smtpd.ErrClosed, srv.Shutdown, srv.Connections}, nil
}

func (h *house) serversOf(l listener, v service, sockets []net.Listener) (out []server) {
	for _, nl := range sockets {
		out = append(out, server{
			name:  l.name,
			serve: func(ctx context.Context) error { return unless(v.serve(ctx, nl), v.closed) },
			shutdown: func(ctx context.Context) {
				if err := v.shutdown(ctx); err != nil {
					h.log.Warn("clients were cut off", "listener", l.name)
				}
			},
		})
	}
	return out
}

func unless(err, expected error) error {
	if errors.Is(err, expected) {
		return nil
	}
	return err
}

// busyPort tells what to do about an address that can not be had.
func busyPort(err error) error {
	var at *boot.AddrError
	switch {
	case !errors.As(err, &at):
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("%s is in use by another program; change addr, or with --dev choose other ports with --base-port", at.Addr)
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("%s: ports below 1024 need root, CAP_NET_BIND_SERVICE, or socket activation", at.Addr)
	}
	return err
}

// tell tells the service manager.
func (h *house) tell(s monitor.State) {
	if err := h.start.Tell(s); err != nil {
		h.log.Warn("service manager", "err", err)
	}
}

// smtpConfig makes a listener's configuration.
func (h *house) smtpConfig(c *loaded, l listener) smtpd.Config {
	need := map[string]smtpd.Need{"none": smtpd.Never, "optional": smtpd.Optional, "opportunistic": smtpd.Optional, "required": smtpd.Required}
	return smtpd.Config{
		Name: l.name, Hostname: c.top.Hostname,
		TLS: h.tlsConfig(), StartTLS: need[l.TLS], Implicit: l.TLS == "implicit", Auth: need[l.Auth],
		LMTP: l.Protocol == protocolLMTP, Submission: l.Submission, Strict: l.Strict, SMTPUTF8: true, DSN: true, PRDR: true, GreetDelay: l.GreetDelay,
		Limits:       c.limits(),
		SpoolDir:     filepath.Join(c.top.DataDir, "spool"),
		Pipeline:     func() (*pipeline.Pipeline, func()) { return h.listenerPipeline(l.name) },
		Names:        h.names,
		Trusted:      func(a netip.Addr) bool { return h.config.Load().trusted(a) },
		Authenticate: h.authenticate,
		Sender:       h.standing,
		Route:        h.route,
		XClient:      xclient(l),
		Hide:         h.hide(l),
		Accept:       h.agent.Accept,
		Trace:        h.trace,
		Watch:        h.smtpWatch(),
		Log:          h.log,
	}
}

// xclient says who may pretend to be another client.
func xclient(l listener) func(netip.Addr) bool {
	return func(a netip.Addr) bool {
		for _, n := range l.XClient {
			if p, err := lookup.ParseNetwork(n); err == nil && p.Contains(a) {
				return true
			}
		}
		return false
	}
}

// hide says which inbound fields are forgeries of ours: results under our name,
// and spam verdicts. Users may send what they like, but who gets a blind copy is
// nobody's business.
func (h *house) hide(l listener) func(message.Field) bool {
	if l.Submission { // RFC 5322, 3.6.3; RFC 6409, 8
		return func(f message.Field) bool { return f.Is("Bcc") || f.Is("Resent-Bcc") }
	}
	return func(f message.Field) bool {
		return deliver.Forged(f, h.began.top.Hostname) // which is the authserv-id until a restart
	}
}

// Replies of the router's classes.
var (
	replyLookup  = smtp.NewReply(451, 3, 0, "Can not look up the recipient now")
	classReplies = map[pipeline.Class]smtp.Reply{
		pipeline.NoSuch:    smtp.NewReply(550, 1, 1, "No such user here"),
		pipeline.RelayDeny: smtp.NewReply(550, 7, 1, "Relay access denied"),
	}
)

// newIMAP makes the IMAP server, nil if no listener speaks it.
func (h *house) newIMAP(c *loaded) (*imapd.Server, error) {
	for _, l := range c.listeners {
		if l.Protocol == protocolIMAP {
			return imapd.New(imapd.Config{
				Mailbox: h.mailboxes, Authenticate: h.imapLogin, Watch: h.imapWatch(), TLS: h.tlsConfig(), Logger: h.log,
				MaxMessageSize: int64(c.top.MessageSize), SpoolDir: filepath.Join(c.top.DataDir, "spool"),
				MaxPerAddress: c.top.PerAddress, Limits: c.messageLimits(),
			})
		}
	}
	return nil, nil
}

// imapLogin checks a password for IMAP.
func (h *house) imapLogin(ctx context.Context, login, password string, from netip.AddrPort) (imapd.Account, error) {
	u, err := h.directory.Authenticate(ctx, login, password)
	if errors.Is(err, directory.ErrBadPassword) {
		h.traces.Add(pipeline.Trace{ID: message.NewID(time.Now()), Events: []pipeline.Event{{
			Time: time.Now(), Kind: pipeline.EventLogin, Stage: "imap", Host: pipeline.Peer(from), Action: "failed", Note: login + " by PLAIN",
		}}})
		return imapd.Account{}, imapd.ErrCredentials
	}
	return imapd.Account{ID: mailbox.AccountID(u.ID), Name: u.Address}, err
}

// smtpWatch tells the log of connections, if it has the form for it.
func (h *house) smtpWatch() func(pipeline.Event) {
	if mail := h.out.Mail(); mail != nil {
		return mail.Connection
	}
	return nil
}

// imapWatch tells the log of logins by IMAP, if it has the form for it.
func (h *house) imapWatch() func(imapd.Attempt) {
	mail := h.out.Mail()
	if mail == nil {
		return nil
	}
	return func(a imapd.Attempt) {
		mail.Login(postfix.Login{
			Time: time.Now(), OK: a.OK, User: a.Login, Mechanism: a.Mechanism, Remote: a.Remote, Local: a.Local,
			TLS: a.TLS, Failures: a.Failures, Took: a.Took,
		})
	}
}

// reloadOnHangup reloads the configuration at SIGHUP.
func (h *house) reloadOnHangup(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-h.hup:
			if _, err := h.reload(ctx); err != nil {
				h.log.Error("reload: the old configuration stays in force", "err", err)
			}
		}
	}
}

func needsRestart(before, after *loaded) []string {
	return config.NeedsRestart(before.file, after.file)
}

// localAddress reports whether an address is one of this machine's.
func localAddress(a netip.Addr) bool {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return false
	}
	for _, ia := range addrs {
		if p, err := netip.ParsePrefix(ia.String()); err == nil && p.Addr() == a {
			return true
		}
	}
	return false
}
