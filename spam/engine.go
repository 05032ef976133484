package spam

import (
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"

	"mtad/spam/ask"
	"mtad/spam/conf"
	"mtad/spam/eval"
	"mtad/spam/netrule"
	"mtad/spam/regex"
	"mtad/spam/scan"
	"mtad/spam/uri"
)

// Version is the release of SpamAssassin whose rules are understood and whose hits are
// found: _VERSION_ of templates.
const Version = "4.0.1"

// Engine is a ruleset made ready. It is immutable and may be shared.
type Engine struct {
	settings *scan.Settings
	options  Options
	set      conf.ScoreSet
	rules    []*rule
	byName   map[string]*rule

	mute               marks             // rules that are there, but have no score
	dead               marks             // metas that are never decided: see findDead
	zero               marks             // metas without a score that are decided if they are false
	scores             map[*rule]float64 // of a user, where they are others than the rules'
	size               int               // of a user, beside them
	headers            []*headGroup
	body, raw, full    []*group // one; and of a user, with rules that have a score there alone
	uris               []*group
	parts              []*partGroup // mimeheader
	details            []*rule      // uri_detail
	evals, asks        []*rule      // asks ask the DNS
	metas              []*rule      // each behind those it depends on
	busy               []uint64     // a bit for each meta that may hit though nothing it depends on has
	bears              [][]int32    // by rule: the metas that depend on it, by their places
	captures, template []*rule      // set captures; want them
	cannot             map[string]string
	taught             *Engine      // with Bayes; nil without
	reputation         *rule        // TxRep's; nil if there is none
	cache              *regex.Cache // of all filters
	spaces             *sync.Pool   // of *space
	warm               *sync.Once
	// stages are the rules by their priorities, each with those of one, if a hit may
	// end the check before all have run; else nil.
	stages   []*Engine
	priority int // of a stage
	circuit  *circuit
}

// Options says how rules are to be run.
type Options struct {
	// Net allows tests over the network; Bayes those that have been taught, of messages
	// for which there is a store in which enough was learned.
	Net, Bayes bool
	Resolver   ask.Resolver
	// Functions are the functions that rules call; nil is all that there are.
	Functions map[string]eval.Func
}

// rule is a rule of the engine.
type rule struct {
	*conf.Rule
	id     int
	score  float64 // Engine.score tells what counts
	re     *regex.Regexp
	detail []*regex.Regexp
	call   eval.Func
	deps   []*rule // of a meta, by the place of their names in Expr.Rules
	depIDs []int32 // their ids, -1 of a name that no rule has
	idle   bool    // a meta that does not hit if nothing that it depends on has
}

// group are rules that look at the same texts.
type group struct {
	rules  []*rule
	filter *regex.Filter
	once   sync.Once
	empty  bool // a pattern may match the empty text
}

// headGroup are the rules about one field, or part of a field.
type headGroup struct {
	what  string
	plain string // the field's name; "" if it is made of others
	group
	exists  []*rule
	special []*rule // of the rules those that the filter does not decide
}

// mayBeEmpty reports whether a pattern may match the empty text.
func (g *group) mayBeEmpty() bool {
	g.once.Do(func() {
		var c regex.Candidates
		g.filter.Scan(nil, &c)
		c.Each(func(int) bool { g.empty = true; return false })
	})
	return g.empty
}

// New makes rules ready. Rules that can not run are left out, and Cannot says why.
func New(rs *conf.Ruleset, o Options) *Engine {
	if o.Functions == nil {
		o.Functions = functions()
	}
	set := conf.ScoreSet(0)
	if o.Net {
		set |= conf.WithNet
	}
	e := newEngine(&scan.Settings{Rules: rs, Resolver: o.Resolver, Local: !o.Net, Blocks: &scan.Blocks{}}, o, set, nil)
	e.teach(o)
	return e
}

