package spam

import (
	"context"
	"strconv"
	"strings"
	"time"

	"mtad/spam/bayes"
	"mtad/spam/conf"
	"mtad/spam/regex"
	"mtad/spam/scan"
)

// teach makes the engine's other half: the same rules with the scores they have when
// there is Bayes. What is alike is shared.
func (e *Engine) teach(o Options) {
	if o.Bayes && e.teaches() {
		e.taught = newEngine(e.settings, o, e.set|conf.WithBayes, e)
	}
}

// teaches reports whether the rules let Bayes count.
func (e *Engine) teaches() bool {
	rs := e.settings.Rules
	return rs.Bool("use_learner") && rs.Bool("use_bayes") && rs.Bool("use_bayes_rules")
}

// half is the half that judges a message: the one with Bayes if enough was learned.
func (e *Engine) half(ctx context.Context, f scan.Facts) (*Engine, error) {
	if e.taught == nil || f.Bayes == nil {
		return e, nil
	}
	ok, err := e.settings.BayesSettings().Available(ctx, f.Bayes)
	if ok {
		return e.taught, nil
	}
	return e, err
}

// unlearned makes the rules that ask what was learned unknown.
func (c *check) unlearned(err error) {
	for _, r := range c.e.rules {
		if r.Flags.Learn && r.Type != conf.Meta {
			c.why[r] = err.Error()
		}
	}
}

// Unasked is what is to be learned of a message that was judged, without being asked.
type Unasked struct {
	bayes.Decision
	// Status is _AUTOLEARN_ of templates: ham, spam, no, disabled, or unavailable: known
	// already; then " autolearn_force=", and which rules have forced it.
	Status string
	Lesson bayes.Lesson // if Class is not None
}

// AutoLearn says whether the message is clear enough to be learned unasked, and as what.
// What a store knows already is not learned.
func (r *Result) AutoLearn(ctx context.Context, st bayes.Store) (u Unasked, err error) {
	a := bayes.AutoLearner{Rules: r.Scan.Rules, Set: r.Set}
	u.Decision, u.Status = a.Decide(r.Names(), r.Score), "no"
	switch {
	case st == nil || r.Shortcircuit != "" || r.Late || !r.Scan.Rules.Bool("bayes_auto_learn") || !r.Scan.Rules.Bool("use_bayes"):
		u.Class, u.Status = bayes.None, "disabled"
	case u.Class != bayes.None:
		l, ok := lessonOf(r.Scan, u.Class, true)
		l.Keep = true
		if ok {
			ok, err = bayes.New(ctx, st, l)
		}
		if u.Status, u.Lesson = u.Class.String(), l; !ok {
			u.Class, u.Status = bayes.None, "unavailable"
		}
		u.Status += forced(u.Force)
	default:
		u.Status += forced(nil)
	}
	return u, err
}

func forced(by []string) string {
	if by == nil {
		return " autolearn_force=no"
	}
	return " autolearn_force=yes (" + strings.Join(by, ",") + ")"
}

// Lesson is what is learned of a message that somebody says is of a class, or what is to be
// forgotten of it (None), as it was before SpamAssassin has marked it. ok is false if the
// rules say that Bayes must not look at it.
func (e *Engine) Lesson(ctx context.Context, text []byte, class bayes.Class) (l bayes.Lesson, ok bool) {
	s := scan.New(ctx, e.settings, unmarked(text), scan.Facts{}, &regex.Budget{Steps: steps, PerMatch: stepsEach})
	defer s.Close()
	return lessonOf(s, class, false)
}

func lessonOf(s *scan.Scan, class bayes.Class, checked bool) (l bayes.Lesson, ok bool) {
	if !s.Rules.Bool("use_learner") || !s.Rules.Bool("use_bayes") || class != bayes.None && s.BayesIgnores() {
		return l, false
	}
	settings := s.BayesSettings()
	now := time.Now()
	return bayes.Lesson{
		IDs: bayes.MessageIDs(s.Mail), Tokens: settings.Tokens(s.BayesInput(settings, checked)),
		Class: class, Time: s.Mail.Received(now), Now: now,
	}, true
}

// touched are the tokens that were of use for the judgement, and when the message came.
func (r *Result) touched() ([]bayes.Hash, time.Time) {
	if b := r.Scan.Bayes; b != nil && b.Scored {
		return b.Hashes(), r.Scan.Mail.Received(r.Scan.Facts.Now)
	}
	return nil, time.Time{}
}

// ofBayes are the tags about Bayes that are no single values.
func (p *Report) ofBayes(name, arg string) (string, bool) {
	b := p.Scan.Bayes
	switch {
	case name == "BAYES" && (b == nil || !b.Scored):
		return "0.5", true
	case b == nil:
		return "", false
	}
	switch name {
	case "BAYES":
		return strconv.FormatFloat(b.Probability, 'f', 4, 64), true
	case "TOKENSUMMARY":
		return b.Summary(), true
	case "HAMMYTOKENS":
		return b.HammyTokens(arg, p.Scan.Facts.Now), true
	case "SPAMMYTOKENS":
		return b.SpammyTokens(arg, p.Scan.Facts.Now), true
	}
	return "", false
}
