package lua

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	lua "github.com/yuin/gopher-lua"

	"mtad/config"
	"mtad/pipeline"
)

// Kind is filter "lua".
func Kind() pipeline.Kind {
	return pipeline.Kind{
		Name: "lua", Doc: "Runs a Lua script.",
		Stages: pipeline.ListenerStages | pipeline.DeliveryStages, Options: options, New: newFilter,
	}
}

type settings struct {
	Script string        `mtad:"script"`
	CPU    time.Duration `mtad:"cpu"`
}

var options = []config.Option{
	{Name: "script", Type: config.TypePath, Required: true, Reload: true, Doc: "The script. A change of the file takes effect with the next message; one with an error in it is reported and the one before stays in force.", Example: `"rules/local.lua"`},
	{Name: "cpu", Type: config.TypeDuration, Default: "1s", Min: "1ms", Max: "1m", Reload: true, Doc: "How long one call may compute.", Example: `"100ms"`},
}

// filter is one configured script.
type filter struct {
	settings
	source *source
	log    *slog.Logger
}

func newFilter(b config.Block, env pipeline.Env) (pipeline.Filter, error) {
	f := &filter{log: env.Log}
	if err := b.Decode(&f.settings); err != nil {
		return nil, err
	}
	if f.log == nil {
		f.log = slog.New(slog.DiscardHandler)
	}
	var err error
	if f.source, err = openSource(f.Script, f.log); err != nil {
		return nil, b.Errorf("script", "%v", err)
	}
	return f, nil
}

// Stages are the stages that the script as it is now has functions for.
func (f *filter) Stages() pipeline.Stages { return f.source.current(time.Now()).stages }

// Filter calls the stage's function. An error of the script is the filter's
// fault, with the script's name and line.
func (f *filter) Filter(ctx context.Context, s pipeline.Stage, v *pipeline.View) (pipeline.Verdict, error) {
	prog := f.source.current(time.Now())
	if !prog.stages.Has(s) {
		return pipeline.Verdict{}, nil
	}
	st, err := prog.take()
	if err != nil {
		return pipeline.Verdict{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, f.CPU)
	defer cancel()
	verdict, err := st.run(ctx, s, v, f.log)
	if err != nil {
		st.L.Close() // its stack is in no known state
		if ctx.Err() != nil {
			return pipeline.Verdict{}, fmt.Errorf("lua: %s: %s ran longer than %v: %w", f.Script, s, f.CPU, ctx.Err())
		}
		return pipeline.Verdict{}, fmt.Errorf("lua: %w", scriptError(err))
	}
	prog.put(st)
	return verdict, nil
}

// scriptError drops the stack trace of an error: file, line and message are
// what its author needs.
func scriptError(err error) error {
	var ae *lua.ApiError
	if errors.As(err, &ae) && ae.Object != nil {
		return errors.New(ae.Object.String())
	}
	return err
}
