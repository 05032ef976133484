package spam

import (
	"context"

	"mtad/spam/bayes"
	"mtad/spam/regex"
	"mtad/spam/scan"
	"mtad/spam/txrep"
)

// reputationFunc is the function of the rule that TxRep answers, behind all others.
const reputationFunc = "check_senders_reputation"

// reputation has TxRep draw the score to what came before from the same senders.
func (c *check) reputation(out *Result) {
	r := c.e.reputation
	if r == nil || c.e.mute.has(r.id) || c.ended != "" || !c.s.Rules.Bool("use_txrep") || c.s.Facts.Reputation == nil {
		return
	}
	a := bayes.AutoLearner{Rules: c.s.Rules, Set: c.e.set}
	v, err := txrep.Judge(c.s.Context, c.s, c.s.Facts.Reputation, bayes.MessageIDs(c.s.Mail)[0], a.Decide(out.Names(), out.Score).Points)
	if err != nil {
		out.Unknown = append(out.Unknown, Unknown{r.Name, err.Error()})
		return
	}
	out.senders = v.Changes
	if v.Delta == 0 {
		return
	}
	out.add(Hit{Rule: r.Name, Score: v.Delta, Value: 1, Times: 1, Area: "TXREP: "})
}

// LearnSenders has the senders of a message learn from what somebody calls it. A message
// to be forgotten counts as it was judged.
func (e *Engine) LearnSenders(ctx context.Context, st scan.Reputations, text []byte, l txrep.Learning) error {
	if e.reputation == nil || e.mute.has(e.reputation.id) || !e.settings.Rules.Bool("use_txrep") {
		return nil
	}
	s := scan.New(ctx, e.settings, unmarked(text), scan.Facts{}, &regex.Budget{Steps: steps, PerMatch: stepsEach})
	defer s.Close()
	v, err := txrep.Learn(ctx, s, st, bayes.MessageIDs(s.Mail)[0], l, 0)
	if err != nil {
		return err
	}
	return st.Change(ctx, v.Changes)
}

// Senders is what the message changes of what is known of its senders.
func (r *Result) Senders() []scan.ReputationChange { return r.senders }
