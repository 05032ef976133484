// Package plug is what `mtad plugin` does: begins new plugins, tries them without
// a server, and looks after those of one that runs.
package plug

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"mtad/admin"
	"mtad/config"
	"mtad/message"
	"mtad/pipeline"
	"mtad/plugins/external"
	"mtad/smtp"
)

// Running are the plugins of the pipelines in force: an admin.Plugins.
type Running func() map[string]*pipeline.Pipeline

// each calls fn with every plugin once, those of the same name in their order.
func (r Running) each(fn func(name string, p external.Plugin)) {
	seen := map[external.Plugin]bool{}
	pipelines := r()
	for _, name := range slices.Sorted(maps.Keys(pipelines)) {
		for _, st := range pipelines[name].Steps() {
			if p, ok := external.Of(st.Filter); ok && !seen[p] {
				seen[p] = true
				fn(st.Name, p)
			}
		}
	}
}

// List is every plugin.
func (r Running) List() []admin.Plugin {
	var out []admin.Plugin
	r.each(func(name string, p external.Plugin) {
		s := p.Status()
		out = append(out, admin.Plugin{
			Name: name, Path: s.Path, Program: s.Name, Version: s.Version, Protocol: s.Protocol, Stages: s.Stages, Writes: s.Writes,
			PID: s.PID, Memory: int64(s.Memory), Started: s.Started, Starts: s.Starts, Down: s.Down,
		})
	})
	return out
}

// Restart restarts every plugin of that name.
func (r Running) Restart(ctx context.Context, name string) (found bool, err error) {
	var errs []error
	r.each(func(n string, p external.Plugin) {
		if n == name {
			found = true
			errs = append(errs, p.Restart(ctx))
		}
	})
	return found, errors.Join(errs...)
}

// Log is what was last logged about the plugins of that name, after that time. The
// time of the last line is good for the next call: lines of now, of which not all may
// be there, are left for it.
func (r Running) Log(name string, after time.Time) (out []admin.PluginLine, found bool) {
	now := time.Now()
	r.each(func(n string, p external.Plugin) {
		if n != name {
			return
		}
		found = true
		for _, l := range p.Log() {
			if l.Time.After(after) && !l.Time.After(now) {
				out = append(out, admin.PluginLine(l))
			}
		}
	})
	slices.SortStableFunc(out, func(a, b admin.PluginLine) int { return a.Time.Compare(b.Time) })
	return out, found
}

// Program is a plugin to be tried.
type Program struct {
	Path   string
	Config map[string]string
	Plain  bool // without mutual TLS
}

// tried is a program that runs in a pipeline of its own.
type tried struct {
	*pipeline.Pipeline
	status external.Status
}

// begin starts the program. What it logs goes to log.
func (p Program) begin(ctx context.Context, log io.Writer) (*tried, error) {
	path, err := filepath.Abs(p.Path)
	if err != nil {
		return nil, err
	}
	var body strings.Builder
	fmt.Fprintf(&body, "path = %s\nmtls = %v\nconfig = {\n", quote(path), !p.Plain)
	for _, k := range slices.Sorted(maps.Keys(p.Config)) {
		fmt.Fprintf(&body, "%s = %s\n", quote(k), quote(p.Config[k]))
	}
	body.WriteString("}\n")
	kind := external.Kind()
	b, diags := config.ParseBlock(body.String(), config.BlockType{Options: kind.Options})
	if diags != nil {
		return nil, diags
	}
	env := pipeline.Env{Log: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelInfo}))}
	f, err := kind.New(b, env)
	if err != nil {
		return nil, err
	}
	st := &pipeline.Step{Name: "plugin", Kind: kind.Name, Filter: f, OnError: pipeline.TempFail, Timeout: time.Minute}
	pl, err := pipeline.New("plugin", []*pipeline.Step{st}, env)
	if err != nil {
		return nil, err
	}
	if err := pl.Start(ctx); err != nil {
		return nil, err
	}
	plugin, _ := external.Of(f)
	return &tried{pl, plugin.Status()}, nil
}

// quote writes a string as the configuration has it.
func quote(s string) string {
	return strings.NewReplacer("${", "$${", "%{", "%%{").Replace(strconv.Quote(s))
}

// Result is what a plugin did with a message.
type Result struct {
	Fate   string   `json:"fate"`
	Reply  string   `json:"reply,omitempty"`
	Events []string `json:"events"` // what it said and changed, a line each
	Faults int      `json:"faults"`
}

// Sender and recipient of messages that plugins are tried with.
var (
	sender    = smtp.Address{Local: "sender", Domain: "example.test"}
	recipient = smtp.Address{Local: "rcpt", Domain: "example.test"}
)

// Run starts the program and runs one message through its stages.
func (p Program) Run(ctx context.Context, octets []byte, log io.Writer) (Result, external.Status, error) {
	t, err := p.begin(ctx, log)
	if err != nil {
		return Result{}, external.Status{}, err
	}
	res, err := t.run(ctx, octets)
	return res, t.status, errors.Join(err, t.Close())
}

func (t *tried) run(ctx context.Context, octets []byte) (Result, error) {
	m, err := message.Parse(message.FromBytes(octets))
	if err != nil {
		return Result{}, err
	}
	f := t.Open(pipeline.Client{Protocol: "ESMTP", Hostname: "mx.example.test", Helo: "client.example.test"})
	defer f.Close()
	fate := f.Run(ctx, pipeline.Connect)
	if !fate.Refused() {
		f.Begin(message.NewID(time.Now()), sender, smtp.MailParams{})
		fate = f.Run(ctx, pipeline.Mail)
	}
	if !fate.Refused() {
		f.AddRcpt(pipeline.Recipient{Addr: recipient, Class: pipeline.Local})
		fate = f.Run(ctx, pipeline.Rcpt)
	}
	if !fate.Refused() {
		f.SetMessage(m, nil, nil)
		fate = f.Run(ctx, pipeline.Message)
	}
	trace := f.End(ctx, pipeline.Aborted)
	res := Result{Fate: fate.Action.String(), Events: []string{}}
	if fate.Refused() {
		res.Reply = fate.Reply.String()
	}
	for _, e := range trace.Events {
		line := e.Stage + ": " + e.Action
		if e.Note != "" {
			line += ", " + e.Note
		}
		for _, mod := range e.Mods {
			line += ", " + mod
		}
		if e.Err != "" {
			line += ", fault: " + e.Err
			res.Faults++
		}
		res.Events = append(res.Events, line)
	}
	return res, nil
}

// probe is the message that Verify sends.
const probe = "From: sender@example.test\r\nTo: rcpt@example.test\r\nSubject: a message of mtad plugin verify\r\nMessage-ID: <1@example.test>\r\n\r\nHello.\r\n"

// ErrFaulty says that a program answered with faults.
var ErrFaulty = errors.New("it starts, but answers with faults")

// Verify starts the program, reads its manifest and sends one message through.
func (p Program) Verify(ctx context.Context, log io.Writer) (Result, external.Status, error) {
	res, status, err := p.Run(ctx, []byte(probe), log)
	if err == nil && res.Faults > 0 {
		err = fmt.Errorf("%w: %s", ErrFaulty, strings.Join(res.Events, "; "))
	}
	return res, status, err
}
