package main

import (
	"context"
	"slices"
	"sync/atomic"

	"mtad/cmd/mtad/spamserve"
	"mtad/config"
	"mtad/lookup"
	"mtad/pipeline"
	"mtad/plugins/spamscore"
	"mtad/spam"
	"mtad/spam/spamd"
)

// newSpamd makes the server of a listener for spamc.
func (h *house) newSpamd(c *loaded, l listener) (*spamd.Server, error) {
	rules := &pipelineRules{h: h, listener: l.name}
	h.asked = append(h.asked, rules)
	cfg := spamd.Config{
		Checker: rules, Host: spam.Host{Name: c.top.Hostname}, Logger: h.log,
		MaxSize: spamserve.MaxSize, Timeout: c.top.MessageTimeout,
	}
	if l.AllowTell {
		cfg.Learner = spamd.Teacher(rules.judge)
	}
	for _, n := range l.Allow {
		p, err := lookup.ParseNetwork(n)
		if err != nil {
			return nil, err // check has said so before
		}
		cfg.Allow = append(cfg.Allow, p)
	}
	if l.TLS != "none" {
		cfg.TLS = h.tlsConfig()
	}
	return spamd.New(cfg)
}

// pipelineRules are those of the filter spamscore in a listener's pipeline, after a
// reload the new ones.
type pipelineRules struct {
	h        *house
	listener string
	last     atomic.Pointer[spam.Judge] // for a listener that goes on until the restart, without a filter
}

func (r *pipelineRules) Check(ctx context.Context, text []byte, f spam.Facts) *spam.Result {
	return r.judge().Check(ctx, text, f)
}

// judge is that of the filter: with the site's Bayes, where users have their own.
func (r *pipelineRules) judge() *spam.Judge {
	p, release := r.h.listenerPipeline(r.listener)
	defer release()
	for _, step := range p.Steps() {
		if j, ok := spamscore.Judge(step.Filter); ok && step.Mode != pipeline.Off {
			r.last.Store(j)
			break
		}
	}
	return r.last.Load()
}

// learningRules are the rules by which messages are learned that somebody shows the server:
// those of the first filter spamscore, or without any those that are installed.
func (h *house) learningRules() (*spam.Engine, error) {
	for _, p := range h.set.Pipelines() {
		for _, step := range p.Steps() {
			if j, ok := spamscore.Judge(step.Filter); ok {
				return j.Engine, nil
			}
		}
	}
	return h.installedRules()
}

// checkSpamd finds what a listener for spamc can not have, and whether its pipeline has
// rules.
func (l *listener) checkSpamd(b config.Block, pipelines []config.Block, diags *config.Diagnostics) {
	if l.TLS != "none" && l.TLS != "implicit" {
		diags.Add(b.Errorf("tls", "spamc -S speaks TLS from the first octet: want tls = \"implicit\", or \"none\""))
	}
	if l.Auth != "none" {
		diags.Add(b.Errorf("auth", "spamd's clients can not log in: say with allow who may ask"))
	}
	for _, n := range l.Allow {
		if _, err := lookup.ParseNetwork(n); err != nil {
			diags.Add(b.Errorf("allow", "%v", err))
		}
	}
	i := slices.IndexFunc(pipelines, func(p config.Block) bool { return p.Name() == l.Pipeline })
	if i < 0 {
		return // told already
	}
	for _, f := range pipelines[i].Blocks("filter") {
		var s stepSettings
		if f.Labels()[0] == "spamscore" && f.Decode(&s) == nil && s.Mode != "off" {
			return
		}
	}
	diags.Add(b.Errorf("pipeline", "pipeline %q has no filter \"spamscore\" that is on: its rules are what such a listener asks", l.Pipeline))
}

// notSpamd finds what only a listener for spamc can have.
func (l *listener) notSpamd(b config.Block, diags *config.Diagnostics) {
	if len(l.Allow) > 0 {
		diags.Add(b.Errorf("allow", "only listeners with protocol = \"spamd\" ask who may ask"))
	}
	if l.AllowTell {
		diags.Add(b.Errorf("allow_tell", "only listeners with protocol = \"spamd\" are told what is spam"))
	}
}
