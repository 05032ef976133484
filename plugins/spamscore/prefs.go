package spamscore

import (
	"container/list"
	"context"
	"fmt"
	"math"
	"strconv"
	"strings"
	"sync"

	"mtad/pipeline"
	"mtad/smtp"
	"mtad/spam"
)

// Users is what the filter asks about accounts. A mailbox is an account's address.
type Users interface {
	// Preferences are an account's, in the form of SpamAssassin's user_prefs. version
	// changes with the text; ok is false if the account has none.
	Preferences(ctx context.Context, mailbox smtp.Address) (text, version string, ok bool, err error)
}

// maxPrefs bounds the memory, in octets, of the engines that are kept, those that were
// asked last: one with scores and lists takes about 10 KiB, and is made anew in 10 us; one
// with other rules 3 MiB, and 20 ms without its automata (BenchmarkWith in mtad/spam).
const maxPrefs = 16 << 20

// prefs are engines with accounts' preferences.
type prefs struct {
	users Users
	mu    sync.Mutex
	kept  map[string]*list.Element // by account, of order
	order list.List                // of *prefsOf; the last one asked is the last
	size  int
}

type prefsOf struct {
	account, version string
	engine           *spam.Engine
	size             int
}

// engine gives the base with an account's preferences; ok is false if it has none.
func (p *prefs) engine(ctx context.Context, base *spam.Engine, mailbox smtp.Address) (e *spam.Engine, ok bool, err error) {
	text, version, ok, err := p.users.Preferences(ctx, mailbox)
	if err != nil || !ok {
		if err != nil {
			err = fmt.Errorf("spamscore: preferences of %s: %w", mailbox, err)
		}
		return nil, false, err
	}
	account := mailbox.Key()
	if e := p.find(account, version); e != nil {
		return e, true, nil
	}
	e = base.With("preferences of "+mailbox.String(), text)
	p.keep(&prefsOf{account, version, e, e.Size() + len(text)})
	return e, true, nil
}

func (p *prefs) find(account, version string) *spam.Engine {
	p.mu.Lock()
	defer p.mu.Unlock()
	at := p.kept[account]
	if at == nil || at.Value.(*prefsOf).version != version {
		return nil
	}
	p.order.MoveToBack(at)
	return at.Value.(*prefsOf).engine
}

func (p *prefs) keep(k *prefsOf) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if at := p.kept[k.account]; at != nil {
		p.drop(at)
	}
	if p.kept == nil {
		p.kept = map[string]*list.Element{}
	}
	p.kept[k.account] = p.order.PushBack(k)
	for p.size += k.size; p.size > maxPrefs && p.order.Len() > 1; {
		p.drop(p.order.Front())
	}
}

func (p *prefs) drop(at *list.Element) {
	k := p.order.Remove(at).(*prefsOf)
	delete(p.kept, k.account)
	p.size -= k.size
}

// CheckPreferences says what is wrong with a user's preferences for a filter of this
// kind; "" if nothing is.
func CheckPreferences(f pipeline.Filter, text string) string {
	s, ours := f.(*filter)
	if !ours {
		return "these are not the preferences of this filter"
	}
	var b strings.Builder
	for _, p := range s.judge.With("preferences", text).Problems() {
		fmt.Fprintf(&b, "line %d: %s\n", p.Line, p.Text)
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// Preferences reports whether a filter reads preferences of accounts.
func Preferences(f pipeline.Filter) bool {
	s, ours := f.(*filter)
	return ours && s.prefs.users != nil
}

// corrections are the points that make of the scores that were given before what a
// recipient's own rules come to. What a rule has given stays if it is unknown now: a server of
// the DNS does not answer, say, or the time is over.
func corrections(v *pipeline.View, e *spam.Engine, r *spam.Result) (out []pipeline.Modification) {
	before := map[string]float64{}
	var names []string
	for _, s := range v.Scores() {
		if !e.Has(s.Name) {
			continue
		}
		if _, known := before[s.Name]; !known {
			names = append(names, s.Name)
		}
		before[s.Name] += s.Points
	}
	for _, h := range r.Hits {
		if points := h.Points() - before[h.Rule]; math.Abs(points) > 1e-9 {
			out = append(out, pipeline.AddScore{Name: h.Rule, Points: points, Detail: r.Scan.Rules.Description(h.Rule)})
		}
		delete(before, h.Rule)
	}
	for _, u := range r.Unknown {
		state, _ := e.State(u.Rule)
		untaught := !r.Late && r.Scan.Rules.Rule(u.Rule).Flags.Learn // the account's Bayes, and not the site's
		if state != spam.Cannot && !untaught && r.Shortcircuit == "" {
			delete(before, u.Rule)
		}
	}
	for _, name := range names {
		if points, left := before[name]; left && points != 0 {
			out = append(out, pipeline.AddScore{Name: name, Points: -points, Detail: "not by the recipient's rules"})
		}
	}
	return out
}

// required is the tag that tells thresholds what an account wants.
func required(r *spam.Result, own bool) pipeline.Tag {
	name := "spam.limit"
	if own {
		name = "spam.required"
	}
	return pipeline.Tag{Name: name, Value: strconv.FormatFloat(r.Required, 'f', -1, 64)}
}

// stale are the fields of another judge, this server's or a sender's: X-Spam-Score is of
// thresholds, and stays.
func stale(v *pipeline.View) (out []pipeline.Modification) {
	for _, f := range v.Message().Header().Fields() {
		if len(f.Name) > 7 && strings.EqualFold(f.Name[:7], "X-Spam-") && !f.Is("X-Spam-Score") {
			out = append(out, pipeline.RemoveHeader{Field: f.ID})
		}
	}
	return out
}
