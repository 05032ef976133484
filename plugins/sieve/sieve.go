package sieve

import (
	"context"
	"fmt"
	"log/slog"

	"mtad/pipeline"
	lang "mtad/sieve"
	"mtad/smtp"
)

// Scripts finds the script of an account.
type Scripts interface {
	// Script is the active script of the account with that address. version
	// changes with the text; ok is false if the account has no script.
	Script(ctx context.Context, mailbox smtp.Address) (text, version string, ok bool, err error)
}

// filter runs the script of its block, or those of the recipients.
type filter struct {
	settings
	lang    lang.Options
	scripts Scripts
	one     *compiled // the block's own
	cache   *cache    // of the recipients'
	log     *slog.Logger
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
func (*filter) Access(s pipeline.Stage) (reads, writes pipeline.Facts) {
	reads = pipeline.Envelope | pipeline.Header | pipeline.Body | pipeline.Tags
	if s == pipeline.Deliver {
		return reads | pipeline.Effects, pipeline.Effects
	}
	return reads, pipeline.Envelope | pipeline.Tags
}

// Filter runs a script. One that fails keeps the message (RFC 5228, 2.10.6); the
// error is in the trace and in the log.
func (f *filter) Filter(ctx context.Context, s pipeline.Stage, v *pipeline.View) (pipeline.Verdict, error) {
	c, err := f.find(ctx, v)
	if err != nil || c == nil || v.Message() == nil {
		return pipeline.Verdict{}, err
	}
	if c.script == nil {
		return f.failed(s, v, c.problems.Err()), nil
	}
	run, cancel := context.WithTimeoutCause(ctx, f.CPU, errCPU{f.CPU})
	defer cancel()
	result, err := c.script.Run(run, lang.Env{Message: newMail(v.Message()), Envelope: envelope(s, v)})
	switch {
	case ctx.Err() != nil:
		return pipeline.Verdict{}, fmt.Errorf("sieve: %w", ctx.Err()) // the pipeline's deadline, not the script's
	case err != nil:
		return f.failed(s, v, err), nil
	case s == pipeline.Deliver:
		return deliver(v, result), nil
	}
	return transaction(v, result), nil
}

// find is the script to run; nil if there is none.
func (f *filter) find(ctx context.Context, v *pipeline.View) (*compiled, error) {
	if f.one != nil {
		return f.one, nil
	}
	text, version, ok, err := f.scripts.Script(ctx, v.Mailbox())
	if err != nil {
		return nil, fmt.Errorf("sieve: script of %s: %w", v.Mailbox(), err)
	}
	if !ok {
		return nil, nil
	}
	c := f.cache.get(version)
	if c == nil {
		c = compile(text, f.lang)
		f.cache.put(version, c)
	}
	return c, nil
}

// failed is the verdict on a script that could not be run, or not to its end.
func (f *filter) failed(s pipeline.Stage, v *pipeline.View, err error) pipeline.Verdict {
	f.log.Warn("sieve script failed; the message is kept", "stage", s.String(), "id", v.ID(), "mailbox", v.Mailbox().String(), "script", f.Script, "err", err)
	return pipeline.Verdict{Note: err.Error() + "; kept"}
}
