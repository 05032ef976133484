package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"mtad/cmd/mtad/boot"
	"mtad/cmd/mtad/logs"
	"mtad/cmd/mtad/users"
	"mtad/deliver"
	"mtad/deliver/relay"
	"mtad/deliver/route"
	"mtad/directory"
	"mtad/dns"
	"mtad/mailbox"
	"mtad/pipeline"
	"mtad/plugins"
	"mtad/queue"
	"mtad/smtp"
	"mtad/smtpd"
	"mtad/spam"
	"mtad/spamdb"
	"mtad/store"
	"mtad/trace"
)

// house is the running server: every room, wired.
type house struct {
	from   source // of the configuration
	start  *boot.Start
	hup    <-chan os.Signal // SIGHUP
	out    *logs.Log
	log    *slog.Logger // into out
	config atomic.Pointer[loaded]
	began  *loaded // the configuration that was started with
	cert   atomic.Pointer[tls.Certificate]

	db        *store.DB
	directory *directory.Directory
	mailboxes *mailbox.Store
	resolver  dns.Resolver
	relay     *relay.Client
	router    *route.Router
	agent     *deliver.Agent
	system    route.System // nil without a monitor
	hand      func(context.Context, deliver.Handing) smtp.Reply
	queue     *queue.Queue
	set       *pipeline.Set
	traces    *trace.Log
	learned   *spamdb.Keeper
	rules     spam.Engines     // of filters
	asked     []*pipelineRules // by listeners for spamc
	// installedRules reads the rules that are installed, once.
	installedRules func() (*spam.Engine, error)
	control        *control
	listening      []listening

	mu    sync.Mutex // of reloads
	built *built

	// Whoever holds swap reads a configuration and its pipelines,
	// never one of each.
	swap  sync.RWMutex
	paths map[string]string // the pipeline of each SMTP listener that is served
}

// open opens the store and everything that stands on it; nothing listens yet.
func open(ctx context.Context, from source, c *loaded, start *boot.Start, out *logs.Log) (*house, error) {
	h := &house{from: from, start: start, out: out, log: out.Logger, began: c}
	h.config.Store(c)
	c.log.target.Store(h.log)
	h.useMonitor(c)
	if err := h.useCertificate(c); err != nil {
		return nil, err
	}
	if err := h.openStore(ctx, c); err != nil {
		return nil, err
	}
	if err := h.openRest(ctx, c); err != nil {
		return nil, errors.Join(err, h.learned.Close(), h.traces.Close(), h.db.Close())
	}
	return h, nil
}

func (h *house) openStore(ctx context.Context, c *loaded) error {
	for _, dir := range []string{c.top.DataDir, filepath.Join(c.top.DataDir, "spool")} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return exitf(exitIO, "data_dir: %w", err)
		}
	}
	var err error
	h.db, err = store.Open(filepath.Join(c.top.DataDir, storeDir), store.Options{Logger: h.log}, schemas()...)
	if errors.Is(err, store.ErrNewer) {
		return &exitError{exitConfig, err} // trying again would not help
	}
	if err != nil {
		return &exitError{exitTemp, err}
	}
	if h.traces, err = trace.Open(filepath.Join(c.top.DataDir, traceFile), trace.Options{Logger: h.log}); err != nil {
		return errors.Join(&exitError{exitIO, err}, h.db.Close())
	}
	if h.mailboxes, err = mailbox.Open(ctx, h.db, mailbox.Options{Logger: h.log}); err == nil {
		h.directory, err = directory.New(h.db, directory.Options{Settings: directorySettings(c)})
	}
	if err != nil {
		return errors.Join(err, h.traces.Close(), h.db.Close())
	}
	h.learned = spamdb.NewKeeper(h.db, h.log)
	h.installedRules = sync.OnceValues(func() (*spam.Engine, error) { return spam.Open(nil, spam.Options{Bayes: true}) })
	return nil
}

func directorySettings(c *loaded) directory.Settings {
	return directory.Settings{DefaultDomain: c.top.Origin, Postmaster: c.top.Postmaster, Separator: c.top.Delimiter}
}

