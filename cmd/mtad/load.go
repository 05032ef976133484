package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"os"
	"slices"
	"time"

	"mtad/cmd/mtad/routes"
	"mtad/cmd/mtad/users"
	"mtad/config"
	"mtad/dns"
	"mtad/lookup"
	"mtad/pipeline"
	"mtad/plugins"
	"mtad/plugins/spamscore"
	"mtad/smtp"
	"mtad/spam"
)

// loaded is a configuration that has been read and checked against itself.
type loaded struct {
	file      *config.File
	top       topSettings
	tls       *tlsSettings
	listeners []listener
	networks  *routes.Networks
	names     *routes.Opened
	log       *lateLog // of what goes wrong with tables later
	pipelines []config.Block
	retries   []time.Duration
}

type listener struct {
	name string
	listenerSettings
}

// loadConfig reads and checks a configuration. It builds no filters.
func loadConfig(path string) (*loaded, error) { return loadConfigWith(path, config.Options{}) }

// loadConfigWith does so where the files may be others than those on the disk.
func loadConfigWith(path string, o config.Options) (*loaded, error) {
	file, diags := config.Load(path, schema(), o)
	if diags != nil {
		return nil, diags
	}
	c := &loaded{file: file, log: &lateLog{}}
	root := file.Root()
	diags.Add(root.Decode(&c.top))
	if c.top.Origin == "" {
		c.top.Origin = c.top.Hostname
	}
	if !smtp.ValidHelo(c.top.Hostname) {
		diags.Add(root.Errorf("hostname", "%q is no host name and no address literal", c.top.Hostname))
	}
	if !smtp.ValidDomain(c.top.Origin) {
		diags.Add(root.Errorf("myorigin", "%q is no domain name", c.top.Origin))
	}
	c.pipelines = root.Blocks("pipeline")
	c.checkTop(root, &diags)
	diags.Add(c.readTLS(root))
	c.readNames(root, &diags)
	c.readListeners(root, &diags)
	return c, diags.Err()
}

// readNames reads what says whose names are ours, and where they lead. Files of
// tables are read too; nothing is connected to.
func (c *loaded) readNames(root config.Block, diags *config.Diagnostics) {
	named := routes.Read(root, diags)
	c.top.Check(root, named, diags)
	var err error
	if c.networks, err = c.top.OpenNetworks(root); err != nil {
		diags.Add(err)
	}
	if diags.Err() != nil {
		return
	}
	if c.names, err = c.top.Open(root, lookup.Options{Log: slog.New(c.log)}); err != nil {
		diags.Add(err)
		return
	}
	c.names.Hostname, c.names.Routes = c.top.Hostname, named
}

// trusted reports whether an address is in mynetworks.
func (c *loaded) trusted(a netip.Addr) bool { return c.networks.Has(a) }

func (c *loaded) readTLS(root config.Block) error {
	b, ok := root.Block("tls")
	if !ok {
		return nil
	}
	c.tls = &tlsSettings{block: b}
	return b.Decode(c.tls)
}

// certificate reads what the tls block names; nil if there is no such block.
func (c *loaded) certificate() (*tls.Certificate, error) {
	if c.tls == nil {
		return nil, nil
	}
	certPEM, err := os.ReadFile(c.tls.Cert)
	if err != nil {
		return nil, c.tls.block.Errorf("cert", "%v", err)
	}
	keyPEM, err := os.ReadFile(c.tls.Key)
	if err != nil {
		return nil, c.tls.block.Errorf("key", "%v", err)
	}
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return nil, c.tls.block.Errorf("cert", "%s and %s: %v", c.tls.Cert, c.tls.Key, err)
	}
	return &pair, nil
}

