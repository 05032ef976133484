package spam

import (
	"context"
	"errors"
	"math"
	"math/bits"
	"slices"
	"sort"
	"strings"
	"time"

	"mtad/spam/ask"
	"mtad/spam/conf"
	"mtad/spam/inspect"
	"mtad/spam/regex"
	"mtad/spam/scan"
)

// Bounds of one check.
const (
	steps     = 400_000_000 // of patterns
	stepsEach = 20_000_000
	maxHits   = 100_000 // of one rule in one message
	maxMatch  = 200     // octets kept of a match
)

// Hit is a rule that has hit.
type Hit struct {
	Rule  string
	Score float64  // of each of its hits
	Value float64  // how often, or what a meta comes to
	Times int      // how often it has hit
	Area  string   // "BODY: " and its like
	Match string   // what the pattern has matched, the beginning of it
	Log   []string // what a function says of it
}

// Points are what the hits of the rule add to the score.
func (h Hit) Points() float64 { return h.Score * float64(h.Times) }

// Unknown is a rule of which it is not known whether it hits, and why.
type Unknown struct{ Rule, Why string }

// Result is what the rules say of a message.
type Result struct {
	Score    float64
	Required float64
	Hits     []Hit // sorted by name; rules with a name "__..." are in Sub
	Sub      []Hit
	Unknown  []Unknown
	// Cut is what of the message was looked at no further than a bound, "parts: 1000 of a
	// multipart". SpamAssassin cuts at the same places, unless rules are unknown for it.
	Cut     []string
	Blocked []string // zones of the DNS that are not asked for a while from now on (dns_block_rule)
	// Shortcircuit is how a hit has ended the check before all rules have run, ham or
	// spam; "" if all have. Such a message is not to be learned from.
	Shortcircuit string
	Late         bool // the time was over before all rules had run: those that had not are unknown, and it is not to be learned from
	Took         time.Duration
	Set          conf.ScoreSet // of the scores
	// AutoLearned is what was learned of it, in the words of _AUTOLEARN_; "" is nothing
	// that was asked for.
	AutoLearned string
	senders     []scan.ReputationChange // to be kept
	Scan        *scan.Scan
}

// Spam reports whether the score reaches what is required.
func (r *Result) Spam() bool { return r.Score >= r.Required }

// Names are the names of the hits, each as often as it has hit.
func (r *Result) Names() []string {
	var out []string
	for _, h := range r.Hits {
		for range h.Times {
			out = append(out, h.Rule)
		}
	}
	return out
}

// check is one message's run.
type check struct {
	e   *Engine
	s   *scan.Scan
	why map[*rule]string // unknown
	// waiting are the rules whose questions to the DNS are not answered yet.
	waiting []waiting
	scores  map[*rule]float64 // of hits that do not count what their rules do
	cut     *rule             // the rule that has ended the check, if one has
	ended   string            // how: ham or spam
	noted   []bool            // hits that sum has
	open    map[int32]bool    // metas that are never decided
	sum     float64           // of the hits so far, where that matters
	*space
}

// space is the memory of a check, which another one uses after it.
type space struct {
	value []float64 // by rule
	match []place   // what its pattern has matched: where it is in kept
	kept  []byte
	hits  []int32  // the rules that have a value, or had one
	gone  []bool   // it is unknown; only while metas are decided
	lost  []int32  // the rules that are gone
	todo  []uint64 // a bit for each meta that may hit, or be unknown
	cand  regex.Candidates
	field []byte
}

// place is a part of a text.
type place struct{ from, to int }

// keep keeps what a rule has matched, the beginning of it.
func (s *space) keep(r *rule, match []byte) {
	from := len(s.kept)
	s.kept = append(s.kept, match[:min(len(match), maxMatch)]...)
	s.match[r.id] = place{from, len(s.kept)}
}

// space gives memory for one check, all zero.
func (e *Engine) space() *space {
	s, ok := e.spaces.Get().(*space)
	if !ok {
		n := len(e.rules)
		return &space{value: make([]float64, n), match: make([]place, n), gone: make([]bool, n)}
	}
	for _, id := range s.hits {
		s.value[id], s.match[id] = 0, place{}
	}
	s.hits, s.kept = s.hits[:0], s.kept[:0]
	s.forgetLost()
	s.cand.Renew()
	return s
}

