package spam

import (
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"

	"mtad/spam/conf"
	"mtad/spam/eval"
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
	set      conf.ScoreSet
	rules    []*rule
	byName   map[string]*rule

	headers            []*headGroup
	body, raw, full    *group
	uris               *group
	parts              []*rule // mimeheader
	details            []*rule // uri_detail
	evals              []*rule
	metas              []*rule // each behind those it depends on
	captures, template []*rule // set captures; want them
	cannot             map[string]string
	spaces             sync.Pool // of *space
}

// Options says how rules are to be run.
type Options struct {
	// Net allows tests over the network, Bayes those that have been taught.
	Net, Bayes bool
	Resolver   scan.Resolver
	// Functions are the functions that rules call; nil is all of eval.
	Functions map[string]eval.Func
}

// rule is a rule of the engine.
type rule struct {
	*conf.Rule
	id     int
	score  float64
	re     *regex.Regexp
	detail []*regex.Regexp
	call   eval.Func
	deps   []*rule // of a meta, by the place of their names in Expr.Rules
	dead   bool    // a meta that can never be decided: it depends on one that has no score
	idle   bool    // a meta that does not hit if nothing that it depends on has
}

// group are rules that look at the same texts.
type group struct {
	rules  []*rule
	filter *regex.Filter
}

// headGroup are the rules about one field, or part of a field.
type headGroup struct {
	what string
	group
	exists []*rule
	once   sync.Once
	empty  bool // a pattern may match the empty text
}

// mayBeEmpty reports whether a pattern may match the empty text.
func (h *headGroup) mayBeEmpty() bool {
	h.once.Do(func() {
		var c regex.Candidates
		h.filter.Scan(nil, &c)
		c.Each(func(int) bool { h.empty = true; return false })
	})
	return h.empty
}

// New makes rules ready. Rules that can not run are left out, and Cannot says why.
func New(rs *conf.Ruleset, o Options) *Engine {
	e := &Engine{settings: &scan.Settings{Rules: rs, Resolver: o.Resolver, Local: !o.Net}, byName: map[string]*rule{}, cannot: map[string]string{}}
	if o.Net {
		e.set |= conf.WithNet
	}
	if o.Bayes {
		e.set |= conf.WithBayes
	}
	if o.Functions == nil {
		o.Functions = eval.Functions()
	}
	for _, r := range rs.Rules() {
		x := &rule{Rule: r, id: len(e.rules), score: rs.Score(r.Name, e.set)}
		e.rules = append(e.rules, x)
		e.byName[r.Name] = x
	}
	e.compile()
	cache := regex.NewCache(0)
	e.redirects(cache)
	heads := map[string]*headGroup{}
	e.body, e.raw, e.full, e.uris = &group{}, &group{}, &group{}, &group{}
	for _, r := range e.rules {
		if r.score != 0 && e.cannot[r.Name] == "" && e.runs(r) {
			e.place(r, heads, o)
		}
	}
	for _, what := range slices.Sorted(maps.Keys(heads)) {
		e.headers = append(e.headers, heads[what])
	}
	for i := range e.headers {
		e.headers[i].ready(cache)
	}
	for _, g := range []*group{e.body, e.raw, e.full, e.uris} {
		g.ready(cache)
	}
	e.orderMetas()
	return e
}

// runs reports whether the options let a rule run.
func (e *Engine) runs(r *rule) bool {
	if r.Type == conf.Meta {
		return true
	}
	return (!r.Flags.Net || e.set&conf.WithNet != 0) && (!r.Flags.Learn || e.set&conf.WithBayes != 0)
}

// compile compiles all patterns, on all processors.
func (e *Engine) compile() {
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
	for _, r := range e.rules {
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
func (e *Engine) place(r *rule, heads map[string]*headGroup, o Options) {
	switch {
	case r.Wants != nil:
		e.template = append(e.template, r)
		return
	case r.Priority == -10000 && r.re != nil:
		e.captures = append(e.captures, r)
		return
	}
	switch r.Type {
	case conf.Header:
		what := strings.Join(append([]string{r.Header.Name}, r.Header.Modifiers...), ":")
		h := heads[what]
		if h == nil {
			h = &headGroup{what: what}
			heads[what] = h
		}
		if r.Header.Exists {
			h.exists = append(h.exists, r)
		} else {
			h.rules = append(h.rules, r)
		}
	case conf.Body:
		e.body.rules = append(e.body.rules, r)
	case conf.RawBody:
		e.raw.rules = append(e.raw.rules, r)
	case conf.Full:
		e.full.rules = append(e.full.rules, r)
	case conf.URI:
		e.uris.rules = append(e.uris.rules, r)
	case conf.MIMEHeader:
		e.parts = append(e.parts, r)
	case conf.URIDetail:
		e.details = append(e.details, r)
	case conf.Meta:
		e.metas = append(e.metas, r)
	case conf.HeaderEval, conf.BodyEval, conf.RawBodyEval, conf.FullEval, conf.RBLEval:
		if r.call = o.Functions[r.Call.Func]; r.call == nil {
			e.cannot[r.Name] = fmt.Sprintf("the function %s is not offered", r.Call.Func)
			return
		}
		e.evals = append(e.evals, r)
	case conf.AskDNS:
		e.cannot[r.Name] = "askdns is not offered"
	case conf.Empty:
	}
}

// ready makes the filter of a group.
func (g *group) ready(cache *regex.Cache) {
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
	active := map[*rule]bool{}
	for _, r := range e.metas {
		active[r] = true
	}
	var out []*rule
	var visit func(r *rule) bool
	visit = func(r *rule) bool {
		state[r.id] = open
		for _, name := range r.Expr.Rules() {
			d := e.byName[name]
			r.deps = append(r.deps, d)
			if d == nil || d.Type != conf.Meta {
				continue
			}
			if state[d.id] == open || state[d.id] == fresh && active[d] && !visit(d) {
				e.cannot[r.Name] = fmt.Sprintf("it depends on itself, by way of %s", name)
				state[r.id] = done
				return false
			}
			// SpamAssassin never decides such a meta.
			r.dead = r.dead || !active[d] || d.dead
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
}

// Cannot are the rules that can not run, and why.
func (e *Engine) Cannot() map[string]string { return e.cannot }

// Rules are the names of all rules, sorted.
func (e *Engine) Rules() []string {
	var out []string
	for _, r := range e.rules {
		out = append(out, r.Name)
	}
	slices.Sort(out)
	return out
}