// newEngine makes rules ready with one set of scores. What like has of the same rules is
// used again.
func newEngine(settings *scan.Settings, o Options, set conf.ScoreSet, like *Engine) *Engine {
	e := &Engine{settings: settings, options: o, set: set, byName: map[string]*rule{}, cannot: map[string]string{}, spaces: &sync.Pool{}, warm: &sync.Once{}}
	for _, r := range settings.Rules.Rules() {
		x := &rule{Rule: r, id: len(e.rules), score: settings.Rules.Score(r.Name, e.set)}
		if x.call = o.Functions[r.Call.Func]; r.Type == conf.AskDNS {
			x.call = netrule.AskDNS
		}
		e.rules = append(e.rules, x)
		e.byName[r.Name] = x
	}
	if like == nil {
		e.cache = regex.NewCache(0)
		e.redirects(e.cache)
	} else {
		e.cache = like.cache
	}
	e.compile(e.compiled(like))
	stages := e.priorities()
	e.mute, e.dead, e.zero = newMarks(len(e.rules)), newMarks(len(e.rules)), newMarks(len(e.rules))
	if stages != nil {
		for _, x := range stages {
			s := *e
			s.priority = x.priority
			s.fill(x.rules, like.stage(x.priority))
			e.stages = append(e.stages, &s)
			e.asks, e.metas = append(e.asks, s.asks...), append(e.metas, s.metas...)
		}
	} else {
		e.fill(e.rules, like)
	}
	e.orderMetas()
	e.findDead()
	return e
}

// stage is the stage of a priority, nil if there is none.
func (e *Engine) stage(priority int) *Engine {
	if e == nil {
		return nil
	}
	for _, s := range e.stages {
		if s.priority == priority {
			return s
		}
	}
	return nil
}

// fill places rules.
func (e *Engine) fill(rules []*rule, like *Engine) {
	e.asks, e.metas, e.parts = nil, nil, nil
	heads := map[string]*headGroup{}
	e.body, e.raw, e.full, e.uris = []*group{{}}, []*group{{}}, []*group{{}}, []*group{{}}
	for _, r := range rules {
		off := e.score(r) == 0
		if e.cannot[r.Name] != "" || !e.runs(r) || off && r.Type != conf.Meta && !e.filtered(r, like) {
			continue
		}
		if off && r.Type != conf.Meta {
			e.mute.set(r.id)
		}
		e.place(r, heads)
	}
	for _, what := range slices.Sorted(maps.Keys(heads)) {
		e.headers = append(e.headers, heads[what])
	}
	e.ready(like)
}

// ready makes the filters of groups; those of like are used again where they are the same.
func (e *Engine) ready(like *Engine) {
	if like == nil {
		like = &Engine{body: []*group{nil}, raw: []*group{nil}, full: []*group{nil}, uris: []*group{nil}}
	}
	heads := map[string]*group{}
	for i := range like.headers {
		heads[like.headers[i].what] = &like.headers[i].group
	}
	for i := range e.headers {
		e.headers[i].ready(e.cache, heads[e.headers[i].what])
	}
	for _, g := range e.parts {
		g.ready(e.cache, like.partsOf(g))
	}
	e.body[0].ready(e.cache, like.body[0])
	e.raw[0].ready(e.cache, like.raw[0])
	e.full[0].ready(e.cache, like.full[0])
	e.uris[0].ready(e.cache, like.uris[0])
}

// filtered reports whether a rule without a score is nonetheless put into a filter: so
// that it can be the same as that of like, or of the half with Bayes.
func (e *Engine) filtered(r *rule, like *Engine) bool {
	if r.re == nil || r.Wants != nil || r.Priority == capturePriority {
		return false
	}
	switch r.Type {
	case conf.Header, conf.Body, conf.RawBody, conf.Full, conf.URI, conf.MIMEHeader:
	default:
		return false
	}
	if like == nil {
		return e.options.Bayes && e.settings.Rules.Score(r.Name, e.set^conf.WithBayes) != 0
	}
	l := like.byName[r.Name]
	return l != nil && l.re == r.re && (like.score(l) != 0 || like.mute.has(l.id))
}

