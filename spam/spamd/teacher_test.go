package spamd

import (
	"testing"

	"mtad/spam"
	"mtad/spam/bayes"
	"mtad/spam/conf"
)

// TestTeacher: clients teach, unless the rules say that they may not, as spamd has it.
func TestTeacher(t *testing.T) {
	text := []byte("From: a@example.com\nSubject: x\n\nsome words to learn\n")
	for rules, want := range map[string]bool{"": true, "bayes_learn_during_report 0\n": false, "use_bayes 0\n": false} {
		j := &spam.Judge{Engine: spam.New(conf.Parse("x.cf", rules, conf.Options{}), spam.Options{Bayes: true}), Learned: spam.Direct{Store: bayes.NewMemory()}}
		teacher := Teacher(func() *spam.Judge { return j })
		if did, err := teacher.Learn(t.Context(), "", text, true); did != want || err != nil {
			t.Errorf("%q: learned %v, %v", rules, did, err)
		}
		if did, err := teacher.Forget(t.Context(), "", text); did != want || err != nil {
			t.Errorf("%q: forgotten %v, %v", rules, did, err)
		}
	}
	j := &spam.Judge{Engine: spam.New(conf.Parse("x.cf", "", conf.Options{}), spam.Options{})}
	if _, err := Teacher(func() *spam.Judge { return j }).Learn(t.Context(), "", text, true); err == nil {
		t.Error("learned without a memory")
	}
}
