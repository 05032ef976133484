package bayes

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"mtad/spam/conf"
)

// AutoLearner decides what to learn unasked: mail that other rules than Bayes find
// clearly spam or clearly ham (Mail::SpamAssassin::Plugin::AutoLearnThreshold).
type AutoLearner struct {
	Rules *conf.Ruleset
	Set   conf.ScoreSet // that the message was judged with
}

// Decision is what an AutoLearner says of a message.
type Decision struct {
	Class  Class // None: it is not learned
	Reason string
	// Points are those without Bayes; Head and Body the parts from rules on the header
	// and on the text, Learned those of Bayes.
	Points, Head, Body, Learned float64
	Force                       []string // rules that need no points of both
}

// The bounds of the points that must be there, or must not.
const (
	leastHead = 3.0
	leastBody = 3.0
	bayesHam  = -1.0
	bayesSpam = 1.0
)

// Decide looks at the names of rules that hit a message, and at the score they have together.
func (a *AutoLearner) Decide(hits []string, score float64) Decision {
	d := Decision{}
	for _, name := range hits {
		a.add(&d, name)
	}
	d.Points = round3(d.Points)
	ham, spam := a.Rules.Number("bayes_auto_learn_threshold_nonspam"), a.Rules.Number("bayes_auto_learn_threshold_spam")
	isSpam := score >= a.Rules.Number("required_score")
	switch {
	case !a.Rules.Bool("bayes_auto_learn") || !a.Rules.Bool("use_bayes"):
		d.Reason = "bayes_auto_learn or use_bayes is 0"
	case d.Points < ham:
		d.Reason = d.notHam(isSpam)
		d.Class = Ham
	case d.Points >= spam:
		d.Reason = d.notSpam(isSpam)
		d.Class = Spam
	default:
		d.Reason = fmt.Sprintf("%.3f points are neither less than %v nor at least %v", d.Points, ham, spam)
	}
	if d.Reason == "" && a.Rules.Bool("bayes_auto_learn_on_error") &&
		slices.Contains(hits, map[Class]string{Spam: "BAYES_99", Ham: "BAYES_00"}[d.Class]) {
		d.Reason = fmt.Sprintf("Bayes knows it as %v already, and bayes_auto_learn_on_error is 1", d.Class)
	}
	if d.Reason != "" {
		d.Class = None
	}
	return d
}

func (d *Decision) notHam(isSpam bool) string {
	switch {
	case d.Learned > bayesSpam:
		return fmt.Sprintf("few points, but Bayes says spam (%v points)", d.Learned)
	case isSpam:
		return "few points without Bayes, but spam with it"
	}
	return ""
}

func (d *Decision) notSpam(isSpam bool) string {
	switch {
	case d.Force == nil && d.Body < leastBody:
		return fmt.Sprintf("only %.3f points are from the text, %v are needed", d.Body, leastBody)
	case d.Force == nil && d.Head < leastHead:
		return fmt.Sprintf("only %.3f points are from the header, %v are needed", d.Head, leastHead)
	case d.Learned < bayesHam:
		return fmt.Sprintf("many points, but Bayes says ham (%v points)", d.Learned)
	case !isSpam:
		return "many points without Bayes, but ham with it"
	}
	return ""
}

// place is where points are from.
type place int

const (
	nowhere place = iota
	fromHead
	fromBody
	fromRules // of a meta
)

func placeOf(r *conf.Rule) place {
	if r == nil {
		return nowhere
	}
	switch r.Type {
	case conf.Header, conf.HeaderEval:
		return fromHead
	case conf.Body, conf.BodyEval, conf.RawBody, conf.RawBodyEval, conf.URI, conf.URIDetail, conf.MIMEHeader:
		return fromBody
	case conf.Meta:
		return fromRules
	}
	return nowhere
}

// add counts a rule's points.
func (a *AutoLearner) add(d *Decision, name string) {
	r := a.Rules.Rule(name)
	var flags []string
	if r != nil {
		flags = strings.Fields(r.Flags.Text)
	}
	has := func(flag string) bool { return slices.Contains(flags, flag) }
	switch {
	case has("noautolearn"), has("userconf"):
		return
	case has("learn"):
		d.Learned += a.Rules.Score(name, a.Set)
		return
	case has("autolearn_force"):
		d.Force = append(d.Force, name)
	}
	score := a.Rules.Score(name, a.Set&^conf.WithBayes)
	if score == 0 {
		return
	}
	at := placeOf(r)
	for _, f := range flags {
		if f == "autolearn_header" || f == "autolearn_body" {
			at = map[string]place{"autolearn_header": fromHead, "autolearn_body": fromBody}[f]
			break
		}
	}
	switch at {
	case fromHead:
		d.Head += score
	case fromBody:
		d.Body += score
	case fromRules:
		a.share(d, r, score)
	}
	d.Points += score
}

// share parts a meta's points between header and text, as its rules are.
func (a *AutoLearner) share(d *Decision, r *conf.Rule, score float64) {
	var head, body float64
	if r.Expr == nil {
		return
	}
	for _, name := range r.Expr.Mentions() {
		switch placeOf(a.Rules.Rule(name)) {
		case fromHead:
			head++
		case fromBody:
			body++
		}
	}
	if all := head + body; all > 0 {
		d.Head += round3(score * (head / all))
		d.Body += round3(score * (body / all))
	}
}

// round3 rounds to three digits as sprintf does.
func round3(v float64) float64 {
	f, _ := strconv.ParseFloat(strconv.FormatFloat(v, 'f', 3, 64), 64)
	return f
}
