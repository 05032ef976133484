package spam

import (
	"context"
	"time"

	"mtad/spam/bayes"
	"mtad/spam/scan"
	"mtad/spam/txrep"
)

// Learned is what is remembered of messages, for the site (the owner "") or for others,
// and learns in the background: mtad/spamdb's Keeper, or Direct.
type Learned interface {
	// Bayes is what an owner has learned.
	Bayes(owner string) bayes.Store
	// Touch notes that tokens were of use for a message that came at a time.
	Touch(owner string, tokens []bayes.Hash, when time.Time, e bayes.Expiry)
	// Learn has a message learned soon; false says that there is no room for it.
	Learn(owner string, l bayes.Lesson, e bayes.Expiry) bool
}

// Senders is what a Learned may also remember: the reputation of senders, for TxRep.
type Senders interface {
	Reputation(owner string) scan.Reputations
	// Repute notes what a message changes, soon.
	Repute(owner string, changes []scan.ReputationChange)
}

// Judge is an engine with a memory: it judges by what was learned, and learns unasked
// what is clear.
type Judge struct {
	*Engine
	Learned Learned // nil: without
	Owner   string
	// ReadOnly: what is remembered is asked, and nothing of what is judged is learned.
	ReadOnly bool
}

// Check is Engine's, with what was learned.
func (j *Judge) Check(ctx context.Context, text []byte, f scan.Facts) *Result {
	if j.Learned == nil {
		return j.Engine.Check(ctx, text, f)
	}
	f.Bayes = j.Learned.Bayes(j.Owner)
	senders, ok := j.Learned.(Senders)
	if ok {
		f.Reputation = senders.Reputation(j.Owner)
	}
	r := j.Engine.Check(ctx, text, f)
	if j.ReadOnly {
		r.AutoLearned = "disabled"
		return r
	}
	if r.senders != nil {
		senders.Repute(j.Owner, r.senders)
	}
	if tokens, when := r.touched(); tokens != nil {
		j.Learned.Touch(j.Owner, tokens, when, j.expiry())
	}
	u, err := r.AutoLearn(ctx, f.Bayes)
	r.AutoLearned = u.Status
	if err != nil || u.Class != bayes.None && !j.Learned.Learn(j.Owner, u.Lesson, j.expiry()) {
		r.AutoLearned = "failed"
	}
	return r
}

// Teach has a message learned as a class, or forgotten (None), and returns when that is
// done: whether anything is known that was not before.
func (j *Judge) Teach(ctx context.Context, text []byte, class bayes.Class) (bool, error) {
	if s, ok := j.Learned.(Senders); ok {
		l := map[bayes.Class]txrep.Learning{bayes.Spam: txrep.Spam, bayes.Ham: txrep.Ham, bayes.None: txrep.Forget}[class]
		if err := j.LearnSenders(ctx, s.Reputation(j.Owner), text, l); err != nil {
			return false, err
		}
	}
	l, ok := j.Lesson(ctx, text, class)
	if !ok {
		return false, nil
	}
	st := j.Learned.Bayes(j.Owner)
	if class == bayes.None {
		return bayes.Forget(ctx, st, l)
	}
	done, err := bayes.Learn(ctx, st, l)
	if err == nil {
		_, err = j.expiry().Expire(ctx, st, time.Now())
	}
	return done, err
}

// LearnsReports reports whether clients of spamd may teach (bayes_learn_during_report).
func (j *Judge) LearnsReports() bool { return j.settings.Rules.Bool("bayes_learn_during_report") }

// expiry is how what was learned is bounded.
func (j *Judge) expiry() bayes.Expiry {
	rs := j.settings.Rules
	return bayes.Expiry{MaxTokens: rs.Number("bayes_expiry_max_db_size"), Auto: rs.Bool("bayes_auto_expire")}
}

// Direct is a Learned of one store for all owners, without a background: for a command.
type Direct struct{ Store bayes.Store }

// Bayes implements Learned.
func (d Direct) Bayes(string) bayes.Store { return d.Store }

// Touch implements Learned.
func (d Direct) Touch(_ string, tokens []bayes.Hash, when time.Time, _ bayes.Expiry) {
	_ = bayes.Touch(context.Background(), d.Store, tokens, when, time.Now()) // the next message tries again
}

// Learn implements Learned.
func (d Direct) Learn(_ string, l bayes.Lesson, e bayes.Expiry) bool {
	_, err := bayes.Learn(context.Background(), d.Store, l)
	if err == nil {
		_, err = e.Expire(context.Background(), d.Store, time.Now())
	}
	return err == nil
}