// runs reports whether the options let a rule run.
func (e *Engine) runs(r *rule) bool {
	if r.Type == conf.Meta {
		return true
	}
	return (!r.Flags.Net || e.set&conf.WithNet != 0) && (!r.Flags.Learn || e.set&conf.WithBayes != 0)
}

// capturePriority is that of rules which set captures, and so run first.
const capturePriority = -10000

// compiled takes the patterns of another engine for the same rules, and gives the rules
// that it has not.
func (e *Engine) compiled(like *Engine) []*rule {
	if like == nil {
		return e.rules
	}
	var others []*rule
	for _, r := range e.rules {
		l := like.byName[r.Name]
		if l == nil || l.Rule != r.Rule {
			others = append(others, r)
			continue
		}
		r.re, r.detail = l.re, l.detail
		if why := like.cannot[r.Name]; why != "" {
			e.cannot[r.Name] = why
		}
	}
	return others
}

// compile compiles the patterns of rules, on all processors.
func (e *Engine) compile(rules []*rule) {
	var wg sync.WaitGroup
	var mu sync.Mutex
	next := make(chan *rule)
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for r := range next {
				if err := r.prepare(); err != nil {
					mu.Lock()
					e.cannot[r.Name] = err.Error()
					mu.Unlock()
				}
			}
		})
	}
	for _, r := range rules {
		next <- r
	}
	close(next)
	wg.Wait()
}

func (r *rule) prepare() (err error) {
	if r.Pattern != "" && r.Wants == nil {
		if r.re, err = regex.CompilePart(r.Pattern, r.Modifiers); err != nil {
			return err
		}
	}
	for _, t := range r.Detail {
		re, err := regex.CompilePart(t.Pattern, t.Modifiers)
		if err != nil {
			return err
		}
		r.detail = append(r.detail, re)
	}
	return nil
}

// redirects makes the patterns of redirectors ready: one look at a link says which of
// them can match.
func (e *Engine) redirects(cache *regex.Cache) {
	var patterns []*regex.Regexp
	for _, text := range e.settings.Rules.Words("redirector_pattern") {
		if re, err := regex.CompileRule(text); err == nil { // conf has told of others
			patterns = append(patterns, re)
		}
	}
	filter := regex.NewFilter(patterns, cache)
	var spaces sync.Pool
	e.settings.Redirects = []uri.Redirect{func(u string) (to string, ok bool) {
		c, _ := spaces.Get().(*regex.Candidates)
		if c == nil {
			c = &regex.Candidates{}
		}
		defer spaces.Put(c)
		c.Renew()
		text := []byte(u)
		filter.Scan(text, c)
		c.Each(func(i int) bool {
			m, err := patterns[i].Find(text, 0, nil, &regex.Budget{Steps: 100_000})
			if err == nil && len(m) >= 4 && m[2] >= 0 {
				to, ok = u[m[2]:m[3]], strings.Contains(u[m[2]:m[3]], ".")
			}
			return !ok
		})
		return to, ok
	}}
}