// forgetLost takes back that rules are gone.
func (s *space) forgetLost() {
	for _, id := range s.lost {
		s.gone[id] = false
	}
	s.lost = s.lost[:0]
}

// lose notes that a rule is gone.
func (s *space) lose(id int) {
	s.gone[id] = true
	s.lost = append(s.lost, int32(id))
}

// Check judges a message: its octets as they came, with the Received field of this
// server on top. It keeps text until the Result is given up.
func (e *Engine) Check(ctx context.Context, text []byte, f scan.Facts) *Result {
	start := time.Now()
	b := &regex.Budget{Steps: steps, PerMatch: stepsEach}
	ctx, cancel := e.limit(ctx)
	defer cancel()
	e, untaught := e.half(ctx, f)
	c := &check{e: e, s: scan.New(ctx, e.settings, text, f, b), why: map[*rule]string{}, space: e.space()}
	c.s.Set = e.set
	for name, why := range e.cannot {
		c.why[e.byName[name]] = why
	}
	defer c.s.Close()
	if untaught != nil {
		c.unlearned(untaught)
	}
	c.run()
	out := c.result()
	if c.late() {
		out.timeOver()
	}
	c.reputation(out)
	out.Blocked, out.Cut = c.block(), c.s.Cuts()
	e.spaces.Put(c.space)
	out.Took = time.Since(start)
	return out
}

// run runs all rules. When the context ends, what has not run is unknown.
func (c *check) run() {
	inspect.Prepare(c.s)
	c.noCircuit()
	if c.e.stages != nil {
		c.runStages()
		return
	}
	for _, phase := range []func(){
		func() { c.each(c.e.captures, c.capture) },
		c.beginAsking,
		func() {
			for i := range c.e.headers {
				c.headers(c.e.headers[i])
			}
		},
		func() { c.groups(c.e.body, c.s.Body) },
		func() { c.groups(c.e.uris, c.uriTexts); c.unseenIn(c.e.uris) },
		func() { c.groups(c.e.raw, c.s.Mail.RawText) },
		func() { c.groups(c.e.full, c.whole) },
		func() { c.allParts(c.e.parts) },
		func() { c.each(c.e.details, c.uriDetail); c.unseen(c.e.details) },
		func() { c.each(c.e.template, c.templated) },
		func() { c.each(c.e.evals, c.eval) },
	} {
		phase()
	}
	c.endAsking()
	c.noteUnknown()
	c.metas()
}

// noteUnknown is for metas: they ask of many rules, and a map is slow.
func (c *check) noteUnknown() {
	c.forgetLost()
	for r := range c.why {
		c.lose(r.id)
	}
}

// metas decides the metas that what is known of other rules bears on.
func (c *check) metas() {
	c.todo = append(c.todo[:0], c.e.busy...)
	for _, list := range [][]int32{c.hits, c.lost} {
		for _, id := range list {
			c.bearsOn(int(id))
		}
	}
	for i := range c.todo {
		for c.todo[i] != 0 {
			bit := bits.TrailingZeros64(c.todo[i])
			c.todo[i] &^= 1 << bit
			r := c.e.metas[i<<6|bit]
			if c.meta(r); c.value[r.id] != 0 || c.gone[r.id] || c.open[int32(r.id)] {
				c.bearsOn(r.id) // on metas behind this one
			}
		}
	}
}

// bearsOn notes the metas that depend on a rule.
func (c *check) bearsOn(id int) {
	for _, m := range c.e.bears[id] {
		c.todo[m>>6] |= 1 << (m & 63)
	}
}

// late reports whether the time for the message is over.
func (c *check) late() bool {
	return c.s.Context.Err() != nil
}

const timeOver = "the time for the message was over"

// each runs rules one by one.
func (c *check) each(rules []*rule, run func(*rule)) {
	for _, r := range rules {
		if c.e.mute.has(r.id) {
			continue
		}
		if c.late() {
			c.why[r] = timeOver
			continue
		}
		run(r)
	}
}

