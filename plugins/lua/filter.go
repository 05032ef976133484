package lua

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"mtad/internal/command"
	"mtad/lookup"
	"mtad/message"
	"mtad/pipeline"
	"mtad/plugins/lua/engine"
	"mtad/plugins/lua/worker"
	"mtad/smtp"
)

// Users finds what belongs to an account.
type Users interface {
	// LuaScript is the active script of the account with that address.
	// version changes with the text; ok is false if the account has none.
	LuaScript(ctx context.Context, mailbox smtp.Address) (s Script, ok bool, err error)
	// LuaState is the account's own state, apart from that of others.
	LuaState(mailbox smtp.Address) (pipeline.KV, error)
}

// Script is a user's own.
type Script struct{ Name, Text, Version string }

// filter is one configured script, or those of the users.
type filter struct {
	settings
	name     string
	limits   engine.Limits
	source   *source // of the block's own script; nil for those of users
	users    Users
	pool     *worker.Pool
	log      *slog.Logger
	env      pipeline.Env
	tables   map[string]*lookup.File
	commands command.Set
}

// Stages are the stages that the script as it is now has functions for; users'
// own are for Deliver alone.
func (f *filter) Stages() pipeline.Stages {
	if f.source == nil {
		return pipeline.At(pipeline.Deliver)
	}
	return f.source.current(time.Now()).Stages
}

// Access is what scripts of users may do: what concerns their own mail. A script
// of the configuration is known when a session has opened.
func (f *filter) Access(pipeline.Stage) (reads, writes pipeline.Facts) {
	if f.source != nil {
		return pipeline.AllFacts, pipeline.AllFacts
	}
	return pipeline.AllFacts, pipeline.Header | pipeline.Body | pipeline.Tags | pipeline.Effects
}

// Filter calls the stage's function. An error of the script is the filter's
// fault, with the script's name and line.
func (f *filter) Filter(ctx context.Context, s pipeline.Stage, v *pipeline.View) (pipeline.Verdict, error) {
	if f.source == nil {
		return f.own(ctx, s, v)
	}
	return f.run(ctx, f.source.current(time.Now()), s, v)
}

func (f *filter) run(ctx context.Context, p *engine.Program, s pipeline.Stage, v *pipeline.View) (pipeline.Verdict, error) {
	verdict, err := p.Run(ctx, engine.Call{Stage: s, View: v, Host: f.host(s, v, f.env.KV), Limits: f.limits})
	if err != nil {
		return verdict, fmt.Errorf("lua: %w", err)
	}
	return verdict, nil
}

// own runs the recipient's script in a worker. It is told of no other recipient.
func (f *filter) own(ctx context.Context, s pipeline.Stage, v *pipeline.View) (pipeline.Verdict, error) {
	mailbox := v.Mailbox()
	script, ok, err := f.users.LuaScript(ctx, mailbox)
	if err != nil || !ok {
		if err != nil {
			err = fmt.Errorf("lua: script of %s: %w", mailbox, err)
		}
		return pipeline.Verdict{}, err
	}
	kv, err := f.users.LuaState(mailbox)
	if err != nil {
		return pipeline.Verdict{}, fmt.Errorf("lua: state of %s: %w", mailbox, err)
	}
	alone := v.WithRcpts([]pipeline.Recipient{v.Rcpt()}, v.Message()).AtRcpt(v.Rcpt().ID, mailbox)
	verdict, err := f.pool.Run(ctx, worker.Job{
		Key:  mailbox.Key() + "\x00" + script.Name + "\x00" + script.Version,
		Name: mailbox.String() + "/" + script.Name, Text: script.Text,
		Call: engine.Call{Stage: s, View: alone, Host: f.host(s, v, kv), Limits: f.limits},
	})
	switch {
	case err == nil:
		return verdict, nil
	case errors.Is(err, worker.ErrDown) || ctx.Err() != nil:
		return pipeline.Verdict{}, fmt.Errorf("lua: %w", err)
	}
	return pipeline.Verdict{}, fmt.Errorf("lua: %w (%w)", err, pipeline.ErrOwn)
}

// host is what a script is offered.
func (f *filter) host(s pipeline.Stage, v *pipeline.View, kv pipeline.KV) *engine.Host {
	h := &engine.Host{DNS: f.env.DNS, KV: kv, Now: f.env.Now}
	h.Log = func(l slog.Level, text string) {
		f.log.Log(context.Background(), l, text, "id", v.ID().String(), "stage", s.String())
	}
	if len(f.tables) > 0 {
		h.Map = f.lookUp
	}
	if len(f.Hosts) > 0 {
		h.Fetch = f.fetch
	}
	if len(f.commands) > 0 {
		h.Pipe = f.pipe
	}
	return h
}

func (f *filter) lookUp(_ context.Context, name, key string) (string, bool, error) {
	t := f.tables[name]
	if t == nil {
		return "", false, engine.ErrNoTable
	}
	value, ok := t.Get(key)
	return value, ok, nil
}

func (f *filter) pipe(ctx context.Context, name string, m message.Bytes) (engine.Output, error) {
	return output(f.commands.Run(ctx, name, nil, message.NewReader(m), true))
}

func output(out command.Output, err error) (engine.Output, error) {
	if errors.Is(err, command.ErrNotAllowed) {
		err = engine.ErrNotAllowed
	}
	return engine.Output{Status: out.Status, Text: string(out.Stdout)}, err
}

// Start starts nothing: workers are started when there is need.
func (f *filter) Start(context.Context) error { return nil }

// Close ends the workers.
func (f *filter) Close() error {
	if f.pool == nil {
		return nil
	}
	return f.pool.Close()
}

// Open begins a session. It stays with the script as it is until its transaction
// has ended, so that what it declares to read is what it runs with.
func (f *filter) Open(context.Context, *pipeline.View) (pipeline.Session, error) {
	s := &session{filter: f}
	s.pin()
	return s, nil
}

// session is a filter with a script that does not change under it.
type session struct {
	*filter
	prog *engine.Program // nil for users' scripts
}

func (s *session) pin() {
	if s.source != nil {
		s.prog = s.source.current(time.Now())
	}
}

// Stages are those of the script.
func (s *session) Stages() pipeline.Stages {
	if s.prog == nil {
		return s.filter.Stages()
	}
	return s.prog.Stages
}

// Access is what the script can name.
func (s *session) Access(st pipeline.Stage) (reads, writes pipeline.Facts) {
	if s.prog == nil {
		return s.filter.Access(st)
	}
	return s.prog.Reads, s.prog.Writes
}

// Filter calls the stage's function.
func (s *session) Filter(ctx context.Context, st pipeline.Stage, v *pipeline.View) (pipeline.Verdict, error) {
	if s.prog == nil {
		return s.filter.Filter(ctx, st, v)
	}
	return s.run(ctx, s.prog, st, v)
}

// End looks whether the script has changed.
func (s *session) End(context.Context, pipeline.Outcome) error {
	s.pin()
	return nil
}

// Close ends the session; the filter goes on.
func (*session) Close() error { return nil }
