package spam

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"mtad/spam/conf"
)

// circuitPlugin must be loaded for a hit to end the check.
const circuitPlugin = "Mail::SpamAssassin::Plugin::Shortcircuit"

// circuit says which hits end the check before all rules have run.
type circuit struct {
	rules    map[*rule]string // ham, spam, on
	ham      float64          // the score that such a hit counts
	spam     float64
	min, max *float64 // scores beyond which no more rules run
	hit      *rule    // SHORTCIRCUIT
}

// stageRules are the rules of one priority.
type stageRules struct {
	priority int
	rules    []*rule
}

// priorities gives the rules by their priorities, the lowest first: nil if no hit ends
// the check, and all can run together.
func (e *Engine) priorities() []stageRules {
	rs := e.settings.Rules
	c := &circuit{rules: map[*rule]string{}, ham: rs.Number("shortcircuit_ham_score"), spam: rs.Number("shortcircuit_spam_score"), min: numberOf(rs.String("shortcircuit_min_ham_score")), max: numberOf(rs.String("shortcircuit_max_spam_score"))}
	for name, kind := range rs.Values("shortcircuit") {
		if r := e.byName[name]; r != nil && r.score != 0 {
			c.rules[r] = kind
		}
	}
	if !rs.Plugins[circuitPlugin] || len(c.rules) == 0 && c.min == nil && c.max == nil {
		return nil
	}
	if c.hit = e.byName["SHORTCIRCUIT"]; c.hit == nil {
		c.hit = &rule{Rule: &conf.Rule{Name: "SHORTCIRCUIT", Type: conf.Empty}, id: len(e.rules), score: 1}
		e.rules = append(e.rules, c.hit)
		e.byName[c.hit.Name] = c.hit
	}
	e.circuit = c
	pri := e.order()
	by := map[int][]*rule{-100: nil} // when the DNS is asked
	for _, r := range e.rules {
		by[pri[r.id]] = append(by[pri[r.id]], r)
	}
	var out []stageRules
	for _, p := range slices.Sorted(maps.Keys(by)) {
		out = append(out, stageRules{p, by[p]})
	}
	return out
}

func numberOf(text string) *float64 {
	f, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
	if err != nil {
		return nil
	}
	return &f
}

// askPriority is when the DNS is asked.
const askPriority = -100

// order gives each rule its priority. What a meta needs runs before it, but what asks
// the network not before the DNS is asked.
func (e *Engine) order() []int {
	pri := make([]int, len(e.rules))
	sorted := slices.Clone(e.rules)
	for _, r := range e.rules {
		pri[r.id] = r.Priority
	}
	slices.SortStableFunc(sorted, func(a, b *rule) int { return pri[a.id] - pri[b.id] })
	for _, r := range sorted {
		if r.Expr == nil {
			continue
		}
		for _, name := range r.Expr.Rules() {
			d := e.byName[name]
			switch {
			case d == nil || pri[d.id] <= pri[r.id]:
			case pri[r.id] < askPriority && d.Flags.Net:
				pri[d.id] = askPriority
			default:
				pri[d.id] = pri[r.id]
			}
		}
	}
	for _, r := range e.rules {
		if pri[r.id] == 0 && r.Flags.Net {
			pri[r.id] = askPriority
		}
	}
	return pri
}

// noCircuit sets the tags of templates to what they say when no hit has ended a check.
func (c *check) noCircuit() {
	if c.s.Rules.Plugins[circuitPlugin] {
		c.s.SetTag("SC", "no")
		c.s.SetTag("SCRULE", "none")
		c.s.SetTag("SCTYPE", "no")
	}
}

// runStages runs the rules of one priority after the other, until a hit ends the check.
func (c *check) runStages() {
	all := c.e
	defer func() { c.e = all }()
	ran := map[*rule]bool{}
	asking := false
	for _, stage := range all.stages {
		c.e = stage
		if !asking && stage.priority >= askPriority {
			asking = true
			c.beginAllAsking(all)
		}
		for _, phase := range c.phases() {
			phase()
			if c.cutHere() {
				return
			}
		}
		for _, r := range stage.ran() {
			ran[r] = true
		}
		c.noteUnknown()
		c.readyMetas(all, ran)
		if c.cutHere() {
			return
		}
	}
	c.e = all
	c.endAsking()
	c.noteHits()
	if c.cut != nil {
		return
	}
	c.noteUnknown()
	for _, r := range all.metas {
		if c.value[r.id] == 0 {
			c.meta(r)
		}
	}
	c.noteHits()
}

