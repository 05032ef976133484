package sieve

import (
	"context"
	"fmt"
	"time"

	"mtad/config"
	"mtad/pipeline"
	lang "mtad/sieve"
	"mtad/smtp"
)

// Bench is a filter without a pipeline, for those who test scripts: what a script
// sees, and what becomes of what it decides, are those of the filter.
type Bench struct{ f *filter }

// NewBench makes a filter of the inside of a block, such as `cpu = "1s"`.
func NewBench(options string, u Users, now func() time.Time) (*Bench, error) {
	kind := Kind(u)
	b, diags := config.ParseBlock("scripts = store()\n"+options, config.BlockType{Name: "filter", Options: kind.Options})
	if diags != nil {
		return nil, diags
	}
	got, err := kind.New(b, pipeline.Env{Now: now})
	if err != nil {
		return nil, err
	}
	f, ok := got.(*filter)
	if !ok {
		return nil, fmt.Errorf("sieve: filter is a %T", got)
	}
	return &Bench{f}, nil
}

// Language is what scripts may use.
func (b *Bench) Language() lang.Options { return b.f.lang }

// CPU is how long a script may run.
func (b *Bench) CPU() time.Duration { return b.f.CPU }

// Env is what the script of v's mailbox sees of v, at Deliver.
func (b *Bench) Env(v *pipeline.View) lang.Env {
	return (&job{filter: b.f, stage: pipeline.Deliver, view: v}).env()
}

// Plan carries out what was decided about v for a mailbox, as far as the pipeline
// does: a refusal, or a plan in the View.
func (b *Bench) Plan(ctx context.Context, v *pipeline.View, mailbox smtp.Address, r lang.Result) (pipeline.Fate, *pipeline.View, error) {
	step := &pipeline.Step{Name: "script", Kind: "sieve", Filter: decided{b.f, r}, OnError: pipeline.TempFail, Timeout: time.Minute}
	p, err := pipeline.New("bench", []*pipeline.Step{step}, pipeline.Env{Now: b.f.now})
	if err != nil {
		return pipeline.Fate{}, nil, err
	}
	flow := p.OpenView(v)
	defer flow.Close()
	flow.ForRcpt(v.Rcpts()[0].ID, mailbox)
	fate := flow.Run(ctx, pipeline.Deliver)
	for _, e := range flow.Trace().Events {
		if e.Err != "" {
			return fate, nil, fmt.Errorf("%s", e.Err)
		}
	}
	return fate, flow.View(), nil
}

// decided is a filter that has run its script already.
type decided struct {
	*filter
	result lang.Result
}

func (d decided) Filter(ctx context.Context, s pipeline.Stage, v *pipeline.View) (pipeline.Verdict, error) {
	return (&job{filter: d.filter, stage: s, view: v}).deliver(ctx, d.result)
}
