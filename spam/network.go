package spam

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"mtad/spam/ask"
	"mtad/spam/conf"
	"mtad/spam/eval"
	"mtad/spam/inspect"
	"mtad/spam/netrule"
)

// waiting is a rule and the questions that must be decided before it is called again.
type waiting struct {
	rule   *rule
	wanted []ask.Question
}

// asnRule stands for asn_lookup, whose tags templates have without any rule.
var asnRule = &rule{Rule: &conf.Rule{Name: "asn_lookup"}, call: netrule.ASN}

// functions are those of all rooms.
func functions() map[string]eval.Func {
	out := eval.Functions()
	maps.Copy(out, netrule.Functions())
	maps.Copy(out, inspect.Functions())
	return out
}

// off says why a function that is known can not be offered here. Where nobody is asked
// anything there is nothing to miss.
func (e *Engine) off(function string) string {
	if why := e.settings.Rules.Unloaded(function); why != "" {
		return why
	}
	if e.settings.Resolver != nil {
		if why := netrule.Off(e.settings.Rules, function); why != "" {
			return why
		}
	}
	return inspect.Off(e.settings.Rules, function)
}

// Asks reports whether a rule asks the DNS.
func (e *Engine) Asks(name string) bool {
	return slices.ContainsFunc(e.asks, func(r *rule) bool { return r.Name == name })
}

// beginAsking calls the functions that ask the DNS: they ask all that they can.
func (c *check) beginAsking() {
	if c.s.Ask == nil { // functions that know something without it say so
		c.each(c.e.asks, c.eval)
		return
	}
	c.each(c.e.asks, c.askingCall)
	c.askingCall(asnRule)
}

func (c *check) askingCall(r *rule) {
	c.s.Ask.Open()
	if r != asnRule {
		c.eval(r)
		return
	}
	if _, err := r.call(c.s, r.Rule, nil); errors.Is(err, ask.ErrPending) {
		c.waiting = append(c.waiting, waiting{r, c.s.Ask.Wanted()})
	}
}

// endAsking waits for the answers. A function is called again when all is decided that
// it has asked for.
func (c *check) endAsking() {
	for len(c.waiting) > 0 {
		var ready []*rule
		c.waiting = slices.DeleteFunc(c.waiting, func(w waiting) bool {
			done := !c.s.Ask.Pending(w.wanted)
			if done {
				ready = append(ready, w.rule)
			}
			return done
		})
		for _, r := range ready {
			c.askingCall(r)
		}
		if ready == nil && !c.s.Ask.Wait() {
			break
		}
	}
	for _, w := range c.waiting {
		c.why[w.rule] = ask.ErrPending.Error()
	}
}

// block begins to leave out the zones that dns_block_rule names for rules that have hit.
func (c *check) block() (zones []string) {
	if c.s.Ask == nil {
		return nil
	}
	d := time.Duration(c.s.Rules.Number("dns_block_time")) * time.Second
	for name, list := range c.s.Rules.Values("dns_block_rule") {
		r := c.e.byName[name]
		if r == nil || c.value[r.id] == 0 {
			continue
		}
		for _, zone := range strings.Fields(list) {
			if c.s.Blocks.Add(zone, time.Now(), d) {
				zones = append(zones, zone)
			}
		}
	}
	slices.Sort(zones)
	return zones
}