func (c *check) beginAllAsking(all *Engine) {
	stage := c.e
	c.e = all
	c.beginAsking()
	c.e = stage
}

// of gives those of a list with one of several types.
func of(list []*rule, types ...conf.Type) (out []*rule) {
	for _, r := range list {
		if slices.Contains(types, r.Type) {
			out = append(out, r)
		}
	}
	return out
}

// phases are the rules of one priority in SpamAssassin's order.
func (c *check) phases() []func() {
	e := c.e
	evals := func(t ...conf.Type) func() { return func() { c.each(of(e.evals, t...), c.eval) } }
	templates := func(t conf.Type) { c.each(of(e.template, t), c.templated) }
	return []func(){
		func() {
			c.each(e.captures, c.capture)
			for i := range e.headers {
				c.headers(e.headers[i])
			}
			templates(conf.Header)
		},
		evals(conf.HeaderEval, conf.RBLEval),
		func() { c.groups(e.body, c.s.Body); templates(conf.Body) },
		func() { c.groups(e.uris, c.uriTexts); c.unseenIn(e.uris); templates(conf.URI) },
		func() {
			c.allParts(e.parts)
			c.each(e.details, c.uriDetail)
			c.unseen(e.details)
			c.each(of(e.evals, conf.BodyEval), c.eval)
		},
		func() { c.groups(e.raw, c.s.Mail.RawText); templates(conf.RawBody) },
		evals(conf.RawBodyEval),
		func() { c.groups(e.full, c.whole); templates(conf.Full) },
		evals(conf.FullEval),
	}
}

// ran are the stage's rules that have run, and do not wait for the DNS.
func (e *Engine) ran() (out []*rule) {
	for _, h := range e.headers {
		out = append(append(out, h.rules...), h.exists...)
	}
	for _, g := range e.parts {
		out = append(out, g.all()...)
	}
	for _, list := range [][]*rule{e.body[0].rules, e.raw[0].rules, e.full[0].rules, e.uris[0].rules, e.details, e.evals, e.captures, e.template} {
		out = append(out, list...)
	}
	return out
}

// readyMetas decides the metas all of whose rules have run, whatever their priority.
func (c *check) readyMetas(all *Engine, ran map[*rule]bool) {
	for _, r := range all.metas { // each behind those it depends on
		if ran[r] || slices.ContainsFunc(r.deps, func(d *rule) bool { return d == nil || !ran[d] }) {
			continue
		}
		c.meta(r)
		ran[r] = true
	}
}

// cutHere looks for a hit that ends the check among those that are new.
func (c *check) cutHere() bool {
	c.noteHits()
	return c.cut != nil
}

// noteHits adds up the hits that are new, in the order of their names, and ends the
// check at the first that does.
func (c *check) noteHits() {
	if c.noted == nil {
		c.noted = make([]bool, len(c.value))
	}
	s := c.e.circuit
	for _, r := range c.e.rules {
		if c.noted[r.id] || c.value[r.id] == 0 {
			continue
		}
		c.noted[r.id] = true
		if c.cut == nil {
			c.tryCut(s, r)
		}
		if !r.Sub() {
			c.sum += r.score * float64(c.times(r))
		}
	}
}

func (c *check) tryCut(s *circuit, r *rule) {
	kind := s.rules[r]
	beyond := s.min != nil && c.sum < *s.min || s.max != nil && c.sum > *s.max
	if !beyond && kind == "" {
		return
	}
	c.cut, c.ended = r, "spam"
	score := 0.001
	if beyond && c.sum < 0 || kind == "on" && r.score < 0 || kind == "ham" {
		c.ended, score = "ham", -0.001
	}
	switch {
	case beyond:
	case kind == "on":
		score /= 10
	case kind == "ham":
		score = s.ham
	default:
		score = s.spam
	}
	c.got(s.hit, 1)
	c.noted[s.hit.id] = true
	c.scores = map[*rule]float64{s.hit: score}
	c.circuitTags(kind)
}

// circuitTags sets what templates say of it.
func (c *check) circuitTags(kind string) {
	c.s.SetTag("SCTYPE", c.ended)
	if kind != "" {
		c.s.SetTag("SC", c.cut.Name+" ("+c.ended+")")
		c.s.SetTag("SCRULE", c.cut.Name)
	}
}
