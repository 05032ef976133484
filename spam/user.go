package spam

import (
	"maps"
	"slices"

	"mtad/spam/conf"
	"mtad/spam/scan"
)

// marks is a set of rules, by their numbers.
type marks []uint64

func newMarks(rules int) marks { return make(marks, (rules+63)/64) }

func (m marks) has(id int) bool { return m[id>>6]&(1<<(id&63)) != 0 }

func (m marks) set(id int) { m[id>>6] |= 1 << (id & 63) }

func (m marks) clear(id int) { m[id>>6] &^= 1 << (id & 63) }

// With is the engine with a user's preferences (Mail::SpamAssassin::Conf, "user
// preferences") laid on its rules: scores, lists, what is required. name is for
// Problems, which are those of the preferences alone. What stays as it is, is shared;
// that is all but a few KiB, unless they change the rules themselves.
func (e *Engine) With(name, preferences string) *Engine {
	rs := e.settings.Rules.WithUser(name, preferences, conf.Options{Local: e.settings.Local})
	settings := e.settings.With(rs)
	u := e.with(settings)
	u.taught = nil
	if e.taught != nil && u.teaches() {
		u.taught = e.taught.with(settings)
	}
	return u
}

// with is the engine with other settings, a user's.
func (e *Engine) with(settings *scan.Settings) *Engine {
	rs := settings.Rules
	if e.stages != nil || mayCircuit(rs) || !rs.SameRules(e.settings.Rules) {
		u := newEngine(settings, e.options, e.set, e)
		u.size = sizePerRule * len(u.rules)
		shared := e.filters()
		for _, f := range u.filters() {
			if !slices.Contains(shared, f) {
				u.size += f.Size()
			}
		}
		return u
	}
	u := *e
	if u.size = 0; rs.Whole() {
		u.size = sizeOfWhole
	}
	u.settings, u.scores = settings, maps.Clone(e.scores)
	u.mute = slices.Clone(e.mute)
	var others []*rule // with a score here alone
	metas := false
	for _, name := range rs.OwnScores() {
		r := e.byName[name]
		if r == nil {
			continue
		}
		was, score := e.score(r), rs.Score(name, e.set)
		if was == score {
			continue
		}
		if u.scores == nil {
			u.scores = map[*rule]float64{}
		}
		u.scores[r] = score
		metas = metas || (was == 0) != (score == 0)
		switch {
		case (was == 0) == (score == 0) || e.cannot[name] != "" || r.Type == conf.Meta:
		case score == 0:
			u.mute.set(r.id)
		case e.mute.has(r.id):
			u.mute.clear(r.id)
		case e.runs(r):
			others = append(others, r)
		}
	}
	if metas {
		u.dead, u.zero = newMarks(len(u.rules)), newMarks(len(u.rules))
		u.findDead()
	}
	if others != nil {
		u.more(others)
	}
	return &u
}

// more adds rules that have no place in the engine that this one is made of.
func (e *Engine) more(rules []*rule) {
	x := &Engine{settings: e.settings, options: e.options, set: e.set, cache: e.cache, cannot: maps.Clone(e.cannot), byName: e.byName, mute: e.mute, scores: e.scores, reputation: e.reputation}
	x.fill(rules, nil)
	e.cannot, e.reputation = x.cannot, x.reputation
	e.headers = slices.Concat(e.headers, x.headers)
	for _, groups := range [][]*group{x.body, x.raw, x.full, x.uris} {
		e.size += groups[0].filter.Size()
	}
	for _, h := range x.headers {
		e.size += h.filter.Size()
	}
	e.body, e.raw, e.full, e.uris = slices.Concat(e.body, x.body), slices.Concat(e.raw, x.raw), slices.Concat(e.full, x.full), slices.Concat(e.uris, x.uris)
	e.parts, e.details = slices.Concat(e.parts, x.parts), slices.Concat(e.details, x.details)
	e.evals, e.asks = slices.Concat(e.evals, x.evals), slices.Concat(e.asks, x.asks)
	e.captures, e.template = slices.Concat(e.captures, x.captures), slices.Concat(e.template, x.template)
}

// About how many octets preferences take that only lay scores and lists on the rules, one
// of these scores, a rule where the rules are others, and what comes on top where options
// of other kinds are.
const (
	sizeOfUser   = 4 << 10
	sizePerScore = 128
	sizePerRule  = 800
	sizeOfWhole  = 700 << 10 // a copy of most that rules say
)

// Size is about how many octets an engine with preferences takes by itself, but for
// their text.
func (e *Engine) Size() int {
	n := sizeOfUser + sizePerScore*len(e.scores) + e.size
	if e.taught != nil {
		n += e.taught.Size()
	}
	return n
}

// score is what a hit of a rule counts here.
func (e *Engine) score(r *rule) float64 {
	if s, own := e.scores[r]; own {
		return s
	}
	return r.score
}

// findDead finds the metas that SpamAssassin never decides. One without a score is no
// hit where it is false, and all that it depends on is known before the end; else it is
// not decided, nor is what depends on it (do_meta_tests of its plugin Check, 4.0.1).
func (e *Engine) findDead() {
	early := newMarks(len(e.rules))
	for _, r := range e.metas { // each behind those it depends on
		if !slices.ContainsFunc(r.deps, func(d *rule) bool { return !e.settled(d, early) }) {
			early.set(r.id)
		}
		dead := slices.ContainsFunc(r.deps, func(d *rule) bool { return d != nil && d.Type == conf.Meta && e.dead.has(d.id) })
		switch none := e.score(r) == 0; {
		case dead, none && !early.has(r.id):
			e.dead.set(r.id)
		case none:
			e.zero.set(r.id)
		}
	}
}

// settled reports whether it is known before the end whether a rule has hit. early are the
// metas of which it is.
func (e *Engine) settled(r *rule, early marks) bool {
	switch {
	case r == nil:
		return false
	case r.Type == conf.Meta:
		return early.has(r.id) && !e.dead.has(r.id)
	}
	return e.score(r) != 0 && e.runs(r)
}

// mayCircuit reports whether a hit may end a check.
func mayCircuit(rs *conf.Ruleset) bool {
	return rs.Plugins[circuitPlugin] && (len(rs.Values("shortcircuit")) > 0 || rs.String("shortcircuit_min_ham_score") != "" || rs.String("shortcircuit_max_spam_score") != "")
}