func (c *loaded) readListeners(root config.Block, diags *config.Diagnostics) {
	var names []string
	for _, p := range c.pipelines {
		names = append(names, p.Name())
	}
	taken := map[string]string{} // address to the listener that has it
	for _, b := range root.Blocks("listener") {
		l := listener{name: b.Name()}
		if err := b.Decode(&l.listenerSettings); err != nil {
			diags.Add(err)
			continue
		}
		l.Submission = l.Submission || l.Auth == "required" && l.Protocol != protocolLMTP
		l.Addr = c.top.Listen(l.Addr)
		switch {
		case l.name == httpName:
			diags.Add(b.Errorf("", "a listener can not be named %q: that is what the socket of the option http is called", l.name))
		case l.TLS != "none" && c.tls == nil:
			diags.Add(b.Errorf("tls", "tls = %q needs a certificate: add a block tls { cert = ..., key = ... }", l.TLS))
		case l.hasPipeline() && l.Pipeline == "":
			diags.Add(b.Errorf("", "listener %q needs a pipeline", l.name))
		case l.hasPipeline() && !slices.Contains(names, l.Pipeline):
			diags.Add(b.Unknown("pipeline", "pipeline", l.Pipeline, names))
		}
		l.check(b, diags)
		if l.Protocol == protocolSpamd {
			l.checkSpamd(b, c.pipelines, diags)
		} else {
			l.notSpamd(b, diags)
		}
		for _, a := range l.Addr {
			if other, ok := taken[a]; ok {
				diags.Add(b.Errorf("addr", "%s is the address of listener %q already", a, other))
			}
			taken[a] = l.name
		}
		c.listeners = append(c.listeners, l)
	}
}

// buildEnv is what building filters takes from the running house. Its zero value
// is enough to check a configuration.
type buildEnv struct {
	log  *slog.Logger
	dns  dns.Resolver
	kv   func(namespace string) (pipeline.KV, error)
	deps plugins.Deps
}

// offline is for checking a configuration.
func offline() buildEnv {
	return buildEnv{deps: plugins.Deps{Sieve: users.Users{}, Lua: users.Users{}, SpamPreferences: users.Users{}, SpamRules: &spam.Engines{}}}
}

// built is a configuration's pipelines, and the blocks they were made of.
type built struct {
	pipelines map[string]*pipeline.Pipeline
	steps     map[string]builtStep // by "pipeline/step"
}

type builtStep struct {
	block config.Block
	step  *pipeline.Step
}

// build makes the pipelines. Steps whose configuration is that of old are taken
// from there, with their pools, breakers and counters.
func (c *loaded) build(env buildEnv, old *built) (*built, error) {
	b, err := c.buildUnchecked(env, old)
	if err == nil {
		err = c.checkPatience(b)
	}
	return b, err
}

// buildUnchecked is build, whatever time the pipelines may take.
func (c *loaded) buildUnchecked(env buildEnv, old *built) (*built, error) {
	if env.log == nil {
		env.log = slog.New(slog.DiscardHandler)
	}
	out := &built{pipelines: map[string]*pipeline.Pipeline{}, steps: map[string]builtStep{}}
	var diags config.Diagnostics
	for _, b := range c.pipelines {
		var steps []*pipeline.Step
		for _, fb := range b.Blocks("filter") {
			key := b.Name() + "/" + fb.Name()
			st, err := c.step(env, old, b.Name(), key, fb)
			if err != nil {
				diags.Add(err)
				continue
			}
			steps = append(steps, st)
			out.steps[key] = builtStep{fb, st}
		}
		p, err := pipeline.New(b.Name(), steps, pipeline.Env{Log: env.log, DNS: env.dns})
		if err != nil {
			diags.Add(b.Errorf("", "%v", err))
			continue
		}
		out.pipelines[b.Name()] = p
	}
	for _, name := range []string{c.top.DeliveryName, "generated"} {
		if out.pipelines[name] == nil {
			p, err := pipeline.New(name, nil, pipeline.Env{Log: env.log})
			if err != nil {
				return nil, err
			}
			out.pipelines[name] = p
		}
	}
	return out, diags.Err()
}