// groups runs the rules of groups over texts, which are made only if there are rules.
func (c *check) groups(groups []*group, texts func() [][]byte) {
	for _, g := range groups {
		c.group(g, texts)
	}
}

func (c *check) group(g *group, texts func() [][]byte) {
	if len(g.rules) == 0 {
		return
	}
	for _, text := range texts() {
		if c.late() {
			for _, r := range g.rules {
				c.why[r] = timeOver
			}
			return
		}
		c.text(g, text)
	}
}

func (c *check) eval(r *rule) {
	v, err := r.call(c.s, r.Rule, r.Call.Args)
	switch {
	case errors.Is(err, ask.ErrPending):
		c.waiting = append(c.waiting, waiting{r, c.s.Ask.Wanted()})
	case err != nil:
		c.why[r] = err.Error()
	case v != 0:
		c.got(r, v)
	}
}

// uriTexts are the links as uri rules see them.
func (c *check) uriTexts() [][]byte {
	var out [][]byte
	for _, u := range c.s.Links().All() {
		out = append(out, []byte(u))
	}
	return out
}

// whole is the message, which rules of type full look at.
func (c *check) whole() [][]byte { return [][]byte{c.s.Mail.Whole()} }

// got counts a hit.
func (c *check) got(r *rule, v float64) {
	if v <= 0 {
		v = 1
	}
	if c.value[r.id] == 0 {
		c.hits = append(c.hits, int32(r.id))
	} else if !r.Flags.Multiple {
		return
	}
	c.value[r.id] += v
}

// full reports whether a rule needs no more hits.
func (c *check) full(r *rule) bool {
	if c.e.mute.has(r.id) {
		return true
	}
	n := c.value[r.id]
	if !r.Flags.Multiple {
		return n > 0
	}
	return n >= maxHits || r.Flags.MaxHits > 0 && n >= float64(r.Flags.MaxHits)
}

// text runs the rules of a group over one text.
func (c *check) text(g *group, text []byte) {
	g.filter.Scan(text, &c.cand)
	c.cand.Each(func(i int) bool {
		r := g.rules[i]
		if !c.full(r) && !(r.Flags.NoSubject && c.isSubject(text)) {
			c.pattern(r, r.re, text)
		}
		return true
	})
}

func (c *check) isSubject(text []byte) bool {
	body := c.s.Body()
	return len(body) > 0 && len(text) > 0 && len(body[0]) > 0 && &body[0][0] == &text[0]
}

// pattern runs a pattern over a text, once or for every match.
func (c *check) pattern(r *rule, re *regex.Regexp, text []byte) bool {
	n, first, err := re.Count(text, c.wanted(r), c.s.Budget)
	if err != nil {
		c.why[r] = err.Error()
	}
	if n == 0 {
		return false
	}
	if c.match[r.id].to == 0 {
		c.keep(r, text[first[0]:first[1]])
	}
	c.got(r, float64(n))
	return true
}

// wanted is how many matches of a rule are counted in the next text.
func (c *check) wanted(r *rule) int {
	switch {
	case !r.Flags.Multiple:
		return 1
	case r.Flags.MaxHits > 0:
		return max(1, r.Flags.MaxHits-int(c.value[r.id]))
	}
	return max(1, maxHits-int(c.value[r.id]))
}

// headers runs the rules about one field.
func (c *check) headers(h *headGroup) {
	if c.late() {
		for _, r := range append(h.rules[:len(h.rules):len(h.rules)], h.exists...) {
			c.why[r] = timeOver
		}
		return
	}
	value, ok := "", false
	if h.plain == "" || !c.s.Lacks(h.plain) {
		value, ok = c.s.Joined(h.what)
	}
	for _, r := range h.exists {
		if ok && !c.e.mute.has(r.id) {
			c.got(r, 1)
		}
	}
	c.field = append(c.field[:0], value...)
	text := c.field
	if len(text) > 0 || h.mayBeEmpty() {
		h.filter.Scan(text, &c.cand)
		c.cand.Each(func(i int) bool {
			if r := h.rules[i]; !c.e.mute.has(r.id) && !r.Header.Negate && (ok || !r.Header.HasUnset) {
				c.pattern(r, r.re, text)
			}
			return true
		})
	}
	for _, r := range h.special {
		switch {
		case c.e.mute.has(r.id):
		case r.Header.HasUnset && !ok:
			c.compared(r, []byte(r.Header.Unset))
		case r.Header.Negate:
			c.compared(r, text)
		}
	}
}