// place puts a rule where it is run.
func (e *Engine) place(r *rule, heads map[string]*headGroup) {
	switch {
	case r.Wants != nil:
		e.template = append(e.template, r)
		return
	case r.Priority == capturePriority && r.re != nil:
		e.captures = append(e.captures, r)
		return
	}
	switch r.Type {
	case conf.Header:
		what := strings.Join(append([]string{r.Header.Name}, r.Header.Modifiers...), ":")
		h := heads[what]
		if h == nil {
			h = &headGroup{what: what, plain: scan.Plain(what)}
			heads[what] = h
		}
		if r.Header.Exists {
			h.exists = append(h.exists, r)
		} else {
			h.rules = append(h.rules, r)
		}
		if r.Header.Negate || r.Header.HasUnset {
			h.special = append(h.special, r)
		}
	case conf.Body:
		e.body[0].rules = append(e.body[0].rules, r)
	case conf.RawBody:
		e.raw[0].rules = append(e.raw[0].rules, r)
	case conf.Full:
		e.full[0].rules = append(e.full[0].rules, r)
	case conf.URI:
		e.uris[0].rules = append(e.uris[0].rules, r)
	case conf.MIMEHeader:
		e.placePart(r)
	case conf.URIDetail:
		e.details = append(e.details, r)
	case conf.Meta:
		e.metas = append(e.metas, r)
	case conf.HeaderEval, conf.BodyEval, conf.RawBodyEval, conf.FullEval, conf.RBLEval:
		if why := e.off(r.Call.Func); why != "" {
			e.cannot[r.Name] = why
			return
		}
		if r.call == nil {
			e.cannot[r.Name] = fmt.Sprintf("the function %s is not offered", r.Call.Func)
			return
		}
		if netrule.Functions()[r.Call.Func] != nil {
			e.asks = append(e.asks, r)
			return
		}
		if r.Call.Func == reputationFunc {
			e.reputation = r
		}
		e.evals = append(e.evals, r)
	case conf.AskDNS:
		e.asks = append(e.asks, r)
	case conf.Empty:
	}
}

// ready makes the filter of a group, or takes that of one with the same rules.
func (g *group) ready(cache *regex.Cache, like *group) {
	if like != nil && like.filter != nil && slices.EqualFunc(g.rules, like.rules, func(a, b *rule) bool { return a.re == b.re }) {
		g.filter = like.filter
		return
	}
	var patterns []*regex.Regexp
	for _, r := range g.rules {
		patterns = append(patterns, r.re)
	}
	g.filter = regex.NewFilter(patterns, cache)
}

// orderMetas puts each meta behind those it depends on. Metas in a circle can not run.
func (e *Engine) orderMetas() {
	const (
		fresh = iota
		open
		done
	)
	state := make([]int, len(e.rules))
	placed := map[*rule]bool{}
	for _, r := range e.metas {
		placed[r] = true
	}
	var out []*rule
	var visit func(r *rule) bool
	visit = func(r *rule) bool {
		state[r.id] = open
		for _, name := range r.Expr.Rules() {
			d := e.byName[name]
			r.deps, r.depIDs = append(r.deps, d), append(r.depIDs, d.number())
			if d == nil || d.Type != conf.Meta {
				continue
			}
			if state[d.id] == open || state[d.id] == fresh && placed[d] && !visit(d) {
				e.cannot[r.Name] = fmt.Sprintf("it depends on itself, by way of %s", name)
				state[r.id] = done
				return false
			}
		}
		state[r.id] = done
		r.idle = r.Expr.Eval(func(int) conf.Span { return conf.Known(0) }).False()
		out = append(out, r)
		return true
	}
	for _, r := range e.metas {
		if state[r.id] == fresh {
			visit(r)
		}
	}
	e.metas = out
	e.bearings()
}

// number is a rule's id, -1 without a rule.
func (r *rule) number() int32 {
	if r == nil {
		return -1
	}
	return int32(r.id)
}

// bearings notes which metas a rule bears on.
func (e *Engine) bearings() {
	e.busy, e.bears = make([]uint64, (len(e.metas)+63)/64), make([][]int32, len(e.rules))
	for i, r := range e.metas {
		if !r.idle {
			e.busy[i>>6] |= 1 << (i & 63)
		}
		for _, id := range r.depIDs {
			if id >= 0 {
				e.bears[id] = append(e.bears[id], int32(i))
			}
		}
	}
}

// Cannot are the rules that can not run, and why.
func (e *Engine) Cannot() map[string]string { return e.cannot }

// Has reports whether there is a rule of a name. TIME_LIMIT_EXCEEDED, which no file has, is one.
func (e *Engine) Has(name string) bool { return e.byName[name] != nil || name == outOfTime }

// Rules are the names of all rules, sorted.
func (e *Engine) Rules() []string {
	var out []string
	for _, r := range e.rules {
		out = append(out, r.Name)
	}
	slices.Sort(out)
	return out
}
