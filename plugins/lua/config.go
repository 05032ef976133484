package lua

import (
	"log/slog"
	"net"
	"slices"
	"strings"
	"time"

	"mtad/config"
	"mtad/internal/command"
	"mtad/lookup"
	"mtad/pipeline"
	"mtad/plugins/lua/engine"
	"mtad/plugins/lua/worker"
)

// Kind is filter "lua". u finds the users' scripts; nil if there is no store.
func Kind(u Users) pipeline.Kind {
	return pipeline.Kind{
		Name: "lua", Doc: "Runs a Lua script: one of the configuration, or each recipient's own.",
		Stages: pipeline.ListenerStages | pipeline.DeliveryStages, Options: options,
		New: func(b config.Block, env pipeline.Env) (pipeline.Filter, error) { return newFilter(b, env, u) },
	}
}

type settings struct {
	Script       string            `mtad:"script"`
	Scripts      config.Source     `mtad:"scripts"`
	CPU          time.Duration     `mtad:"cpu"`
	Memory       config.Size       `mtad:"memory"`
	MaxRedirects int               `mtad:"max_redirects"`
	Maps         map[string]string `mtad:"maps"`
	Hosts        []string          `mtad:"http_hosts"`
	Commands     map[string]string `mtad:"commands"`
	Workers      int               `mtad:"workers"`
	WorkerMemory config.Size       `mtad:"worker_memory"`
}

var options = []config.Option{
	{Name: "script", Type: config.TypePath, Reload: true, Doc: "The script. A change of the file takes effect with the next message; one with an error in it is reported and the one before stays in force. Either this or scripts is written.", Example: `"rules/local.lua"`},
	{Name: "scripts", Type: config.TypeSource, Reload: true, Doc: "Where each recipient's active script is: store(). They run in workers.", Example: "store()"},
	{Name: "cpu", Type: config.TypeDuration, Default: "1s", Min: "1ms", Max: "1m", Reload: true, Doc: "How long one call may compute. Waiting for an answer from outside does not count.", Example: `"100ms"`},
	{Name: "memory", Type: config.TypeSize, Default: config.Size(64 << 20), Min: config.Size(64 << 10), Max: config.Size(1 << 30), Reload: true, Doc: "How much one call may make of strings and tables, what it drops again counted too.", Example: "16 * MB"},
	{Name: "max_redirects", Type: config.TypeInt, Default: 5, Min: 0, Max: 100, Unit: "redirects", Reload: true, Doc: "How many addresses a script can send one message on to. More is an error of the script.", Example: "1", Dovecot: "sieve_max_redirects"},
	{Name: "maps", Type: config.TypePathMap, Default: map[string]string{}, Reload: true, Doc: "Tables that scripts can ask: names and files, in which each line is a key and, after white space, its value. A change of a file is seen within a second.", Example: `{ vips = "maps/vips" }`},
	{Name: "http_hosts", Type: config.TypeStrings, Default: []string{}, Reload: true, Doc: "Hosts that scripts can ask by HTTP, with the port if it is not the scheme's own.", Example: `["api.example.org", "127.0.0.1:8080"]`},
	{Name: "commands", Type: config.TypeStringMap, Default: map[string]string{}, Reload: true, Doc: "Commands that scripts can give the message to: names, and a program's whole path with its arguments. They run as the server's user, with nothing but PATH in their environment, for 30 s at most.", Example: `{ archive = "/usr/local/bin/archive --quiet" }`},
	{Name: "workers", Type: config.TypeInt, Default: 2, Min: 1, Max: 100, Unit: "processes", Reload: true, Doc: "How many processes run users' scripts. They are started when there is need.", Example: "4"},
	{Name: "worker_memory", Type: config.TypeSize, Default: config.Size(256 << 20), Min: config.Size(64 << 20), Max: config.Size(4 << 30), Reload: true, Doc: "What one of them may take before it is killed; the call that it is at has failed then.", Example: "128 * MB"},
}

func newFilter(b config.Block, env pipeline.Env, u Users) (pipeline.Filter, error) {
	f := &filter{name: b.Name(), users: u, log: env.Log, env: env}
	if err := b.Decode(&f.settings); err != nil {
		return nil, err
	}
	if f.log == nil {
		f.log = slog.New(slog.DiscardHandler)
	}
	f.limits = engine.Limits{CPU: f.CPU, Memory: int64(f.Memory), Redirects: f.MaxRedirects}
	if err := f.check(b); err != nil {
		return nil, err
	}
	if b.Has("scripts") {
		f.pool = worker.NewPool(worker.Config{Workers: f.Workers, Memory: int64(f.WorkerMemory), Log: f.log})
		return f, nil
	}
	var err error
	if f.source, err = openSource(f.Script, f.log); err != nil {
		return nil, b.Errorf("script", "%v", err)
	}
	return f, nil
}

// check finds blocks that name no script or more than one place of them, and
// opens what scripts are offered.
func (f *filter) check(b config.Block) error {
	onlyStore := !slices.ContainsFunc(f.Scripts, func(l config.Lookup) bool { return l.Kind != config.LookupStore })
	switch {
	case b.Has("script") && b.Has("scripts"):
		return b.Errorf("scripts", "script and scripts exclude each other: write two filters")
	case !b.Has("script") && !b.Has("scripts"):
		return b.Errorf("", "filter lua wants script or scripts")
	case b.Has("scripts") && (len(f.Scripts) == 0 || !onlyStore):
		return b.Errorf("scripts", "scripts of users are looked up in store() only")
	case b.Has("scripts") && f.users == nil:
		return b.Errorf("scripts", "there is no store here")
	}
	f.tables = map[string]*lookup.File{}
	for name, path := range f.Maps {
		t, err := lookup.OpenFile(path, lookup.Options{})
		if err != nil {
			return b.Errorf("maps", "%s: %v", name, err)
		}
		f.tables[name] = t
	}
	for _, h := range f.Hosts {
		if host, _, err := net.SplitHostPort(h); strings.ContainsAny(h, "/@ ") || h == "" || err == nil && host == "" {
			return b.Errorf("http_hosts", "%q is no host and no host:port", h)
		}
	}
	var err error
	if f.commands, err = command.Parse(f.Commands); err != nil {
		return b.Errorf("commands", "%v", err)
	}
	return nil
}