func (h *house) openRest(ctx context.Context, c *loaded) error {
	var err error
	if h.resolver, err = newResolver(c); err != nil {
		return err
	}
	h.relay = relay.New(relay.Config{Hostname: c.top.Hostname, DNS: h.resolver, Log: h.log, Self: h.self, Timeouts: c.timeouts()})
	h.router = route.New(h.directory, h.routing(c))
	if h.built, err = c.build(h.buildEnv(), nil); err != nil {
		return err
	}
	if err := h.built.start(ctx); err != nil {
		return err
	}
	h.set = pipeline.NewSet(h.built.pipelines)
	handed, err := h.directory.State("handed in")
	if err != nil {
		return err
	}
	h.agent = deliver.New(deliver.Config{
		Hostname: c.top.Hostname, DB: h.db, Mailboxes: h.mailboxes, Router: h.router,
		Delivery:  h.deliveryPipeline,
		Generated: func() (*pipeline.Pipeline, func()) { return h.set.Acquire("generated") },
		Trace:     h.trace, MaxAge: c.top.MaxAge, MaxAgeNull: c.top.MaxAgeNull,
		WarnLocal: c.top.WarnLocal, WarnOther: c.top.WarnOther, Log: h.log,
		Limits: c.messageLimits(), MaxHops: c.top.Hops, Budget: c.top.MessageTimeout, State: h.users().SieveState, Hand: h.hand, Handed: handed,
	})
	h.queue = queue.New(queue.Config{
		DB: h.db, Attempt: h.agent.Attempt, Report: h.agent.Report, WarnAfter: h.agent.WarnAfter,
		Again: h.agent.Again, Dest: h.agent.Dest, Changed: h.agent.Changed,
		PerDest: c.top.PerDest, Backoff: c.retries, Log: h.log,
	})
	h.agent.SetQueue(h.queue)
	if n := h.agent.Replay(ctx); n > 0 {
		h.log.Info("acted on messages that were accepted before the last stop", "messages", n)
	}
	return nil
}

// newResolver answers from the zone file, if there is one, else asks the name
// servers.
func newResolver(c *loaded) (dns.Resolver, error) {
	if c.top.Zone != "" {
		z, err := dns.ReadZone(c.top.Zone)
		if err != nil {
			return nil, &exitError{exitConfig, err}
		}
		return z, nil
	}
	return dns.NewClient(dns.ClientConfig{Servers: c.top.Nameservers})
}

func (h *house) buildEnv() buildEnv {
	return buildEnv{
		log: h.log, dns: h.resolver,
		kv:   func(ns string) (pipeline.KV, error) { return h.directory.State(ns) },
		deps: plugins.Deps{Sieve: h.users(), Lua: h.users(), Spam: h.learned, SpamPreferences: h.users(), SpamRules: &h.rules},
	}
}

func (h *house) users() users.Users {
	return users.Users{Directory: h.directory, Mailboxes: h.mailboxes}
}

// self reports whether an address is one of the SMTP or LMTP listeners: mail relayed
// there would come back.
func (h *house) self(a netip.AddrPort) bool {
	for _, l := range h.config.Load().listeners {
		if l.Protocol != protocolSMTP && l.Protocol != protocolLMTP {
			continue
		}
		for _, addr := range l.Addr {
			if listens(addr, a) {
				return true
			}
		}
	}
	return false
}

// listens reports whether a listener at addr gets connections to a.
func listens(addr string, a netip.AddrPort) bool {
	if strings.HasPrefix(addr, ":") {
		addr = "[::]" + addr // everywhere, as net.Listen has it
	}
	l, err := netip.ParseAddrPort(addr)
	if err != nil || l.Port() != a.Port() {
		return false
	}
	return l.Addr() == a.Addr() || l.Addr().IsUnspecified() && (a.Addr().IsLoopback() || localAddress(a.Addr()))
}

// trace keeps what happened to a message.
func (h *house) trace(t pipeline.Trace) {
	h.traces.Add(t) // first: whoever finds an ID in the log can ask for its story
	h.out.Trace(t)
	if !h.log.Enabled(context.Background(), slog.LevelDebug) {
		return
	}
	for _, e := range t.Events {
		h.log.Debug("event", "id", t.ID, "kind", string(e.Kind), "stage", e.Stage, "step", e.Step,
			"action", e.Action, "reply", e.Reply, "rcpt", e.Rcpt, "host", e.Host, "note", e.Note, "err", e.Err)
	}
}

// useCertificate puts the configuration's certificate in force.
func (h *house) useCertificate(c *loaded) error {
	cert, err := c.certificate()
	if err == nil && cert != nil {
		h.cert.Store(cert)
	}
	return err
}

// tlsConfig is for all listeners; a reload changes the certificate under it.
func (h *house) tlsConfig() *tls.Config {
	if h.cert.Load() == nil {
		return nil
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return h.cert.Load(), nil
		},
	}
}

// warnPostmaster tells the administrator if mail for postmaster, which must
// always arrive (RFC 5321, 4.5.1), leads nowhere. The directory may be filled
// later, so it is no error.
func (h *house) warnPostmaster(ctx context.Context, c *loaded) {
	addr := smtp.Address{Local: "postmaster", Domain: c.top.Origin}
	res, err := h.router.Resolve(ctx, addr, false)
	if err == nil && (res.Class == pipeline.Local || res.Class == pipeline.Alias) {
		return
	}
	h.log.Warn("nobody gets postmaster's mail", "address", addr.String(), "err", err,
		"do", "set postmaster to an address that exists, or run `mtad alias add "+addr.String()+" ADDRESS`")
}