// compared runs a header rule without the filter: negated, or with a text that stands
// for a missing field.
func (c *check) compared(r *rule, text []byte) {
	if !r.Header.Negate {
		c.pattern(r, r.re, text)
		return
	}
	ok, err := r.re.Match(text, c.s.Budget)
	switch {
	case err != nil:
		c.why[r] = err.Error()
	case !ok:
		c.got(r, 1)
	}
}

// result gathers the hits.
func (c *check) result() *Result {
	out := &Result{Required: c.s.Rules.Number("required_score"), Set: c.e.set, Scan: c.s, Shortcircuit: c.ended}
	slices.Sort(c.hits)
	c.hits = slices.Compact(c.hits)
	subs, kept := 0, string(c.kept)
	for _, id := range c.hits {
		if c.e.rules[id].Sub() {
			subs++
		}
	}
	out.Sub, out.Hits = make([]Hit, 0, subs), make([]Hit, 0, len(c.hits)-subs)
	for _, id := range c.hits {
		r := c.e.rules[id]
		v := c.value[id]
		if v == 0 {
			continue
		}
		delete(c.why, r) // it has hit, whatever came then
		times := c.times(r)
		score := c.e.score(r)
		if d, ok := c.scores[r]; ok {
			score = d
		}
		h := Hit{r.Name, score, v, times, r.Area(), kept[c.match[id].from:c.match[id].to], c.s.Log(r.Name)}
		if r.Sub() {
			out.Sub = append(out.Sub, h)
			continue
		}
		out.Hits = append(out.Hits, h)
		out.Score += h.Points()
	}
	out.Score = math.Round(out.Score*1000) / 1000
	for r, why := range c.why {
		if c.e.mute.has(r.id) || c.e.zero.has(r.id) {
			continue
		}
		out.Unknown = append(out.Unknown, Unknown{r.Name, why})
	}
	sort.Slice(out.Unknown, func(i, j int) bool { return out.Unknown[i].Rule < out.Unknown[j].Rule })
	return out
}

// times is how often a rule has hit. A meta has hit once, whatever it comes to.
func (c *check) times(r *rule) int {
	if r.re != nil && r.Flags.Multiple {
		return int(c.value[r.id])
	}
	return 1
}

// meta decides a meta.
func (c *check) meta(r *rule) {
	if c.e.dead.has(r.id) {
		return
	}
	if c.open != nil && slices.ContainsFunc(r.depIDs, func(id int32) bool { return c.open[id] }) {
		c.leaveOpen(r)
		return
	}
	v := r.Expr.Eval(func(slot int) conf.Span { return c.span(r, slot) })
	switch {
	case v.True() && c.e.zero.has(r.id):
		c.leaveOpen(r)
	case v.True():
		c.got(r, v.Lo)
	case !v.False():
		c.why[r] = "it divides by zero"
		if d := c.firstUnknown(r); d != "" {
			c.why[r] = "it depends on " + d
		}
		c.lose(r.id)
	}
}

// leaveOpen notes that a meta is never decided.
func (c *check) leaveOpen(r *rule) {
	if c.open == nil {
		c.open = map[int32]bool{}
	}
	c.open[int32(r.id)] = true
}

// span is what is known of a rule that a meta depends on.
func (c *check) span(r *rule, slot int) conf.Span {
	id := r.depIDs[slot]
	if id < 0 {
		return conf.Known(0)
	}
	v := c.value[id]
	if v == 0 && c.gone[id] {
		if d := r.deps[slot]; d.Flags.Multiple || d.Type == conf.Meta {
			return conf.Span{Lo: 0, Hi: maxHits}
		}
		return conf.Span{Lo: 0, Hi: 1}
	}
	return conf.Known(v)
}

func (c *check) firstUnknown(r *rule) string {
	var out []string
	for _, d := range r.deps {
		if d != nil && c.why[d] != "" {
			out = append(out, d.Name)
		}
	}
	return strings.Join(out, ", ")
}