// step makes one step, or takes it over.
func (c *loaded) step(env buildEnv, old *built, pipe, key string, b config.Block) (*pipeline.Step, error) {
	if old != nil {
		if was, ok := old.steps[key]; ok && was.block.Equal(b) && !outdated(was.step.Filter) {
			return was.step, nil
		}
	}
	kind, ok := findKind(env.deps, b.Labels()[0])
	if !ok {
		return nil, b.Errorf("", "no filter %q", b.Labels()[0])
	}
	if role := c.roles(pipe); kind.Stages&role == 0 {
		return nil, b.Errorf("", "filter %q is asked at %s; pipeline %q runs %s only, so it would never be asked", kind.Name, kind.Stages, pipe, role)
	}
	var s stepSettings
	if err := b.Decode(&s); err != nil {
		return nil, err
	}
	cond, diags := config.CompileWhen(s.When, pipeline.Variables())
	if diags != nil {
		return nil, diags
	}
	fenv := pipeline.Env{Log: env.log.With("filter", key), DNS: dns.Recorded{Resolver: env.dns}, Now: time.Now}
	if env.kv != nil {
		var err error
		if fenv.KV, err = env.kv("filter." + b.Name()); err != nil {
			return nil, b.Errorf("", "%v", err)
		}
	}
	f, err := kind.New(b, fenv)
	if err != nil {
		return nil, err
	}
	// Its options decide where it is asked. Scripts, that can be changed at any time, are not held to that.
	if _, ours := spamscore.Judge(f); ours && f.Stages()&c.roles(pipe) == 0 {
		return nil, b.Errorf("", "with these options filter %q is asked at %s; pipeline %q runs %s only, so it would never be asked", kind.Name, f.Stages(), pipe, c.roles(pipe))
	}
	onError, _ := pipeline.ParseAction(s.OnError)
	return &pipeline.Step{
		Name: b.Name(), Kind: kind.Name, Filter: f, When: cond, Timeout: s.Timeout, OnError: onError,
		Mode:   map[string]pipeline.Mode{"enforce": pipeline.Enforce, "shadow": pipeline.Shadow, "off": pipeline.Off}[s.Mode],
		Always: s.Always, MaxConcurrent: s.MaxConcurrent,
	}, nil
}

// roles are the stages that a pipeline runs: it may serve listeners and local
// delivery both.
func (c *loaded) roles(name string) pipeline.Stages {
	var set pipeline.Stages
	for _, l := range c.listeners {
		if l.Pipeline == name {
			set |= l.stages()
		}
	}
	if name == c.top.DeliveryName {
		set |= pipeline.DeliveryStages
	}
	if name == "generated" {
		set |= pipeline.GeneratedStages
	}
	if set == 0 {
		set = pipeline.ListenerStages // of a listener that is yet to be written
	}
	return set
}

// takesMail reports whether mail comes in here, for a pipeline.
func (l *listener) takesMail() bool {
	return l.Protocol == protocolSMTP || l.Protocol == protocolLMTP || l.Protocol == protocolMilter
}

// hasPipeline reports whether a pipeline is asked, if only for its rules.
func (l *listener) hasPipeline() bool { return l.takesMail() || l.Protocol == protocolSpamd }

// stages are those that a listener's pipeline runs. A mail server that asks us as
// a milter keeps the queue to itself; one for spamc runs none.
func (l *listener) stages() pipeline.Stages {
	switch l.Protocol {
	case protocolMilter:
		return pipeline.ListenerStages &^ pipeline.At(pipeline.Queued)
	case protocolSpamd:
		return 0
	}
	return pipeline.ListenerStages
}

func outdated(f pipeline.Filter) bool {
	o, ok := f.(pipeline.Outdater)
	return ok && o.Outdated()
}

func findKind(d plugins.Deps, name string) (pipeline.Kind, bool) {
	for _, k := range plugins.Kinds(d) {
		if k.Name == name {
			return k, true
		}
	}
	return pipeline.Kind{}, false
}

// start starts the pipelines; if one fails, none is left running.
func (b *built) start(ctx context.Context) error {
	var started []*pipeline.Pipeline
	for _, name := range slices.Sorted(maps.Keys(b.pipelines)) {
		p := b.pipelines[name]
		if err := p.Start(ctx); err != nil {
			for _, s := range started {
				s.Close()
			}
			return fmt.Errorf("start: %w", err)
		}
		started = append(started, p)
	}
	return nil
}

// stop closes pipelines that were started and are not to be used.
func (b *built) stop() {
	for _, p := range b.pipelines {
		p.Close()
	}
}
