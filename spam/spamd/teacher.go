package spamd

import (
	"context"

	"mtad/spam"
	"mtad/spam/bayes"
)

// Teacher is a Learner that teaches the judge whom it names at that time, whoever the
// client says that it is. One without a memory refuses.
type Teacher func() *spam.Judge

// Learn implements Learner.
func (t Teacher) Learn(ctx context.Context, _ string, text []byte, isSpam bool) (bool, error) {
	if isSpam {
		return t.teach(ctx, text, bayes.Spam)
	}
	return t.teach(ctx, text, bayes.Ham)
}

// Forget implements Learner.
func (t Teacher) Forget(ctx context.Context, _ string, text []byte) (bool, error) {
	return t.teach(ctx, text, bayes.None)
}

func (t Teacher) teach(ctx context.Context, text []byte, class bayes.Class) (bool, error) {
	j := t()
	if j.Learned == nil {
		return false, unavailable("nothing is learned here: Bayes is off")
	}
	if !j.LearnsReports() {
		return false, nil
	}
	return j.Teach(ctx, text, class)
}