// route answers the SMTP server's question who a recipient is.
func (h *house) route(ctx context.Context, v *pipeline.View, rcpt smtp.Address) smtpd.Route {
	c := v.Client()
	res, err := h.router.Resolve(ctx, rcpt, c.Trusted || c.Auth != nil)
	if err != nil {
		h.log.Error("look up recipient", "rcpt", rcpt.String(), "err", err)
		return smtpd.Route{Reply: replyLookup}
	}
	reply := res.Reply
	if reply.IsZero() {
		reply = classReplies[res.Class]
	}
	if res.Class == pipeline.Relayed && c.Protocol == protocolLMTP {
		// An LMTP server delivers; who keeps a queue sends on himself.
		res.Class, reply = pipeline.RelayDeny, classReplies[pipeline.RelayDeny]
	}
	if res.Class == pipeline.Relayed {
		reply, err = h.undeliverable(ctx, v.Sender(), rcpt)
		if err != nil {
			h.log.Error("look up the way to a recipient", "rcpt", rcpt.String(), "err", err)
			reply = replyLookup
		}
	}
	return smtpd.Route{Class: res.Class, Exempt: res.Exempt, Reply: reply}
}

// undeliverable is what is said of a recipient whom transport_maps has refused.
func (h *house) undeliverable(ctx context.Context, sender, rcpt smtp.Address) (smtp.Reply, error) {
	way, err := h.router.Way(ctx, sender, rcpt)
	if err != nil || way.Via != route.ViaError {
		return smtp.Reply{}, err
	}
	return way.Refusal(), nil
}

// ours reports whether an address is one of this machine's.
func ours(a netip.Addr) bool { return a.IsLoopback() || localAddress(a) }

// authenticate checks a password for SMTP.
func (h *house) authenticate(ctx context.Context, login, password string, _ netip.Addr) (string, error) {
	u, err := h.directory.Authenticate(ctx, login, password)
	if errors.Is(err, directory.ErrBadPassword) {
		return "", smtpd.ErrCredentials
	}
	return u.Address, err
}

// standing says what an address is to a user: the user's own are those that lead to
// the account and nowhere else, and those that are granted.
func (h *house) standing(ctx context.Context, user string, a smtp.Address) (smtpd.Standing, error) {
	u, err := h.directory.User(ctx, user)
	if errors.Is(err, directory.ErrNoUser) || errors.Is(err, directory.ErrBadAddress) {
		return smtpd.Foreign, nil // of another server, by XCLIENT, or removed since
	}
	if err != nil {
		return smtpd.Foreign, err
	}
	res, err := h.router.Resolve(ctx, a, true)
	if err != nil {
		return smtpd.Foreign, err
	}
	if len(res.Targets) == 1 && res.Targets[0].Kind == route.Mailbox && res.Targets[0].Account == u.ID {
		return smtpd.Own, nil
	}
	kind, err := h.directory.Granted(ctx, u.ID, a)
	return map[directory.GrantKind]smtpd.Standing{directory.SendAs: smtpd.Own, directory.OnBehalf: smtpd.OnBehalf}[kind], err
}

// names looks up a client's name; loopback has the one everybody knows.
func (h *house) names(ctx context.Context, a netip.Addr) (name, reverse string, temporary bool) {
	if a.IsLoopback() {
		return "localhost", "localhost", false
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	return dns.HostName(ctx, h.resolver, a)
}

// housekeep does what must be done at the start and every minute until ctx ends.
func (h *house) housekeep(ctx context.Context) {
	t := time.NewTicker(time.Minute)
	defer t.Stop()
	for {
		if r, err := h.db.Reclaim(ctx); err != nil && ctx.Err() == nil {
			h.log.Error("reclaim journal space", "err", err)
		} else if r.Segments > 0 {
			h.log.Info("reclaimed journal space", "segments", r.Segments)
		}
		releaseMemory()
		if _, err := h.directory.Sweep(ctx); err != nil && ctx.Err() == nil {
			h.log.Error("sweep expired state", "err", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}

// freeHeap is how much unused heap a server keeps for the next burst.
const freeHeap = 8 << 20

// releaseMemory gives back what a burst, or the hashing of a password, has left
// unused: with gcPercent as it is, that would stay for long.
func releaseMemory() {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	if m.HeapIdle-m.HeapReleased > freeHeap {
		debug.FreeOSMemory()
	}
}

// close closes everything; nothing may be listening any more.
func (h *house) close() error {
	h.agent.Wait()
	return errors.Join(h.relay.Close(), h.set.Close(), h.learned.Close(), h.db.Close(), h.traces.Close(), h.control.close())
}

func changedOnRestart(before, after *loaded) []string {
	keys := needsRestart(before, after)
	slices.Sort(keys)
	return slices.Compact(keys)
}

var errNoListener = fmt.Errorf("the configuration has no listener: nothing would be served")
