package sieve

import (
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"mtad/internal/command"
	"mtad/pipeline"
	lang "mtad/sieve"
	"mtad/sieve/mail"
	"mtad/smtp"
)

// Users is what filters ask about accounts. A mailbox is an account's address.
type Users interface {
	// Script is the active script. version changes with the text; ok is
	// false if the account has no script.
	Script(ctx context.Context, mailbox smtp.Address) (text, version string, ok bool, err error)
	// ScriptNamed is another script of the account; an error that wraps
	// fs.ErrNotExist if it has none of that name.
	ScriptNamed(ctx context.Context, mailbox smtp.Address, name string) (string, error)
	// SieveState is what the account's scripts remember, apart from others'.
	SieveState(mailbox smtp.Address) (pipeline.KV, error)
	// Folders are the account's folders, as scripts ask about them.
	Folders(mailbox smtp.Address) lang.Mailboxes
}

// filter runs the script of its block, or those of the recipients.
type filter struct {
	settings
	lang     lang.Options
	users    Users
	one      *compiled // the block's own
	cache    *cache    // of the recipients'
	commands command.Set
	lists    lists
	log      *slog.Logger
	now      func() time.Time
}

// Stages: a listener's pipeline asks at Message, that of delivery at Deliver.
// Users' scripts are for Deliver alone.
func (f *filter) Stages() pipeline.Stages {
	if f.one == nil {
		return pipeline.At(pipeline.Deliver)
	}
	return pipeline.At(pipeline.Message, pipeline.Deliver)
}

// Access: the size needs to know of other bodies, the default folder is a tag,
// and what was filed already is an effect.
func (f *filter) Access(s pipeline.Stage) (reads, writes pipeline.Facts) {
	reads = pipeline.Envelope | pipeline.Header | pipeline.Body | pipeline.Tags | pipeline.Scores
	if s == pipeline.Deliver {
		return reads | pipeline.Effects, pipeline.Effects | pipeline.Header | pipeline.Body
	}
	return reads, pipeline.Envelope | pipeline.Tags | pipeline.Header | pipeline.Body
}

// Filter runs a script. One that fails keeps the message (RFC 5228, 2.10.6); the
// error is in the trace and in the log. Where the implicit keep is off, because a
// filter before this one has dealt with the message, no script is run.
func (f *filter) Filter(ctx context.Context, s pipeline.Stage, v *pipeline.View) (pipeline.Verdict, error) {
	if v.Message() == nil {
		return pipeline.Verdict{}, nil
	}
	if s == pipeline.Deliver && v.Plan().Cancelled {
		return pipeline.Verdict{Note: "not run: the message is dealt with"}, nil
	}
	c, err := f.find(ctx, v)
	if err != nil || c == nil {
		return pipeline.Verdict{}, err
	}
	r := &job{filter: f, stage: s, view: v}
	if c.script == nil {
		return r.failed(c.problems.Err()), nil
	}
	limited, cancel := context.WithTimeoutCause(ctx, f.CPU, errCPU{f.CPU})
	defer cancel()
	result, err := c.script.Run(limited, r.env())
	var out pipeline.Verdict
	if err == nil && s == pipeline.Deliver {
		out, err = r.deliver(limited, result)
	} else if err == nil {
		out, err = r.transaction(result)
	}
	switch {
	case ctx.Err() != nil:
		return pipeline.Verdict{}, fmt.Errorf("sieve: %w", ctx.Err()) // the pipeline's deadline, not the script's
	case err != nil:
		return r.failed(err), nil
	}
	return out, nil
}

// errCPU is a run that took too long.
type errCPU struct{ limit time.Duration }

func (e errCPU) Error() string { return fmt.Sprintf("ran longer than %v", e.limit) }

// Is makes it one of the limits.
func (errCPU) Is(target error) bool { return target == lang.ErrLimit }

// Options are what a filter compiles the scripts of an account with: for those
// who take scripts from users. ok is false if f is of another kind, or runs no
// scripts of users.
func Options(ctx context.Context, f pipeline.Filter, mailbox smtp.Address) (o lang.Options, ok bool) {
	s, ok := f.(*filter)
	if !ok || s.one != nil {
		return o, false
	}
	return s.optionsFor(s.include(ctx, mailbox)), true
}

func (f *filter) optionsFor(include func(location, name string) (string, error)) lang.Options {
	o := f.lang
	o.Include = include
	return o
}

// find is the script to run; nil if there is none.
func (f *filter) find(ctx context.Context, v *pipeline.View) (*compiled, error) {
	if f.one != nil {
		return f.one, nil
	}
	mailbox := v.Mailbox()
	text, version, ok, err := f.users.Script(ctx, mailbox)
	if err != nil {
		return nil, fmt.Errorf("sieve: script of %s: %w", mailbox, err)
	}
	if !ok {
		return nil, nil
	}
	include := f.include(ctx, mailbox)
	c := f.cache.get(version)
	if c != nil && len(c.included) > 0 { // others' scripts may have the same text and include other ones
		version += " " + mailbox.Key()
		if c = f.cache.get(version); c != nil && c.stale(include) {
			c = nil
		}
	}
	if c == nil {
		if c = compile(text, f.optionsFor(include)); c.err != nil {
			return nil, fmt.Errorf("sieve: script of %s: what it includes: %w", mailbox, c.err)
		}
		f.cache.put(version, c)
		if len(c.included) > 0 && !strings.Contains(version, " ") {
			f.cache.put(version+" "+mailbox.Key(), c)
		}
	}
	return c, nil
}

