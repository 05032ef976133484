package milter

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync/atomic"

	gomilter "github.com/emersion/go-milter"

	"mtad/config"
	"mtad/pipeline"
)

// Kind is filter "milter".
func Kind() pipeline.Kind {
	return pipeline.Kind{
		Name: "milter", Doc: "Asks a milter daemon (OpenDKIM, ClamAV, Rspamd, spamass-milter).",
		Stages: stages, Options: options, New: newFilter,
	}
}

var stages = pipeline.At(pipeline.Connect, pipeline.Helo, pipeline.Unknown, pipeline.Mail,
	pipeline.Rcpt, pipeline.Data, pipeline.Message)

// filter is one configured milter; the sessions with it share its pool.
type filter struct {
	settings
	endpoint endpoint
	macros   map[gomilter.Stage][]string // as configured
	defined  map[string]string           // values, as configured
	pool     pool
	lockstep atomic.Int32 // how many messages are still to be told event by event
}

func newFilter(b config.Block, _ pipeline.Env) (pipeline.Filter, error) {
	f := &filter{}
	if err := b.Decode(&f.settings); err != nil {
		return nil, err
	}
	var err error
	if f.endpoint, err = parseEndpoint(f.Connect); err != nil {
		return nil, b.Errorf("connect", "%v", err)
	}
	f.endpoint = f.endpoint.within(filepath.Dir(b.Pos("connect").File))
	if f.macros, err = macroLists(f.Macros); err != nil {
		return nil, b.Errorf("macros", "%v", err)
	}
	f.defined = defined(f.Define)
	f.pool.limit = f.Idle
	return f, nil
}

// Stages are all stages that a milter may want; a Session's are those that its
// milter does want.
func (*filter) Stages() pipeline.Stages { return stages }

// Access is all that a milter may come to negotiate. What it does outside, nobody
// knows but the administrator.
func (f *filter) Access(stage pipeline.Stage) (reads, writes pipeline.Facts) {
	reads = pipeline.Envelope | pipeline.Header | pipeline.Body
	if !f.Pure {
		writes = pipeline.Effects
	}
	if stage == pipeline.Message {
		writes |= reads
	}
	return reads, writes
}

// retracting is a session of this package's, or one that has such a one inside.
type retracting interface {
	retract(context.Context, pipeline.Stage) error
}

// Retract makes a session forget a stage; see session.retract.
func (f *filter) Retract(ctx context.Context, s pipeline.Session, stage pipeline.Stage) error {
	return s.(retracting).retract(ctx, stage)
}

// Filter asks the milter in a session of its own.
func (f *filter) Filter(ctx context.Context, s pipeline.Stage, v *pipeline.View) (pipeline.Verdict, error) {
	session, err := f.Open(ctx, v)
	if err != nil {
		return pipeline.Verdict{}, err
	}
	verdict, err := session.Filter(ctx, s, v)
	return verdict, errors.Join(err, session.Close())
}

// Open connects to the milter and negotiates.
func (f *filter) Open(ctx context.Context, _ *pipeline.View) (pipeline.Session, error) {
	s := &session{f: f}
	if err := s.open(ctx); err != nil {
		return nil, err
	}
	return s, nil
}

// Start does nothing: a milter that is down is a fault of the mail it does not
// see, not of the server's start.
func (f *filter) Start(context.Context) error { return nil }

// Close ends the idle connections.
func (f *filter) Close() error {
	f.pool.close()
	return nil
}

func (f *filter) errorf(format string, args ...any) error {
	return fmt.Errorf("milter: %s: %w", f.endpoint, fmt.Errorf(format, args...))
}