// include finds the scripts that a user's script includes: the account's own,
// and those of the directory that the option global names.
func (f *filter) include(ctx context.Context, mailbox smtp.Address) func(location, name string) (string, error) {
	return func(location, name string) (string, error) {
		if location == "personal" {
			if f.users == nil || mailbox.IsZero() {
				return "", fs.ErrNotExist
			}
			return f.users.ScriptNamed(ctx, mailbox, name)
		}
		return f.global(name)
	}
}

// global reads a script of the directory that the option global names.
func (f *filter) global(name string) (string, error) {
	if f.Global == "" || name == "" || strings.ContainsAny(name, "/\\\x00") || name[0] == '.' {
		return "", fs.ErrNotExist
	}
	return readScript(filepath.Join(f.Global, name+".sieve"), int64(f.MaxScript))
}

// job is one run of a script.
type job struct {
	*filter
	stage pipeline.Stage
	view  *pipeline.View
}

// owner is who the script belongs to; zero where it is for all.
func (r *job) owner() lang.Address {
	a := r.view.Mailbox()
	return lang.Address{Local: a.Local, Domain: a.Domain}
}

// env is what the script sees from outside.
func (r *job) env() lang.Env {
	v := r.view
	e := lang.Env{
		Message:     mail.New(v.Message(), r.owner()),
		Envelope:    lang.Envelope{From: address(v.Sender())},
		Now:         r.now,
		Environment: r.environment,
		Spam:        r.spam,
		Virus:       r.virus,
		Notifier:    Notifier{},
		Log: func(line int, text string) {
			r.log.Info("sieve script says", "id", v.ID(), "mailbox", v.Mailbox().String(), "line", line, "text", text)
		},
	}
	if login := v.Client().Auth; login != nil {
		e.Envelope.Auth = login.User
	}
	switch {
	case r.stage == pipeline.Deliver:
		e.Envelope.To = address(v.Rcpt().Addr)
	case len(v.Rcpts()) == 1:
		// RFC 5231, 10: a recipient only if there is only one.
		e.Envelope.To = address(v.Rcpts()[0].Addr)
	}
	if len(r.commands) > 0 {
		e.Programs = programs{r.commands}
	}
	if len(r.lists) > 0 {
		e.Lists = r.lists
	}
	if r.users != nil && r.stage == pipeline.Deliver {
		e.Mailboxes = r.users.Folders(v.Mailbox())
		e.Seen = r.seen
	}
	return e
}

func address(a smtp.Address) lang.Address { return lang.Address{Local: a.Local, Domain: a.Domain} }

// seen reports whether a mark of the test duplicate is there.
func (r *job) seen(ctx context.Context, id string) (bool, error) {
	kv, err := r.users.SieveState(r.view.Mailbox())
	if err != nil {
		return false, err
	}
	_, ok, err := kv.Get(ctx, duplicateKey(id))
	return ok, err
}

func duplicateKey(id string) string { return "d" + id }

// environment are the items of RFC 5183, 4.1, and Pigeonhole's.
func (r *job) environment(item string) (string, bool) {
	c := r.view.Client()
	switch item {
	case "domain":
		_, domain, _ := strings.Cut(c.Hostname, ".")
		return domain, domain != ""
	case "host":
		return c.Hostname, c.Hostname != ""
	case "location":
		if r.stage == pipeline.Deliver {
			return "MDA", true
		}
		return "MTA", true
	case "name":
		return "mtad", true
	case "phase":
		return "during", true
	case "remote-host":
		return c.Name, c.Name != ""
	case "remote-ip":
		return c.Addr.Addr().String(), c.Addr.IsValid()
	case "version":
		return version(), true
	case "vnd.dovecot.default-mailbox":
		return "INBOX", true
	case "vnd.dovecot.username":
		return r.view.Mailbox().String(), !r.view.Mailbox().IsZero()
	}
	if name, ok := strings.CutPrefix(item, "vnd.dovecot.config."); ok {
		s, ok := r.Environment[name]
		return s, ok
	}
	return "", false
}

// spam is the score that filters have given, as a part of what is surely spam.
func (r *job) spam() (float64, bool) {
	if len(r.view.Scores()) == 0 {
		return 0, false
	}
	return r.view.Score() * 100 / r.SpamMax, true
}

// virus is the tag that a virus scanner has left: 1 to 5 (RFC 5235, 3.3).
func (r *job) virus() (int, bool) {
	s, ok := r.view.Tag(r.VirusTag)
	if !ok || len(s) != 1 || s[0] < '1' || s[0] > '5' {
		return 0, false
	}
	return int(s[0] - '0'), true
}

// failed is the verdict on a script that could not be run, or not to its end:
// the message is kept, and its owner told once a day (RFC 5228, 2.10.6).
func (r *job) failed(err error) pipeline.Verdict {
	v := r.view
	r.log.Warn("sieve script failed; the message is kept", "stage", r.stage.String(), "id", v.ID(), "mailbox", v.Mailbox().String(), "script", r.Script, "err", err)
	out := pipeline.Verdict{Note: err.Error() + "; kept"}
	if r.one == nil && r.stage == pipeline.Deliver && !v.Mailbox().IsZero() {
		out.Mods = []pipeline.Modification{pipeline.Respond{
			To: v.Mailbox(), Data: r.errorNote(err), Why: "sieve error",
			Once: "e" + lang.Digest(err.Error()), For: 24 * time.Hour,
		}}
	}
	return out
}

// readScript reads a file of the administrator's.
func readScript(path string, limit int64) (string, error) {
	st, err := os.Stat(path)
	switch {
	case err != nil:
		return "", bare(err)
	case !st.Mode().IsRegular():
		return "", errNoFile
	case st.Size() > limit:
		return "", errTooLarge
	}
	text, err := os.ReadFile(path)
	return string(text), bare(err)
}
